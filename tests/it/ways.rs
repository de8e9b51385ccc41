//! One function in three ways, detached, inline, and without the macro, with a body that does as it is told.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stampede::tier::memory::MemoryTier;
use stampede::{CircuitOpen, NoCache, Timeout, store_for};
use tokio::time::sleep;

use crate::stores::Store;
use crate::tools::Origin;

/// The value of a refused result.
pub(crate) const REFUSED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Detached,
    Inline,
    Built,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Detached, Self::Inline, Self::Built];

    pub(crate) fn is_inline(self) -> bool {
        self == Self::Inline
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Value,
    Error,
    Panic,
    NoCache,
    Refused,
    StoredForNothing,
    Hangs,
}

/// The error of the functions here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Run number n failed.
    Run(u64),
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

pub(crate) type Answer = Result<u64, Fault>;

pub(crate) fn is_timeout(answer: &Answer) -> bool {
    matches!(answer, Err(Fault::Timeout(_)))
}

pub(crate) fn is_open(answer: &Answer) -> bool {
    matches!(answer, Err(Fault::Open(_)))
}

/// A body under the test's control: the n-th run gives n, or fails with it. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Script(Arc<Inner>);

struct Inner {
    end: Mutex<End>,
    takes: Mutex<Duration>,
    gate: Option<Origin>,
    runs: AtomicU64,
}

impl Script {
    /// Runs end at once.
    pub(crate) fn open() -> Self {
        Self::with(None)
    }

    /// Runs end when they are released.
    pub(crate) fn gated() -> Self {
        Self::with(Some(Origin::gated()))
    }

    fn with(gate: Option<Origin>) -> Self {
        let (end, takes) = (Mutex::new(End::Value), Mutex::default());
        Self(Arc::new(Inner { end, takes, gate, runs: AtomicU64::new(0) }))
    }

    /// How runs end from now on, also those under way.
    pub(crate) fn ends(&self, end: End) {
        *self.0.end.lock().expect("no panic") = end;
    }

    /// How long runs take from now on.
    pub(crate) fn takes(&self, time: Duration) {
        *self.0.takes.lock().expect("no panic") = time;
    }

    pub(crate) fn release(&self, run: u64) {
        self.0.gate.as_ref().expect("a gate").release(run);
    }

    /// How many runs have begun.
    pub(crate) fn runs(&self) -> u64 {
        self.0.runs.load(SeqCst)
    }

    pub(crate) async fn run(self) -> Answer {
        let number = self.0.runs.fetch_add(1, SeqCst) + 1;
        let takes = *self.0.takes.lock().expect("no panic");
        if !takes.is_zero() {
            sleep(takes).await;
        }
        if let Some(gate) = &self.0.gate {
            gate.read().await;
        }
        let end = *self.0.end.lock().expect("no panic");
        match end {
            End::Value => Ok(number),
            End::Error => Err(Fault::Run(number)),
            End::Panic => panic!("run {number} panicked"),
            End::NoCache => NoCache(number).into(),
            End::Refused => Ok(REFUSED),
            End::StoredForNothing => {
                store_for(Duration::ZERO);
                Ok(number)
            }
            End::Hangs => pending().await,
        }
    }
}

/// `ways!(name, [arguments of the attribute], |builder| the same by the builder)`: a module with a function for each way.
macro_rules! ways {
    ($name:ident, [$($argument:tt)*], $build:expr) => {
        #[allow(dead_code, reason = "not every test uses every way to touch an entry")]
        mod $name {
            use stampede::{Cache, CacheBuilder, coalesce};

            use crate::ways::{Answer, Script, Way};

            #[coalesce($($argument)*, skip(script), remote)]
            async fn detached(script: &Script, key: u8) -> Answer {
                let _ = key;
                script.clone().run().await
            }

            #[coalesce($($argument)*, skip(script), remote, inline)]
            async fn inline(script: &Script, key: u8) -> Answer {
                let _ = key;
                script.clone().run().await
            }

            macro_rules! cache {
                () => {{
                    fn build<X>(build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64, X>) -> Cache<u64, X> {
                        build(Cache::builder(concat!(module_path!(), stringify!($name)))).remote().build()
                    }
                    build($build)
                }};
            }

            pub(crate) async fn call(way: Way, script: &Script, key: u8) -> Answer {
                match way {
                    Way::Detached => detached(script, key).await,
                    Way::Inline => inline(script, key).await,
                    Way::Built => cache!().try_get_with(&key, || script.clone().run()).await,
                }
            }

            pub(crate) async fn put(way: Way, key: u8, value: u64) {
                match way {
                    Way::Detached => detached_entry(key).put(value).await,
                    Way::Inline => inline_entry(key).put(value).await,
                    Way::Built => cache!().entry(&key).put(value).await,
                }
            }

            pub(crate) async fn get(way: Way, key: u8) -> Option<u64> {
                match way {
                    Way::Detached => detached_entry(key).get().await,
                    Way::Inline => inline_entry(key).get().await,
                    Way::Built => cache!().entry(&key).get().await,
                }
            }

            pub(crate) async fn invalidate(way: Way, key: u8) -> bool {
                match way {
                    Way::Detached => detached_entry(key).invalidate().await,
                    Way::Inline => inline_entry(key).invalidate().await,
                    Way::Built => cache!().entry(&key).invalidate().await,
                }
            }

            pub(crate) async fn expire(way: Way, key: u8) -> bool {
                match way {
                    Way::Detached => detached_entry(key).expire().await,
                    Way::Inline => inline_entry(key).expire().await,
                    Way::Built => cache!().entry(&key).expire().await,
                }
            }
        }
    };
}
pub(crate) use ways;

/// What a store has beyond memory.
#[derive(Clone, Copy, Debug)]
enum Beyond {
    Nothing,
    Tier,
    /// One that answers every question with an error.
    BrokenTier,
}

/// Checks what an invalidation has said: that every tier has heard of it, unless there is one that hears of nothing.
pub(crate) fn told(told: bool, store: &Store) {
    let stats = store.stats();
    assert_eq!(told, stats.tier.failures == 0, "{stats:?}");
}

/// Runs a check of each way in a store of its own. What a cache promises it keeps with a remote tier as without.
pub(crate) async fn each_way(check: impl AsyncFn(Way, &Store)) {
    for beyond in [Beyond::Nothing, Beyond::Tier, Beyond::BrokenTier] {
        for way in Way::ALL {
            println!("{way:?}, beyond memory: {beyond:?}");
            let tier = MemoryTier::new();
            let store = match beyond {
                Beyond::Nothing => Store::default(),
                Beyond::Tier => Store::builder().and(|store| store.remote(tier.clone())).build(),
                Beyond::BrokenTier => {
                    tier.set_fault(stampede::tier::memory::Fault::Failing);
                    Store::builder().and(|store| store.remote(tier.clone())).build()
                }
            };
            store.scope(check(way, &store)).await;
            let stats = store.stats();
            assert_eq!(stats.waiting, 0, "{stats:?}");
        }
    }
}
