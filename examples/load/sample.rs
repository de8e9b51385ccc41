//! What is known at one moment: what the terminal, the page and `--json` show. One each 250 ms, and the last at the end.

use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: f64,
    pub(crate) phase: Current,
    /// Of the phases that have ended, in their order.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) rate: Rate,
    /// In the last interval, those of the phases included.
    pub(crate) calls_per_s: f64,
    pub(crate) runs_per_s: f64,
    pub(crate) totals: Totals,
    pub(crate) now: Now,
    /// Of the sustained load, in the last interval.
    pub(crate) latency_s: Latency,
    /// What the process has in memory; 0 where that is not known.
    pub(crate) memory_bytes: u64,
    pub(crate) done: bool,
    /// At the end: whether all claims held.
    pub(crate) held: Option<bool>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Current {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) of: usize,
    pub(crate) name: &'static str,
    pub(crate) claim: String,
    /// From 0 to 1.
    pub(crate) progress: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) claim: String,
    pub(crate) held: bool,
    pub(crate) measured: String,
}

/// The sustained load, in requests.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Rate {
    pub(crate) asked: u32,
    /// Per second, in the last interval.
    pub(crate) achieved: f64,
    /// Sent later than due, since the start.
    pub(crate) late: u64,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) calls: u64,
    pub(crate) runs: u64,
    pub(crate) saved: u64,
    pub(crate) hits: u64,
    pub(crate) stale: u64,
    pub(crate) coalesced: u64,
    pub(crate) errors: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Now {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) entries: u64,
    /// `closed`, `half_open` or `open`.
    pub(crate) breaker: &'static str,
    /// `none`, `up` or `down`.
    pub(crate) tier: &'static str,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}
