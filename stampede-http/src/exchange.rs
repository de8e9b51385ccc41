//! What the cache shares and stores: the head of a response, and a body that may still be on its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, DATE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, response};
use http_body::Body;
use stampede_runtime::__hosting::Until;
use tokio::time::Instant;

use crate::config::Config;
use crate::control;
use crate::headers::shareable;
use crate::key::{Class, RequestKey};
use crate::stream::Stream;
use crate::verdict::Terms;

/// The number of a run of a handler: tells whose answer an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(u64);

impl RunId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a run of a handler comes to, for all who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A response for everybody.
    Shared(Arc<Exchange>),
    /// One for the caller whose run it was, and nobody else.
    Exclusive(RunId),
}

impl Answer {
    /// What it takes in memory.
    pub(crate) fn weight(&self) -> u32 {
        match self {
            Self::Shared(exchange) => u32::try_from(exchange.cost()).unwrap_or(u32::MAX),
            Self::Exclusive(_) => 1,
        }
    }
}

/// Where a response comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A run of the handler, in this process.
    Handler,
    /// The remote tier.
    #[cfg(feature = "tier")]
    Tier,
}

/// A response, as others than its first caller see it.
///
/// Whoever holds one has an interest in the body: when the last one is dropped, a body under way is given up.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) run: RunId,
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) stream: Arc<Stream>,
    /// The length that the head declares.
    pub(crate) declared: Option<u64>,
    /// The length that the body is going to have, as far as that is known.
    expected: Option<u64>,
    /// It says that it is for everybody, whoever asked.
    pub(crate) public: bool,
    /// Whether it is, or is going to be, stored.
    pub(crate) stored: bool,
    /// What its key takes in memory.
    key_size: usize,
    born: Instant,
    /// The time that it had spent in other caches.
    age: Duration,
    /// When its freshness ends, once its body is complete.
    fresh_until: OnceLock<Instant>,
    /// Its tag, once its body is complete, if it had none and is to have one.
    etag: OnceLock<Option<HeaderValue>>,
    generates_etag: bool,
    /// The methods that it answers: what there is of a HEAD's body says nothing about that of GET.
    class: Class,
    origin: Origin,
    /// The head of a hit as it was last given.
    hit: Mutex<Option<Arc<Prepared>>>,
}

/// What is known of a response that travels, besides what it says.
#[cfg(feature = "tier")]
#[derive(Debug)]
pub(crate) struct Travelled {
    pub(crate) class: Class,
    pub(crate) generates_etag: bool,
    pub(crate) key_size: usize,
    pub(crate) age: Duration,
    pub(crate) ttl: Duration,
}

/// The head of a hit, which stays the same for up to a second.
#[derive(Debug)]
struct Prepared {
    until: Until,
    /// Whether it has a `cache-status`, and an `x-cache`.
    marks: [bool; 2],
    head: response::Parts,
}

impl Exchange {
    /// The response with this head.
    pub(crate) fn new(
        run: RunId,
        head: &response::Parts,
        stream: Arc<Stream>,
        expected: Option<u64>,
        config: &Config,
        key: &RequestKey<'_>,
        terms: &Terms,
    ) -> Self {
        let class = key.class.clone();
        let mut headers = shareable(&head.headers, &config.personal_headers);
        // So that it does not grow younger on its way.
        if !headers.contains_key(DATE)
            && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
        {
            headers.insert(DATE, now);
        }
        let age = control::age(&headers);
        headers.remove(http::header::AGE);
        Self {
            run,
            status: head.status,
            version: head.version,
            declared: declared(&head.headers),
            expected,
            generates_etag: config.etag
                && class != Class::Head
                && head.status == StatusCode::OK
                && !headers.contains_key(ETAG),
            class,
            headers,
            stream,
            public: terms.public,
            key_size: key.size(),
            stored: terms.stored(),
            born: Instant::now(),
            age,
            fresh_until: OnceLock::new(),
            etag: OnceLock::new(),
            origin: Origin::Handler,
            hit: Mutex::new(None),
        }
    }

    /// A response from the remote tier, which is complete.
    #[cfg(feature = "tier")]
    pub(crate) fn arrived(
        status: StatusCode,
        version: Version,
        headers: HeaderMap,
        stream: Arc<Stream>,
        declared: Option<u64>,
        public: bool,
        travelled: Travelled,
    ) -> Self {
        let Travelled { class, generates_etag, key_size, age, ttl } = travelled;
        let exchange = Self {
            run: RunId::next(),
            status,
            version,
            headers,
            stream,
            declared,
            expected: None,
            public,
            stored: true,
            key_size,
            born: Instant::now(),
            age,
            fresh_until: OnceLock::new(),
            etag: OnceLock::new(),
            generates_etag,
            class,
            origin: Origin::Tier,
            hit: Mutex::new(None),
        };
        exchange.fresh_for(ttl);
        exchange
    }

