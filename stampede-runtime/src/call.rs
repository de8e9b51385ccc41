//! The call algorithm: from a key to an answer.
//!
//! 1. Look into the store. A fresh value is the answer; a stale one is too, and starts a refresh unless one is under way or
//!    put off.
//! 2. Otherwise join the key's flight, or lead a new one: run the body in a task of its own, or (`inline`) in this one.
//! 3. Wait. If the run is lost (its runtime or caller went away, or it reached its limit), one of those who wait starts the
//!    next one.
//!
//! 1 and 2 happen when the call is made, which is when the function is first polled; the future is what 3 needs, and no
//! more: a hundred thousand callers may be waiting. Nothing here holds a lock while it waits, and dropping a call at any
//! point gives up its place and nothing else.

use std::any::TypeId;
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use once_cell::sync::Lazy;
use serde::Serialize;
use tokio::time::Instant;

use crate::context::{self, InRun, Mode, Within};
use crate::cycle::Edge;
use crate::execution::{Execution, Plan, split, take_error};
use crate::flight::{Arrival, Outcome as Settled, Runner, Waiter};
use crate::flights::{Admission, Request};
use crate::key::{Key, KeyBuf, KeyError};
use crate::launch::{Driven, Launch, Launched, Refused};
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

/// Once per cache: its calls work, but uncached, which nobody would notice.
pub(crate) fn warn_about_key(name: &'static str, error: &KeyError) {
    static WARNED: Lazy<Mutex<HashSet<&'static str>>> = Lazy::new(Mutex::default);
    if WARNED.lock().insert(name) {
        tracing::warn!(cache = name, %error, "a key cannot be serialized: such calls run uncached");
    }
}

/// How to make a value: what the caller brings along.
pub(crate) struct Recipe<H, O, S, L> {
    /// How an error reaches several callers.
    pub(crate) share: H,
    /// The cache's options, asked for when a run may have to start.
    pub(crate) options: O,
    /// Makes the future of the body.
    pub(crate) start: S,
    /// Where it runs.
    pub(crate) launch: L,
}

/// A call on its way to its answer.
///
/// # Cancel safety
///
/// Dropping it gives up the caller's place in the flight. With `inline`, it also drops the run that takes place in it.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Call<R, V: Value, E, D, H, O, S, F, L> {
    recipe: Recipe<H, O, S, L>,
    state: State<R, V, E, D, H, F>,
}

// Nothing is pinned within but what is boxed.
impl<R, V: Value, E, D, H, O, S, F, L> Unpin for Call<R, V, E, D, H, O, S, F, L> {}

enum State<R, V: Value, E, D, H, F> {
    /// The store had it.
    Answered(V),
    /// A run is under way.
    Waiting(Waiting<R, V, E, D, H, F>),
    /// Past everything: the body runs here and now, for this call alone.
    Uncached(Box<Uncached<F>>),
    /// The answer has been given.
    Over,
}

/// A call's place in a flight.
struct Waiting<R, V: Value, E, D, H, F> {
    waiter: Waiter<V>,
    tally: Tally,
    _edge: Option<Box<Edge>>,
    /// The run, if it takes place here.
    run: Option<Driven<R, V, E, D, H, F>>,
    /// The old value that it is to replace, which will do if it fails.
    old: Option<Box<Arc<AnyStored>>>,
    /// Whether the run is this call's.
    led: bool,
}

struct Uncached<F> {
    body: Pin<Box<Within<InRun, F>>>,
    run: Arc<Run>,
    _edge: Option<Box<Edge>>,
    _tally: Tally,
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

    /// The caller's copy of a value. The call is an error if that panics.
    fn copy<V: Clone>(&mut self, value: &V) -> V {
        let path = self.outcome;
        self.took(Outcome::Error);
        let copy = value.clone();
        self.took(path);
        copy
    }

    /// Gives a call up with a panic.
    fn panic(&mut self, message: &str) -> ! {
        self.took(Outcome::Error);
        panic!("stampede: {message}")
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.store.flights().counters.call(self.outcome);
    }
}

