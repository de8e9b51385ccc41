//! What the soak did, counted by itself.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// What is counted.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Count {
    /// Those that were polled.
    Calls,
    Uncached,
    Fresh,
    NoStale,
    Nested,
    Burst,
    Unpolled,
    /// Calls that were polled and dropped before they had an answer.
    Dropped,
    Values,
    Errors,
    Timeouts,
    Refusals,
    Panics,
    Gets,
    Puts,
    Invalidations,
    Expirations,
    TagInvalidations,
    NoiseTags,
    Clears,
    Bypasses,
    /// Bodies that began, `uncached` ones aside, and how they ended.
    Begun,
    EndedInValue,
    EndedInError,
    EndedInPanic,
}

impl Count {
    pub(crate) const ALL: [(Self, &str); 25] = [
        (Self::Calls, "calls"),
        (Self::Uncached, "  uncached"),
        (Self::Fresh, "  fresh"),
        (Self::NoStale, "  no_stale"),
        (Self::Nested, "  within bodies"),
        (Self::Burst, "  in bursts of 50"),
        (Self::Dropped, "  dropped before their end"),
        (Self::Values, "  ended in a value"),
        (Self::Errors, "  ended in an error"),
        (Self::Timeouts, "  ended in Timeout"),
        (Self::Refusals, "  ended in CircuitOpen"),
        (Self::Panics, "  ended in a panic"),
        (Self::Unpolled, "futures dropped unpolled"),
        (Self::Gets, "entries read"),
        (Self::Puts, "entries put"),
        (Self::Invalidations, "entries invalidated"),
        (Self::Expirations, "entries expired"),
        (Self::TagInvalidations, "tags invalidated"),
        (Self::NoiseTags, "tags that nothing bears"),
        (Self::Clears, "clear"),
        (Self::Bypasses, "bypass switched on"),
        (Self::Begun, "bodies begun"),
        (Self::EndedInValue, "  ended in a value"),
        (Self::EndedInError, "  ended in an error"),
        (Self::EndedInPanic, "  ended in a panic"),
    ];
}

#[derive(Default)]
pub(crate) struct Ledger {
    counts: [AtomicU64; Count::ALL.len()],
    slowest: AtomicU64,
}

impl Ledger {
    pub(crate) fn count(&self, count: Count) {
        self.add(count, 1);
    }

    pub(crate) fn add(&self, count: Count, times: u64) {
        self.counts[count as usize].fetch_add(times, SeqCst);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(SeqCst)
    }

    pub(crate) fn took(&self, time: Duration) {
        self.slowest.fetch_max(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), SeqCst);
    }

    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(SeqCst))
    }
}
