//! Many callers of one missing key: what it costs to wait for somebody else's run, in time and in memory.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use cached::macros::cached;
use singleflight_async::SingleFlight;
use stampede::coalesce;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;

use crate::Effort;
use crate::allocations::{self, Allocations};
use crate::harness::{Contender, Figure, Limit, Measure, Target};

/// The last gate that is open. Gates open in the order of their numbers, and a gate's number is the key of its run.
static GATE: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));
static GATE_OPENED: Notify = Notify::const_new();

/// A gate that nobody has used yet.
fn next_gate() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn open(gate: u64) {
    GATE.send_replace(gate);
    GATE_OPENED.notify_waiters();
}

/// The body: goes on when its gate is open.
async fn body(gate: u64) -> u64 {
    GATE.subscribe().wait_for(|open| *open >= gate).await.expect("the gate is a static");
    gate
}

#[coalesce(ttl = "1h", entry = false)]
async fn coalesced(gate: u64) -> u64 {
    body(gate).await
}

#[cached(ttl_secs = 3600, sync_writes = "by_key")]
async fn by_key(gate: u64) -> u64 {
    body(gate).await
}

static MOKA: LazyLock<moka::future::Cache<u64, u64>> = LazyLock::new(|| moka::future::Cache::new(crate::CAPACITY));

async fn get_with(gate: u64) -> u64 {
    MOKA.get_with(gate, body(gate)).await
}

async fn try_get_with(gate: u64) -> u64 {
    let run = async { Ok::<_, Infallible>(body(gate).await) };
    MOKA.try_get_with(gate, run).await.unwrap_or_else(|error| match *error {})
}

static QUICK: LazyLock<quick_cache::sync::Cache<u64, u64>> = LazyLock::new(|| quick_cache::sync::Cache::new(10_000));

async fn quick(gate: u64) -> u64 {
    let run = async { Ok::<_, Infallible>(body(gate).await) };
    QUICK.get_or_insert_async(&gate, run).await.unwrap_or_else(|error| match error {})
}

static SINGLEFLIGHT: LazyLock<SingleFlight<u64, u64>> = LazyLock::new(SingleFlight::new);

async fn singleflight(gate: u64) -> u64 {
    SINGLEFLIGHT.work(gate, || body(gate)).await
}

/// The floor: tasks that wait for the gate and nothing else.
async fn bare(gate: u64) -> u64 {
    GATE_OPENED.notified().await;
    gate
}

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    vec![
        Measure {
            title: "waiters: callers of one missing key, ns per caller, spawn to finish; better quartiles",
            figures: ["10", "1 000", "100 000"].map(|callers| Figure::lower(callers).undisturbed()).to_vec(),
            peer: "moka try_get_with",
            rounds: effort.rounds.max(5),
            contenders: vec![
                time("stampede", coalesced),
                time("cached by_key", by_key),
                time("moka get_with", get_with),
                time("moka try_get_with", try_get_with),
                time("quick_cache", quick),
                time("singleflight-async", singleflight),
                time("bare tokio Notify", bare),
            ],
            targets: vec![
                Target::new("B1", "stampede", 2, Limit::Ratio("moka try_get_with", 0.4)),
                Target::new("B1", "stampede", 2, Limit::Ratio("quick_cache", 0.75)),
                Target::new("B1", "stampede", 2, Limit::Ratio("singleflight-async", 1.0)),
            ],
        },
        Measure {
            title: "waiters: what a caller holds while it waits",
            figures: vec![
                Figure::lower("bytes of future"),
                Figure::lower("allocations"),
                Figure::lower("bytes allocated"),
            ],
            peer: "moka try_get_with",
            rounds: 1,
            contenders: vec![
                space("stampede", coalesced),
                space("cached by_key", by_key),
                space("moka get_with", get_with),
                space("moka try_get_with", try_get_with),
                space("quick_cache", quick),
                space("singleflight-async", singleflight),
                space("bare tokio Notify", bare),
            ],
            targets: vec![
                Target::new("B2", "stampede", 0, Limit::Value(128.0)),
                Target::new("B2", "stampede", 1, Limit::Value(0.0)),
            ],
        },
    ]
}

/// One thread: what is measured is the work, not the contention.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn time<C, F>(name: &'static str, call: C) -> Contender<'static>
where
    C: Fn(u64) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send + 'static,
{
    let runtime = runtime();
    Contender::new(name, move || {
        let crowds = [(10, 1_000), (1_000, 10), (100_000, 1)];
        crowds.map(|(callers, times)| runtime.block_on(ns_per_caller(callers, times, call))).to_vec()
    })
}

/// What becomes of the time per caller as callers become this many.
pub(crate) fn growth(name: &'static str, many: u32) -> Contender<'static> {
    let runtime = runtime();
    Contender::new(name, move || {
        let [few, many] = [(10, 10_000), (many, 1)]
            .map(|(callers, times)| runtime.block_on(ns_per_caller(callers, times, coalesced)));
        vec![few, many, many / few]
    })
}

/// Small crowds come several times over.
async fn ns_per_caller<C, F>(callers: u32, times: u32, call: C) -> f64
where
    C: Fn(u64) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send + 'static,
{
    let start = Instant::now();
    for _ in 0..times {
        crowd(callers, call).await;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(callers * times)
}

async fn crowd<C, F>(callers: u32, call: C)
where
    C: Fn(u64) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send + 'static,
{
    static ARRIVED: AtomicU32 = AtomicU32::new(0);

    ARRIVED.store(0, Ordering::Relaxed);
    let gate = next_gate();
    let caller = |_| {
        tokio::spawn(async move {
            ARRIVED.fetch_add(1, Ordering::Relaxed);
            call(gate).await
        })
    };
    let waiting = (0..callers).map(caller).collect::<Vec<_>>();
    // With one thread, a caller that has arrived has also begun to wait when others come to run.
    while ARRIVED.load(Ordering::Relaxed) < callers {
        yield_now().await;
    }
    open(gate);
    for caller in waiting {
        assert_eq!(caller.await.expect("an answer"), gate);
    }
}

fn space<C, F>(name: &'static str, call: C) -> Contender<'static>
where
    C: Fn(u64) -> F + 'static,
    F: Future<Output = u64>,
{
    const FOLLOWERS: u32 = 1_000;

    let runtime = runtime();
    let round = async move || {
        let gate = next_gate();
        let mut callers = (0..=FOLLOWERS).map(|_| Box::pin(call(gate))).collect::<Vec<_>>();
        let size = size_of_val(&*callers[0]);
        let mut own = poll_fn(|cx| {
            let (leader, followers) = callers.split_first_mut().expect("there is a leader");
            assert!(leader.as_mut().poll(cx).is_pending());
            let mut follow = |follower: &mut Pin<Box<F>>| assert!(follower.as_mut().poll(cx).is_pending());
            Poll::Ready(followers.iter_mut().map(|caller| allocations::count(|| follow(caller))).collect::<Vec<_>>())
        })
        .await;
        // That of the middle: some lists double now and then, which are those of the run.
        own.sort_unstable_by_key(|allocations| (allocations.count, allocations.bytes));
        let Allocations { count, bytes, .. } = own[own.len() / 2];
        open(gate);
        for caller in callers {
            assert_eq!(caller.await, gate);
        }
        vec![size as f64, f64::from(count), bytes as f64]
    };
    Contender::new(name, move || runtime.block_on(round()))
}
