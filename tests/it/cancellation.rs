//! Callers that leave, in every order: nobody else is harmed, and nothing runs that nobody can use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use stampede::{no_cache, store_for};
use tokio::time::{Instant, sleep};

use crate::harness::*;

/// Every way to annotate on every runtime.
fn kinds(kinds: &[Kind], test: impl AsyncFn(Threads, Kind)) {
    for threads in Threads::ALL {
        for kind in kinds {
            println!("{kind:?}, threads: {threads:?}");
            threads.run(test(threads, *kind));
        }
    }
}

#[test]
fn a_call_that_is_never_polled_does_nothing() {
    kinds(&Kind::ALL, async |_, kind| {
        let rig = Rig::default();
        drop(rig.call(kind));
        rig.rest(0, 0).await;
        assert_eq!(rig.body.started(), 0);
    });
}

/// The leader asks and leaves before its run's first poll, alone or with others in the flight.
#[test]
fn a_leader_leaves_before_its_run_begins() {
    for followers in [0, 1, 8] {
        for kind in Kind::ALL {
            // On one thread, a run that was spawned has not begun.
            Threads::Current.run(async {
                let rig = Rig::default();
                let mut leader = rig.call(kind);
                assert_eq!(poll_once(&mut leader).await, Poll::Pending);
                let mut others: Vec<_> = (0..followers).map(|_| rig.call(kind)).collect();
                for other in &mut others {
                    assert_eq!(poll_once(other).await, Poll::Pending);
                }
                assert_eq!(rig.body.started(), u64::from(kind.is_inline()));
                drop(leader);
                // Inline, one of the others takes over.
                for other in &mut others {
                    assert_eq!(poll_once(other).await, Poll::Pending);
                }
                rig.body.open();
                let expected = if kind.is_inline() { 2 } else { 1 };
                for other in others {
                    assert_eq!(other.await, Ok(expected));
                }
                let lost = u64::from(kind.is_inline() || (kind == Kind::Shared && followers == 0));
                let done = u64::from(kind.survives() || followers > 0);
                let stats = rig.rest(followers + 1, lost + done).await;
                assert_eq!((stats.runs.cancelled, stats.runs.ok), (lost, done), "{kind:?}, {followers} followers");
                let unbegun = u64::from(kind == Kind::Shared && followers == 0);
                assert_eq!(rig.body.started(), lost + done - unbegun, "{kind:?}, {followers} followers");
                assert_eq!(rig.store.stats().entries, u64::from(kind.is_stored() && done == 1));
            });
        }
    }
}

/// A run has ended, and who waited for it leaves without looking.
#[test]
fn callers_leave_after_completion() {
    for kind in Kind::ALL {
        Threads::Current.run(async {
            let rig = Rig::default();
            let mut leader = rig.call(kind);
            let mut follower = rig.call(kind);
            assert_eq!(poll_once(&mut leader).await, Poll::Pending);
            assert_eq!(poll_once(&mut follower).await, Poll::Pending);
            rig.body.open();
            if kind.is_inline() {
                assert_eq!(poll_once(&mut leader).await, Poll::Ready(Ok(1)));
            }
            until("runs in flight", 0, || rig.store.stats().in_flight).await;
            drop((leader, follower));
            let stats = rig.rest(2, 1).await;
            assert_eq!((stats.runs.ok, stats.calls.miss, stats.calls.coalesced), (1, 1, 1), "{kind:?}");
            assert_eq!(rig.call(kind).await, Ok(if kind.is_stored() { 1 } else { 2 }));
        });
    }
}

/// `leave` of `callers` leave in mid-run, the leader among them or not.
async fn some_leave(kind: Kind, callers: u64, leave: u64, with_leader: bool) {
    let rig = Rig::default();
    let mut leader = rig.spawn(kind, 1);
    rig.started(1).await;
    let mut others = rig.spawn(kind, callers - 1);
    rig.waiting(callers).await;

    let stay = callers - leave;
    cancel(others.drain(..usize::try_from(leave - u64::from(with_leader)).unwrap())).await;
    if with_leader {
        cancel(leader.drain(..)).await;
    }
    rig.waiting(if stay == 0 { 0 } else { stay }).await;
    let taken_over = u64::from(kind.is_inline() && with_leader && stay > 0);
    rig.started(1 + taken_over).await;
    rig.body.open();
    let answers = answers(leader.into_iter().chain(others)).await;
    assert_eq!(answers, vec![Ok(1 + taken_over); usize::try_from(stay).unwrap()]);

    let stats = rig.rest(callers, 1 + taken_over).await;
    let lost = u64::from((kind.is_inline() && with_leader) || (stay == 0 && !kind.survives()));
    assert_eq!((stats.runs.cancelled, stats.runs.ok), (lost, 1 + taken_over - lost), "{kind:?}: {leave} of {callers}");
    assert_eq!((stats.calls.miss, stats.calls.coalesced), (1 + taken_over, callers - 1 - taken_over));
    assert_eq!(stats.entries, u64::from(kind.is_stored() && stats.runs.ok == 1));
    assert_eq!(rig.body.started(), 1 + taken_over);
}

