//! What runs return: values and errors that know where they come from.
//!
//! What can be said about the age of a value, without slack and without false alarms:
//!
//! 1. The store counts from an instant of its own, which nobody sees. It lies after `made`, which the body takes at its end,
//!    and before the first copy: whatever a store hands out is a copy, and it makes none before. So a value is too old for
//!    a call if the call began later than its first copy by more than its times allow.
//! 2. A value that nobody has copied yet counts from `made`, and [`GRACE`] is what a thread may lose between two
//!    instructions.
//!
//! And about its place in the order of events:
//!
//! 3. The body of a run takes its number at its start, and the flight began before that. What ends after it has begun, and
//!    took its own number later, voids it.
//! 4. What is put has its number from the moment that `put` has returned; before that, nothing can be said.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use stampede::{CircuitOpen, Timeout};

use crate::functions::Function;

/// The longest that a thread may be kept from its work.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The number of a value that is being put.
const UNKNOWN: u64 = u64::MAX;

/// A value, or what an error carries.
#[derive(Debug)]
pub(crate) struct Value(Arc<Birth>);

#[derive(Debug)]
struct Birth {
    function: Function,
    key: u16,
    number: AtomicU64,
    made: Instant,
    /// What `store_for` was told.
    ttl: Option<Duration>,
    copied: OnceLock<Instant>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.0.copied.get_or_init(Instant::now);
        Self(Arc::clone(&self.0))
    }
}

impl Value {
    /// What a run makes that began with this number and ends now.
    pub(crate) fn of_run(function: Function, key: u16, number: u64, ttl: Option<Duration>) -> Self {
        let (number, made) = (AtomicU64::new(number), Instant::now());
        Self(Arc::new(Birth { function, key, number, made, ttl, copied: OnceLock::new() }))
    }

    /// What is about to be put, twice: once to be put, and once to [say so](Self::has_been_put).
    pub(crate) fn to_put(function: Function, key: u16) -> (Self, Self) {
        let value = Self::of_run(function, key, UNKNOWN, None);
        let again = Self(Arc::clone(&value.0));
        (value, again)
    }

    /// The put has returned, and the next event has this number.
    pub(crate) fn has_been_put(&self, number: u64) {
        self.0.copied.get_or_init(Instant::now);
        self.0.number.store(number, SeqCst);
    }

    pub(crate) fn function(&self) -> Function {
        self.0.function
    }

    pub(crate) fn key(&self) -> u16 {
        self.0.key
    }

    pub(crate) fn number(&self) -> u64 {
        self.0.number.load(SeqCst)
    }

    /// The TTL that its body asked for.
    pub(crate) fn own_ttl(&self) -> Option<Duration> {
        self.0.ttl
    }

    /// The age at an instant, as far as it is certain.
    pub(crate) fn age_at(&self, then: Instant) -> Duration {
        let unseen = self.0.made + GRACE;
        let counted_from = self.0.copied.get().map_or(unseen, |copied| unseen.min(*copied));
        then.saturating_duration_since(counted_from)
    }

    /// Whether the run that made it was certainly over before an instant.
    pub(crate) fn was_over_before(&self, then: Instant) -> bool {
        self.0.copied.get().is_some_and(|copied| *copied < then)
    }
}

/// The error of the functions.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Run(Value),
    Timeout(Timeout),
    Open(CircuitOpen),
}

impl From<Timeout> for Fault {
    fn from(timeout: Timeout) -> Self {
        Self::Timeout(timeout)
    }
}

impl From<CircuitOpen> for Fault {
    fn from(open: CircuitOpen) -> Self {
        Self::Open(open)
    }
}

pub(crate) type Answer = Result<Value, Fault>;
