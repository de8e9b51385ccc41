//! A miss: what a call costs that has to run a body of next to nothing, and stores its result.

use std::hint::black_box;
use std::time::Instant;

use stampede::Store;
use tokio::runtime::Builder;

use crate::contenders::{
    BareMoka, Moka, NAME, cached_by_key, coalesce_detached, coalesce_inline, concurrent_cached, forget,
};
use crate::harness::{Contender, Figure, Measure};
use crate::{CAPACITY, Effort};

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let misses = if effort.quick { 100_000 } else { 1_000_000 };
    vec![Measure {
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
    }]
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
