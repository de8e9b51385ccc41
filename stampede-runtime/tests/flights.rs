//! The flights, once over lightly: each path of a call a few times, on one thread or few and without I/O, so that Miri can
//! follow. `tests/it/` of the workspace is where they are tested.
#![cfg(feature = "test-util")]
#![warn(clippy::disallowed_types)]

use std::borrow::Cow;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use stampede::{Cache, NoCache, coalesce, fresh, is_background, no_stale, store_for, uncached};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

#[path = "../../tests/it/stores.rs"]
mod stores;

use stores::Store;

const SECOND: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A runtime on this thread, with a paused clock and a store of its own.
fn run<F: Future>(test: impl FnOnce(Store) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let store = Store::default();
    runtime.expect("a runtime").block_on(store.scope(test(store.clone())))
}

fn cache<V: Clone + Send + Sync + 'static>(store: &Store) -> Cache<V> {
    let seconds = |n| n * SECOND;
    Cache::builder("cache")
        .ttl(seconds(5))
        .stale_while_revalidate(seconds(5))
        .run_limit(seconds(60))
        .store(store)
        .build()
}

async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    settle().await;
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A body that waits to be let through, and gives the number of its run.
#[derive(Clone)]
struct Gate(Arc<(Semaphore, AtomicU64)>);

impl Gate {
    fn new(permits: usize) -> Self {
        Self(Arc::new((Semaphore::new(permits), AtomicU64::new(0))))
    }

    async fn pass(&self) -> u64 {
        let number = self.0.1.fetch_add(1, SeqCst) + 1;
        self.0.0.acquire().await.expect("never closed").forget();
        number
    }

    fn open(&self) {
        self.0.0.add_permits(1);
    }
}

#[coalesce(ttl = "5s", skip(gate))]
async fn detached(gate: &Gate) -> u64 {
    gate.pass().await
}

#[coalesce(ttl = "5s", stale_while_revalidate = "5s", skip(gate), inline)]
async fn inline(gate: &Gate) -> u64 {
    gate.pass().await
}

#[test]
fn values_errors_and_panics_reach_everyone() {
    run(async |store| {
        let cache: Cache<String> = cache(&store);
        for round in 0..3 {
            let mut tasks = JoinSet::new();
            for _ in 0..3 {
                let cache = cache.clone();
                tasks.spawn(async move {
                    let body = || async move {
                        yield_now().await;
                        match round {
                            0 => Err(BoxError::from("an error")),
                            1 => panic!("a panic"),
                            _ => Ok("a value".to_owned()),
                        }
                    };
                    cache.try_get_with("key", body).await.map_err(|error| error.to_string())
                });
            }
            while let Some(answer) = tasks.join_next().await {
                match (round, answer) {
                    (0, Ok(Err(error))) => assert_eq!(error, "an error"),
                    (1, Err(error)) => assert!(error.is_panic()),
                    (_, Ok(answer)) => assert_eq!(answer, Ok("a value".to_owned())),
                    (_, answer) => panic!("{answer:?}"),
                }
            }
        }
        assert_eq!(store.stats().runs.total(), 3);
    });
}

#[test]
fn one_leader_after_another_leaves() {
    run(async |store| {
        let gate = Gate::new(0);
        let mut calls: Vec<_> = (0..4).map(|_| Box::pin(inline(&gate))).collect();
        for _ in 0..3 {
            for call in &mut calls {
                assert!(poll_once(call.as_mut()).is_pending());
            }
            drop(calls.remove(0));
        }
        gate.open();
        assert_eq!(calls.remove(0).await, 4);
        assert_eq!((store.stats().runs.cancelled, store.stats().runs.ok), (3, 1));
    });
}

#[test]
fn a_run_reaches_its_limit() {
    run(async |store| {
        let cache: Cache<u8> = cache(&store);
        let runs = AtomicU64::new(0);
        let call = || async {
            let body = || {
                let first = runs.fetch_add(1, SeqCst) == 0;
                async move { if first { pending().await } else { 7 } }
            };
            cache.get_with(&1, body).await
        };
        assert_eq!(tokio::join!(call(), call(), call()), (7, 7, 7));
        assert_eq!((store.stats().runs.timeout, store.stats().runs.ok), (1, 1));
    });
}

