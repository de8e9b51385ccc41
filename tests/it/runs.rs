//! What a run can rely on, and what can rely on it: across runtimes, behind callers' backs, and in the books.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use stampede::{NoCache, coalesce, fresh, is_background, uncached};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance};

use crate::harness::*;
use crate::stores::Store;

/// A runtime that makes progress only while it is told to.
fn frozen() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The leader's runtime goes away in mid-run, with the leader or without it: one of those who wait elsewhere starts the
/// run anew.
#[test]
fn a_runtime_shuts_down() {
    for threads in Threads::ALL {
        for kind in Kind::ALL {
            for (waiters, in_background) in [(1, false), (2, true), (10, false), (20, true)] {
                let rig = Rig::default();
                let lost = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                lost.spawn(rig.call(kind));
                block_until("the run has begun", || rig.body.started() == 1);
                let here = threads.runtime();
                let tasks = here.block_on(async { rig.spawn(kind, waiters) });
                here.block_on(rig.waiting(waiters + 1));
                if in_background {
                    lost.shutdown_background();
                } else {
                    drop(lost);
                }
                here.block_on(async {
                    rig.started(2).await;
                    rig.waiting(waiters).await;
                    settle().await;
                    rig.body.open();
                    assert!(answers(tasks).await.iter().all(|answer| *answer == Ok(2)));
                    let stats = rig.rest(waiters + 1, 2).await;
                    assert_eq!((stats.runs.cancelled, stats.runs.ok, stats.calls.miss), (1, 1, 2), "{kind:?}");
                });
            }
        }
    }
}

/// A leader that outlives the runtime its run was on starts it anew on the one where it is now.
fn leader_moves(begun: bool) {
    for kind in [Kind::Stored, Kind::Shared] {
        let (rig, lost) = (Rig::default(), frozen());
        let mut leader = rig.call(kind);
        lost.block_on(async {
            assert!(poll_once(&mut leader).await.is_pending());
            rig.started(u64::from(begun)).await;
        });
        drop(lost);
        rig.body.open();
        Threads::Current.run(async {
            assert_eq!(leader.await, Ok(1 + u64::from(begun)));
            let stats = rig.rest(1, 2).await;
            assert_eq!((stats.runs.cancelled, stats.runs.ok, stats.calls.miss), (1, 1, 1));
        });
    }
}

#[test]
fn a_leader_moves_in_mid_run() {
    leader_moves(true);
}

#[test]
fn a_leader_moves_before_its_run_begins() {
    leader_moves(false);
}

/// Nobody drives the runtime that the run is on: those who wait on another get through at the limit.
#[test]
fn a_runtime_is_frozen() {
    for kind in Kind::ALL {
        for (waiters, begun) in [(1, false), (2, true), (10, false), (20, true)] {
            let (rig, frozen) = (Rig::default(), frozen());
            let mut leader = rig.call(kind);
            frozen.block_on(async {
                assert!(poll_once(&mut leader).await.is_pending());
                rig.started(u64::from(begun || kind.is_inline())).await;
            });
            let first = rig.body.started();
            let (here, start) = (Threads::Current.runtime(), Instant::now());
            here.block_on(async {
                let tasks = rig.spawn(kind, waiters);
                rig.waiting(waiters + 1).await;
                // The clock is paused, and moves on when there is nothing else to do.
                let opener = tokio::spawn({
                    let body = rig.body.clone();
                    async move {
                        tokio::time::sleep_until(start + LIMIT * 3 / 2).await;
                        body.open();
                    }
                });
                tokio::time::sleep_until(Instant::now() + LIMIT).await;
                rig.started(first + 1).await;
                assert_eq!(rig.store.stats().runs.timeout, 1);
                let answers = answers(tasks).await;
                assert!(answers.iter().all(|answer| *answer == Ok(first + 1)), "{kind:?}: {answers:?}");
                opener.await.unwrap();
            });
            // Thawed, it finds that it is out of date. Where nothing is stored, it may share the second run, or run a third.
            let last = frozen.block_on(leader).unwrap() - first;
            assert!(last == 1 || (last == 2 && !kind.is_stored()), "{kind:?}: {last}");
            let stats = frozen.block_on(rig.rest(waiters + 1, 1 + last));
            assert_eq!(stats.runs.timeout, 1);
        }
    }
}

#[coalesce(skip(body), run_limit = "10ms")]
async fn short_lived(body: &Body) -> Answer {
    body.run().await
}

