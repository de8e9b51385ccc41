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
//!
//! All this is in [`crate::asking`], once for all types. Here is what depends on them: to encode the key, to start a body
//! and poll it, and to make what the function returns of the answer. It comes to a copy in the crate of the user for each
//! signature that functions there have; for each function, a few lines.

use std::any::TypeId;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use once_cell::sync::Lazy;
use pin_project_lite::pin_project;
use serde::Serialize;

use crate::asking::{Alone, Answer, State, Typed, look, look_away};
use crate::context::{self, InRun, Within};
use crate::execution::{Execution, Plan, split};
use crate::flight::{Outcome, Runner};
use crate::key::{KeyError, Probe, hash};
use crate::launch::{Launch, Refused};
use crate::memory::AnyStored;
use crate::policy::{Mode, Opinion, Options, Rules};
use crate::refusal::{CircuitOpen, Timeout};
use crate::reply::{Divide, Reply, Share, Value};
use crate::run::Run;
use crate::settled::AnyError;
use crate::space::{Site, Space};
use crate::store::Store;
use crate::sync::Mutex;
use crate::tally::{Kind, Tally};

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
    // First: a body is gone before the call gives up its place.
    here: Here<R, V, E, D, H, F>,
    state: State,
    recipe: Recipe<H, O, S, L>,
}

/// What has become of a call at once.
#[derive(Debug)]
pub enum Called<R, C> {
    /// It was a hit: this is its answer. It has never been a future, nor is it moved into one.
    Hit(R),
    /// It is to be awaited.
    Going(C),
}

// Nothing is pinned within but what is boxed.
impl<R, V: Value, E, D, H, O, S, F, L> Unpin for Call<R, V, E, D, H, O, S, F, L> {}

/// What is polled in the task of the call, if anything is.
type Here<R, V, E, D, H, F> = Option<Pin<Box<Body<R, V, E, D, H, F>>>>;

