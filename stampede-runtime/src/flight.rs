//! Flights: one current run per key, shared by everyone who asks for the key meanwhile.
//!
//! A flight is one run of a body and those who wait for it. It is *open* until its outcome is certain, and then closed
//! for good:
//!
//! ```text
//!                 finish                  Value, Error, Panic: shared by those who waited
//!               ┌────────────────────────▶
//!     lead      │   run dropped, limit reached, abandoned
//!   ───────▶ open ───────────────────────▶ Lost: those who still wait start over, and one of them leads
//! ```
//!
//! Invariants:
//!
//! 1. The table holds at most one flight per key: the current one. Only the current flight may store its value, and it
//!    does so under the lock of its key's shard, in the step that takes it out of the table.
//! 2. Whoever takes a flight out of the table (`supersede`, `clear`, a `fresh` call) ends its currency, under the same
//!    lock: from then on nobody joins it and it stores nothing. Its own waiters still get its outcome.
//! 3. `open` goes from true to false once, under the flight's lock. Who did that, and no one else, settles the outcome and
//!    wakes the waiters. A closed flight is not joined: whoever finds one in the table replaces it.
//! 4. The outcome is set before the wakers are taken; a waiter looks for the outcome under the lock that it registers
//!    under. So no waiter sleeps through it.
//! 5. A flight leaves the table by the drop of its [`Runner`] at the latest. No code path can leave a key taken.
//! 6. A flight that nobody waits for and whose value cannot be stored is closed and its task aborted, in the step in which
//!    the second of the two comes true.
//! 7. Locks are taken in the order shard, flight. No code of the user runs under either: values, errors and keys are
//!    dropped, compared by bytes, cloned and stored outside.
//! 8. `in_flight` and the table have forgotten a run before its waiters are woken.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::{Handle, Id as RuntimeId};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::aside::{Careful, Holding};
use crate::key::Key;
use crate::memory::Stored;
use crate::policy::after;
use crate::run::Run;
use crate::stats::{Counters, RunResult};
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

const SHARDS: usize = 64;

/// What a flight came to.
pub(crate) enum Outcome<V: 'static> {
    /// A value; in the store as well, if it was to be stored.
    Value(Arc<Stored<Careful<V>>>),
    /// An error of the type that the leader's function has.
    Error(Mutex<Box<dyn Any + Send>>),
    /// A panic: what was thrown, and what it said.
    Panic(Mutex<Option<Box<dyn Any + Send>>>, Arc<str>),
    /// Nothing: whoever waited starts over.
    Lost(Lost),
}

/// Why there was no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The run was dropped before it was ever polled: its runtime takes no more tasks.
    Unpolled,
    /// The run was dropped: by its runtime, with its caller, or because nobody could use it.
    Dropped,
    /// The run reached its limit.
    TimedOut,
}

/// The flights of a store.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(crate) counters: Counters,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
}

type Shard = HashMap<Key, Arc<dyn AnyFlight>>;

/// A locked shard. Values that are dropped meanwhile are dropped after it is unlocked.
struct Locked<'f> {
    shard: MutexGuard<'f, Shard>,
    _holding: Holding,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("in_flight", &self.in_flight)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// What asking for a key under its lock came to.
pub(crate) enum Admission<V: Send + Sync + 'static, A> {
    /// The store had an answer after all.
    Answered(A),
    /// Somebody else's run is under way.
    Joined(Waiter<V>),
    /// There was none: the caller is to run the body.
    Led(Waiter<V>, Runner<V>),
}

