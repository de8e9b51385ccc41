//! One run for the fleet: who makes it, who waits for it, who takes over, and what voids it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use stampede::tier::Limits;
use stampede::tier::memory::Fault;
use stampede::{Stats, coalesce, fresh};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Process, fleet, two};
use crate::tools::{ms, pass, secs, settle};
use crate::ways::{Answer, End, Fault as Failed, Script};

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_one_run() {
    let fleet = fleet(8, |builder| builder);
    let runs = Arc::new(AtomicU64::new(0));
    let mut calls = JoinSet::new();
    for process in &fleet {
        for _ in 0..200 {
            let (cache, runs) = (process.cache.clone(), Arc::clone(&runs));
            let body = move || {
                let runs = Arc::clone(&runs);
                async move {
                    runs.fetch_add(1, SeqCst);
                    tokio::time::sleep(ms(100)).await;
                    7
                }
            };
            calls.spawn(async move { cache.get_with(&1, body).await });
        }
    }
    assert!(calls.join_all().await.into_iter().all(|value| value == 7));
    assert_eq!(runs.load(SeqCst), 1);
    let sum = |of: fn(Stats) -> u64| fleet.iter().map(|process| of(process.stats())).sum::<u64>();
    assert_eq!(sum(|stats| stats.calls.total()), 1600);
    assert_eq!((sum(|stats| stats.runs.total()), sum(|stats| stats.calls.miss)), (1, 1));
    assert_eq!(
        (sum(|stats| stats.tier.leases), sum(|stats| stats.tier.fills), sum(|stats| stats.tier.hits)),
        (1, 1, 7)
    );
    assert_eq!(sum(|stats| stats.in_flight + stats.waiting), 0);
}

#[tokio::test(start_paused = true)]
async fn each_ttl_sees_one_run() {
    let fleet = fleet(4, |builder| builder);
    let script = Script::open();
    for window in 1..=5 {
        for process in &fleet {
            assert_eq!(process.call(&script).await, Ok(window));
        }
        assert_eq!(script.runs(), window);
        pass(ms(9_999)).await;
        for process in &fleet {
            assert_eq!(process.call(&script).await, Ok(window), "up to the last moment");
        }
        pass(ms(1)).await;
    }
    let stats = fleet[3].stats();
    assert_eq!((stats.runs.total(), stats.calls.fresh, stats.calls.miss), (0, 10, 0), "all from the tier: {stats:?}");
}

#[tokio::test(start_paused = true)]
async fn copies_expire_with_the_value_that_they_are_copies_of() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!(a.call(&script).await, Ok(1));
    pass(secs(6)).await;
    assert_eq!(b.call(&script).await, Ok(1));
    pass(ms(3_999)).await;
    assert_eq!(b.call(&script).await, Ok(1));
    pass(ms(1)).await;
    assert_eq!(b.call(&script).await, Ok(2), "not ten seconds after it came here");
}

