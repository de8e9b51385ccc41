//! What a run and its body know of each other.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::breaker::{News, Permit};
use crate::key::Key;
use crate::policy::{Report, Terms};
use crate::remote::Load;
use crate::stats::Trigger;
use crate::sync::plain::{AtomicBool, AtomicU64, AtomicUsize};
use crate::sync::{Mutex, OnceCell, Ordering};
use crate::tags::{Bearing, Tag};
#[cfg(feature = "metrics")]
use crate::{key::space_of, space::Space};

/// One run of a body: who it is, who waits for it, and what the body has said about its result.
#[derive(Debug)]
pub(crate) struct Run {
    /// The number of its flight: a run that takes over from a lost one has the same.
    pub(crate) id: u64,
    /// The cache's name, for people.
    pub(crate) name: &'static str,
    pub(crate) key: Key,
    /// What began it.
    pub(crate) trigger: Trigger,
    /// The store's identity: equal keys in two stores are two things.
    pub(crate) store: usize,
    /// Callers that wait. Written under the flight's lock; the body may read it at any time.
    waiters: AtomicUsize,
    begun: AtomicBool,
    over: AtomicBool,
    /// Still on its way to the body: see [`crate::remote`].
    approaching: AtomicBool,
    timed_out: AtomicBool,
    /// When its body was first polled, where somebody wants to know.
    began: OnceCell<Instant>,
    /// What its events belong to, until it is over.
    span: Mutex<Option<Span>>,
    /// It takes over from a run that reached its limit.
    follows_timeout: bool,
    no_cache: AtomicBool,
    store_for: Mutex<Option<Duration>>,
    /// The breaker's leave, where there is one: until somebody says how the run ended.
    permit: Mutex<Option<Box<Permit>>>,
    /// What a host has said about the result.
    hosted: Mutex<Option<Box<Said>>>,
    /// What is to go to the remote tier once the host knows what has become of the result.
    load: Mutex<Option<Box<Load>>>,
}

/// What only hosts say: see [`crate::hosting`].
#[derive(Debug, Default)]
struct Said {
    /// At most so long beyond the TTL: while it is revalidated, and in place of errors.
    windows: Option<(Duration, Duration)>,
    tags: Vec<Tag>,
    tags_valid_at: u64,
    /// The result goes on growing.
    grows: bool,
}

impl Run {
    pub(crate) fn new(name: &'static str, key: Key, store: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::numbered(NEXT.fetch_add(1, Ordering::Relaxed), name, key, store)
    }

    fn numbered(id: u64, name: &'static str, key: Key, store: usize) -> Self {
        Self {
            id,
            name,
            key,
            trigger: Trigger::Miss,
            store,
            waiters: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            over: AtomicBool::new(false),
            approaching: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            began: OnceCell::new(),
            span: Mutex::new(None),
            follows_timeout: false,
            no_cache: AtomicBool::new(false),
            store_for: Mutex::new(None),
            permit: Mutex::new(None),
            hosted: Mutex::new(None),
            load: Mutex::new(None),
        }
    }

    /// The run has the breaker's leave.
    pub(crate) fn permitted(&self, permit: Permit) {
        *self.permit.lock() = Some(Box::new(permit));
    }

    pub(crate) fn has_permit(&self) -> bool {
        self.permit.lock().is_some()
    }

    /// Settles with the breaker, where that has not been done.
    pub(crate) fn settle(&self, report: Report) -> Option<News> {
        let permit = self.permit.lock().take();
        permit.map(|permit| permit.settle(report))
    }

    /// The run that takes over from this one.
    pub(crate) fn next(&self) -> Self {
        let next = Self::numbered(self.id, self.name, Key::clone(&self.key), self.store);
        next.set_waiters(self.waiters());
        // A run that never began changes nothing.
        let follows_timeout = self.has_timed_out() || self.follows_timeout && !self.has_begun();
        Self { follows_timeout, trigger: self.trigger, ..next }
    }

