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
//! All this is in [`crate::asking`], once for all types. Here is what depends on them: to hash and compare the key, to copy
//! the value of a hit, and to start a body and poll it. What the body returns has lost its type by then, and gets it back
//! where the call returns: see
//! [`crate::output`]. The crate of the user gets a few lines for each return type, and a few for each function.

use std::any::TypeId;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use once_cell::sync::Lazy;
use pin_project_lite::pin_project;
use serde::Serialize;

use crate::asking::{State, Typed, Unanswered, look_on, near};
use crate::context::{self, InRun, Within};
use crate::execution::{Execution, Plan};
use crate::flight::Runner;
use crate::key::{KeyError, Origin, Parts, Probe};
use crate::launch::{Launch, Refused};
use crate::output::{Given, Output, Packed};
use crate::policy::{Options, Rules};
use crate::reply::Pack;
use crate::run::Run;
use crate::space::{Site, Space};
use crate::store::{Found, Near, Store};
use crate::sync::Mutex;
use crate::tally::Kind;

/// Which cache a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Id {
    pub(crate) origin: Origin,
    pub(crate) name: &'static str,
}

impl Id {
    pub(crate) fn new(space: Space, name: &'static str) -> Self {
        Self { origin: Origin::of(space), name }
    }

    pub(crate) fn of(site: &Site, types: &[TypeId], owner: Option<&str>) -> Self {
        let (space, name) = site.space(types, owner);
        Self::new(space, name)
    }

    pub(crate) const fn space(&self) -> Space {
        self.origin.space
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
pub(crate) struct Recipe<P, O, S> {
    /// The way from what the body returns to what the call does.
    pub(crate) returns: P,
    /// The cache's options, asked for when a run may have to start.
    pub(crate) options: O,
    /// Makes the future of the body.
    pub(crate) start: S,
}

/// The same where its types do not matter.
pub(crate) trait Cook<F> {
    /// The cache's rules.
    fn rules(&self) -> Rules;

    /// The future of a body.
    fn start(&mut self) -> F;
}

impl<V, P: Copy, O: Fn() -> Options<V>, S: FnMut(P) -> F, F> Cook<F> for Recipe<P, O, S> {
    fn rules(&self) -> Rules {
        (self.options)().rules
    }

    fn start(&mut self) -> F {
        (self.start)(self.returns)
    }
}

/// A call on its way to its answer.
///
/// # Cancel safety
///
/// Dropping it gives up the caller's place in the flight. With `inline`, it also drops the run that takes place in it.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Call<R, P, O, S, F, L> {
    // First: a body is gone before the call gives up its place.
    here: Here<F>,
    state: State,
    recipe: Recipe<P, O, S>,
    /// Where runs take place.
    launch: L,
    reply: PhantomData<fn() -> R>,
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
impl<R, P, O, S, F, L> Unpin for Call<R, P, O, S, F, L> {}

/// What is polled in the task of the call, if anything is.
type Here<F> = Option<Pin<Box<Body<F>>>>;

pin_project! {
    #[project = BodyProjection]
    enum Body<F> {
        /// For all who wait.
        Shared { #[pin] run: Execution<F> },
        /// For this call alone.
        Alone { #[pin] body: Within<InRun, F> },
    }
}

/// What tells which cache a call is about.
pub trait Whose {
    /// The cache.
    fn id(&self) -> Id;

    /// Where the hashes of its keys begin, if that is known.
    fn known(&self) -> Option<&Origin>;
}

impl Whose for Id {
    fn id(&self) -> Id {
        *self
    }

    #[inline]
    fn known(&self) -> Option<&Origin> {
        Some(&self.origin)
    }
}

#[cold]
fn origin(whose: &dyn Whose) -> Origin {
    whose.id().origin
}

/// What a call is about: a key of a cache.
#[derive(Debug)]
pub struct Target<'c, W, K> {
    /// Which cache.
    pub whose: W,
    /// The store, if it is not the one in force.
    pub store: Option<&'c Store>,
    /// The parts of the key. They are apart: who looks at them looks at nothing else.
    pub key: &'c K,
}

/// What is still to be asked where the first look has found no answer.
pub(crate) struct Question<'q> {
    pub(crate) whose: &'q dyn Whose,
    pub(crate) store: Option<&'q Store>,
    /// Nothing is stored for what cannot be serialized.
    pub(crate) probe: Result<Probe<'q>, KeyError>,
    /// What there is, if that is known.
    pub(crate) found: Option<Found>,
}

impl<'q> Question<'q> {
    #[cold]
    fn new(
        whose: &'q dyn Whose,
        store: Option<&'q Store>,
        space: Space,
        hash: Result<u64, KeyError>,
        parts: &'q dyn Parts,
        found: Option<Found>,
    ) -> Self {
        Self { whose, store, probe: hash.map(|hash| Probe { space, hash, parts }), found }
    }
}

/// A call of a coalesced function, or for a key of a cache: its answer, or what is to be awaited for it.
#[inline]
pub fn call<W, K, R, V, P, O, S, F, L>(
    target: &Target<'_, W, K>,
    returns: P,
    launch: L,
    options: O,
    start: S,
) -> Called<R, Call<R, P, O, S, F, L>>
where
    W: Whose + Copy,
    K: Serialize,
    P: Pack<R>,
    O: Fn() -> Options<V>,
    S: FnMut(P) -> F,
    F: Future<Output = Output>,
    L: Launch<F>,
{
    let Target { whose, store, key } = *target;
    let (space, hash) = hash(&whose, key);
    let mut found = None;
    if let Ok(hash) = hash {
        // It is not moved about: what is written in parts and read as a whole has to be waited for.
        let mut near = near(store, space, hash);
        if let Some(near) = &mut near
            && key.are(near.parts())
        {
            if let Some(answer) = hit(near, returns) {
                return Called::Hit(answer);
            }
            found = Some(near.refused());
        }
    }
    match ask(Question::new(&{ whose }, store, space, hash, key, found), returns) {
        Ok(answer) => Called::Hit(answer),
        Err(unanswered) => {
            let recipe = Recipe { returns, options, start };
            let mut call = Call { here: None, state: State::Over, recipe, launch, reply: PhantomData };
            enter(&mut call.state, &mut call.recipe, &mut call.here, &P::KIND, launch, unanswered);
            Called::Going(call)
        }
    }
}

/// The hash of the key with these parts, of this cache.
#[cfg_attr(not(debug_assertions), inline(always))]
fn hash<W: Whose + Copy, K: Serialize>(whose: &W, key: &K) -> (Space, Result<u64, KeyError>) {
    let origin = match whose.known() {
        Some(origin) => origin.copied(),
        // A copy: what is looked at through a reference has to be in memory, also where that is not needed.
        None => origin(&{ *whose }).copied(),
    };
    (origin.space, origin.hash(key))
}

/// The answer, if this is a fresh value of the right kind.
#[expect(clippy::question_mark, reason = "it would be two more functions for each type")]
#[inline]
fn hit<R, P: Pack<R>>(near: &mut Near<'_>, returns: P) -> Option<R> {
    let Some(seen) = near.seen() else { return None };
    let answer = returns.copy(seen);
    if answer.is_some() {
        near.taken();
    }
    answer
}

/// The answer, if it is there after all.
#[cold]
fn ask<R, P: Pack<R>>(question: Question<'_>, returns: P) -> Result<R, Unanswered> {
    let mut answer = None;
    let unanswered = look_on(question, &mut |seen| {
        answer = returns.copy(seen);
        answer.is_some()
    });
    match (unanswered, answer) {
        (None, Some(answer)) => Ok(answer),
        (Some(unanswered), _) => Err(unanswered),
        (None, None) => unreachable!("a hit is what has been taken"),
    }
}

impl<R, V, P, O, S, F, L> Future for Call<R, P, O, S, F, L>
where
    P: Pack<R>,
    O: Fn() -> Options<V>,
    S: FnMut(P) -> F,
    F: Future<Output = Output>,
    L: Launch<F>,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let call = self.get_mut();
        match poll(&mut call.state, &mut call.recipe, &mut call.here, &P::KIND, call.launch, cx) {
            Poll::Ready(given) => Poll::Ready(call.recipe.returns.unpack(given)),
            Poll::Pending => Poll::Pending,
        }
    }
}

