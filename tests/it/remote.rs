//! The remote tier: a fleet of stores in one process, on a tier in memory that fails as it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use stampede::Cache;
use stampede::tier::Limits;
use stampede::tier::memory::{Fault, MemoryTier};
use tokio::task::JoinSet;

use crate::stores::Store;
use crate::tools::{ms, pass, secs, settle};

/// One process of a fleet.
struct Process {
    tier: MemoryTier,
    store: Store,
    cache: Cache<u64>,
}

fn process(tier: MemoryTier) -> Process {
    let store = Store::builder().remote(tier.clone()).build();
    let cache = Cache::builder("remote").ttl(secs(10)).remote().store(&store).build();
    Process { tier, store, cache }
}

fn fleet(size: usize) -> Vec<Process> {
    let tier = MemoryTier::new();
    (0..size).map(|_| process(tier.another())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_one_run() {
    let fleet = fleet(8);
    let runs = Arc::new(AtomicU64::new(0));
    let mut calls = JoinSet::new();
    for process in &fleet {
        for _ in 0..200 {
            let (cache, runs) = (process.cache.clone(), Arc::clone(&runs));
            calls.spawn(async move {
                cache
                    .get_with(&1, || {
                        let runs = Arc::clone(&runs);
                        async move {
                            runs.fetch_add(1, SeqCst);
                            tokio::time::sleep(ms(100)).await;
                            7
                        }
                    })
                    .await
            });
        }
    }
    assert!(calls.join_all().await.into_iter().all(|value| value == 7));
    assert_eq!(runs.load(SeqCst), 1);
    let sum = |of: fn(stampede::Stats) -> u64| fleet.iter().map(|process| of(process.store.stats())).sum::<u64>();
    assert_eq!(sum(|stats| stats.calls.total()), 1600);
    assert_eq!((sum(|stats| stats.runs.total()), sum(|stats| stats.calls.miss)), (1, 1));
    assert_eq!((sum(|stats| stats.tier.leases), sum(|stats| stats.tier.fills), sum(|stats| stats.tier.hits)), (1, 1, 7));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_does_not_answer_is_done_without() {
    let fleet = fleet(1);
    let Process { tier, cache, store } = &fleet[0];
    tier.set_fault(Fault::Hanging);
    let limit = Limits::default().time;
    for (key, wait) in [(1, limit), (2, limit), (3, limit), (4, ms(0)), (1, ms(0))] {
        let start = tokio::time::Instant::now();
        assert_eq!(cache.get_with(&key, || async { 7 }).await, 7);
        assert_eq!(start.elapsed(), wait, "{key}: {:?}", store.stats());
    }
    assert!(!cache.entry(&1).invalidate().await, "it has not been told");
    tier.set_fault(Fault::None);
    pass(secs(5)).await;
    settle().await;
    assert!(cache.entry(&1).invalidate().await, "it is back");
}
