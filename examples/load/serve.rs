//! The page of `--serve`: `/`, with `/live` for its charts, and `/metrics` for Prometheus.
//!
//! `/live` is a stream of server-sent events, a sample each. Whoever connects gets the history first, so a page that lost its
//! connection starts anew and has missed nothing. The stream ends with the last sample.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::channel::Channel;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::sample::Sample;

/// The page is all there is: nothing comes from elsewhere, and nothing goes there.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'";

/// Time to hand out the last sample. A reader that needs longer does without.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server that runs until it is finished or dropped.
pub(crate) struct Page {
    address: SocketAddr,
    history: watch::Sender<History>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// The events so far, and whether there will be more.
#[derive(Default)]
struct History {
    events: Vec<Bytes>,
    done: bool,
}

impl Page {
    /// Serves at `address`; port 0 is one that is free.
    pub(crate) async fn start(address: SocketAddr, metrics: PrometheusHandle) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (history, samples) = watch::channel(History::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let app = Router::new()
            .route("/", get(async || ([(CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("page.html")))))
            .route("/live", get(async move || live(samples)))
            .route("/metrics", get(async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())));
        let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
        let server = tokio::spawn(async {
            if let Err(error) = server.await {
                eprintln!("the page is no longer served: {error}");
            }
        });
        Ok(Self { address, history, stop, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `sample` to all who look, and keeps it for those who come later.
    pub(crate) fn show(&self, sample: &Sample) {
        let event = format!("data: {}\n\n", serde_json::json!(sample)).into();
        self.history.send_modify(|history| {
            history.events.push(event);
            history.done = sample.done;
        });
    }

    /// Ends the server, once everybody has the last sample.
    pub(crate) async fn finish(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(PATIENCE, self.server).await;
    }
}

fn live(mut samples: watch::Receiver<History>) -> impl IntoResponse {
    let (mut stream, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        let mut sent = 0;
        loop {
            let (news, done) = {
                let history = samples.borrow_and_update();
                let news = history.events[sent..].concat();
                sent = history.events.len();
                (news, history.done)
            };
            let reader_is_gone = stream.send_data(news.into()).await.is_err();
            if reader_is_gone || done || samples.changed().await.is_err() {
                return;
            }
        }
    });
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], Body::new(body))
}
