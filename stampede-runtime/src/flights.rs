//! The table of a store's current flights. Its invariants are those of [`crate::flight`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::aside::Holding;
use crate::flight::{Flight, Runner, Waiter};
use crate::key::{ByHash, Given, Key, Sought, hash_of};
use crate::run::Run;
use crate::space::Space;
use crate::stats::{Calls, Counters, Outcome, RunResult, Runs};
use crate::sync::plain::AtomicUsize;
use crate::sync::{Handle, Mutex, MutexGuard, Ordering};
use crate::tags::{Bearing, TagTable};
use crate::telemetry::{Since, Telemetry};

// A power of two. A model looks at one key, and has no time for shards that it does not use.
const SHARDS: usize = if cfg!(all(test, stampede_model)) { 1 } else { 64 };

/// The flights of a store.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    counters: Counters,
    pub(crate) telemetry: Arc<Telemetry>,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    pub(crate) tags: TagTable,
    /// How often something was voided, by shard. Written under the shard's lock.
    voided: Box<[AtomicUsize]>,
    /// What is to be done when a run reaches its limit while its flight is current: put the next refresh off.
    on_limit: OnLimit,
}

type OnLimit = Box<dyn Fn(&[u8], Duration) -> bool + Send + Sync>;

type Shard = HashMap<Key, Arc<Flight>, ByHash>;

/// A locked shard. Values that are dropped meanwhile are dropped after it is unlocked.
pub(crate) struct Locked<'f> {
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
pub(crate) enum Admission<A> {
    /// The store had an answer after all.
    Answered(A),
    /// Somebody else's run is under way.
    Joined(Waiter),
    /// There was none: the caller is to run the body.
    Led(Waiter, Runner),
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
    /// How long a run that reached its limit keeps the next refresh away.
    pub(crate) retry_after: Duration,
    /// The store's epoch.
    pub(crate) epoch: u64,
    /// The tags that void the run.
    pub(crate) bearing: Option<Box<Bearing>>,
}

