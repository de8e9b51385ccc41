//! `stale_while_revalidate`: the old value at once, one refresh in the background, and peace after a failed one.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stampede::{NoCache, coalesce, is_background, no_stale, store_for};
use tokio::time::{Instant, sleep};

use crate::stores::Store;
use crate::tools::{Call, Origin, assert_at_rest, drive, ms, pass, secs, settle};

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", key = "id")]
async fn load(o: &Origin, id: u8) -> u64 {
    let _ = id;
    o.read().await
}

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", key = "id", inline)]
async fn load_inline(o: &Origin, id: u8) -> u64 {
    let _ = id;
    o.read().await
}

async fn read(inline: bool, o: &Origin, id: u8) -> u64 {
    if inline { load_inline(o, id).await } else { load(o, id).await }
}

#[tokio::test(start_paused = true)]
async fn many_hits_of_a_stale_key_get_the_old_value_and_start_one_refresh() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        load_entry(1).put(101).await;
        load_entry(2).put(102).await;
        pass(secs(10)).await;
        for _ in 0..50 {
            assert_eq!((load(o, 1).await, load(o, 2).await), (101, 102));
        }
        settle().await;
        assert_eq!(o.begun(), 2, "one refresh for each key");
        assert_eq!((load(o, 1).await, load_entry(1).get().await), (101, None), "while it is under way, too");
        o.release(1);
        o.release(2);
        settle().await;
        let (one, two) = (load(o, 1).await, load(o, 2).await);
        assert_eq!((one.min(two), one.max(two), o.begun()), (1, 2, 2));
        // The new one has a life of its own.
        pass(ms(9_999)).await;
        assert_eq!((load(o, 1).await, o.begun()), (one, 2));
        pass(ms(1)).await;
        assert_eq!(load(o, 1).await, one);
        settle().await;
        assert_eq!(o.begun(), 3);
        o.release(3);
        settle().await;
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.stale, stats.calls.fresh, stats.runs.ok), (102, 3, 3), "{stats:?}");
    assert_at_rest(&store, 105);
}

