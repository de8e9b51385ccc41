//! The service, and where the ways of requests part.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use stampede_runtime::__hosting;
use tower_service::Service;

use crate::answer;
use crate::asks::Asks;
use crate::body::ResponseBody;
use crate::config::Config;
use crate::future::{Answered, ResponseFuture};
use crate::inner::Inner;
use crate::key::Class;
use crate::layer::{RequestBodies, Untouched};
use crate::serve::{Caller, collect, pass};
use crate::status::{Did, Why};

/// A service whose responses are shared between callers and stored. Made by [`CacheLayer`](crate::CacheLayer); its clones,
/// and all services of one layer, share.
///
/// # Concurrent callers
///
/// Requests of one key share one run of the inner service, in a task of its own with a clone of the service, and its
/// response as it streams. See the [crate's page](crate) for what may be shared.
///
/// # Errors
///
/// Those of the inner service, as they are, to the caller whose run it was. Others who waited get a copy by
/// [`share_error`](crate::CacheLayer::share_error), a view with the same message and source chain if the type is
/// `Box<dyn Error + Send + Sync>`, and a 502 otherwise.
///
/// # Panics
///
/// A run that panics is a 500 to those who waited for it. A request that shares nothing panics as the inner service does.
///
/// # Cancel safety
///
/// Dropping the future of a call gives up the caller's place. A run whose response will be stored goes on; one whose
/// response nobody can use any more is cancelled.
pub struct CacheService<S, P = Untouched> {
    inner: S,
    config: Arc<Config>,
    bodies: P,
}

impl<S: Clone, P: Copy> Clone for CacheService<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), config: Arc::clone(&self.config), bodies: self.bodies }
    }
}

impl<S, P> fmt::Debug for CacheService<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S, P> CacheService<S, P> {
    pub(crate) const fn new(inner: S, config: Arc<Config>, bodies: P) -> Self {
        Self { inner, config, bodies }
    }

    /// The service within.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service within.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service within.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// What is done about a request.
#[derive(Clone, Copy)]
enum Way {
    /// The layer has no business with it.
    Pass,
    /// The handler's, with a word about why.
    Bypass,
    Share,
    Collect,
    WithCredentials,
    Void,
}

fn way<B: Body>(config: &Config, parts: &Parts, body: &B, asks: Asks, rebuilds: bool) -> Way {
    let method = &parts.method;
    if method == Method::CONNECT {
        return Way::Pass;
    }
    if !config.methods.contains(method) {
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        // It may write also where it asks for an upgrade: some clients do with every request.
        return if is_safe { Way::Pass } else { Way::Void };
    }
    if asks.upgrade || !config.accepts(parts) {
        return Way::Pass;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let is_empty = body.is_end_stream() || body.size_hint().upper() == Some(0);
    // What a condition makes of another method is the handler's to say.
    if asks.preconditions || asks.conditions && !reads {
        return Way::Bypass;
    }
    match (reads && is_empty, asks.credentials) {
        (true, true) => Way::WithCredentials,
        (true, false) => Way::Share,
        (false, true) => Way::Bypass,
        (false, false) => {
            let is_short = body.size_hint().upper().is_some_and(|len| len <= config.max_request_body);
            if rebuilds && is_short { Way::Collect } else { Way::Bypass }
        }
    }
}

impl<S, P, B, RB> Service<Request<B>> for CacheService<S, P>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    P: RequestBodies<B>,
    B: Body + Send + 'static,
    B::Data: Send,
    RB: Body + Send + 'static,
    RB::Data: Send,
    RB::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, RB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let config = Arc::clone(&self.config);
        let (parts, body) = request.into_parts();
        let asks = Asks::read(&parts.headers, &config.vary_on);
        let way = way(&config, &parts, &body, asks, P::REBUILDS);
        let is_known = || config.marks().is_set_for(|| config.key(&parts, Class::of(&parts.method), Bytes::new()));
        if let Way::Pass = way {
            return ResponseFuture::pass(self.inner.call(Request::from_parts(parts, body)), None);
        }
        if matches!(way, Way::Bypass) || matches!(way, Way::Share | Way::WithCredentials) && is_known() {
            __hosting::count_bypass(config.responses());
            return ResponseFuture::pass(self.inner.call(Request::from_parts(parts, body)), Some(config));
        }
        // A clone takes this one's place; what is called is what was polled ready.
        let clone = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, clone);
        let caller = Caller { config, service, parts, body, asks };
        match way {
            Way::Collect => ResponseFuture::shared(collected::<S, P, B>(caller)),
            Way::WithCredentials => ResponseFuture::shared(caller.with_credentials()),
            Way::Void => ResponseFuture::shared(caller.void()),
            _ => ResponseFuture::read(caller),
        }
    }
}

/// A request whose body is a part of its key.
async fn collected<S, P, B>(caller: Caller<S, B>) -> Answered<S::Body, S::Error>
where
    S: Inner<B>,
    P: RequestBodies<B>,
    B: Body + Send + 'static,
{
    let Caller { config, service, parts, body, asks } = caller;
    let did = Did::Forward { why: Why::Bypass, stored: false };
    let Some(bytes) = collect(body, config.max_request_body).await else {
        return Ok(answer::refusal(StatusCode::BAD_REQUEST, &config, did));
    };
    let key = config.key(&parts, Class::of(&parts.method), bytes.clone()).into_owned();
    let Some(body) = P::rebuild(bytes) else {
        return Ok(answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, &config, did));
    };
    if config.marks().is_set(&key) {
        __hosting::count_bypass(config.responses());
        return pass(&config, service, Request::from_parts(parts, body), Why::Bypass).await;
    }
    Caller { config, service, parts, body, asks }.share(key).await
}
