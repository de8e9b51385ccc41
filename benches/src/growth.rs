//! Growth: what size does to a hit, next to what it does to a hash map, and what their number does to those who wait.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use stampede::Store;
use tokio::runtime::Builder;

use crate::Effort;
use crate::contenders::{NAME, coalesce_inline};
use crate::harness::{Contender, Figure, Limit, Measure, Target};
use crate::keys::Random;
use crate::waiters;

const CALLS: usize = 300_000;
const FEW: u32 = 1_000;

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let many = if effort.quick { 1_000_000 } else { 10_000_000 };
    let title =
        if effort.quick { "growth: hits of any of 1 000 000 keys" } else { "growth: hits of any of 10 000 000 keys" };
    vec![
        Measure {
            title,
            figures: vec![Figure::lower("ns of 1 000"), Figure::lower("ns of all"), Figure::lower("growth")],
            peer: "bare hash map",
            rounds: effort.rounds,
            contenders: vec![stampede(many), bare(many)],
            // A million numbers in a bare map are in a cache of the processor's yet, and a million values are not.
            targets: if effort.quick {
                Vec::new()
            } else {
                vec![Target::new("F1", "stampede", 2, Limit::Ratio("bare hash map", 1.5))]
            },
        },
        Measure {
            title: "growth: callers of one missing key",
            figures: vec![Figure::lower("ns of 10"), Figure::lower("ns of many"), Figure::lower("growth")],
            peer: "stampede",
            rounds: effort.rounds,
            contenders: vec![waiters::growth("stampede", if effort.quick { 100_000 } else { 1_000_000 })],
            targets: vec![Target::new("F1", "stampede", 2, Limit::Value(1.3))],
        },
    ]
}

fn grown([few, many]: [f64; 2]) -> Vec<f64> {
    vec![few, many, many / few]
}

/// Any keys below this.
fn keys(below: u32) -> impl Iterator<Item = u64> {
    let mut random = Random(1);
    (0..CALLS).map(move |_| u64::from(random.below(below)))
}

fn stampede(many: u32) -> Contender<'static> {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let stores = OnceCell::new();
    Contender::new("stampede", move || {
        let full = |entries: u32| {
            let store = Store::builder().max_entries(u64::from(entries) * 2).build();
            runtime.block_on(store.scope(async {
                for id in 0..entries {
                    coalesce_inline(id.into(), NAME).await;
                }
            }));
            (entries, store)
        };
        grown(stores.get_or_init(|| [FEW, many].map(full)).each_ref().map(|(entries, store)| {
            runtime.block_on(store.scope(async {
                let start = Instant::now();
                for id in keys(*entries) {
                    black_box(coalesce_inline(id, NAME).await);
                }
                start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
            }))
        }))
    })
}

fn bare(many: u32) -> Contender<'static> {
    let maps = [FEW, many].map(|entries| (0..u64::from(entries)).map(|id| (id, id)).collect::<HashMap<_, _>>());
    Contender::new("bare hash map", move || {
        grown(maps.each_ref().map(|map| {
            let start = Instant::now();
            for id in keys(u32::try_from(map.len()).expect("as many as were put in")) {
                black_box(map.get(&id));
            }
            start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
        }))
    })
}