    /// What goes with it to the remote tier, besides the response.
    #[cfg(feature = "tier")]
    pub(crate) fn travels(&self) -> Travelled {
        let now = Instant::now();
        Travelled {
            class: self.class.clone(),
            generates_etag: self.generates_etag,
            key_size: self.key_size,
            age: self.age + now.saturating_duration_since(self.born),
            ttl: self.fresh_until.get().map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
        }
    }

    fn cost(&self) -> usize {
        /// What a response takes besides what it consists of, in the store's tables as well.
        const OVERHEAD: usize = 1024;
        let head: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 96).sum();
        let body = match (self.stream.whole(), self.expected) {
            (None, Some(expected)) => usize::try_from(expected).unwrap_or(usize::MAX),
            _ => self.stream.cost(),
        };
        // Its headers are kept as those of a hit, too.
        OVERHEAD.saturating_add(self.key_size + 2 * head).saturating_add(body)
    }

    /// The length of the body, if it is known.
    pub(crate) fn len(&self) -> Option<u64> {
        self.stream.whole().filter(|_| self.class != Class::Head).map(|whole| whole.len).or(self.expected)
    }

    /// Its freshness begins now, and lasts for this long.
    pub(crate) fn fresh_for(&self, ttl: Duration) {
        if let Some(until) = Instant::now().checked_add(ttl) {
            let _ = self.fresh_until.set(until);
        }
    }

    /// Whether its status and method are such that a length belongs to it.
    pub(crate) fn has_body(&self) -> bool {
        self.class != Class::Head && self.status != StatusCode::NO_CONTENT
    }

    /// How long ago its head came.
    pub(crate) fn elapsed(&self) -> Duration {
        self.born.elapsed()
    }

    /// Whether it has come from the remote tier.
    pub(crate) fn has_arrived(&self) -> bool {
        self.origin != Origin::Handler
    }

    /// Whether it is complete, so that its freshness has begun.
    pub(crate) fn is_settled(&self) -> bool {
        self.fresh_until.get().is_some()
    }

    /// The seconds that it is still fresh for; less than none if it is stale, `None` if that is not known yet.
    pub(crate) fn ttl(&self, now: Instant) -> Option<i64> {
        let until = *self.fresh_until.get()?;
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Some(match now.checked_duration_since(until) {
            Some(since) => -seconds(since) - 1,
            None => seconds(until - now),
        })
    }

    /// The seconds since it came from where it came from.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        (self.age + now.saturating_duration_since(self.born)).as_secs()
    }

    /// Its head, with these headers.
    pub(crate) fn head(&self, headers: HeaderMap) -> response::Parts {
        let mut head = Response::new(()).into_parts().0;
        (head.status, head.version, head.headers) = (self.status, self.version, headers);
        head
    }

    /// The head of a hit, with headers as `make` makes them of its own, with its age and TTL.
    pub(crate) fn head_of_hit(
        &self,
        marks: [bool; 2],
        make: impl FnOnce(&mut HeaderMap, u64, Option<i64>),
    ) -> response::Parts {
        let last = self.hit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last.filter(|last| last.marks == marks && last.until.is_to_come()) {
            return last.head.clone();
        }
        let now = Instant::now();
        let mut headers = self.headers.clone();
        make(&mut headers, self.age(now), self.ttl(now));
        let head = self.head(headers);
        let prepared = Prepared { until: Until::new(now + self.until_next(now)), marks, head: head.clone() };
        *self.hit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(prepared));
        head
    }

    /// How long its age and its TTL stay the same, in seconds.
    fn until_next(&self, now: Instant) -> Duration {
        const SECOND: Duration = Duration::from_secs(1);
        let rest = |duration: Duration| Duration::from_nanos(u64::from(1_000_000_000 - duration.subsec_nanos()));
        let age = rest(self.age + now.saturating_duration_since(self.born));
        let ttl = self.fresh_until.get().map_or(SECOND, |until| match now.checked_duration_since(*until) {
            Some(since) => rest(since),
            // A whole second is one until it has passed.
            None => Duration::from_nanos(u64::from((*until - now).subsec_nanos()) + 1),
        });
        age.min(ttl)
    }

    /// The tag that was made of its bytes.
    pub(crate) fn generated_etag(&self) -> Option<&HeaderValue> {
        if !self.generates_etag {
            return None;
        }
        let whole = self.stream.whole()?;
        self.etag.get_or_init(|| crate::validators::generate(whole.bytes())).as_ref()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stream.abandon();
    }
}

/// The length of a body, as far as it is known beforehand. (What the head of a HEAD's response declares is that of GET's.)
pub(crate) fn expected(headers: &HeaderMap, body: &impl Body, is_head: bool) -> Option<u64> {
    if is_head { None } else { declared(headers).or_else(|| body.size_hint().exact()) }
}

/// The length that a head declares, if it is one.
pub(crate) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
