//! `Entry::expire`: no hit any more, and still there for stale answers.

use crate::tools::{Call, drive, ms, pass, secs, settle};
use crate::ways::{End, Fault, Script, each_way, told, ways};

ways!(stale, [ttl = "10s", stale_while_revalidate = "20s", retry_after = "3s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_while_revalidate(crate::tools::secs(20))
    .retry_after(crate::tools::secs(3)));

#[tokio::test(start_paused = true)]
async fn the_old_value_is_stale_from_now_on() {
    each_way(async |way, store| {
        let script = &Script::gated();
        stale::put(way, 1, 100).await;
        pass(secs(4)).await;
        told(stale::expire(way, 1).await, store);
        assert_eq!(stale::get(way, 1).await, None);
        let mut calls =
            [Call::start(stale::call(way, script, 1)).await, Call::start(stale::call(way, script, 1)).await];
        let first = if way.is_inline() { None } else { Some(Ok(100)) };
        assert_eq!(drive(&mut calls).await, [first, Some(Ok(100))]);
        script.release(1);
        drive(&mut calls).await;
        settle().await;
        assert_eq!(stale::get(way, 1).await, Some(1));
        assert_eq!((script.runs(), store.stats().calls.error), (1, 0));
        // The new value has a TTL of its own.
        pass(ms(9_999)).await;
        assert_eq!(stale::get(way, 1).await, Some(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_windows_are_as_long_as_they_were_and_begin_now() {
    each_way(async |way, _| {
        for left in [ms(1), ms(0)] {
            let script = &Script::open();
            script.ends(End::Error);
            stale::put(way, 1, 100).await;
            pass(secs(4)).await;
            stale::expire(way, 1).await;
            pass(secs(1)).await;
            stale::expire(way, 1).await;
            pass(secs(19).saturating_sub(left)).await;
            let expected = if left.is_zero() { Err(Fault::Run(1)) } else { Ok(100) };
            assert_eq!(stale::call(way, script, 1).await, expected);
            stale::invalidate(way, 1).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_is_delivered_and_not_stored() {
    each_way(async |way, _| {
        let script = &Script::gated();
        let mut calls = vec![Call::start(stale::call(way, script, 1)).await];
        drive(&mut calls).await;
        stale::expire(way, 1).await;
        calls.push(Call::start(stale::call(way, script, 1)).await);
        drive(&mut calls).await;
        assert_eq!(script.runs(), 2);
        script.release(1);
        drive(&mut calls).await;
        assert_eq!(stale::get(way, 1).await, None);
        script.release(2);
        assert_eq!(drive(&mut calls).await, [Some(Ok(1)), Some(Ok(2))]);
        assert_eq!(stale::get(way, 1).await, Some(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_of_an_expired_value_is_put_off() {
    each_way(async |way, _| {
        let script = &Script::open();
        stale::put(way, 1, 100).await;
        stale::expire(way, 1).await;
        script.ends(End::Error);
        for round in 1..=2 {
            for _ in 0..3 {
                assert_eq!(stale::call(way, script, 1).await, Ok(100));
                settle().await;
                assert_eq!(script.runs(), round);
            }
            pass(secs(3)).await;
        }
    })
    .await;
}

ways!(covered, [ttl = "10s", stale_if_error = "20s"], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_if_error(crate::tools::secs(20)));

#[tokio::test(start_paused = true)]
async fn it_makes_up_for_errors_too() {
    each_way(async |way, store| {
        let script = &Script::open();
        covered::put(way, 1, 100).await;
        covered::expire(way, 1).await;
        script.ends(End::Error);
        assert_eq!((covered::call(way, script, 1).await, script.runs()), (Ok(100), 1));
        assert_eq!(store.stats().calls.stale, 1);
        store.clear().await;
        assert_eq!(covered::call(way, script, 1).await, Err(Fault::Run(2)), "cleared for good");
    })
    .await;
}

ways!(plain, [ttl = "10s"], |builder| builder.ttl(crate::tools::secs(10)));

#[tokio::test(start_paused = true)]
async fn without_a_window_it_is_an_invalidation() {
    each_way(async |way, _| {
        let script = &Script::open();
        plain::put(way, 1, 100).await;
        plain::expire(way, 1).await;
        assert_eq!(plain::call(way, script, 1).await, Ok(1));
        plain::expire(way, 2).await;
        assert_eq!(plain::call(way, script, 2).await, Ok(2), "nothing was stored");
    })
    .await;
}
