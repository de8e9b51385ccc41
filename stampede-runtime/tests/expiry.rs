//! Without `test-util`: what nobody asks for any more gives its place in memory back, by the clock of the machine.
#![cfg(not(feature = "test-util"))]
#![warn(clippy::disallowed_types)]

use std::time::{Duration, Instant};

use stampede_runtime::Cache;

#[path = "../../tests/it/stores.rs"]
mod stores;

use stores::Store;

#[tokio::test]
async fn dead_values_leave_memory_by_themselves() {
    let store = Store::default();
    let cache: Cache<u32> = Cache::builder("short")
        .ttl(Duration::from_millis(20))
        .stale_while_revalidate(Duration::from_millis(20))
        .store(&store)
        .build();
    for key in 0..100u32 {
        cache.get_with(&key, || async move { key }).await;
    }
    assert_eq!(store.stats().entries, 100);

    let begun = Instant::now();
    while store.stats().entries > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "still there: {:?}", store.stats());
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats().runs.ok, 100);
}
