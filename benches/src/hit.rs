//! A hit: what a call costs that finds its answer in the store.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use tokio::runtime::Builder;

use crate::Effort;
use crate::contenders::{BareMoka, Moka, NAME, cached_by_key, coalesce_detached, concurrent_cached};
use crate::count;
use crate::harness::{Contender, Figure, Limit, Measure, Target};
use crate::keys::zipf;

/// How many different keys there are where there is more than one.
const KEYS: u32 = 100_000;
const CALLS: usize = 300_000;

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let measure = |title, keys: Vec<u32>, targets: [(&'static str, f64); 2]| {
        // There are two of these in a process.
        let keys: &'static [u32] = keys.leak();
        let (moka, bare) = (Moka::new(), BareMoka::new());
        Measure {
            title,
            figures: vec![Figure::lower("1 thread, ns per call"), Figure::lower("2 threads, ns per call")],
            peer: "concurrent_cached",
            rounds: effort.rounds,
            contenders: vec![
                contender("stampede", keys, coalesce_detached),
                contender("concurrent_cached", keys, concurrent_cached),
                contender("cached by_key", keys, cached_by_key),
                contender("moka get_with", keys, async move |id, name: &str| moka.get_with(id, name).await),
                contender("bare moka get", keys, async move |id, _: &str| bare.get(id)),
            ],
            targets: (0..)
                .zip(targets)
                .map(|(figure, (label, ratio))| {
                    Target::new(label, "stampede", figure, Limit::Ratio("concurrent_cached", ratio))
                })
                .collect(),
        }
    };
    vec![
        measure(
            "hit of one hot key: ns",
            vec![7; if effort.quick { CALLS / 2 } else { CALLS }],
            [("A1", 0.27), ("A2", 0.09)],
        ),
        measure("hit, Zipf (0.99), 100 000 keys: ns", zipf(KEYS, 0.99, CALLS), [("A3", 0.5), ("A3", 0.4)]),
        work(),
    ]
}

/// What does not depend on who else uses the machine.
fn work() -> Measure<'static> {
    let contender = |name| {
        Contender::new(name, move || {
            // Without valgrind there is nothing to compare.
            vec![count::per_hit(name).unwrap_or(f64::NAN), f64::from(count::allocations_of_hits(name)) / 1e3]
        })
    };
    Measure {
        title: "hit of one hot key: work",
        figures: vec![Figure::lower("instructions"), Figure::lower("allocations")],
        peer: "concurrent_cached",
        rounds: 1,
        contenders: ["stampede", "concurrent_cached", "cached by_key", "moka get_with"].map(contender).into(),
        targets: vec![
            Target::new("A4", "stampede", 0, Limit::Ratio("concurrent_cached", 0.6)),
            Target::new("A5", "stampede", 1, Limit::Value(0.0)),
        ],
    }
}

fn contender<'c, C>(name: &'static str, keys: &'c [u32], call: C) -> Contender<'c>
where
    C: AsyncFn(u64, &str) -> u64 + Sync + 'c,
{
    Contender::new(name, move || [1, 2].map(|threads| ns_per_call(threads, keys, &call)).to_vec())
}

/// How long a call takes while that many threads make them.
fn ns_per_call(threads: u32, keys: &[u32], call: &(impl AsyncFn(u64, &str) -> u64 + Sync)) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let ask = async || {
        for &key in keys {
            black_box(call(black_box(u64::from(key)), black_box(NAME)).await);
        }
    };
    let thread = || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            ask().await; // from here on, all is stored
            barrier.wait();
            let start = Instant::now();
            ask().await;
            start.elapsed()
        })
    };
    let times = thread::scope(|scope| {
        let threads = (0..threads).map(|_| scope.spawn(thread)).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().expect("a thread's time").as_secs_f64()).sum::<f64>()
    });
    times * 1e9 / f64::from(threads) / keys.len() as f64
}