    /// Notes that the run reached its limit.
    pub(crate) fn time_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed)
    }

    /// Whether the run before it in its flight reached its limit.
    pub(crate) fn follows_timeout(&self) -> bool {
        self.follows_timeout
    }

    /// The same, begun by this.
    pub(crate) fn triggered(self, trigger: Trigger) -> Self {
        Self { trigger, ..self }
    }

    /// The cache that it is of. One outside all flights is of none.
    #[cfg(feature = "metrics")]
    pub(crate) fn space(&self) -> Option<Space> {
        space_of(&self.key)
    }

    /// The body is polled, perhaps for the first time.
    pub(crate) fn body_begins(&self) {
        if self.began.get().is_none() {
            let _ = self.began.set(Instant::now());
        }
    }

    /// How long the body has run; nothing, if it has not been polled, or nobody wants to know.
    pub(crate) fn run_time(&self) -> Duration {
        self.began.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// What happens from now on belongs to this span.
    pub(crate) fn give_span(&self, span: &Span) {
        *self.span.lock() = Some(span.clone());
    }

    pub(crate) fn take_span(&self) -> Option<Span> {
        self.span.lock().take()
    }

    /// Notes that the body has been polled.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Notes that the remote tier is asked before the body runs; or that the body runs now.
    pub(crate) fn approach(&self, approaching: bool) {
        self.approaching.store(approaching, Ordering::Relaxed);
    }

    /// Whether the body has not been asked yet: then it has not run.
    pub(crate) fn is_approaching(&self) -> bool {
        self.approaching.load(Ordering::Relaxed)
    }

    /// Notes that the run is over: its body is not to be polled again.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A run outside all flights, of a call that goes past the store. It has no key.
    pub(crate) fn uncached(name: &'static str) -> Self {
        let run = Self::new(name, Key::from([]), 0);
        run.set_waiters(1);
        run
    }

    /// Whether both are about the same key of the same store.
    pub(crate) fn same_key(&self, other: &Self) -> bool {
        !self.key.is_empty() && self.store == other.store && self.key == other.key
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waiters(&self, waiters: usize) {
        self.waiters.store(waiters, Ordering::Relaxed);
    }

    /// The body said that its result is not to be stored.
    pub(crate) fn no_cache(&self) {
        self.no_cache.store(true, Ordering::Relaxed);
    }

    /// The body said how long its result is good for.
    pub(crate) fn store_for(&self, ttl: Duration) {
        *self.store_for.lock() = Some(ttl);
    }

    /// How long the body said that its result is good for, if it did.
    pub(crate) fn said_ttl(&self) -> Option<Duration> {
        *self.store_for.lock()
    }

    /// How long the result is to be fresh, going by the options' `ttl` and by what the body said: zero if it is not to be
    /// stored.
    pub(crate) fn ttl(&self, ttl: Duration) -> Duration {
        if self.said_no_cache() { Duration::ZERO } else { self.store_for.lock().unwrap_or(ttl) }
    }

    /// Whether the result is going to be stored: what the body said, else `by_default`.
    pub(crate) fn will_store(&self, by_default: bool) -> bool {
        !self.said_no_cache() && self.store_for.lock().map_or(by_default, |ttl| !ttl.is_zero())
    }

    pub(crate) fn limit_windows(&self, stale_while_revalidate: Duration, stale_if_error: Duration) {
        self.hosted.lock().get_or_insert_default().windows = Some((stale_while_revalidate, stale_if_error));
    }

    /// The result bears these tags besides, which are as old as the invalidation `valid_at`.
    pub(crate) fn bear(&self, tags: Vec<Tag>, valid_at: u64) {
        let mut hosted = self.hosted.lock();
        let said = hosted.get_or_insert_default();
        said.tags = tags;
        said.tags_valid_at = valid_at;
    }

    /// The terms of the result's lifetime: the cache's, as far as nothing stricter was said.
    pub(crate) fn windows(&self, terms: &Terms) -> Terms {
        match self.hosted.lock().as_ref().and_then(|said| said.windows) {
            Some((revalidate, on_error)) => Terms {
                stale_while_revalidate: terms.stale_while_revalidate.min(revalidate),
                stale_if_error: terms.stale_if_error.min(on_error),
                ..*terms
            },
            None => *terms,
        }
    }

    /// What the result bears: the flight's tags, and those that were named since.
    pub(crate) fn bearing(&self, flight: Option<Box<Bearing>>) -> Option<Box<Bearing>> {
        match &*self.hosted.lock() {
            Some(said) => Bearing::with(flight, &said.tags, said.tags_valid_at),
            None => flight,
        }
    }

    /// The result goes on growing: it is not to leave the process before [`take_load`](Self::take_load).
    pub(crate) fn grow(&self) {
        self.hosted.lock().get_or_insert_default().grows = true;
    }

    /// Keeps what is to go to the remote tier for later, if the result goes on growing; else gives it back.
    pub(crate) fn keep_load(&self, load: Load) -> Option<Load> {
        if !self.hosted.lock().as_ref().is_some_and(|said| said.grows) {
            return Some(load);
        }
        *self.load.lock() = Some(Box::new(load));
        None
    }

    pub(crate) fn take_load(&self) -> Option<Box<Load>> {
        self.load.lock().take()
    }

    pub(crate) fn said_no_cache(&self) -> bool {
        self.no_cache.load(Ordering::Relaxed)
    }
}
