//! What one process does, the others hear; and who waits for a key is woken.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use stampede_redis::Redis;
use stampede_runtime::tier::{Claim, News, Tier, TierKey, Word};

use crate::server::Server;
use crate::support::{MINUTE, connect, key, lease, leased, linked, listen, next, record, until, within};

#[tokio::test]
async fn others_hear_and_oneself_does_not() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let blog = Redis::connect(server.url()).prefix("blog").await.unwrap();
    let (mut ours, mut theirs, mut elsewhere) = (linked(&one).await, linked(&two).await, linked(&blog).await);
    let odd = TierKey { cache: "a/{~".into(), parts: [0, 255].repeat(5000).into() };

    one.invalidate(&odd).await.unwrap();
    one.put(&key("7"), record("a")).await.unwrap();
    one.expire(&key("7")).await.unwrap();
    one.invalidate_tag("t").await.unwrap();
    one.clear().await.unwrap();
    // Of this nobody hears.
    let taken = lease(&one, &key("8")).await;
    one.fill(&key("8"), taken, record("b")).await.unwrap().unwrap();
    two.clear().await.unwrap();
    blog.clear().await.unwrap();

    let expected =
        [News::Voided(odd), News::Voided(key("7")), News::Expired(key("7")), News::Tag("t".into()), News::Cleared];
    for expected in expected {
        assert_eq!(next(&mut theirs).await, expected);
    }
    assert_eq!(next(&mut ours).await, News::Cleared);
    one.invalidate_tag("end").await.unwrap();
    assert_eq!(next(&mut theirs).await, News::Tag("end".into()));
    assert!(ours.is_empty() && elsewhere.try_recv().is_err());
}

#[tokio::test]
async fn stores_that_share_a_handle_hear_of_each_other() {
    let server = Server::start();
    let redis = connect(&server).await;
    let (mut one, mut two) = (linked(&redis).await, linked(&redis.clone()).await);
    redis.clear().await.unwrap();
    assert_eq!(next(&mut one).await, News::Cleared);
    assert_eq!(next(&mut two).await, News::Cleared);
}

#[tokio::test]
async fn whatever_happens_to_a_key_wakes() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    linked(&two).await;
    let key = key("7");
    let key = &key;
    let forced = || Claim { force: true, ..Claim::default() };
    for what in ["fill", "expire", "invalidate", "release", "throttle", "put", "force"] {
        let taken = if what == "put" { None } else { Some(leased(one.acquire(key, forced()).await.unwrap())) };
        let signal = two.watch(key).await.unwrap();
        match (what, taken) {
            ("fill", Some(lease)) => _ = one.fill(key, lease, record("a")).await.unwrap().unwrap(),
            ("release", Some(lease)) => one.release(key, lease, Duration::ZERO).await.unwrap(),
            ("throttle", Some(lease)) => one.release(key, lease, MINUTE).await.unwrap(),
            ("expire", _) => one.expire(key).await.unwrap(),
            ("invalidate", _) => one.invalidate(key).await.unwrap(),
            ("put", _) => _ = one.put(key, record("b")).await.unwrap(),
            _ => _ = one.acquire(key, forced()).await.unwrap(),
        }
        let word = tokio::time::timeout(Duration::from_secs(5), signal).await;
        let is_given_back = matches!(what, "release" | "throttle");
        assert_eq!(word.ok(), Some(if is_given_back { Word::GivenBack } else { Word::Other }), "{what}");
    }
}

#[tokio::test]
async fn who_claims_after_a_failure_does_not_drown_the_word_of_it() {
    let server = Server::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let mut news = linked(&two).await;
    let (key, other) = (key("7"), key("8"));
    let taken = leased(one.acquire(&key, Claim::default()).await.unwrap());
    let signal = two.watch(&key).await.unwrap();
    one.release(&key, taken, MINUTE).await.unwrap();
    // This one has no old value to wait with.
    leased(one.acquire(&key, Claim::default()).await.unwrap());
    // Once this is heard, so is all of that.
    one.invalidate(&other).await.unwrap();
    assert_eq!(next(&mut news).await, News::Voided(other));
    assert_eq!(within(Duration::from_secs(5), signal).await, Word::GivenBack);
}

