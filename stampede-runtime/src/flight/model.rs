//! Model checks of the flights: the real [`Flights`], [`Flight`], [`Runner`] and [`Waiter`], over the primitives of
//! [`crate::sync`], under every schedule that a checker comes up with.
//!
//! `cargo xtask test` runs them as its step `model`. By hand, and with a target folder of their own:
//!
//! ```console
//! $ export RUSTFLAGS="--cfg stampede_model"
//! $ cargo test -p stampede-runtime --lib --profile model --target-dir target/model model::
//! ```
//!
//! The checker is shuttle, not loom. Whatever decides anything here stands under a lock, so what can go wrong is the
//! order in which critical sections follow each other, and not what a weak memory order lets through, which is loom's
//! strength: of the atomics, those of a `Run` are hints that the next look under the lock sets right, and the others
//! number and count. Shuttle takes any scheduler: for two and three parties, one that enumerates all schedules with a
//! bounded number of pre-emptions ([`Bounded`]), as loom does; for more, random ones, which loom has not. And it has
//! tasks, abort handles and wakers, which stand in for tokio's.
//!
//! A model is a handful of parties that start at the same time on one key. [`World`] is what they share: the data that
//! bodies read, and a store. It notes what happens and checks, at each step and at the end:
//!
//! - **One owner.** Who gets a run to lead or to take over gets it alone: the flight's previous run is over by then. No
//!   one but the last to get it settles the flight, once.
//! - **Fences.** Of all flights, only the one admitted last commits, and only if nothing has superseded it; a flight that
//!   nothing has superseded does commit, and so for one whose tags were invalidated after it began: who waits for it is
//!   answered, and it stores nothing. No call is answered with data from before an invalidation, of a key, a tag or all,
//!   that had returned when the call was made, and nothing so old is left in the store.
//! - **No lost wake-up.** All parties come to their end; shuttle reports those that sleep for ever.
//! - **No leak.** In the end nothing is in the table, no run is under way, nobody waits, each run has been counted once,
//!   and all flights are gone, as are their tasks: those of runs that nobody can use, and those that watch.
//!
//! What the models leave out: time, which stands still (a limit is over at once or never), runtimes that differ, and the
//! code of users. A failure prints its schedule; `shuttle::replay` repeats it.

use std::future::poll_fn;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, thread};
use tokio::time::Instant;

pub(crate) use self::bounded::Bounded;
use super::{Arrival, Flight, Outcome, Phase, Runner, Waiter};
use crate::flights::{Admission, Flights, Request};
use crate::key::hash_of;
use crate::memory::{Stored, Verdict};
use crate::policy::Lifetime;
use crate::run::Run;
use crate::stats::RunResult;
use crate::sync::{AtomicU64, Handle, Ordering, set_runtime, step};
use crate::tags::{Bearing, Tag, Tags};

mod bounded;
mod calls;
mod parties;
mod scenarios;
mod storm;

const KEY: &[u8] = b"key";
const TAG: &str = "tag";

/// What a body read, and whose it was.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// The version of the data.
    version: u64,
    /// The epoch of the flight that read it.
    epoch: u64,
}

/// An answer in the store, and what voids it.
#[derive(Clone, Debug)]
struct Stock {
    answer: Answer,
    bearing: Option<Arc<Bearing>>,
}

/// What the parties of a model share.
struct World {
    flights: Arc<Flights>,
    /// The store's.
    epoch: AtomicU64,
    /// Locked for a moment at a time, and never while the checker may switch: it takes each such moment for one step.
    notes: std::sync::Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// The version of the data that bodies read.
    version: u64,
    /// The version as of the last invalidation that has returned.
    fence: u64,
    /// What the store's epoch is going to be.
    epoch: u64,
    stored: Option<Stock>,
    /// All flights there were, in the order of their admission.
    admitted: Vec<Admitted>,
    runs: u64,
    declined: u64,
}

/// A flight, and what it has come to.
#[derive(Default)]
struct Admitted {
    id: u64,
    epoch: u64,
    flight: Weak<Flight>,
    superseded: bool,
    /// Its tags have been invalidated since it began.
    voided: bool,
    tagged: bool,
    /// The run of the party that has got it last.
    owner: Option<Arc<Run>>,
    committed: bool,
    settled: bool,
}