/// Who is asking, and for what.
pub(crate) struct Request {
    pub(crate) run: Run,
    /// Only a run that a `fresh` call started will do; any other loses its currency.
    pub(crate) fresh: bool,
    /// Whether the run's value is going to be stored, as far as is known beforehand.
    pub(crate) stores: bool,
    /// Whether the run counts in the statistics.
    pub(crate) counts: bool,
    pub(crate) run_limit: Duration,
    /// The store's epoch.
    pub(crate) epoch: u64,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            counters: Counters::default(),
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn lock(&self, key: &[u8]) -> Locked<'_> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let hash = self.hasher.hash_one(key) as usize;
        let holding = Holding::start();
        Locked { shard: self.shards[hash % SHARDS].lock(), _holding: holding }
    }

    /// Joins the current flight of the request's key, or leads a new one. `look` is a last look into the store, under the
    /// lock: a run that ended just now is gone from the table, and what it stored is there.
    pub(crate) fn admit<V, A>(self: &Arc<Self>, request: Request, look: impl FnOnce() -> Option<A>) -> Admission<V, A>
    where
        V: Send + Sync + 'static,
    {
        let key = Key::clone(&request.run.key);
        let mut locked = self.lock(&key);
        let current = locked.shard.get(&key);
        if let Some(current) = current
            && (current.is_fresh() || !request.fresh)
            && let Some(waiter) = Waiter::join(self, current)
        {
            drop(locked);
            waiter.watch();
            return Admission::Joined(waiter);
        }
        if let Some(answer) = look() {
            return Admission::Answered(answer);
        }
        let flight = Flight::open(self, request);
        let waiter = Waiter::first(self, &flight);
        let replaced = locked.shard.insert(key, Arc::clone(&flight) as _);
        drop(locked);
        if let Some(replaced) = replaced {
            replaced.superseded(self);
        }
        Admission::Led(waiter, Runner::new(self, flight))
    }

    /// Leads a flight that nobody waits for, unless one is under way or `unless` (under the lock) says no.
    pub(crate) fn lead_unawaited<V>(
        self: &Arc<Self>,
        request: Request,
        unless: impl FnOnce() -> bool,
    ) -> Option<Runner<V>>
    where
        V: Send + Sync + 'static,
    {
        let key = Key::clone(&request.run.key);
        let mut locked = self.lock(&key);
        if locked.shard.get(&key).is_some_and(|current| current.is_open()) || unless() {
            return None;
        }
        let flight = Flight::open(self, request);
        let closed = locked.shard.insert(key, Arc::clone(&flight) as _);
        drop(locked);
        drop(closed);
        Some(Runner::new(self, flight))
    }

    /// Ends the currency of the key's flight, if there is one, and does `then` in the same step.
    pub(crate) fn supersede(&self, key: &[u8], then: impl FnOnce()) {
        let mut locked = self.lock(key);
        let removed = locked.shard.remove(key);
        then();
        drop(locked);
        if let Some(removed) = removed {
            removed.superseded(self);
        }
    }

    /// Ends the currency of all flights.
    pub(crate) fn supersede_all(&self) {
        for shard in &self.shards {
            let removed = std::mem::take(&mut *shard.lock());
            for flight in removed.into_values() {
                flight.superseded(self);
            }
        }
    }

    /// Takes a flight out of the table if it is (still) there.
    fn remove(&self, flight: &dyn AnyFlight) {
        let mut locked = self.lock(flight.key());
        if locked.is_current(flight) {
            let removed = locked.shard.remove(flight.key());
            drop(locked);
            drop(removed);
        }
    }
}

impl Locked<'_> {
    fn is_current(&self, flight: &dyn AnyFlight) -> bool {
        self.shard
            .get(flight.key())
            .is_some_and(|current| std::ptr::addr_eq(Arc::as_ptr(current), std::ptr::from_ref(flight)))
    }
}

/// What the table can do with a flight of any value type.
trait AnyFlight: Any + Send + Sync {
    fn key(&self) -> &Key;
    fn is_fresh(&self) -> bool;
    fn is_open(&self) -> bool;
    /// The flight has left the table: it has lost its currency.
    fn superseded(&self, flights: &Flights);
}

/// A run and those who wait for it.
pub(crate) struct Flight<V: 'static> {
    pub(crate) run: Arc<Run>,
    /// Whether a `fresh` call started it.
    pub(crate) fresh: bool,
    /// The epoch of the store in which it began.
    pub(crate) epoch: u64,
    /// When the run has to be over.
    pub(crate) deadline: Instant,
    counts: bool,
    core: Mutex<Core>,
    outcome: OnceCell<Outcome<V>>,
}

/// What changes while a flight is open.
struct Core {
    open: bool,
    current: bool,
    /// Whether the value is going to be stored if the flight stays current and the body does not say otherwise.
    stores: bool,
    wakers: Wakers,
    /// The task that the run is, unless it runs in its caller's.
    task: Option<AbortHandle>,
    /// The runtimes that see to the run's limit, and the tasks that do so.
    watches: Vec<(RuntimeId, Option<AbortHandle>)>,
}

