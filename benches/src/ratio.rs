//! Which values are kept: how many calls are hits where there is room for some of the keys only.

use std::collections::{BTreeMap, HashMap};

use stampede::Store;
use tokio::runtime::Builder;

use crate::Effort;
use crate::contenders::{NAME, coalesce_inline};
use crate::harness::{Contender, Figure, Limit, Measure, Target};
use crate::keys::{Random, zipf};

/// How many values there is room for.
const ROOM: u64 = 2_000;
const KEYS: u32 = 50_000;

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let calls = if effort.quick { 100_000 } else { 1_000_000 };
    let traces = vec![
        ("Zipf (0.7)", zipf(KEYS, 0.7, calls)),
        ("Zipf (0.9)", zipf(KEYS, 0.9, calls)),
        ("Zipf (1.1)", zipf(KEYS, 1.1, calls)),
        ("loop and scan", loop_and_scan(calls)),
        ("shifting", shifting(calls)),
    ];
    let traces: &'static [(&'static str, Vec<u32>)] = traces.leak();
    let contender = |name, hits: fn(&[u32]) -> usize| {
        let percent = move |(_, keys): &(_, Vec<u32>)| 100.0 * hits(keys) as f64 / keys.len() as f64;
        Contender::new(name, move || traces.iter().map(percent).collect())
    };
    vec![Measure {
        title: "hit ratio, room for 2000: percent",
        figures: traces.iter().map(|(name, _)| Figure::higher(name)).collect(),
        peer: "moka",
        // The seeds of hashes differ. They matter the less the longer a trace is.
        rounds: if effort.quick { 3 } else { 1 },
        contenders: vec![contender("stampede", stampede), contender("moka", moka), contender("LRU", lru)],
        targets: (0..traces.len())
            .map(|figure| Target::new("A6", "stampede", figure, Limit::Within("moka", 1.0)))
            .collect(),
    }]
}

/// Keys that come round again and again, somewhat more than there is room for, and now and then a crowd that never does.
fn loop_and_scan(calls: usize) -> Vec<u32> {
    let (round, scan) = (2_500, 1_000);
    let mut news = KEYS;
    let key = |n: usize| {
        let n = u32::try_from(n).expect("a few million");
        if n % (2 * round + scan) < 2 * round {
            n % (2 * round + scan) % round
        } else {
            news += 1;
            news
        }
    };
    (0..calls).map(key).collect()
}

/// Nine calls of ten are for a thousand keys, and every twentieth of the time for others.
fn shifting(calls: usize) -> Vec<u32> {
    let mut random = Random(2);
    let key = |n: usize| {
        let hot = u32::try_from(n * 20 / calls).expect("less than 20") * 1_000;
        if random.below(10) > 0 { hot + random.below(1_000) } else { KEYS + random.below(KEYS) }
    };
    (0..calls).map(key).collect()
}

fn stampede(keys: &[u32]) -> usize {
    let store = Store::builder().max_entries(ROOM).build();
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(store.scope(async {
        for key in keys {
            coalesce_inline((*key).into(), NAME).await;
        }
    }));
    usize::try_from(store.stats().calls.fresh).expect("as many as keys")
}

fn moka(keys: &[u32]) -> usize {
    let moka = moka::sync::Cache::new(ROOM);
    let is_hit = |key: &&u32| {
        let is_hit = moka.get(*key).is_some();
        if !is_hit {
            moka.insert(**key, ());
        }
        is_hit
    };
    keys.iter().filter(is_hit).count()
}

fn lru(keys: &[u32]) -> usize {
    let (mut last, mut order) = (HashMap::new(), BTreeMap::new());
    let is_hit = |(now, key): &(usize, &u32)| {
        let before = last.insert(**key, *now);
        if let Some(before) = before {
            order.remove(&before);
        }
        order.insert(*now, **key);
        if order.len() as u64 > ROOM
            && let Some((_, oldest)) = order.pop_first()
        {
            last.remove(&oldest);
        }
        before.is_some()
    };
    keys.iter().enumerate().filter(is_hit).count()
}
