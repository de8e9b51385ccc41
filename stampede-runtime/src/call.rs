//! The call algorithm: from a key to an answer.
//!
//! 1. Look into the store. A fresh value is the answer; a stale one is too, and starts a refresh unless one is under way or
//!    put off.
//! 2. Otherwise join the key's flight, or lead a new one: run the body in a task of its own, or (`inline`) in this one.
//! 3. Wait. A flight that was lost (its runtime or caller went away, or it reached its limit) sends everyone who waits back
//!    to 2, where one of them leads.
//!
//! Nothing here holds a lock while it waits, and dropping a call at any point gives up its place and nothing else.

use std::any::TypeId;
use std::collections::HashSet;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;

use once_cell::sync::Lazy;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::context::{self, InRun, Mode, Within};
use crate::cycle::Edge;
use crate::execution::{Execution, Plan, split, take_error};
use crate::flight::{Admission, Flight, Lost, Outcome as Settled, Request, Runner, Waiter};
use crate::key::{Key, KeyBuf, KeyError};
use crate::memory::AnyStored;
use crate::policy::{Age, Options};
use crate::reply::{Divide, Share, Value};
use crate::run::Run;
use crate::space::{Site, Space};
use crate::stats::Outcome;
use crate::store::Store;
use crate::sync::Mutex;

/// Which cache a call is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id {
    pub(crate) space: Space,
    pub(crate) name: &'static str,
}

impl Id {
    pub(crate) fn of(site: &Site, types: &[TypeId], owner: Option<&str>) -> Self {
        let (space, name) = site.space(types, owner);
        Self { space, name }
    }
}

/// A call that found no answer, or not the last word, in the store.
pub(crate) struct Ticket {
    store: Store,
    key: Key,
    name: &'static str,
    /// Only a run that starts now will do.
    fresh: bool,
    /// The store is switched off.
    bypass: bool,
}

/// What the first look came to.
pub(crate) enum Entered<V> {
    Fresh(V),
    Stale(V, Arc<AnyStored>, Ticket),
    Miss(Ticket),
    /// Past everything.
    Uncached(Store, &'static str),
}

/// Looks a key up in a store, the one in force unless told.
pub(crate) fn enter<V: Value, K: Serialize + ?Sized>(id: Id, store: Option<&Store>, parts: &K) -> Entered<V> {
    let store = store.cloned().unwrap_or_else(Store::current);
    let mode = context::mode();
    if mode == Mode::Uncached {
        return Entered::Uncached(store, id.name);
    }
    let key = match KeyBuf::encode(id.space, parts) {
        Ok(key) => key,
        Err(error) => {
            warn_about_key(id.name, &error);
            return Entered::Uncached(store, id.name);
        }
    };
    let bypass = store.is_bypassed();
    let found = if bypass || mode == Mode::Fresh { None } else { store.look_up(key.as_bytes()) };
    if let Some((stored, age)) = found
        && let Some(value) = stored.downcast::<V>()
    {
        if age == Age::Fresh {
            store.flights().counters.call(Outcome::Fresh);
            return Entered::Fresh(value.clone());
        }
        if mode == Mode::Normal {
            let value = value.clone();
            let ticket = Ticket { store, key: key.to_key(), name: id.name, fresh: false, bypass };
            return Entered::Stale(value, stored, ticket);
        }
    }
    let fresh = mode == Mode::Fresh;
    Entered::Miss(Ticket { store, key: key.to_key(), name: id.name, fresh, bypass })
}

/// Once per cache: its calls work, but uncached, which nobody would notice.
pub(crate) fn warn_about_key(name: &'static str, error: &KeyError) {
    static WARNED: Lazy<Mutex<HashSet<&'static str>>> = Lazy::new(Mutex::default);
    if WARNED.lock().insert(name) {
        tracing::warn!(cache = name, %error, "a key cannot be serialized: such calls run uncached");
    }
}

/// Where a run takes place.
pub trait Launch<R, V: Value, E, D, H, F>: Copy {
    /// Whether a run can go on without its caller.
    const DETACHED: bool;

    /// Panics with one clear message if runs cannot be started here.
    fn check(self);

    /// Starts a run, or gives it back to be polled by the caller.
    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Option<Pin<Box<Execution<R, V, E, D, H, F>>>>;
}

/// In a task of its own.
#[derive(Clone, Copy, Debug)]
pub struct Detached;

/// In the task of the call that started it.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl<R, V, E, D, H, F> Launch<R, V, E, D, H, F> for Detached
where
    R: 'static,
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E> + 'static,
    H: Share<E> + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    const DETACHED: bool = true;

