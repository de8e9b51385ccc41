//! The call algorithm: from a key to an answer.
//!
//! 1. Look into the store. What a value that is there comes to is for [`crate::policy`] to say: it is the answer; it is, and
//!    a refresh is due, which is started unless one is under way; or a run is needed.
//! 2. If so, join the key's flight, or lead a new one, if the breaker lets it start: run the body in a task of its own, or
//!    (`inline`) in this one.
//! 3. Wait, as long as the call's patience lasts. If the run is lost (its runtime or caller went away, or it reached its
//!    limit), one of those who wait starts the next one. Where a run has failed, or time is up, an old value may make up
//!    for it.
//!
//! 1 and 2 happen when the call is made, which is when the function is first polled; the future is what 3 needs, and no
//! more: a hundred thousand callers may be waiting. Nothing here holds a lock while it waits, and dropping a call at any
//! point gives up its place and nothing else.

use std::any::TypeId;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use once_cell::sync::Lazy;
use serde::Serialize;
use tokio::time::Instant;

use crate::breaker::{Permit, Refusal};
use crate::context::{self, InRun, Within};
use crate::cycle::Edge;
use crate::execution::{Execution, Plan, split};
use crate::flight::{Arrival, Runner};
use crate::flights::{Admission, Request};
use crate::key::{KeyBuf, KeyError};
use crate::launch::{Launch, Launched, Refused};
use crate::memory::AnyStored;
use crate::patience::{Lapse, Patience};
use crate::policy::{self, Age, Mode, Options, Step};
use crate::refusal::{CircuitOpen, Timeout};
use crate::reply::{Divide, Share, Value};
use crate::run::Run;
use crate::settled::KeptError;
use crate::space::{Site, Space};
use crate::stats::Outcome;
use crate::store::Store;
use crate::sync::Mutex;
use crate::tally::{Found, Tally, Ticket};
use crate::waiting::{Role, Waiting};

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
    /// The store had an error, or no run may start.
    Failed(Box<E>),
    /// A run is under way.
    Waiting(Waiting<R, V, E, D, H, F>),
    /// Past everything: the body runs here and now, for this call alone.
    Uncached(Box<Uncached<F>>),
    /// The answer has been given.
    Over,
}

