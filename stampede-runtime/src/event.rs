//! What happens in a store, for those who want to hear of it without metrics or tracing: see
//! [`StoreBuilder::on_event`](crate::StoreBuilder::on_event).

use std::time::Duration;

pub use crate::policy::BreakerState;
pub use crate::stats::{Outcome, RunResult, Trigger};

/// Something that has happened. More may be told in later versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A run is over. Told of those that [`Runs`](crate::Runs) counts.
    #[non_exhaustive]
    RunEnded {
        /// The name of the cache.
        cache: &'static str,
        /// What began the run.
        trigger: Trigger,
        /// How it ended.
        result: RunResult,
        /// How long its body took.
        run_time: Duration,
    },
    /// A call is over that had to wait for a run; also one that was given up.
    #[non_exhaustive]
    Waited {
        /// The name of the cache.
        cache: &'static str,
        /// What became of the call.
        outcome: Outcome,
        /// How long it waited.
        time: Duration,
    },
    /// A breaker has changed its state.
    #[non_exhaustive]
    Breaker {
        /// The name of the cache.
        cache: &'static str,
        /// What it is now.
        state: BreakerState,
    },
    /// The remote tier is left alone from now on, or used again.
    #[non_exhaustive]
    Tier {
        /// The name of the tier.
        tier: &'static str,
        /// Whether it is used.
        is_up: bool,
    },
}
