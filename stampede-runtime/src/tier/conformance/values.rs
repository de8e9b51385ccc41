//! What is stored is what is read, for as long as it lives, under its key alone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Acquired, Claim, Fleet, Kept, Record, TICKS, Tier, TierKey, is_busy, key, record, tags};

fn is_close(a: Duration, b: Duration) -> bool {
    a.abs_diff(b) <= TICKS
}

fn assert_is(kept: Option<&Kept>, record: &Record) {
    let Some(Kept { record: there, left, .. }) = kept else { panic!("the value is not there: {record:?}") };
    assert!(there.payload == record.payload, "the payload has changed");
    assert_eq!((there.fingerprint, &there.tags), (record.fingerprint, &record.tags));
    assert!(is_close(there.fresh, record.fresh) && is_close(there.stale, record.stale), "{there:?} of {record:?}");
    assert!(is_close(there.run_time, record.run_time), "{there:?} of {record:?}");
    assert!(*left <= record.fresh + record.stale + TICKS, "{left:?} are left");
}

pub(super) async fn a_fill_is_there_for_all<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    assert_eq!(fleet.one.read(&key).await, None, "the tier is not empty");
    let lease = fleet.one.lease(&key, Claim { tags: tags(&["t"]), ..Claim::default() }).await;
    assert_eq!(fleet.two.read(&key).await, None, "a lease is no value");
    let record = Record { stale: Duration::from_secs(9), tags: tags(&["t"]), ..record("value") };
    let fill = fleet.one.fill(&key, &lease, record.clone()).await;
    assert!(fill.is_some(), "the lease stands");
    for process in [&fleet.one, &fleet.two] {
        let kept = process.read(&key).await;
        assert_is(kept.as_ref(), &record);
        assert_eq!(kept.map(|kept| kept.fill), fill);
        let Acquired::Value(kept) = process.acquire(&key, Claim::default()).await else { panic!("there is a value") };
        assert_is(Some(&kept), &record);
        assert_eq!(Some(kept.fill), fill);
    }
}

pub(super) async fn a_lease_fills_once<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let lease = fleet.one.lease(&key, Claim::default()).await;
    let fill = fleet.one.fill(&key, &lease, record("value")).await;
    assert!(fill.is_some(), "the lease stands");
    assert_eq!(fleet.one.fill(&key, &lease, record("again")).await, None, "a fill ends its lease");
    assert_eq!(fleet.two.payload(&key).await.as_deref(), Some(&b"value"[..]));
    let lease = fleet.two.lease(&key, Claim { seen: fill, ..Claim::default() }).await;
    let next = fleet.two.fill(&key, &lease, record("value")).await;
    assert!(next.is_some() && next != fill, "no two fillings are known by the same: {next:?}");
}

pub(super) async fn a_put_is_there_for_all<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    fleet.one.lease(&key, Claim::default()).await;
    let record = Record { tags: tags(&["t", "u"]), ..record("put") };
    let fill = fleet.two.put(&key, record.clone()).await;
    let kept = fleet.one.read(&key).await;
    assert_is(kept.as_ref(), &record);
    assert_eq!(kept.map(|kept| kept.fill), Some(fill));
    let other = fleet.two.put(&key, record).await;
    assert_ne!(fill, other, "no two fillings are known by the same");
    fleet.two.lease(&key, Claim { seen: Some(other), ..Claim::default() }).await;
}

pub(super) async fn what_was_seen_is_not_given_again<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let first = fleet.one.put(&key, record("first")).await;
    let second = fleet.one.put(&key, record("second")).await;
    let seen = |fill| Claim { seen: Some(fill), ..Claim::default() };
    let Acquired::Value(kept) = fleet.two.acquire(&key, seen(first)).await else {
        panic!("there is a value other than the one that was seen")
    };
    assert_eq!(kept.fill, second);
    let lease = fleet.two.lease(&key, seen(second)).await;
    assert!(is_busy(&fleet.one.acquire(&key, seen(second)).await), "somebody has the lease");
    assert!(matches!(fleet.one.acquire(&key, seen(first)).await, Acquired::Value(_)), "a lease hides no value");
    assert_eq!(fleet.one.payload(&key).await.as_deref(), Some(&b"second"[..]), "what was seen stays");
    assert!(fleet.two.fill(&key, &lease, record("third")).await.is_some());
    assert_eq!(fleet.one.payload(&key).await.as_deref(), Some(&b"third"[..]), "a fill replaces what was there");
}

pub(super) async fn what_nobody_can_use_is_discarded<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let first = fleet.one.put(&key, record("first")).await;
    let second = fleet.one.put(&key, record("second")).await;
    let discard = |fill| Claim { seen: Some(fill), discard: true, ..Claim::default() };
    let acquired = fleet.two.acquire(&key, discard(first)).await;
    assert!(matches!(acquired, Acquired::Value(_)), "another value is there: {acquired:?}");
    assert_eq!(fleet.two.payload(&key).await.as_deref(), Some(&b"second"[..]), "only what was seen is removed");
    fleet.two.lease(&key, discard(second)).await;
    assert_eq!(fleet.one.read(&key).await, None, "it was to be removed");
}

