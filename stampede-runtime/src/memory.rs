//! The memory tier: the only module that knows how values are kept.
//!
//! moka bounds it. It holds type-erased values behind one `Arc` each. What a value is good for is decided by the policy
//! from the entry's own times; moka's clock only clears away what nobody asks for any more.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::Expiry;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::aside::{Careful, Holding};
use crate::key::Key;
use crate::policy::{Age, Lifetime, after, nanos};
use crate::random;
use crate::remote::Mark;
use crate::settled::AnyError;
use crate::sync::{AtomicU64, Ordering};
use crate::tags::{Bearing, TagTable};

/// A value at rest, with what the policy needs to judge it.
pub(crate) struct Stored<V: ?Sized> {
    pub(crate) life: Lifetime,
    /// The store's epoch when the value's run began: a `clear` since then voids it.
    epoch: u64,
    /// The same as long as a glance at the lifetime tells all; zero where there is more to look at.
    glance: AtomicU64,
    weight: u32,
    /// No refresh before this, in nanoseconds since the end of the TTL: less than none before that.
    retry_at: AtomicU64,
    /// How much earlier than that the TTL has ended by `expire`, in nanoseconds.
    expired_by: AtomicU64,
    bearing: Option<Box<Bearing>>,
    /// What it has to do with the remote tier, if anything.
    remote: Option<Box<Mark>>,
    value: V,
}

/// A value of some type at rest: a [`Careful`] of it.
pub(crate) type AnyStored = Stored<dyn Any + Send + Sync>;

impl<V> Stored<Careful<V>> {
    /// A value of which nothing else is known yet; till [`judged`](Stored::judged), it is of use to nobody.
    pub(crate) fn new(value: V) -> Self {
        Self {
            life: Lifetime::over(),
            epoch: 0,
            glance: AtomicU64::new(0),
            weight: 0,
            retry_at: AtomicU64::new(i64::MIN.cast_unsigned()),
            expired_by: AtomicU64::new(0),
            bearing: None,
            remote: None,
            value: Careful::new(value),
        }
    }

    /// The same, with something to do with the remote tier.
    pub(crate) fn marked(mut self, mark: Mark) -> Self {
        self.mark(Some(mark));
        self
    }

    /// The same with all that there is to say about it, and shared.
    pub(crate) fn with(mut self, life: Lifetime, epoch: u64, bearing: Option<Box<Bearing>>, weight: u32) -> Arc<Self> {
        self.judged(life, epoch, bearing, weight);
        Arc::new(self)
    }
}

impl<V: ?Sized> Stored<V> {
    /// Says about a value what there is to say: its run began in this epoch (from 1) and with these tags.
    pub(crate) fn judged(&mut self, life: Lifetime, epoch: u64, bearing: Option<Box<Bearing>>, weight: u32) {
        self.life = life;
        self.epoch = epoch;
        // A glance tells neither whether a tag was voided nor whether somebody vouches for a copy.
        let is_plain = bearing.is_none() && self.remote.is_none();
        self.glance = AtomicU64::new(if is_plain { epoch } else { 0 });
        self.weight = weight;
        self.bearing = bearing;
    }

    /// Says what it has to do with the remote tier.
    pub(crate) fn mark(&mut self, mark: Option<Mark>) {
        self.remote = mark.map(Box::new);
        if self.remote.is_some() {
            self.glance = AtomicU64::new(0);
        }
    }

    /// What this has become: of the same run, so void with it.
    pub(crate) fn renewed<W>(&self, value: W, life: Lifetime, weight: u32) -> Arc<Stored<Careful<W>>> {
        let mut value = Stored::new(value);
        value.mark(self.remote.as_ref().map(|mark| mark.renewed()));
        value.with(life, self.epoch, self.bearing.clone(), weight)
    }

    /// What the value is good for, in this epoch of the store and with these tags voided.
    pub(crate) fn age(&self, now: Instant, epoch: u64, tags: &TagTable) -> Age {
        // Pairs with `expire`.
        if self.glance.load(Ordering::Acquire) >= epoch && now < self.life.refresh_at {
            return Age::Fresh;
        }
        self.look_closer(now, epoch, tags)
    }

    #[cold]
    fn look_closer(&self, now: Instant, epoch: u64, tags: &TagTable) -> Age {
        if self.epoch < epoch || self.bearing.as_ref().is_some_and(|bearing| tags.voids(bearing)) {
            return Age::Dead;
        }
        let forward = Duration::from_nanos(self.expired_by.load(Ordering::Relaxed));
        self.life.at(after(now, forward), random::unit)
    }

    /// What its tags are called.
    pub(crate) fn tags(&self) -> Arc<[Arc<str>]> {
        self.bearing.as_ref().map(|bearing| bearing.texts()).unwrap_or_default()
    }

    /// What it has to do with the remote tier, if anything.
    pub(crate) fn remote(&self) -> Option<&Mark> {
        self.remote.as_deref()
    }

    /// Ends the TTL now, if it has not ended. The windows beyond it are as long as they were.
    fn expire(&self, now: Instant) {
        let left = nanos(self.life.fresh_until.saturating_duration_since(now));
        if self.expired_by.load(Ordering::Relaxed) == 0 && left > 0 {
            self.expired_by.store(left, Ordering::Relaxed);
            // Pairs with `age`: who sees this sees that.
            self.glance.store(0, Ordering::Release);
        }
    }

