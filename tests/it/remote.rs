//! The remote tier: a fleet of stores in one process, on a tier in memory that fails as it is told to.

mod identity;
mod outages;
mod policies;
mod runs;

use stampede::tier::memory::MemoryTier;
use stampede::{Cache, CacheBuilder, Stats};
use tokio::task::JoinHandle;

use crate::stores::Store;
use crate::tools::{secs, settle};
use crate::ways::{Answer, Script};

/// One process of a fleet.
struct Process {
    tier: MemoryTier,
    store: Store,
    cache: Cache<u64>,
}

impl Process {
    fn new(tier: MemoryTier, build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> Self {
        let store = Store::builder().and(|store| store.remote(tier.clone())).build();
        let cache = build(Cache::builder("remote").ttl(secs(10)).remote().store(&store)).build();
        Self { tier, store, cache }
    }

    async fn call(&self, script: &Script) -> Answer {
        self.cache.try_get_with(&1, || script.clone().run()).await
    }

    /// A call that somebody else sees to.
    async fn spawn(&self, script: &Script) -> JoinHandle<Answer> {
        let (cache, script) = (self.cache.clone(), script.clone());
        let call = tokio::spawn(async move { cache.try_get_with(&1, || script.clone().run()).await });
        settle().await;
        call
    }

    async fn get(&self) -> Option<u64> {
        self.cache.entry(&1).get().await
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }
}

fn fleet(size: usize, build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> Vec<Process> {
    let tier = MemoryTier::new();
    (0..size).map(|_| Process::new(tier.another(), &build)).collect()
}

fn two(build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> (Process, Process) {
    let mut fleet = fleet(2, build);
    let b = fleet.pop().expect("two");
    (fleet.pop().expect("two"), b)
}
