//! What the soak did, as a table.

use std::sync::Arc;
use std::time::Duration;

use stampede::Stats;

use crate::arena::{Arena, Kind};
use crate::ledger::Count;
use crate::log::Log;

/// A figure of a store's, and what it is called.
type Row = (&'static str, fn(&Stats) -> u64);

/// Prints it all: what was done by the soak's own count, and what the stores say.
pub(crate) fn print(arenas: &[Arc<Arena>], took: Duration, (outages, storms): (u64, u64), panics: u64, log: &Log) {
    print!("\n{:<34}", "done");
    for arena in arenas {
        print!("{:>12}", format!("{:?}", arena.kind).to_lowercase());
    }
    println!("{:>12}", "total");
    for (count, name) in Count::ALL {
        line(name, arenas.iter().map(|arena| arena.ledger.get(count)));
    }
    println!("\nthe stores say");
    let stats: Vec<Stats> = arenas.iter().map(|arena| arena.store.stats()).collect();
    let figures: [Row; 15] = [
        ("calls: fresh", |stats| stats.calls.fresh),
        ("  stale", |stats| stats.calls.stale),
        ("  miss", |stats| stats.calls.miss),
        ("  coalesced", |stats| stats.calls.coalesced),
        ("  error", |stats| stats.calls.error),
        ("  bypass", |stats| stats.calls.bypass),
        ("runs: ok", |stats| stats.runs.ok),
        ("  error", |stats| stats.runs.error),
        ("  panic", |stats| stats.runs.panic),
        ("  timeout", |stats| stats.runs.timeout),
        ("  cancelled", |stats| stats.runs.cancelled),
        ("  no_cache", |stats| stats.runs.no_cache),
        ("runs saved", Stats::runs_saved),
        ("entries at the end", |stats| stats.entries),
        ("left under way", |stats| stats.in_flight + stats.waiting),
    ];
    for (name, figure) in figures {
        line(name, stats.iter().map(figure));
    }
    line("entries at most", arenas.iter().map(|arena| arena.max_entries));
    println!("\nthe library logs");
    for (text, times) in log.lines() {
        println!("  {text:<58}{times:>12}");
    }
    println!("\n{outages} outages, {storms} storms, {panics} bodies panicked, in {:.1} s", took.as_secs_f64());
    let slowest = arenas.iter().map(|arena| arena.ledger.slowest()).max().unwrap_or_default();
    println!("slowest call: {slowest:?}");
    for arena in arenas.iter().filter(|arena| arena.kind == Kind::Quiet) {
        let (retries, soonest) = arena.quiet.retries();
        println!("{retries} runs after failed ones, the soonest after {soonest:.3} of `retry_after`");
    }
    println!();
}

fn line(name: &str, figures: impl Iterator<Item = u64>) {
    let mut total = 0;
    print!("{name:<34}");
    for figure in figures {
        print!("{figure:>12}");
        total += figure;
    }
    println!("{total:>12}");
}
