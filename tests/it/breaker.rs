//! `breaker`: an origin that fails is left alone, and asked again by one run at a time.

use stampede::{Store, fresh, no_stale, uncached};

use crate::tools::{Call, drive, ms, pass, secs, settle};
use crate::ways::{End, Fault, Script, Way, each_way, is_open, is_timeout, ways};

ways!(guarded, [ttl = "10s", run_limit = "2s", breaker(failures = 3, reset_after = "30s")], |builder| builder
    .ttl(crate::tools::secs(10))
    .run_limit(crate::tools::secs(2))
    .breaker(3, crate::tools::secs(30)));

/// Lets the breaker open.
async fn open(way: Way, script: &Script) {
    script.ends(End::Error);
    for _ in 0..3 {
        assert!(matches!(guarded::call(way, script, 0).await, Err(Fault::Run(_))));
    }
    script.ends(End::Value);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_for_all_keys_of_the_cache() {
    each_way(async |way, store| {
        let script = &Script::open();
        // One success in between starts the count anew.
        script.ends(End::Error);
        for key in [1, 2] {
            assert!(guarded::call(way, script, key).await.is_err());
        }
        script.ends(End::NoCache);
        assert!(guarded::call(way, script, 1).await.is_ok());
        open(way, script).await;
        let runs = script.runs();
        for key in [0, 1, 9] {
            let answer = guarded::call(way, script, key).await;
            assert!(is_open(&answer), "{answer:?}");
            assert!(is_open(&no_stale(guarded::call(way, script, key)).await));
            assert!(is_open(&fresh(guarded::call(way, script, key)).await));
        }
        assert_eq!(script.runs(), runs);
        let stats = store.stats();
        assert_eq!((stats.calls.error, stats.calls.total(), stats.in_flight), (14, 15, 0), "{stats:?}");
        // It guards what is past the store, but not what is past everything.
        store.bypass(true);
        assert!(is_open(&guarded::call(way, script, 1).await));
        store.bypass(false);
        assert!(uncached(guarded::call(way, script, 1)).await.is_ok());
        // Another store has another one.
        let other = Store::default();
        assert!(other.scope(guarded::call(way, script, 1)).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_failures() {
    each_way(async |way, store| {
        let script = &Script::open();
        script.ends(End::Panic);
        let call = tokio::spawn({
            let (store, script) = (store.clone(), script.clone());
            async move { store.scope(guarded::call(way, &script, 1)).await }
        });
        assert!(call.await.is_err());
        script.ends(End::Hangs);
        // Two runs reach their limit; the third is refused.
        let answer = guarded::call(way, script, 2).await;
        assert!(is_open(&answer), "{answer:?}");
        assert_eq!((script.runs(), store.stats().runs.timeout, store.stats().runs.panic), (3, 2, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fresh_value_is_served_and_a_flight_joined_breaker_or_not() {
    each_way(async |way, store| {
        let script = &Script::open();
        guarded::put(way, 1, 100).await;
        let held = &Script::gated();
        let mut calls = vec![Call::start(guarded::call(way, held, 2)).await];
        drive(&mut calls).await;
        open(way, script).await;
        assert_eq!(guarded::call(way, script, 1).await, Ok(100));
        calls.push(Call::start(guarded::call(way, held, 2)).await);
        assert_eq!(drive(&mut calls).await, [None, None]);
        held.release(1);
        assert_eq!(drive(&mut calls).await, [Some(Ok(1)), Some(Ok(1))]);
        assert!(is_open(&guarded::call(way, script, 3).await), "what began before says nothing about now");
        assert_eq!(store.stats().calls.coalesced, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn half_open_one_run_probes() {
    each_way(async |way, store| {
        let script = &Script::open();
        open(way, script).await;
        pass(ms(29_999)).await;
        assert!(is_open(&guarded::call(way, script, 1).await));
        pass(ms(1)).await;
        let probe = &Script::gated();
        let mut calls = [
            Call::start(guarded::call(way, probe, 1)).await,
            Call::start(guarded::call(way, probe, 2)).await,
            Call::start(guarded::call(way, probe, 1)).await,
        ];
        let [first, second, third] = &drive(&mut calls).await[..] else { unreachable!() };
        assert!(first.is_none() && third.is_none() && second.as_ref().is_some_and(is_open), "{second:?}");
        // It fails: open again, for as long.
        probe.ends(End::Error);
        probe.release(1);
        assert_eq!(drive(&mut calls).await[0], Some(Err(Fault::Run(1))));
        pass(ms(29_999)).await;
        assert!(is_open(&guarded::call(way, script, 1).await));
        pass(ms(1)).await;
        // It succeeds: closed.
        assert!(guarded::call(way, script, 1).await.is_ok());
        for key in 2..=5 {
            assert!(guarded::call(way, script, key).await.is_ok());
        }
        assert_eq!(store.stats().in_flight, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_probe_lets_the_next_one_try() {
    each_way(async |way, store| {
        let script = &Script::open();
        open(way, script).await;
        pass(secs(30)).await;
        // Cancelled: nobody can use it any more.
        let probe = &Script::gated();
        let mut call = [Call::start(guarded::call(way, probe, 1)).await];
        drive(&mut call).await;
        assert!(is_open(&guarded::call(way, script, 2).await));
        drop(call);
        guarded::invalidate(way, 1).await;
        settle().await;
        assert_eq!(store.stats().in_flight, 0);
        assert!(guarded::call(way, script, 2).await.is_ok());
        assert!(guarded::call(way, script, 3).await.is_ok(), "closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_a_failure() {
    each_way(async |way, store| {
        let script = &Script::open();
        open(way, script).await;
        pass(secs(30)).await;
        script.ends(End::Hangs);
        let answer = guarded::call(way, script, 1).await;
        assert!(is_open(&answer), "its own next run is refused: {answer:?}");
        assert_eq!((script.runs(), store.stats().runs.timeout), (4, 1));
        script.ends(End::Value);
        pass(ms(29_999)).await;
        assert!(is_open(&guarded::call(way, script, 1).await));
        pass(ms(1)).await;
        assert!(guarded::call(way, script, 1).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_inline_probe_that_is_not_polled_wedges_nothing() {
    let store = Store::default();
    let run = async {
        let script = &Script::open();
        open(Way::Inline, script).await;
        pass(secs(30)).await;
        let probe = &Script::gated();
        let asleep = Call::start(guarded::call(Way::Inline, probe, 1)).await;
        assert_eq!(probe.runs(), 1);
        pass(ms(1_999)).await;
        assert!(is_open(&guarded::call(Way::Inline, script, 2).await));
        pass(ms(1)).await;
        assert!(guarded::call(Way::Inline, script, 2).await.is_ok());
        drop(asleep);
        assert!(guarded::call(Way::Inline, script, 3).await.is_ok());
    };
    store.scope(run).await;
}

ways!(
    hurried,
    [ttl = "10s", timeout = "1s", refresh_ahead = 0.5, breaker(failures = 2, reset_after = "30s")],
    |builder| builder
        .ttl(crate::tools::secs(10))
        .timeout(crate::tools::secs(1))
        .refresh_ahead(0.5)
        .breaker(2, crate::tools::secs(30))
);

#[tokio::test(start_paused = true)]
async fn callers_that_leave_are_no_failures() {
    each_way(async |way, _| {
        let script = &Script::gated();
        for _ in 0..3 {
            assert!(is_timeout(&hurried::call(way, script, 1).await), "and the breaker stays closed");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn open_it_lets_no_early_refresh_start() {
    each_way(async |way, store| {
        let script = &Script::open();
        hurried::put(way, 1, 100).await;
        script.ends(End::Error);
        for key in [2, 3] {
            assert!(hurried::call(way, script, key).await.is_err());
        }
        pass(secs(5)).await;
        for _ in 0..3 {
            assert_eq!(hurried::call(way, script, 1).await, Ok(100));
            settle().await;
        }
        assert_eq!((script.runs(), store.stats().calls.fresh), (2, 3));
    })
    .await;
}

ways!(
    covered,
    [
        ttl = "10s",
        stale_while_revalidate = "10s",
        stale_if_error = "1m",
        retry_after = "0s",
        breaker(failures = 2, reset_after = "15s")
    ],
    |builder| builder
        .ttl(crate::tools::secs(10))
        .stale_while_revalidate(crate::tools::secs(10))
        .stale_if_error(crate::tools::secs(60))
        .retry_after(crate::tools::secs(0))
        .breaker(2, crate::tools::secs(15))
);

#[tokio::test(start_paused = true)]
async fn open_an_old_value_is_the_answer_within_any_window() {
    each_way(async |way, store| {
        let script = &Script::open();
        covered::put(way, 1, 100).await;
        pass(secs(10)).await;
        script.ends(End::Error);
        // Two refreshes fail; then there are no more.
        for runs in [1, 2, 2, 2] {
            assert_eq!(covered::call(way, script, 1).await, Ok(100));
            settle().await;
            assert_eq!(script.runs(), runs);
        }
        pass(secs(12)).await;
        assert_eq!((covered::call(way, script, 1).await, script.runs()), (Ok(100), 2), "in place of an error");
        assert!(is_open(&no_stale(covered::call(way, script, 1)).await));
        assert!(is_open(&covered::call(way, script, 2).await), "nothing is stored");
        pass(secs(3)).await;
        assert_eq!((covered::call(way, script, 1).await, script.runs()), (Ok(100), 3), "the probe fails");
        assert_eq!((covered::call(way, script, 1).await, script.runs()), (Ok(100), 3));
        pass(secs(45)).await;
        script.ends(End::Value);
        assert_eq!((covered::call(way, script, 1).await, script.runs()), (Ok(4), 4));
        let stats = store.stats();
        assert_eq!((stats.calls.stale, stats.calls.error, stats.calls.miss), (7, 2, 1), "{stats:?}");
    })
    .await;
}
