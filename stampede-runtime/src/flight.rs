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
//!    nobody joins it any more, and it stores nothing. Those who wait still get its outcome. A flight whose tags are voided
//!    has lost its currency by that, though nobody tells it: whoever looks for it next, to join it or to store its value,
//!    finds that out and takes it out of the table. What bears its tags from before is void in the store as well, so it
//!    does no harm if they are voided while it stores.
//! 3. A flight has at most one run, known by its `Arc<Run>`. Only the [`Runner`] of that very run finishes it; a runner
//!    whose run was taken from it changes nothing.
//! 4. A closed flight stays closed. Who closed it, and no one else, settles its outcome. Nobody joins a closed flight:
//!    whoever finds one in the table replaces it.
//! 5. The outcome is set before the wakers are taken, and a waiter looks for it under the lock that it registers under; a
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

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::News;
use crate::flights::{Flights, Request};
use crate::key::Key;
use crate::memory::AnyStored;
use crate::policy::{Report, after};
use crate::run::Run;
use crate::settled::AnyError;
use crate::stats::RunResult;
use crate::sync::{AbortHandle, Handle, Mutex, MutexGuard, OnceCell, RuntimeFlavor, RuntimeId, sleep, sleep_until};
use crate::tags::{Bearing, TagTable};
use crate::wakers::{Place, Wakers};

#[cfg(all(test, stampede_model))]
mod model;

#[cfg(all(test, stampede_model))]
pub(crate) use self::model::Bounded;

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
}

/// What changes in the life of a flight.
struct Core {
    phase: Phase,
    /// The run, or the last one there was.
    run: Arc<Run>,
    /// When it has to be over.
    deadline: Instant,
    /// Whether the flight may store.
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
    fn set_waiters(&mut self, waiters: usize) {
        self.waiters = waiters;
        self.run.set_waiters(waiters);
    }

