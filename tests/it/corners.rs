//! Corners in which two rules meet.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stampede::coalesce;
use tokio::sync::Semaphore;
use tokio::time::{advance, sleep, timeout};

use crate::stores::Store;

const SECOND: Duration = Duration::from_secs(1);

/// A value that panics when the store drops it, and may panic when it is copied.
struct Rude {
    original: bool,
    copies: Arc<AtomicBool>,
}

impl Clone for Rude {
    fn clone(&self) -> Self {
        assert!(!self.copies.load(Ordering::SeqCst), "no copies");
        Self { original: false, copies: Arc::clone(&self.copies) }
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        assert!(!self.original || std::thread::panicking(), "dropped");
    }
}

#[coalesce(ttl = "1s", stale_while_revalidate = "1s", key = "id")]
async fn rude(copies: &Arc<AtomicBool>, id: u64) -> Rude {
    tokio::task::yield_now().await;
    Rude { original: true, copies: Arc::clone(copies) }
}

#[tokio::test(start_paused = true)]
async fn values_that_panic_when_they_are_dropped_harm_nobody() {
    let store = Store::builder().max_entries(3).build();
    let copies = Arc::new(AtomicBool::new(false));
    let calls = async {
        for id in 0..500 {
            let call = timeout(SECOND, rude(&copies, id));
            assert!(call.await.is_ok(), "call {id} hangs");
            if id % 7 == 0 {
                assert!(timeout(SECOND, rude(&copies, id)).await.is_ok());
            }
        }
        rude_entry(1).invalidate().await;
    };
    store.scope(calls).await;
    store.clear().await;
    let stats = store.stats();
    assert_eq!((stats.in_flight, stats.waiting, stats.runs.total()), (0, 0, stats.runs.ok), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_copied_is_an_error_of_the_call() {
    let store = Store::default();
    let copies = Arc::new(AtomicBool::new(false));
    let call = || {
        let copies = Arc::clone(&copies);
        tokio::spawn(store.scope(async move { drop(rude(&copies, 1).await) }))
    };
    assert!(call().await.is_ok());
    copies.store(true, Ordering::SeqCst);
    assert!(call().await.is_err(), "a fresh hit");
    advance(SECOND).await;
    assert!(call().await.is_err(), "a stale one");
    let stats = store.stats();
    assert_eq!((stats.calls.miss, stats.calls.error, stats.calls.total()), (1, 2, 3), "{stats:?}");
}

/// Runs that go on for as long as there are no permits.
#[derive(Clone)]
struct Gate {
    runs: Arc<AtomicU64>,
    permits: Arc<Semaphore>,
    /// Bodies that are alive, and the most there ever were.
    alive: Arc<(AtomicU64, AtomicU64)>,
}

impl Gate {
    fn new() -> Self {
        Self { runs: Arc::default(), permits: Arc::new(Semaphore::new(0)), alive: Arc::default() }
    }

    async fn pass(&self) -> u64 {
        struct Alive(Gate);

        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.alive.0.fetch_sub(1, Ordering::SeqCst);
            }
        }

        let _alive = Alive(self.clone());
        let alive = self.alive.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.alive.1.fetch_max(alive, Ordering::SeqCst);
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.permits.acquire().await.expect("never closed").forget();
        run
    }
}

/// Polls a future once.
async fn poke<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[coalesce(ttl = "10s", stale_while_revalidate = "1h", retry_after = "30s", run_limit = "20s", skip(gate))]
async fn gated(gate: &Gate) -> u64 {
    gate.pass().await
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_current_puts_nothing_off_when_it_reaches_its_limit() {
    let gate = Gate::new();
    let run = async {
        let mut first = pin!(gated(&gate));
        assert!(poke(first.as_mut()).await.is_pending());
        tokio::task::yield_now().await;
        advance(19 * SECOND).await;
        gated_entry().put(100).await;
        advance(2 * SECOND).await;
        assert_eq!(first.await, 100, "who waited for the run that was lost gets what was put meanwhile");
        advance(10 * SECOND).await;
        gate.permits.add_permits(1);
        assert_eq!(gated(&gate).await, 100);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(gated(&gate).await, 2, "the refresh was not put off");
    };
    let store = Store::default();
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.runs.timeout, stats.runs.ok, stats.in_flight), (1, 1, 0), "{stats:?}");
}

#[coalesce(ttl = "10s", stale_while_revalidate = "1h", run_limit = "20s", skip(gate), inline)]
async fn gated_inline(gate: &Gate) -> u64 {
    gate.pass().await
}

