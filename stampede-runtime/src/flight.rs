//! Flights: one current run per key, shared by everyone who asks for the key meanwhile.
//!
//! A flight is those who wait for a key, and the run that they wait for:
//!
//! ```text
//!           lead             finish: a value, an error, a panic;
//!                            or of no use: nobody waits, nothing is stored
//!         ────────▶  running  ───────────────────────────────────────────▶  closed
//!                     │    ▲                                                  ▲
//!   the run is lost:  │    │  one of those who wait                           │
//!   dropped, declined │    │  starts the next run                             │
//!   or over its limit ▼    │                                                  │
//!                     vacant ─────────────────────────────────────────────────┘
//!                                             nobody waits
//! ```
//!
//! Invariants; `flight/model.rs` checks them under all schedules of a few parties with a few pre-emptions, and random ones
//! of more:
//!
//! 1. The table holds at most one flight per key: the current one. Only a current flight stores its value, and it does so
//!    under the lock of its key's shard, in the step that takes it out of the table.
//! 2. Whoever takes a flight out of the table (`supersede`, `supersede_before`, a `fresh` call) ends its currency for good:
//!    nobody joins it any more, and it stores nothing. Those who wait still get its outcome. The flight is told so next,
//!    under its own lock. Whoever has found it in the table before and joins it in between comes as if before. A flight
//!    whose tags are voided has lost its currency by that, though nobody tells it: whoever looks for it next, to join it or
//!    to store its value, finds that out and takes it out of the table. What bears its tags from before is void in the
//!    store as well, so it does no harm if they are voided while it stores.
//! 3. A flight has at most one run, known by its `Arc<Run>`. Only the [`Runner`] of that very run finishes it; a runner
//!    whose run was taken from it changes nothing.
//! 4. A closed flight stays closed. Who closed it, and no one else, settles its outcome. Nobody joins a closed flight:
//!    whoever finds one in the table replaces it.
//! 5. The outcome is set where the wakers are taken, and a waiter looks for it under the lock that it registers under; a
//!    flight that becomes vacant wakes everyone who waits, and the first to look takes over. So no waiter sleeps through
//!    either, and those who wait for a lost run wait for one next run, however quickly that ends.
//! 6. A run ends, or is lost, by the drop of its runner at the latest. A flight that is neither running nor waited for is
//!    closed in the same step, and whoever closes it takes it out of the table next. No code path can leave a key taken.
//! 7. A flight that nobody waits for and that has lost its currency, or whose value is not going to be stored, is closed and
//!    its task aborted: when the last waiter leaves, or when it loses its currency.
//! 8. Locks are taken in the order shard, flight, run; that of the tags or of a breaker comes last, alone. No code of the
//!    user runs under any: keys are compared as bytes, values and errors are cloned and dropped outside (see
//!    [`crate::aside`]).
//! 9. `in_flight` and the table have forgotten a run before those who waited for it are woken.
//! 10. The outcome is set under the lock, and in the same step all who wait are taken off the count. From then on, to leave
//!     is nothing; until then, it is to take oneself off, under the lock.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::News;
use crate::clock::Until;
use crate::flights::{Flights, Request};
use crate::key::Key;
use crate::memory::AnyStored;
use crate::policy::{Report, after};
use crate::run::Run;
use crate::settled::AnyError;
use crate::stats::RunResult;
use crate::sync::{AbortHandle, Handle, Mutex, MutexGuard, OnceCell, RuntimeFlavor, RuntimeId};
use crate::tags::Bearing;
use crate::wakers::Wakers;

#[cfg(all(test, stampede_model))]
mod model;
mod waiter;

#[cfg(all(test, stampede_model))]
pub(crate) use self::model::Bounded;
pub(crate) use self::waiter::{Arrival, Waiter};

/// What a flight came to.
pub(crate) enum Outcome {
    /// A value, in the store as well if it was to be stored; or an error that was.
    Stored(Arc<AnyStored>),
    /// What the remote tier had, without a run: those who wait look at it as they would if the store had had it.
    Found(Arc<AnyStored>),
    /// An error.
    Error(AnyError),
    /// A panic: what was thrown, and what it said.
    Panic(Mutex<Option<Box<dyn Any + Send>>>, Arc<str>),
}

/// Why a run had no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was dropped: by its runtime, with its caller, or because nobody could use it.
    Dropped,
    /// It reached its limit.
    TimedOut,
    /// Whoever was to start it did without.
    Declined,
}

/// A run and those who wait for it.
pub(crate) struct Flight {
    /// Whether a `fresh` call started it.
    pub(crate) fresh: bool,
    /// The epoch of the store in which it began.
    pub(crate) epoch: u64,
    /// The tags that void it.
    pub(crate) bearing: Option<Box<Bearing>>,
    counts: bool,
    run_limit: Duration,
    retry_after: Duration,
    pub(crate) key: Key,
    core: Mutex<Core>,
    outcome: OnceCell<Outcome>,
    /// Whose it is. No circle stays: what is in their table is taken out by those who run it or wait for it.
    flights: Arc<Flights>,
}