impl Notes {
    fn flight(&mut self, id: u64) -> &mut Admitted {
        self.admitted.iter_mut().find(|admitted| admitted.id == id).expect("every flight is noted")
    }

    /// Whatever is admitted already is not to commit any more. Gives what was to until now.
    fn supersede_all(&mut self) -> Vec<Weak<Flight>> {
        let current = self.admitted.iter_mut().filter(|admitted| !admitted.superseded);
        let supersede = |admitted: &mut Admitted| {
            admitted.superseded = true;
            Weak::clone(&admitted.flight)
        };
        current.map(supersede).collect()
    }

    /// A flight is about to enter the table. Gives what it supersedes.
    fn admit(&mut self, id: u64, epoch: u64, tagged: bool) -> Vec<Weak<Flight>> {
        let superseded = self.supersede_all();
        self.admitted.push(Admitted { id, epoch, tagged, ..Admitted::default() });
        superseded
    }

    /// How many flights there have been, if nothing is stored and their tags have all been invalidated.
    fn only_void(&self) -> Option<usize> {
        let is_void = self.stored.is_none() && self.admitted.iter().all(|admitted| admitted.voided);
        is_void.then_some(self.admitted.len())
    }

    /// An invalidation of this version has returned.
    fn has_returned(&mut self, version: u64) {
        self.fence = self.fence.max(version);
    }

    /// The data changes.
    fn change(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

/// What a party asks for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    fresh: bool,
    stores: bool,
    run_limit: Duration,
    tagged: bool,
}

const NORMAL: Wish = Wish { fresh: false, stores: true, run_limit: Duration::from_mins(5), tagged: false };
const FRESH: Wish = Wish { fresh: true, ..NORMAL };
const COALESCED: Wish = Wish { stores: false, ..NORMAL };
const TAGGED: Wish = Wish { tagged: true, ..NORMAL };
/// Its run is over its limit as soon as it has begun.
const OVERDUE: Wish = Wish { run_limit: Duration::ZERO, ..NORMAL };

impl Default for World {
    fn default() -> Self {
        Self {
            flights: Arc::new(Flights::new(|_, _| false)),
            epoch: AtomicU64::new(0),
            notes: std::sync::Mutex::default(),
        }
    }
}

impl World {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark of what bears the tag and begins now.
    fn bearing(&self) -> Option<Box<Bearing>> {
        let mut tags = Tags::default();
        tags.add(&[Tag::new(TAG)]);
        tags.bearing(&self.flights.tags)
    }

    fn request(&self, wish: Wish) -> Request {
        let Wish { fresh, stores, run_limit, tagged } = wish;
        let run = Run::new("model", KEY.into(), 0);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let bearing = if tagged { self.bearing() } else { None };
        Request { run, fresh, stores, counts: true, run_limit, retry_after: Duration::ZERO, epoch, bearing }
    }

    /// What is stored and not void.
    fn look_up(&self) -> Option<Answer> {
        let Stock { answer, bearing } = self.notes().stored.clone()?;
        let is_void = bearing.is_some_and(|bearing| self.flights.tags.voids(&bearing));
        (answer.epoch >= self.epoch.load(Ordering::SeqCst) && !is_void).then_some(answer)
    }

    fn admit(&self, wish: Wish) -> Admission<Answer> {
        let request = self.request(wish);
        let (id, epoch) = (request.run.id, request.epoch);
        let mut superseded = Vec::new();
        let look = || {
            let stored = if wish.fresh { None } else { self.look_up() };
            if stored.is_none() {
                superseded = self.notes().admit(id, epoch, wish.tagged);
            }
            stored
        };
        let (flights, key, runtime) = (&self.flights, Arc::clone(&request.run.key), Handle::try_current().ok());
        let near = flights.near(hash_of(&key)).map(|near| Waiter::join(near, wish.fresh, runtime.as_ref()));
        if let Some(Ok(joined)) = near {
            return Admission::Joined(joined.settle_in(runtime.as_ref()));
        }
        let admission = flights.admit(&key, wish.fresh, runtime.as_ref(), look, || request);
        self.are_told(&superseded);
        admission
    }

