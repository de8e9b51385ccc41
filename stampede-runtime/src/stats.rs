//! Counting: what calls and runs came to.

use std::cell::Cell;

use crate::remote::TierStats;
use crate::sync::Ordering;
use crate::sync::plain::{AtomicU64, AtomicUsize};

/// How many calls ended in which way. Each call counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Answered from the store with a value within its TTL.
    pub fresh: u64,
    /// Answered with an old value: at once, while a refresh was due, running, or put off; or in place of an error, or of a
    /// longer wait.
    pub stale: u64,
    /// Started a run and waited for it.
    pub miss: u64,
    /// Waited for a run that another call had started.
    pub coalesced: u64,
    /// Ended in an error or a panic, whichever way the call had taken: also in a stored error, in
    /// [`Timeout`](crate::Timeout) or in [`CircuitOpen`](crate::CircuitOpen).
    pub error: u64,
    /// Went past the store: `uncached`, [`Store::bypass`](crate::Store::bypass), or a key that could not be serialized.
    pub bypass: u64,
}

impl Calls {
    /// All calls.
    pub const fn total(&self) -> u64 {
        self.fresh + self.stale + self.miss + self.coalesced + self.error + self.bypass
    }
}

/// How many runs of a body ended in which way. Each run counts once, when it ends; runs of bypassing calls do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Runs {
    /// Gave a value.
    pub ok: u64,
    /// Gave an error.
    pub error: u64,
    /// Panicked.
    pub panic: u64,
    /// Reached its `run_limit` and was dropped.
    pub timeout: u64,
    /// Was dropped before its end: nobody could use its result any more, or its task or runtime went away.
    pub cancelled: u64,
    /// Gave a value that `NoCache` or `cache_if` kept out of the store.
    pub no_cache: u64,
}

impl Runs {
    /// All runs that have ended.
    pub const fn total(&self) -> u64 {
        self.ok + self.error + self.panic + self.timeout + self.cancelled + self.no_cache
    }
}

/// What a [`Store`](crate::Store) has seen since it was built, by [`Store::stats`](crate::Store::stats).
///
/// The figures are read one after the other while others may be counting; they agree with each other once the store is
/// at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls by how they ended.
    pub calls: Calls,
    /// Runs by how they ended.
    pub runs: Runs,
    /// Runs that are under way.
    pub in_flight: u64,
    /// Callers that wait for a run.
    pub waiting: u64,
    /// Values in the memory tier. Some may have expired: they go as others are stored, and as this is asked for.
    pub entries: u64,
    /// What the remote tier has done; nothing if there is none.
    pub tier: TierStats,
}

impl Stats {
    /// Runs that did not happen because an answer could be shared: calls − bypass − runs.
    ///
    /// Background runs count as runs, so a store that is refreshed more often than it is read has saved nothing: zero.
    pub const fn runs_saved(&self) -> u64 {
        (self.calls.total() - self.calls.bypass).saturating_sub(self.runs.total())
    }
}

/// An enum of words: all of them, and each as metrics and logs have it.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All there are.
            #[cfg(feature = "metrics")]
            pub(crate) const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// The word that metrics and logs have for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// How a call ended: see [`Calls`].
    Outcome {
        /// With a value within its TTL.
        Fresh = "fresh",
        /// With an old value.
        Stale = "stale",
        /// With the value of a run that it had started.
        Miss = "miss",
        /// With the value of a run that another call had started.
        Coalesced = "coalesced",
        /// In an error or a panic.
        Error = "error",
        /// Past the store.
        Bypass = "bypass",
    }
}

words! {
    /// How a run ended: see [`Runs`].
    RunResult {
        /// With a value.
        Ok = "ok",
        /// With an error.
        Error = "error",
        /// In a panic.
        Panic = "panic",
        /// At its limit.
        Timeout = "timeout",
        /// Dropped before its end.
        Cancelled = "cancelled",
        /// With a value that is not to be stored.
        NoCache = "no_cache",
    }
}

words! {
    /// What began a run.
    Trigger {
        /// A call that found nothing to answer with.
        Miss = "miss",
        /// A call that was answered with an old value.
        Stale = "stale",
        /// A call that was answered with a value near the end of its TTL: `refresh_ahead` or `xfetch`.
        Early = "early",
        /// A call that wanted a run, by [`fresh`](crate::fresh).
        Manual = "manual",
    }
}

const SHARDS: usize = 16;

/// One thread's share of the counters, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    calls: [AtomicU64; 6],
    runs: [AtomicU64; 6],
}

/// The counters of a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    shards: [Shard; SHARDS],
}

impl Counters {
    fn shard(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        &self.shards[MINE.with(Cell::get)]
    }

    pub(crate) fn call(&self, outcome: Outcome) {
        self.shard().calls[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn run(&self, result: RunResult) {
        self.shard().runs[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> Calls {
        let sum = |outcome: Outcome| -> u64 {
            self.shards.iter().map(|shard| shard.calls[outcome as usize].load(Ordering::Relaxed)).sum()
        };
        Calls {
            fresh: sum(Outcome::Fresh),
            stale: sum(Outcome::Stale),
            miss: sum(Outcome::Miss),
            coalesced: sum(Outcome::Coalesced),
            error: sum(Outcome::Error),
            bypass: sum(Outcome::Bypass),
        }
    }

    pub(crate) fn runs(&self) -> Runs {
        let sum = |result: RunResult| -> u64 {
            self.shards.iter().map(|shard| shard.runs[result as usize].load(Ordering::Relaxed)).sum()
        };
        Runs {
            ok: sum(RunResult::Ok),
            error: sum(RunResult::Error),
            panic: sum(RunResult::Panic),
            timeout: sum(RunResult::Timeout),
            cancelled: sum(RunResult::Cancelled),
            no_cache: sum(RunResult::NoCache),
        }
    }
}
