//! What came of it, side by side.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::callers::{Desk, histogram};
use crate::sample::Latency;
use crate::watch::memory;

/// The calls of a phase, or of the load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    calls: u64,
    runs: u64,
    saved: u64,
    latency_s: Latency,
    /// Errors that nobody meant, and those that the phase was about.
    errors: u64,
    errors_on_purpose: u64,
    /// At its end.
    memory_bytes: u64,
    #[serde(skip)]
    times: Histogram<u32>,
}

impl Row {
    pub(crate) fn of(name: &'static str, desks: &[Desk]) -> Self {
        let mut times = histogram();
        let (mut calls, mut runs, mut errors, mut errors_on_purpose) = (0, 0, 0, 0);
        for desk in desks {
            calls += desk.calls();
            runs += desk.origin().queries();
            errors += desk.errors().1;
            errors_on_purpose += desk.errors().0;
            let _ = times.add(desk.times()); // they have the same bounds
        }
        let (saved, latency_s) = (calls.saturating_sub(runs), Latency::of(&times));
        Self { name, calls, runs, saved, latency_s, errors, errors_on_purpose, memory_bytes: memory(), times }
    }

    /// The sum of all others; of memory, the most.
    pub(crate) fn sum(rows: &[Self]) -> Self {
        let mut times = histogram();
        for row in rows {
            let _ = times.add(&row.times);
        }
        let sum = |of: fn(&Self) -> u64| rows.iter().map(of).sum();
        Self {
            name: "all",
            calls: sum(|row| row.calls),
            runs: sum(|row| row.runs),
            saved: sum(|row| row.saved),
            latency_s: Latency::of(&times),
            errors: sum(|row| row.errors),
            errors_on_purpose: sum(|row| row.errors_on_purpose),
            memory_bytes: rows.iter().map(|row| row.memory_bytes).max().unwrap_or_default(),
            times,
        }
    }
}

pub(crate) fn table(rows: &[Row]) {
    const NAME: usize = 30;
    let name = |name: &str| name.chars().take(NAME - 1).collect::<String>();
    println!(
        "  {:<NAME$}{:>8}{:>7}{:>8}{:>9}{:>9}{:>9}{:>9}{:>7}{:>8}{:>5}",
        "", "calls", "runs", "saved", "p50", "p99", "p99.9", "max", "errors", "(meant)", "MiB"
    );
    for row in rows {
        let Row { calls, runs, saved, errors, errors_on_purpose, latency_s, .. } = row;
        let Latency { p50, p99, p999, max } = *latency_s;
        let [p50, p99, p999, max] = [p50, p99, p999, max].map(|time| short(Duration::from_secs_f64(time)));
        println!(
            "  {:<NAME$}{calls:>8}{runs:>7}{saved:>8}{p50:>9}{p99:>9}{p999:>9}{max:>9}{errors:>7}{:>8}{:>5}",
            name(row.name),
            format!("({errors_on_purpose})"),
            row.memory_bytes >> 20
        );
    }
    println!(
        "\n  Times of the load count from when a request was due; those of phases hold what the phases hold up.\n"
    );
}

fn short(time: Duration) -> String {
    format!("{time:.1?}")
}
