//! What the tests share: an origin under control, a server on a real socket, and clients for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// As long as nothing is meant to expire.
pub(crate) const TTL: Duration = Duration::from_hours(1);

/// What takes longer than this does not come at all, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(2);

/// A handler that counts its runs and answers when it is let.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    runs: AtomicUsize,
    gate: Semaphore,
    respond: Box<dyn Fn(usize, Request) -> Response + Send + Sync>,
}

impl Origin {
    /// Answers at once.
    pub(crate) fn open(respond: impl Fn(usize, Request) -> Response + Send + Sync + 'static) -> Self {
        let origin = Self::gated(respond);
        origin.open_gate(1 << 20);
        origin
    }

    /// Answers as often as the gate is opened.
    pub(crate) fn gated(respond: impl Fn(usize, Request) -> Response + Send + Sync + 'static) -> Self {
        let gate = Semaphore::new(0);
        Self(Arc::new(Inner { runs: AtomicUsize::new(0), gate, respond: Box::new(respond) }))
    }

    pub(crate) fn open_gate(&self, times: usize) {
        self.0.gate.add_permits(times);
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(SeqCst)
    }

    pub(crate) async fn answer(self, request: Request) -> Response {
        let run = self.0.runs.fetch_add(1, SeqCst) + 1;
        self.0.gate.acquire().await.expect("an open gate").forget();
        (self.0.respond)(run, request)
    }

    /// As an application for all paths and methods.
    pub(crate) fn app(&self) -> Router {
        let origin = self.clone();
        Router::new().fallback(move |request: Request| origin.clone().answer(request))
    }

    /// On a socket, behind a layer with a store of its own.
    pub(crate) async fn serve(&self, layer: CacheLayer) -> Server {
        let store = Store::builder().build();
        let mut server = Server::of(self.app().layer(layer.store(&store))).await;
        server.store = store;
        server
    }
}

/// The number of the run.
pub(crate) fn numbered(run: usize) -> Response {
    Response::new(Body::from(run.to_string()))
}

/// The same with header lines.
pub(crate) fn with(run: usize, lines: &[(&'static str, &'static str)]) -> Response {
    let mut response = numbered(run);
    for (name, value) in lines {
        response.headers_mut().append(*name, value.parse().expect("a value"));
    }
    response
}

/// A server on a loopback socket, for as long as this lives.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) store: Store,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response that has been read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Read {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    /// Whether it is from the store, and has not yet spent half of a TTL that was this long.
    pub(crate) fn is_fresh_of(&self, ttl: Duration) -> bool {
        let left = self.cache_status().split_once("; hit; ttl=").and_then(|(_, left)| left.parse().ok());
        left.is_some_and(|left| (ttl.as_secs() / 2..ttl.as_secs()).contains(&left))
    }
}

impl Server {
    /// Nobody listens once this returns.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        (&mut self.task).await.expect_err("it was told to stop");
    }

    pub(crate) async fn of(app: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        Self { addr, task, store: Store::builder().build() }
    }

    pub(crate) async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.addr).await.expect("a connection");
        let (client, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client
    }

    pub(crate) async fn connect_h2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.addr).await.expect("a connection");
        let (client, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client
    }

    /// One of many requests that may be under way on a connection.
    pub(crate) async fn send_h2(&self, client: &mut http2::SendRequest<Full<Bytes>>, method: &str, path: &str) -> Read {
        let uri = format!("http://{}{path}", self.addr);
        let request = request(method, &uri, &[]).version(http::Version::HTTP_2).body(Full::default());
        let response = tokio::time::timeout(PATIENCE, client.send_request(request.expect("a request")));
        read(response.await.expect("a head in time").expect("a response")).await.expect("a body")
    }

    /// The head of the response; the body is yet to be read.
    pub(crate) async fn begin(&self, request: http::request::Builder) -> hyper::Response<Incoming> {
        self.begin_with(request, "").await
    }

    async fn begin_with(&self, request: http::request::Builder, body: &'static str) -> hyper::Response<Incoming> {
        let mut client = self.connect().await;
        let host = self.addr.to_string();
        let request = request.header("host", host).body(Full::new(Bytes::from_static(body.as_bytes())));
        let response = client.send_request(request.expect("a request"));
        tokio::time::timeout(PATIENCE, response).await.expect("a head in time").expect("a response")
    }

    pub(crate) async fn send(&self, request: http::request::Builder) -> Read {
        read(self.begin(request).await).await.expect("a complete body")
    }

    pub(crate) async fn send_with(&self, request: http::request::Builder, body: &'static str) -> Read {
        read(self.begin_with(request, body).await).await.expect("a complete body")
    }

    pub(crate) async fn get(&self, path: &str) -> Read {
        self.send(request("GET", path, &[])).await
    }

    pub(crate) async fn get_with(&self, path: &str, lines: &[(&str, &str)]) -> Read {
        self.send(request("GET", path, lines)).await
    }

    /// Waits until so many calls wait for a run.
    pub(crate) async fn waiting(&self, callers: u64) {
        until(|| self.store.stats().waiting == callers).await;
    }
}

