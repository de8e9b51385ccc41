//! `timeout` and `soft_timeout`: nobody waits longer than promised.

use stampede::{Cache, Store, Timeout, coalesce, fresh, no_stale, uncached};
use tokio::time::Instant;

use crate::tools::{Call, Origin, drive, ms, pass, secs, settle};
use crate::ways::{Answer, End, Fault, Script, Way, each_way, is_timeout, ways};

ways!(bounded, [ttl = "10s", timeout = "2s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .timeout(crate::tools::secs(2)));

#[tokio::test(start_paused = true)]
async fn a_call_leaves_in_time_and_its_run_goes_on() {
    each_way(async |way, store| {
        let script = &Script::gated();
        let start = Instant::now();
        let answer = bounded::call(way, script, 1).await;
        assert!(is_timeout(&answer), "{answer:?}");
        assert_eq!(start.elapsed(), secs(2));
        let Err(Fault::Timeout(Timeout { cache, after, .. })) = answer else { unreachable!() };
        assert!(cache.contains("bounded") && after == secs(2), "{cache}");
        let stats = store.stats();
        assert_eq!((stats.calls.error, stats.calls.total()), (1, 1), "{stats:?}");
        if way.is_inline() {
            // It cannot go on without its caller.
            assert_eq!((stats.in_flight, stats.runs.cancelled), (0, 1));
            return;
        }
        assert_eq!((stats.in_flight, stats.runs.total()), (1, 0));
        script.release(1);
        settle().await;
        assert_eq!((bounded::call(way, script, 1).await, script.runs()), (Ok(1), 1));
        assert_eq!(store.stats().runs.ok, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn time_counts_from_the_call_whoever_runs() {
    each_way(async |way, store| {
        let script = &Script::gated();
        let mut first = Call::start(bounded::call(way, script, 1)).await;
        pass(ms(1_500)).await;
        let mut second = Call::start(bounded::call(way, script, 1)).await;
        pass(ms(499)).await;
        assert_eq!((first.poll().await, second.poll().await), (None, None));
        pass(ms(1)).await;
        assert!(is_timeout(&first.poll().await.expect("an answer")));
        settle().await;
        assert_eq!(second.poll().await, None, "it has come later");
        // Where the run was the first one's, the second runs: on its own time.
        settle().await;
        pass(ms(1_499)).await;
        assert_eq!(second.poll().await, None);
        pass(ms(1)).await;
        assert!(is_timeout(&second.poll().await.expect("an answer")));
        assert_eq!(script.runs(), if way.is_inline() { 2 } else { 1 });
        assert_eq!(store.stats().calls.error, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_past_the_store_is_bounded_too() {
    each_way(async |way, store| {
        let script = &Script::gated();
        let start = Instant::now();
        let answer = uncached(bounded::call(way, script, 1)).await;
        assert!(is_timeout(&answer) && start.elapsed() == secs(2), "{answer:?}");
        store.bypass(true);
        assert!(is_timeout(&bounded::call(way, script, 1).await));
        assert_eq!((store.stats().calls.bypass, store.stats().calls.total()), (2, 2));
    })
    .await;
}

#[coalesce(timeout = "2s", skip(origin))]
async fn not_stored(origin: &Origin) -> Result<u64, Timeout> {
    Ok(origin.read().await)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_can_use_any_more_is_cancelled() {
    let store = Store::default();
    let run = async {
        let origin = &Origin::gated();
        assert!(not_stored(origin).await.is_err());
        settle().await;
    };
    store.scope(run).await;
    assert_eq!((store.stats().in_flight, store.stats().runs.cancelled), (0, 1));
}

#[coalesce(ttl = "1h", timeout = "1m", skip(origin))]
async fn patient(origin: &Origin) -> anyhow::Result<u64> {
    Ok(origin.read().await)
}

#[tokio::test(start_paused = true)]
async fn runs_may_take_ten_times_as_long_as_calls() {
    let store = Store::default();
    let run = async {
        let origin = &Origin::gated();
        let error = patient(origin).await.expect_err("a timeout");
        assert!(error.is::<Timeout>(), "{error}");
        assert!(error.to_string().contains("took longer than 60s"), "{error}");
        pass(secs(539)).await;
        assert_eq!(store.stats().in_flight, 1);
        pass(secs(1)).await;
        assert_eq!((store.stats().in_flight, store.stats().runs.timeout), (0, 1));
    };
    store.scope(run).await;
}

ways!(covered, [ttl = "10s", stale_if_error = "20s", timeout = "2s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_if_error(crate::tools::secs(20))
    .timeout(crate::tools::secs(2)));

#[tokio::test(start_paused = true)]
async fn an_old_value_makes_up_for_a_timeout_and_the_next_call_waits_again() {
    each_way(async |way, store| {
        let script = &Script::gated();
        covered::put(way, 1, 100).await;
        pass(secs(10)).await;
        for _ in 0..2 {
            let start = Instant::now();
            assert_eq!((covered::call(way, script, 1).await, start.elapsed()), (Ok(100), secs(2)));
        }
        // One run for both, unless it went with its caller.
        assert_eq!(script.runs(), if way.is_inline() { 2 } else { 1 });
        let answer = no_stale(covered::call(way, script, 1)).await;
        assert!(is_timeout(&answer), "{answer:?}");
        let answer = fresh(covered::call(way, script, 1)).await;
        assert!(is_timeout(&answer), "{answer:?}");
        assert_eq!((store.stats().calls.stale, store.stats().calls.error), (2, 2));
        pass(secs(20)).await;
        assert!(is_timeout(&covered::call(way, script, 1).await), "beyond the window");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_voided_makes_up_for_no_timeout() {
    each_way(async |way, _| {
        let script = &Script::gated();
        covered::put(way, 1, 100).await;
        pass(secs(10)).await;
        let mut calls = [Call::start(covered::call(way, script, 1)).await];
        drive(&mut calls).await;
        covered::invalidate(way, 1).await;
        pass(secs(2)).await;
        let [answer] = &drive(&mut calls).await[..] else { unreachable!() };
        assert!(is_timeout(answer.as_ref().expect("an answer")));
    })
    .await;
}

ways!(soft, [ttl = "10s", stale_if_error = "20s", soft_timeout = "1s", timeout = "5s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_if_error(crate::tools::secs(20))
    .soft_timeout(crate::tools::secs(1))
    .timeout(crate::tools::secs(5)));

#[tokio::test(start_paused = true)]
async fn after_the_soft_timeout_an_old_value_will_do() {
    each_way(async |way, store| {
        let script = &Script::gated();
        soft::put(way, 1, 100).await;
        pass(secs(10)).await;
        let start = Instant::now();
        assert_eq!((soft::call(way, script, 1).await, start.elapsed()), (Ok(100), secs(1)));
        assert_eq!(store.stats().calls.stale, 1);
        if !way.is_inline() {
            script.release(1);
            settle().await;
            assert_eq!((soft::call(way, script, 1).await, script.runs()), (Ok(1), 1), "the run went on");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_an_old_value_a_soft_timeout_does_nothing() {
    each_way(async |way, _| {
        let script = &Script::gated();
        let start = Instant::now();
        assert!(is_timeout(&soft::call(way, script, 1).await));
        assert_eq!(start.elapsed(), secs(5));
        // Nor for those who want none.
        soft::put(way, 2, 100).await;
        pass(secs(10)).await;
        let start = Instant::now();
        assert!(is_timeout(&no_stale(soft::call(way, script, 2)).await));
        assert!(is_timeout(&fresh(soft::call(way, script, 2)).await));
        assert_eq!(start.elapsed(), secs(10));
    })
    .await;
}

ways!(revalidated, [ttl = "10s", stale_while_revalidate = "20s", soft_timeout = "1s", timeout = "2s"], |builder| {
    builder
        .ttl(crate::tools::secs(10))
        .stale_while_revalidate(crate::tools::secs(20))
        .soft_timeout(crate::tools::secs(1))
        .timeout(crate::tools::secs(2))
});

#[tokio::test(start_paused = true)]
async fn a_stale_answer_waits_for_no_timeout() {
    each_way(async |way, store| {
        let script = &Script::gated();
        revalidated::put(way, 1, 100).await;
        pass(secs(10)).await;
        let start = Instant::now();
        assert_eq!(revalidated::call(way, script, 1).await, Ok(100));
        // An inline refresh holds its own caller up, for as long as the soft timeout allows.
        assert_eq!(start.elapsed(), if way.is_inline() { secs(1) } else { secs(0) });
        let start = Instant::now();
        assert_eq!(revalidated::call(way, script, 1).await, Ok(100));
        assert_eq!(start.elapsed(), if way.is_inline() { secs(1) } else { secs(0) });
        assert_eq!((store.stats().calls.stale, store.stats().calls.total()), (2, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_zero_duration_is_off() {
    let run = async {
        let cache: Cache<u64, Timeout> = Cache::builder("zero").ttl(secs(10)).timeout(secs(0)).build();
        let script = Script::open();
        script.takes(secs(60));
        let answer: Answer = cache.try_get_with(&1, || script.clone().run()).await;
        assert_eq!(answer, Ok(1));
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_timeout_is_a_failure() {
    each_way(async |way: Way, _| {
        let script = &Script::open();
        script.ends(End::Error);
        assert_eq!(bounded::call(way, script, 1).await, Err(Fault::Run(1)));
    })
    .await;
}
