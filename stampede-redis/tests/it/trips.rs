//! How often a call goes to the server and back, as the server counts it.

use std::time::Duration;

use stampede_redis::Redis;
use stampede_runtime::{Cache, Store};

use crate::server::Server;
use crate::support::{MINUTE, connect};

fn cache(redis: Redis) -> (Cache<u64>, Store) {
    let store = Store::builder().remote(redis).build();
    (Cache::builder("trips").ttl(MINUTE).remote().store(&store).build(), store)
}

/// How many scripts have run since this was asked for the last time.
fn scripts(server: &Server) -> u64 {
    let stats: String = server.ask(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let calls = line.strip_prefix("cmdstat_eval").or_else(|| line.strip_prefix("cmdstat_evalsha"))?;
        calls.split_once("calls=")?.1.split_once(',')?.0.parse::<u64>().ok()
    });
    let calls = calls.sum();
    let _: String = server.ask(&["CONFIG", "RESETSTAT"]);
    calls
}

/// Until what nobody waits for is done.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_call_makes_no_more_trips_than_it_has_to() {
    let server = Server::start();
    let ((one, first), (two, second)) = (cache(connect(&server).await), cache(connect(&server).await));
    // The scripts are loaded, and the links are up.
    for cache in [&one, &two] {
        cache.get_with(&0, || async { 0 }).await;
    }
    until(|| first.stats().tier.fills == 1).await;
    assert!(one.entry(&0).invalidate().await);
    scripts(&server);

    assert_eq!(one.get_with(&1, || async { 1 }).await, 1);
    until(|| first.stats().tier.fills == 2).await;
    assert_eq!(scripts(&server), 2, "whoever leads asks once, and brings the value while nobody waits");
    assert_eq!(two.get_with(&1, || async { 2 }).await, 1);
    assert_eq!((second.stats().tier.hits >= 1, scripts(&server)), (true, 1), "a remote hit");
    for _ in 0..100 {
        assert_eq!((one.get_with(&1, || async { 3 }).await, two.get_with(&1, || async { 3 }).await), (1, 1));
    }
    assert_eq!(scripts(&server), 0, "memory answers");
    assert!(one.entry(&1).invalidate().await);
    assert_eq!(scripts(&server), 1, "an invalidation");
}
