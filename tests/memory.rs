//! What a store takes of the machine's memory: a bounded store stays bounded, and a waiter is small.
#![cfg(not(debug_assertions))] // millions of calls: for `cargo test --release`
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![warn(clippy::disallowed_types)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stampede::coalesce;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

#[path = "it/heap.rs"]
mod heap;
#[path = "it/stores.rs"]
mod stores;

use heap::{IN_USE, MIB, PEAK};
use stores::Store;

/// The most memory that the process has had so far: as the system saw it, where it says so.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.map_or_else(|| PEAK.load(Ordering::Relaxed), |kib| kib * 1024)
}

#[coalesce(ttl = "1h")]
async fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

#[coalesce(ttl = "1h", skip(gate))]
async fn gated(gate: Arc<Semaphore>) -> u64 {
    gate.acquire().await.expect("it is never closed").forget();
    7
}

/// One after the other: each looks at the process as a whole.
#[test]
fn memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(many_keys());
    runtime.block_on(many_waiters());
}

async fn many_keys() {
    const KEYS: u64 = 10_000_000;
    const TASKS: u64 = 4;
    let store = Store::builder().max_entries(10_000).build();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let keys = async move {
            for n in (task..KEYS).step_by(usize::try_from(TASKS).expect("a few")) {
                assert_eq!(square(n).await, n.wrapping_mul(n));
            }
        };
        let store = store.clone();
        tasks.spawn(async move { store.scope(keys).await });
    }
    tasks.join_all().await;
    let stats = store.stats();
    assert_eq!((stats.runs.ok, stats.in_flight, stats.waiting), (KEYS, 0, 0), "{stats:?}");
    assert!(stats.entries <= 10_000, "{stats:?}");
    let peak = peak();
    println!("{KEYS} keys through 10000 entries: {} MiB at most", peak / MIB);
    assert!(peak < 200 * MIB, "{} MiB", peak / MIB);
}

async fn many_waiters() {
    const WAITERS: usize = 100_000;
    let store = Store::default();
    let gate = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    let before = IN_USE.load(Ordering::Relaxed);
    for _ in 0..WAITERS {
        let (store, gate) = (store.clone(), Arc::clone(&gate));
        tasks.spawn(async move { store.scope(gated(gate)).await });
    }
    while store.stats().waiting < WAITERS as u64 {
        yield_now().await;
    }
    let bytes = (IN_USE.load(Ordering::Relaxed) - before) / WAITERS;
    println!("{WAITERS} waiters of one key: {bytes} bytes each, their tasks included");
    gate.add_permits(1);
    assert!(tasks.join_all().await.iter().all(|value| *value == 7));
    let stats = store.stats();
    assert_eq!((stats.runs.ok, stats.calls.coalesced), (1, WAITERS as u64 - 1), "{stats:?}");
    assert!(bytes < 2048, "{bytes} bytes");
}
