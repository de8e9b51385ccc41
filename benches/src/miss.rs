//! A miss: what a call costs that has to run a body of next to nothing, and stores its result.

use std::hint::black_box;
use std::time::Instant;

use stampede::Store;
use tokio::runtime::Builder;

use crate::allocations;
use crate::contenders::{
    BareMoka, Moka, NAME, cached_by_key, coalesce_detached, coalesce_inline, concurrent_cached, forget,
};
use crate::harness::{Contender, Figure, Limit, Measure, Target};
use crate::{CAPACITY, Effort};

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let misses = if effort.quick { 100_000 } else { 1_000_000 };
    vec![
        Measure {
            title: if effort.quick { "miss: 100 000 distinct keys" } else { "miss: 1 000 000 distinct keys" },
            figures: vec![Figure::lower("ns per call")],
            peer: "concurrent_cached",
            rounds: effort.rounds,
            contenders: vec![
                contender("stampede", async move || {
                    let store = Store::builder().max_entries(CAPACITY).build();
                    store.scope(ns_per_call(misses, coalesce_detached)).await
                }),
                contender("stampede inline", async move || {
                    let store = Store::builder().max_entries(CAPACITY).build();
                    store.scope(ns_per_call(misses, coalesce_inline)).await
                }),
                contender("concurrent_cached", async move || ns_per_call(misses, concurrent_cached).await),
                contender("cached by_key", async move || ns_per_call(misses, cached_by_key).await),
                contender("moka get_with", async move || {
                    let moka = Moka::new();
                    ns_per_call(misses, async |id, name: &str| moka.get_with(id, name).await).await
                }),
                contender("moka try_get_with", async move || {
                    let moka = Moka::new();
                    ns_per_call(misses, async |id, name: &str| moka.try_get_with(id, name).await).await
                }),
                contender("bare moka insert", async move || {
                    let bare = BareMoka::new();
                    ns_per_call(misses, async |id, _: &str| bare.get(id)).await
                }),
            ],
            targets: vec![Target::new("C1", "stampede inline", 0, Limit::Ratio("moka get_with", 1.2))],
        },
        room(misses),
    ]
}

/// What an entry takes of the heap.
fn room(entries: u32) -> Measure<'static> {
    let contender = |name: &'static str, fill: fn(u32) -> i64| {
        Contender::new(name, move || vec![fill(entries) as f64 / f64::from(entries)])
    };
    Measure {
        title: "room: bytes of heap, 8 of them the value",
        figures: vec![Figure::lower("per entry")],
        peer: "moka get_with",
        rounds: 1,
        contenders: vec![
            contender("stampede", |entries| {
                live(async || {
                    let store = Store::builder().max_entries(CAPACITY).build();
                    store.scope(ns_per_call(entries, coalesce_inline)).await;
                    store
                })
            }),
            contender("moka get_with", |entries| {
                live(async || {
                    let moka = Moka::new();
                    ns_per_call(entries, async |id, name: &str| moka.get_with(id, name).await).await;
                    moka
                })
            }),
        ],
        targets: vec![Target::new("C2", "stampede", 0, Limit::Ratio("moka get_with", 1.3))],
    }
}

/// How much is in use when a cache has been filled that was not before.
fn live<T>(fill: impl AsyncFnOnce() -> T) -> i64 {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(forget());
    let mut filled = None;
    let live = allocations::count(|| filled = Some(runtime.block_on(fill()))).live;
    drop(filled);
    runtime.block_on(forget());
    live
}

/// Each round begins with an empty cache.
fn contender<'c>(name: &'static str, round: impl AsyncFn() -> f64 + 'c) -> Contender<'c> {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    Contender::new(name, move || {
        runtime.block_on(async {
            forget().await;
            let figure = round().await;
            forget().await;
            vec![figure]
        })
    })
}

async fn ns_per_call(calls: u32, call: impl AsyncFn(u64, &str) -> u64) -> f64 {
    let start = Instant::now();
    for id in 0..calls {
        black_box(call(u64::from(id), NAME).await);
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}
