//! Circuit breakers: one for each cache of a store that asks for one. What they decide is in [`crate::policy`].
//!
//! 1. A run that may start has a [`Permit`], and whoever brings the run to its end settles it, once: the run's own body, or the
//!    flight that gives the run up. So the breaker has heard of a run before those who wait for it are woken.
//! 2. A breaker's lock may be taken under those of the flights, and nothing else happens under it. Changes of state are told
//!    to the world outside all locks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::policy::{BreakerState, Change, Circuit, Report, Trip};
use crate::space::Space;
use crate::sync::Mutex;
use crate::telemetry::Telemetry;

/// The breakers of a store.
#[derive(Debug)]
pub(crate) struct Breakers {
    by_cache: Mutex<HashMap<Space, Arc<Breaker>>>,
    telemetry: Arc<Telemetry>,
}

struct Breaker {
    space: Space,
    cache: &'static str,
    telemetry: Arc<Telemetry>,
    circuit: Mutex<Circuit>,
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// The breaker is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal;

impl Breakers {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { by_cache: Mutex::default(), telemetry }
    }

    /// Asks whether a run of this cache may start that has to be over within `limit`.
    pub(crate) fn admit(
        &self,
        space: Space,
        cache: &'static str,
        trip: Trip,
        limit: Duration,
    ) -> Result<Permit, Refusal> {
        let breaker = {
            let new = || {
                let telemetry = Arc::clone(&self.telemetry);
                Arc::new(Breaker { space, cache, telemetry, circuit: Mutex::default() })
            };
            Arc::clone(self.by_cache.lock().entry(space).or_insert_with(new))
        };
        let (number, change) = breaker.circuit.lock().admit(Instant::now(), limit).ok_or(Refusal)?;
        Ok(Permit { breaker, number, trip, change })
    }
}

/// The breaker's leave for one run. Dropped without a report, it counts the run as lost.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    number: u64,
    trip: Trip,
    /// What asking for it has changed, as long as nobody has been told.
    change: Option<Change>,
}

/// What has to be told to the world.
#[must_use = "it is to be told"]
pub(crate) struct News {
    breaker: Arc<Breaker>,
    trip: Trip,
    change: Option<Change>,
}

impl Permit {
    /// The run begins. Not to be called under a lock.
    pub(crate) fn begin(&mut self) {
        self.news(None).tell();
    }

    /// The run came to an end. What this changes is to be told outside all locks.
    pub(crate) fn settle(mut self, report: Report) -> News {
        let change = self.breaker.circuit.lock().report(self.number, report, Instant::now(), self.trip);
        // One permit reports once.
        self.number = u64::MAX;
        self.news(change)
    }

    /// This, or what nobody has been told of yet.
    fn news(&mut self, change: Option<Change>) -> News {
        let change = change.or(self.change.take());
        News { breaker: Arc::clone(&self.breaker), trip: self.trip, change }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let change = self.breaker.circuit.lock().report(self.number, Report::Lost, Instant::now(), self.trip);
        self.news(change).tell();
    }
}

impl News {
    pub(crate) fn tell(self) {
        let Breaker { space, cache, ref telemetry, ref circuit } = *self.breaker;
        let state = match self.change {
            Some(Change::Opened) => BreakerState::Open,
            Some(Change::HalfOpened) => BreakerState::HalfOpen,
            Some(Change::Closed) => BreakerState::Closed,
            None => circuit.lock().state(),
        };
        telemetry.breaker(space, cache, state, self.change.is_some());
        match self.change {
            Some(Change::Opened) => tracing::warn!(cache, reset_after = ?self.trip.reset_after, "circuit open"),
            Some(Change::HalfOpened) => tracing::info!(cache, "circuit half-open: one run probes"),
            Some(Change::Closed) => tracing::info!(cache, "circuit closed"),
            None => {}
        }
    }
}
