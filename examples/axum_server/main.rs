//! A web server whose handlers run once, whoever asks: a slow report, a page that differs by user, a stream.
//!
//! `cargo run --release --features http --example axum_server`
//!
//! It asks itself first, and says what came of it. Then it serves until you stop it, if there is a terminal: open the
//! address that it prints and watch the figures while you load the pages.

mod client;
mod report;

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::report::Orders;

type BoxError = Box<dyn Error + Send + Sync>;

const CALLERS: usize = 500;

/// The application. What stands below the layer is cached; the page of figures is added above it.
fn app(orders: Orders) -> Router {
    Router::new()
        .route("/report", get(move || async move { orders.report().await }))
        .route("/me", get(me))
        .route("/stream", get(stream))
        .layer(CacheLayer::new(Duration::from_secs(5)).stale_while_revalidate(Duration::from_secs(30)).x_cache(true))
        .route("/figures", get(figures))
        .route("/", get(|| async { Html(include_str!("figures.html")) }))
}

/// A page for whoever asks. It says that it is private, so nobody else ever sees it; nor would it be shared if the user were
/// told by a cookie.
async fn me(headers: HeaderMap) -> impl IntoResponse {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok()).unwrap_or("nobody");
    ([(header::CACHE_CONTROL, "private")], format!("hello {user}\n"))
}

/// A line every 50 ms. All who ask see each line as it is written.
async fn stream() -> Body {
    let (mut lines, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        for line in 1..=10 {
            if lines.send_data(format!("line {line} of 10\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Body::new(body)
}

/// What the store has seen, for the page of figures.
async fn figures() -> impl IntoResponse {
    let stats = Store::current().stats();
    let calls = stats.calls;
    let figures = [
        ("requests", calls.total()),
        ("fresh hits", calls.fresh),
        ("stale hits", calls.stale),
        ("shared a run", calls.coalesced),
        ("started a run", calls.miss),
        ("went past", calls.bypass),
        ("errors", calls.error),
        ("runs", stats.runs.total()),
        ("runs saved", stats.runs_saved()),
    ];
    let lines: Vec<String> = figures.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
    ([(header::CONTENT_TYPE, "application/json")], format!("{{{}}}", lines.join(", ")))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let orders = Orders::open()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, app(orders.clone())).into_future());
    ask_yourself(address, &orders).await?;
    if std::io::stdin().is_terminal() {
        println!("\nserving on http://{address}/ until you stop it");
        server.await??;
    }
    Ok(())
}

/// A stampede, two users at once, and a stream with two readers.
async fn ask_yourself(address: SocketAddr, orders: &Orders) -> Result<(), BoxError> {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(async move { Client::connect(address).await?.get("/report", "").await });
    }
    let mut ways = std::collections::BTreeMap::new();
    while let Some(answer) = callers.join_next().await {
        *ways.entry(answer??.way).or_insert(0) += 1;
    }
    println!("{CALLERS} clients ask for /report at once: answered within {:.0?}", start.elapsed());
    println!("  runs of the query: {}; answers by x-cache: {ways:?}", orders.queries());
    assert_eq!(orders.queries(), 1, "one run for all of them");

    let (mut alice, mut bob) = tokio::try_join!(Client::connect(address), Client::connect(address))?;
    let (alice, bob) = tokio::try_join!(alice.get("/me", "Alice"), bob.get("/me", "Bob"))?;
    println!("Alice and Bob ask for /me at once: {:?} and {:?}", alice.text.trim(), bob.text.trim());
    assert_eq!((alice.text.as_str(), bob.text.as_str()), ("hello Alice\n", "hello Bob\n"));

    let (mut leader, mut follower) = tokio::try_join!(Client::connect(address), Client::connect(address))?;
    let start = Instant::now();
    let (mut one, mut other) = (leader.begin("/stream", "").await?, follower.begin("/stream", "").await?);
    one.frame().await.ok_or("a first line")??;
    other.frame().await.ok_or("a first line")??;
    let first = start.elapsed();
    one.collect().await?;
    other.collect().await?;
    println!("two clients read /stream: first lines after {first:.1?}, last ones after {:.1?}", start.elapsed());
    assert!(first < start.elapsed() / 2, "the first line does not wait for the last");
    Ok(())
}
