//! However many ask, on however many threads, in whatever situation: one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use stampede::{coalesce, store_for};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::harness::*;
use crate::stores::Store;

const CALLERS: [u64; 6] = [1, 2, 10, 100, 1_000, 10_000];

/// Every number of callers on every runtime.
fn matrix(test: impl AsyncFn(Threads, u64)) {
    for threads in Threads::ALL {
        for callers in CALLERS {
            println!("{callers} callers, threads: {threads:?}");
            threads.run(test(threads, callers));
        }
    }
}

fn all_same<T: PartialEq + std::fmt::Debug>(answers: &[T], callers: u64, expected: &T) {
    assert_eq!(answers.len() as u64, callers);
    assert!(answers.iter().all(|answer| answer == expected), "{answers:?}, not {expected:?}");
}

#[test]
fn cold() {
    matrix(async |_, callers| {
        for kind in [Kind::Stored, Kind::Shared, Kind::InlineStored] {
            let rig = Rig::default();
            let tasks = rig.spawn(kind, callers);
            rig.waiting(callers).await;
            rig.started(1).await;
            rig.body.open();
            all_same(&answers(tasks).await, callers, &Ok(1));
            let stats = rig.rest(callers, 1).await;
            assert_eq!((stats.calls.miss, stats.calls.coalesced, stats.runs.ok), (1, callers - 1, 1), "{kind:?}");
        }
    });
}

/// A script whose first value is over soon: when the paused clock is moved on by the TTL, or, where it cannot be paused,
/// at once.
fn first_value_is_short_lived(threads: Threads, end: End) -> Script {
    let hook = move |number| {
        if number == 1 && threads != Threads::Current {
            store_for(Duration::from_nanos(1));
        }
    };
    Script { hook: Some(Box::new(hook)), end, ..Script::default() }
}

async fn expire(threads: Threads) {
    if threads == Threads::Current {
        tokio::time::advance(TTL).await;
    }
}

#[test]
fn at_expiry() {
    matrix(async |threads, callers| {
        let rig = Rig::new(first_value_is_short_lived(threads, End::Value));
        rig.body.pass();
        assert_eq!(rig.call(Kind::Stored).await, Ok(1));
        expire(threads).await;
        let entry = rig.store.scope(async { stored_entry() }).await;
        while entry.get().await.is_some() {
            tokio::task::yield_now().await;
        }

        let tasks = rig.spawn(Kind::Stored, callers);
        rig.waiting(callers).await;
        rig.started(2).await;
        rig.body.open();
        all_same(&answers(tasks).await, callers, &Ok(2));
        let stats = rig.rest(callers + 1, 2).await;
        assert_eq!((stats.calls.miss, stats.calls.coalesced, stats.runs.ok), (2, callers - 1, 2));
    });
}

#[coalesce(ttl = TTL, stale_while_revalidate = TTL, skip(body, fails))]
async fn stale(body: &Body, fails: &Arc<AtomicBool>) -> Answer {
    let number = body.run().await?;
    if fails.load(SeqCst) { Err("failed".to_owned()) } else { Ok(number) }
}

/// Everybody has the old value while the one run in the background has not yet ended.
#[test]
fn stale_value() {
    matrix(async |threads, callers| {
        for refresh_fails in [false, true] {
            let rig = Rig::new(first_value_is_short_lived(threads, End::Value));
            let fails = Arc::new(AtomicBool::new(false));
            let call = || {
                let fails = Arc::clone(&fails);
                rig.call_with(|body| async move { stale(&body, &fails).await })
            };
            rig.body.pass();
            assert_eq!(call().await, Ok(1));
            expire(threads).await;
            until("fresh values", false, || rig.store.stats().in_flight > 0).await;
            fails.store(refresh_fails, SeqCst);

            let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call())).collect();
            all_same(&answers(tasks).await, callers, &Ok(1));
            rig.started(2).await;
            let stats = rig.store.stats();
            assert_eq!((stats.in_flight, stats.waiting, stats.calls.stale), (1, 0, callers));
            rig.body.open();
            let stats = rig.rest(callers + 1, 2).await;
            assert_eq!((stats.runs.ok, stats.runs.error), if refresh_fails { (1, 1) } else { (2, 0) });
            // A refresh that failed is not tried again for a while.
            assert_eq!(call().await, Ok(if refresh_fails { 1 } else { 2 }));
            assert_eq!(rig.body.started(), 2);
        }
    });
}