#[test]
fn old_values_are_refreshed_behind_the_callers_backs() {
    run(async |store| {
        let cache: Cache<u64> = cache(&store);
        let runs = AtomicU64::new(0);
        let call = || {
            cache.get_with(&(1, "a"), || {
                let run = runs.fetch_add(1, SeqCst);
                async move {
                    yield_now().await;
                    assert_eq!(is_background(), run == 1);
                    store_for(6 * SECOND);
                    run
                }
            })
        };
        assert_eq!(call().await, 0);
        pass(6 * SECOND).await;
        assert_eq!(tokio::join!(call(), call()), (0, 0));
        settle().await;
        assert_eq!(call().await, 1);
        pass(6 * SECOND).await;
        assert_eq!(tokio::join!(call(), no_stale(call())), (1, 2));

        let gate = Gate::new(1);
        assert_eq!(inline(&gate).await, 1);
        pass(6 * SECOND).await;
        let mut refresher = Box::pin(inline(&gate));
        assert!(poll_once(refresher.as_mut()).is_pending());
        assert_eq!(inline(&gate).await, 1);
        gate.open();
        assert_eq!(refresher.await, 2);
    });
}

#[test]
fn acts_win_over_runs() {
    run(async |store| {
        for act in 0..5_u64 {
            let gate = Gate::new(0);
            let mut call = pin!(detached(&gate));
            assert!(poll_once(call.as_mut()).is_pending());
            settle().await;
            let expected = match act {
                0 => {
                    detached_entry().invalidate().await;
                    None
                }
                1 => {
                    detached_entry().put(100).await;
                    Some(100)
                }
                2 => {
                    store.clear().await;
                    None
                }
                3 => {
                    let (gate, mut second) = (gate.clone(), pin!(fresh(detached(&gate))));
                    assert!(poll_once(second.as_mut()).is_pending());
                    settle().await;
                    gate.0.0.add_permits(2);
                    assert_eq!(tokio::join!(call.as_mut(), second), (1, 2));
                    Some(2)
                }
                _ => Some(1),
            };
            if act != 3 {
                gate.open();
                assert_eq!(call.await, 1, "act {act}");
            }
            assert_eq!(detached_entry().get().await, expected, "act {act}");
            detached_entry().invalidate().await;
        }
    });
}

#[test]
fn scopes_and_wishes_nest() {
    run(async |store| {
        let gate = Gate::new(100);
        assert_eq!(detached(&gate).await, 1);
        let other = Store::default();
        let (within, beside, not) =
            tokio::join!(other.scope(fresh(detached(&gate))), detached(&gate), uncached(no_stale(detached(&gate))));
        assert_eq!((within, beside, not), (2, 1, 1));
        assert_eq!(uncached(detached(&gate)).await, 3);
        assert_eq!((store.stats().runs.ok, other.stats().runs.ok), (1, 1));
    });
}

#[coalesce(ttl = "1m")]
#[allow(clippy::many_single_char_names)]
async fn arguments(a: &str, b: &[u16], c: Option<&String>, d: Cow<'_, str>, e: Vec<u8>) -> Option<usize> {
    match a.len() + b.len() + c.map_or(0, String::len) + d.len() + e.len() {
        0 => NoCache(0).into(),
        sum => Some(sum),
    }
}

#[test]
fn runs_have_copies_of_their_arguments() {
    run(async |store| {
        let text = "text".to_owned();
        for _ in 0..2 {
            assert_eq!(arguments(&text, &[1, 2], Some(&text), text.as_str().into(), vec![1]).await, Some(15));
            assert_eq!(arguments("", &[], None, "".into(), vec![]).await, Some(0));
        }
        assert_eq!((store.stats().runs.ok, store.stats().runs.no_cache), (1, 2));
    });
}

