//! Where the soak takes place: a store, what has been done to it, and what has been counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};

use stampede::{Cache, Store};

use crate::failures::Failures;
use crate::floors::Floors;
use crate::functions;
use crate::ledger::Ledger;
use crate::quiet::Quiet;
use crate::value::Value;
use crate::watchdog::Watchdog;

/// What bodies are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// This and that.
    Fair,
    /// Every body fails.
    Outage,
}

/// What all arenas share.
pub(crate) struct World {
    pub(crate) seed: u64,
    clock: AtomicU64,
    weather: AtomicU8,
    over: AtomicBool,
    pub(crate) failures: Failures,
    pub(crate) watchdog: Watchdog,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            clock: AtomicU64::new(1),
            weather: AtomicU8::new(0),
            over: AtomicBool::new(false),
            failures: Failures::default(),
            watchdog: Watchdog::default(),
        }
    }

    /// The number of an event: larger than that of any that has returned by now.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    pub(crate) fn weather(&self) -> Weather {
        if self.weather.load(SeqCst) == 0 { Weather::Fair } else { Weather::Outage }
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.store(u8::from(weather == Weather::Outage), SeqCst);
    }

    /// Whether it is time to stop: the time is up, or something has gone wrong.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(SeqCst) || self.failures.any()
    }

    pub(crate) fn end(&self) {
        self.over.store(true, SeqCst);
    }
}

/// What is done to an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything but `Store::bypass`, so that runs can be counted exactly.
    Noisy,
    /// Everything.
    Bypassed,
    /// Calls only: nothing is voided, nothing is evicted, and nobody refuses a stale answer.
    Quiet,
}

pub(crate) struct Arena {
    pub(crate) kind: Kind,
    pub(crate) world: Arc<World>,
    pub(crate) store: Store,
    pub(crate) max_entries: u64,
    /// The cache without an annotated function.
    pub(crate) raw: Cache<Value>,
    pub(crate) floors: Floors,
    pub(crate) ledger: Ledger,
    pub(crate) quiet: Quiet,
}

impl Arena {
    pub(crate) fn new(world: &Arc<World>, kind: Kind) -> Arc<Self> {
        // There are more keys than the noisy ones hold.
        let (max_entries, max_weight) = match kind {
            Kind::Noisy => (150, None),
            Kind::Bypassed => (300, Some(200)),
            Kind::Quiet => (10_000, None),
        };
        let builder = Store::builder().max_entries(max_entries);
        let builder = match max_weight {
            Some(weight) => builder.max_weight(weight),
            None => builder,
        };
        let store = builder.build();
        Arc::new(Self {
            kind,
            world: Arc::clone(world),
            max_entries,
            raw: functions::raw(&store),
            floors: Floors::new(),
            ledger: Ledger::default(),
            quiet: Quiet::new(),
            store,
        })
    }
}

/// What the functions are called with.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) arena: Arc<Arena>,
    /// The call is `uncached`: if the body runs, it is no run to the store.
    pub(crate) uncached: bool,
}
