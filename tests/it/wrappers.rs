//! `fresh`, `no_stale`, `uncached`: what they ask for, and of which calls.

use std::pin::pin;

use stampede::{Cache, coalesce, fresh, no_stale, uncached};

use crate::stores::Store;
use crate::tools::{Call, Origin, assert_at_rest, drive, pass, secs, settle};

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", key = "id")]
async fn load(o: &Origin, id: u8) -> u64 {
    let _ = id;
    o.read().await
}

#[coalesce(ttl = "10s", skip(o, inner))]
async fn outer(o: &Origin, inner: &Origin) -> (u64, u64) {
    (o.read().await, load(inner, 1).await)
}

#[coalesce(ttl = "10s", skip(o, inner), inline)]
async fn outer_inline(o: &Origin, inner: &Origin) -> (u64, u64) {
    (o.read().await, load(inner, 1).await)
}

async fn in_store<F: Future>(future: F) -> F::Output {
    Store::default().scope(future).await
}

#[tokio::test(start_paused = true)]
async fn fresh_runs_now_and_stores() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        assert_eq!((load(o, 1).await, fresh(load(o, 1)).await, load(o, 1).await), (1, 2, 2));
        pass(secs(10)).await;
        assert_eq!((fresh(load(o, 1)).await, load(o, 1).await), (3, 3), "no stale value either");
        assert_eq!(fresh(load(o, 2)).await, 4, "where nothing is stored, too");
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.miss, stats.calls.fresh, stats.runs.ok), (4, 2, 4), "{stats:?}");
    assert_at_rest(&store, 6);
}

