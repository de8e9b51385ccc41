//! A tier beyond memory: where a fleet keeps what its processes share, and settles which of them runs a body. It takes the
//! feature `tier`.
//!
//! A [`Tier`] is a table of values with a lease beside each. It decides three things atomically, and nothing else:
//!
//! 1. A key has at most one lease. Who asks for a key gets its value, or the lease to make one, or hears that somebody else
//!    has it ([`acquire`](Tier::acquire)).
//! 2. A value is stored by the lease that it was made under, if that still stands and none of its tags was voided since
//!    ([`fill`](Tier::fill)); an [`invalidate`](Tier::invalidate), a [`put`](Tier::put), an [`expire`](Tier::expire) or another
//!    forced claim ends every lease of its key. So nothing that was known before an invalidation is stored after it.
//! 3. What was voided is gone for everybody at once, and all who are attached hear of it.
//!
//! What a tier may not do is get in the way. All the rest is seen to by the store that it belongs to: how long a call waits
//! for an answer, what happens if there is none, when to leave a sick tier alone, and when to ask it again; that leases are
//! renewed while their runs go on; that invalidations which did not arrive are repeated before the tier is read again.
//!
//! `stampede-redis` is one. Whoever writes another passes the `conformance` suite with it, which comes with the feature
//! `test-util`, as does `memory`, a tier for tests.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(feature = "test-util")]
pub mod memory;

/// A round trip to a tier.
///
/// # Cancel safety
///
/// A store drops it when it takes too long. Whether the tier has done what it was asked is then unknown.
pub type Trip<'t, T> = Pin<Box<dyn Future<Output = Result<T, TierError>> + Send + 't>>;

/// Ready when something may have happened: with what is known of it.
pub type Signal = Pin<Box<dyn Future<Output = Word> + Send>>;

/// See the [module](self).
pub trait Tier: Send + Sync + 'static {
    /// What metrics and logs call it.
    fn name(&self) -> &'static str {
        "remote"
    }

    /// How the store is to treat this tier.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Names whom to tell what others have voided, and how the link to them is. Called once, within a tokio runtime, before
    /// anything else. The listener neither blocks nor calls the tier.
    fn attach(&self, listener: Listener);

    /// The value of a key, if a valid one is kept. Takes no lease.
    fn read<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Option<Kept>>;

    /// The value of a key, or the lease to make it, in one atomic step.
    fn acquire<'t>(&'t self, key: &'t TierKey, claim: Claim) -> Trip<'t, Acquired>;

    /// Ready once whatever happens to the key from now on will wake the signal: a value, a lease that ends, an invalidation.
    /// The signal may also wake for nothing.
    fn watch<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Signal>;

    /// Stores the value that was made under a lease, and ends the lease. Says how the value is known from now on; `None` if
    /// it is refused: the lease is no more, or a tag of the value has been voided since it was claimed.
    fn fill<'t>(&'t self, key: &'t TierKey, lease: Lease, record: Record) -> Trip<'t, Option<FillId>>;

    /// Ends a lease, if it stands, without a value: those who watch the key hear that it was
    /// [given back](Word::GivenBack). Those who have an old value to serve are kept away for `throttle`.
    fn release<'t>(&'t self, key: &'t TierKey, lease: Lease, throttle: Duration) -> Trip<'t, ()>;

    /// Prolongs leases to [`Limits::lease`] from now. Leases that are no more stay so.
    fn renew<'t>(&'t self, leases: &'t [(TierKey, Lease)]) -> Trip<'t, ()>;

    /// Stores a value, whoever has the lease, and ends that.
    fn put<'t>(&'t self, key: &'t TierKey, record: Record) -> Trip<'t, FillId>;

    /// Voids a key: its value and its lease.
    fn invalidate<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()>;

    /// Ends the TTL of a key's value, which stays for as long as it may be served stale, and its lease.
    fn expire<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()>;

    /// Voids all values that bear a tag, and those that runs under way will bring with it.
    fn invalidate_tag<'t>(&'t self, tag: &'t str) -> Trip<'t, ()>;

    /// Voids all values, and those that runs under way will bring.
    fn clear(&self) -> Trip<'_, ()>;

    /// Whether the tier answers and takes values.
    fn ping(&self) -> Trip<'_, ()>;
}