    fn check(self) {
        assert!(
            Handle::try_current().is_ok(),
            "stampede: a coalesced function runs its body in a tokio task, and there is no tokio runtime here: \
             call it from within one, or annotate it with `inline`"
        );
    }

    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Option<Pin<Box<Execution<R, V, E, D, H, F>>>> {
        let runtime = Handle::current();
        let flight = run.flight();
        let task = runtime.spawn(run);
        if let Some(flight) = flight {
            flight.runs_as(task.abort_handle(), runtime.id());
        }
        None
    }
}

impl<R, V, E, D, H, F> Launch<R, V, E, D, H, F> for Inline
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    const DETACHED: bool = false;

    fn check(self) {}

    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Option<Pin<Box<Execution<R, V, E, D, H, F>>>> {
        Some(Box::pin(run))
    }
}

/// Counts a call when it is over, in whatever way: as an error, or by the path that it had taken.
struct Tally {
    store: Store,
    outcome: Outcome,
}

impl Tally {
    fn took(&mut self, outcome: Outcome) {
        // A call that goes past the store stays one that does, or what was saved would not add up.
        if self.outcome != Outcome::Bypass {
            self.outcome = outcome;
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.took(Outcome::Error);
        }
        self.store.flights().counters.call(self.outcome);
    }
}

/// How to make a value: what the caller brings along.
pub(crate) struct Recipe<H, O, S, L> {
    pub(crate) share: H,
    pub(crate) options: O,
    pub(crate) start: S,
    pub(crate) launch: L,
}

/// Brings a call to its answer.
pub(crate) async fn answer<R, V, E, D, H, O, S, F, L>(entered: Entered<V>, mut recipe: Recipe<H, O, S, L>) -> R
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    O: Fn() -> Options<V>,
    S: FnMut() -> F,
    F: Future<Output = R>,
    L: Launch<R, V, E, D, H, F>,
{
    let result = match entered {
        Entered::Fresh(value) => Ok(value),
        Entered::Stale(value, stored, ticket) => recipe.stale::<R, V, E, D, F>(value, &stored, ticket).await,
        Entered::Miss(ticket) => recipe.miss::<R, V, E, D, F>(ticket).await,
        Entered::Uncached(store, name) => {
            let _tally = Tally { store, outcome: Outcome::Bypass };
            recipe.uncached::<R, V, E, D, F>(name).await
        }
    };
    D::join(result)
}