#[test]
fn keys_are_compared_in_full() {
    run(async |store| {
        let cache: Cache<u8> = cache(&store);
        cache.entry(&("ab", "c")).put(1).await;
        cache.entry(&("a", "bc")).put(2).await;
        cache.entry(&1_u8).put(3).await;
        cache.entry(&1_u64).put(4).await;
        cache.entry(&"k".repeat(400)).put(5).await;
        assert_eq!(cache.entry(&("ab", "c")).get().await, Some(1));
        assert_eq!(cache.entry(&("a", "bc")).get().await, Some(2));
        assert_eq!(cache.entry(&1_u8).get().await, Some(3));
        assert_eq!(cache.entry(&1_u64).get().await, Some(4));
        assert_eq!(cache.entry(&"k".repeat(400)).get().await, Some(5));
        assert_eq!(cache.entry(&"k".repeat(401)).get().await, None);
    });
}

#[coalesce(ttl = "1m")]
async fn round_and_round(n: u32) -> u32 {
    Box::pin(round_and_round((n + 1) % 2)).await
}

#[test]
fn a_circle_is_a_panic() {
    run(async |store| {
        let error = tokio::spawn(store.scope(round_and_round(0))).await.expect_err("a panic");
        let message = error.into_panic().downcast::<String>().expect("text");
        assert!(message.contains("a run waits for itself"), "{message}");
    });
}

/// A value that asks the store for something when it is dropped.
#[derive(Clone)]
struct Returning(Arc<Mutex<Option<Cache<Self>>>>);

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(value) = Arc::get_mut(&mut self.0)
            && let Some(cache) = value.get_mut().expect("no panic").take()
        {
            let Poll::Ready(_) = poll_once(pin!(cache.entry(&1).invalidate())) else { unreachable!() };
        }
    }
}

#[test]
fn values_come_back_when_they_are_dropped() {
    run(async |store| {
        let cache: Cache<Returning> = cache(&store);
        let value = || Returning(Arc::new(Mutex::new(Some(cache.clone()))));
        for _ in 0..3 {
            cache.entry(&1).put(value()).await;
            cache.entry(&1).put(value()).await;
            let value = value();
            drop(fresh(cache.get_with(&1, move || ready(value.clone()))).await);
        }
        store.clear().await;
        store.stats();
    });
}

/// Under Miri, all takes a thousand times as long.
const ROUNDS: u64 = if cfg!(miri) { 3 } else { 500 };

/// Threads with a runtime each, and one store between them.
fn in_threads<F: Future>(store: &Store, test: impl Fn(u64) -> F + Sync) {
    let together = Barrier::new(3);
    thread::scope(|scope| {
        for number in 0..3 {
            let (test, together) = (&test, &together);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
                together.wait();
                runtime.block_on(store.scope(test(number)));
            });
        }
    });
}

#[test]
fn threads_share_runs() {
    let store = Store::default();
    let cache: Cache<u64> = cache(&store);
    in_threads(&store, async |thread| {
        for key in 0..ROUNDS {
            let body = || async move {
                yield_now().await;
                key
            };
            let mut call = Box::pin(cache.get_with(&key, body));
            match poll_once(call.as_mut()) {
                Poll::Ready(value) => assert_eq!(value, key),
                // Now and then one leaves, and takes its run along with its runtime in the end.
                Poll::Pending if (key + thread) % 3 == 0 => {}
                Poll::Pending => assert_eq!(call.await, key),
            }
        }
    });
    assert_eq!(store.stats().entries, ROUNDS);
}

#[test]
fn threads_take_over_from_each_other() {
    let store = Store::default();
    let gate = Gate::new(10_000);
    in_threads(&store, async |thread| {
        for round in 0..ROUNDS {
            let mut call = Box::pin(inline(&gate));
            if poll_once(call.as_mut()).is_pending() && (round + thread) % 2 == 0 {
                yield_now().await;
                drop(call);
            } else {
                drop(call);
                inline(&gate).await;
            }
            match (round + thread) % 4 {
                0 => drop(inline_entry().invalidate().await),
                1 => drop(fresh(inline(&gate)).await),
                2 => inline_entry().put(round).await,
                _ => assert!(Store::current().clear().await),
            }
        }
    });
}