/// A body that blocks its thread cannot be cancelled; those who wait get through at the limit nevertheless, and what it
/// gives in the end is for nobody.
#[test]
fn a_body_blocks_its_thread() {
    for threads in [Threads::Two, Threads::Eight] {
        let free = Arc::new(AtomicBool::new(false));
        let blocked = Arc::clone(&free);
        let hook: Hook = Box::new(move |number| {
            if number == 1 {
                block_until("the next run has begun", || blocked.load(SeqCst));
            }
        });
        let rig = Rig::new(Script { hook: Some(hook), early: 1, ..Script::default() });
        threads.run(async {
            let call = || tokio::spawn(rig.call_with(|body| async move { short_lived(&body).await }));
            let mut tasks = vec![call()];
            rig.started(1).await;
            tasks.push(call());
            until("a next run", true, || rig.body.started() > 1).await;
            free.store(true, SeqCst);
            until("bodies alive", 1, || rig.body.live()).await;
            rig.body.open();
            let answers = answers(tasks).await;
            // The limit may have been reached more than once by now.
            assert!(answers[0] != Ok(1) && answers[0] == answers[1], "{answers:?}");
            let stats = rig.rest(2, rig.body.started()).await;
            assert_eq!(stats.runs.ok, 1);
        });
    }
}

/// A runtime that takes no tasks any more says so, rather than to try for ever; the key is free.
#[test]
fn a_runtime_has_shut_down() {
    let (rig, gone) = (Rig::default(), frozen());
    let handle = gone.handle().clone();
    drop(gone);
    let call = rig.call(Kind::Stored);
    let _inside = handle.enter();
    let panic = catch_unwind(AssertUnwindSafe(|| poll_here(call))).unwrap_err();
    assert!(said(&*panic).contains("runtime is shutting down"), "{}", said(&*panic));
    rig.body.open();
    Threads::Two.run(async {
        assert_eq!(rig.call(Kind::Stored).await, Ok(1));
        let stats = rig.rest(2, 2).await;
        assert_eq!((stats.calls.error, stats.runs.cancelled), (1, 1));
    });
}

/// Polls a future once, with no runtime unless one was entered.
fn poll_here<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn no_runtime() {
    let rig = Rig::default();
    rig.body.open();
    for kind in [Kind::Stored, Kind::Shared] {
        let call = rig.call(kind);
        let panic = catch_unwind(AssertUnwindSafe(|| poll_here(call))).unwrap_err();
        assert!(said(&*panic).contains("there is no tokio runtime here"), "{}", said(&*panic));
    }
    assert_eq!(rig.body.started(), 0);
    assert_eq!(poll_here(rig.call(Kind::InlineShared)), Poll::Ready(Ok(1)));
    assert_eq!(poll_here(rig.call(Kind::InlineStored)), Poll::Ready(Ok(2)));
    assert_eq!(poll_here(rig.call(Kind::InlineStored)), Poll::Ready(Ok(2)), "from the store");
    assert_eq!(poll_here(rig.store.scope(uncached(stored(&rig.body)))), Poll::Ready(Ok(3)), "in the caller's task");
    let runtime = Threads::Current.runtime();
    let stats = runtime.block_on(rig.rest(6, 2));
    assert_eq!((stats.calls.error, stats.calls.miss, stats.calls.fresh, stats.calls.bypass), (2, 2, 1, 1));
    assert_eq!(runtime.block_on(rig.call(Kind::Stored)), Ok(4), "the key is free");
    assert_eq!(poll_here(rig.call(Kind::Stored)), Poll::Ready(Ok(4)), "a hit needs no runtime");
}

#[coalesce(ttl = TTL, stale_while_revalidate = TTL, skip(body))]
async fn asks_who_waits(body: &Body) -> (bool, bool) {
    let before = is_background();
    let _ = body.run().await;
    (before, is_background())
}

#[test]
fn background() {
    Threads::Current.run(async {
        let rig = Rig::default();
        let call = || rig.call_with(|body| async move { asks_who_waits(&body).await });
        assert!(!is_background(), "outside");
        rig.body.pass();
        assert_eq!(call().await, (false, false), "somebody waits");

        advance(TTL).await;
        assert_eq!(call().await, (false, false), "stale");
        rig.started(2).await;
        rig.body.pass();
        until("runs in flight", 0, || rig.store.stats().in_flight).await;
        assert_eq!(call().await, (true, true), "nobody waited for the refresh");

        advance(TTL * 2).await;
        let task = tokio::spawn(call());
        rig.started(3).await;
        cancel([task]).await;
        rig.body.pass();
        until("runs in flight", 0, || rig.store.stats().in_flight).await;
        assert_eq!(call().await, (false, true), "who waited has left");
        rig.rest(5, 3).await;
    });
}

#[coalesce(ttl = TTL, stale_while_revalidate = TTL, skip(body))]
async fn mixed(body: &Body, what: u8) -> Result<u64, String> {
    match what {
        0 => Ok(1),
        1 => Err("one".to_owned()),
        2 => panic!("two"),
        3 => NoCache(3).into(),
        _ => body.run().await,
    }
}

