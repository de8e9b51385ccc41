//! A primary, its replica, and three Sentinels that put the one in the place of the other.

use std::time::{Duration, Instant};

use stampede_redis::Redis;
use stampede_runtime::tier::{News, Tier};

use crate::server::{Server, free_port, fresh_dir};
use crate::support::{key, lease, linked, next, payload, record, until};

fn sentinel(primary: u16) -> Server {
    let (port, dir) = (free_port(), fresh_dir());
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\nsentinel parallel-syncs shop 1\n"
    );
    std::fs::write(dir.join("own.conf"), text).unwrap();
    Server::of_file("redis-sentinel", port, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let mut primary = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    let sentinels: Vec<_> = (0..3).map(|_| sentinel(primary.port)).collect();
    until(async || {
        sentinels.iter().all(|sentinel| {
            let about: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", "shop"]);
            let of = |name: &str| about.iter().position(|field| field == name).map(|at| about[at + 1].clone());
            of("num-slaves").as_deref() == Some("1") && of("num-other-sentinels").as_deref() == Some("2")
        })
    })
    .await;

    let redis = Redis::sentinel(sentinels.iter().map(Server::url), "shop").prefix("shop").await.unwrap();
    let mut news = linked(&redis).await;
    redis.put(&key("7"), record("a")).await.unwrap();
    let late = lease(&redis, &key("8")).await;
    until(async || replica.keys().len() >= 3).await;
    let start = Instant::now();
    primary.kill();
    assert_eq!(next(&mut news).await, News::Unlinked);
    redis.ping().await.unwrap_err();
    until(async || redis.ping().await.is_ok()).await;
    println!("the replica took over after {:?}", start.elapsed());
    assert_eq!(replica.ask::<Vec<redis::Value>>(&["ROLE"])[0], redis::Value::BulkString(b"master".to_vec()));
    // It has what the other had passed on.
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
    _ = redis.fill(&key("8"), late, record("b")).await.unwrap();
    redis.invalidate(&key("7")).await.unwrap();
    assert_eq!(payload(&redis, &key("7")).await, None);
    while next(&mut news).await != News::Linked {}
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_no_primary() {
    let primary = Server::start();
    let sentinel = sentinel(primary.port);
    let redis = Redis::sentinel([sentinel.url()], "blog").await.unwrap();
    redis.ping().await.unwrap_err();
    assert!(Redis::sentinel(Vec::<String>::new(), "shop").await.unwrap_err().to_string().contains("no URL"));
}
