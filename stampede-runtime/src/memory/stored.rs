//! Values at rest, and what each of them is good for.
//!
//! A value at rest is one piece of memory with what the table has to know about it: a hit looks nowhere else. It is written
//! before it is shared, and after that nothing of it changes but its atomics. What few values have is elsewhere.

use std::any::{Any, TypeId};
use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::time::Duration;

use tokio::time::Instant;

use crate::aside::Careful;
use crate::clock::{Moment, Surely};
use crate::key::{Key, hash_of, parts_of, space_of};
use crate::policy::{Age, Lifetime, Windows};
use crate::random;
use crate::remote::Mark;
use crate::settled::AnyError;
use crate::space::Space;
use crate::sync::{AtomicU64, Ordering, plain};
use crate::tags::{Bearing, TagTable};

/// A value at rest, with what the policy needs to judge it.
// In this order: the address of one is that of its head.
#[repr(C)]
pub(crate) struct Stored<V: ?Sized> {
    head: Head,
    value: V,
}

/// A value of some type at rest: a [`Careful`] of it.
pub(crate) type AnyStored = Stored<dyn Send + Sync>;

/// What all values at rest have.
// The table uses the low bits of its address.
#[repr(align(16))]
pub(crate) struct Head {
    /// The end of its TTL, a [`Moment`]: `expire` makes it an earlier one. To look at it is no step of a model's: the table
    /// does, with a lock of which that knows nothing.
    fresh_until: plain::AtomicU64,
    more: Option<Box<More>>,
    /// What it is the head of.
    pub(super) whole: &'static Whole,
    /// What tells it from others of its key that were put into the table.
    pub(super) number: plain::AtomicU32,
    pub(crate) space: Space,
    pub(super) hash: u64,
    pub(super) parts: Rest,
    /// The store's epoch when the value's run began: a `clear` since then voids it.
    epoch: u64,
    /// Until then, a [`Surely`], that and the epoch tell that it is fresh and that no refresh is due. Never, where there is
    /// more to look at: see [`Stored::age`].
    surely: AtomicU64,
}

/// What all values of a type have.
pub(super) struct Whole {
    pub(super) ty: TypeId,
    /// What this is the head of.
    of: fn(*const Head) -> *const AnyStored,
}

/// What few values have.
struct More {
    windows: Windows,
    weight: u32,
    /// No refresh before this, a [`Moment`].
    retry_at: AtomicU64,
    bearing: Option<Box<Bearing>>,
    /// What it has to do with the remote tier, if anything.
    remote: Option<Box<Mark>>,
}

/// The parts of a key. In place where they are short, as they mostly are: there is nowhere else to look then.
#[derive(Clone)]
pub(super) enum Rest {
    Short(Length, [u8; Self::SHORT]),
    Long(Key),
}

/// Declares the lengths of parts that are short.
macro_rules! lengths {
    ($($name:ident)+) => {
        /// A length of parts that are short, as a type of just so many values: what has it need not be asked whether it is
        /// within bounds.
        #[derive(Clone, Copy)]
        #[repr(u8)]
        pub(super) enum Length { $($name),+ }

        impl Length {
            const ALL: [Self; Rest::SHORT + 1] = [$(Self::$name),+];
        }
    };
}

lengths!(L0 L1 L2 L3 L4 L5 L6 L7 L8 L9 L10 L11 L12 L13 L14 L15 L16 L17 L18 L19 L20 L21 L22 L23);

impl Rest {
    pub(super) const SHORT: usize = 23;

    fn of(key: &Key) -> Self {
        let rest = parts_of(key);
        let mut short = [0; Self::SHORT];
        match (Length::ALL.get(rest.len()), short.get_mut(..rest.len())) {
            (Some(len), Some(room)) => {
                room.copy_from_slice(rest);
                Self::Short(*len, short)
            }
            _ => Self::Long(Arc::clone(key)),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..*len as usize],
            Self::Long(key) => parts_of(key),
        }
    }
}

