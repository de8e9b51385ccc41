//! A store's side of its remote tier.
//!
//! The tier keeps values and leases ([`crate::tier`]). What is here makes it safe to have one: nothing that it does, or fails
//! to do, turns an answer into an error or holds a call up for longer than the tier's share of it.
//!
//! 1. Before its body, the run of a flight makes an [`Approach`]: it brings a value from the tier, or the lease to make one,
//!    or nothing, and then the body runs as it would with memory alone. So whoever asks for the key meanwhile waits for the
//!    same trip.
//! 2. A value that came from the tier, or went there, bears a [`Mark`]. It is used as long as news about it would have
//!    arrived; otherwise the tier is asked again, and if it does not answer, the value is trusted until its TTL is over.
//! 3. A tier that fails is left alone ([`Health`]) until a probe succeeds. What it should have been told meanwhile is told
//!    first.
//! 4. Invalidations are done here first, then there, then here once more: what was loaded between the first and the second is
//!    void by the third.

mod approach;
mod away;
mod health;
mod index;
mod lease;
mod stats;
mod telemetry;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::key::{Key, rest_of};
use crate::memory::{AnyStored, Verdict};
use crate::policy::{Lifetime, Terms, Weight, after};
use crate::space::Space;
use crate::store::{Inner, Store};
use crate::sync::plain::AtomicU64;
use crate::sync::{Mutex, Ordering};
use crate::tags::{Bearing, Tag};
use crate::telemetry::{By, Telemetry, Voiding};
use crate::tier::{FillId, Kept, Limits, News, Record, Tier, TierError, TierKey};

pub(crate) use self::approach::{Approach, Approached, Errand};
pub(crate) use self::away::{Away, Reading};
use self::health::Health;
pub(crate) use self::health::Order;
use self::index::Index;
use self::lease::Leases;
pub(crate) use self::lease::{Held, Load};
pub use self::stats::TierStats;
use self::stats::{Counters, Event};
use self::telemetry::Op;
pub use self::wire::Identity;
pub(crate) use self::wire::{Typed, Wire};

/// A tier of some kind. Whatever panics in it, the store does without it.
pub(crate) type AnyTier = AssertUnwindSafe<Box<dyn Tier>>;

/// A store's remote tier, and what the store knows about it.
pub(crate) struct Remote {
    tier: AnyTier,
    limits: Limits,
    /// Where the tier's errands run that no call waits for.
    runtime: Handle,
    /// The number of the present link for news, or [`NO_LINK`].
    link: AtomicU64,
    health: Health,
    leases: Leases,
    caches: Mutex<Caches>,
    index: Index,
    counters: Counters,
    telemetry: Arc<Telemetry>,
    store: Weak<Inner>,
    me: Weak<Remote>,
}

const NO_LINK: u64 = 0;

/// The caches that have used the tier. There are as many as the program has, so they are never forgotten.
#[derive(Default)]
struct Caches {
    names: HashMap<Space, Arc<str>>,
    spaces: HashMap<Arc<str>, Space>,
}

/// What a value in memory has to do with the tier.
#[derive(Debug)]
pub(crate) struct Mark {
    /// The link by which news about it would arrive.
    link: u64,
    /// Until when that is enough.
    vouched_until: Instant,
    /// Which filling it is, once it is known to be one.
    fill: OnceCell<FillId>,
}

impl Mark {
    /// That of a value that the tier knows nothing of.
    pub(crate) fn unlinked() -> Self {
        Self { link: NO_LINK, vouched_until: Instant::now(), fill: OnceCell::new() }
    }

    pub(crate) fn fill(&self) -> Option<FillId> {
        self.fill.get().copied()
    }

    /// That of what the value has become, which the tier does not know yet.
    pub(crate) fn renewed(&self) -> Self {
        Self { link: self.link, vouched_until: self.vouched_until, fill: OnceCell::new() }
    }

    /// The value is known to the tier by this from now on.
    fn filled(&self, fill: FillId) {
        let _ = self.fill.set(fill);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("limits", &self.limits).field("is_well", &self.is_well()).finish_non_exhaustive()
    }
}

impl Remote {
    /// The tier of a store that is being built.
    pub(crate) fn new(tier: AnyTier, store: Weak<Inner>, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let Ok(runtime) = Handle::try_current() else {
            panic!("stampede: a store with a remote tier is built within a tokio runtime, which then serves the tier")
        };
        Arc::new_cyclic(|me| Self {
            limits: tier.limits(),
            tier,
            runtime,
            link: AtomicU64::new(NO_LINK),
            health: Health::default(),
            leases: Leases::default(),
            caches: Mutex::default(),
            index: Index::default(),
            counters: Counters::default(),
            telemetry,
            store,
            me: Weak::clone(me),
        })
    }

