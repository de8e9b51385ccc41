//! The layer: what is to be cached, and how.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, response};
use stampede_runtime::__hosting::Options;
use stampede_runtime::Store;
use tower_layer::Layer;

use crate::config::Config;
use crate::exchange::Answer;
use crate::patterns::Patterns;
use crate::service::CacheService;
use crate::share::CopyError;

/// A tower layer that gives HTTP handlers one run per URL, and their callers a stored response.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use stampede::http::CacheLayer;
///
/// let app: Router = Router::new()
///     .route("/report", get(|| async { "a slow report" }))
///     .layer(CacheLayer::new(Duration::from_secs(5)).stale_while_revalidate(Duration::from_secs(30)));
/// ```
///
/// See the [crate's page](crate) for what is shared and what is not. Clones of a layer share, and so do all services that it
/// makes; a clone that is told something else is a cache of its own, unless both have one [`name`](Self::name).
///
/// `P` says whether requests with bodies can be shared: see [`methods`](Self::methods).
pub struct CacheLayer<P = Untouched> {
    config: Arc<Config>,
    bodies: P,
}

/// Requests with bodies are passed on as they are, and share nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untouched(());

/// Bodies of requests whose methods are opted in are read, and are a part of the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected(());

/// What is done about the bodies of requests: [`Untouched`] or [`Collected`].
pub trait RequestBodies<B>: sealed::RequestBodies<B> + Copy + Send + Sync + 'static {}

impl<B, P: sealed::RequestBodies<B> + Copy + Send + Sync + 'static> RequestBodies<B> for P {}

mod sealed {
    use super::{Bytes, Collected, Untouched};

    pub trait RequestBodies<B> {
        const REBUILDS: bool;

        fn rebuild(bytes: Bytes) -> Option<B>;
    }

    impl<B> RequestBodies<B> for Untouched {
        const REBUILDS: bool = false;

        fn rebuild(_: Bytes) -> Option<B> {
            None
        }
    }

    impl<B: From<Bytes>> RequestBodies<B> for Collected {
        const REBUILDS: bool = true;

        fn rebuild(bytes: Bytes) -> Option<B> {
            Some(bytes.into())
        }
    }
}

impl<P: Copy> Clone for CacheLayer<P> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), bodies: self.bodies }
    }
}

impl<P> fmt::Debug for CacheLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl<S, P: Copy> Layer<S> for CacheLayer<P> {
    type Service = CacheService<S, P>;

    fn layer(&self, inner: S) -> CacheService<S, P> {
        CacheService::new(inner, Arc::clone(&self.config), self.bodies)
    }
}

impl CacheLayer {
    /// Stores responses for this long, counted from the end of their bodies. Zero stores nothing: see
    /// [`coalesce_only`](Self::coalesce_only).
    pub fn new(ttl: Duration) -> Self {
        Self { config: Arc::new(Config::new(ttl)), bodies: Untouched(()) }
    }

    /// Stores nothing: requests that come while an equal one is being answered share its run, and its response.
    pub fn coalesce_only() -> Self {
        Self::new(Duration::ZERO)
    }
}

/// Freshness and failure. What a policy means is said in full at the argument of `#[coalesce]` of the same name; a 5xx counts
/// as an error, as do a panic, a timeout, and an error of the service.
impl<P> CacheLayer<P> {
    fn edit(self, edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = Arc::try_unwrap(self.config).unwrap_or_else(|shared| Config::clone(&shared));
        edit(&mut config);
        Self { config: Arc::new(config), bodies: self.bodies }
    }

    fn options(self, change: impl FnOnce(Options<Answer>) -> Options<Answer>) -> Self {
        self.edit(|config| config.options = change(std::mem::take(&mut config.options)))
    }

