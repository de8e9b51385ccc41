//! A Cluster of three primaries, and what is different in one.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use stampede_redis::{Connect, Redis};
use stampede_runtime::tier::{Claim, News, Tier};

use crate::server::Server;
use crate::support::{busy, claim, key, lease, leased, linked, next, payload, record, tagged, until, within};

struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    async fn start() -> Self {
        let nodes: Vec<_> = (0..3).map(|_| Server::of_cluster()).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { nodes };
        until(async || {
            cluster.nodes.iter().all(|node| node.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        })
        .await;
        cluster
    }

    fn connect(&self) -> Connect {
        // One node will do.
        Redis::cluster([self.nodes[0].url()]).prefix("shop")
    }
}

#[tokio::test]
async fn a_cluster_conforms() {
    let cluster = Cluster::start().await;
    crate::conformance::check(|| cluster.connect()).await;
}

#[tokio::test]
async fn a_cluster_does_as_the_model_does() {
    let cluster = Cluster::start().await;
    crate::conformance::replay(|| cluster.connect()).await;
}

#[tokio::test]
async fn keys_are_spread_and_their_leases_are_beside_them() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.connect().await.unwrap(), cluster.connect().await.unwrap());
    let mut news = linked(&two).await;
    linked(&one).await;
    for index in 0..50 {
        let key = key(&index.to_string());
        let taken = leased(one.acquire(&key, claim(["a", "b"])).await.unwrap());
        busy(two.acquire(&key, claim(["a", "b"])).await.unwrap());
        let signal = two.watch(&key).await.unwrap();
        one.fill(&key, taken, tagged("v", ["a", "b", "c"])).await.unwrap().unwrap();
        within(Duration::from_secs(5), signal).await;
        assert_eq!(payload(&two, &key).await.as_deref(), Some("v"));
    }
    let spread: Vec<usize> = cluster.nodes.iter().map(|node| node.keys().len()).collect();
    assert!(spread.iter().all(|&keys| keys > 5), "{spread:?}");
    let (third, fourth) = (key("3"), key("4"));
    one.renew(&[(third.clone(), lease_of(&one, &third).await), (fourth.clone(), lease_of(&one, &fourth).await)])
        .await
        .unwrap();
    one.invalidate(&third).await.unwrap();
    assert_eq!(next(&mut news).await, News::Voided(third));
    one.invalidate_tag("c").await.unwrap();
    assert_eq!(next(&mut news).await, News::Tag("c".into()));
    for index in 0..50 {
        assert_eq!(payload(&two, &key(&index.to_string())).await, None);
    }
}

async fn lease_of(redis: &Redis, key: &stampede_runtime::tier::TierKey) -> stampede_runtime::tier::Lease {
    leased(redis.acquire(key, Claim { force: true, ..Claim::default() }).await.unwrap())
}

/// A slot moves to another node: what is in it is found there, and those who watch it are woken.
#[tokio::test]
async fn slots_may_move() {
    let cluster = Cluster::start().await;
    let redis = cluster.connect().await.unwrap();
    linked(&redis).await;
    let key = key("7");
    redis.put(&key, record("a")).await.unwrap();
    let name = "shop:{app::load/7}";
    let slot: u16 = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", name]);
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"])).collect();
    let from = cluster.nodes.iter().position(|node| node.keys().contains(&name.to_owned())).unwrap();
    let to = (from + 1) % 3;
    let set = |node: usize, state: &str, of: usize| {
        let _: () = cluster.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot.to_string(), state, &ids[of]]);
    };
    set(to, "IMPORTING", from);
    set(from, "MIGRATING", to);
    let port = cluster.nodes[to].port.to_string();
    let _: String = cluster.nodes[from].ask(&["MIGRATE", "127.0.0.1", &port, name, "0", "5000"]);
    for node in [to, from, (to + 1) % 3] {
        set(node, "NODE", to);
    }
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("a"));
    redis.invalidate(&key).await.unwrap();
    let taken = lease(&redis, &key).await;
    let signal = redis.watch(&key).await.unwrap();
    redis.fill(&key, taken, record("b")).await.unwrap().unwrap();
    within(Duration::from_secs(5), signal).await;
    assert!(cluster.nodes[to].keys().contains(&name.to_owned()));
}

/// One node is lost: what is on the others goes on, the link says that news may be missing, and when it is back so is all.
#[tokio::test]
async fn a_node_may_be_lost() {
    let mut cluster = Cluster::start().await;
    for node in &cluster.nodes {
        let _: () = node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let redis = cluster.connect().await.unwrap();
    let mut news = linked(&redis).await;
    let keys: Vec<_> = (0..30).map(|index| key(&index.to_string())).collect();
    for key in &keys {
        redis.put(key, record("a")).await.unwrap();
    }
    let lost: HashSet<String> = cluster.nodes[2].keys().into_iter().collect();
    cluster.nodes[2].pause();
    assert_eq!(next(&mut news).await, News::Unlinked);
    // Everything that everybody reads may have been there.
    if !lost.contains("shop:{~all}") {
        for key in &keys {
            if !lost.contains(&format!("shop:{{app::load/{}}}", String::from_utf8_lossy(&key.parts))) {
                assert_eq!(payload(&redis, key).await.as_deref(), Some("a"));
            }
        }
    }
    cluster.nodes[2].resume();
    while next(&mut news).await != News::Linked {}
    until(async || {
        for key in &keys {
            if redis.read(key).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    cluster.nodes.clear();
    until(async || redis.read(&keys[0]).await.is_err()).await;
}
