//! Counting what the remote tier does.

use crate::sync::Ordering;
use crate::sync::plain::AtomicU64;

/// What a store has seen of its remote tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// Values that the tier had.
    pub hits: u64,
    /// Leases that were granted: the tier had no value, and this process was to make it.
    pub leases: u64,
    /// Times that another process was already making the value.
    pub busy: u64,
    /// Times that a failure in another process put a run off.
    pub throttled: u64,
    /// Leases among these that were granted after another process had had one.
    pub takeovers: u64,
    /// Leases that somebody ended before there was a value: the key was voided.
    pub revoked: u64,
    /// Leases that were lost before there was a value: they could not be renewed in time.
    pub lost: u64,
    /// Values that were stored.
    pub fills: u64,
    /// Values that were refused: something had been voided since their run began, or the lease was lost.
    pub refused: u64,
    /// Values that could not be read: of another type or version, or damaged.
    pub undecodable: u64,
    /// Values that stayed in memory, for they cannot be encoded or are too large.
    pub unfit: u64,
    /// Trips that failed or took too long.
    pub failures: u64,
    /// Times that the tier was given up until a probe succeeds.
    pub outages: u64,
    /// Times that a probe has succeeded: while there are fewer of these than outages, calls do without the tier.
    pub recoveries: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Hit,
    Lease,
    Busy,
    Throttled,
    TakeOver,
    Revoked,
    Lost,
    Fill,
    Refused,
    Undecodable,
    Unfit,
    Failure,
    Outage,
    Recovery,
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 14]);

impl Counters {
    pub(crate) fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> TierStats {
        let count = |event: Event| self.0[event as usize].load(Ordering::Relaxed);
        TierStats {
            hits: count(Event::Hit),
            leases: count(Event::Lease),
            busy: count(Event::Busy),
            throttled: count(Event::Throttled),
            takeovers: count(Event::TakeOver),
            revoked: count(Event::Revoked),
            lost: count(Event::Lost),
            fills: count(Event::Fill),
            refused: count(Event::Refused),
            undecodable: count(Event::Undecodable),
            unfit: count(Event::Unfit),
            failures: count(Event::Failure),
            outages: count(Event::Outage),
            recoveries: count(Event::Recovery),
        }
    }
}