    fn lead_if_idle(&self, wish: Wish) -> Option<(Waiter, Runner)> {
        let request = self.request(wish);
        let (id, epoch) = (request.run.id, request.epoch);
        let known = self.notes().only_void();
        let (mut superseded, mut stored) = (Vec::new(), false);
        let unless = || {
            stored = self.look_up().is_some();
            if !stored {
                superseded = self.notes().admit(id, epoch, wish.tagged);
            }
            stored
        };
        let led = self.flights.lead_if_idle(request, unless);
        self.are_told(&superseded);
        let leads = led.is_some() || stored || known.is_none() || self.notes().only_void() != known;
        assert!(leads, "a flight whose tags were invalidated keeps a refresh away");
        led
    }

    /// These flights have been taken out of the table, and have heard of it.
    fn are_told(&self, superseded: &[Weak<Flight>]) {
        for flight in superseded.iter().filter_map(Weak::upgrade) {
            let core = flight.core.lock();
            let is_told = !core.current && core.waiters > 0 || core.phase == Phase::Closed;
            // A `clear` may have taken it out of the table before this party would have, and be about to tell it.
            let may_be_cleared = flight.epoch < self.notes().epoch;
            assert!(is_told || may_be_cleared, "a superseded flight that nobody waits for is open");
        }
    }

    /// A call to its end. What is to be done with the runs that it gets to lead is up to `start`. Says whether it has waited
    /// for one.
    fn call(&self, wish: Wish, mut start: impl FnMut(Runner)) -> bool {
        let fence = self.notes().fence;
        let (answer, has_waited) = 'asked: loop {
            let mut waiter = match self.admit(wish) {
                Admission::Answered(stored) => break (stored, false),
                Admission::Joined(waiter) => waiter,
                Admission::Led(waiter, runner) => {
                    start(runner);
                    waiter
                }
            };
            loop {
                assert!(waiter.flight.fresh || !wish.fresh, "a fresh call waits for a run that is not");
                match block_on(poll_fn(|cx| waiter.poll_arrival(cx))) {
                    Arrival::TakenOver(runner) => start(runner),
                    Arrival::Outdated => continue 'asked,
                    Arrival::Settled => match waiter.flight.outcome() {
                        Some(Outcome::Stored(value)) => break 'asked (*value.downcast().expect("it is alive"), true),
                        _ => unreachable!("bodies give values"),
                    },
                }
            }
        };
        assert!(answer.version >= fence, "a call was answered with what had been invalidated before it was made");
        has_waited
    }

    /// A party has got a run.
    fn owns(&self, runner: &Runner) {
        let id = runner.run.id;
        let previous = {
            let mut notes = self.notes();
            notes.runs += 1;
            let admitted = notes.flight(id);
            admitted.flight = Arc::downgrade(&runner.flight);
            admitted.owner.clone()
        };
        // Or somebody has taken over from it in the meantime.
        if !runner.run.is_over() {
            assert!(previous.is_none_or(|run| run.is_over()), "two parties have a run of the same flight");
            self.notes().flight(id).owner = Some(Arc::clone(&runner.run));
        }
    }

    /// A body begins: it reads the data.
    fn read(&self) -> u64 {
        self.notes().version
    }

