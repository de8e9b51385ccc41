//! `stale_if_error`: a failed run is answered with the old value, and a failing origin is left alone for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use stampede::{coalesce, fresh, no_stale};
use tokio::task::JoinSet;

use crate::harness::Threads;
use crate::stores::Store;
use crate::tools::{Call, drive, ms, pass, secs, settle};
use crate::ways::{End, Fault, REFUSED, Script, Way, each_way, told, ways};

const fn min(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

ways!(load, [ttl = "10s", stale_if_error = "20s", retry_after = "3s", run_limit = "2s", tags = "\"all\""], |builder| {
    builder
        .ttl(crate::tools::secs(10))
        .stale_if_error(crate::tools::secs(20))
        .retry_after(crate::tools::secs(3))
        .run_limit(crate::tools::secs(2))
        .tags(["all"])
});

/// What a call comes to: an answer, or a panic.
async fn outcome(way: Way, script: &Script) -> Result<Result<u64, Fault>, ()> {
    let call = tokio::spawn({
        let (script, store) = (script.clone(), Store::current());
        async move { store.scope(load::call(way, &script, 1)).await }
    });
    call.await.map_err(|_| ())
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_answered_with_the_old_value_and_the_next_one_put_off() {
    for end in [End::Error, End::Panic, End::Hangs] {
        each_way(async |way, store| {
            println!("{end:?}");
            let script = &Script::open();
            load::put(way, 1, 100).await;
            pass(secs(10)).await;
            assert_eq!(load::get(way, 1).await, None, "no hit any more");
            script.ends(end);
            for round in 1..=3 {
                assert_eq!((load::call(way, script, 1).await, script.runs()), (Ok(100), round));
                for _ in 0..3 {
                    assert_eq!((load::call(way, script, 1).await, script.runs()), (Ok(100), round), "at once");
                }
                pass(ms(2_999)).await;
                assert_eq!((load::call(way, script, 1).await, script.runs()), (Ok(100), round));
                pass(ms(1)).await;
            }
            let stats = store.stats();
            assert_eq!((stats.calls.stale, stats.calls.total(), stats.in_flight), (15, 15, 0), "{stats:?}");
            let failed = stats.runs.error + stats.runs.panic + stats.runs.timeout;
            assert_eq!((failed, stats.runs.total()), (3, 3), "the failures show: {stats:?}");
            // A run that succeeds ends it.
            script.ends(End::Value);
            assert_eq!((load::call(way, script, 1).await, load::call(way, script, 1).await), (Ok(4), Ok(4)));
            assert_eq!(store.stats().calls.miss, 1);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_window_the_failure_comes_through() {
    each_way(async |way, store| {
        let script = &Script::open();
        load::put(way, 1, 100).await;
        pass(ms(29_999)).await;
        script.ends(End::Error);
        assert_eq!(outcome(way, script).await, Ok(Ok(100)));
        pass(ms(1)).await;
        assert_eq!(outcome(way, script).await, Ok(Err(Fault::Run(2))), "put off or not, nothing is left");
        script.ends(End::Panic);
        assert_eq!(outcome(way, script).await, Err(()));
        let stats = store.stats();
        assert_eq!((stats.calls.stale, stats.calls.error), (1, 2), "{stats:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waits_gets_it_but_those_who_want_no_old_value() {
    each_way(async |way, store| {
        let script = &Script::gated();
        load::put(way, 1, 100).await;
        pass(secs(10)).await;
        script.ends(End::Error);
        let mut calls = [
            Call::start(load::call(way, script, 1)).await,
            Call::start(load::call(way, script, 1)).await,
            Call::start(no_stale(load::call(way, script, 1))).await,
            Call::start(load::call(way, script, 1)).await,
        ];
        assert_eq!(drive(&mut calls).await, [None, None, None, None]);
        script.release(1);
        let failed = Some(Err(Fault::Run(1)));
        assert_eq!(drive(&mut calls).await, [Some(Ok(100)), Some(Ok(100)), failed, Some(Ok(100))]);
        // Put off: at once for those who take it, and not for the others.
        assert_eq!((load::call(way, script, 1).await, script.runs()), (Ok(100), 1));
        script.release(2);
        assert_eq!(fresh(load::call(way, script, 1)).await, Err(Fault::Run(2)));
        script.release(3);
        assert_eq!(no_stale(load::call(way, script, 1)).await, Err(Fault::Run(3)));
        let stats = store.stats();
        assert_eq!((stats.calls.stale, stats.calls.error, stats.runs.error), (4, 3, 3), "{stats:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_lost_to_its_limit_answers_all_who_wait() {
    each_way(async |way, store| {
        let script = &Script::open();
        load::put(way, 1, 100).await;
        pass(secs(10)).await;
        script.ends(End::Hangs);
        let mut calls = [
            Call::start(no_stale(load::call(way, script, 1))).await,
            Call::start(load::call(way, script, 1)).await,
            Call::start(load::call(way, script, 1)).await,
        ];
        assert_eq!(drive(&mut calls).await, [None, None, None]);
        pass(secs(2)).await;
        assert_eq!(drive(&mut calls).await, [None, Some(Ok(100)), Some(Ok(100))], "the first runs once more");
        assert_eq!((script.runs(), store.stats().runs.timeout), (2, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_voided_meanwhile_is_not_served() {
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Invalidate,
        Clear,
        Tag,
        Put,
        Expire,
    }
    for act in [Act::Invalidate, Act::Clear, Act::Tag, Act::Put, Act::Expire] {
        each_way(async |way, store| {
            println!("{act:?}");
            let script = &Script::gated();
            load::put(way, 1, 100).await;
            pass(secs(10)).await;
            script.ends(End::Error);
            let mut calls =
                [Call::start(load::call(way, script, 1)).await, Call::start(load::call(way, script, 1)).await];
            drive(&mut calls).await;
            match act {
                Act::Invalidate => told(load::invalidate(way, 1).await, store),
                Act::Clear => told(store.clear().await, store),
                Act::Tag => told(store.invalidate_tag("all").await, store),
                Act::Put => load::put(way, 1, 200).await,
                Act::Expire => told(load::expire(way, 1).await, store),
            }
            script.release(1);
            let expected = match act {
                Act::Put => Ok(200),
                Act::Expire => Ok(100),
                _ => Err(Fault::Run(1)),
            };
            assert_eq!(drive(&mut calls).await, [Some(expected.clone()), Some(expected)]);
            assert_eq!(script.runs(), 1);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_are_not_stored_are_no_failures() {
    for end in [End::NoCache, End::StoredForNothing] {
        each_way(async |way, _| {
            let script = &Script::open();
            load::put(way, 1, 100).await;
            pass(secs(10)).await;
            script.ends(end);
            assert_eq!(load::call(way, script, 1).await, Ok(1), "{end:?}");
            assert_eq!(load::call(way, script, 1).await, Ok(100), "put off");
        })
        .await;
    }
}

ways!(
    both,
    [
        ttl = "10s",
        stale_while_revalidate = "5s",
        stale_if_error = "20s",
        cache_if = |value| *value != crate::ways::REFUSED
    ],
    |builder| builder
        .ttl(crate::tools::secs(10))
        .stale_while_revalidate(crate::tools::secs(5))
        .stale_if_error(crate::tools::secs(20))
        .cache_if(|value| *value != crate::ways::REFUSED)
);

#[tokio::test(start_paused = true)]
async fn both_windows_count_from_the_end_of_the_ttl() {
    each_way(async |way, _| {
        let script = &Script::gated();
        both::put(way, 1, 100).await;
        pass(secs(10)).await;
        // Within the first: at once, unless the call is the refresh.
        let mut calls = [Call::start(both::call(way, script, 1)).await, Call::start(both::call(way, script, 1)).await];
        let refresh = if way.is_inline() { None } else { Some(Ok(100)) };
        assert_eq!(drive(&mut calls).await, [refresh, Some(Ok(100))]);
        script.ends(End::Error);
        script.release(1);
        assert_eq!(drive(&mut calls).await, [Some(Ok(100)), Some(Ok(100))]);
        settle().await;
        // Between the two: the call waits, and gets it if the run fails.
        pass(secs(5)).await;
        let mut calls = [Call::start(both::call(way, script, 1)).await];
        assert_eq!(drive(&mut calls).await, [None]);
        script.release(2);
        assert_eq!(drive(&mut calls).await, [Some(Ok(100))]);
        // Beyond both.
        pass(secs(5)).await;
        script.release(3);
        assert_eq!(both::call(way, script, 1).await, Ok(100));
        pass(secs(10)).await;
        script.release(4);
        assert_eq!((both::call(way, script, 1).await, script.runs()), (Err(Fault::Run(4)), 4));
        script.ends(End::Refused);
        script.release(5);
        assert_eq!(both::call(way, script, 1).await, Ok(REFUSED));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_window_is_no_reason_to_answer_a_normal_hit_late() {
    each_way(async |way, store| {
        let script = &Script::open();
        assert_eq!(load::call(way, script, 1).await, Ok(1));
        pass(ms(9_999)).await;
        assert_eq!(load::call(way, script, 1).await, Ok(1));
        assert_eq!((store.stats().calls.fresh, script.runs()), (1, 1));
        pass(min(1)).await;
        assert_eq!(load::call(way, script, 1).await, Ok(2));
    })
    .await;
}

#[coalesce(ttl = "1h", stale_if_error = "1h", retry_after = "1h", key = "key")]
async fn failing(key: u64, runs: Arc<AtomicU64>) -> Result<u64, u64> {
    runs.fetch_add(1, SeqCst);
    Err(key)
}

#[test]
fn however_many_ask_at_once_a_failing_origin_sees_one_run() {
    const KEYS: u64 = 300;
    const CALLERS: u64 = 24;
    let store = Store::default();
    let runs = Arc::new(AtomicU64::new(0));
    let rush = async {
        for key in 0..KEYS {
            let entry = store.scope(async { failing_entry(key) }).await;
            entry.put(key).await;
            entry.expire().await;
            let mut tasks = JoinSet::new();
            for _ in 0..CALLERS {
                let (store, runs) = (store.clone(), Arc::clone(&runs));
                tasks.spawn(async move { store.scope(failing(key, runs)).await });
            }
            assert!(tasks.join_all().await.iter().all(|answer| *answer == Ok(key)));
        }
    };
    Threads::Eight.run(rush);
    let stats = store.stats();
    assert_eq!((runs.load(SeqCst), stats.runs.error, stats.calls.stale), (KEYS, KEYS, KEYS * CALLERS), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_switched_off_has_no_old_values() {
    each_way(async |way, store| {
        let script = &Script::open();
        load::put(way, 1, 100).await;
        pass(secs(10)).await;
        script.ends(End::Error);
        store.bypass(true);
        assert_eq!(load::call(way, script, 1).await, Err(Fault::Run(1)));
        store.bypass(false);
        assert_eq!((load::call(way, script, 1).await, script.runs()), (Ok(100), 2), "nor did that put anything off");
    })
    .await;
}