#[tokio::test(start_paused = true)]
async fn idle_keys_simply_expire() {
    for inline in [false, true] {
        let store = Store::default();
        let run = async {
            let o = &Origin::open();
            assert_eq!(read(inline, o, 1).await, 1);
            pass(ms(29_999)).await;
            assert_eq!(o.begun(), 1, "nothing is refreshed that nobody asks for");
            pass(ms(1)).await;
            assert_eq!(read(inline, o, 1).await, 2, "past the window, callers wait");
            let origin = Origin::gated();
            pass(secs(30)).await;
            let mut call = Call::start(read(inline, &origin, 1)).await;
            drive(std::slice::from_mut(&mut call)).await;
            assert_eq!((call.poll().await, origin.begun()), (None, 1));
            origin.release(1);
            assert_eq!(drive(std::slice::from_mut(&mut call)).await, [Some(1)]);
        };
        store.scope(run).await;
        let stats = store.stats();
        assert_eq!((stats.calls.miss, stats.calls.stale), (3, 0), "{stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_window_closes_on_a_refresh_callers_wait_for_it() {
    let run = async {
        let o = &Origin::gated();
        load_entry(1).put(100).await;
        pass(secs(10)).await;
        assert_eq!(load(o, 1).await, 100);
        pass(secs(20)).await;
        let mut calls = [Call::start(load(o, 1)).await, Call::start(load(o, 1)).await];
        assert_eq!(drive(&mut calls).await, [None, None]);
        o.release(1);
        assert_eq!(drive(&mut calls).await, [Some(1), Some(1)]);
        assert_eq!(o.begun(), 1);
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn no_stale_waits_for_the_refresh_under_way() {
    for inline in [false, true] {
        let store = Store::default();
        let run = async {
            let o = &Origin::gated();
            load_entry(1).put(100).await;
            load_inline_entry(1).put(100).await;
            assert_eq!(no_stale(read(inline, o, 1)).await, 100, "a fresh hit is fine");
            pass(secs(10)).await;
            let first = Call::start(read(inline, o, 1)).await;
            let wants_new = Call::start(no_stale(read(inline, o, 1))).await;
            let takes_old = Call::start(read(inline, o, 1)).await;
            let mut calls = [first, wants_new, takes_old];
            let inlined = if inline { None } else { Some(100) };
            assert_eq!(drive(&mut calls).await, [inlined, None, Some(100)]);
            o.release(1);
            // An inline refresh answers the call that it runs in.
            assert_eq!(drive(&mut calls).await, [Some(if inline { 1 } else { 100 }), Some(1), Some(100)]);
            assert_eq!(o.begun(), 1);
        };
        store.scope(run).await;
        let stats = store.stats();
        let (stale, miss) = if inline { (1, 1) } else { (2, 0) };
        assert_eq!((stats.calls.stale, stats.calls.miss, stats.calls.coalesced), (stale, miss, 1), "{stats:?}");
        assert_at_rest(&store, 4);
    }
}

/// How a refresh ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
    NoCache,
    Refused,
    StoredForNothing,
    Hangs,
}

/// Ends its runs as it is told, and notes when they began.
#[derive(Clone)]
struct Body {
    end: End,
    runs: Arc<AtomicU64>,
}

impl Body {
    async fn run(self) -> Result<u64, String> {
        let number = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        match self.end {
            End::Value => Ok(number),
            End::Error => Err("no".into()),
            End::Panic => panic!("no"),
            End::NoCache => NoCache(number).into(),
            End::Refused => Ok(u64::MAX),
            End::StoredForNothing => {
                store_for(Duration::ZERO);
                Ok(number)
            }
            End::Hangs => pending().await,
        }
    }
}

#[coalesce(
    ttl = "10s", stale_while_revalidate = "20s", retry_after = "3s", run_limit = "2s",
    cache_if = |value| *value != u64::MAX, skip(body)
)]
async fn detached(body: Body) -> Result<u64, String> {
    body.run().await
}

#[coalesce(
    ttl = "10s", stale_while_revalidate = "20s", retry_after = "3s", run_limit = "2s",
    cache_if = |value| *value != u64::MAX, skip(body), inline
)]
async fn inline(body: Body) -> Result<u64, String> {
    body.run().await
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_stores_nothing_keeps_the_old_value_and_puts_the_next_one_off() {
    for end in [End::Error, End::Panic, End::NoCache, End::Refused, End::StoredForNothing, End::Hangs] {
        for inlined in [false, true] {
            println!("{end:?}, inline: {inlined}");
            let store = Store::default();
            let run = async {
                let runs = Arc::new(AtomicU64::new(0));
                let call = async |end| {
                    let body = Body { end, runs: Arc::clone(&runs) };
                    if inlined { inline(body).await } else { detached(body).await }
                };
                // An inline run that gives a value which is not stored gives it to its own caller.
                let by_value = inlined && matches!(end, End::NoCache | End::Refused | End::StoredForNothing);
                detached_entry().put(100).await;
                inline_entry().put(100).await;
                pass(secs(10)).await;
                let start = Instant::now();
                for round in 1..=2 {
                    let first = call(end).await;
                    if by_value {
                        assert_ne!(first, Ok(100));
                    } else {
                        assert_eq!(first, Ok(100), "the caller that brings the refresh about");
                    }
                    settle().await;
                    if end == End::Hangs && !inlined {
                        pass(secs(2)).await;
                    }
                    // The run is over now; for three seconds there is no other.
                    for _ in 0..2 {
                        assert_eq!(call(end).await, Ok(100));
                        settle().await;
                        pass(ms(1_499)).await;
                    }
                    pass(ms(1)).await;
                    assert_eq!((call(end).await, runs.load(Ordering::SeqCst)), (Ok(100), round));
                    pass(ms(1)).await;
                }
                let run_time = if end == End::Hangs { secs(4) } else { Duration::ZERO };
                assert_eq!(start.elapsed(), secs(6) + run_time);
                // A refresh that succeeds ends it.
                let first = call(End::Value).await;
                assert_eq!(first, Ok(if inlined { 3 } else { 100 }));
                settle().await;
                assert_eq!((call(End::Error).await, runs.load(Ordering::SeqCst)), (Ok(3), 3));
            };
            store.scope(run).await;
            let stats = store.stats();
            assert_eq!((stats.calls.error, stats.in_flight, stats.waiting), (0, 0, 0), "{stats:?}");
            assert_eq!(stats.runs.total(), 3, "{stats:?}");
        }
    }
}

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", skip(body))]
async fn by_default(body: Body) -> Result<u64, String> {
    body.run().await
}

#[tokio::test(start_paused = true)]
async fn failed_callers_put_refreshes_off_too_and_a_second_is_the_default() {
    let run = async {
        let runs = Arc::new(AtomicU64::new(0));
        let call = |end| by_default(Body { end, runs: Arc::clone(&runs) });
        by_default_entry().put(100).await;
        pass(secs(10)).await;
        assert_eq!(no_stale(call(End::Error)).await, Err("no".into()), "this one wanted no old value");
        pass(ms(999)).await;
        assert_eq!((call(End::Error).await, runs.load(Ordering::SeqCst)), (Ok(100), 1));
        settle().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(no_stale(call(End::Error)).await, Err("no".into()), "who wants a new one is not put off");
        pass(secs(1)).await;
        assert_eq!(call(End::Value).await, Ok(100));
        settle().await;
        assert_eq!((call(End::Value).await, runs.load(Ordering::SeqCst)), (Ok(3), 3));
    };
    Store::default().scope(run).await;
}

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", key = "id")]
async fn tells(o: &Origin, id: u8) -> (bool, bool) {
    let _ = id;
    let before = is_background();
    o.read().await;
    (before, is_background())
}

#[tokio::test(start_paused = true)]
async fn a_body_can_tell_that_nobody_waits_for_it() {
    let run = async {
        let o = &Origin::gated();
        o.release(1);
        assert_eq!(tells(o, 1).await, (false, false), "a caller waits");

        pass(secs(10)).await;
        assert_eq!(tells(o, 1).await, (false, false));
        settle().await;
        o.release(2);
        settle().await;
        assert_eq!(tells(o, 1).await, (true, true), "a refresh");

        pass(secs(10)).await;
        assert_eq!(tells(o, 1).await, (true, true));
        settle().await;
        let mut call = Call::start(no_stale(tells(o, 1))).await;
        o.release(3);
        assert_eq!(drive(std::slice::from_mut(&mut call)).await, [Some((true, false))], "a caller came");

        let mut call = Call::start(tells(o, 2)).await;
        drive(std::slice::from_mut(&mut call)).await;
        drop(call);
        o.release(4);
        settle().await;
        assert_eq!(tells(o, 2).await, (false, true), "the caller left");
    };
    Store::default().scope(run).await;
}

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", skip(o))]
async fn slow(o: &Origin) -> u64 {
    sleep(secs(5)).await;
    o.read().await
}

#[tokio::test(start_paused = true)]
async fn freshness_counts_from_the_end_of_a_run() {
    let run = async {
        let o = &Origin::open();
        let start = Instant::now();
        assert_eq!((slow(o).await, start.elapsed()), (1, secs(5)));
        pass(ms(9_999)).await;
        assert_eq!((slow_entry().get().await, slow(o).await), (Some(1), 1));
        pass(ms(1)).await;
        assert_eq!((slow_entry().get().await, slow(o).await), (None, 1));
        // The refresh ends five seconds on, and its value is fresh for ten from then.
        settle().await;
        pass(secs(5)).await;
        assert_eq!(slow_entry().get().await, Some(2));
        pass(ms(9_999)).await;
        assert_eq!(slow_entry().get().await, Some(2));
        pass(ms(1)).await;
        assert_eq!((slow_entry().get().await, o.begun()), (None, 2));
    };
    Store::default().scope(run).await;
}
