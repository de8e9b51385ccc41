//! Circuit breakers: one for each cache of a store that asks for one. What they decide is in [`crate::policy`].
//!
//! 1. Whoever starts a run holds a [`Permit`] for it, and the permit reports how the run ended, by its drop at the latest.
//! 2. A breaker's lock may be taken under those of the flights, and nothing else happens under it. Changes of state are told
//!    to the world outside all locks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::policy::{Change, Circuit, Report, Trip};
use crate::run::Run;
use crate::space::Space;
use crate::sync::Mutex;

/// The breakers of a store.
#[derive(Debug, Default)]
pub(crate) struct Breakers(Mutex<HashMap<Space, Arc<Breaker>>>);

struct Breaker {
    cache: &'static str,
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
    /// Asks whether a run of this cache may start that has to be over within `limit`.
    pub(crate) fn admit(
        &self,
        space: Space,
        cache: &'static str,
        trip: Trip,
        limit: Duration,
    ) -> Result<Permit, Refusal> {
        let breaker = {
            let new = || Arc::new(Breaker { cache, circuit: Mutex::default() });
            Arc::clone(self.0.lock().entry(space).or_insert_with(new))
        };
        let (number, change) = breaker.circuit.lock().admit(Instant::now(), limit).ok_or(Refusal)?;
        Ok(Permit { breaker, number, trip, change, run: None })
    }
}

/// The breaker's leave for one run. Dropped without a report, it counts the run as lost, unless that reached its limit.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    number: u64,
    trip: Trip,
    /// What asking for it has changed, as long as nobody has been told.
    change: Option<Change>,
    run: Option<Arc<Run>>,
}

impl Permit {
    /// Says which run it is for. Not to be called under a lock.
    pub(crate) fn begin(&mut self, run: &Arc<Run>) {
        self.run = Some(Arc::clone(run));
        let change = self.change.take();
        self.announce(change);
    }

    /// The run came to an end.
    pub(crate) fn report(&mut self, report: Report) {
        let change = self.breaker.circuit.lock().report(self.number, report, Instant::now(), self.trip);
        // One permit reports once.
        self.number = u64::MAX;
        self.announce(change);
    }

    fn announce(&self, change: Option<Change>) {
        let cache = self.breaker.cache;
        match change {
            Some(Change::Opened) => tracing::warn!(cache, reset_after = ?self.trip.reset_after, "circuit open"),
            Some(Change::HalfOpened) => tracing::info!(cache, "circuit half-open: one run probes"),
            Some(Change::Closed) => tracing::info!(cache, "circuit closed"),
            None => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let timed_out = self.run.as_ref().is_some_and(|run| run.has_timed_out());
        self.report(if timed_out { Report::Failure } else { Report::Lost });
    }
}
