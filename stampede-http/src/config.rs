//! What a layer has been told, and what its clones share.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode, response};
use stampede_runtime::__hosting::{self, Options};
use stampede_runtime::{Cache, CircuitOpen, Store, Timeout};

use crate::exchange::Answer;
use crate::headers::PERSONAL;
use crate::key::{Class, RequestKey, url};
use crate::marks::Marks;
use crate::patterns::Patterns;
use crate::under_way::UnderWay;

pub(crate) type Responses = Cache<Answer, (Timeout, CircuitOpen)>;

type ByStatus = Arc<dyn Fn(StatusCode) -> Option<Duration> + Send + Sync>;
type OfRequest<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;
type OfResponse = Arc<dyn Fn(&response::Parts, u64) -> bool + Send + Sync>;

/// A layer's description. Copies of it are told apart from what they were copied from.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Config {
    pub(crate) ttl: Duration,
    pub(crate) run_limit: Duration,
    pub(crate) timeout: Duration,
    pub(crate) breaker: Option<(u32, Duration)>,
    pub(crate) options: Options<Answer>,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) store: Option<Store>,
    pub(crate) ttl_by_status: Option<ByStatus>,
    pub(crate) vary_on: Vec<HeaderName>,
    pub(crate) methods: Vec<Method>,
    /// Of requests, so that they are a part of the key.
    pub(crate) reads_bodies: bool,
    pub(crate) max_request_body: u64,
    pub(crate) max_body: usize,
    pub(crate) key_part: Option<OfRequest<String>>,
    pub(crate) key_fn: Option<OfRequest<String>>,
    pub(crate) paths: Option<Patterns>,
    pub(crate) accept_request: Option<OfRequest<bool>>,
    pub(crate) accept_response: Option<OfResponse>,
    pub(crate) personal_headers: Patterns,
    pub(crate) personal_for: Duration,
    pub(crate) cache_status: bool,
    pub(crate) x_cache: bool,
    pub(crate) etag: bool,
    /// A `fn(&E) -> E` of the service's error type, whichever that is.
    pub(crate) share_error: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) bound: Bound,
}

/// What a layer and its clones have in common at work. A copy that is told something else has its own.
#[derive(Default)]
pub(crate) struct Bound {
    responses: OnceLock<Responses>,
    marks: OnceLock<Marks>,
    under_way: UnderWay,
}

impl Clone for Bound {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("name", &self.name).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            run_limit: Duration::ZERO,
            timeout: Duration::ZERO,
            breaker: None,
            options: Options::default().ttl(ttl).weight(Answer::weight),
            name: None,
            store: None,
            ttl_by_status: None,
            vary_on: Vec::new(),
            methods: vec![Method::GET, Method::HEAD],
            reads_bodies: false,
            max_request_body: 16 * 1024,
            max_body: 1024 * 1024,
            key_part: None,
            key_fn: None,
            paths: None,
            accept_request: None,
            accept_response: None,
            personal_headers: Patterns::of_names(PERSONAL),
            personal_for: Duration::from_secs(10),
            cache_status: true,
            x_cache: false,
            etag: false,
            share_error: None,
            bound: Bound::default(),
        }
    }

    /// The cache of this layer and its clones, on the store named, or in force when the first request comes.
    pub(crate) fn responses(&self) -> &Responses {
        static UNNAMED: AtomicU64 = AtomicU64::new(1);
        self.bound.responses.get_or_init(|| {
            let name = self
                .name
                .clone()
                .unwrap_or_else(|| format!("stampede::http #{}", UNNAMED.fetch_add(1, Ordering::Relaxed)).into());
            let store = self.store.clone().unwrap_or_else(Store::current);
            // A handler's time is up before its run's: a timeout is an answer, and not a next run.
            let options = self.options.clone().run_limit(self.run_limit() + Duration::from_secs(5));
            __hosting::cache(&name, store, options)
        })
    }

    pub(crate) fn store(&self) -> Store {
        __hosting::store(self.responses())
    }

    pub(crate) fn marks(&self) -> &Marks {
        self.bound.marks.get_or_init(Marks::new)
    }

    pub(crate) fn under_way(&self) -> &UnderWay {
        &self.bound.under_way
    }

    /// How long a handler may take, its body included.
    pub(crate) fn run_limit(&self) -> Duration {
        if self.run_limit.is_zero() {
            self.timeout.saturating_mul(10).max(Duration::from_mins(5))
        } else {
            self.run_limit
        }
    }

    /// The name that the cache goes by in `Cache-Status`.
    pub(crate) fn public_name(&self) -> &str {
        self.name.as_deref().unwrap_or("stampede")
    }

    /// Whether the layer is to look at a request at all.
    #[inline]
    pub(crate) fn accepts(&self, request: &Parts) -> bool {
        self.paths.as_ref().is_none_or(|paths| paths.contain(request.uri.path()))
            && self.accept_request.as_ref().is_none_or(|accepts| accepts(request))
    }

    pub(crate) fn key_has_origin(&self) -> bool {
        self.vary_on.contains(&ORIGIN)
    }

    /// Whether one URL may have several entries.
    pub(crate) fn has_variants(&self) -> bool {
        !self.vary_on.is_empty() || self.key_part.is_some() || self.key_fn.is_some() || self.reads_bodies
    }

    /// Whether keys of reads are no more than URLs.
    pub(crate) fn is_plain(&self) -> bool {
        self.vary_on.is_empty() && self.key_part.is_none() && self.key_fn.is_none()
    }

    pub(crate) fn key<'r>(&self, request: &'r Parts, class: Class, body: Bytes) -> RequestKey<'r> {
        let mut key = RequestKey::new(class, request, &self.vary_on, body);
        if let Some(words) = &self.key_fn {
            key.in_own_words(words(request));
        }
        if let Some(part) = &self.key_part {
            key.add_part(part(request));
        }
        key
    }

    /// The tag of all entries of a URL.
    pub(crate) fn url_tag(&self, request: &Parts) -> String {
        format!("stampede::http {} {}", __hosting::name(self.responses()), url(request))
    }

    /// How long a response with this status is to be stored; `None` if by its nature it is not.
    pub(crate) fn ttl_of(&self, status: StatusCode) -> Option<Duration> {
        if let Some(by_status) = &self.ttl_by_status {
            return by_status(status);
        }
        let storable = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414];
        storable.contains(&status.as_u16()).then_some(self.ttl)
    }
}
