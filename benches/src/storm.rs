//! A storm: many tasks, many hot keys, values that live for a second and take a millisecond to make.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use cached::macros::concurrent_cached;
use stampede::coalesce;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use crate::Effort;
use crate::harness::{Contender, Figure, Limit, Measure, Target};
use crate::keys::Random;

const KEYS: u32 = 10_000;
const TASKS: u32 = 256;
const TTL: Duration = Duration::from_secs(1);

/// How often each key's body has run in this round.
static RUNS: [AtomicU32; KEYS as usize] = [const { AtomicU32::new(0) }; KEYS as usize];

async fn body(key: u32) -> u32 {
    RUNS[key as usize].fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(1)).await;
    key
}

#[coalesce(ttl = "1s", entry = false)]
async fn coalesced(key: u32) -> u32 {
    body(key).await
}

#[coalesce(ttl = "1s", stale_while_revalidate = "1s", entry = false)]
async fn stale_while_revalidate(key: u32) -> u32 {
    body(key).await
}

#[concurrent_cached(ttl_secs = 1)]
async fn sharded(key: u32) -> u32 {
    body(key).await
}

static MOKA: LazyLock<moka::future::Cache<u32, u32>> =
    LazyLock::new(|| moka::future::Cache::builder().max_capacity(crate::CAPACITY).time_to_live(TTL).build());

async fn get_with(key: u32) -> u32 {
    MOKA.get_with(key, body(key)).await
}

/// A round begins with nothing stored, since those of the others before it outlast every TTL.
pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let windows = if effort.quick { 3 } else { 6 };
    vec![Measure {
        title: "storm: 10 000 hot keys, TTL 1 s, 256 tasks, bodies of 1 ms",
        figures: vec![
            Figure::higher("million calls per s"),
            Figure::lower("p99 µs"),
            Figure::lower("p99.9 µs"),
            Figure::lower("runs per key and window"),
            Figure::lower("the same, worst key"),
        ],
        peer: "moka get_with",
        // Rounds of several seconds are steadier than those of the other measures, and these targets are far off.
        rounds: if effort.quick { 1 } else { 5 },
        contenders: vec![
            contender("stampede", windows, coalesced),
            contender("stampede, stale", windows, stale_while_revalidate),
            contender("concurrent_cached", windows, sharded),
            contender("moka get_with", windows, get_with),
        ],
        targets: vec![
            Target::new("D1", "stampede, stale", 0, Limit::Ratio("moka get_with", 3.5)),
            Target::new("D1", "stampede, stale", 1, Limit::Ratio("moka get_with", 0.1)),
            Target::new("D1", "stampede, stale", 2, Limit::Ratio("moka get_with", 0.01)),
            Target::new("D2", "stampede", 3, Limit::Value(1.0)),
            Target::new("D2", "stampede", 4, Limit::Value(1.0)),
        ],
    }]
}

fn contender<C, F>(name: &'static str, windows: u32, call: C) -> Contender<'static>
where
    C: Fn(u32) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = u32> + Send + 'static,
{
    let workers = available_parallelism().map_or(1, usize::from);
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_time().build().expect("a runtime");
    Contender::new(name, move || round(&runtime, windows, call))
}

fn round<C, F>(runtime: &Runtime, windows: u32, call: C) -> Vec<f64>
where
    C: Fn(u32) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = u32> + Send + 'static,
{
    for runs in &RUNS {
        runs.store(0, Ordering::Relaxed);
    }
    let start = Instant::now();
    // In the middle of a window, so that every window has seen all its runs.
    let end = start + TTL * (windows - 1) + TTL / 2;
    let observed = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn_on(storm(task, end, call), runtime.handle());
        }
        tasks.join_all().await
    });
    let seconds = start.elapsed().as_secs_f64();

    let calls = observed.iter().map(|(calls, _)| calls).sum::<u64>();
    let mut latencies = observed.into_iter().flat_map(|(_, latencies)| latencies).collect::<Vec<_>>();
    latencies.sort_unstable();
    let percentile = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6;
    let runs = RUNS.iter().map(|runs| runs.load(Ordering::Relaxed));
    vec![
        calls as f64 / seconds / 1e6,
        percentile(990),
        percentile(999),
        f64::from(runs.clone().sum::<u32>()) / f64::from(KEYS * windows),
        f64::from(runs.max().unwrap_or_default()) / f64::from(windows),
    ]
}

/// One task's share: how many calls it made, and how long some of them took.
async fn storm<C, F>(task: u32, end: Instant, call: C) -> (u64, Vec<Duration>)
where
    C: Fn(u32) -> F,
    F: Future<Output = u32>,
{
    const HALF_A_TURN: u64 = 32;

    let mut random = Random(u64::from(task));
    let mut ask = async || {
        let key = random.below(KEYS);
        assert_eq!(call(key).await, key);
    };
    let (mut calls, mut latencies) = (0, Vec::new());
    while Instant::now() < end {
        for _ in 0..HALF_A_TURN {
            ask().await;
        }
        let start = Instant::now();
        ask().await;
        latencies.push(start.elapsed());
        for _ in 1..HALF_A_TURN {
            ask().await;
        }
        calls += 2 * HALF_A_TURN;
        yield_now().await;
    }
    (calls, latencies)
}
