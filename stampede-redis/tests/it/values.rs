//! What is stored is read, for as long as it may be, and by those who may.

use std::time::Duration;

use stampede_redis::Redis;
use stampede_runtime::tier::{Acquired, Claim, FillId, Record, Tier};

use crate::server::Server;
use crate::support::{MINUTE, busy, claim, connect, key, lease, leased, payload, record, value};

#[tokio::test]
async fn a_filled_value_is_everybodys() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let key = key("7");
    assert_eq!(one.read(&key).await.unwrap(), None);

    let lease = lease(&one, &key).await;
    let left = busy(two.acquire(&key, Claim::default()).await.unwrap());
    assert!(left > Duration::from_secs(2) && left <= Duration::from_secs(3), "{left:?}");
    let stored = Record { stale: MINUTE, ..record("a") };
    let fill = one.fill(&key, lease, stored.clone()).await.unwrap().unwrap();

    for kept in [two.read(&key).await.unwrap().unwrap(), value(two.acquire(&key, Claim::default()).await.unwrap())] {
        assert_eq!(kept.record, stored);
        assert_eq!(kept.fill, fill);
        assert!(kept.left > Duration::from_secs(115) && kept.left <= 2 * MINUTE, "{:?}", kept.left);
    }
    assert_eq!(server.keys(), ["shop:{app::load/7}", "shop:{~all}", "shop:{~voids}"]);
}

