//! `error_ttl`: an error is the answer for a while, and never in place of a value that can still be served.

use stampede::{Cache, Store, coalesce, fresh, no_stale};
use tokio::task::JoinSet;

use crate::tools::{Call, drive, ms, pass, secs, settle};
use crate::ways::{End, Fault, Script, each_way, ways};

ways!(kept, [ttl = "10s", error_ttl = "5s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .error_ttl(crate::tools::secs(5)));

#[tokio::test(start_paused = true)]
async fn an_error_is_the_answer_for_a_while() {
    each_way(async |way, store| {
        let script = &Script::open();
        script.ends(End::Error);
        for _ in 0..3 {
            assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(1)));
        }
        pass(ms(4_999)).await;
        assert_eq!(no_stale(kept::call(way, script, 1)).await, Err(Fault::Run(1)));
        assert_eq!(kept::get(way, 1).await, None, "it is no value");
        assert_eq!(kept::call(way, script, 2).await, Err(Fault::Run(2)), "another key");
        pass(ms(1)).await;
        script.ends(End::Value);
        assert_eq!(kept::call(way, script, 1).await, Ok(3));
        let stats = store.stats();
        assert_eq!((stats.calls.error, stats.calls.miss, stats.runs.error), (5, 1, 2), "{stats:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_value_an_invalidation_or_a_fresh_call_ends_it() {
    each_way(async |way, store| {
        let script = &Script::open();
        for act in 0..5 {
            script.ends(End::Error);
            let runs = script.runs();
            assert_eq!(fresh(kept::call(way, script, 1)).await, Err(Fault::Run(runs + 1)));
            assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(runs + 1)));
            script.ends(End::Value);
            let expected = match act {
                0 => {
                    kept::invalidate(way, 1).await;
                    Ok(runs + 2)
                }
                1 => {
                    kept::put(way, 1, 100).await;
                    Ok(100)
                }
                2 => {
                    kept::expire(way, 1).await;
                    Ok(runs + 2)
                }
                3 => {
                    store.clear().await;
                    Ok(runs + 2)
                }
                _ => {
                    assert_eq!(fresh(kept::call(way, script, 1)).await, Ok(runs + 2));
                    Ok(runs + 2)
                }
            };
            assert_eq!(kept::call(way, script, 1).await, expected, "{act}");
            kept::invalidate(way, 1).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_run_leaves_no_error() {
    each_way(async |way, _| {
        let script = &Script::gated();
        script.ends(End::Error);
        let mut calls = [Call::start(kept::call(way, script, 1)).await];
        drive(&mut calls).await;
        kept::invalidate(way, 1).await;
        script.release(1);
        assert_eq!(drive(&mut calls).await, [Some(Err(Fault::Run(1)))]);
        script.release(2);
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(2)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_not_stored_nor_is_anything_past_the_store() {
    each_way(async |way, store| {
        let script = &Script::open();
        script.ends(End::Panic);
        for _ in 0..2 {
            let (script, store) = (script.clone(), store.clone());
            let call = tokio::spawn(async move { store.scope(kept::call(way, &script, 1)).await });
            assert!(call.await.is_err());
        }
        assert_eq!(script.runs(), 2);
        script.ends(End::Error);
        store.bypass(true);
        for run in [3, 4] {
            assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(run)));
        }
        store.bypass(false);
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(5)));
    })
    .await;
}

ways!(both, [ttl = "10s", stale_if_error = "20s", error_ttl = "1m", retry_after = "3s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_if_error(crate::tools::secs(20))
    .error_ttl(crate::tools::secs(60))
    .retry_after(crate::tools::secs(3)));

#[tokio::test(start_paused = true)]
async fn an_error_takes_no_place_of_a_value_that_can_be_served() {
    each_way(async |way, store| {
        let script = &Script::open();
        both::put(way, 1, 100).await;
        script.ends(End::Error);
        assert_eq!(fresh(both::call(way, script, 1)).await, Err(Fault::Run(1)));
        assert_eq!((both::call(way, script, 1).await, both::get(way, 1).await), (Ok(100), Some(100)));
        pass(secs(10)).await;
        assert_eq!(no_stale(both::call(way, script, 1)).await, Err(Fault::Run(2)));
        assert_eq!((both::call(way, script, 1).await, script.runs()), (Ok(100), 2), "put off");
        pass(secs(3)).await;
        assert_eq!((both::call(way, script, 1).await, script.runs()), (Ok(100), 3));
        // Beyond the window the error is the better answer.
        pass(secs(17)).await;
        for _ in 0..3 {
            assert_eq!(both::call(way, script, 1).await, Err(Fault::Run(4)));
        }
        assert_eq!(store.stats().runs.error, 4);
    })
    .await;
}

#[coalesce(ttl = "10s", error_ttl = "5s", skip(script))]
async fn boxed(script: &Script) -> anyhow::Result<u64> {
    script.clone().run().await.map_err(|fault| anyhow::anyhow!("{fault:?}").context("boxed"))
}

#[tokio::test(start_paused = true)]
async fn errors_that_hold_any_are_stored_as_views() {
    let run = async {
        let script = &Script::open();
        script.ends(End::Error);
        for _ in 0..2 {
            let error = boxed(script).await.expect_err("an error");
            assert_eq!(format!("{error:#}"), "boxed: Run(1)");
        }
        assert_eq!(script.runs(), 1);
    };
    Store::default().scope(run).await;
}

#[coalesce(error_ttl = "5s", skip(script))]
async fn nothing_else(script: &Script) -> Result<u64, Fault> {
    script.clone().run().await
}

#[tokio::test(start_paused = true)]
async fn errors_can_be_all_that_is_stored() {
    let run = async {
        let script = &Script::open();
        assert_eq!((nothing_else(script).await, nothing_else(script).await), (Ok(1), Ok(2)));
        script.ends(End::Error);
        assert_eq!((nothing_else(script).await, nothing_else(script).await), (Err(Fault::Run(3)), Err(Fault::Run(3))));
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_cache_with_two_error_types_do_not_meet() {
    let run = async {
        let cache: Cache<u64> = Cache::builder("two errors").ttl(secs(10)).error_ttl(secs(5)).build();
        let text = || async { Err::<u64, _>("text".to_owned()) };
        let number = || async { Err::<u64, _>(7_u8) };
        for _ in 0..2 {
            assert_eq!(cache.try_get_with(&1, text).await, Err("text".to_owned()));
            assert_eq!(cache.try_get_with(&1, number).await, Err(7));
        }
        assert_eq!(cache.get_with(&1, || async { 1 }).await, 1, "who knows no errors runs");
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn all_who_waited_and_all_who_come_later_get_it() {
    let store = Store::default();
    let script = Script::gated();
    script.ends(End::Error);
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (script, store) = (script.clone(), store.clone());
        tasks.spawn(async move { store.scope(kept::call(crate::ways::Way::Detached, &script, 1)).await });
    }
    settle().await;
    script.release(1);
    assert!(tasks.join_all().await.iter().all(|answer| *answer == Err(Fault::Run(1))));
    let later = store.scope(kept::call(crate::ways::Way::Detached, &script, 1)).await;
    assert_eq!((later, store.stats().calls.error, store.stats().runs.error), (Err(Fault::Run(1)), 11, 1));
}