impl<V: Send + Sync + 'static> AnyFlight for Flight<V> {
    fn key(&self) -> &Key {
        &self.run.key
    }

    fn is_fresh(&self) -> bool {
        self.fresh
    }

    fn is_open(&self) -> bool {
        self.core.lock().open
    }

    fn superseded(&self, flights: &Flights) {
        let mut core = self.core.lock();
        core.current = false;
        self.abandon_if_useless(core, flights);
    }
}

impl<V: Send + Sync + 'static> Flight<V> {
    fn open(flights: &Flights, request: Request) -> Arc<Self> {
        flights.in_flight.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            run: Arc::new(request.run),
            fresh: request.fresh,
            epoch: request.epoch,
            deadline: after(Instant::now(), request.run_limit),
            counts: request.counts,
            core: Mutex::new(Core {
                open: true,
                current: true,
                stores: request.stores,
                wakers: Wakers::default(),
                task: None,
                watches: Vec::new(),
            }),
            outcome: OnceCell::new(),
        })
    }

    /// What the flight came to, once it has.
    pub(crate) fn outcome(&self) -> Option<&Outcome<V>> {
        self.outcome.get()
    }

    /// Closes the flight without an outcome, if it is open.
    fn lose(&self, lost: Lost, flights: &Flights) {
        self.close_lost(self.core.lock(), lost, flights);
    }

    /// Closes the flight if its result is of no use to anybody.
    fn abandon_if_useless(&self, core: MutexGuard<'_, Core>, flights: &Flights) {
        let useful = self.run.waiters() > 0 || (core.current && self.run.will_store(core.stores));
        if !useful {
            self.close_lost(core, Lost::Dropped, flights);
        }
    }

    fn close_lost(&self, mut core: MutexGuard<'_, Core>, lost: Lost, flights: &Flights) {
        if !core.open {
            return;
        }
        core.open = false;
        let task = core.task.take();
        drop(core);
        flights.remove(self);
        let result = if lost == Lost::TimedOut { RunResult::Timeout } else { RunResult::Cancelled };
        self.settle(Outcome::Lost(lost), result, flights);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Makes the outcome known. Called once, by whoever closed the flight, after it has left the table.
    fn settle(&self, outcome: Outcome<V>, result: RunResult, flights: &Flights) {
        flights.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.counts {
            flights.counters.run(result);
        }
        let _ = self.outcome.set(outcome);
        let (wakers, watches) = {
            let mut core = self.core.lock();
            (std::mem::take(&mut core.wakers), std::mem::take(&mut core.watches))
        };
        for watch in watches.into_iter().filter_map(|(_, task)| task) {
            watch.abort();
        }
        wakers.wake_all();
    }
}

/// The right and the duty to bring a flight to its end. Dropped without having done so, it closes the flight as lost.
pub(crate) struct Runner<V: Send + Sync + 'static> {
    pub(crate) flight: Arc<Flight<V>>,
    flights: Arc<Flights>,
    polled: bool,
}

impl<V: Send + Sync + 'static> Runner<V> {
    fn new(flights: &Arc<Flights>, flight: Arc<Flight<V>>) -> Self {
        Self { flight, flights: Arc::clone(flights), polled: false }
    }

    /// A caller's place in the flight, the first.
    pub(crate) fn wait(&self) -> Waiter<V> {
        Waiter::first(&self.flights, &self.flight)
    }

    /// The run has begun.
    pub(crate) fn polled(&mut self) {
        self.polled = true;
    }

    /// The run came to an end. `outcome` is told whether exactly one caller waits; `commit` stores what is to be stored,
    /// and is called under the key's lock if the flight is still current.
    pub(crate) fn finish(self, result: RunResult, commit: impl FnOnce(), outcome: impl FnOnce(bool) -> Outcome<V>) {
        let Self { flight, flights, .. } = &self;
        let mut locked = flights.lock(&flight.run.key);
        {
            let mut core = flight.core.lock();
            if !core.open {
                return;
            }
            core.open = false;
            core.task = None;
        }
        let removed = if locked.is_current(&**flight) {
            commit();
            locked.shard.remove(&flight.run.key)
        } else {
            None
        };
        drop(locked);
        drop(removed);
        flight.settle(outcome(flight.run.waiters() == 1), result, flights);
    }

    /// The run reached its limit.
    pub(crate) fn time_out(self) {
        self.flight.lose(Lost::TimedOut, &self.flights);
    }
}

impl<V: Send + Sync + 'static> Drop for Runner<V> {
    fn drop(&mut self) {
        self.flight.lose(if self.polled { Lost::Dropped } else { Lost::Unpolled }, &self.flights);
    }
}

