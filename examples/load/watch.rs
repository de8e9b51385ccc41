//! Looks at everything, four times a second.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::callers::lock;
use crate::lab::Lab;
use crate::phases::Phase;
use crate::sample::{Current, Latency, Now, Rate, Sample, Totals, Verdict};

pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// What has been found so far: written by the story, read by the watch.
pub(crate) type Board = Arc<Mutex<Vec<Verdict>>>;

pub(crate) struct Watch {
    lab: Arc<Lab>,
    phases: Arc<[Phase]>,
    board: Board,
    started: Instant,
    before: Counts,
}

/// What rates are made of.
#[derive(Clone, Copy)]
struct Counts {
    at: Instant,
    calls: u64,
    runs: u64,
    answered: u64,
}

impl Watch {
    pub(crate) fn new(lab: &Arc<Lab>, phases: &Arc<[Phase]>, board: &Board) -> Self {
        let now = Instant::now();
        let before = Counts { at: now, calls: 0, runs: 0, answered: 0 };
        let (lab, phases, board) = (Arc::clone(lab), Arc::clone(phases), Arc::clone(board));
        Self { lab, phases, board, started: now, before }
    }

    /// How it is now; `held` at the end.
    pub(crate) fn look(&mut self, held: Option<bool>) -> Sample {
        let lab = &self.lab;
        let (ours, theirs) = (lab.store.stats(), lab.other.store.stats());
        let mut totals = Totals::default();
        for stats in [ours, theirs] {
            totals.calls += stats.calls.total();
            totals.runs += stats.runs.total();
            totals.saved += stats.runs_saved();
            totals.hits += stats.calls.fresh;
            totals.stale += stats.calls.stale;
            totals.coalesced += stats.calls.coalesced;
            totals.errors += stats.calls.error;
        }
        let now = Counts { at: Instant::now(), calls: totals.calls, runs: totals.runs, answered: lab.load.answered() };
        let before = std::mem::replace(&mut self.before, now);
        let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let rate = |count: u64| count as f64 / seconds;
        let number = lab.phase().max(1);
        let phase = &self.phases[number - 1];
        Sample {
            t: self.started.elapsed().as_secs_f64(),
            phase: Current {
                number,
                of: self.phases.len(),
                name: phase.name,
                claim: phase.claim.clone(),
                progress: lab.progress(),
            },
            verdicts: lock(&self.board).clone(),
            rate: Rate { asked: lab.load.rate, achieved: rate(now.answered - before.answered), late: lab.load.late() },
            calls_per_s: rate(now.calls.saturating_sub(before.calls)),
            runs_per_s: rate(now.runs.saturating_sub(before.runs)),
            totals,
            now: Now {
                waiting: ours.waiting + theirs.waiting,
                running: ours.in_flight + theirs.in_flight,
                entries: ours.entries,
                breaker: lab.breakers.latest(),
                tier: if ours.tier.outages == ours.tier.recoveries { "up" } else { "down" },
            },
            latency_s: Latency::of(&lab.load.latest()),
            memory_bytes: memory(),
            done: held.is_some(),
            held,
        }
    }
}

impl Latency {
    /// Of times in nanoseconds.
    pub(crate) fn of(times: &Histogram<u32>) -> Self {
        let seconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
        let at = |quantile: f64| seconds(times.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: seconds(times.max()) }
    }
}

/// What this process has in memory, in bytes: 0 where that is not known.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
