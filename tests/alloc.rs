//! An ordinary hit allocates nothing, nor does a caller that waits for a run.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![warn(clippy::disallowed_types)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use stampede::coalesce;

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what the thread allocates.
struct Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[coalesce(ttl = "1h")]
async fn plain(id: u64, name: &str) -> u64 {
    id + name.len() as u64
}

#[coalesce(ttl = "1h", inline)]
async fn inline(id: u64, name: &str) -> u64 {
    id + name.len() as u64
}

#[coalesce(ttl = "1h")]
#[allow(clippy::extra_unused_type_parameters, reason = "it tells functions apart")]
async fn generic<T: Send + Sync + 'static>(id: u64, name: &str) -> Option<u64> {
    Some(id + name.len() as u64)
}

struct Service;

impl Service {
    #[coalesce(ttl = "1h", skip(self), inline)]
    async fn method(&self, id: u64, name: &str) -> Result<u64, String> {
        Ok(id + name.len() as u64)
    }
}

/// What a call allocates that finds its value in the store.
fn allocations_of<T>(call: impl Future<Output = T>) -> usize {
    let before = ALLOCATIONS.get();
    let polled = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(_)), "a hit waits for nothing");
    ALLOCATIONS.get() - before
}

/// Hits, after some that set things up, and those of them that allocate: the store collects its notes now and then.
fn allocating_hits<T, F: Future<Output = T>>(call: impl Fn() -> F) -> Vec<usize> {
    for _ in 0..100 {
        allocations_of(call());
    }
    (0..2_000).map(|_| allocations_of(call())).filter(|count| *count > 0).collect()
}

#[tokio::test]
async fn a_warm_hit_allocates_nothing() {
    let before = ALLOCATIONS.get();
    drop(Box::new(1));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");

    let run = async {
        let name = "a name of some length";
        plain(1, name).await;
        inline(1, name).await;
        generic::<u8>(1, name).await;
        generic::<u16>(1, name).await;
        Service.method(1, name).await.expect("a value");
        assert_eq!(allocations_of(plain(1, name)), 0, "a single hit");
        let none: Vec<usize> = Vec::new();
        assert_eq!(allocating_hits(|| plain(1, name)), none, "a plain function");
        assert_eq!(allocating_hits(|| inline(1, name)), none, "an inline function");
        assert_eq!(allocating_hits(|| generic::<u8>(1, name)), none, "a generic function");
        assert_eq!(allocating_hits(|| Service.method(1, name)), none, "a method");
    };
    Store::default().scope(run).await;
}

/// Only the list of who waits grows now and then, which is the flight's.
#[tokio::test]
async fn a_caller_that_waits_allocates_nothing() {
    #[coalesce(ttl = "1h")]
    async fn endless(id: u64, name: &str) -> u64 {
        std::future::pending::<()>().await;
        id + name.len() as u64
    }

    let run = async {
        let mut callers = (0..1_000).map(|_| Box::pin(endless(1, "a name of some length"))).collect::<Vec<_>>();
        let allocating = callers.iter_mut().filter_map(|caller| {
            let before = ALLOCATIONS.get();
            assert!(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            (ALLOCATIONS.get() > before).then_some(())
        });
        let count = allocating.count();
        assert!((1..=12).contains(&count), "the first one, and the list as it doubles: {count}");
    };
    Store::default().scope(run).await;
}