/// Callers are let off by the run itself as its last act, and ask several times each.
#[test]
fn as_a_flight_ends() {
    matrix(async |_, callers| {
        let rounds = (2_000 / callers).clamp(1, 100);
        for round in 0..rounds {
            let go = Arc::new(Semaphore::new(0));
            let last_act = Arc::clone(&go);
            let last_act: Hook = Box::new(move |_| last_act.close());
            let rig = Rig::new(Script { last_act: Some(last_act), ..Script::default() });
            let tasks: Vec<_> = (0..callers)
                .map(|_| {
                    let go = Arc::clone(&go);
                    let calls = [rig.call(Kind::Stored), rig.call(Kind::Stored), rig.call(Kind::Stored)];
                    tokio::spawn(async move {
                        let _ = go.acquire().await;
                        let mut answers = Vec::new();
                        for call in calls {
                            answers.push(call.await);
                        }
                        answers
                    })
                })
                .collect();
            rig.body.open();
            assert_eq!(rig.call(Kind::Stored).await, Ok(1));
            for answers in answers(tasks).await {
                all_same(&answers, 3, &Ok(1));
            }
            let stats = rig.rest(3 * callers + 1, 1).await;
            assert_eq!(stats.runs.ok, 1, "round {round}");
        }
    });
}

/// Where callers stop between their look into the store and their look at the flights: in the user's `ttl`.
#[derive(Clone, Default)]
struct Bridge(Arc<(AtomicBool, AtomicU64)>);

impl Bridge {
    fn cross(&self) -> Duration {
        let (closed, there) = &*self.0;
        there.fetch_add(1, SeqCst);
        block_until("the bridge is open", || !closed.load(SeqCst));
        TTL
    }

    fn there(&self) -> u64 {
        self.0.1.load(SeqCst)
    }
}

#[coalesce(ttl = bridge.cross(), skip(body, bridge))]
async fn behind_bridge(body: &Body, bridge: &Bridge) -> Answer {
    let _ = bridge;
    body.run().await
}

#[coalesce(ttl = bridge.cross(), stale_while_revalidate = TTL, skip(body, bridge))]
async fn stale_behind_bridge(body: &Body, bridge: &Bridge) -> Answer {
    let _ = bridge;
    body.run().await
}

/// Who finds nothing in the store, and then no flight, since it has ended in between, looks again.
#[test]
fn between_two_looks() {
    for callers in [1, 2, 10] {
        let (runtime, rig, bridge) = (Threads::Two.runtime(), Rig::default(), Bridge::default());
        let call = || {
            let bridge = bridge.clone();
            rig.call_with(|body| async move { behind_bridge(&body, &bridge).await })
        };
        let leader = runtime.spawn(call());
        block_until("the run has begun", || rig.body.started() == 1);
        let arrive = || {
            rig.body.open();
            block_until("the run has ended", || rig.store.stats().in_flight == 0);
        };
        all_same(&in_threads(&runtime, callers, &bridge, call, arrive), callers, &Ok(1));
        assert_eq!(runtime.block_on(leader).unwrap(), Ok(1));
        let stats = runtime.block_on(rig.rest(callers + 1, 1));
        assert_eq!((stats.calls.miss, stats.calls.fresh), (1, callers));
    }
}

/// Who finds a stale value, and no refresh, since it has ended in between, starts none.
#[test]
fn between_two_looks_at_a_stale_value() {
    for (callers, end) in [(1, End::Value), (10, End::Value), (1, End::Error), (10, End::Error), (10, End::Panic)] {
        let (runtime, bridge) = (Threads::Two.runtime(), Bridge::default());
        let rig = Rig::new(Script { end, ..Script::default() });
        let call = || {
            let bridge = bridge.clone();
            rig.call_with(|body| async move { stale_behind_bridge(&body, &bridge).await })
        };
        let seed = Rig { store: rig.store.clone(), body: Rig::new(seed_script()).body };
        let (seeded, seed_bridge) = (seed.store.clone(), bridge.clone());
        runtime.block_on(seeded.scope(async { stale_behind_bridge(&seed.body, &seed_bridge).await })).unwrap();

        let refresher = runtime.spawn(call());
        block_until("the refresh has begun", || rig.body.started() == 1);
        let arrive = || {
            rig.body.open();
            block_until("the refresh has ended", || rig.store.stats().in_flight == 0);
        };
        all_same(&in_threads(&runtime, callers, &bridge, call, arrive), callers, &Ok(1));
        assert_eq!(runtime.block_on(refresher).unwrap(), Ok(1));
        let stats = runtime.block_on(rig.rest(callers + 2, 2));
        assert_eq!((stats.calls.miss, stats.calls.stale), (1, callers + 1));
    }
}

/// Gives a value that is stale at once.
fn seed_script() -> Script {
    Script { early: u64::MAX, hook: Some(Box::new(|_| store_for(Duration::from_nanos(1)))), ..Script::default() }
}