/// How a store treats its tier.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The tier's share of a call: how long a call waits for its value or lease, all in all.
    pub time: Duration,
    /// How long a lease stands unless it is renewed.
    pub lease: Duration,
    /// How long copies of the tier's values are used without asking it again, at most.
    pub memory_ttl: Duration,
    /// Values that take more bytes stay in memory.
    pub value_bytes: usize,
}

impl Default for Limits {
    /// 250 ms, 3 s, no limit, 1 MiB.
    fn default() -> Self {
        Self {
            time: Duration::from_millis(250),
            lease: Duration::from_secs(3),
            memory_ttl: Duration::MAX,
            value_bytes: 1 << 20,
        }
    }
}

/// A key as a fleet knows it: the same in all processes and builds that agree about what it means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TierKey {
    /// The cache: its name, the types of its instantiation, and its version.
    pub cache: Arc<str>,
    /// The key's parts, encoded. They may be long.
    pub parts: Arc<[u8]>,
}

/// Which filling of a key a value is. No two have the same, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FillId(pub u128);

/// The right to store a key's value. Each claim that succeeds has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What proves it.
    pub token: u128,
    /// Where the claim's tags stood when it was granted, in their order, as the tier counts.
    pub tags: Vec<u64>,
}

/// What somebody asks for who needs a value.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The filling that is known, and will not do.
    pub seen: Option<FillId>,
    /// That filling cannot be used by anybody like us: it is to be removed.
    pub discard: bool,
    /// No value will do, and no lease of others stands in the way: theirs ends.
    pub force: bool,
    /// There is an old value to be served, so that a failure elsewhere is a reason to wait.
    pub has_old: bool,
    /// The tags that the value is going to bear.
    pub tags: Arc<[Arc<str>]>,
}

/// What a claim comes to.
#[derive(Clone, Debug)]
pub enum Acquired {
    /// There is a valid value other than the one that was seen, fresh or not.
    Value(Kept),
    /// The value is the claimant's to make.
    Leased(Lease),
    /// Somebody else has the lease, for this long unless it is renewed.
    Busy(Duration),
    /// A run has failed elsewhere, and old values will have to do for this long. Only for those who have one.
    Throttled(Duration),
}

/// What those who watch a key hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The lease was given back without a value. Who has followed it does not follow another one: the next run may fail
    /// just so, and they would fail in turn.
    GivenBack,
    /// Anything else, or nothing.
    Other,
}

/// A value on its way to the tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The value, as its codec wrote it.
    pub payload: Vec<u8>,
    /// What tells whether it can be read: type, codec and version of the value.
    pub fingerprint: u64,
    /// How long it is fresh. Never zero.
    pub fresh: Duration,
    /// How long beyond that it may be served.
    pub stale: Duration,
    /// How long its run took.
    pub run_time: Duration,
    /// Its tags: first those of the claim that it was made under.
    pub tags: Arc<[Arc<str>]>,
}

/// A value that the tier keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The value as it was stored; `fresh` and `stale` are what they were then.
    pub record: Record,
    /// Which filling this is.
    pub fill: FillId,
    /// How long it will be kept yet, `stale` included.
    pub left: Duration,
}

/// What others have done, or what has become of the link to them. A store need not hear of what it did itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A key is void, or has a new value that was put.
    Voided(TierKey),
    /// A key's TTL has ended.
    Expired(TierKey),
    /// All that bears this tag is void.
    Tag(Arc<str>),
    /// All is void.
    Cleared,
    /// From now on news will arrive.
    Linked,
    /// From now on, and since a moment ago, news may have been missed.
    Unlinked,
}

/// Whom a tier tells its news.
pub type Listener = Box<dyn Fn(News) + Send + Sync>;

/// Why a tier has not answered, or not as it should.
#[derive(Debug)]
pub struct TierError {
    message: String,
    is_loud: bool,
}

impl TierError {
    /// It is down, slow, or out of its mind: that may pass, and calls do without meanwhile.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_loud: false }
    }

    /// It will not pass by itself: a wrong password, say. Calls do without, and the log says so as an error.
    pub fn loud(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_loud: true }
    }

    /// Whether somebody has to see to it.
    pub fn is_loud(&self) -> bool {
        self.is_loud
    }
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TierError {}
