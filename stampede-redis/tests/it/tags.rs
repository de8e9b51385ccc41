//! A tag voids what bears it, and what runs under way will bring.

use stampede_runtime::tier::{Claim, Tier};

use crate::server::Server;
use crate::support::{busy, claim, connect, key, leased, payload, record, tagged, tags};

#[tokio::test]
async fn a_tag_voids_what_bears_it() {
    let server = Server::start();
    let redis = connect(&server).await;
    let long = "t".repeat(300);
    let names = ["a", "b/{c}", "", &long];
    for (index, name) in names.into_iter().enumerate() {
        let lease = leased(redis.acquire(&key(name), claim([name, "all"])).await.unwrap());
        let stored = tagged("v", [name, "all"]);
        redis.fill(&key(name), lease, stored.clone()).await.unwrap().unwrap();
        let kept = redis.read(&key(name)).await.unwrap().unwrap();
        assert_eq!(kept.record, stored, "{index}");
    }
    redis.invalidate_tag("b/{c}").await.unwrap();
    redis.invalidate_tag(&long).await.unwrap();
    redis.invalidate_tag("none bears this").await.unwrap();
    let mut found = Vec::new();
    for name in names {
        found.push(payload(&redis, &key(name)).await.is_some());
    }
    assert_eq!(found, [true, false, true, false]);
    redis.invalidate_tag("all").await.unwrap();
    assert_eq!(payload(&redis, &key("a")).await, None);
    leased(redis.acquire(&key("a"), claim(["a", "all"])).await.unwrap());
}

#[tokio::test]
async fn a_fill_after_its_tag_was_voided_is_refused() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let key = key("7");
    let late = leased(one.acquire(&key, claim(["a", "b"])).await.unwrap());
    busy(two.acquire(&key, claim(["a", "b"])).await.unwrap());
    two.invalidate_tag("b").await.unwrap();
    // Its lease is as good as gone: nobody waits for what will not be stored.
    let current = leased(two.acquire(&key, claim(["a", "b"])).await.unwrap());
    assert_eq!(one.fill(&key, late, tagged("old", ["a", "b"])).await.unwrap(), None);
    two.fill(&key, current, tagged("new", ["a", "b"])).await.unwrap().unwrap();
    assert_eq!(payload(&one, &key).await.as_deref(), Some("new"));

    // Who has another idea of the tags does not take a lease away.
    let current = leased(one.acquire(&key, Claim { force: true, ..claim(["a"]) }).await.unwrap());
    two.invalidate_tag("b").await.unwrap();
    busy(two.acquire(&key, claim(["b"])).await.unwrap());
    // Refused, a fill ends its lease.
    two.invalidate_tag("a").await.unwrap();
    assert_eq!(one.fill(&key, current, tagged("old", ["a"])).await.unwrap(), None);
    leased(two.acquire(&key, claim(["c"])).await.unwrap());
}

#[tokio::test]
async fn tags_that_a_run_finds_are_fenced_too() {
    let server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    let lease = leased(redis.acquire(&key, claim(["a"])).await.unwrap());
    redis.invalidate_tag("b").await.unwrap();
    assert_eq!(redis.fill(&key, lease, tagged("old", ["a", "b"])).await.unwrap(), None);
    let lease = leased(redis.acquire(&key, claim(["a"])).await.unwrap());
    redis.fill(&key, lease, tagged("new", ["a", "b"])).await.unwrap().unwrap();
    assert_eq!(redis.read(&key).await.unwrap().unwrap().record.tags, tags(["a", "b"]));
    redis.invalidate_tag("b").await.unwrap();
    assert_eq!(payload(&redis, &key).await, None);
}

#[tokio::test]
async fn what_is_put_bears_its_tags() {
    let server = Server::start();
    let redis = connect(&server).await;
    redis.put(&key("7"), tagged("v", ["a", "b"])).await.unwrap();
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("v"));
    redis.invalidate_tag("a").await.unwrap();
    assert_eq!(payload(&redis, &key("7")).await, None);
}

#[tokio::test]
async fn clear_voids_everything() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    one.put(&key("7"), record("v")).await.unwrap();
    let late = leased(one.acquire(&key("8"), claim(["a"])).await.unwrap());
    two.clear().await.unwrap();
    assert_eq!(payload(&one, &key("7")).await, None);
    assert_eq!(one.fill(&key("8"), late, tagged("old", ["a"])).await.unwrap(), None);
    one.put(&key("7"), record("v")).await.unwrap();
    assert_eq!(payload(&two, &key("7")).await.as_deref(), Some("v"));
}

#[tokio::test]
async fn what_tags_stand_at_outlives_values_and_is_not_lost_unnoticed() {
    let server = Server::start();
    let redis = connect(&server).await;
    let week = std::time::Duration::from_hours(7 * 24);
    let stored = stampede_runtime::tier::Record { fresh: week, ..tagged("v", ["a"]) };
    redis.put(&key("7"), stored).await.unwrap();
    let (value, tag): (i64, i64) = (server.ask(&["PTTL", "shop:{app::load/7}"]), server.ask(&["PTTL", "shop:{a}"]));
    assert!(tag > value && value > 0, "{tag} {value}");
    // One that was evicted is a tag that was voided.
    let _: () = server.ask(&["DEL", "shop:{a}"]);
    assert_eq!(payload(&redis, &key("7")).await, None);
    redis.put(&key("7"), tagged("v", ["a"])).await.unwrap();
    let _: () = server.ask(&["DEL", "shop:{~all}"]);
    assert_eq!(payload(&redis, &key("7")).await, None);
}