pub(super) async fn the_time_that_is_left_counts_down<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    for (fresh, stale) in [(400, 0), (100, 300), (2_000, 0)] {
        let (fresh, stale) = (Duration::from_millis(fresh), Duration::from_millis(stale));
        let life = fresh + stale;
        let before = Instant::now();
        fleet.one.put(&key, Record { fresh, stale, ..record("value") }).await;
        let after = Instant::now();
        loop {
            let asked = Instant::now();
            let kept = fleet.two.read(&key).await;
            // It lives for as long as it was to, counted from some moment of the trip that brought it.
            let most = (after + life + TICKS).saturating_duration_since(asked);
            let least = (before + life).saturating_duration_since(Instant::now() + TICKS);
            match kept {
                Some(Kept { left, .. }) => assert!(least <= left && left <= most, "{left:?}: {least:?} to {most:?}"),
                None => assert!(least.is_zero(), "{least:?} too early"),
            }
            if most.is_zero() || life > Duration::from_secs(1) {
                break;
            }
            sleep(Duration::from_millis(130)).await;
        }
    }
}

pub(super) async fn any_time_to_live_will_do<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let long = [Duration::MAX, Duration::from_secs(u64::MAX / 1_000), Duration::from_hours(24 * 365 * 1_000)];
    for fresh in long {
        for stale in [Duration::ZERO, Duration::MAX] {
            fleet.one.put(&key, Record { fresh, stale, ..record("long") }).await;
            let kept = fleet.two.read(&key).await;
            assert!(kept.is_some_and(|kept| kept.left > Duration::from_hours(24 * 365)), "{fresh:?} is long");
        }
    }
    for fresh in [Duration::from_nanos(1), Duration::from_micros(999)] {
        fleet.one.invalidate(&key).await;
        let lease = fleet.one.lease(&key, Claim::default()).await;
        fleet.one.fill(&key, &lease, Record { fresh, ..record("short") }).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(fleet.two.read(&key).await, None, "{fresh:?} are over");
    }
    // A release may ask for a short throttle, too.
    let lease = fleet.one.lease(&key, Claim::default()).await;
    fleet.one.release(&key, &lease, Duration::from_nanos(1)).await;
    sleep(Duration::from_millis(20)).await;
    fleet.two.lease(&key, Claim { has_old: true, ..Claim::default() }).await;
}

pub(super) async fn any_bytes_survive<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [Vec::new(), vec![0], every_byte.clone(), b"\r\n$-1\r\n".to_vec(), every_byte.repeat(4_000)] {
        for fingerprint in [0, u64::MAX, 0x0a0d_0000_ffff_2020] {
            let run_time = Duration::from_millis(fingerprint % 10_000);
            let tags = tags(&["", "a:b", "{c}", "ü\u{0}\r\n", "a"]);
            let record = Record { payload: payload.clone(), fingerprint, run_time, tags, ..record("") };
            fleet.one.put(&key, record.clone()).await;
            assert_is(fleet.two.read(&key).await.as_ref(), &record);
        }
    }
}

/// Keys that a tier which writes them carelessly might take for one another.
fn confusing_keys() -> Vec<TierKey> {
    let long = vec![b'x'; 100_000];
    let mut longer = long.clone();
    longer.push(b'x');
    let mut other = long.clone();
    other[99_999] = b'y';
    let mut parts: Vec<Vec<u8>> = vec![long, longer, other];
    let short: [&[u8]; 17] = [
        b"",
        b"\0",
        b"\0\0",
        b":",
        b"a",
        b"A",
        b"a ",
        b"a:l",
        b"a:b",
        b"{a}",
        b"}a{",
        b"\xff\xfe",
        b"\r\n",
        b"*",
        b"b:c",
        b"c",
        "ä".as_bytes(),
    ];
    parts.extend(short.map(<[u8]>::to_vec));
    parts.extend([63, 64, 65].map(|len| vec![0; len]));
    let caches = ["", "a", "a:b", "b", "{a}", "a b", "ä", "A"];
    let keys = |cache: &str| {
        let cache = cache.into();
        parts
            .iter()
            .map(move |parts| TierKey { cache: std::sync::Arc::clone(&cache), parts: parts.as_slice().into() })
            .collect::<Vec<_>>()
    };
    caches.into_iter().flat_map(keys).collect()
}

pub(super) async fn keys_are_apart<T: Tier>(fleet: Fleet<T>) {
    let keys = confusing_keys();
    for (i, key) in keys.iter().enumerate() {
        let lease = fleet.one.lease(key, Claim::default()).await;
        assert!(fleet.one.fill(key, &lease, record(&i.to_string())).await.is_some());
    }
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(fleet.two.payload(key).await, Some(i.to_string().into()), "of {:?} in {:?}", key.parts, key.cache);
    }
    fleet.two.invalidate(&keys[0]).await;
    fleet.one.hears(&super::News::Voided(keys[0].clone())).await;
    for key in &keys[1..] {
        assert!(fleet.one.read(key).await.is_some(), "another key was invalidated");
    }
}

pub(super) async fn tiers_are_apart<T: Tier>(fleet: Fleet<T>, other: Fleet<T>) {
    let key = key("a");
    fleet.one.put(&key, Record { tags: tags(&["t"]), ..record("value") }).await;
    assert_eq!(other.one.read(&key).await, None, "a value of another tier");
    other.one.lease(&key, Claim::default()).await;
    other.one.invalidate_tag("t").await;
    other.one.invalidate(&key).await;
    other.one.clear().await;
    other.two.hears(&super::News::Cleared).await;
    assert!(fleet.two.read(&key).await.is_some(), "another tier was cleared");
    let heard = fleet.two.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let is_ours = |news: &super::News| matches!(news, super::News::Linked | super::News::Voided(_));
    assert!(heard.iter().all(is_ours) && heard.len() <= 2, "news of another tier: {heard:?}");
}