#[tokio::test(start_paused = true)]
async fn a_failure_elsewhere_is_no_answer_and_no_convoy() {
    let fleet = fleet(8, |builder| builder);
    let script = Script::gated();
    script.ends(End::Error);
    let mut calls = Vec::new();
    for process in &fleet {
        calls.push(process.spawn(&script).await);
    }
    assert_eq!(script.runs(), 1, "one for all, so far");
    // The others do not queue up to fail in turn: all run at once.
    script.release(1);
    settle().await;
    assert_eq!(script.runs(), 8);
    (2..=8).for_each(|run| script.release(run));
    settle().await;
    for (at, call) in calls.into_iter().enumerate() {
        assert!(call.is_finished(), "process {at} waits");
        assert!(matches!(call.await.expect("no panic"), Err(Failed::Run(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_run_gives_its_lease_back_at_once() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    // Nobody needs the value of a cache that has no TTL, and this one's run is inline: it goes with its caller.
    let call = {
        let (store, script) = (a.store.clone(), script.clone());
        tokio::spawn(async move { store.scope(inline(&script, 1)).await })
    };
    settle().await;
    let other = {
        let (store, script) = (b.store.clone(), script.clone());
        tokio::spawn(async move { store.scope(inline(&script, 1)).await })
    };
    settle().await;
    assert_eq!(script.runs(), 1, "the other process waits for it");
    call.abort();
    settle().await;
    assert_eq!(script.runs(), 2, "and takes over, at once");
    script.release(2);
    assert_eq!(other.await.expect("no panic"), Ok(2));
}

#[coalesce(ttl = "10s", skip(script), remote, inline)]
async fn inline(script: &Script, key: u8) -> Answer {
    let _ = key;
    script.clone().run().await
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_replaced_when_its_lease_ends() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    let _held = a.spawn(&script).await;
    let call = b.spawn(&script).await;
    // It lives on, and so does its lease.
    for _ in 0..20 {
        pass(ms(900)).await;
    }
    assert_eq!(script.runs(), 1);
    a.tier.set_fault(Fault::Hanging);
    // What can be left of it, and what those who wait are spread over.
    pass(Limits::default().lease + ms(100)).await;
    assert_eq!(script.runs(), 2);
    script.release(2);
    assert_eq!(call.await.expect("no panic"), Ok(2));
    // The first comes back from the dead: its value is delivered to whoever waits for it, and stored nowhere.
    a.tier.set_fault(Fault::None);
    script.release(1);
    settle().await;
    pass(secs(3)).await;
    assert_eq!((a.get().await, b.get().await), (Some(2), Some(2)), "{:?}", a.stats());
}

#[tokio::test(start_paused = true)]
async fn what_is_voided_elsewhere_is_void_here() {
    type Act = for<'p> fn(&'p Process) -> std::pin::Pin<Box<dyn Future<Output = bool> + 'p>>;
    let acts: [(&str, Act, Option<u64>); 5] = [
        ("invalidate", |process| Box::pin(async { process.cache.entry(&1).invalidate().await }), None),
        ("expire", |process| Box::pin(async { process.cache.entry(&1).expire().await }), None),
        ("tag", |process| Box::pin(async { process.store.invalidate_tag("tag").await }), None),
        ("clear", |process| Box::pin(async { process.store.clear().await }), None),
        (
            "put",
            |process| {
                Box::pin(async {
                    process.cache.entry(&1).put(100).await;
                    true
                })
            },
            Some(100),
        ),
    ];
    for (name, act, left) in acts {
        let (a, b) = two(|builder| builder.tags(["tag"]));
        let script = Script::open();
        assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
        assert!(act(&a).await, "{name}");
        assert_eq!(a.get().await, left, "{name}");
        settle().await;
        assert_eq!(b.get().await, left, "{name}: the news has arrived");

        // And what runs meanwhile is stored nowhere, on whichever side it runs.
        for (runner, other) in [(&a, &b), (&b, &a)] {
            assert!(other.cache.entry(&1).invalidate().await);
            settle().await;
            let script = Script::gated();
            let call = runner.spawn(&script).await;
            assert_eq!(script.runs(), 1, "{name}");
            assert!(act(other).await, "{name}");
            settle().await;
            script.release(1);
            assert_eq!(call.await.expect("no panic"), Ok(1), "{name}: delivered");
            settle().await;
            assert_eq!((runner.get().await, other.get().await), (left, left), "{name}: and not stored");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_call_runs_whoever_else_does() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    let slow = a.spawn(&script).await;
    let call = tokio::spawn({
        let (cache, script) = (b.cache.clone(), script.clone());
        async move { fresh(cache.try_get_with(&1, || script.clone().run())).await }
    });
    settle().await;
    assert_eq!(script.runs(), 2);
    script.release(2);
    assert_eq!(call.await.expect("no panic"), Ok(2));
    settle().await;
    script.release(1);
    assert_eq!(slow.await.expect("no panic"), Ok(1), "delivered");
    settle().await;
    assert_eq!((a.get().await, b.get().await), (Some(2), Some(2)), "the later one is stored");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_no_lease_behind() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    a.tier.set_fault(Fault::Slow(ms(100)));
    for polls in [0, 40, 60, 90] {
        let call = {
            let (store, script) = (a.store.clone(), script.clone());
            tokio::spawn(async move { store.scope(inline(&script, 1)).await })
        };
        settle().await;
        pass(ms(polls)).await;
        call.abort();
        // The claim comes to its end, and then the lease goes back.
        for _ in 0..4 {
            pass(ms(100)).await;
        }
        let start = Instant::now();
        b.store.scope(async { inline(&script, 1).await.expect("a value") }).await;
        assert!(start.elapsed() < ms(10), "after {polls} ms: {:?}", start.elapsed());
        b.store.scope(async { assert!(inline_entry(1).invalidate().await) }).await;
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_that_others_have_voided_on_its_way_does_not_come_back() {
    let (a, b) = two(|builder| builder);
    a.tier.set_fault(Fault::Slow(ms(200)));
    let entry = a.cache.entry(&1);
    let put = tokio::spawn(async move { entry.put(100).await });
    pass(ms(150)).await;
    assert_eq!(b.get().await, Some(100), "it is in the tier, and its writer does not know yet");
    b.cache.entry(&1).invalidate().await;
    put.await.expect("no panic");
    a.tier.set_fault(Fault::None);
    assert_eq!((a.get().await, b.get().await), (None, None));
}
