//! A Redis that is sick: what calls get, and how it is found out that it has recovered.

use std::time::{Duration, Instant};

use stampede_redis::Redis;
use stampede_runtime::tier::{Claim, Tier};

use crate::proxy::{Mode, Proxy};
use crate::server::Server;
use crate::support::{connect, key, lease, linked, next, payload, record, until, within};

async fn through(proxy: &Proxy) -> Redis {
    Redis::connect(proxy.url()).prefix("shop").await.unwrap()
}

#[tokio::test]
async fn a_killed_server_is_an_error_at_once_and_is_found_again() {
    let mut server = Server::start();
    let redis = connect(&server).await;
    redis.put(&key("7"), record("a")).await.unwrap();
    server.kill();
    let start = Instant::now();
    redis.read(&key("7")).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    server.restart();
    let start = Instant::now();
    until(async || redis.ping().await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(payload(&redis, &key("7")).await, None, "it came back empty");
}

#[tokio::test]
async fn a_stopped_server_is_given_up_and_found_again() {
    let server = Server::start();
    let redis = connect(&server).await;
    redis.put(&key("7"), record("a")).await.unwrap();
    server.pause();
    // Calls that wait when it is given up fail then, and those that come later do not wait.
    let start = Instant::now();
    within(Duration::from_secs(10), redis.read(&key("7"))).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    let start = Instant::now();
    redis.read(&key("7")).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    server.resume();
    until(async || redis.ping().await.is_ok()).await;
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_link_that_is_cut_or_swallows_is_replaced() {
    let server = Server::start();
    let proxy = Proxy::of(server.port).await;
    let redis = through(&proxy).await;
    let mut news = linked(&redis).await;
    for mode in [Mode::Cut, Mode::Swallow, Mode::Delay(Duration::from_secs(5))] {
        proxy.set(mode);
        until(async || {
            tokio::time::timeout(Duration::from_millis(250), redis.ping()).await.is_ok_and(|ping| ping.is_err())
        })
        .await;
        assert_eq!(next(&mut news).await, stampede_runtime::tier::News::Unlinked, "{mode:?}");
        proxy.set(Mode::Pass);
        until(async || redis.ping().await.is_ok()).await;
        assert_eq!(next(&mut news).await, stampede_runtime::tier::News::Linked, "{mode:?}");
        redis.put(&key("7"), record("a")).await.unwrap();
        assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
    }
}

#[tokio::test]
async fn a_slow_link_is_slow_and_right() {
    let server = Server::start();
    let proxy = Proxy::of(server.port).await;
    let redis = through(&proxy).await;
    proxy.set(Mode::Delay(Duration::from_millis(50)));
    let taken = lease(&redis, &key("7")).await;
    redis.fill(&key("7"), taken, record("a")).await.unwrap().unwrap();
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn damaged_answers_are_never_values() {
    let server = Server::start();
    let proxy = Proxy::of(server.port).await;
    let redis = through(&proxy).await;
    let direct = connect(&server).await;
    for byte in [b'v', 7, 0, b'$', b'*', b':', b'_', b'\r', b'1', b'8', b'S'] {
        direct.put(&key("7"), record("value")).await.unwrap();
        proxy.set(Mode::Corrupt(byte));
        // An error, a lease, whatever: not another value. It may also wait for more, and be given up.
        let key = key("7");
        let asking = redis.acquire(&key, Claim::default());
        if let Ok(Ok(stampede_runtime::tier::Acquired::Value(kept))) =
            tokio::time::timeout(Duration::from_secs(5), asking).await
        {
            assert_eq!(kept.record, record("value"), "{byte}");
        }
        proxy.set(Mode::Pass);
        direct.invalidate(&key).await.unwrap();
        until(async || {
            tokio::time::timeout(Duration::from_millis(250), redis.ping()).await.is_ok_and(|ping| ping.is_ok())
        })
        .await;
    }
}

#[tokio::test]
async fn a_replica_takes_no_values() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    let on_primary = connect(&primary).await;
    on_primary.put(&key("7"), record("a")).await.unwrap();
    let redis = connect(&replica).await;
    until(async || redis.read(&key("7")).await.is_ok_and(|kept| kept.is_some())).await;
    // Each time it is asked again who the primary is, so that some fail for want of a connection.
    let complaint = redis.ping().await.unwrap_err().to_string();
    assert!(complaint.contains("read only replica"), "{complaint}");
    redis.put(&key("7"), record("b")).await.map(drop).unwrap_err();
    redis.invalidate(&key("7")).await.unwrap_err();
    redis.acquire(&key("8"), Claim::default()).await.map(drop).unwrap_err();
    // When it is promoted, it does.
    let _: () = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    until(async || redis.ping().await.is_ok()).await;
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
    redis.invalidate(&key("7")).await.unwrap();
}

#[tokio::test]
async fn a_full_server_takes_no_values_and_still_gives_and_voids() {
    let server = Server::start();
    let redis = connect(&server).await;
    redis.put(&key("7"), record("a")).await.unwrap();
    let taken = lease(&redis, &key("8")).await;
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for error in [
        redis.ping().await.unwrap_err(),
        redis.put(&key("9"), record("b")).await.map(drop).unwrap_err(),
        redis.acquire(&key("9"), Claim::default()).await.map(drop).unwrap_err(),
        redis.fill(&key("8"), taken.clone(), record("b")).await.map(drop).unwrap_err(),
    ] {
        assert!(!error.is_loud() && error.to_string().contains("OOM"), "{error}");
    }
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
    redis.release(&key("8"), taken, Duration::ZERO).await.unwrap();
    redis.invalidate(&key("7")).await.unwrap();
    assert_eq!(payload(&redis, &key("7")).await, None);
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.ping().await.unwrap();
}