    /// Whether the flight is of use to anybody.
    fn is_useful(&self) -> bool {
        let may_store = self.phase == Phase::Running && self.current;
        self.waiters > 0 || may_store && self.run.will_store(self.stores)
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
    pub(crate) fn is_void(&self, tags: &TagTable) -> bool {
        self.bearing.as_ref().is_some_and(|bearing| tags.voids(bearing))
    }

    /// Whether there is a run within its limit.
    pub(crate) fn is_under_way(&self) -> bool {
        let core = self.core.lock();
        core.phase == Phase::Running && Instant::now() < core.deadline
    }

    /// The flight has left the table: it has lost its currency.
    pub(crate) fn superseded(&self, flights: &Flights) {
        let mut core = self.core.lock();
        core.current = false;
        self.close_if_useless(core, flights);
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
                deadline,
                current: true,
                stores: request.stores,
                waiters: 0,
                wakers: Wakers::default(),
                task: None,
                watches: Vec::new(),
            }),
            outcome: OnceCell::new(),
        });
        Runner::new(Arc::clone(flights), flight, run, deadline)
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
    pub(crate) fn enforce_limit(&self, flights: &Flights) -> bool {
        let overdue = {
            let core = self.core.lock();
            (core.phase == Phase::Running && core.deadline <= Instant::now()).then(|| Arc::clone(&core.run))
        };
        if let Some(run) = &overdue {
            self.lose(run, Lost::TimedOut, flights);
        }
        overdue.is_some()
    }

    /// The run is lost, if it is (still) this flight's: those who wait are to start the next one.
    fn lose(&self, run: &Arc<Run>, lost: Lost, flights: &Flights) {
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
        self.run_ended(result, flights);
        self.close_if_useless(core, flights);
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
    fn close_if_useless(&self, mut core: MutexGuard<'_, Core>, flights: &Flights) {
        if core.phase == Phase::Closed || core.is_useful() {
            return;
        }
        let ended = (core.phase == Phase::Running).then(|| {
            let result = (!core.run.is_approaching()).then_some(RunResult::Cancelled);
            self.run_ended(result, flights);
            (Arc::clone(&core.run), result)
        });
        let news = core.run.settle(Report::Lost);
        let task = core.end_run(Phase::Closed);
        let watches = std::mem::take(&mut core.watches);
        drop(core);
        flights.remove(self);
        if let Some((run, result)) = ended {
            flights.telemetry.run_ended(&run, result, self.counts);
        }
        abort(task, watches);
        news.into_iter().for_each(News::tell);
    }

    fn run_ended(&self, result: Option<RunResult>, flights: &Flights) {
        flights.run_ended(result.filter(|_| self.counts));
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
    flights: Arc<Flights>,
}

impl Runner {
    fn new(flights: Arc<Flights>, flight: Arc<Flight>, run: Arc<Run>, deadline: Instant) -> Self {
        flights.run_began();
        Self { flight, run, deadline, flights }
    }

    /// A caller's place among those who wait for the run, which is not in the table yet.
    pub(crate) fn wait(&self) -> Waiter {
        Waiter::counted(&self.flights, Arc::clone(&self.flight), &mut self.flight.core.lock())
    }

    /// The run came to an end: closes the flight, unless the run is no longer its own. `commit` stores what is to be stored,
    /// and is called under the key's lock if the flight is still current and its tags have not been voided.
    pub(crate) fn close(self, result: Option<RunResult>, commit: &mut dyn FnMut()) -> Option<Closed> {
        let Self { flight, flights, run, .. } = &self;
        let mut locked = flights.lock(&flight.key);
        let mut core = flight.core.lock();
        if core.phase != Phase::Running || !Arc::ptr_eq(&core.run, run) {
            return None;
        }
        core.end_run(Phase::Closed);
        let (alone, watches) = (core.waiters == 1, std::mem::take(&mut core.watches));
        drop(core);
        let removed = if locked.is_current(flight) {
            if !flight.is_void(&flights.tags) {
                commit();
            }
            locked.remove(&flight.key)
        } else {
            None
        };
        drop(locked);
        drop(removed);
        flight.run_ended(result, flights);
        flights.telemetry.run_ended(run, result, flight.counts);
        Some(Closed { runner: self, alone, watches })
    }

    /// The run is not going to begin: the next of those who wait may start one.
    pub(crate) fn decline(self) {
        self.flight.lose(&self.run, Lost::Declined, &self.flights);
    }

    /// The run reached its limit.
    pub(crate) fn time_out(self) {
        self.flight.lose(&self.run, Lost::TimedOut, &self.flights);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.flight.lose(&self.run, Lost::Dropped, &self.flights);
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
        let _ = flight.outcome.set(outcome);
        let wakers = flight.core.lock().wakers.all();
        abort(None, self.watches);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A caller's place among those who wait for a flight. Dropping it gives up the place and nothing else.
pub(crate) struct Waiter {
    pub(crate) flight: Arc<Flight>,
    flights: Arc<Flights>,
    place: Option<Place>,
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
    /// One more who waits, unless the flight is closed.
    pub(crate) fn join(flights: &Arc<Flights>, flight: &Arc<Flight>) -> Option<Self> {
        let mut core = flight.core.lock();
        let joins = core.phase != Phase::Closed;
        joins.then(|| Self::counted(flights, Arc::clone(flight), &mut core))
    }

    fn counted(flights: &Arc<Flights>, flight: Arc<Flight>, core: &mut Core) -> Self {
        core.set_waiters(core.waiters + 1);
        flights.waiter_came();
        Self { flight, flights: Arc::clone(flights), place: None }
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
    pub(crate) fn watch(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        {
            let mut core = self.flight.core.lock();
            if core.phase == Phase::Closed || core.watches.iter().any(|(id, _)| *id == runtime.id()) {
                return;
            }
            core.watches.push((runtime.id(), None));
        }
        let watch = runtime.spawn(watch(Arc::clone(&self.flight), Arc::clone(&self.flights)));
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
        core.deadline = after(Instant::now(), self.flight.run_limit);
        let (run, deadline) = (Arc::clone(&core.run), core.deadline);
        drop(core);
        self.flights.telemetry.run_began(&run);
        Some(Runner::new(Arc::clone(&self.flights), Arc::clone(&self.flight), run, deadline))
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
        self.flights.waiter_left();
        let mut core = self.flight.core.lock();
        let waker = self.place.take().and_then(|place| core.wakers.leave(place));
        let left = core.waiters - 1;
        core.set_waiters(left);
        // What a tag has voided would be noticed when its run ends; nobody needs to wait for that.
        if left == 0 && self.flight.is_void(&self.flights.tags) {
            core.current = false;
        }
        self.flight.close_if_useless(core, &self.flights);
        drop(waker);
    }
}

/// Gives up each run of a flight when it reaches its limit.
async fn watch(flight: Arc<Flight>, flights: Arc<Flights>) {
    loop {
        let (phase, run, deadline) = {
            let core = flight.core.lock();
            (core.phase, Arc::clone(&core.run), core.deadline)
        };
        match phase {
            Phase::Closed => return,
            Phase::Running if deadline <= Instant::now() => flight.lose(&run, Lost::TimedOut, &flights),
            Phase::Running => sleep_until(deadline).await,
            // The next run is not older than this moment.
            Phase::Vacant => sleep(flight.run_limit).await,
        }
    }
}
