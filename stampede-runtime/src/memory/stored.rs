//! Values at rest, and what each of them is good for.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::aside::Careful;
use crate::clock::Surely;
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
    pub(crate) weight: u32,
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
        self.weight = weight;
        self.bearing = bearing;
    }

    /// Says what it has to do with the remote tier.
    pub(crate) fn mark(&mut self, mark: Option<Mark>) {
        self.remote = mark.map(Box::new);
    }

    /// What this has become: of the same run, so void with it.
    pub(crate) fn renewed<W>(&self, value: W, life: Lifetime, weight: u32) -> Arc<Stored<Careful<W>>> {
        let mut value = Stored::new(value);
        value.mark(self.remote.as_ref().map(|mark| mark.renewed()));
        value.with(life, self.epoch, self.bearing.clone(), weight)
    }

    /// What its tags are called.
    pub(crate) fn tags(&self) -> Arc<[Arc<str>]> {
        self.bearing.as_ref().map(|bearing| bearing.texts()).unwrap_or_default()
    }

    /// What it has to do with the remote tier, if anything.
    pub(crate) fn remote(&self) -> Option<&Mark> {
        self.remote.as_deref()
    }

    /// What suffices for an ordinary hit.
    pub(crate) fn glance(&self) -> Glance {
        // It tells neither whether a tag was voided nor whether somebody vouches for a copy.
        let is_plain = self.bearing.is_none() && self.remote.is_none();
        let epoch = if is_plain { self.epoch } else { 0 };
        Glance { surely: Surely::before(self.life.refresh_at), epoch: AtomicU64::new(epoch) }
    }

    /// What the value is good for, in this epoch of the store and with these tags voided.
    pub(crate) fn age(&self, now: Instant, epoch: u64, tags: &TagTable) -> Age {
        if self.epoch < epoch || self.bearing.as_ref().is_some_and(|bearing| tags.voids(bearing)) {
            return Age::Dead;
        }
        let forward = Duration::from_nanos(self.expired_by.load(Ordering::Relaxed));
        self.life.at(after(now, forward), random::unit)
    }

    /// Ends the TTL now, if it has not ended. The windows beyond it are as long as they were.
    pub(crate) fn expire(&self, now: Instant) {
        let left = nanos(self.life.fresh_until.saturating_duration_since(now));
        if self.expired_by.load(Ordering::Relaxed) == 0 && left > 0 {
            self.expired_by.store(left, Ordering::Relaxed);
        }
    }

    /// Keeps refreshes away until `then`.
    pub(crate) fn put_off(&self, then: Instant) {
        self.retry_at.store(self.since_ttl(then).cast_unsigned(), Ordering::Relaxed);
    }

    /// Whether they are kept away.
    pub(crate) fn is_put_off(&self, now: Instant) -> bool {
        self.since_ttl(now) < self.retry_at.load(Ordering::Relaxed).cast_signed()
    }

    /// How long its TTL has been over.
    #[cfg(feature = "metrics")]
    pub(crate) fn stale_for(&self, now: Instant) -> Duration {
        let forward = Duration::from_nanos(self.expired_by.load(Ordering::Relaxed));
        after(now, forward).saturating_duration_since(self.life.fresh_until)
    }

    /// The nanoseconds since the end of the TTL; before it, less than none.
    fn since_ttl(&self, now: Instant) -> i64 {
        let signed = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        signed(now.saturating_duration_since(self.life.fresh_until))
            - signed(self.life.fresh_until.saturating_duration_since(now))
    }
}

/// What tells of an ordinary value that it is fresh, and that no refresh is due.
pub(crate) struct Glance {
    /// Until then it is so,
    surely: Surely,
    /// in this epoch of the store. Zero where there is more to look at: see [`Stored::age`].
    epoch: AtomicU64,
}

impl Glance {
    /// Whether it tells so. If not, the value may be fresh all the same.
    #[inline]
    pub(crate) fn is_fresh(&self, epoch: u64) -> bool {
        // Pairs with `close`.
        self.epoch.load(Ordering::Acquire) >= epoch && self.surely.is_to_come()
    }

    /// From now on there is more to look at. Who sees that sees what came before it.
    pub(crate) fn close(&self) {
        self.epoch.store(0, Ordering::Release);
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