impl Head {
    /// Whether the value is of no more use, by its time.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.life().dead_at() <= now
    }

    /// The parts of its key.
    #[inline]
    pub(crate) fn parts(&self) -> &[u8] {
        self.parts.as_bytes()
    }

    /// Whether it is of this key.
    pub(super) fn is_of(&self, key: &[u8]) -> bool {
        self.hash == hash_of(key) && Some(self.space) == space_of(key) && self.parts() == parts_of(key)
    }

    /// Whether both are of one key.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.hash == other.hash && self.space == other.space && self.parts() == other.parts()
    }

    /// Whether the value is plainly fresh in this epoch. If not, it may be fresh all the same.
    #[inline]
    pub(crate) fn is_fresh(&self, epoch: u64) -> bool {
        self.epoch >= epoch && Surely(self.surely.load(Ordering::Relaxed)).is_to_come()
    }

    /// Ends the TTL now, if it has not ended. The windows beyond it are as long as they were. Who looks meanwhile may see one
    /// half of it and not the other: then the value is fresh, as it was before.
    pub(super) fn expire(&self, now: Instant) {
        self.fresh_until.fetch_min(Moment::of(now).0, Ordering::Relaxed);
        self.surely.store(Surely::NEVER.0, Ordering::Relaxed);
    }

    /// Keeps refreshes away until `then`.
    pub(super) fn put_off(&self, then: Instant) {
        // Others are either fresh or of no use.
        if let Some(more) = &self.more {
            more.retry_at.store(Moment::of(then).0, Ordering::Relaxed);
        }
    }

    pub(super) fn weight(&self) -> u32 {
        self.more.as_ref().map_or(1, |more| more.weight)
    }

    fn bearing(&self) -> Option<&Bearing> {
        self.more.as_ref()?.bearing.as_deref()
    }

    fn judged(&mut self, verdict: Verdict) {
        let Verdict { life, epoch, bearing, weight, mark } = verdict;
        // Nothing tells by the time whether a tag was voided, nor whether somebody vouches for a copy.
        let is_plain = bearing.is_none() && mark.is_none();
        let surely = if is_plain { Surely::before(life.refresh_at()) } else { Surely::NEVER };
        self.epoch = epoch;
        self.fresh_until = plain::AtomicU64::new(Moment::of(life.fresh_until).0);
        self.surely = AtomicU64::new(surely.0);
        let has_more = !is_plain || weight != 1 || life.windows != Windows::default();
        self.more = has_more.then(|| {
            let (windows, retry_at, remote) = (life.windows, AtomicU64::new(Moment::MIN.0), mark.map(Box::new));
            Box::new(More { windows, weight, retry_at, bearing, remote })
        });
    }

    fn life(&self) -> Lifetime {
        let fresh_until = Moment(self.fresh_until.load(Ordering::Relaxed)).into();
        Lifetime { fresh_until, windows: self.more.as_ref().map(|more| more.windows).unwrap_or_default() }
    }
}

/// What is said about a value when it is written.
pub(crate) struct Verdict {
    pub(crate) life: Lifetime,
    /// In which its run began, from 1.
    pub(crate) epoch: u64,
    pub(crate) bearing: Option<Box<Bearing>>,
    pub(crate) weight: u32,
    pub(crate) mark: Option<Mark>,
}

impl Verdict {
    /// That on a value of which nothing else is to be said.
    pub(crate) fn plain(life: Lifetime, epoch: u64) -> Self {
        Self { life, epoch, bearing: None, weight: 1, mark: None }
    }
}

impl<V: Send + Sync + 'static> Stored<Careful<V>> {
    const WHOLE: Whole = Whole { ty: AnyStored::type_of::<V>(), of: |head| head.cast::<Self>() as *const AnyStored };

    /// A value of which nothing is known yet; till [`judged`](Stored::judged), it is of use to nobody.
    pub(crate) fn new(value: V) -> Self {
        let head = Head {
            fresh_until: plain::AtomicU64::new(Moment::of(Instant::now()).0),
            more: None,
            whole: &Self::WHOLE,
            number: plain::AtomicU32::new(0),
            space: Space::NONE,
            hash: 0,
            parts: Rest::Short(Length::L0, [0; Rest::SHORT]),
            epoch: 0,
            surely: AtomicU64::new(Surely::NEVER.0),
        };
        Self { head, value: Careful::new(value) }
    }

    /// The same with all that there is to say about it, and shared.
    pub(crate) fn with(mut self, key: &Key, verdict: Verdict) -> Arc<Self> {
        self.judged(key, verdict);
        Arc::new(self)
    }
}

impl<V> Stored<Careful<V>> {
    /// The value; absent only while it is being dropped.
    #[inline]
    pub(super) const fn get(&self) -> Option<&V> {
        self.value.get()
    }
}

