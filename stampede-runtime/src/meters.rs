//! The handles of a store's metrics: see [`crate::metrics`] for what they are.
//!
//! 1. Handles of a cache are asked for once for each store, at its first event when there is a recorder; then an event is an
//!    increment, without a look at the recorder. Rare events ask for theirs each time.
//! 2. The table is read without a lock: caches have small numbers, and a place in it is set once.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_recorder};
use once_cell::sync::OnceCell;

use crate::metrics as names;
use crate::policy::BreakerState;
use crate::space::Space;
use crate::stats::{Outcome, RunResult, Trigger};

/// The meters of a store's caches.
#[derive(Default)]
pub(crate) struct Meters(Chunk);

/// Those of so many caches with numbers in a row.
struct Chunk {
    meters: [OnceCell<Box<CacheMeters>>; Self::SIZE],
    next: OnceCell<Box<Chunk>>,
}

impl Chunk {
    const SIZE: usize = 64;
}

impl Default for Chunk {
    fn default() -> Self {
        Self { meters: [const { OnceCell::new() }; Self::SIZE], next: OnceCell::new() }
    }
}

/// What is counted for a cache.
pub(crate) struct CacheMeters {
    pub(crate) cache: &'static str,
    pub(crate) calls: [Counter; Outcome::ALL.len()],
    pub(crate) runs: [[Counter; Trigger::ALL.len()]; RunResult::ALL.len()],
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) entries: Gauge,
    // An empty histogram is a dozen lines of an answer to Prometheus.
    run_duration: [OnceCell<Histogram>; RunResult::ALL.len()],
    wait_duration: [OnceCell<Histogram>; Outcome::ALL.len()],
    stale_age: OnceCell<Histogram>,
    breaker: OnceCell<BreakerMeters>,
}

/// What is counted of a cache's breaker. A count that began with its first change would hide that from whoever asks for
/// increases.
pub(crate) struct BreakerMeters {
    pub(crate) state: Gauge,
    /// To each state.
    pub(crate) transitions: [Counter; BreakerState::ALL.len()],
}

/// Whether there is a recorder. The one that stands in for none is nothing but a type.
fn is_recorded() -> bool {
    with_recorder(|recorder| size_of_val(recorder) > 0)
}

impl Meters {
    /// The meters of a cache, if anybody wants to hear of them.
    #[inline]
    pub(crate) fn of(&self, space: Space) -> Option<&CacheMeters> {
        let mut chunk = &self.0;
        let mut number = usize::try_from(space.number()).unwrap_or_default();
        while number >= Chunk::SIZE {
            chunk = chunk.next.get_or_init(Box::default);
            number -= Chunk::SIZE;
        }
        let place = &chunk.meters[number];
        match place.get() {
            Some(meters) => Some(meters),
            None => Self::ask(place, space),
        }
    }

    #[cold]
    fn ask(place: &OnceCell<Box<CacheMeters>>, space: Space) -> Option<&CacheMeters> {
        is_recorded().then(|| &**place.get_or_init(|| Box::new(CacheMeters::new(space.name()))))
    }
}

impl CacheMeters {
    fn new(cache: &'static str) -> Self {
        Self {
            cache,
            calls: Outcome::ALL.map(|outcome| counter!(names::CALLS, "cache" => cache, "outcome" => outcome.as_str())),
            runs: RunResult::ALL.map(|result| {
                Trigger::ALL.map(|trigger| {
                    counter!(
                        names::RUNS, "cache" => cache, "result" => result.as_str(), "trigger" => trigger.as_str()
                    )
                })
            }),
            in_flight: gauge!(names::RUNS_IN_FLIGHT, "cache" => cache),
            waiting: gauge!(names::CALLERS_WAITING, "cache" => cache),
            entries: gauge!(names::ENTRIES, "cache" => cache),
            run_duration: Default::default(),
            wait_duration: Default::default(),
            stale_age: OnceCell::new(),
            breaker: OnceCell::new(),
        }
    }

    pub(crate) fn run_duration(&self, result: RunResult) -> &Histogram {
        self.run_duration[result as usize]
            .get_or_init(|| histogram!(names::RUN_DURATION, "cache" => self.cache, "result" => result.as_str()))
    }

    pub(crate) fn wait_duration(&self, outcome: Outcome) -> &Histogram {
        self.wait_duration[outcome as usize]
            .get_or_init(|| histogram!(names::WAIT_DURATION, "cache" => self.cache, "outcome" => outcome.as_str()))
    }

    pub(crate) fn stale_age(&self) -> &Histogram {
        self.stale_age.get_or_init(|| histogram!(names::STALE_AGE, "cache" => self.cache))
    }

    pub(crate) fn breaker(&self) -> &BreakerMeters {
        self.breaker.get_or_init(|| BreakerMeters {
            state: gauge!(names::BREAKER_STATE, "cache" => self.cache),
            transitions: BreakerState::ALL
                .map(|state| counter!(names::BREAKER_TRANSITIONS, "cache" => self.cache, "result" => state.as_str())),
        })
    }
}