#[test]
fn some_or_all_leave() {
    kinds(&Kind::ALL, async |_, kind| {
        for callers in [1, 2, 8, 21] {
            for leave in (0..=8).chain([10, 20, 21]).filter(|leave| *leave <= callers) {
                if leave < callers {
                    some_leave(kind, callers, leave, false).await;
                }
                if leave > 0 {
                    some_leave(kind, callers, leave, true).await;
                }
            }
        }
    });
}

/// Inline, whoever runs leaves, again and again: each time exactly one takes over.
#[test]
fn one_leader_after_another_leaves() {
    kinds(&[Kind::InlineStored, Kind::InlineShared], async |_, kind| {
        const CALLERS: u64 = 20;
        let rig = Rig::default();
        let mut tasks = rig.spawn(kind, CALLERS);
        for run in 1..CALLERS {
            rig.waiting(CALLERS + 1 - run).await;
            rig.started(run).await;
            let leader = tasks.iter().position(|task| rig.body.runs_in(task)).unwrap();
            cancel([tasks.swap_remove(leader)]).await;
        }
        rig.started(CALLERS).await;
        rig.body.open();
        assert_eq!(answers(tasks).await, [Ok(CALLERS)]);
        let stats = rig.rest(CALLERS, CALLERS).await;
        assert_eq!((stats.runs.cancelled, stats.runs.ok, stats.calls.miss), (CALLERS - 1, 1, CALLERS));
    });
}

/// All leave, and somebody new comes before the run has had a chance to notice: what is cancelled is not joined.
#[test]
fn a_new_caller_comes_before_the_run_notices() {
    for callers in [1, 2, 10, 20] {
        for kind in Kind::ALL {
            Threads::Current.run(async {
                let rig = Rig::default();
                let mut calls: Vec<_> = (0..callers).map(|_| rig.call(kind)).collect();
                for call in &mut calls {
                    assert_eq!(poll_once(call).await, Poll::Pending);
                }
                rig.started(1).await;
                drop(calls);
                assert_eq!(rig.body.live(), u64::from(!kind.is_inline()), "the run has not noticed");
                let mut new = rig.call(kind);
                assert_eq!(poll_once(&mut new).await, Poll::Pending);
                assert_eq!((rig.store.stats().in_flight, rig.store.stats().waiting), (1, 1));
                let expected = if kind.survives() { 1 } else { 2 };
                rig.started(expected).await;
                until("bodies alive", 1, || rig.body.live()).await;
                rig.body.open();
                assert_eq!(new.await, Ok(expected));
                let stats = rig.rest(callers + 1, expected).await;
                assert_eq!((stats.runs.cancelled, stats.runs.ok), (expected - 1, 1), "{kind:?}, {callers} callers");
                assert_eq!(rig.body.started(), expected);
            });
        }
    }
}

/// The leader leaves, and those who could take over are not polled: a new caller need not wait for them, and they share
/// what comes of it.
#[test]
fn a_new_caller_comes_before_anybody_takes_over() {
    for followers in [1, 2, 10] {
        for kind in [Kind::InlineStored, Kind::InlineShared] {
            Threads::Current.run(async {
                let rig = Rig::default();
                let mut calls: Vec<_> = (0..=followers).map(|_| rig.call(kind)).collect();
                for call in &mut calls {
                    assert_eq!(poll_once(call).await, Poll::Pending);
                }
                drop(calls.remove(0));
                rig.body.open();
                let start = Instant::now();
                assert_eq!(rig.call(kind).await, Ok(2));
                assert_eq!(start.elapsed(), Duration::ZERO, "at once");
                for call in calls {
                    assert_eq!(call.await, Ok(2));
                }
                let stats = rig.rest(followers + 2, 2).await;
                assert_eq!((stats.runs.cancelled, stats.runs.ok), (1, 1), "{kind:?}, {followers} followers");
            });
        }
    }
}

/// The same while the run is being polled and cannot notice: what it gives in the end is for nobody.
#[test]
fn a_new_caller_comes_while_the_run_is_busy() {
    for threads in [Threads::Two, Threads::Eight] {
        let free = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&free);
        let hook: Hook = Box::new(move |number| {
            if number == 1 {
                block_until("the test goes on", || busy.load(SeqCst));
            }
        });
        let rig = Rig::new(Script { early: 2, hook: Some(hook), ..Script::default() });
        threads.run(async {
            let tasks = rig.spawn(Kind::Shared, 10);
            rig.waiting(10).await;
            rig.started(1).await;
            cancel(tasks).await;
            assert_eq!(rig.store.stats().in_flight, 0);
            assert_eq!(answers(rig.spawn(Kind::Shared, 1)).await, [Ok(2)]);
            assert_eq!(rig.body.live(), 1, "the first is still at it");
            free.store(true, SeqCst);
            let stats = rig.rest(11, 2).await;
            assert_eq!((stats.runs.cancelled, stats.runs.ok), (1, 1));
        });
    }
}

