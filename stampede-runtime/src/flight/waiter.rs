//! Those who wait for a flight: how they come, what they see, and how they leave. The invariants are those of [`super`].

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Flight, Lost, Phase, Runner};
use crate::clock::Until;
use crate::policy::after;
use crate::run::Run;
use crate::sync::{Handle, sleep, sleep_until};
use crate::wakers::Place;

/// A caller's place among those who wait for a flight. Dropping it gives up the place and nothing else.
pub(crate) struct Waiter {
    pub(crate) flight: Arc<Flight>,
    place: Option<Place>,
}

/// A place that has just been taken.
pub(crate) struct Joined {
    pub(crate) waiter: Waiter,
    /// Whether the run is within its limit, and the caller's runtime sees to it that it stays so.
    is_seen_to: bool,
}

impl Joined {
    /// The place, once the run's limit is seen to. No lock is held.
    pub(crate) fn settle_in(self, runtime: Option<&Handle>) -> Waiter {
        let Self { waiter, is_seen_to } = self;
        if !is_seen_to {
            waiter.flight.enforce_limit();
            if let Some(runtime) = runtime {
                waiter.watch(runtime);
            }
        }
        waiter
    }
}

/// What a look at a flight comes to, when it comes to anything.
pub(crate) enum Arrival {
    /// The flight has an outcome.
    Settled,
    /// The run was lost, and the next one is this caller's to start.
    TakenOver(Runner),
    /// The run was lost, and the flight is no longer current: there may be a better answer.
    Outdated,
}

impl Waiter {
    /// The first who waits: the flight of this run is not in the table yet.
    pub(crate) fn first(runner: &Runner) -> Self {
        let flight = Arc::clone(&runner.flight);
        flight.core.lock().come(&flight.flights);
        Self { flight, place: None }
    }

    /// One more who waits, on this runtime if on any, for a flight that is in the table or was just now; for one that a
    /// `fresh` call started, if that is asked for. The flight, if it is closed or void, has lost its currency, or is not such.
    pub(crate) fn join(flight: Arc<Flight>, fresh: bool, runtime: Option<&Handle>) -> Result<Joined, Arc<Flight>> {
        if fresh && !flight.fresh || flight.is_void() {
            return Err(flight);
        }
        let mut core = flight.core.lock();
        if core.phase == Phase::Closed || !core.current {
            drop(core);
            return Err(flight);
        }
        core.come(&flight.flights);
        let is_seen_to = runtime.is_none_or(|runtime| core.is_watched_by(runtime)) && !core.is_overdue();
        drop(core);
        Ok(Joined { waiter: Self { flight, place: None }, is_seen_to })
    }

    /// The run that is waited for, or was, if it is over.
    pub(crate) fn run(&self) -> Arc<Run> {
        Arc::clone(&self.flight.core.lock().run)
    }

    /// Whether the flight's run before this one reached its limit.
    pub(crate) fn follows_timeout(&self) -> bool {
        self.flight.core.lock().run.follows_timeout()
    }

    /// Sees to it that the limit of runs is kept even if whoever runs them is never polled again: in its caller's task, or
    /// on a runtime that nobody drives. Each runtime that waits has a timer of its own.
    fn watch(&self, runtime: &Handle) {
        {
            let mut core = self.flight.core.lock();
            if core.phase == Phase::Closed || core.is_watched_by(runtime) {
                return;
            }
            core.watches.push((runtime.id(), None));
        }
        let watch = runtime.spawn(watch(Arc::clone(&self.flight)));
        let mut core = self.flight.core.lock();
        match core.watches.iter_mut().find(|(id, _)| *id == runtime.id()) {
            Some((_, task)) => *task = Some(watch.abort_handle()),
            None => watch.abort(),
        }
    }

    /// Starts the next run, if the flight is vacant.
    pub(crate) fn take_over(&self) -> Option<Runner> {
        let mut core = self.flight.core.lock();
        if core.phase != Phase::Vacant {
            return None;
        }
        core.phase = Phase::Running;
        core.run = Arc::new(core.run.next());
        let deadline = after(Instant::now(), self.flight.run_limit);
        core.limit = Until::new(deadline);
        let run = Arc::clone(&core.run);
        drop(core);
        self.flight.flights.telemetry.run_began(&run);
        Some(Runner::new(Arc::clone(&self.flight), run, deadline))
    }

    /// Ready once the flight has an outcome, or is this caller's to run.
    pub(crate) fn poll_arrival(&mut self, cx: &Context<'_>) -> Poll<Arrival> {
        let Self { flight, place, .. } = &mut *self;
        if flight.outcome.get().is_some() {
            return Poll::Ready(Arrival::Settled);
        }
        let mut core = flight.core.lock();
        if flight.outcome.get().is_some() {
            return Poll::Ready(Arrival::Settled);
        }
        if core.phase == Phase::Vacant {
            let current = core.current;
            drop(core);
            if !current {
                return Poll::Ready(Arrival::Outdated);
            }
            if let Some(runner) = self.take_over() {
                return Poll::Ready(Arrival::TakenOver(runner));
            }
            // Somebody else was quicker.
            return self.poll_arrival(cx);
        }
        let replaced = core.wakers.register(place, cx.waker());
        drop(core);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let flight = &self.flight;
        if flight.outcome.get().is_some() {
            return; // nobody waits any more
        }
        let mut core = flight.core.lock();
        if flight.outcome.get().is_some() {
            return;
        }
        let waker = self.place.take().and_then(|place| core.wakers.leave(place));
        let left = core.waiters - 1;
        core.set_waiters(left);
        flight.flights.waiters_left(1);
        // What a tag has voided would be noticed when its run ends; nobody needs to wait for that.
        if left == 0 && flight.is_void() {
            core.current = false;
        }
        flight.close_if_useless(core);
        drop(waker);
    }
}

/// Gives up each run of a flight when it reaches its limit.
async fn watch(flight: Arc<Flight>) {
    loop {
        let (phase, run, deadline) = {
            let core = flight.core.lock();
            (core.phase, Arc::clone(&core.run), core.limit.then())
        };
        match phase {
            Phase::Closed => return,
            Phase::Running if deadline <= Instant::now() => flight.lose(&run, Lost::TimedOut),
            Phase::Running => sleep_until(deadline).await,
            // The next run is not older than this moment.
            Phase::Vacant => sleep(flight.run_limit).await,
        }
    }
}