    /// How long after its TTL a response is still the answer at once, while one background run refreshes it. Off unless
    /// told. A response may say less, by `stale-while-revalidate` or `must-revalidate`.
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.options(|options| options.stale_while_revalidate(window))
    }

    /// How long after its TTL a response is still the answer if a run ends in a 5xx, an error, a panic, or takes too long.
    /// Off unless told. A response may say less, by `stale-if-error` or `must-revalidate`.
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.options(|options| options.stale_if_error(window))
    }

    /// How long after a failed or unstored run there is no further one for the key, while an old response can be served;
    /// 1 s unless told.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        self.options(|options| options.retry_after(retry_after))
    }

    /// The share of the TTL, between 0 and 1, after which the first hit starts a background run. Off unless told.
    #[must_use]
    pub fn refresh_ahead(self, share: f64) -> Self {
        self.options(|options| options.refresh_ahead(share))
    }

    /// β of `XFetch`: hits start a background run at random, the likelier the nearer the end of the TTL and the longer the
    /// run took, up to its head. Off unless told.
    #[must_use]
    pub fn xfetch(self, beta: f64) -> Self {
        self.options(|options| options.xfetch(beta))
    }

    /// The share of each TTL, at least 0 and less than 1, up to which it is cut at random. 0 unless told.
    #[must_use]
    pub fn jitter(self, share: f64) -> Self {
        self.options(|options| options.jitter(share))
    }

    /// How long a caller waits for the head of a response at most: then it gets an old one within its windows, or a 504.
    /// The run goes on. It also bounds the run of a caller who waited for a response that turned out to be personal;
    /// requests that share nothing from the start take as long as their handler does. Off unless told.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let layer = self.options(|options| options.timeout(timeout));
        layer.edit(|config| config.timeout = timeout)
    }

    /// How long a caller waits while there is an old response within its windows: then that is the answer, and the run goes
    /// on. Off unless told.
    #[must_use]
    pub fn soft_timeout(self, soft_timeout: Duration) -> Self {
        self.options(|options| options.soft_timeout(soft_timeout))
    }

    /// How long the handler may take for a response with its body. Then it is dropped: those who still wait for the head get
    /// an old response or a 504, those who read the body an aborted one. The larger of 5 min and ten times the
    /// [`timeout`](Self::timeout) unless told.
    #[must_use]
    pub fn run_limit(self, run_limit: Duration) -> Self {
        self.edit(|config| config.run_limit = run_limit)
    }

    /// A circuit breaker for all keys of the layer: after so many failures in a row no run starts for `reset_after`, and
    /// callers get an old response within its windows, or a 503 with `Retry-After`; then one run probes. Off unless told.
    #[must_use]
    pub fn breaker(self, failures: u32, reset_after: Duration) -> Self {
        let layer = self.options(|options| options.breaker(failures, reset_after));
        layer.edit(|config| config.breaker = Some((failures, reset_after)))
    }

    /// The TTL of responses by their status; `None` for those that are not to be stored, which are shared with those who
    /// wait. It takes the place of the layer's TTL. A 206 or 304 is never stored, and a 5xx that has a TTL is no error.
    ///
    /// Unless told, the TTL is for 200, 203, 204, 300, 301, 308, 404, 405, 410 and 414, and other responses are not stored.
    #[must_use]
    pub fn ttl_by_status(self, ttl: impl Fn(StatusCode) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.edit(|config| config.ttl_by_status = Some(Arc::new(ttl)))
    }

    /// The store to use; the one in force when the first request comes unless told.
    ///
    /// A response weighs about as many units as it has bytes in memory, so a store with a
    /// [`max_weight`](stampede_runtime::StoreBuilder::max_weight) is bounded in bytes.
    #[must_use]
    pub fn store(self, store: &Store) -> Self {
        self.edit(|config| config.store = Some(store.clone()))
    }

    /// What the cache is called in `Cache-Status`, in logs, and among the caches of its store: layers of one name on one
    /// store share. Unless told, a layer and its clones are a cache of their own, called `stampede`.
    #[must_use]
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|config| config.name = Some(name.into()))
    }

    /// Stored responses also go to the store's remote tier, and come from there, so that several processes share them and their
    /// runs; without such a tier, they stay in memory. Give the layer a [`name`](Self::name): two processes share what has
    /// one. In memory unless told.
    #[cfg(feature = "tier")]
    #[must_use]
    pub fn remote(self) -> Self {
        self.options(|options| options.remote::<crate::travel::Responses>(stampede_runtime::__hosting::Identity::HTTP))
            .edit(|config| {
                config.name.get_or_insert(Cow::Borrowed("stampede::http"));
            })
    }

    /// Tags that all responses bear, besides those that they name themselves ([`Tags`](crate::Tags)):
    /// [`Store::invalidate_tag`] voids them all at once.
    #[must_use]
    pub fn tags(self, tags: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let tags: Vec<_> = tags.into_iter().map(|tag| stampede_runtime::__hosting::Tag::new(tag.as_ref())).collect();
        self.options(|options| options.tags(&tags))
    }
}

/// What is shared, and what tells requests apart.
impl<P> CacheLayer<P> {
    /// Headers of the request that are a part of the key, so that responses may vary on them. With `Authorization` or
    /// `Cookie` among them, requests that have those can be answered from what is stored for equal ones.
    #[must_use]
    pub fn vary_on(self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.edit(|config| {
            config.vary_on = headers.into_iter().collect();
            config.vary_on.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            config.vary_on.dedup();
        })
    }