impl<V: ?Sized> Stored<V> {
    /// Says about a value what there is to say, and of what key it is.
    pub(crate) fn judged(&mut self, key: &Key, verdict: Verdict) {
        let head = &mut self.head;
        head.space = space_of(key).unwrap_or(Space::NONE);
        (head.hash, head.parts) = (hash_of(key), Rest::of(key));
        head.judged(verdict);
    }

    /// What this has become: of the same run, so void with it.
    pub(crate) fn renewed<W: Send + Sync + 'static>(
        &self,
        value: W,
        life: Lifetime,
        weight: u32,
    ) -> Arc<Stored<Careful<W>>> {
        let Head { space, hash, parts, epoch, .. } = &self.head;
        let mut renewed = Stored::new(value);
        (renewed.head.space, renewed.head.hash, renewed.head.parts) = (*space, *hash, parts.clone());
        let (bearing, mark) = (self.head.bearing().cloned().map(Box::new), self.remote().map(Mark::renewed));
        renewed.head.judged(Verdict { life, epoch: *epoch, bearing, weight, mark });
        Arc::new(renewed)
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// What its tags are called.
    pub(crate) fn tags(&self) -> Arc<[Arc<str>]> {
        self.head.bearing().map(Bearing::texts).unwrap_or_default()
    }

    /// What it has to do with the remote tier, if anything.
    pub(crate) fn remote(&self) -> Option<&Mark> {
        self.head.more.as_ref()?.remote.as_deref()
    }

    /// The times of its life, as they are now.
    pub(crate) fn life(&self) -> Lifetime {
        self.head.life()
    }

    /// What the value is good for, in this epoch of the store and with these tags voided.
    pub(crate) fn age(&self, now: Instant, epoch: u64, tags: &TagTable) -> Age {
        if self.head.epoch < epoch || self.head.bearing().is_some_and(|bearing| tags.voids(bearing)) {
            return Age::Dead;
        }
        self.life().at(now, random::unit)
    }

    /// Whether refreshes are kept away.
    pub(crate) fn is_put_off(&self, now: Instant) -> bool {
        let more = self.head.more.as_ref();
        more.is_some_and(|more| Moment::of(now).0 < more.retry_at.load(Ordering::Relaxed))
    }

    /// How long its TTL has been over.
    #[cfg(feature = "metrics")]
    pub(crate) fn stale_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.life().fresh_until)
    }
}

impl AnyStored {
    /// Gives a share away, as the address of the head.
    pub(super) fn into_raw(this: Arc<Self>) -> *mut Head {
        Arc::into_raw(this).cast::<Head>().cast_mut()
    }

    /// What this is the head of. Only the head is looked at.
    ///
    /// # Safety
    ///
    /// The pointer is from [`into_raw`](Self::into_raw), and the value is not freed meanwhile.
    #[expect(unsafe_code, reason = "a slot of the table has room for an address, and no more")]
    #[inline]
    pub(super) unsafe fn whole(head: *const Head) -> *const Self {
        // SAFETY: by the contract, it is the address of a head.
        let whole = unsafe { (*head).whole };
        (whole.of)(head)
    }

    /// What [`is`](Self::is) is asked for values of this type.
    pub(crate) const fn type_of<V: Any>() -> TypeId {
        TypeId::of::<Careful<V>>()
    }

    /// Whether it is a value of this type.
    pub(crate) fn is(&self, ty: TypeId) -> bool {
        self.head.whole.ty == ty
    }

    pub(crate) fn downcast<V: Any>(&self) -> Option<&V> {
        if !self.is(const { Self::type_of::<V>() }) {
            return None;
        }
        #[expect(unsafe_code, reason = "each type that `Any` is asked about makes programs longer")]
        // SAFETY: what has this type is that.
        let stored = unsafe { &*(&raw const *self).cast::<Stored<Careful<V>>>() };
        stored.get()
    }

    /// Takes a value of this type out.
    pub(crate) fn take<V: Any>(&mut self) -> Option<V> {
        if !self.is(const { Self::type_of::<V>() }) {
            return None;
        }
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: as above.
        let stored = unsafe { &mut *(&raw mut *self).cast::<Stored<Careful<V>>>() };
        stored.value.take()
    }

    /// Whether it is an error that is stored.
    pub(crate) fn is_error(&self) -> bool {
        self.is(Self::type_of::<AnyError>())
    }
}