/// A question to the flights of a store.
struct Ticket {
    key: Key,
    name: &'static str,
    /// Only a run that a `fresh` call starts will do.
    fresh: bool,
    tally: Tally,
}

impl Ticket {
    fn store(&self) -> &Store {
        &self.tally.store
    }

    /// Whether the store is switched off for this call.
    fn bypass(&self) -> bool {
        self.tally.outcome == Outcome::Bypass
    }

    fn request<V>(&self, options: &Options<V>) -> Request {
        let store = self.store();
        Request {
            run: Run::new(self.name, Arc::clone(&self.key), store.id()),
            fresh: self.fresh,
            stores: !self.bypass() && !store.cap(options.ttl).is_zero(),
            counts: !self.bypass(),
            run_limit: options.run_limit,
            retry_after: options.retry_after,
            epoch: store.epoch(),
        }
    }

    /// What a run that has just ended may have stored.
    fn look_again<V: Value>(&self) -> Option<Arc<AnyStored>> {
        if self.fresh || self.bypass() {
            return None;
        }
        let (stored, age) = self.store().look_up(&self.key)?;
        (age == Age::Fresh && stored.downcast::<V>().is_some()).then_some(stored)
    }
}

impl<R, V, E, D, H, O, S, F, L> Call<R, V, E, D, H, O, S, F, L>
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
    /// Makes a call for a key, to a store or the one in force.
    pub(crate) fn new<K: Serialize + ?Sized>(
        id: Id,
        store: Option<&Store>,
        parts: &K,
        mut recipe: Recipe<H, O, S, L>,
    ) -> Self {
        let store = store.cloned().unwrap_or_else(Store::current);
        let state = Self::enter(&mut recipe, id, store, parts);
        Self { recipe, state }
    }

    /// The first look.
    fn enter<K: Serialize + ?Sized>(
        recipe: &mut Recipe<H, O, S, L>,
        id: Id,
        store: Store,
        parts: &K,
    ) -> State<R, V, E, D, H, F> {
        let mode = context::mode();
        if mode == Mode::Uncached {
            return Self::uncached(recipe, id.name, store);
        }
        let key = match KeyBuf::encode(id.space, parts) {
            Ok(key) => key,
            Err(error) => {
                warn_about_key(id.name, &error);
                return Self::uncached(recipe, id.name, store);
            }
        };
        let bypass = store.is_bypassed();
        let fresh = mode == Mode::Fresh;
        let found = if bypass || fresh { None } else { store.look_up(key.as_bytes()) };
        let ticket =
            |store, outcome| Ticket { key: key.to_key(), name: id.name, fresh, tally: Tally { store, outcome } };
        if let Some((stored, age)) = found
            && let Some(value) = stored.downcast::<V>()
        {
            if age == Age::Fresh {
                let mut tally = Tally { store, outcome: Outcome::Fresh };
                return State::Answered(tally.copy(value));
            }
            if mode == Mode::Normal {
                let mut ticket = ticket(store, Outcome::Stale);
                let value = ticket.tally.copy(value);
                return Self::stale(recipe, value, stored, ticket);
            }
        }
        let outcome = if bypass { Outcome::Bypass } else { Outcome::Coalesced };
        Self::ask(recipe, ticket(store, outcome))
    }

    /// Runs the body here and now, for this call alone.
    fn uncached(recipe: &mut Recipe<H, O, S, L>, name: &'static str, store: Store) -> State<R, V, E, D, H, F> {
        let mut tally = Tally { store, outcome: Outcome::Bypass };
        let run = Arc::new(Run::uncached(name));
        let edge = wait_edge(&run, true).unwrap_or_else(|chain| tally.panic(&chain));
        let body = Within::new(InRun::new(Arc::clone(&run), context::store()), (recipe.start)());
        State::Uncached(Box::new(Uncached { body: Box::pin(body), run, _edge: edge, _tally: tally }))
    }

    /// Answers with an old value and sees to a new one.
    fn stale(
        recipe: &mut Recipe<H, O, S, L>,
        value: V,
        stored: Arc<AnyStored>,
        mut ticket: Ticket,
    ) -> State<R, V, E, D, H, F> {
        if stored.is_put_off(Instant::now()) {
            return State::Answered(value);
        }
        recipe.launch.check().unwrap_or_else(|message| ticket.tally.panic(message));
        let options = (recipe.options)();
        let done = || match ticket.store().look_up(&ticket.key) {
            Some((stored, age)) => age == Age::Fresh || stored.is_put_off(Instant::now()),
            None => false,
        };
        // What was stored once is to be stored again, whatever the body will say to that.
        let request = Request { stores: true, ..ticket.request(&options) };
        let Some((waiter, runner)) = ticket.store().flights().lead_if_idle(request, done) else {
            return State::Answered(value);
        };
        if L::DETACHED {
            drop(waiter);
            // A runtime that takes no more tasks has had its day: the old value will do.
            let _ = Self::run(recipe, runner, &ticket.tally, options);
            return State::Answered(value);
        }
        // A run that cannot go on without its caller: this one waits for it, and the others get the old value.
        let Ok(edge) = wait_edge(&runner.run, true) else { return State::Answered(value) };
        let run = Self::run(recipe, runner, &ticket.tally, options).unwrap_or_default();
        let old = Some(Box::new(stored));
        State::Waiting(Waiting { waiter, tally: ticket.tally, _edge: edge, run, old, led: true })
    }

    /// Joins the key's flight, or leads it.
    fn ask(recipe: &mut Recipe<H, O, S, L>, mut ticket: Ticket) -> State<R, V, E, D, H, F> {
        recipe.launch.check().unwrap_or_else(|message| ticket.tally.panic(message));
        let options = (recipe.options)();
        let admission = ticket.store().flights().admit(ticket.request(&options), || ticket.look_again::<V>());
        let (waiter, runner) = match admission {
            Admission::Joined(waiter) => (waiter, None),
            Admission::Led(waiter, runner) => (waiter, Some(runner)),
            Admission::Answered(stored) => {
                ticket.tally.took(Outcome::Fresh);
                return match stored.downcast::<V>() {
                    Some(value) => State::Answered(ticket.tally.copy(value)),
                    None => State::Over,
                };
            }
        };
        let edge = wait_edge(&waiter.run(), runner.is_some()).unwrap_or_else(|chain| ticket.tally.panic(&chain));
        let waiting = Waiting { waiter, tally: ticket.tally, _edge: edge, run: None, old: None, led: false };
        match runner {
            Some(runner) => Self::lead(recipe, waiting, runner, options),
            None => State::Waiting(waiting),
        }
    }

    /// Starts the run that a call waits for.
    fn lead(
        recipe: &mut Recipe<H, O, S, L>,
        mut waiting: Waiting<R, V, E, D, H, F>,
        runner: Runner<V>,
        options: Options<V>,
    ) -> State<R, V, E, D, H, F> {
        waiting.tally.took(Outcome::Miss);
        waiting.led = true;
        match Self::run(recipe, runner, &waiting.tally, options) {
            Ok(run) => waiting.run = run,
            Err(Refused) => waiting.tally.panic("the tokio runtime is shutting down and takes no more tasks"),
        }
        State::Waiting(waiting)
    }

    /// Starts the next run of a flight whose run was lost.
    fn take_over(
        recipe: &mut Recipe<H, O, S, L>,
        mut waiting: Waiting<R, V, E, D, H, F>,
        runner: Runner<V>,
    ) -> State<R, V, E, D, H, F> {
        if let Some(value) = waiting.old() {
            runner.decline();
            return State::Answered(value);
        }
        recipe.launch.check().unwrap_or_else(|message| waiting.tally.panic(message));
        let options = (recipe.options)();
        Self::lead(recipe, waiting, runner, options)
    }

    /// Starts a run.
    fn run(
        recipe: &mut Recipe<H, O, S, L>,
        runner: Runner<V>,
        tally: &Tally,
        options: Options<V>,
    ) -> Launched<R, V, E, D, H, F> {
        let plan = Plan { store: tally.store.clone(), options, bypass: tally.outcome == Outcome::Bypass };
        let body = (recipe.start)();
        recipe.launch.launch(Execution::new(runner, plan, recipe.share, context::store(), body))
    }
}

