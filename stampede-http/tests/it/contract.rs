//! What types promise, and what a service owes another.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use stampede::Store;
use stampede::http::{BodyError, CacheLayer, CacheService, ResponseBody, ResponseFuture};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

use crate::harness::{TTL, empty, read};

/// Reserves a place when it is ready, and panics if it is called without one.
struct Strict {
    reserved: bool,
    places: Arc<AtomicUsize>,
    runs: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { reserved: false, places: Arc::clone(&self.places), runs: Arc::clone(&self.runs) }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        if self.reserved {
            self.places.fetch_sub(1, SeqCst);
        }
    }
}

impl Service<Request<Empty<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !self.reserved {
            self.reserved = true;
            self.places.fetch_add(1, SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        assert!(self.reserved, "called without having been ready");
        self.reserved = false;
        self.places.fetch_sub(1, SeqCst);
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        let mut response = Response::new(Full::from(run.to_string()));
        if request.uri().path() == "/private" {
            response.headers_mut().insert("cache-control", "private".parse().unwrap());
        }
        ready(Ok(response))
    }
}

#[tokio::test]
async fn what_is_called_is_what_was_ready_and_no_place_is_kept() {
    let (places, runs) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let inner = Strict { reserved: false, places: Arc::clone(&places), runs: Arc::clone(&runs) };
    let mut service = CacheLayer::new(TTL).store(&Store::builder().build()).layer(inner);
    for (method, path, lines) in [
        ("GET", "/", &[][..]),
        ("GET", "/", &[]),
        ("GET", "/", &[]),
        ("HEAD", "/", &[]),
        ("GET", "/private", &[]),
        ("GET", "/private", &[]),
        ("POST", "/", &[]),
        ("GET", "/", &[("cookie", "a")]),
        ("OPTIONS", "/", &[]),
        ("GET", "/", &[]),
    ] {
        let response = service.ready().await.unwrap().call(empty(method, path, lines)).await.unwrap();
        read(response).await.unwrap();
        assert_eq!(places.load(SeqCst), 0, "{method} {path}");
    }
    assert_eq!(runs.load(SeqCst), 7);
}

#[derive(Debug, PartialEq)]
struct Refused(u32);

/// An error that is neither `Clone` nor boxed: the one whose run it was gets it, others as the application says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_error_is_kept() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = |gate: Arc<tokio::sync::Semaphore>| {
        tower::service_fn(move |_: Request<Empty<Bytes>>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Err::<Response<Full<Bytes>>, _>(Refused(7))
            }
        })
    };
    for shares in [true, false] {
        let store = Store::builder().build();
        let layer = CacheLayer::new(TTL).store(&store);
        let layer = if shares { layer.share_error(|error: &Refused| Refused(error.0)) } else { layer };
        let service = layer.layer(inner(Arc::clone(&gate)));
        let mut callers = JoinSet::new();
        for _ in 0..3 {
            callers.spawn(service.clone().oneshot(empty("GET", "/", &[])));
        }
        crate::harness::until(|| store.stats().waiting == 3).await;
        gate.add_permits(1);
        let (mut errors, mut bad_gateways) = (0, 0);
        while let Some(outcome) = callers.join_next().await {
            match outcome.unwrap() {
                Err(error) => {
                    assert_eq!(error, Refused(7));
                    errors += 1;
                }
                Ok(response) => {
                    assert_eq!(response.status(), 502);
                    bad_gateways += 1;
                }
            }
        }
        assert_eq!((errors, bad_gateways), if shares { (3, 0) } else { (1, 2) });
        assert_eq!(store.stats().runs.error, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boxed_errors_reach_everybody() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = tower::service_fn({
        let gate = Arc::clone(&gate);
        move |_: Request<Empty<Bytes>>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Err::<Response<Full<Bytes>>, Boxed>("no way".into())
            }
        }
    });
    let store = Store::builder().build();
    let service = CacheLayer::new(TTL).store(&store).layer(inner);
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        callers.spawn(service.clone().oneshot(empty("GET", "/", &[])));
    }
    crate::harness::until(|| store.stats().waiting == 3).await;
    gate.add_permits(1);
    while let Some(outcome) = callers.join_next().await {
        assert_eq!(outcome.unwrap().expect_err("an error").to_string(), "no way");
    }
}

/// `Send`, and never `Sync`: `Cell` is the one without the other.
type NotSync = std::cell::Cell<()>;

#[derive(Clone, Default)]
struct Unshared(PhantomData<NotSync>);

struct UnsharedBody(PhantomData<NotSync>);

impl http_body::Body for UnsharedBody {
    type Data = std::io::Cursor<Vec<u8>>;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, std::io::Error>>> {
        Poll::Ready(None)
    }
}

impl Service<Request<UnsharedBody>> for Unshared {
    type Response = Response<UnsharedBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<UnsharedBody>) -> Self::Future {
        ready(Ok(Response::new(UnsharedBody(PhantomData))))
    }
}

#[test]
fn nothing_is_asked_to_be_sync_and_everything_can_be_sent() {
    fn is_service<S: Service<R> + Clone + Send, R>(_: &S) {}
    fn is_send<T: Send>() {}
    fn is_send_and_sync<T: Send + Sync>() {}
    is_service::<_, Request<UnsharedBody>>(&CacheLayer::new(TTL).layer(Unshared::default()));
    is_send_and_sync::<CacheLayer>();
    is_send_and_sync::<CacheService<u8>>();
    is_send_and_sync::<BodyError>();
    is_send::<ResponseBody<UnsharedBody>>();
    is_send::<ResponseFuture<Unshared, UnsharedBody, UnsharedBody>>();
}

/// The type of the body in requests is only made from bytes where methods with bodies are opted in.
#[test]
fn methods_with_bodies_ask_for_bodies_that_can_be_made() {
    fn is_service<S: Service<R>, R>(_: &S) {}
    let inner = tower::service_fn(|_: Request<Full<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let layer = CacheLayer::new(TTL).methods([http::Method::POST]);
    is_service::<_, Request<Full<Bytes>>>(&layer.layer(inner));
}

#[test]
fn what_is_public_says_what_it_is() {
    let layer = CacheLayer::new(TTL).name("pages");
    assert!(format!("{layer:?}").starts_with("CacheLayer { name: Some(\"pages\")"), "{layer:?}");
    assert!(format!("{:?}", layer.layer(())).starts_with("CacheService"));
    let mut service = layer.layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
}