// What follows is the same for all functions: its types are those of what runs their bodies.

#[cold]
fn enter<F: Future<Output = Output>, L: Launch<F>>(
    state: &mut State,
    recipe: &mut dyn Cook<F>,
    here: &mut Here<F>,
    kind: &'static Kind,
    launch: L,
    unanswered: Unanswered,
) {
    *state = State::enter(&mut Caller { recipe, here, kind, launch }, unanswered);
}

fn poll<F: Future<Output = Output>, L: Launch<F>>(
    state: &mut State,
    recipe: &mut dyn Cook<F>,
    here: &mut Here<F>,
    kind: &'static Kind,
    launch: L,
    cx: &mut Context<'_>,
) -> Poll<Given> {
    state.poll(&mut Caller { recipe, here, kind, launch }, cx)
}

/// Who calls, with a recipe whose parts have no types of their own.
struct Caller<'c, F, L> {
    recipe: &'c mut dyn Cook<F>,
    here: &'c mut Here<F>,
    kind: &'static Kind,
    launch: L,
}

impl<F: Future<Output = Output>, L: Launch<F>> Typed for Caller<'_, F, L> {
    fn kind(&self) -> Kind {
        *self.kind
    }

    fn is_detached(&self) -> bool {
        L::DETACHED
    }

    fn check(&self) -> Result<(), &'static str> {
        self.launch.check()
    }

    fn rules(&mut self) -> Rules {
        self.recipe.rules()
    }

    fn start(&mut self, runner: Runner, plan: Plan) -> Result<(), Refused> {
        // A panic here is one of the run.
        let body = catch_unwind(AssertUnwindSafe(|| self.recipe.start()));
        let run = self.launch.launch(Execution::new(runner, plan, body))?;
        *self.here = run.map(|run| Box::pin(Body::Shared { run }));
        Ok(())
    }

    fn start_alone(&mut self, run: &Arc<Run>) {
        let body = Within::new(InRun::new(Arc::clone(run), context::store()), self.recipe.start());
        *self.here = Some(Box::pin(Body::Alone { body }));
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) {
        if let Some(BodyProjection::Shared { run }) = self.here.as_mut().map(|here| here.as_mut().project())
            && run.poll(cx).is_ready()
        {
            *self.here = None;
        }
    }

    fn poll_alone(&mut self, cx: &mut Context<'_>) -> Poll<Packed> {
        match self.here.as_mut().map(|here| here.as_mut().project()) {
            Some(BodyProjection::Alone { body }) => body.poll(cx).map(|Output(output)| output),
            _ => Poll::Pending,
        }
    }

    fn drop_run(&mut self) {
        *self.here = None;
    }
}