    /// A run comes to its end, with what it read.
    fn finish(&self, runner: Runner, version: u64) {
        let (run, epoch) = (Arc::clone(&runner.run), runner.flight.epoch);
        let bearing: Option<Arc<Bearing>> = runner.flight.bearing.clone().map(Arc::from);
        let stores = runner.flight.core.lock().stores;
        let was_void = self.notes().flight(run.id).voided;
        let answer = Answer { version, epoch };
        let commit = &mut || {
            step();
            let mut notes = self.notes();
            let admitted = notes.flight(run.id);
            assert!(!admitted.superseded, "a superseded flight has committed");
            assert!(!was_void, "a flight whose tags were invalidated has committed");
            admitted.committed = true;
            if stores {
                notes.stored = Some(Stock { answer, bearing: bearing.clone() });
            }
        };
        let Some(closed) = runner.close(Some(RunResult::Ok), commit) else { return };
        let now = self.epoch.load(Ordering::SeqCst);
        let is_void = bearing.as_ref().is_some_and(|bearing| self.flights.tags.voids(bearing));
        let mut notes = self.notes();
        let admitted = notes.flight(run.id);
        let owns = admitted.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &run));
        assert!(owns, "a flight was settled by a run that was not its own");
        assert!(!admitted.settled, "a flight was settled twice");
        admitted.settled = true;
        let was_current = !admitted.superseded && epoch >= now && !is_void;
        assert!(admitted.committed || !was_current, "a current flight has not committed");
        drop(notes);
        let life = Lifetime::plain(Instant::now(), Duration::ZERO);
        closed.settle(Outcome::Stored(Stored::new(answer).with(&run.key, Verdict::plain(life, epoch))));
    }

    /// All parties are gone.
    fn rests(self: &Arc<Self>, check: Check) {
        gone(&self.flights);
        assert_eq!(self.flights.in_flight(), 0, "runs under way");
        assert_eq!(self.flights.waiting(), 0, "callers that wait");
        assert!(self.flights.lock(KEY).remove(KEY).is_none(), "a flight is left in the table");
        let stored = self.look_up();
        let notes = self.notes();
        assert!(stored.is_none_or(|stored| stored.version >= notes.fence), "what was invalidated is stored");
        assert!(notes.admitted.iter().all(|old| old.flight.strong_count() == 0), "a flight is left in memory");
        let counted = self.flights.runs().total();
        // One that was declined does count if it had reached its limit before.
        assert!((notes.runs - notes.declined..=notes.runs).contains(&counted), "each run counts once");
        check(&notes);
    }
}

/// Waits until nobody but the world has these flights: what was aborted is yet to be dropped, by its own task.
fn gone(flights: &Arc<Flights>) {
    for _ in 0..100 {
        if Arc::strong_count(flights) == 1 {
            return;
        }
        thread::yield_now();
    }
    panic!("a task or a flight is left");
}

/// One who takes part.
type Party<W> = fn(&Arc<W>);

/// What is to hold when all is over.
type Check = fn(&Notes);

fn run<W>(
    scheduler: impl Scheduler + 'static,
    parties: &'static [Party<W>],
    end: impl Fn(&Arc<W>) + Send + Sync + 'static,
) where
    W: Default + Send + Sync + 'static,
{
    let mut config = Config::new();
    config.silence_warnings = true; // of orders other than `SeqCst`: see above
    config.stack_size = 1 << 18; // what a call does at once goes deep
    let start = std::time::Instant::now();
    let count = shuttle::Runner::new(scheduler, config).run(move || {
        let world = Arc::new(W::default());
        let spawn = |party: &Party<W>| {
            let (party, world) = (*party, Arc::clone(&world));
            thread::spawn(move || party(&world))
        };
        let parties: Vec<_> = parties.iter().map(spawn).collect();
        for party in parties {
            party.join().expect("a party's panic ends the model");
        }
        end(&world);
    });
    println!("{count} schedules in {:.1} s", start.elapsed().as_secs_f64());
}

/// Runs the parties by every schedule with so many pre-emptions.
fn explore(preemptions: usize, parties: &'static [Party<World>], check: Check) {
    set_runtime(false);
    run(Bounded::new(preemptions), parties, move |world| world.rests(check));
}

/// As [`explore`], in a runtime: those who wait watch over the limits of runs, in tasks of their own.
fn explore_watched(preemptions: usize, parties: &'static [Party<World>], check: Check) {
    set_runtime(true);
    run(Bounded::new(preemptions), parties, move |world| world.rests(check));
}

/// Runs the parties by so many schedules that are drawn at random, evenly and with a few pre-emptions at telling moments.
fn sample<W>(schedules: usize, parties: &'static [Party<W>], end: fn(&Arc<W>))
where
    W: Default + Send + Sync + 'static,
{
    set_runtime(true);
    run(RandomScheduler::new_from_seed(1, schedules), parties, end);
    run(PctScheduler::new_from_seed(2, 3, schedules), parties, end);
}