    /// Begins to listen to the tier's news.
    pub(crate) fn attach(&self) {
        self.telemetry.tier_is_up(self.tier.name(), true, false);
        let listener = Weak::clone(&self.me);
        self.tier.attach(Box::new(move |news| {
            if let Some(remote) = listener.upgrade() {
                remote.hear(news);
            }
        }));
    }

    /// Whether the tier is to be asked at all.
    pub(crate) fn is_well(&self) -> bool {
        self.health.is_well()
    }

    /// Whether a value in memory may be used without asking the tier.
    pub(crate) fn vouches(&self, mark: &Mark, now: Instant) -> bool {
        let is_linked = mark.link != NO_LINK && mark.link == self.link.load(Ordering::Acquire);
        // A tier that does not answer cannot be asked: memory is trusted.
        is_linked && now < mark.vouched_until || !self.is_well()
    }

    /// The mark of a value of which news will arrive from now on, if any does.
    pub(crate) fn mark(&self) -> Mark {
        let link = self.link.load(Ordering::Acquire);
        Mark { link, vouched_until: after(Instant::now(), self.limits.memory_ttl), fill: OnceCell::new() }
    }

    /// How the fleet knows a key; `None` if another cache of this process is known by the same.
    pub(crate) fn key(&self, key: &[u8], name: &'static str, wire: &dyn Wire) -> Option<TierKey> {
        let (space, parts) = rest_of(key).split_first_chunk()?;
        let (space, parts) = (Space::from_bytes(*space), Arc::from(parts));
        let store = self.store.upgrade().map(Store::from)?;
        self.index.add(key, |key| store.peek(key).is_some() || store.flights().has(key));
        let mut caches = self.caches.lock();
        if let Some(cache) = caches.names.get(&space) {
            return Some(TierKey { cache: Arc::clone(cache), parts });
        }
        let cache: Arc<str> = wire.identity().of(name).into();
        if caches.spaces.contains_key(&cache) {
            drop(caches);
            tracing::error!(%cache, "two caches have one name, type and version: the second stays in memory");
            return None;
        }
        caches.names.insert(space, Arc::clone(&cache));
        caches.spaces.insert(Arc::clone(&cache), space);
        Some(TierKey { cache, parts })
    }

    /// The key in this process, if something may be known under it here.
    fn local(&self, key: &TierKey) -> Option<Key> {
        let space = *self.caches.lock().spaces.get(&key.cache)?;
        let rest: Vec<u8> = space.to_bytes().iter().chain(&*key.parts).copied().collect();
        self.index.find(&rest)
    }