impl<H, O, S, L> Recipe<H, O, S, L> {
    /// Runs the body here and now, for this caller alone.
    async fn uncached<R, V, E, D, F>(&mut self, name: &'static str) -> Result<V, E>
    where
        V: Value,
        E: Send + 'static,
        D: Divide<R, V, E>,
        H: Share<E>,
        S: FnMut() -> F,
        F: Future<Output = R>,
    {
        let run = Arc::new(Run::uncached(name));
        let _edge = wait_edge(&run);
        let output = Within::new(InRun::new(Arc::clone(&run), context::store()), (self.start)()).await;
        split::<R, V, E, D, H>(output, &run, self.share)
    }

    /// Answers with an old value and sees to a new one.
    async fn stale<R, V, E, D, F>(&mut self, value: V, stored: &AnyStored, ticket: Ticket) -> Result<V, E>
    where
        V: Value,
        E: Send + 'static,
        D: Divide<R, V, E>,
        H: Share<E>,
        O: Fn() -> Options<V>,
        S: FnMut() -> F,
        F: Future<Output = R>,
        L: Launch<R, V, E, D, H, F>,
    {
        let mut tally = Tally { store: ticket.store.clone(), outcome: Outcome::Stale };
        if stored.is_put_off(Instant::now()) {
            return Ok(value);
        }
        self.launch.check();
        let options = (self.options)();
        let is_done = || match ticket.store.look_up(&ticket.key) {
            Some((stored, age)) => age == Age::Fresh || stored.is_put_off(Instant::now()),
            None => false,
        };
        let Some(runner) = ticket.store.flights().lead_unawaited(ticket.request(&options), is_done) else {
            return Ok(value);
        };
        if L::DETACHED {
            self.run::<R, V, E, D, F>(runner, &ticket, options);
            return Ok(value);
        }
        // A run that cannot go on without its caller: this one waits for it, and the others get the old value.
        let waiter = runner.wait();
        let driven = self.run::<R, V, E, D, F>(runner, &ticket, options);
        let flight = settled(waiter, driven).await;
        if let Some(Settled::Value(new)) = flight.outcome()
            && let Some(new) = new.value()
        {
            tally.took(Outcome::Miss);
            return Ok(new.clone());
        }
        Ok(value)
    }

    /// Waits for a run: somebody else's, or one that this call starts.
    async fn miss<R, V, E, D, F>(&mut self, mut ticket: Ticket) -> Result<V, E>
    where
        V: Value,
        E: Send + 'static,
        D: Divide<R, V, E>,
        H: Share<E>,
        O: Fn() -> Options<V>,
        S: FnMut() -> F,
        F: Future<Output = R>,
        L: Launch<R, V, E, D, H, F>,
    {
        let outcome = if ticket.bypass { Outcome::Bypass } else { Outcome::Coalesced };
        let mut tally = Tally { store: ticket.store.clone(), outcome };
        loop {
            self.launch.check();
            let options = (self.options)();
            let admission = ticket.store.flights().admit(ticket.request(&options), || ticket.look_again());
            let (waiter, runner) = match admission {
                Admission::Answered(stored) => {
                    if let Some(value) = stored.downcast::<V>() {
                        tally.took(Outcome::Fresh);
                        return Ok(value.clone());
                    }
                    continue;
                }
                Admission::Joined(waiter) => (waiter, None),
                Admission::Led(waiter, runner) => (waiter, Some(runner)),
            };
            let led = runner.is_some();
            if led {
                tally.took(Outcome::Miss);
            }
            let _edge = wait_edge(&waiter.flight.run);
            let driven = runner.and_then(|runner| self.run::<R, V, E, D, F>(runner, &ticket, options));
            let flight = settled(waiter, driven).await;
            match flight.outcome() {
                Some(Settled::Value(stored)) => {
                    if let Some(value) = stored.value() {
                        return Ok(value.clone());
                    }
                }
                Some(Settled::Error(settled)) => {
                    if let Some(error) = take_error(&mut **settled.lock(), self.share) {
                        tally.took(Outcome::Error);
                        return Err(error);
                    }
                    // An error of another type: a `Cache` was asked in two ways at once. This caller's own run will tell.
                }
                Some(Settled::Panic(payload, message)) => {
                    let original = if led { payload.lock().take() } else { None };
                    resume_unwind(original.unwrap_or_else(|| Box::new(message.to_string())));
                }
                Some(Settled::Lost(Lost::Unpolled)) if led && L::DETACHED => {
                    panic!("stampede: the tokio runtime is shutting down and takes no more tasks");
                }
                Some(Settled::Lost(_)) | None => {}
            }
            // The run is lost. A wish for a fresh one holds for all who waited for it.
            ticket.fresh |= flight.fresh;
        }
    }

    /// Starts the run of a flight that this call leads.
    fn run<R, V, E, D, F>(
        &mut self,
        runner: Runner<V>,
        ticket: &Ticket,
        options: Options<V>,
    ) -> Option<Pin<Box<Execution<R, V, E, D, H, F>>>>
    where
        V: Value,
        E: Send + 'static,
        D: Divide<R, V, E>,
        H: Share<E>,
        S: FnMut() -> F,
        F: Future<Output = R>,
        L: Launch<R, V, E, D, H, F>,
    {
        let plan = Plan { store: ticket.store.clone(), options, bypass: ticket.bypass };
        let body = (self.start)();
        self.launch.launch(Execution::new(runner, plan, self.share, context::store(), body))
    }
}

impl Ticket {
    fn request<V>(&self, options: &Options<V>) -> Request {
        Request {
            run: Run::new(self.name, Arc::clone(&self.key), self.store.id()),
            fresh: self.fresh,
            stores: !self.bypass && !self.store.cap(options.ttl).is_zero(),
            counts: !self.bypass,
            run_limit: options.run_limit,
            epoch: self.store.epoch(),
        }
    }

    /// What a run that has just ended may have stored.
    fn look_again(&self) -> Option<Arc<AnyStored>> {
        if self.fresh || self.bypass {
            return None;
        }
        let (stored, age) = self.store.look_up(&self.key)?;
        (age == Age::Fresh).then_some(stored)
    }
}

/// Notes that the run whose body calls waits for this one.
///
/// # Panics
///
/// If that closes a circle.
fn wait_edge(awaited: &Run) -> Option<Edge> {
    let waiter = context::run()?;
    match Edge::add(&waiter, awaited) {
        Ok(edge) => Some(edge),
        Err(chain) => panic!("stampede: a run waits for itself and would never end: {chain}"),
    }
}

/// Waits for a flight's outcome, polling the run along the way if it is in this task.
async fn settled<R, V, E, D, H, F>(
    mut waiter: Waiter<V>,
    mut driven: Option<Pin<Box<Execution<R, V, E, D, H, F>>>>,
) -> Arc<Flight<V>>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    poll_fn(|cx| {
        if let Some(run) = &mut driven
            && run.as_mut().poll(cx).is_ready()
        {
            driven = None;
        }
        waiter.poll_settled(cx)
    })
    .await;
    Arc::clone(&waiter.flight)
}