pin_project! {
    #[project = BodyProjection]
    enum Body<R, V, E, D, H, F> {
        /// For all who wait.
        Shared { #[pin] run: Execution<R, V, E, D, H, F> },
        /// For this call alone.
        Alone { #[pin] body: Within<InRun, F> },
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
    #[inline]
    pub(crate) fn new<K: Serialize + ?Sized>(
        id: Id,
        store: Option<&Store>,
        parts: &K,
        mut recipe: Recipe<H, O, S, L>,
    ) -> Called<R, Self> {
        let mode = context::mode();
        let hash = if mode == Mode::Uncached { None } else { known(id, hash(id.space, parts)) };
        let (mut value, mut missed) = (None, None);
        if let Some(hash) = hash
            && mode != Mode::Fresh
        {
            let mut take = |stored: &AnyStored| {
                value = stored.downcast::<V>().cloned();
                value.is_some()
            };
            if look(store, &Probe { space: id.space, hash, parts: &parts }, &mut take, &mut missed)
                && let Some(value) = value
            {
                return Called::Hit(D::join(Ok(value)));
            }
        }
        let missed = missed.unwrap_or_else(|| look_away(store));
        let key = hash.and_then(|hash| known(id, Probe { space: id.space, hash, parts: &parts }.to_key()));
        let mut here = None;
        let state = State::enter(&mut Caller::of(&mut recipe, &mut here), id.name, mode, key, missed);
        Called::Going(Self { here, state, recipe })
    }
}

/// What comes of a key, if it can be serialized.
#[inline]
fn known<T>(id: Id, key: Result<T, KeyError>) -> Option<T> {
    key.inspect_err(|error| warn_about_key(id.name, error)).ok()
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
        let Self { recipe, state, here } = self.get_mut();
        Caller::of(recipe, here).poll(state, cx)
    }
}

/// Who calls, with a recipe whose parts have no types of their own: functions of one signature share what follows.
struct Caller<'c, R, V, E, D, H, F, L> {
    share: H,
    options: &'c dyn Fn() -> Options<V>,
    start: &'c mut dyn FnMut() -> F,
    launch: L,
    here: &'c mut Here<R, V, E, D, H, F>,
    /// Came with the rules, and goes with the run.
    opinion: Opinion<V>,
    _reply: Reply<R, V, E, D>,
}

impl<'c, R, V, E, D, H, F, L> Caller<'c, R, V, E, D, H, F, L>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
    L: Launch<R, V, E, D, H, F>,
{
    fn of<O: Fn() -> Options<V>, S: FnMut() -> F>(
        recipe: &'c mut Recipe<H, O, S, L>,
        here: &'c mut Here<R, V, E, D, H, F>,
    ) -> Self {
        let Recipe { share, options, start, launch } = recipe;
        Self { share: *share, options, start, launch: *launch, here, opinion: Opinion::NONE, _reply: Reply::NEW }
    }

    fn poll(mut self, state: &mut State, cx: &mut Context<'_>) -> Poll<R> {
        let result = if let State::Alone(alone) = state {
            let Poll::Ready(result) = self.poll_alone(alone, cx) else { return Poll::Pending };
            *state = State::Over;
            result
        } else {
            let Poll::Ready((answer, tally)) = state.poll(&mut self, cx) else { return Poll::Pending };
            self.take(answer, tally)
        };
        Poll::Ready(D::join(result))
    }

    fn poll_alone(&mut self, alone: &mut Alone, cx: &mut Context<'_>) -> Poll<Result<V, E>> {
        if let Some(BodyProjection::Alone { body }) = self.here.as_mut().map(|here| here.as_mut().project())
            && let Poll::Ready(output) = body.poll(cx)
        {
            *self.here = None;
            return Poll::Ready(split::<R, V, E, D, H>(output, &alone.run, self.share));
        }
        alone.poll_patience(cx).map(|(cache, after)| Err(self.timed_out(cache, after)))
    }

    /// The result that this answer is.
    fn take(&self, answer: Answer, mut tally: Tally) -> Result<V, E> {
        let error = match answer {
            Answer::Stored(stored) => match stored.downcast::<V>() {
                Some(value) => return Ok(tally.copy(value)),
                None => stored.downcast::<AnyError>().and_then(|error| error.take(self.share)),
            },
            Answer::Error(flight) => match flight.outcome() {
                Some(Outcome::Error(error)) => error.take(self.share),
                _ => None,
            },
            Answer::TimedOut(cache, after) => Some(self.timed_out(cache, after)),
            Answer::CircuitOpen(cache) => match self.share.circuit_open(CircuitOpen { cache }) {
                None => tally.panic("a breaker is open, and the call has no error to say so"),
                error => error,
            },
        };
        match error {
            Some(error) => Err(error),
            None => unreachable!("an answer is of the call's own types"),
        }
    }

    /// The error of a call that took too long.
    fn timed_out(&self, cache: &'static str, after: Duration) -> E {
        match self.share.timeout(Timeout { cache, after }) {
            Some(error) => error,
            None => panic!("stampede: a call of `{cache}` timed out, and has no error to say so"),
        }
    }
}

impl<R, V, E, D, H, F, L> Typed for Caller<'_, R, V, E, D, H, F, L>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
    L: Launch<R, V, E, D, H, F>,
{
    fn kind(&self) -> Kind {
        Kind { value: AnyStored::type_of::<V>(), error: AnyError::type_of::<E, H>() }
    }

    fn is_detached(&self) -> bool {
        L::DETACHED
    }

    fn check(&self) -> Result<(), &'static str> {
        self.launch.check()
    }

    fn rules(&mut self) -> Rules {
        let Options { rules, opinion } = (self.options)();
        self.opinion = opinion;
        rules
    }

    fn start(&mut self, runner: Runner, plan: Plan) -> Result<(), Refused> {
        // A panic here is one of the run.
        let body = catch_unwind(AssertUnwindSafe(|| (self.start)()));
        let run = self.launch.launch(Execution::new(runner, plan, self.opinion, self.share, body))?;
        *self.here = run.map(|run| Box::pin(Body::Shared { run }));
        Ok(())
    }

    fn start_alone(&mut self, run: &Arc<Run>) {
        let body = Within::new(InRun::new(Arc::clone(run), context::store()), (self.start)());
        *self.here = Some(Box::pin(Body::Alone { body }));
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) {
        if let Some(BodyProjection::Shared { run }) = self.here.as_mut().map(|here| here.as_mut().project())
            && run.poll(cx).is_ready()
        {
            *self.here = None;
        }
    }

    fn drop_run(&mut self) {
        *self.here = None;
    }
}