/// What changes in the life of a flight.
struct Core {
    phase: Phase,
    /// The run, or the last one there was.
    run: Arc<Run>,
    /// Until when it may go on.
    limit: Until,
    /// Whether the flight may store, and be joined.
    current: bool,
    /// Whether the value is going to be stored if the flight stays current and the body does not say otherwise.
    stores: bool,
    waiters: usize,
    wakers: Wakers,
    /// The task that the run is, unless it runs in its caller's.
    task: Option<AbortHandle>,
    /// The runtimes that see to the run's limit, and the tasks that do so.
    watches: Vec<(RuntimeId, Option<AbortHandle>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Vacant,
    Closed,
}

impl Core {
    /// One more waits.
    fn come(&mut self, flights: &Flights) {
        self.set_waiters(self.waiters + 1);
        flights.waiter_came();
    }

    fn set_waiters(&mut self, waiters: usize) {
        self.waiters = waiters;
        self.run.set_waiters(waiters);
    }

    /// Whether the flight is of use to anybody.
    fn is_useful(&self) -> bool {
        let may_store = self.phase == Phase::Running && self.current;
        self.waiters > 0 || may_store && self.run.will_store(self.stores)
    }

    /// Whether there is a run, and it should be over by now.
    fn is_overdue(&self) -> bool {
        self.phase == Phase::Running && !self.limit.is_to_come()
    }

    /// Whether this runtime sees to the run's limit.
    fn is_watched_by(&self, runtime: &Handle) -> bool {
        self.watches.iter().any(|(id, _)| *id == runtime.id())
    }

    /// Ends the run. What is to be done about it outside the lock: abort the task, count the run.
    fn end_run(&mut self, next: Phase) -> Option<AbortHandle> {
        self.phase = next;
        self.run.end();
        self.task.take()
    }
}

impl Flight {
    /// Whether one of its tags was invalidated since it began.
    pub(crate) fn is_void(&self) -> bool {
        self.bearing.as_ref().is_some_and(|bearing| self.flights.tags.voids(bearing))
    }

    /// Whether there is a run within its limit.
    pub(crate) fn is_under_way(&self) -> bool {
        let core = self.core.lock();
        core.phase == Phase::Running && !core.is_overdue()
    }

    /// The flight has left the table: it has lost its currency.
    pub(crate) fn superseded(&self) {
        let mut core = self.core.lock();
        core.current = false;
        self.close_if_useless(core);
    }

    /// A flight with a run that has just begun.
    pub(crate) fn lead(flights: &Arc<Flights>, request: Request) -> Runner {
        let run = Arc::new(request.run);
        let deadline = after(Instant::now(), request.run_limit);
        let flight = Arc::new(Self {
            fresh: request.fresh,
            epoch: request.epoch,
            bearing: request.bearing,
            counts: request.counts,
            run_limit: request.run_limit,
            retry_after: request.retry_after,
            key: Arc::clone(&run.key),
            core: Mutex::new(Core {
                phase: Phase::Running,
                run: Arc::clone(&run),
                limit: Until::new(deadline),
                current: true,
                stores: request.stores,
                waiters: 0,
                wakers: Wakers::default(),
                task: None,
                watches: Vec::new(),
            }),
            outcome: OnceCell::new(),
            flights: Arc::clone(flights),
        });
        Runner::new(flight, run, deadline)
    }

    /// What the flight came to, once it has.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Says which task a run is, so that it can be aborted when nobody has a use for it.
    pub(crate) fn runs_as(&self, run: &Arc<Run>, task: AbortHandle, runtime: &Handle) {
        let mut core = self.core.lock();
        if core.phase == Phase::Running && Arc::ptr_eq(&core.run, run) {
            core.task = Some(task);
            // Whoever waits on the same thread is not there to see a limit that the run itself does not see.
            if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
                core.watches.push((runtime.id(), None));
            }
        } else {
            drop(core);
            task.abort();
        }
    }

    /// Gives the run up if it should have been over by now. Says whether it should.
    pub(crate) fn enforce_limit(&self) -> bool {
        let overdue = {
            let core = self.core.lock();
            core.is_overdue().then(|| Arc::clone(&core.run))
        };
        if let Some(run) = &overdue {
            self.lose(run, Lost::TimedOut);
        }
        overdue.is_some()
    }

