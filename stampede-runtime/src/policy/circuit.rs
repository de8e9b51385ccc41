//! A circuit breaker, as a machine that is told the time.
//!
//! ```text
//!            failures in a row               reset_after            a run asks
//!   closed ──────────────────────▶  open  ─────────────────▶ … ──────────────────▶ half-open: one probe runs
//!     ▲                              ▲                                               │   │
//!     │                              └─────────── the probe fails ───────────────────┘   │
//!     └────────────────────────────────────────── the probe succeeds ────────────────────┘
//! ```
//!
//! A probe that is lost (dropped, cancelled) lets the next run that asks be the probe. So does one that has not reported by
//! the limit of runs, so nothing can wedge the breaker half-open. What a run reports that was let through in an earlier
//! state says nothing about the present one, and is not heard.

use std::time::Duration;

use tokio::time::Instant;

use super::after;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    /// So many failures in a row.
    pub(crate) failures: u32,
    pub(crate) reset_after: Duration,
}

/// The state of a breaker.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    phase: Phase,
    /// Counts the changes of phase.
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// The probe has to report by then.
        until: Instant,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// How a run ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It gave a value, whatever became of that.
    Success,
    /// It gave an error, panicked, or reached its limit.
    Failure,
    /// It did not end.
    Lost,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Runs may start.
    Closed = 0,
    /// One run probes, or the next one may.
    HalfOpen = 1,
    /// None may start for a while.
    Open = 2,
}

impl BreakerState {
    /// All there are, each in the place of its number.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The word that metrics and logs have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    HalfOpened,
    Closed,
}

impl Circuit {
    /// Asks whether a run may start that has to be over within `limit`: its number, and the change that this is, if so.
    pub(crate) fn admit(&mut self, now: Instant, limit: Duration) -> Option<(u64, Option<Change>)> {
        match self.phase {
            Phase::Closed { .. } => Some((self.generation, None)),
            Phase::Open { until } | Phase::HalfOpen { until } if now < until => None,
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                self.enter(Phase::HalfOpen { until: after(now, limit) });
                Some((self.generation, Some(Change::HalfOpened)))
            }
        }
    }

    /// Hears how a run ended that was let through under this number.
    pub(crate) fn report(&mut self, number: u64, report: Report, now: Instant, trip: Trip) -> Option<Change> {
        if number != self.generation {
            return None;
        }
        match (self.phase, report) {
            (Phase::Closed { .. }, Report::Success) => {
                self.phase = Phase::default();
                None
            }
            (Phase::Closed { failures }, Report::Failure) if failures + 1 < trip.failures => {
                self.phase = Phase::Closed { failures: failures + 1 };
                None
            }
            (Phase::HalfOpen { .. }, Report::Success) => {
                self.enter(Phase::default());
                Some(Change::Closed)
            }
            (Phase::Closed { .. } | Phase::HalfOpen { .. }, Report::Failure) => {
                self.enter(Phase::Open { until: after(now, trip.reset_after) });
                Some(Change::Opened)
            }
            (Phase::HalfOpen { .. }, Report::Lost) => {
                self.enter(Phase::Open { until: now });
                None
            }
            (Phase::Closed { .. }, Report::Lost) | (Phase::Open { .. }, _) => None,
        }
    }

    /// The state as others see it.
    pub(crate) fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}
