//! What a store tells the world: to metrics, to tracing, and to the hook. One function for each thing that happens.
//!
//! 1. Each is called where the thing is counted for [`Stats`](crate::Stats), so that all sums agree.
//! 2. The hook is the user's code. It is called outside all locks, and if it panics, that goes no further. A recorder is
//!    told under locks, too: it is trusted neither to call in nor to panic. Should it panic, what is stored stays whole.
//! 3. Without the feature `metrics`, what only metrics have is nothing: no field, no branch.

#![allow(clippy::unused_self, reason = "some have nobody to tell, and all are called alike")]

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::event::Event;
use crate::memory::AnyStored;
use crate::policy::{BreakerState, after};
use crate::run::Run;
use crate::space::Space;
use crate::stats::{Outcome, RunResult};
use crate::sync::Mutex;

pub(crate) type Hook = Box<dyn Fn(&Event) + Send + Sync>;

/// Whom a store tells what happens.
pub(crate) struct Telemetry {
    hook: Option<AssertUnwindSafe<Hook>>,
    /// Since when waits are measured.
    start: Instant,
    /// Until when a cache's hidden failures are not warned of, and how many there were.
    quiet: Mutex<HashMap<&'static str, (Instant, u64)>>,
    #[cfg(feature = "metrics")]
    meters: crate::meters::Meters,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}

/// When a call began to wait: the microseconds since its store was built, cut short; zero is never. A call is kept by each
/// of those who wait, so this is small, and waits of more than an hour are told wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Since(u32);

/// Something voided by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Voiding {
    Invalidate,
    Expire,
    Tag,
    Clear,
}

/// By whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Call,
    News,
}

impl Telemetry {
    pub(crate) fn new(hook: Option<Hook>) -> Self {
        Self {
            hook: hook.map(AssertUnwindSafe),
            start: Instant::now(),
            quiet: Mutex::default(),
            #[cfg(feature = "metrics")]
            meters: crate::meters::Meters::default(),
        }
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        let Some(hook) = &self.hook else { return };
        let event = event();
        if catch_unwind(AssertUnwindSafe(|| hook(&event))).is_err() {
            tracing::error!("the hook for events panicked");
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "see `Since`")]
    fn micros(&self) -> u32 {
        (Instant::now().saturating_duration_since(self.start).as_micros() as u32).wrapping_add(1)
    }