/// Every call counts once, a dropped one by its path.
#[test]
fn the_books_balance() {
    Threads::Current.run(async {
        let rig = Rig::default();
        let call = |what| rig.call_with(move |body| async move { mixed(&body, what).await });
        assert_eq!(call(0).await, Ok(1)); // miss, ok
        assert_eq!(call(0).await, Ok(1)); // fresh
        assert!(call(1).await.is_err()); // error, error
        assert!(tokio::spawn(call(2)).await.is_err()); // error, panic
        assert_eq!(call(3).await, Ok(3)); // miss, no_cache
        let (a, b, c) = tokio::join!(call(1), call(1), call(1)); // 3 errors, 1 error
        assert!(a.is_err() && b == a && c == a);
        let (a, b) = tokio::join!(call(3), call(3)); // miss, coalesced, no_cache
        assert_eq!((a, b), (Ok(3), Ok(3)));
        let beyond = rig.call_with(|body| async move { uncached(mixed(&body, 0)).await });
        assert_eq!(beyond.await, Ok(1)); // bypass
        let beyond = rig.call_with(|body| async move { uncached(mixed(&body, 1)).await });
        assert!(beyond.await.is_err()); // bypass
        rig.store.bypass(true);
        assert_eq!(call(0).await, Ok(1)); // bypass
        rig.store.bypass(false);
        let anew = rig.call_with(|body| async move { fresh(mixed(&body, 0)).await });
        assert_eq!(anew.await, Ok(1)); // miss, ok
        advance(TTL).await;
        assert_eq!(call(0).await, Ok(1)); // stale, ok
        until("runs in flight", 0, || rig.store.stats().in_flight).await;

        let (mut leader, mut follower) = (call(4), call(4)); // miss, coalesced, ok
        assert!(poll_once(&mut leader).await.is_pending() && poll_once(&mut follower).await.is_pending());
        drop((leader, follower));
        rig.body.open();
        drop(call(4)); // none: it was never polled

        let stats = rig.rest(17, 9).await;
        let calls = stats.calls;
        assert_eq!((calls.fresh, calls.stale, calls.miss, calls.coalesced), (1, 1, 5, 2));
        assert_eq!((calls.error, calls.bypass), (5, 3));
        let runs = stats.runs;
        assert_eq!((runs.ok, runs.error, runs.panic, runs.no_cache), (4, 2, 1, 2));
        assert_eq!(stats.runs_saved(), 17 - 3 - 9);
    });
}

#[coalesce(ttl = TTL, skip(body))]
async fn nested(body: &Body) -> u64 {
    let before = Store::current().stats().in_flight;
    let _ = body.run().await;
    before + Store::current().stats().in_flight + leaf().await
}

#[coalesce(ttl = TTL)]
async fn leaf() -> u64 {
    Store::current().stats().in_flight
}

/// A run sees the store of the call that started it, wherever it goes on.
#[test]
fn runs_keep_their_store() {
    for threads in Threads::ALL {
        threads.run(async {
            let rig = Rig::default();
            let call = rig.call_with(|body| async move { nested(&body).await });
            let task = tokio::spawn(call);
            rig.started(1).await;
            rig.body.open();
            assert_eq!(task.await.unwrap(), 1 + 1 + 2);
            let stats = rig.rest(2, 2).await;
            assert_eq!((stats.calls.miss, stats.entries), (2, 2));
        });
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[coalesce(ttl = TTL)]
async fn optional(name: Option<&str>) -> Result<usize, BoxError> {
    Ok(name.map_or(0, str::len))
}

#[coalesce(ttl = TTL)]
async fn sum(ids: &[u64], factor: &u64) -> anyhow::Result<u64> {
    Ok(ids.iter().sum::<u64>() * factor)
}

#[coalesce(ttl = TTL)]
async fn owned(id: u64) -> Result<u64, BoxError> {
    Ok(id)
}

async fn in_a_task<A, T, F>(call: impl Fn(A) -> F, argument: A) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    tokio::spawn(call(argument)).await.unwrap()
}

/// Calls are `Send` where the compiler knows least about them.
#[tokio::test]
async fn generic_code_can_spawn() {
    assert_eq!(in_a_task(owned, 1).await.unwrap(), 1);
    assert_eq!(in_a_task(|id| async move { owned(id).await }, 2).await.unwrap(), 2);
    let by_name = |name: Option<String>| async move { optional(name.as_deref()).await };
    assert_eq!(in_a_task(by_name, Some("Ada".to_owned())).await.unwrap(), 3);
    let by_ids = |ids: Vec<u64>| async move { sum(&ids, &2).await };
    assert_eq!(in_a_task(by_ids, vec![1, 2]).await.unwrap(), 6);
    assert_eq!(in_a_task(optional, None).await.unwrap(), 0);
    let both = |ids: Vec<u64>| async move { tokio::try_join!(sum(&ids, &3), async { Ok(owned(1).await.is_ok()) }) };
    assert_eq!(in_a_task(both, vec![1]).await.unwrap(), (3, true));
}