/// A caller's place among those who wait for a flight. Dropping it gives up the place and nothing else.
pub(crate) struct Waiter<V: Send + Sync + 'static> {
    pub(crate) flight: Arc<Flight<V>>,
    flights: Arc<Flights>,
    place: Option<usize>,
}

impl<V: Send + Sync + 'static> Waiter<V> {
    /// The first to wait for a flight that nobody else knows yet.
    fn first(flights: &Arc<Flights>, flight: &Arc<Flight<V>>) -> Self {
        Self::counted(flights, Arc::clone(flight), &flight.core.lock())
    }

    /// One more, unless the flight is closed.
    fn join(flights: &Arc<Flights>, flight: &Arc<dyn AnyFlight>) -> Option<Self> {
        let flight = (Arc::clone(flight) as Arc<dyn Any + Send + Sync>).downcast::<Flight<V>>().ok()?;
        let core = flight.core.lock();
        core.open.then(|| Self::counted(flights, Arc::clone(&flight), &core))
    }

    fn counted(flights: &Arc<Flights>, flight: Arc<Flight<V>>, _locked: &MutexGuard<'_, Core>) -> Self {
        flight.run.set_waiters(flight.run.waiters() + 1);
        flights.waiting.fetch_add(1, Ordering::Relaxed);
        Self { flight, flights: Arc::clone(flights), place: None }
    }

    /// Sees to it that the run's limit is kept even if whoever runs it is never polled again: a run in its caller's task, or
    /// on a runtime that nobody drives. Each runtime that waits has a timer of its own.
    fn watch(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        {
            let mut core = self.flight.core.lock();
            if !core.open || core.watches.iter().any(|(id, _)| *id == runtime.id()) {
                return;
            }
            core.watches.push((runtime.id(), None));
        }
        let (flight, flights) = (Arc::clone(&self.flight), Arc::clone(&self.flights));
        let watch = runtime.spawn(async move {
            tokio::time::sleep_until(flight.deadline).await;
            flight.lose(Lost::TimedOut, &flights);
        });
        let mut core = self.flight.core.lock();
        match core.watches.iter_mut().find(|(id, _)| *id == runtime.id()) {
            Some((_, task)) => *task = Some(watch.abort_handle()),
            None => watch.abort(),
        }
    }

    /// Ready once the flight has an outcome.
    pub(crate) fn poll_settled(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.flight.outcome.get().is_some() {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        let mut core = self.flight.core.lock();
        if self.flight.outcome.get().is_some() {
            return Poll::Ready(());
        }
        let replaced = core.wakers.register(&mut self.place, waker);
        drop(core);
        drop(replaced);
        Poll::Pending
    }
}

impl<V: Send + Sync + 'static> Drop for Waiter<V> {
    fn drop(&mut self) {
        self.flights.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut core = self.flight.core.lock();
        let waker = self.place.take().and_then(|place| core.wakers.leave(place));
        self.flight.run.set_waiters(self.flight.run.waiters() - 1);
        self.flight.abandon_if_useless(core, &self.flights);
        drop(waker);
    }
}

impl<V: Send + Sync + 'static> Flight<V> {
    /// Says which task the run is, so that it can be aborted when nobody has a use for it.
    pub(crate) fn runs_as(&self, task: AbortHandle, runtime: RuntimeId) {
        let mut core = self.core.lock();
        if core.open {
            core.task = Some(task);
            core.watches.push((runtime, None));
        } else {
            drop(core);
            task.abort();
        }
    }
}

/// The wakers of those who wait, each at a place that is free again when its owner leaves.
#[derive(Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Wakers {
    /// Puts a waker at its place, or finds it one. Gives back what it replaces.
    fn register(&mut self, place: &mut Option<usize>, waker: &Waker) -> Option<Waker> {
        if let Some(place) = *place {
            let current = &mut self.places[place];
            return match current {
                Some(current) if current.will_wake(waker) => None,
                _ => current.replace(waker.clone()),
            };
        }
        let free = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        *place = Some(free);
        self.places[free].replace(waker.clone())
    }

    /// Frees a place, unless everybody has been woken already.
    fn leave(&mut self, place: usize) -> Option<Waker> {
        let waker = self.places.get_mut(place)?.take();
        self.free.push(place);
        waker
    }

    fn wake_all(self) {
        self.places.into_iter().flatten().for_each(Waker::wake);
    }
}