    /// Whether anybody asks how long calls wait.
    fn times_waits(&self) -> bool {
        cfg!(feature = "metrics") || self.hook.is_some() || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Whether anybody asks how long runs take.
    pub(crate) fn times_runs(&self) -> bool {
        cfg!(feature = "metrics") || self.hook.is_some()
    }

    // ===== calls =====

    /// A call begins to wait.
    pub(crate) fn waits(&self, space: Space, since: &mut Since) {
        let _ = space;
        if since.0 == 0 && self.times_waits() {
            since.0 = self.micros().max(1);
            #[cfg(feature = "metrics")]
            if let Some(meters) = self.meters.of(space) {
                meters.waiting.increment(1);
            }
        }
    }

    /// A call is over.
    #[inline]
    pub(crate) fn call_ended(&self, space: Space, outcome: Outcome, since: Since) {
        #[cfg(feature = "metrics")]
        if let Some(meters) = self.meters.of(space) {
            meters.calls[outcome as usize].increment(1);
        }
        if since.0 != 0 {
            self.waited(space, outcome, since);
        }
    }

    #[cold]
    fn waited(&self, space: Space, outcome: Outcome, since: Since) {
        let time = Duration::from_micros(self.micros().wrapping_sub(since.0).into());
        #[cfg(feature = "metrics")]
        if let Some(meters) = self.meters.of(space) {
            meters.waiting.decrement(1);
            meters.wait_duration(outcome).record(time);
        }
        tracing::debug!(cache = space.name(), outcome = outcome.as_str(), waited = ?time, "waited for a run");
        self.tell(|| Event::Waited { cache: space.name(), outcome, time });
    }

    /// A call gets a stale answer.
    #[inline]
    pub(crate) fn stale_answer(&self, space: Space, stored: &AnyStored) {
        let _ = (space, stored);
        #[cfg(feature = "metrics")]
        if let Some(meters) = self.meters.of(space) {
            meters.stale_age().record(stored.stale_for(Instant::now()));
        }
    }

    // ===== runs =====

    /// A run is there, and is going to end.
    pub(crate) fn run_began(&self, run: &Run) {
        let _ = run;
        #[cfg(feature = "metrics")]
        if let Some(meters) = run.space().and_then(|space| self.meters.of(space)) {
            meters.in_flight.increment(1);
        }
    }

    /// It is given this span, which follows from that of the call.
    pub(crate) fn span(&self, run: &Run) -> Span {
        let trigger = run.trigger.as_str();
        let span = tracing::info_span!(parent: None, "run", cache = run.name, trigger, result = tracing::field::Empty);
        span.follows_from(Span::current());
        span
    }

    /// A run is over; with a result, if its body had begun. `counts`: it does in the statistics.
    pub(crate) fn run_ended(&self, run: &Run, result: Option<RunResult>, counts: bool) {
        #[cfg(feature = "metrics")]
        let meters = run.space().and_then(|space| self.meters.of(space));
        #[cfg(feature = "metrics")]
        if let Some(meters) = meters {
            meters.in_flight.decrement(1);
        }
        let span = run.take_span();
        let Some(result) = result else { return };
        if let Some(span) = span {
            span.record("result", result.as_str());
        }
        if !counts {
            return;
        }
        #[cfg(feature = "metrics")]
        if let Some(meters) = meters {
            meters.runs[result as usize][run.trigger as usize].increment(1);
            meters.run_duration(result).record(run.run_time());
        }
        self.tell(|| Event::RunEnded { cache: run.name, trigger: run.trigger, result, run_time: run.run_time() });
    }

    /// A run outside all flights is over.
    pub(crate) fn own_run_ended(&self, space: Space, result: RunResult) {
        let _ = (space, result);
        #[cfg(feature = "metrics")]
        if let Some(meters) = self.meters.of(space) {
            meters.runs[result as usize][crate::stats::Trigger::Miss as usize].increment(1);
        }
    }

    /// A run has failed, and no caller will hear of it: there is one warning for each window of `retry_after`.
    pub(crate) fn hidden_failure(
        &self,
        run: &Run,
        result: RunResult,
        says: Option<&str>,
        old_stays: bool,
        retry_after: Duration,
    ) {
        let now = Instant::now();
        let unsaid = {
            let mut quiet = self.quiet.lock();
            let (until, unsaid) = quiet.entry(run.name).or_insert((now, 0));
            if now < *until {
                *unsaid += 1;
                return;
            }
            *until = after(now, retry_after);
            std::mem::take(unsaid)
        };
        let (cache, result) = (run.name, result.as_str());
        if old_stays {
            tracing::warn!(cache, result, says, unsaid, "a run failed: the old value stays in use");
        } else {
            tracing::warn!(cache, result, says, unsaid, "a run failed that nobody waited for");
        }
    }

    // ===== the memory tier =====

    /// An entry is in memory. Neither this nor `left` lets a recorder's panic out: a flight may be about to end here, or moka
    /// about to go on.
    pub(crate) fn entered(&self, space: Option<Space>) {
        let _ = space;
        #[cfg(feature = "metrics")]
        contained(|| {
            if let Some(meters) = space.and_then(|space| self.meters.of(space)) {
                meters.entries.increment(1);
            }
        });
    }

    /// It is no more: replaced or voided; else this is why.
    pub(crate) fn left(&self, space: Option<Space>, reason: Option<&'static str>) {
        let _ = (space, reason);
        #[cfg(feature = "metrics")]
        contained(|| {
            let Some(meters) = space.and_then(|space| self.meters.of(space)) else { return };
            meters.entries.decrement(1);
            if let Some(reason) = reason {
                let cache = meters.cache;
                metrics::counter!(crate::metrics::EVICTIONS, "cache" => cache, "reason" => reason).increment(1);
            }
        });
    }

    /// Something is void.
    pub(crate) fn voided(&self, voiding: Voiding, by: By) {
        let _ = (voiding, by);
        #[cfg(feature = "metrics")]
        {
            let op = match voiding {
                Voiding::Invalidate => "invalidate",
                Voiding::Expire => "expire",
                Voiding::Tag => "tag",
                Voiding::Clear => "clear",
            };
            let reason = match by {
                By::Call => "call",
                By::News => "news",
            };
            metrics::counter!(crate::metrics::INVALIDATIONS, "op" => op, "reason" => reason).increment(1);
        }
    }

    // ===== breakers =====

    /// A breaker is in this state; `is_new`: it was not before.
    pub(crate) fn breaker(&self, space: Space, cache: &'static str, state: BreakerState, is_new: bool) {
        let _ = space;
        #[cfg(feature = "metrics")]
        if let Some(meters) = self.meters.of(space) {
            let breaker = meters.breaker();
            breaker.state.set(f64::from(state as u8));
            if is_new {
                breaker.transitions[state as usize].increment(1);
            }
        }
        if is_new {
            self.tell(|| Event::Breaker { cache, state });
        }
    }
}
/// Runs what may be a recorder's code. What it throws has been reported, and goes no further.
#[cfg(feature = "metrics")]
fn contained(tell: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(tell));
}
