//! Nothing that was known before an invalidation is stored after it.

use std::time::Duration;

use stampede_redis::Redis;
use stampede_runtime::tier::{Claim, Tier};

use crate::server::Server;
use crate::support::{busy, connect, key, lease, leased, payload, record};

#[tokio::test]
async fn a_fill_after_an_invalidation_is_refused() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let key = key("7");
    let late = lease(&one, &key).await;
    two.invalidate(&key).await.unwrap();
    // Whether somebody has taken the lease since, or not.
    assert_eq!(one.fill(&key, late.clone(), record("old")).await.unwrap(), None);
    let current = lease(&two, &key).await;
    assert_eq!(one.fill(&key, late, record("old")).await.unwrap(), None);
    assert_eq!(payload(&one, &key).await, None);
    two.fill(&key, current.clone(), record("new")).await.unwrap().unwrap();
    assert_eq!(payload(&one, &key).await.as_deref(), Some("new"));
    // And a lease fills once.
    assert_eq!(two.fill(&key, current, record("again")).await.unwrap(), None);
    two.invalidate(&key).await.unwrap();
    assert_eq!(payload(&one, &key).await, None);
}

#[tokio::test]
async fn a_fill_after_a_put_or_expiry_is_refused() {
    let server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    let late = lease(&redis, &key).await;
    redis.put(&key, record("put")).await.unwrap();
    assert_eq!(redis.fill(&key, late, record("old")).await.unwrap(), None);
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("put"));

    redis.invalidate(&key).await.unwrap();
    let late = lease(&redis, &key).await;
    redis.expire(&key).await.unwrap();
    assert_eq!(redis.fill(&key, late, record("old")).await.unwrap(), None);
}

#[tokio::test]
async fn a_forced_claim_ends_the_lease_that_stands() {
    let server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    redis.put(&key, record("old")).await.unwrap();
    let force = || Claim { force: true, ..Claim::default() };
    let first = leased(redis.acquire(&key, force()).await.unwrap());
    let second = leased(redis.acquire(&key, force()).await.unwrap());
    assert_eq!(redis.fill(&key, first.clone(), record("first")).await.unwrap(), None);
    redis.release(&key, first.clone(), Duration::ZERO).await.unwrap();
    redis.renew(&[(key.clone(), first)]).await.unwrap();
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("old"), "for those who do not force");
    redis.fill(&key, second, record("second")).await.unwrap().unwrap();
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("second"));
}

#[tokio::test]
async fn a_holder_that_was_paused_comes_too_late() {
    let server = Server::start();
    let brief = Redis::connect(server.url()).prefix("shop").lease(Duration::from_millis(50)).await.unwrap();
    let redis = connect(&server).await;
    let key = key("7");
    let paused = lease(&brief, &key).await;
    let left = busy(redis.acquire(&key, Claim::default()).await.unwrap());
    tokio::time::sleep(left + Duration::from_millis(5)).await;
    assert_eq!(brief.fill(&key, paused.clone(), record("late")).await.unwrap(), None, "nobody has the lease");
    let next = lease(&redis, &key).await;
    assert_eq!(brief.fill(&key, paused, record("late")).await.unwrap(), None, "somebody else has it");
    redis.fill(&key, next, record("new")).await.unwrap().unwrap();
    assert_eq!(payload(&brief, &key).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn scripts_are_loaded_again() {
    let mut server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    let late = lease(&redis, &key).await;
    let _: () = server.ask(&["SCRIPT", "FLUSH"]);
    redis.fill(&key, late, record("a")).await.unwrap().unwrap();
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("a"));
    let late = leased(redis.acquire(&key, Claim { force: true, ..Claim::default() }).await.unwrap());

    // One that was restarted empty knows neither scripts nor leases.
    server.restart();
    crate::support::until(async || redis.ping().await.is_ok()).await;
    assert_eq!(redis.fill(&key, late, record("old")).await.unwrap(), None);
    assert_eq!(payload(&redis, &key).await, None);
    let lease = lease(&redis, &key).await;
    redis.fill(&key, lease, record("b")).await.unwrap().unwrap();
}