#[tokio::test(start_paused = true)]
async fn concurrent_fresh_calls_share_a_run_of_their_own() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        let mut calls = [
            Call::start(load(o, 1)).await,
            Call::start(fresh(load(o, 1))).await,
            Call::start(fresh(load(o, 1))).await,
            // Not fresh, but it may as well have the current run's value.
            Call::start(load(o, 1)).await,
        ];
        assert_eq!(drive(&mut calls).await, [None; 4]);
        assert_eq!(o.begun(), 2);
        for number in [2, 1] {
            o.release(number);
            drive(&mut calls).await;
            assert_eq!(load_entry(1).get().await, Some(2));
        }
        assert_eq!(drive(&mut calls).await, [1, 2, 2, 2].map(Some));
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.miss, stats.calls.coalesced, stats.runs.ok), (2, 2, 2), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn no_stale_takes_a_fresh_value_and_no_old_one() {
    in_store(async {
        let o = &Origin::open();
        assert_eq!((no_stale(load(o, 1)).await, no_stale(load(o, 1)).await), (1, 1));
        pass(secs(10)).await;
        assert_eq!(no_stale(load(o, 1)).await, 2);
        assert_eq!(o.begun(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn uncached_neither_reads_nor_joins_nor_writes() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        let waiting = Call::start(load(o, 1)).await;
        let past = Call::start(uncached(load(o, 1))).await;
        let past_too = Call::start(uncached(load(o, 1))).await;
        let mut calls = [waiting, past, past_too];
        drive(&mut calls).await;
        assert_eq!(o.begun(), 3, "each runs on its own");
        (1..=3).for_each(|number| o.release(number));
        let mut answers = drive(&mut calls).await;
        answers.sort_unstable();
        assert_eq!(answers, [1, 2, 3].map(Some));
        let stored = calls[0].poll().await;
        assert_eq!(load_entry(1).get().await, stored);
        o.release(4);
        assert_eq!(uncached(load(o, 1)).await, 4, "not what is stored");
        assert_eq!(load_entry(1).get().await, stored, "and that stays");
        // The body is the caller's: it ends with it.
        let mut dropped = Call::start(uncached(load(o, 2))).await;
        drive(std::slice::from_mut(&mut dropped)).await;
        drop(dropped);
        o.release(5);
        settle().await;
        assert_eq!((load_entry(2).get().await, o.begun()), (None, 5));
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.bypass, stats.calls.miss, stats.runs.total()), (4, 1, 1), "{stats:?}");
    assert_eq!(stats.runs_saved(), 0);
    assert_at_rest(&store, 5);
}

#[tokio::test(start_paused = true)]
async fn they_apply_to_whatever_is_awaited_within() {
    in_store(async {
        let o = &Origin::open();
        let seed = async || {
            for id in 1..=2 {
                load_entry(id).put(100).await;
            }
        };
        seed().await;
        let (one, two) = fresh(async { tokio::join!(load(o, 1), load(o, 2)) }).await;
        assert_eq!((one.min(two), one.max(two)), (1, 2), "join!");

        seed().await;
        let got = fresh(async {
            tokio::select! {
                biased;
                value = load(o, 1) => value,
                () = std::future::pending() => 0,
            }
        });
        assert_eq!(got.await, 3, "select!");

        seed().await;
        assert_eq!(fresh(Box::pin(load(o, 1))).await, 4, "Box::pin");
        seed().await;
        let boxed: std::pin::Pin<Box<dyn Future<Output = u64>>> = Box::pin(load(o, 1));
        assert_eq!(fresh(async { helper(boxed).await }).await, 5, "a boxed one, deeper down");
        seed().await;
        let mut kept = pin!(load(o, 1));
        assert_eq!(fresh(&mut kept).await, 6, "a pinned one");
        seed().await;
        assert_eq!(fresh(async { (load(o, 1).await, load(o, 2).await) }).await, (7, 8), "one after the other");

        // And to nothing else.
        seed().await;
        let (within, beside) = tokio::join!(fresh(load(o, 1)), load(o, 2));
        assert_eq!((within, beside), (9, 100), "its neighbour in a join!");
        assert_eq!(load(o, 2).await, 100, "what comes after it");
    })
    .await;
}

async fn helper<F: Future>(future: F) -> F::Output {
    tokio::task::yield_now().await;
    future.await
}

#[tokio::test(start_paused = true)]
async fn the_innermost_wrapper_counts() {
    in_store(async {
        let o = &Origin::open();
        load_entry(1).put(100).await;
        assert_eq!(fresh(no_stale(load(o, 1))).await, 100);
        assert_eq!(no_stale(fresh(load(o, 1))).await, 1);
        assert_eq!(fresh(uncached(load(o, 1))).await, 2);
        assert_eq!(load(o, 1).await, 1);
        assert_eq!(uncached(fresh(load(o, 1))).await, 3);
        assert_eq!(load(o, 1).await, 3);
        let around = fresh(async {
            let before = load(o, 1).await;
            let within = no_stale(load(o, 1)).await;
            (before, within, load(o, 1).await)
        });
        assert_eq!(around.await, (4, 4, 5), "and ends where it ends");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_bodies_of_runs_are_not_concerned_nor_are_spawned_tasks() {
    in_store(async {
        let (o, inner) = (&Origin::open(), &Origin::open());
        load_entry(1).put(100).await;
        assert_eq!(fresh(outer(o, inner)).await, (1, 100));
        assert_eq!(fresh(outer_inline(o, inner)).await, (2, 100));
        assert_eq!(uncached(outer(o, inner)).await, (3, 100));
        assert_eq!(uncached(outer_inline(o, inner)).await, (4, 100));
        assert_eq!(inner.begun(), 0);

        let (store, origin) = (Store::current(), inner.clone());
        let spawned = fresh(async {
            let task = tokio::spawn(async move { store.scope(load(&origin, 1)).await });
            task.await.expect("no panic")
        });
        assert_eq!((spawned.await, inner.begun()), (100, 0));
    })
    .await;
}

#[coalesce(ttl = "10s", skip(o))]
async fn asks_for_fresh(o: &Origin) -> u64 {
    fresh(load(o, 1)).await
}

#[tokio::test(start_paused = true)]
async fn bodies_may_use_them() {
    in_store(async {
        let o = &Origin::open();
        load_entry(1).put(100).await;
        assert_eq!((asks_for_fresh(o).await, load(o, 1).await), (1, 1));
    })
    .await;
}

/// A raw cache, as a function, does its work when its future is polled, and under the wrapper that it is polled in.
#[tokio::test(start_paused = true)]
async fn they_apply_to_raw_caches() {
    let store = Store::default();
    let cache: Cache<u64> = Cache::builder("raw").ttl(secs(10)).store(&store).build();
    let o = Origin::open();
    let read = || {
        let o = o.clone();
        move || {
            let o = o.clone();
            async move { o.read().await }
        }
    };
    cache.entry(&1).put(100).await;
    assert_eq!(fresh(async { cache.get_with(&1, read()).await }).await, 1);
    assert_eq!(fresh(cache.get_with(&1, read())).await, 2);
    assert_eq!(uncached(cache.get_with(&1, read())).await, 3);
    assert_eq!(cache.get_with(&1, read()).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_raw_call_looks_when_it_is_polled() {
    let store = Store::default();
    let cache: Cache<u64> = Cache::builder("raw").ttl(secs(10)).store(&store).build();
    cache.entry(&1).put(100).await;
    let call = cache.get_with(&1, || async { 1 });
    cache.entry(&1).invalidate().await;
    assert_eq!(call.await, 1);
    drop(cache.get_with(&1, || async { 1 }));
    assert_at_rest(&store, 1);
}