/// Whether a run outlives its callers goes by what it says as well.
#[test]
fn what_a_body_says_decides() {
    for (kind, stores) in [(Kind::Shared, true), (Kind::Stored, false)] {
        Threads::Current.run(async {
            let say: Hook = if stores { Box::new(|_| store_for(TTL)) } else { Box::new(|_| no_cache()) };
            let rig = Rig::new(Script { hook: Some(say), ..Script::default() });
            let tasks = rig.spawn(kind, 8);
            rig.waiting(8).await;
            rig.started(1).await;
            cancel(tasks).await;
            assert_eq!(rig.store.stats().in_flight, u64::from(stores));
            rig.body.open();
            let stats = rig.rest(8, 1).await;
            assert_eq!((stats.runs.ok, stats.runs.cancelled), if stores { (1, 0) } else { (0, 1) });
            assert_eq!(stats.entries, u64::from(stores));
        });
    }
}

/// A run that goes on without callers has lost its purpose when its value may not be stored any more.
#[test]
fn a_run_without_callers_is_invalidated() {
    kinds(&[Kind::Stored], async |_, kind| {
        for clear in [false, true] {
            let rig = Rig::default();
            let tasks = rig.spawn(kind, 3);
            rig.waiting(3).await;
            rig.started(1).await;
            cancel(tasks).await;
            assert_eq!(rig.store.stats().in_flight, 1);
            if clear {
                rig.store.clear().await;
            } else {
                let entry = rig.store.scope(async { stored_entry() }).await;
                assert!(entry.invalidate().await);
            }
            let stats = rig.rest(3, 1).await;
            assert_eq!((stats.runs.cancelled, stats.entries), (1, 0));
        }
    });
}

/// A leader that runs inline and is not polled any more holds the key no longer than the limit; then one of those who
/// wait takes over, and the leader, should it come back, gets what is there.
#[test]
fn an_unpolled_inline_leader() {
    for waiters in [1, 2, 10, 20] {
        for kind in [Kind::InlineStored, Kind::InlineShared] {
            Threads::Current.run(async {
                let rig = Rig::default();
                let start = Instant::now();
                let mut leader = rig.call(kind);
                assert_eq!(poll_once(&mut leader).await, Poll::Pending);
                let tasks = rig.spawn(kind, waiters);
                rig.waiting(waiters + 1).await;
                sleep(LIMIT.checked_sub(Duration::from_millis(1)).unwrap()).await;
                assert_eq!((rig.body.started(), rig.store.stats().runs.timeout), (1, 0));
                sleep(Duration::from_millis(1)).await;
                rig.started(2).await;
                assert!(start.elapsed() <= LIMIT + Duration::from_millis(1), "{:?}", start.elapsed());
                assert_eq!(rig.store.stats().runs.timeout, 1);
                rig.body.open();
                assert!(answers(tasks).await.iter().all(|answer| *answer == Ok(2)));
                // Where nothing is stored, it may take its share in the second run, or run a third.
                let last = leader.await.unwrap();
                assert!(last == 2 || (last == 3 && !kind.is_stored()), "{kind:?}: {last}");
                let stats = rig.rest(waiters + 1, last).await;
                assert_eq!((stats.runs.timeout, stats.runs.ok), (1, last - 1), "{kind:?}, {waiters} waiters");
            });
        }
    }
}

/// A storm: callers that leave at any time, and others that stay, on real threads; nobody hangs, and all is counted.
#[test]
fn many_come_and_go() {
    kinds(&Kind::ALL, async |_, kind| {
        for round in 0..20 {
            let rig = Rig::default();
            let tasks = rig.spawn(kind, 100);
            let (leave, stay): (Vec<_>, Vec<_>) = tasks.into_iter().enumerate().partition(|(i, _)| (i + round) % 3 > 0);
            for (i, (_, task)) in leave.iter().enumerate() {
                task.abort();
                if i % 8 == 0 {
                    tokio::task::yield_now().await;
                }
                if i == 30 {
                    rig.body.open();
                }
            }
            let stay: Vec<_> = answers(stay.into_iter().map(|(_, task)| task)).await;
            assert!(stay.iter().all(Result::is_ok), "{stay:?}");
            for (_, task) in leave {
                let _ = task.await;
            }
            until("runs in flight", 0, || rig.store.stats().in_flight).await;
            let stats = rig.store.stats();
            assert!(!kind.survives() || stats.runs.total() == 1, "{stats:?}");
            assert!(stats.calls.total() <= 100, "a call that was never polled is none");
            rig.rest(stats.calls.total(), stats.runs.total()).await;
        }
    });
}