struct Uncached<F> {
    body: Pin<Box<Within<InRun, F>>>,
    run: Arc<Run>,
    patience: Option<Pin<Box<Patience>>>,
    _edge: Option<Box<Edge>>,
    _tally: Tally,
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
        let found = if bypass || mode == Mode::Fresh { None } else { store.look_up(key.as_bytes()) };
        if let Some((stored, Age::Fresh)) = &found
            && let Some(value) = stored.downcast::<V>()
        {
            let mut tally = Tally { store, outcome: Outcome::Fresh };
            return State::Answered(tally.copy(value));
        }
        let outcome = if bypass { Outcome::Bypass } else { Outcome::Coalesced };
        let tally = Tally { store, outcome };
        let ticket = Ticket { key: key.to_key(), name: id.name, mode, tally, patience: None };
        match found {
            Some((stored, age)) => Self::found(recipe, &stored, age, ticket),
            None => Self::ask(recipe, ticket),
        }
    }

    /// The store has something that is not simply the answer.
    fn found(
        recipe: &mut Recipe<H, O, S, L>,
        stored: &Arc<AnyStored>,
        age: Age,
        mut ticket: Ticket,
    ) -> State<R, V, E, D, H, F> {
        if let Some(error) = stored.downcast::<KeptError>() {
            return match error.take(recipe.share) {
                Some(error) => Self::failed(error, ticket.tally),
                None => Self::ask(recipe, ticket),
            };
        }
        let Some(value) = stored.downcast::<V>() else { return Self::ask(recipe, ticket) };
        let step = policy::step(age, ticket.mode, stored.is_put_off(Instant::now()));
        if step == Step::Run {
            return Self::ask(recipe, ticket);
        }
        ticket.tally.took(if age.is_fresh() { Outcome::Fresh } else { Outcome::Stale });
        let value = ticket.tally.copy(value);
        if step == Step::Refresh { Self::refresh(recipe, value, stored, ticket) } else { State::Answered(value) }
    }

    /// The call ends in an error without a run.
    fn failed(error: E, mut tally: Tally) -> State<R, V, E, D, H, F> {
        tally.took(Outcome::Error);
        State::Failed(Box::new(error))
    }

    /// No run may start: an old value is the answer, or an error is.
    fn refused(share: H, mut ticket: Ticket) -> State<R, V, E, D, H, F> {
        let Ticket { key, mode, tally, name, .. } = &mut ticket;
        if let Some(value) = tally.make_up(key, *mode, false) {
            return State::Answered(value);
        }
        tally.took(Outcome::Error);
        match share.circuit_open(CircuitOpen { cache: name }) {
            Some(error) => Self::failed(error, ticket.tally),
            None => tally.panic("a breaker is open, and the call has no error to say so"),
        }
    }

    /// Runs the body here and now, for this call alone.
    fn uncached(recipe: &mut Recipe<H, O, S, L>, name: &'static str, store: Store) -> State<R, V, E, D, H, F> {
        let mut tally = Tally { store, outcome: Outcome::Bypass };
        let patience = Patience::new(&(recipe.options)(), false);
        let run = Arc::new(Run::uncached(name));
        let edge = wait_edge(&run, true).unwrap_or_else(|chain| tally.panic(&chain));
        let body = Within::new(InRun::new(Arc::clone(&run), context::store()), (recipe.start)());
        State::Uncached(Box::new(Uncached { body: Box::pin(body), run, patience, _edge: edge, _tally: tally }))
    }

    /// Answers with the value that is there and sees to a new one.
    fn refresh(
        recipe: &mut Recipe<H, O, S, L>,
        value: V,
        stored: &Arc<AnyStored>,
        mut ticket: Ticket,
    ) -> State<R, V, E, D, H, F> {
        recipe.launch.check().unwrap_or_else(|message| ticket.tally.panic(message));
        let options = (recipe.options)();
        let mut permit = None;
        let done = || {
            // What was due a moment ago still is, unless it has been replaced or put off: chance is not asked again.
            let done = ticket.store().look_up(&ticket.key).is_some_and(|(now, age)| {
                now.is_put_off(Instant::now()) || age.is_fresh() && !Arc::ptr_eq(&now, stored)
            });
            done || ticket.tally.permit(&ticket.key, ticket.name, &options).map(|leave| permit = leave).is_err()
        };
        // What was stored once is to be stored again, whatever the body will say to that.
        let request = Request { stores: true, ..ticket.request(&options) };
        let Some((waiter, runner)) = ticket.store().flights().lead_if_idle(request, done) else {
            return State::Answered(value);
        };
        // It is not asked about a flight that was left vacant.
        if permit.is_none() {
            let Ok(leave) = ticket.tally.permit(&ticket.key, ticket.name, &options) else {
                runner.decline();
                return State::Answered(value);
            };
            permit = leave;
        }
        if L::DETACHED {
            drop(waiter);
            // A runtime that takes no more tasks has had its day: the old value will do.
            let _ = Self::run(recipe, runner, &ticket.tally, options, permit);
            return State::Answered(value);
        }
        // A run that cannot go on without its caller: this one waits for it, and the others get the old value.
        let Ok(edge) = wait_edge(&runner.run, true) else { return State::Answered(value) };
        ticket.patience = Patience::new(&options, true);
        let run = Self::run(recipe, runner, &ticket.tally, options, permit).unwrap_or_default();
        let mut waiting = Waiting::new(waiter, ticket, edge);
        (waiting.run, waiting.role) = (run, Role::Refreshes);
        State::Waiting(waiting)
    }

    /// Joins the key's flight, or leads it.
    fn ask(recipe: &mut Recipe<H, O, S, L>, mut ticket: Ticket) -> State<R, V, E, D, H, F> {
        recipe.launch.check().unwrap_or_else(|message| ticket.tally.panic(message));
        let options = (recipe.options)();
        if ticket.patience.is_none() {
            ticket.patience = Patience::new(&options, ticket.mode == Mode::Normal && !ticket.tally.bypass());
        }
        let mut permit = None;
        let look = || {
            ticket.look_again::<V, E, H>().or_else(|| match ticket.tally.permit(&ticket.key, ticket.name, &options) {
                Ok(leave) => {
                    permit = leave;
                    None
                }
                Err(Refusal) => Some(Found::Refusal),
            })
        };
        let admission = ticket.store().flights().admit(ticket.request(&options), look);
        let (waiter, runner) = match admission {
            Admission::Joined(waiter) => (waiter, None),
            Admission::Led(waiter, runner) => (waiter, Some(runner)),
            Admission::Answered(Found::Refusal) => return Self::refused(recipe.share, ticket),
            Admission::Answered(Found::Answer(stored, outcome)) => {
                ticket.tally.took(outcome);
                if let Some(value) = stored.downcast::<V>() {
                    return State::Answered(ticket.tally.copy(value));
                }
                let error = stored.downcast::<KeptError>().and_then(|error| error.take(recipe.share));
                return error.map_or(State::Over, |error| Self::failed(error, ticket.tally));
            }
        };
        let edge = wait_edge(&waiter.run(), runner.is_some()).unwrap_or_else(|chain| ticket.tally.panic(&chain));
        let mut waiting = Waiting::new(waiter, ticket, edge);
        waiting.has_window = options.terms.have_window();
        match runner {
            Some(runner) => Self::lead(recipe, waiting, runner, options, permit),
            None => State::Waiting(waiting),
        }
    }

    /// Starts the run that a call waits for.
    fn lead(
        recipe: &mut Recipe<H, O, S, L>,
        mut waiting: Waiting<R, V, E, D, H, F>,
        runner: Runner<V>,
        options: Options<V>,
        permit: Option<Permit>,
    ) -> State<R, V, E, D, H, F> {
        waiting.tally.took(Outcome::Miss);
        waiting.role = Role::Leads;
        match Self::run(recipe, runner, &waiting.tally, options, permit) {
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
        if runner.run.follows_timeout()
            && let Some(value) = waiting.make_up()
        {
            runner.decline();
            return State::Answered(value);
        }
        recipe.launch.check().unwrap_or_else(|message| waiting.tally.panic(message));
        let options = (recipe.options)();
        if let Ok(permit) = waiting.tally.permit(&runner.run.key, runner.run.name, &options) {
            Self::lead(recipe, waiting, runner, options, permit)
        } else {
            runner.decline();
            Self::refused(recipe.share, waiting.into_ticket())
        }
    }

    /// Starts a run.
    fn run(
        recipe: &mut Recipe<H, O, S, L>,
        runner: Runner<V>,
        tally: &Tally,
        options: Options<V>,
        permit: Option<Permit>,
    ) -> Launched<R, V, E, D, H, F> {
        let plan = Plan { store: tally.store.clone(), options, bypass: tally.bypass(), permit };
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
                State::Failed(error) => return Poll::Ready(D::join(Err(*error))),
                State::Waiting(mut waiting) => match waiting.poll_arrival(cx) {
                    Poll::Pending => match waiting.poll_patience(cx, recipe.share) {
                        Poll::Pending => {
                            *state = State::Waiting(waiting);
                            return Poll::Pending;
                        }
                        Poll::Ready(answer) => return Poll::Ready(D::join(answer)),
                    },
                    Poll::Ready(Arrival::TakenOver(runner)) => *state = Self::take_over(recipe, waiting, runner),
                    Poll::Ready(Arrival::Outdated) => *state = Self::ask(recipe, waiting.into_ticket()),
                    Poll::Ready(Arrival::Settled) => match waiting.answer(recipe.share) {
                        Ok(result) => return Poll::Ready(D::join(result)),
                        Err(ticket) => *state = Self::ask(recipe, ticket),
                    },
                },
                State::Uncached(mut uncached) => {
                    let Poll::Ready(output) = uncached.body.as_mut().poll(cx) else {
                        let lapse = uncached.patience.as_mut().map(|patience| patience.as_mut().poll(cx));
                        if let Some(Poll::Ready(Lapse::Hard(after))) = lapse {
                            return Poll::Ready(D::join(Err(timed_out(recipe.share, uncached.run.name, after))));
                        }
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

/// The error of a call that took too long.
pub(crate) fn timed_out<E, H: Share<E>>(share: H, cache: &'static str, after: Duration) -> E {
    match share.timeout(Timeout { cache, after }) {
        Some(error) => error,
        None => panic!("stampede: a call of `{cache}` timed out, and has no error to say so"),
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