impl<R, V, E, D, H, O, S, F, L> Future for Call<R, V, E, D, H, O, S, F, L>
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
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let Self { recipe, state } = self.get_mut();
        loop {
            match std::mem::replace(state, State::Over) {
                State::Answered(value) => return Poll::Ready(D::join(Ok(value))),
                State::Waiting(mut waiting) => match waiting.poll_arrival(cx) {
                    Poll::Pending => {
                        *state = State::Waiting(waiting);
                        return Poll::Pending;
                    }
                    Poll::Ready(Arrival::TakenOver(runner)) => *state = Self::take_over(recipe, waiting, runner),
                    Poll::Ready(Arrival::Outdated) => *state = Self::ask(recipe, waiting.into_ticket()),
                    Poll::Ready(Arrival::Settled) => match waiting.answer(recipe.share) {
                        Ok(result) => return Poll::Ready(D::join(result)),
                        Err(ticket) => *state = Self::ask(recipe, ticket),
                    },
                },
                State::Uncached(mut uncached) => {
                    let Poll::Ready(output) = uncached.body.as_mut().poll(cx) else {
                        *state = State::Uncached(uncached);
                        return Poll::Pending;
                    };
                    return Poll::Ready(D::join(split::<R, V, E, D, H>(output, &uncached.run, recipe.share)));
                }
                State::Over => panic!("a coalesced call was polled after it had answered"),
            }
        }
    }
}