/// Reads a body to its end, or its error.
pub(crate) async fn read<B>(response: http::Response<B>) -> Result<Read, B::Error>
where
    B: http_body::Body,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Read { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
}

pub(crate) fn request(method: &str, path: &str, lines: &[(&str, &str)]) -> http::request::Builder {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request
}

/// Waits until something holds, which it does sooner or later.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    until_asked(|| std::future::ready(holds())).await;
}

/// The same, where to find out takes a request.
pub(crate) async fn until_asked<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let patience = std::time::Instant::now();
    while !holds().await {
        assert!(patience.elapsed() < PATIENCE, "what was waited for has not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A body that is fed by hand: chunks, trailers, an error.
pub(crate) struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>);

#[derive(Clone)]
pub(crate) struct Feed(mpsc::UnboundedSender<Result<Frame<Bytes>, &'static str>>);

pub(crate) fn fed() -> (Feed, Fed) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Feed(sender), Fed(receiver))
}

impl Feed {
    pub(crate) fn send(&self, text: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(text.into()))).is_ok()
    }

    pub(crate) fn trailers(&self, lines: &[(&'static str, &'static str)]) {
        let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let _ = self.0.send(Ok(Frame::trailers(lines.collect())));
    }

    pub(crate) fn fail(&self) {
        let _ = self.0.send(Err("the handler died"));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx)
    }
}

/// An origin whose bodies are fed by the test, in the order of its runs.
pub(crate) fn streaming(bodies: Vec<Fed>, lines: &'static [(&'static str, &'static str)]) -> Origin {
    let bodies = std::sync::Mutex::new(VecDeque::from(bodies));
    Origin::open(move |_, _| {
        let body = bodies.lock().unwrap().pop_front().expect("a body for each run");
        let mut response = Response::new(Body::new(body));
        for (name, value) in lines {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

/// The next bytes of a body that is being read.
pub(crate) async fn chunk(body: &mut Incoming) -> Result<Bytes, hyper::Error> {
    match tokio::time::timeout(PATIENCE, body.frame()).await.expect("bytes in time") {
        Some(frame) => Ok(frame?.into_data().unwrap_or_default()),
        None => Ok(Bytes::new()),
    }
}

/// Calls a service without a socket, for tests with a paused clock.
pub(crate) fn empty(method: &str, path: &str, lines: &[(&str, &str)]) -> http::Request<Empty<Bytes>> {
    request(method, path, lines).body(Empty::new()).expect("a request")
}

/// An inner service without axum.
pub(crate) fn service<F, Fut>(
    respond: F,
) -> impl tower::Service<
    http::Request<Empty<Bytes>>,
    Response = http::Response<Full<Bytes>>,
    Error = Infallible,
    Future = impl Future<Output = Result<http::Response<Full<Bytes>>, Infallible>> + Send + 'static,
> + Clone
+ Send
+ 'static
where
    F: Fn(http::Request<Empty<Bytes>>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = http::Response<Full<Bytes>>> + Send + 'static,
{
    tower::service_fn(move |request| {
        let response = respond(request);
        async move { Ok(response.await) }
    })
}