#[tokio::test(start_paused = true)]
async fn an_unpolled_refresh_holds_its_key_no_longer_than_the_limit() {
    let gate = Gate::new();
    let run = async {
        gated_inline_entry().put(100).await;
        advance(11 * SECOND).await;
        let mut held = pin!(gated_inline(&gate));
        assert!(poke(held.as_mut()).await.is_pending());
        assert_eq!(gated_inline(&gate).await, 100, "the others get the old value");
        advance(21 * SECOND).await;
        gate.permits.add_permits(2); // one of them for the body that is not polled, which asked first
        assert_eq!(gated_inline(&gate).await, 2, "the first to come after the limit runs");
        assert_eq!(held.await, 2, "and so does the one that was held");
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_voided_value_is_no_answer_to_a_refresh_that_fails() {
    #[coalesce(ttl = "10s", stale_while_revalidate = "1h", skip(gate), inline)]
    async fn failing(gate: &Gate) -> Result<u64, String> {
        gate.pass().await;
        Err("no".into())
    }

    let gate = Gate::new();
    let run = async {
        failing_entry().put(100).await;
        advance(11 * SECOND).await;
        let mut call = pin!(failing(&gate));
        assert!(poke(call.as_mut()).await.is_pending());
        failing_entry().invalidate().await;
        gate.permits.add_permits(1);
        assert_eq!(call.await, Err("no".into()));
    };
    Store::default().scope(run).await;
}

#[tokio::test]
async fn the_next_run_begins_when_the_last_body_is_gone() {
    let gate = Gate::new();
    let store = Store::default();
    let call = || {
        let gate = gate.clone();
        tokio::spawn(store.scope(async move { gated_inline(&gate).await }))
    };
    for _ in 0..20 {
        let (leader, follower) = (call(), call());
        while store.stats().waiting < 2 {
            tokio::task::yield_now().await;
        }
        leader.abort();
        gate.permits.add_permits(1);
        follower.await.expect("an answer");
        store.clear().await;
    }
    assert_eq!(gate.alive.1.load(Ordering::SeqCst), 1, "bodies at once");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_newer_run_of_its_own_key_through_another_closes_no_circle() {
    #[coalesce(ttl = "1m", skip(gate))]
    async fn outer(gate: &Gate) -> u64 {
        let run = gate.runs.fetch_add(1, Ordering::SeqCst) + 1;
        if run == 1 {
            outer_entry().invalidate().await;
            gate.permits.acquire().await.expect("never closed").forget();
            return Box::pin(around(gate)).await;
        }
        sleep(10 * SECOND).await;
        run
    }

    #[coalesce(ttl = "1m", skip(gate))]
    async fn around(gate: &Gate) -> u64 {
        let next: Pin<Box<dyn Future<Output = u64> + Send>> = Box::pin(outer(gate));
        next.await
    }

    let gate = Gate::new();
    let run = async {
        let mut first = pin!(outer(&gate));
        assert!(poke(first.as_mut()).await.is_pending());
        tokio::task::yield_now().await;
        // The first run has invalidated itself, so this is another, which waits for nobody.
        let mut second = pin!(outer(&gate));
        assert!(poke(second.as_mut()).await.is_pending());
        gate.permits.add_permits(1);
        assert_eq!(tokio::join!(first, second), (2, 2));
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_counts_by_its_path_also_when_its_neighbour_panics() {
    let gate = Gate::new();
    let store = Store::default();
    let both = {
        let gate = gate.clone();
        store.scope(async move {
            tokio::join!(gated(&gate), async {
                tokio::task::yield_now().await;
                panic!("a neighbour");
            })
        })
    };
    assert!(tokio::spawn(both).await.is_err());
    let calls = store.stats().calls;
    assert_eq!((calls.miss, calls.error, calls.total()), (1, 0, 1), "{calls:?}");
}

/// A value whose copies are made by looking around in another store.
struct Curious {
    looks: Arc<AtomicU64>,
}

impl Clone for Curious {
    fn clone(&self) -> Self {
        let entries = || Store::current().stats().entries;
        let before = entries();
        let (outer, inner) = (Store::default(), Store::default());
        let look = outer.scope(async {
            let deeper = inner.scope(async { (id(2).await, entries()) }).await;
            (id(1).await, entries(), deeper)
        });
        let looked = pin!(look).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(looked, Poll::Ready((1, 1, (2, 1))), "each is the store in force, and has its own");
        assert_eq!(entries(), before, "and then the first again");
        self.looks.fetch_add(1, Ordering::SeqCst);
        Self { looks: Arc::clone(&self.looks) }
    }
}

#[coalesce(ttl = "1h", inline)]
async fn id(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1h", skip(looks))]
async fn curious(looks: &Arc<AtomicU64>) -> Curious {
    Curious { looks: Arc::clone(looks) }
}

#[tokio::test]
async fn a_copy_may_be_made_in_another_store() {
    let (store, looks) = (Store::default(), Arc::new(AtomicU64::new(0)));
    let calls = async {
        curious(&looks).await;
        let before = looks.load(Ordering::SeqCst);
        curious(&looks).await;
        curious(&looks).await;
        assert_eq!(looks.load(Ordering::SeqCst), before + 2);
        assert_eq!(id(1).await, 1);
    };
    store.scope(calls).await;
    let stats = store.stats();
    assert_eq!((stats.calls.miss, stats.calls.fresh, stats.entries), (2, 2, 2), "{stats:?}");
}