impl<R, V, E, D, H, F> Waiting<R, V, E, D, H, F>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    /// Ready once the flight has an outcome, or a next run to be started; polls the run along the way if it takes place here.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival<V>> {
        if let Some(run) = &mut self.run
            && run.as_mut().poll(cx).is_ready()
        {
            self.run = None;
        }
        self.waiter.poll_arrival(cx)
    }

    /// The old value that an inline refresh was to replace, if it is still what is stored.
    fn old(&self) -> Option<V> {
        let old = self.old.as_ref()?;
        let (stored, _) = self.tally.store.look_up(&self.waiter.run().key)?;
        if Arc::ptr_eq(old, &stored) { old.downcast::<V>().cloned() } else { None }
    }

    /// What the flight's outcome is to this call; a ticket to ask again if it is none.
    fn answer(mut self, share: H) -> Result<Result<V, E>, Ticket> {
        let outcome = self.waiter.flight.outcome();
        if let Some(Settled::Value(stored)) = outcome
            && let Some(value) = stored.value()
        {
            if self.old.is_some() {
                self.tally.took(Outcome::Miss);
            }
            return Ok(Ok(self.tally.copy(value)));
        }
        if let Some(old) = self.old() {
            return Ok(Ok(old));
        }
        match outcome {
            Some(Settled::Error(settled)) => {
                if let Some(error) = take_error(&mut **settled.lock(), share) {
                    self.tally.took(Outcome::Error);
                    return Ok(Err(error));
                }
                // An error of another type: a `Cache` was asked in two ways at once. This caller's own run will tell.
            }
            Some(Settled::Panic(payload, message)) => {
                self.tally.took(Outcome::Error);
                let original = if self.led { payload.lock().take() } else { None };
                resume_unwind(original.unwrap_or_else(|| Box::new(message.to_string())));
            }
            Some(Settled::Value(_)) | None => {}
        }
        Err(self.into_ticket())
    }

    /// To ask once more.
    fn into_ticket(self) -> Ticket {
        let run = self.waiter.run();
        Ticket { key: Arc::clone(&run.key), name: run.name, fresh: self.waiter.is_fresh(), tally: self.tally }
    }
}

/// Notes that the run whose body calls waits for this one, which the call leads or joins.
///
/// # Errors
///
/// That closes a circle.
fn wait_edge(awaited: &Run, leads: bool) -> Result<Option<Box<Edge>>, String> {
    let Some(waiter) = context::run() else { return Ok(None) };
    match Edge::add(&waiter, awaited, leads) {
        Ok(edge) => Ok(Some(Box::new(edge))),
        Err(chain) => Err(format!("a run waits for itself and would never end: {chain}")),
    }
}