/// Callers that come to the bridge, a thread each, and go on when `arrive` is over.
fn in_threads(
    runtime: &Runtime,
    callers: u64,
    bridge: &Bridge,
    call: impl Fn() -> Call<Answer>,
    arrive: impl FnOnce(),
) -> Vec<Answer> {
    let before = bridge.there();
    bridge.0.0.store(true, SeqCst);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let call = call();
                scope.spawn(|| runtime.block_on(call))
            })
            .collect();
        block_until("all are at the bridge", || bridge.there() == before + callers);
        arrive();
        bridge.0.0.store(false, SeqCst);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// One run per flight, whatever comes of it and when: no queue of waiters that run a failing body one by one.
fn failing(end: End, early: bool) {
    matrix(async |_, callers| {
        let store = Store::default();
        let hook = early.then(|| all_there(store.clone(), callers));
        let body = Script { end, early: if early { u64::MAX } else { 0 }, hook, last_act: None };
        let rig = Rig { store, ..Rig::new(body) };
        for flight in 1..=2 {
            let tasks = rig.spawn(Kind::Stored, callers);
            if !early {
                rig.waiting(callers).await;
                rig.body.pass();
            }
            if end == End::Error {
                all_same(&answers(tasks).await, callers, &Err(format!("run {flight} failed")));
            } else {
                all_same(&panics(tasks).await, callers, &format!("run {flight} panicked"));
            }
            let stats = rig.rest(callers * flight, flight).await;
            let runs = if end == End::Error { stats.runs.error } else { stats.runs.panic };
            assert_eq!((stats.calls.error, runs), (callers * flight, flight));
        }
    });
}

/// Keeps a run from ending before everybody waits for it, without an await. (A current-thread runtime polls those who
/// were spawned before the run, before the run.)
fn all_there(store: Store, callers: u64) -> Hook {
    Box::new(move |_| block_until("all wait", || store.stats().waiting == callers))
}

#[test]
fn errors_at_once() {
    failing(End::Error, true);
}

#[test]
fn errors_later() {
    failing(End::Error, false);
}

#[test]
fn panics_at_once() {
    failing(End::Panic, true);
}

#[test]
fn panics_later() {
    failing(End::Panic, false);
}

/// A body that never ends is cancelled at its limit; those who still wait share one next run, for as long as it takes.
#[test]
fn never_ending() {
    for callers in CALLERS {
        for kind in Kind::ALL {
            Threads::Current.run(async {
                let rig = Rig::default();
                let start = tokio::time::Instant::now();
                let mut tasks = rig.spawn(kind, callers);
                for run in 1..=4 {
                    rig.waiting(callers).await;
                    rig.started(run).await;
                    tokio::time::sleep_until(start + LIMIT * u32::try_from(run).unwrap()).await;
                    rig.started(run + 1).await;
                    assert_eq!(rig.store.stats().runs.timeout, run);
                    assert_eq!(rig.body.live(), 1, "what timed out is gone");
                }
                let last = tasks.split_off(tasks.len() / 2);
                cancel(tasks.into_iter().filter(|task| !kind.is_inline() || !rig.body.runs_in(task))).await;
                rig.body.open();
                all_same(&answers(last).await, callers - callers / 2, &Ok(5));
                let stats = rig.rest(callers, 5).await;
                assert_eq!((stats.runs.timeout, stats.runs.ok), (4, 1), "{kind:?}, {callers} callers");
            });
        }
    }
}

/// A run is lost, with its runtime or (`inline`) with its caller, and the next one is over before most of those who wait
/// have looked round: they share it nevertheless, rather than run the body one by one.
#[test]
fn the_next_run_is_quick() {
    for threads in Threads::ALL {
        for kind in Kind::ALL {
            for (callers, end) in [(2, End::Error), (10, End::Value), (10, End::Panic), (100, End::Error)] {
                println!("{callers} callers, {kind:?}, {end:?}, threads: {threads:?}");
                next_run_is_quick(threads, kind, callers, end);
            }
        }
    }
}

fn next_run_is_quick(threads: Threads, kind: Kind, callers: u64, end: End) {
    let rig = Rig::new(Script { end, ..Script::default() });
    let lost = Builder::new_current_thread().enable_time().build().unwrap();
    let mut leader = rig.call(kind);
    lost.block_on(async {
        assert!(poll_once(&mut leader).await.is_pending());
        rig.started(1).await;
    });
    threads.run(async {
        let mut tasks = rig.spawn(kind, callers - 1);
        rig.waiting(callers).await;
        rig.body.open();
        lost.shutdown_background();
        if kind.is_inline() {
            drop(leader);
        } else {
            tasks.push(tokio::spawn(leader));
        }
        let waited = tasks.len() as u64;
        match end {
            End::Value => all_same(&answers(tasks).await, waited, &Ok(2)),
            End::Error => all_same(&answers(tasks).await, waited, &Err("run 2 failed".into())),
            End::Panic => all_same(&panics(tasks).await, waited, &"run 2 panicked".into()),
        }
        rig.rest(callers, 2).await;
    });
}