    /// The run is lost, if it is (still) this flight's: those who wait are to start the next one.
    fn lose(&self, run: &Arc<Run>, lost: Lost) {
        let flights = &self.flights;
        let mut old_stays = false;
        if lost == Lost::TimedOut {
            let locked = flights.lock(&self.key);
            if locked.is_current(self) && !run.is_over() {
                old_stays = flights.limit_reached(&self.key, self.retry_after);
            }
        }
        let mut core = self.core.lock();
        if core.phase != Phase::Running || !Arc::ptr_eq(&core.run, run) {
            return;
        }
        if lost == Lost::TimedOut {
            run.time_out();
        }
        let report = if lost == Lost::TimedOut { Report::Failure } else { Report::Lost };
        let news = run.settle(report);
        let task = core.end_run(Phase::Vacant);
        let wakers = core.wakers.all();
        let result = match lost {
            Lost::Dropped => Some(RunResult::Cancelled),
            Lost::TimedOut => Some(RunResult::Timeout),
            Lost::Declined => None,
        };
        let result = result.filter(|_| !run.is_approaching());
        self.run_ended(result);
        self.close_if_useless(core);
        flights.telemetry.run_ended(run, result, self.counts);
        wakers.into_iter().for_each(Waker::wake);
        if let Some(task) = task {
            task.abort();
        }
        news.into_iter().for_each(News::tell);
        if old_stays {
            let says = Some("it reached its limit");
            flights.telemetry.hidden_failure(run, RunResult::Timeout, says, true, self.retry_after);
        }
    }

    /// Closes the flight, if it is open and of no use to anybody.
    fn close_if_useless(&self, mut core: MutexGuard<'_, Core>) {
        if core.phase == Phase::Closed || core.is_useful() {
            return;
        }
        let ended = (core.phase == Phase::Running).then(|| {
            let result = (!core.run.is_approaching()).then_some(RunResult::Cancelled);
            self.run_ended(result);
            (Arc::clone(&core.run), result)
        });
        let news = core.run.settle(Report::Lost);
        let task = core.end_run(Phase::Closed);
        let watches = std::mem::take(&mut core.watches);
        drop(core);
        self.flights.remove(self);
        if let Some((run, result)) = ended {
            self.flights.telemetry.run_ended(&run, result, self.counts);
        }
        abort(task, watches);
        news.into_iter().for_each(News::tell);
    }

    fn run_ended(&self, result: Option<RunResult>) {
        self.flights.run_ended(result.filter(|_| self.counts));
    }
}

fn abort(task: Option<AbortHandle>, watches: Vec<(RuntimeId, Option<AbortHandle>)>) {
    for task in task.into_iter().chain(watches.into_iter().filter_map(|(_, task)| task)) {
        task.abort();
    }
}

/// The right and the duty to bring a run to its end. Dropped without having done so, it gives the run up as lost.
pub(crate) struct Runner {
    pub(crate) flight: Arc<Flight>,
    pub(crate) run: Arc<Run>,
    /// When the run has to be over.
    pub(crate) deadline: Instant,
}

impl Runner {
    fn new(flight: Arc<Flight>, run: Arc<Run>, deadline: Instant) -> Self {
        flight.flights.run_began();
        Self { flight, run, deadline }
    }

    /// The run came to an end: closes the flight, unless the run is no longer its own. `commit` stores what is to be stored,
    /// and is called under the key's lock if the flight is still current and its tags have not been voided.
    pub(crate) fn close(self, result: Option<RunResult>, commit: &mut dyn FnMut()) -> Option<Closed> {
        let Self { flight, run, .. } = &self;
        let flights = &flight.flights;
        let mut locked = flights.lock(&flight.key);
        let mut core = flight.core.lock();
        if core.phase != Phase::Running || !Arc::ptr_eq(&core.run, run) {
            return None;
        }
        core.end_run(Phase::Closed);
        let (alone, watches) = (core.waiters == 1, std::mem::take(&mut core.watches));
        drop(core);
        let removed = if locked.is_current(flight) {
            if !flight.is_void() {
                commit();
            }
            locked.remove(&flight.key)
        } else {
            None
        };
        drop(locked);
        drop(removed);
        flight.run_ended(result);
        flights.telemetry.run_ended(run, result, flight.counts);
        Some(Closed { runner: self, alone, watches })
    }

    /// The run is not going to begin: the next of those who wait may start one.
    pub(crate) fn decline(self) {
        self.flight.lose(&self.run, Lost::Declined);
    }

    /// The run reached its limit.
    pub(crate) fn time_out(self) {
        self.flight.lose(&self.run, Lost::TimedOut);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.flight.lose(&self.run, Lost::Dropped);
    }
}

/// A flight that is closed and has yet to be settled.
pub(crate) struct Closed {
    runner: Runner,
    /// Whether exactly one caller waits.
    pub(crate) alone: bool,
    watches: Vec<(RuntimeId, Option<AbortHandle>)>,
}

impl Closed {
    /// Tells those who wait what the flight came to.
    pub(crate) fn settle(self, outcome: Outcome) {
        let flight = &self.runner.flight;
        let wakers = {
            let mut core = flight.core.lock();
            flight.flights.waiters_left(core.waiters);
            let _ = flight.outcome.set(outcome);
            std::mem::take(&mut core.wakers)
        };
        abort(None, self.watches);
        wakers.into_all().for_each(Waker::wake);
    }
}