    /// Keeps refreshes away until `then`.
    fn put_off(&self, then: Instant) {
        self.retry_at.store(self.since_ttl(then).cast_unsigned(), Ordering::Relaxed);
    }

    /// Whether they are kept away.
    pub(crate) fn is_put_off(&self, now: Instant) -> bool {
        self.since_ttl(now) < self.retry_at.load(Ordering::Relaxed).cast_signed()
    }

    /// The nanoseconds since the end of the TTL; before it, less than none.
    fn since_ttl(&self, now: Instant) -> i64 {
        let signed = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        signed(now.saturating_duration_since(self.life.fresh_until))
            - signed(self.life.fresh_until.saturating_duration_since(now))
    }
}

impl AnyStored {
    /// What [`is`](Self::is) is asked for values of this type.
    pub(crate) const fn type_of<V: Any>() -> TypeId {
        TypeId::of::<Careful<V>>()
    }

    /// Whether it is a value of this type.
    pub(crate) fn is(&self, ty: TypeId) -> bool {
        self.value.type_id() == ty
    }

    pub(crate) fn downcast<V: Any>(&self) -> Option<&V> {
        self.value.downcast_ref::<Careful<V>>()?.get()
    }

    /// Takes a value of this type out.
    pub(crate) fn take<V: Any>(&mut self) -> Option<V> {
        self.value.downcast_mut::<Careful<V>>()?.take()
    }

    /// Whether it is an error that is stored.
    pub(crate) fn is_error(&self) -> bool {
        self.value.is::<Careful<AnyError>>()
    }
}

/// How much a memory tier holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: u64,
    pub(crate) weight: Option<u64>,
}

impl Bounds {
    /// moka knows one bound. With two, an entry costs the larger of its shares in either, so that whatever fits by cost
    /// fits by both.
    const WHOLE: u64 = 1 << 31;

    fn capacity(self) -> u64 {
        if self.weight.is_some() { Self::WHOLE } else { self.entries }
    }

    fn cost(self, weight: u32) -> u32 {
        let Some(bound) = self.weight else { return 1 };
        let by_entries = Self::WHOLE.div_ceil(self.entries.max(1));
        let by_weight = (u128::from(weight) * u128::from(Self::WHOLE)).div_ceil(u128::from(bound.max(1)));
        u32::try_from(by_weight.max(u128::from(by_entries))).unwrap_or(u32::MAX)
    }
}

pub(crate) struct Memory {
    cache: Cache<Key, Arc<AnyStored>>,
    bounds: Bounds,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl Memory {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let mut cache = Cache::builder().max_capacity(bounds.capacity());
        if bounds.weight.is_some() {
            cache = cache.weigher(move |_, stored: &Arc<AnyStored>| bounds.cost(stored.weight));
        }
        // A paused clock and moka's own would disagree about what is over.
        if !cfg!(feature = "test-util") {
            cache = cache.expire_after(WhenDead);
        }
        Self { cache: cache.build(), bounds }
    }

    /// Whether anything can be stored at all.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.bounds.entries == 0 || self.bounds.weight == Some(0)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<AnyStored>> {
        let _holding = Holding::start();
        self.cache.get(key)
    }

    pub(crate) fn insert(&self, key: Key, stored: Arc<AnyStored>) {
        let _holding = Holding::start();
        self.cache.insert(key, stored);
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        let _holding = Holding::start();
        self.cache.invalidate(key);
    }

    /// Lets go of this very value.
    pub(crate) fn remove_this(&self, key: &[u8], stored: &Arc<AnyStored>) {
        if self.get(key).is_some_and(|there| Arc::ptr_eq(&there, stored)) {
            self.remove(key);
        }
    }

    /// Keeps refreshes of the value that is stored under a key away for this long. Says whether there is one.
    pub(crate) fn put_off(&self, key: &[u8], retry_after: Duration) -> bool {
        let now = Instant::now();
        let value = self.get(key).filter(|stored| !stored.is_error() && now < stored.life.dead_at());
        if let Some(stored) = &value {
            stored.put_off(after(now, retry_after));
        }
        value.is_some()
    }

    /// Ends the TTL of what is stored under a key.
    pub(crate) fn expire(&self, key: &[u8]) {
        if let Some(stored) = self.get(key) {
            stored.expire(Instant::now());
        }
    }

    /// Lets go of everything. What was stored is already void by its epoch; this frees the memory.
    pub(crate) fn clear(&self) {
        let _holding = Holding::start();
        self.cache.invalidate_all();
    }

    pub(crate) fn len(&self) -> u64 {
        let _holding = Holding::start();
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }
}

/// Tells moka when a value is of no more use.
struct WhenDead;

impl WhenDead {
    fn remaining(stored: &AnyStored) -> Duration {
        stored.life.dead_at().saturating_duration_since(Instant::now())
    }
}

impl Expiry<Key, Arc<AnyStored>> for WhenDead {
    fn expire_after_create(&self, _: &Key, stored: &Arc<AnyStored>, _: std::time::Instant) -> Option<Duration> {
        Some(Self::remaining(stored))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        stored: &Arc<AnyStored>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::remaining(stored))
    }
}