    /// Adds to the key: a tenant, say, or what a router in front has cut off the path.
    #[must_use]
    pub fn key_part(self, part: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.edit(|config| config.key_part = Some(Arc::new(part)))
    }

    /// Takes the place of scheme, host, path and query in the key. The class of the method, [`vary_on`](Self::vary_on),
    /// [`key_part`](Self::key_part) and the body of the request stay parts of it.
    #[must_use]
    pub fn key_fn(self, key: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.edit(|config| config.key_fn = Some(Arc::new(key)))
    }

    /// The methods whose requests can be shared: GET and HEAD unless told. Bodies of others are read, if they say that they
    /// are not longer than [`max_request_body`](Self::max_request_body), and are a part of the key, with their
    /// `Content-Type` and `Content-Encoding`, so the type of the request's body is made from `Bytes`.
    ///
    /// Requests with unsafe methods that are not among these always reach the handler, and void what is stored for their
    /// URL if they succeed.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> CacheLayer<Collected> {
        let Self { config, .. } = self.edit(|config| {
            config.methods = methods.into_iter().collect();
            config.reads_bodies = true;
        });
        CacheLayer { config, bodies: Collected(()) }
    }

    /// How long the body of a request may be that is a part of the key; 16 KiB unless told. Longer ones share nothing.
    #[must_use]
    pub fn max_request_body(self, max: u64) -> Self {
        self.edit(|config| config.max_request_body = max)
    }

    /// Limits the layer to these paths. A `*` at the end stands for anything.
    #[must_use]
    pub fn paths(self, paths: impl IntoIterator<Item: Into<Cow<'static, str>>>) -> Self {
        self.edit(|config| config.paths = Some(Patterns::new(paths)))
    }

    /// Limits the layer to the requests that it accepts; others reach the handler as if it were not there. (Unsafe methods
    /// void what is stored for their URL all the same.)
    #[must_use]
    pub fn accept_request(self, accepts: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.edit(|config| config.accept_request = Some(Arc::new(accepts)))
    }

    /// Stores only the responses that it accepts, by their head and the size of their body, which is there by then. Others
    /// are shared with those who wait, and while the body is on its way.
    #[must_use]
    pub fn accept_response(self, accepts: impl Fn(&response::Parts, u64) -> bool + Send + Sync + 'static) -> Self {
        self.edit(|config| config.accept_response = Some(Arc::new(accepts)))
    }

    /// How large the body of a response may be that is stored; 1 MiB unless told. A larger one passes through whole: one
    /// that declares its length goes to the caller whose run it was, and others run on their own; one that does not, to
    /// those who have begun to read it, at the pace of the slowest, who may hold up the others for a second.
    #[must_use]
    pub fn max_body(self, max: usize) -> Self {
        self.edit(|config| config.max_body = max)
    }

    /// For how long a URL is remembered whose response turned out to be personal, endless or too large: requests for it
    /// share nothing meanwhile. 10 s unless told.
    #[must_use]
    pub fn personal_for(self, duration: Duration) -> Self {
        self.edit(|config| config.personal_for = duration)
    }

    /// How an error of the service reaches several callers, where its type is neither `Infallible` nor
    /// `Box<dyn Error + Send + Sync>`. `E` is that type.
    #[must_use]
    pub fn share_error<E: 'static>(self, copy: fn(&E) -> E) -> Self {
        let copy: CopyError<E> = copy;
        self.edit(|config| config.share_error = Some(Arc::new(copy)))
    }
}

/// Headers of the response.
impl<P> CacheLayer<P> {
    /// The headers that only the caller gets whose run it was: those of rate limits and request ids unless told. A `*` at
    /// the end stands for anything. (A response with `Set-Cookie` is not shared in any case.)
    #[must_use]
    pub fn personal_headers(self, names: impl IntoIterator<Item: Into<Cow<'static, str>>>) -> Self {
        self.edit(|config| config.personal_headers = Patterns::of_names(names))
    }

    /// Whether responses say in `Cache-Status` (RFC 9211) what the cache did; they do unless told.
    #[must_use]
    pub fn cache_status(self, on: bool) -> Self {
        self.edit(|config| config.cache_status = on)
    }

    /// Whether responses bear an `x-cache` of one word: `HIT`, `STALE`, `MISS`, `COLLAPSED` or `BYPASS`. Off unless told.
    #[must_use]
    pub fn x_cache(self, on: bool) -> Self {
        self.edit(|config| config.x_cache = on)
    }

    /// Whether stored responses with status 200 that have no `ETag` get one made of their bytes, so that clients can ask
    /// whether they have changed. Off unless told. (A body that is still on its way has none yet.)
    #[must_use]
    pub fn etag(self, on: bool) -> Self {
        self.edit(|config| config.etag = on)
    }
}