#[tokio::test]
async fn times_shorter_than_a_second_are_kept() {
    let server = Server::start();
    let redis = connect(&server).await;
    let brief = Record { fresh: Duration::from_millis(300), ..record("a") };
    redis.put(&key("300 ms"), brief).await.unwrap();
    let left: i64 = server.ask(&["PTTL", "shop:{app::load/~"]);
    assert_eq!(left, -2, "the key has another name");
    let left = redis.read(&key("300 ms")).await.unwrap().unwrap().left;
    assert!(left <= Duration::from_millis(300) && left > Duration::ZERO, "{left:?}");
    // Redis takes no time for a mistake.
    let briefest = Record { fresh: Duration::from_nanos(1), ..record("a") };
    redis.put(&key("1 ns"), briefest).await.unwrap();
    let longest = Record { fresh: Duration::MAX, stale: Duration::MAX, ..record("a") };
    redis.put(&key("for ever"), longest).await.unwrap();
    assert_eq!(payload(&redis, &key("for ever")).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn what_was_seen_will_not_do() {
    let server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    let first = redis.put(&key, record("a")).await.unwrap();
    let seen = |fill, discard| Claim { seen: Some(fill), discard, ..Claim::default() };
    assert_eq!(value(redis.acquire(&key, seen(FillId(1), true)).await.unwrap()).fill, first);
    let lease = leased(redis.acquire(&key, seen(first, false)).await.unwrap());
    assert_eq!(payload(&redis, &key).await.as_deref(), Some("a"), "it stays until there is another");
    busy(redis.acquire(&key, seen(first, false)).await.unwrap());
    let second = redis.fill(&key, lease, record("b")).await.unwrap().unwrap();
    assert_eq!(value(redis.acquire(&key, seen(first, false)).await.unwrap()).fill, second);
    // What nobody like us can use is removed: that, and nothing else.
    leased(redis.acquire(&key, seen(second, true)).await.unwrap());
    assert_eq!(payload(&redis, &key).await, None);
}

#[tokio::test]
async fn failures_throttle_those_who_have_an_old_value() {
    let server = Server::start();
    let redis = connect(&server).await;
    let key = key("7");
    let with_old = Claim { has_old: true, ..Claim::default() };
    let first = lease(&redis, &key).await;
    redis.release(&key, first.clone(), MINUTE).await.unwrap();
    let Acquired::Throttled(left) = redis.acquire(&key, with_old.clone()).await.unwrap() else { panic!() };
    assert!(left > Duration::from_secs(55) && left <= MINUTE, "{left:?}");
    // Who has nothing to serve runs, and throttles nobody if there is no time to do so for.
    let second = leased(redis.acquire(&key, Claim::default()).await.unwrap());
    redis.release(&key, second, Duration::ZERO).await.unwrap();
    let third = leased(redis.acquire(&key, with_old.clone()).await.unwrap());
    // A lease that is no more ends no other.
    redis.release(&key, first, MINUTE).await.unwrap();
    busy(redis.acquire(&key, with_old.clone()).await.unwrap());
    redis.release(&key, third, MINUTE).await.unwrap();
    redis.invalidate(&key).await.unwrap();
    leased(redis.acquire(&key, with_old).await.unwrap());
}

#[tokio::test]
async fn leases_end_unless_they_are_renewed() {
    let server = Server::start();
    let redis = Redis::connect(server.url()).prefix("shop").lease(Duration::from_millis(300)).await.unwrap();
    let (one, two) = (key("1"), key("2"));
    let renewed = lease(&redis, &one).await;
    lease(&redis, &two).await;
    let mut left = Duration::ZERO;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        redis.renew(&[(one.clone(), renewed.clone())]).await.unwrap();
        left = busy(redis.acquire(&one, Claim::default()).await.unwrap());
    }
    assert!(left > Duration::from_millis(100), "{left:?}");
    let taken = lease(&redis, &two).await;
    // Who has lost a lease does not renew its successor's.
    tokio::time::sleep(Duration::from_millis(150)).await;
    redis.renew(&[(two.clone(), renewed), (key("3"), taken)]).await.unwrap();
    let left = match redis.acquire(&two, Claim::default()).await.unwrap() {
        Acquired::Busy(left) => left,
        _ => Duration::ZERO,
    };
    assert!(left <= Duration::from_millis(150), "{left:?}");
    crate::support::until(async || matches!(redis.acquire(&two, claim([])).await.unwrap(), Acquired::Leased(_))).await;
}

#[tokio::test]
async fn expired_values_stay_for_their_stale_window() {
    let server = Server::start();
    let redis = connect(&server).await;
    let (kept, gone) = (key("kept"), key("gone"));
    redis.put(&kept, Record { stale: Duration::from_secs(20), ..record("a") }).await.unwrap();
    redis.put(&gone, record("a")).await.unwrap();
    for key in [&kept, &gone, &key("none")] {
        redis.expire(key).await.unwrap();
    }
    let left = redis.read(&kept).await.unwrap().unwrap().left;
    assert!(left > Duration::from_secs(15) && left <= Duration::from_secs(20), "{left:?}");
    assert_eq!(redis.read(&gone).await.unwrap(), None);
    // To expire a value does not make it live longer.
    redis
        .put(&kept, Record { fresh: Duration::from_secs(1), stale: Duration::from_secs(20), ..record("a") })
        .await
        .unwrap();
    redis.expire(&kept).await.unwrap();
    redis.expire(&kept).await.unwrap();
    assert!(redis.read(&kept).await.unwrap().unwrap().left <= Duration::from_secs(20));
}

#[tokio::test]
async fn foreign_bytes_are_a_miss_and_removed() {
    let server = Server::start();
    let redis = connect(&server).await;
    let name = "shop:{app::load/7}";
    let good: Vec<u8> = {
        redis.put(&key("7"), record("good")).await.unwrap();
        server.ask(&["GET", name])
    };
    let mut pieces: Vec<Vec<u8>> = vec![b"".to_vec(), b"x".to_vec(), vec![b'x'; 500], good[..80].to_vec()];
    for at in [4, 5, 6, 7, 9, 30, 60, 65, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        pieces.push(damaged);
    }
    for bytes in &pieces {
        let set =
            || redis::cmd("SET").arg(name).arg(bytes).arg("PX").arg(60_000).query::<()>(&mut server.client()).unwrap();
        set();
        assert_eq!(redis.read(&key("7")).await.unwrap(), None, "{bytes:?}");
        let is_there: bool = server.ask(&["EXISTS", name]);
        assert!(!is_there || bytes.is_empty(), "{bytes:?}");
        set();
        let lease = lease(&redis, &key("7")).await;
        assert!(!server.ask::<bool>(&["EXISTS", name]) || bytes.is_empty(), "{bytes:?}");
        redis.release(&key("7"), lease, Duration::ZERO).await.unwrap();
    }
    // Other types, in all places.
    for name in [name.to_owned(), format!("{name}:l")] {
        let _: () = server.ask(&["DEL", &name]);
        let _: () = server.ask(&["LPUSH", &name, "x"]);
        if !name.ends_with('l') {
            assert_eq!(redis.read(&key("7")).await.unwrap(), None);
        }
        let lease = lease(&redis, &key("7")).await;
        redis.fill(&key("7"), lease, record("a")).await.unwrap().unwrap();
        redis.invalidate(&key("7")).await.unwrap();
    }
}

#[tokio::test]
async fn large_values_are_neither_written_nor_read() {
    let server = Server::start();
    let large = connect(&server).await;
    let small = Redis::connect(server.url()).prefix("shop").max_value_bytes(1000).await.unwrap();
    let key = key("7");
    small.put(&key, record(&"x".repeat(1000))).await.unwrap();
    assert!(small.put(&key, record(&"x".repeat(1001))).await.is_err());
    // A little and a lot more than it wants: without an effect on others.
    for len in [1001, 200_000] {
        large.put(&key, record(&"x".repeat(len))).await.unwrap();
        assert_eq!(small.read(&key).await.unwrap(), None);
        let lease = lease(&small, &key).await;
        small.release(&key, lease, Duration::ZERO).await.unwrap();
        assert_eq!(payload(&large, &key).await.unwrap().len(), len);
    }
}

#[tokio::test]
async fn prefixes_and_keys_are_apart() {
    let server = Server::start();
    let (shop, blog) = (connect(&server).await, Redis::connect(server.url()).prefix("blog").await.unwrap());
    shop.put(&key("7"), record("a")).await.unwrap();
    assert_eq!(payload(&blog, &key("7")).await, None);
    assert_eq!(payload(&shop, &key("8")).await, None);
    let mut other = key("7");
    other.cache = "app::load2".into();
    assert_eq!(payload(&shop, &other).await, None);
    blog.clear().await.unwrap();
    assert_eq!(payload(&shop, &key("7")).await.as_deref(), Some("a"));
    // Keys of any bytes and length.
    for parts in [&b""[..], b"{}", b"\0\xff/~}", &vec![b'x'; 100_000]] {
        let key = stampede_runtime::tier::TierKey { cache: "".into(), parts: parts.into() };
        let lease = lease(&shop, &key).await;
        shop.fill(&key, lease, record("b")).await.unwrap().unwrap();
        assert_eq!(payload(&shop, &key).await.as_deref(), Some("b"));
    }
}