#[tokio::test]
async fn many_watch_one_key_and_leave_no_trace() {
    let server = Server::start();
    let redis = connect(&server).await;
    linked(&redis).await;
    let watched = || -> usize { server.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "*:w"]).len() };
    let (seven, eight) = (key("7"), key("8"));
    let mut signals = Vec::new();
    for _ in 0..20 {
        signals.push(redis.watch(&seven).await.unwrap());
    }
    let mut other = redis.watch(&eight).await.unwrap();
    assert_eq!(watched(), 2);
    signals.truncate(10);
    redis.invalidate(&seven).await.unwrap();
    for signal in signals {
        within(Duration::from_secs(5), signal).await;
    }
    until(async || watched() == 1).await;
    assert!((&mut other).now_or_never().is_none(), "nothing happened to this one");
    drop(other);
    until(async || watched() == 0).await;
    // Who comes while the last one leaves is served.
    for _ in 0..200 {
        let signal = redis.watch(&seven).await.unwrap();
        drop(redis.watch(&eight).await.unwrap());
        let (next, ()) = tokio::join!(redis.watch(&seven), async { drop(signal) });
        let next = next.unwrap();
        redis.invalidate(&seven).await.unwrap();
        within(Duration::from_secs(5), next).await;
    }
    until(async || watched() == 0).await;
}

#[tokio::test]
async fn a_watch_that_is_given_up_leaves_no_trace() {
    let server = Server::start();
    let redis = connect(&server).await;
    linked(&redis).await;
    for polls in 0..20 {
        let key = key("7");
        let mut watch = redis.watch(&key);
        for _ in 0..polls {
            if (&mut watch).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    until(async || server.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "*:w"]).is_empty()).await;
}

#[tokio::test]
async fn a_lost_link_is_told_and_wakes_who_waits() {
    let mut server = Server::start();
    let redis = connect(&server).await;
    let mut news = linked(&redis).await;
    let signal = redis.watch(&key("7")).await.unwrap();
    server.kill();
    assert_eq!(next(&mut news).await, News::Unlinked);
    within(Duration::from_secs(5), signal).await;
    assert!(redis.watch(&key("7")).await.is_err());
    server.restart();
    assert_eq!(next(&mut news).await, News::Linked);
    let signal = redis.watch(&key("7")).await.unwrap();
    until(async || redis.invalidate(&key("7")).await.is_ok()).await;
    within(Duration::from_secs(5), signal).await;
}

#[tokio::test]
async fn a_wedged_link_counts_as_lost() {
    let server = Server::start();
    let redis = connect(&server).await;
    let mut news = linked(&redis).await;
    server.pause();
    let start = Instant::now();
    assert_eq!(next(&mut news).await, News::Unlinked);
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    server.resume();
    let start = Instant::now();
    assert_eq!(next(&mut news).await, News::Linked);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    until(async || redis.ping().await.is_ok()).await;
}

#[tokio::test]
async fn who_attaches_late_hears_of_the_link() {
    let server = Server::start();
    let redis = connect(&server).await;
    linked(&redis).await;
    let mut late = listen(&redis);
    assert_eq!(next(&mut late).await, News::Linked);
}

/// How long it takes from the moment that a value is stored in one process to that when another has it, which waited for it:
/// the median and the 95th of a hundred, in so many rounds.
async fn wake_ups(rounds: usize, by_signal: bool) -> [Duration; 2] {
    let server = Server::start();
    let (holder, follower) = (connect(&server).await, connect(&server).await);
    linked(&follower).await;
    let mut times = Vec::new();
    for round in 0..rounds {
        let key = key(&round.to_string());
        let taken = lease(&holder, &key).await;
        let signal = follower.watch(&key).await.unwrap();
        let (follower, waited) = (follower.clone(), key.clone());
        let waiting = tokio::spawn(async move {
            if by_signal {
                signal.await;
            }
            while crate::support::payload(&follower, &waited).await.is_none() {
                assert!(!by_signal, "it is there");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Instant::now()
        });
        // At no moment of the poller's in particular.
        let pause = Duration::from_millis(if by_signal { 0 } else { round as u64 * 7 % 50 });
        tokio::time::sleep(pause).await;
        let start = Instant::now();
        holder.fill(&key, taken, record("v")).await.unwrap().unwrap();
        times.push(waiting.await.unwrap().saturating_duration_since(start));
    }
    times.sort();
    [times[rounds / 2], times[rounds * 95 / 100]]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_wake_at_once() {
    let ([median, most], [polled, polled_most]) = (wake_ups(200, true).await, wake_ups(40, false).await);
    println!("from the fill to the follower's value: median {median:?}, 95 % {most:?}");
    println!("the same for one that asks every 50 ms: median {polled:?}, 95 % {polled_most:?}");
    assert!(median < Duration::from_millis(3), "{median:?}");
    assert!(median < polled / 2, "{median:?}, and {polled:?} for a poller");
}