impl Flights {
    /// No flights. `on_limit` is told the key and the `retry_after` of each current run that reaches its limit, under the
    /// key's lock, and says whether an old value is left to be served.
    pub(crate) fn new(on_limit: impl Fn(&[u8], Duration) -> bool + Send + Sync + 'static) -> Self {
        Self {
            on_limit: Box::new(on_limit),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            counters: Counters::default(),
            telemetry: Arc::default(),
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            tags: TagTable::default(),
            voided: (0..SHARDS).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// The same, told to the world by this.
    pub(crate) fn with_telemetry(self, telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, ..self }
    }

    /// A call of this cache is over. `since`: it had to wait.
    #[inline]
    pub(crate) fn call_ended(&self, space: Space, outcome: Outcome, since: Since) {
        self.counters.call(outcome);
        self.telemetry.call_ended(space, outcome, since);
    }

    /// A run outside all flights is over.
    pub(crate) fn own_run_ended(&self, space: Space, result: RunResult) {
        self.counters.run(result);
        self.telemetry.own_run_ended(space, result);
    }

    pub(crate) fn calls(&self) -> Calls {
        self.counters.calls()
    }

    pub(crate) fn runs(&self) -> Runs {
        self.counters.runs()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether there is a flight of this key.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.lock(key).shard.contains_key(key)
    }

    /// The current flight of a key that has this hash. Whether it is the right one is for the caller to see: that may take
    /// code of the user's, which is not to run under the lock.
    pub(crate) fn near(&self, hash: u64) -> Option<Arc<Flight>> {
        let sought: &dyn Sought = &Given(hash);
        self.shards[Self::shard_of(hash)].lock().get(sought).map(Arc::clone)
    }

    /// How many flights the table holds.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(crate) fn run_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn run_ended(&self, counted_as: Option<RunResult>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(result) = counted_as {
            self.counters.run(result);
        }
    }

    pub(crate) fn waiter_came(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waiters_left(&self, waiters: usize) {
        self.waiting.fetch_sub(waiters, Ordering::Relaxed);
    }

    /// A current run has reached its limit. The key is locked. Says whether an old value is left to be served.
    pub(crate) fn limit_reached(&self, key: &[u8], retry_after: Duration) -> bool {
        (self.on_limit)(key, retry_after)
    }

    fn shard(key: &[u8]) -> usize {
        Self::shard_of(hash_of(key))
    }

    fn shard_of(hash: u64) -> usize {
        // Bits of the hash that the shard's own table does not use.
        (hash >> 40) as usize & (SHARDS - 1)
    }

    pub(crate) fn lock(&self, key: &[u8]) -> Locked<'_> {
        let holding = Holding::start();
        Locked { shard: self.shards[Self::shard(key)].lock(), _holding: holding }
    }

    /// How often something was voided so far, in the shard of this key.
    pub(crate) fn voided(&self, key: &[u8]) -> usize {
        self.voided[Self::shard(key)].load(Ordering::SeqCst)
    }

    /// Does `then` under the key's lock, unless something in its shard was voided since it was `voided` times.
    pub(crate) fn unless_voided(&self, key: &[u8], voided: usize, then: impl FnOnce()) {
        let locked = self.lock(key);
        if self.voided(key) == voided {
            then();
        }
        drop(locked);
    }

    /// Joins the current flight of a key, as [`Waiter::join`] does; or leads a new one. `look` is
    /// a last look into the store, under the lock: a run that ended just now is gone from the table, and what it stored is
    /// there. `request` is made there as well, by who leads.
    pub(crate) fn admit<A>(
        self: &Arc<Self>,
        key: &Key,
        fresh: bool,
        runtime: Option<&Handle>,
        look: impl FnOnce() -> Option<A>,
        request: impl FnOnce() -> Request,
    ) -> Admission<A> {
        let locked = self.lock(key);
        let current = locked.shard.get(key).map(Arc::clone);
        if let Some(Ok(joined)) = current.map(|current| Waiter::join(current, fresh, runtime)) {
            drop(locked);
            return Admission::Joined(joined.settle_in(runtime));
        }
        if let Some(answer) = look() {
            return Admission::Answered(answer);
        }
        let (waiter, runner) = self.lead(locked, Key::clone(key), request());
        Admission::Led(waiter, runner)
    }

    /// Leads a new flight, in place of the one that there may be.
    fn lead(self: &Arc<Self>, mut locked: Locked<'_>, key: Key, request: Request) -> (Waiter, Runner) {
        let runner = Flight::lead(self, request);
        let waiter = Waiter::first(&runner);
        let replaced = locked.shard.insert(key, Arc::clone(&runner.flight));
        drop(locked);
        self.telemetry.run_began(&runner.run);
        if let Some(replaced) = replaced {
            replaced.superseded();
        }
        (waiter, runner)
    }

    /// Leads a new flight, or a vacant one; unless one is under way or `unless` (under the lock) says no.
    pub(crate) fn lead_if_idle(
        self: &Arc<Self>,
        request: Request,
        unless: impl FnOnce() -> bool,
    ) -> Option<(Waiter, Runner)> {
        let key = Key::clone(&request.run.key);
        loop {
            let locked = self.lock(&key);
            let current = locked.shard.get(&key).filter(|current| !current.is_void());
            if current.is_some_and(|current| current.is_under_way()) {
                return None;
            }
            if let Some(Ok(joined)) = current.map(|current| Waiter::join(Arc::clone(current), false, None)) {
                drop(locked);
                let waiter = joined.waiter;
                if waiter.flight.enforce_limit() {
                    continue;
                }
                let runner = waiter.take_over()?;
                return Some((waiter, runner));
            }
            if unless() {
                return None;
            }
            return Some(self.lead(locked, key, request));
        }
    }

    /// Ends the currency of the key's flight, if there is one, and does `then` in the same step.
    pub(crate) fn supersede(&self, key: &[u8], then: impl FnOnce()) {
        let mut locked = self.lock(key);
        self.voided[Self::shard(key)].fetch_add(1, Ordering::SeqCst);
        let removed = locked.shard.remove(key);
        then();
        drop(locked);
        if let Some(removed) = removed {
            removed.superseded();
        }
    }

    /// Ends the currency of all flights that began before this epoch. Those that began in it stay: one of them may have
    /// ended the currency of another, and what that had stored must not outlive it.
    pub(crate) fn supersede_before(&self, epoch: u64) {
        for shard in &self.shards {
            let removed: Vec<_> = shard.lock().extract_if(|_, flight| flight.epoch < epoch).collect();
            for (_, flight) in removed {
                flight.superseded();
            }
        }
    }

    /// Takes a flight out of the table if it is (still) there.
    pub(crate) fn remove(&self, flight: &Flight) {
        let mut locked = self.lock(&flight.key);
        if locked.is_current(flight) {
            let removed = locked.shard.remove(&flight.key);
            drop(locked);
            drop(removed);
        }
    }
}

impl Locked<'_> {
    /// Takes the key's flight out of the table.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Arc<Flight>> {
        self.shard.remove(key)
    }

    pub(crate) fn is_current(&self, flight: &Flight) -> bool {
        self.shard.get(&flight.key).is_some_and(|current| std::ptr::eq(&raw const **current, flight))
    }
}