    /// Others have voided something.
    fn hear(&self, news: News) {
        let Some(store) = self.store.upgrade().map(Store::from) else { return };
        match news {
            News::Voided(key) => {
                if let Some(key) = self.local(&key) {
                    store.voided(Voiding::Invalidate, By::News);
                    store.void_here(&key);
                }
            }
            News::Expired(key) => {
                if let Some(key) = self.local(&key) {
                    store.voided(Voiding::Expire, By::News);
                    store.expire_here(&key);
                }
            }
            News::Tag(tag) => {
                store.voided(Voiding::Tag, By::News);
                store.tags().invalidate(&Tag::new(&tag));
            }
            News::Cleared => {
                store.voided(Voiding::Clear, By::News);
                store.clear_here();
            }
            News::Unlinked => self.link.store(NO_LINK, Ordering::Release),
            News::Linked => {
                static LINKS: AtomicU64 = AtomicU64::new(NO_LINK + 1);
                self.link.store(LINKS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
            }
        }
    }

    /// A trip of the tier's, no longer than its share of a call.
    async fn trip<T>(&self, op: &'static str, trip: impl Future<Output = Result<T, TierError>>) -> Option<T> {
        let op = Op::starts(op);
        let result = within(self.limits.time, trip).await;
        self.heard(op, result)
    }

    /// What has been counted.
    pub(crate) fn stats(&self) -> TierStats {
        self.counters.stats()
    }

    /// Counts something.
    fn count(&self, event: Event) {
        self.counters.count(event);
        self.telemetry.tier_event(self.tier.name(), event);
    }

    /// Takes note of how a trip ended.
    fn heard<T>(&self, op: Op, result: Result<T, TierError>) -> Option<T> {
        self.telemetry.trip(self.tier.name(), op, result.is_ok());
        match result {
            Ok(answer) => {
                self.health.succeeded();
                Some(answer)
            }
            Err(error) => {
                self.count(Event::Failure);
                if self.health.failed(&error) {
                    self.nurse();
                }
                None
            }
        }
    }

    /// Does something that no call waits for.
    fn spawn(&self, errand: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(errand);
    }

    /// Tells the tier, and does what is to be done `after` that: see the module's fourth rule. Says whether the tier has heard.
    ///
    /// # Cancel safety
    ///
    /// It is done, whatever becomes of the future.
    pub(crate) fn tell(&self, order: Order, after: impl FnOnce() + Send + 'static) -> JoinHandle<bool> {
        let remote = Weak::clone(&self.me);
        self.runtime.spawn(async move {
            let told = match remote.upgrade() {
                Some(remote) => remote.order(order).await,
                None => false,
            };
            after();
            told
        })
    }

    /// A value as it travels, if it can.
    pub(super) fn record(&self, stored: &AnyStored, wire: &dyn Wire, run_time: Duration) -> Option<Record> {
        let unfit = |reason: &str| {
            self.count(Event::Unfit);
            tracing::debug!(reason, "a value stays in memory");
        };
        let fresh = stored.life().fresh_until.saturating_duration_since(Instant::now());
        if fresh < Duration::from_millis(1) {
            return None;
        }
        let encode = || wire.encode(stored);
        let payload = catch_unwind(AssertUnwindSafe(encode)).unwrap_or_else(|_| Err("a panic".to_owned()));
        let payload = payload.inspect_err(|error| unfit(error)).ok()?;
        if payload.len() > self.limits.value_bytes {
            unfit("too large");
            return None;
        }
        Some(Record {
            payload,
            fingerprint: wire.fingerprint(),
            fresh,
            stale: stored.life().window(),
            run_time,
            tags: stored.tags(),
        })
    }

    /// A value that the tier keeps, as one of ours: `None` if it cannot be read.
    pub(crate) fn open(&self, kept: &Kept, wire: &dyn Wire, receipt: Receipt<'_>) -> Option<Arc<AnyStored>> {
        let Kept { record, fill, left } = kept;
        if record.fingerprint != wire.fingerprint() {
            self.count(Event::Undecodable);
            return None;
        }
        let Receipt { key, asked_at, terms, weight, max_ttl, epoch, tags_valid_at, mark } = receipt;
        let life = Lifetime::received(asked_at, record, *left, terms, max_ttl);
        let tags: Vec<Tag> = record.tags.iter().map(|tag| Tag::new(tag)).collect();
        let bearing = Bearing::of(&tags, tags_valid_at);
        mark.filled(*fill);
        let decode = || {
            let mut value = wire.decode(&record.payload)?;
            let weight = weight.of(&value);
            // Nobody else has it yet.
            let Some(stored) = Arc::get_mut(&mut value) else { return Err("it is shared already".to_owned()) };
            stored.judged(key, Verdict { life, epoch, bearing, weight, mark: Some(mark) });
            Ok(value)
        };
        let decoded = catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("a panic".to_owned()));
        // What the error says may quote the value.
        if decoded.is_err() {
            self.count(Event::Undecodable);
            tracing::debug!("a value of the remote tier cannot be read");
        }
        decoded.ok()
    }
}

/// A trip of the tier's, no longer than this.
async fn within<T>(limit: Duration, trip: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
    timeout(limit, trip).await.unwrap_or_else(|_| Err(TierError::new("no answer in time")))
}

/// Whether every tier has heard: memory has.
pub(crate) struct Told(pub(crate) Option<JoinHandle<bool>>);

impl Told {
    pub(crate) const EVERYWHERE: Self = Self(None);
}

impl Future for Told {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.0 {
            Some(remote) => Pin::new(remote).poll(cx).map(|told| told.unwrap_or(false)),
            None => Poll::Ready(true),
        }
    }
}

/// When and for whom a value was asked of the tier.
pub(crate) struct Receipt<'t> {
    pub(crate) key: &'t Key,
    pub(crate) asked_at: Instant,
    pub(crate) terms: &'t Terms,
    pub(crate) weight: &'t Weight,
    pub(crate) max_ttl: Duration,
    pub(crate) epoch: u64,
    pub(crate) tags_valid_at: u64,
    pub(crate) mark: Mark,
}

/// A random share of a duration, so that those who wait for one moment do not all come at it.
fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(crate::random::unit())
}
