//! Edges of the policies, where one meets another thing that goes wrong.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use stampede::{Cache, CircuitOpen, Timeout, coalesce, no_stale};
use tokio::runtime::Builder;

use crate::harness::poll_once;
use crate::stores::Store;
use crate::tools::{pass, secs, settle};

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Open,
    Late,
    Run,
}

impl From<CircuitOpen> for Fault {
    fn from(_: CircuitOpen) -> Self {
        Self::Open
    }
}

impl From<Timeout> for Fault {
    fn from(_: Timeout) -> Self {
        Self::Late
    }
}

/// A call in a store, to be polled by hand.
fn within<T: 'static>(store: &Store, call: impl Future<Output = T> + Send + 'static) -> Call<T> {
    let store = store.clone();
    Box::pin(async move { store.scope(call).await })
}

#[coalesce(ttl = "1h", error_ttl = "1h", skip(runs))]
async fn unstored(runs: Arc<AtomicU64>, by_ttl: bool) -> Result<u64, u64> {
    if by_ttl {
        stampede::store_for(Duration::ZERO);
    } else {
        stampede::no_cache();
    }
    Err(runs.fetch_add(1, SeqCst))
}

#[tokio::test(start_paused = true)]
async fn an_error_is_not_stored_against_the_bodys_word() {
    let store = Store::default();
    let runs = Arc::new(AtomicU64::new(0));
    for by_ttl in [false, true] {
        let first = store.scope(unstored(Arc::clone(&runs), by_ttl)).await;
        assert_ne!(store.scope(unstored(Arc::clone(&runs), by_ttl)).await, first);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_future_is_there_is_one_of_the_run() {
    let store = Store::default();
    let cache: Cache<u64> = Cache::builder("panics early")
        .store(&store)
        .ttl(secs(10))
        .stale_while_revalidate(secs(1_000))
        .stale_if_error(secs(1_000))
        .retry_after(secs(30))
        .build();
    cache.entry(&1).put(7).await;
    pass(secs(11)).await;
    let mut begun = 0;
    for _ in 0..5 {
        let start = || {
            begun += 1;
            assert!(begun == 0, "as it starts");
            async { 1 }
        };
        assert_eq!(cache.get_with(&1, start).await, 7);
        settle().await;
    }
    assert_eq!((begun, store.stats().runs.panic), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn panics_before_the_future_is_there_open_the_breaker() {
    let store = Store::default();
    let cache: Cache<u64, CircuitOpen> =
        Cache::builder("opens").store(&store).ttl(secs(10)).breaker(3, secs(1_000)).build();
    let begun = Arc::new(AtomicU64::new(0));
    for _ in 0..10 {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        let call = async move {
            let start = || {
                assert!(begun.fetch_add(1, SeqCst) > 99, "as it starts");
                async { Ok::<_, CircuitOpen>(1) }
            };
            cache.try_get_with(&1, start).await
        };
        let _ = tokio::spawn(call).await;
    }
    assert_eq!(begun.load(SeqCst), 3);
}

#[coalesce(ttl = "5s", refresh_ahead = 0.000_000_001)]
async fn due_soon(key: u64) -> u64 {
    key
}

#[test]
fn where_no_refresh_can_start_a_fresh_value_is_the_answer() {
    let store = Store::default();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(store.scope(due_soon(1)));
    // A few nanoseconds later, so a refresh is due.
    let mut call = within(&store, due_soon(1));
    assert_eq!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(1));
}

#[coalesce(ttl = "1h", inline, run_limit = "2s", breaker(failures = 1, reset_after = "100s"), skip(hangs))]
async fn hanging(hangs: Arc<AtomicBool>, key: u64) -> Result<u64, Fault> {
    if hangs.load(SeqCst) {
        pending::<()>().await;
    }
    Ok(key)
}

#[tokio::test(start_paused = true)]
async fn a_breaker_hears_of_a_lost_run_before_those_who_wait() {
    let store = Store::default();
    let hangs = Arc::new(AtomicBool::new(true));
    let mut first = within(&store, hanging(Arc::clone(&hangs), 1));
    assert!(poll_once(&mut first).await.is_pending());
    hangs.store(false, SeqCst);
    let second = tokio::spawn(within(&store, hanging(Arc::clone(&hangs), 1)));
    settle().await;
    pass(secs(3)).await; // the first is not polled any more
    assert_eq!(second.await.expect("no panic"), Err(Fault::Open), "one failure opens it");
    pass(secs(101)).await;
    assert_eq!(store.scope(hanging(Arc::clone(&hangs), 2)).await, Ok(2));
    drop(first);
    assert_eq!(store.scope(hanging(hangs, 3)).await, Ok(3), "it is heard of once");
}

#[coalesce(ttl = "10s", stale_while_revalidate = "1000s", inline, run_limit = "2s", skip(runs))]
async fn refreshing(runs: Arc<AtomicU64>) -> u64 {
    if runs.fetch_add(1, SeqCst) > 0 {
        pending::<()>().await;
    }
    1
}

#[tokio::test(start_paused = true)]
async fn a_refresh_lost_to_its_limit_falls_back_on_the_old_value() {
    let store = Store::default();
    let runs = Arc::new(AtomicU64::new(0));
    store.scope(refreshing(Arc::clone(&runs))).await;
    pass(secs(11)).await;
    let mut first = within(&store, refreshing(Arc::clone(&runs)));
    assert!(poll_once(&mut first).await.is_pending());
    let second = tokio::spawn(within(&store, no_stale(refreshing(runs))));
    settle().await;
    pass(secs(3)).await;
    assert_eq!(poll_once(&mut first).await, Poll::Ready(1));
    second.abort();
}

/// Polls a call as soon as it is woken.
#[derive(Default)]
struct Eager {
    call: Mutex<Option<Call<Result<u64, Fault>>>>,
    answer: Mutex<Option<Result<u64, Fault>>>,
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        let Some(mut call) = self.call.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        }
    }
}

#[coalesce(ttl = "1h", inline, breaker(failures = 1, reset_after = "10s"), skip(runs))]
async fn probing(runs: Arc<AtomicU64>, key: u64) -> Result<u64, Fault> {
    match runs.fetch_add(1, SeqCst) {
        0 => Err(Fault::Run),
        1 => pending().await,
        _ => Ok(key),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_probe_is_followed_by_the_next_who_waits() {
    let store = Store::default();
    let runs = Arc::new(AtomicU64::new(0));
    assert_eq!(store.scope(probing(Arc::clone(&runs), 1)).await, Err(Fault::Run));
    pass(secs(11)).await;
    let mut first = within(&store, probing(Arc::clone(&runs), 1));
    assert!(poll_once(&mut first).await.is_pending());
    let eager = Arc::new(Eager::default());
    let mut second = within(&store, probing(runs, 1));
    assert!(second.as_mut().poll(&mut Context::from_waker(&Arc::clone(&eager).into())).is_pending());
    *eager.call.lock().expect("no panic") = Some(second);
    drop(first);
    assert_eq!(eager.answer.lock().expect("no panic").take(), Some(Ok(1)));
}

#[coalesce(ttl = "1h", tags = "\"voided\"")]
async fn tagged(key: u64) -> u64 {
    pending::<()>().await;
    key
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_tag_has_voided_is_cancelled_with_its_last_waiter() {
    let store = Store::default();
    let mut call = within(&store, tagged(1));
    assert!(poll_once(&mut call).await.is_pending());
    settle().await;
    store.invalidate_tag("voided").await;
    drop(call);
    settle().await;
    assert_eq!((store.stats().in_flight, store.stats().runs.cancelled), (0, 1));
}

#[coalesce(ttl = "1h", timeout = "10s")]
async fn patient(key: u64) -> Result<u64, Fault> {
    tokio::task::yield_now().await;
    Ok(key)
}

#[test]
fn a_call_may_move_from_a_runtime_that_has_ended() {
    let store = Store::default();
    let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut call = within(&store, patient(1));
    let first = runtime();
    first.block_on(async { assert!(poll_once(&mut call).await.is_pending()) });
    drop(first);
    assert_eq!(runtime().block_on(&mut call), Ok(1));
}

/// Notes how many runs are under way when it is dropped.
struct Looks(Store, Arc<AtomicU64>);

impl Drop for Looks {
    fn drop(&mut self) {
        self.1.store(self.0.stats().in_flight, SeqCst);
    }
}

#[coalesce(inline, timeout = "1s", skip(store, seen))]
async fn looking(store: Store, seen: Arc<AtomicU64>) -> Result<u64, Fault> {
    let _looks = Looks(store, seen);
    pending().await
}

#[tokio::test(start_paused = true)]
async fn a_body_is_gone_before_its_call_gives_up_its_place() {
    let store = Store::default();
    let seen = Arc::new(AtomicU64::new(9));
    assert_eq!(store.scope(looking(store.clone(), Arc::clone(&seen))).await, Err(Fault::Late));
    assert_eq!(seen.load(SeqCst), 1);
}

#[coalesce(ttl = "1h", tags = "unwilling(key)", key = "key")]
async fn badly_tagged(key: u64) -> u64 {
    key
}

fn unwilling(key: u64) -> String {
    assert!(key < 100, "no tag");
    key.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_options_panic_is_an_error() {
    let store = Store::default();
    let call = AssertUnwindSafe(within(&store, badly_tagged(100)));
    assert!(tokio::spawn(call).await.is_err());
    assert_eq!((store.stats().calls.error, store.stats().calls.total()), (1, 1));
}
