//! The call algorithm, for calls of all types alike; `call.rs` says what it does. What depends on a call's types, it asks of
//! [`Typed`]: each function that is annotated adds no more than that to its crate.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::breaker::{Permit, Refusal};
use crate::call::{Id, Question, warn_about_key};
use crate::context;
use crate::cycle::Edge;
use crate::execution::Plan;
use crate::flight::{Arrival, Runner, Waiter};
use crate::flights::{Admission, Request};
use crate::key::{KeyError, Probe};
use crate::launch::Refused;
use crate::memory::AnyStored;
use crate::output::{Answer, Given, Packed, Seen};
use crate::patience::{Lapse, Patience};
use crate::policy::{self, Age, Mode, Rules, Step};
use crate::remote::{Errand, Remote};
use crate::run::Run;
use crate::space::Space;
use crate::stats::{Outcome, Trigger};
use crate::store::{Found, Near, Store};
use crate::sync::Handle;
use crate::tally::{self, Kind, Subject, Tally, Ticket};
use crate::waiting::{Again, End, Role, Waiting};

/// What only the code that knows a call's types can do.
pub(crate) trait Typed {
    /// Which types those are.
    fn kind(&self) -> Kind;

    /// Whether runs can go on without the call.
    fn is_detached(&self) -> bool;

    /// Whether runs can be started here.
    ///
    /// # Errors
    ///
    /// What to say if not.
    fn check(&self) -> Result<(), &'static str>;

    /// The cache's rules, asked for each time that a run may have to start.
    fn rules(&mut self) -> Rules;

    /// Starts a run: in a task of its own, or to be polled here.
    ///
    /// # Errors
    ///
    /// The runtime takes no more tasks.
    fn start(&mut self, runner: Runner, plan: Plan) -> Result<(), Refused>;

    /// Starts the body on its own, to be polled here and by nobody else.
    fn start_alone(&mut self, run: &Arc<Run>);

    /// Polls the run that is to be polled here, if there is one.
    fn poll_run(&mut self, cx: &mut Context<'_>);

    /// Polls the body that was started on its own.
    fn poll_alone(&mut self, cx: &mut Context<'_>) -> Poll<Packed>;

    /// Drops what was to be polled here.
    fn drop_run(&mut self);
}

/// A call whose answer was not there: what it goes on with.
pub(crate) struct Unanswered {
    id: Id,
    mode: Mode,
    /// Without it, the call goes past the store.
    subject: Option<Subject>,
    store: Store,
    /// What the store has that is not simply the answer.
    found: Found,
}

/// The first look: what is near a key, if it is easily come by. It is for the caller to compare the key.
pub(crate) fn near(store: Option<&Store>, space: Space, hash: u64) -> Option<Near<'_>> {
    Store::at_hand(store).filter(|_| looks(context::mode()))?.near(space, hash)
}

/// Whether a call wants to know what is stored.
const fn looks(mode: Mode) -> bool {
    matches!(mode, Mode::Normal | Mode::NoStale)
}

/// What is next where that was no answer: what `take` takes is one after all.
#[cold]
pub(crate) fn look_on(question: Question<'_>, take: &mut dyn FnMut(Seen<'_>) -> bool) -> Option<Unanswered> {
    let Question { whose, store, probe, found } = question;
    let mode = context::mode();
    Store::with(store, |store| {
        let mut near =
            probe.as_ref().ok().filter(|_| found.is_none() && looks(mode)).and_then(|probe| store.look(probe));
        if let Some(near) = &mut near
            && near.seen().is_some_and(take)
        {
            near.taken();
            return None;
        }
        let found = found.or_else(|| near.as_mut().map(Near::refused)).flatten();
        drop(near);
        let id = whose.id();
        let subject = || probe.and_then(|probe| subject(probe, store));
        let subject =
            (mode != Mode::Uncached).then(|| subject().inspect_err(|error| warn_about_key(id.name, error)).ok());
        let subject = subject.flatten();
        Some(Unanswered { id, mode, subject, store: store.clone(), found })
    })
}

/// What a call is about. Who joins a flight needs no key of its own.
fn subject(probe: Probe<'_>, store: &Store) -> Result<Subject, KeyError> {
    match store.flights().near(probe.hash) {
        Some(flight) if probe.is_key(&flight.key) => Ok(Subject::Flight(flight)),
        _ => probe.to_key().map(Subject::Key),
    }
}

/// How far a call has come.
pub(crate) enum State {
    /// It can be answered.
    Answered(Answer, Tally),
    /// A run is under way.
    Waiting(Waiting),
    /// Past everything: the body runs here and now, for this call alone.
    Alone(Box<Alone>),
    /// The answer has been given.
    Over,
}

/// A call that goes past the store.
pub(crate) struct Alone {
    run: Arc<Run>,
    patience: Option<Pin<Box<Patience>>>,
    _edge: Option<Box<Edge>>,
    tally: Tally,
}

impl Alone {
    /// Ready when the body has returned, or has taken too long.
    fn poll(&mut self, caller: &mut dyn Typed, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Poll::Ready(output) = caller.poll_alone(cx) {
            if let Packed::Value { no_cache: true, .. } = output {
                self.run.no_cache();
            }
            return Poll::Ready(Answer::Own(output));
        }
        match self.patience.as_mut().map(|patience| patience.as_mut().poll(cx)) {
            Some(Poll::Ready(Lapse::Hard(after))) => Poll::Ready(Answer::TimedOut(self.run.name, after)),
            _ => Poll::Pending,
        }
    }
}

impl State {
    /// The call has found no answer yet. Without a key, it goes past the store.
    pub(crate) fn enter(caller: &mut dyn Typed, Unanswered { id, mode, subject, store, found }: Unanswered) -> Self {
        let (space, name) = (id.space(), id.name);
        let Some(subject) = subject else {
            return Self::alone(caller, name, Tally::new(store, space, Outcome::Bypass));
        };
        let bypass = store.is_bypassed();
        let outcome = if bypass { Outcome::Bypass } else { Outcome::Coalesced };
        let tally = Tally::new(store, space, outcome);
        let ticket = Ticket { subject, name, mode, tally, patience: None, seen: None };
        match found.filter(|_| !bypass) {
            Some((stored, age)) => Self::found(caller, stored, age, ticket),
            None => Self::ask(caller, ticket),
        }
    }

    /// The store has something that is not simply the answer.
    fn found(caller: &mut dyn Typed, stored: Arc<AnyStored>, age: Age, mut ticket: Ticket) -> Self {
        let kind = caller.kind();
        if kind.is_error(&stored) {
            ticket.tally.took(Outcome::Error);
            return Self::Answered(Answer::Stored(stored), ticket.tally);
        }
        if !stored.is(kind.value) {
            return Self::ask(caller, ticket);
        }
        let step = policy::step(age, ticket.mode, stored.is_put_off(Instant::now()));
        if step == Step::Run {
            return Self::ask(caller, ticket);
        }
        ticket.tally.took(if age.is_fresh() { Outcome::Fresh } else { Outcome::Stale });
        if step == Step::Refresh {
            let trigger = if age.is_fresh() { Trigger::Early } else { Trigger::Stale };
            Self::refresh(caller, stored, ticket, trigger)
        } else {
            Self::Answered(Answer::Stored(stored), ticket.tally)
        }
    }

    /// The remote tier had something.
    fn hit(caller: &mut dyn Typed, stored: Arc<AnyStored>, mut ticket: Ticket) -> Self {
        // It was asked just now: nobody has to vouch for it.
        let age = stored.age(Instant::now(), ticket.store().epoch(), ticket.store().tags());
        ticket.tally.took(Outcome::Coalesced);
        ticket.seen = Some(Arc::clone(&stored));
        Self::found(caller, stored, age, ticket)
    }

    /// No run may start: an old value is the answer, or an error is.
    fn refused(kind: Kind, mut ticket: Ticket, role: Role) -> Self {
        let Ticket { subject, mode, tally, name, .. } = &mut ticket;
        if let Some(old) = tally.make_up(subject.key(), kind, *mode, role == Role::Refreshes) {
            return Self::Answered(Answer::Stored(old), ticket.tally);
        }
        tally.took(Outcome::Error);
        Self::Answered(Answer::CircuitOpen(name), ticket.tally)
    }

    /// Runs the body here and now, for this call alone.
    fn alone(caller: &mut dyn Typed, name: &'static str, mut tally: Tally) -> Self {
        let patience = Patience::new(&caller.rules(), false);
        let run = Arc::new(Run::uncached(name));
        let edge = wait_edge(|| Arc::clone(&run), true).unwrap_or_else(|chain| tally.panic(&chain));
        caller.start_alone(&run);
        Self::Alone(Box::new(Alone { run, patience, _edge: edge, tally }))
    }

    /// Answers with the value that is there and sees to a new one.
    fn refresh(caller: &mut dyn Typed, old: Arc<AnyStored>, mut ticket: Ticket, trigger: Trigger) -> Self {
        // Where no run can be started, the value that is there will do.
        if caller.check().is_err() {
            return Self::Answered(Answer::Stored(old), ticket.tally);
        }
        let rules = ticket.tally.guard(|| caller.rules());
        let remote = ticket.remote(&rules);
        let mut permit = None;
        let done = || {
            // What was due a moment ago still is, unless it has been replaced or put off: chance is not asked again.
            let done = ticket
                .store()
                .look_up(ticket.key())
                .is_some_and(|(now, age)| now.is_put_off(Instant::now()) || age.is_fresh() && !Arc::ptr_eq(&now, &old));
            done || remote.is_none()
                && ticket.tally.permit(ticket.key(), ticket.name, &rules).map(|leave| permit = leave).is_err()
        };
        // What was stored once is to be stored again, whatever the body will say to that.
        let request = ticket.request(&rules);
        let request = Request { stores: true, run: request.run.triggered(trigger), ..request };
        let Some((waiter, runner)) = ticket.store().flights().lead_if_idle(request, done) else {
            return Self::Answered(Answer::Stored(old), ticket.tally);
        };
        // It is not asked about a flight that was left vacant.
        if permit.is_none() && remote.is_none() {
            let Ok(leave) = ticket.tally.permit(ticket.key(), ticket.name, &rules) else {
                runner.decline();
                return Self::Answered(Answer::Stored(old), ticket.tally);
            };
            permit = leave;
        }
        if caller.is_detached() {
            drop(waiter);
            // A runtime that takes no more tasks has had its day: the old value will do.
            let way = Way { permit, remote, seen: Some(Arc::clone(&old)), mode: ticket.mode };
            let _ = start(caller, runner, &ticket.tally, rules, way);
            return Self::Answered(Answer::Stored(old), ticket.tally);
        }
        // A run that cannot go on without its caller: this one waits for it, and the others get the old value.
        let Ok(edge) = wait_edge(|| Arc::clone(&runner.run), true) else {
            return Self::Answered(Answer::Stored(old), ticket.tally);
        };
        ticket.patience = Patience::new(&rules, true);
        let way = Way { permit, remote, seen: Some(old), mode: ticket.mode };
        let _ = start(caller, runner, &ticket.tally, rules, way);
        let mut waiting = Waiting::new(waiter, ticket.tally, ticket.mode, ticket.patience, edge);
        (waiting.role, waiting.has_window) = (Role::Refreshes, true);
        Self::Waiting(waiting)
    }

    /// Joins the key's flight, or leads it.
    fn ask(caller: &mut dyn Typed, mut ticket: Ticket) -> Self {
        let runtime = Handle::try_current().ok();
        if runtime.is_none() {
            caller.check().unwrap_or_else(|message| ticket.tally.panic(message));
        }
        let (rules, kind) = (ticket.tally.guard(|| caller.rules()), caller.kind());
        let fresh = ticket.mode == Mode::Fresh;
        if ticket.patience.is_none() {
            ticket.patience = Patience::new(&rules, ticket.mode == Mode::Normal && !ticket.tally.bypass());
        }
        if let Subject::Flight(flight) = ticket.subject {
            match Waiter::join(flight, fresh, runtime.as_ref()) {
                Ok(joined) => {
                    let waiter = joined.settle_in(runtime.as_ref());
                    return Self::Waiting(wait(waiter, false, ticket.tally, ticket.mode, ticket.patience, &rules));
                }
                Err(flight) => ticket.subject = Subject::Flight(flight),
            }
        }
        let remote = ticket.remote(&rules);
        let mut permit = None;
        let look = || {
            ticket.look_again(kind).or_else(|| {
                if remote.is_some() {
                    return None; // whether a run is needed is for the remote tier to say first
                }
                match ticket.tally.permit(ticket.key(), ticket.name, &rules) {
                    Ok(leave) => {
                        permit = leave;
                        None
                    }
                    Err(Refusal) => Some(tally::Found::Refusal),
                }
            })
        };
        let admission =
            ticket.store().flights().admit(ticket.key(), fresh, runtime.as_ref(), look, || ticket.request(&rules));
        match admission {
            Admission::Joined(waiter) => {
                Self::Waiting(wait(waiter, false, ticket.tally, ticket.mode, ticket.patience, &rules))
            }
            Admission::Led(waiter, runner) => {
                let way = Way { permit, remote, seen: ticket.seen, mode: ticket.mode };
                let waiting = wait(waiter, true, ticket.tally, ticket.mode, ticket.patience, &rules);
                Self::lead(caller, waiting, runner, rules, way)
            }
            Admission::Answered(tally::Found::Refusal) => Self::refused(kind, ticket, Role::Leads),
            Admission::Answered(tally::Found::Answer(stored, outcome)) => {
                ticket.tally.took(outcome);
                Self::Answered(Answer::Stored(stored), ticket.tally)
            }
        }
    }

    /// Starts the run that a call waits for.
    fn lead(caller: &mut dyn Typed, mut waiting: Waiting, runner: Runner, rules: Rules, way: Way) -> Self {
        waiting.tally.took(Outcome::Miss);
        waiting.role = Role::Leads;
        if let Err(Refused) = start(caller, runner, &waiting.tally, rules, way) {
            waiting.tally.panic("the tokio runtime is shutting down and takes no more tasks");
        }
        Self::Waiting(waiting)
    }

    /// Starts the next run of a flight whose run was lost.
    fn take_over(caller: &mut dyn Typed, mut waiting: Waiting, runner: Runner) -> Self {
        let kind = caller.kind();
        if runner.run.follows_timeout()
            && let Some(old) = waiting.make_up(kind)
        {
            runner.decline();
            return Self::Answered(Answer::Stored(old), waiting.tally);
        }
        caller.check().unwrap_or_else(|message| waiting.tally.panic(message));
        let rules = waiting.tally.guard(|| caller.rules());
        if let Ok(permit) = waiting.tally.permit(&runner.run.key, runner.run.name, &rules) {
            let remote = waiting.tally.remote(&rules);
            let way = Way { permit, remote, seen: None, mode: waiting.mode };
            Self::lead(caller, waiting, runner, rules, way)
        } else {
            runner.decline();
            let role = waiting.role;
            Self::refused(kind, waiting.into_ticket(), role)
        }
    }

    /// Ready when the call can be answered.
    pub(crate) fn poll(&mut self, caller: &mut dyn Typed, cx: &mut Context<'_>) -> Poll<Given> {
        loop {
            // A call that goes on waiting stays where it is.
            let mut end = None;
            if let Self::Waiting(waiting) = self {
                caller.poll_run(cx);
                let Poll::Ready(ended) = waiting.poll(cx, caller.kind()) else { return Poll::Pending };
                end = Some(ended);
            }
            *self = match (std::mem::replace(self, Self::Over), end) {
                (Self::Answered(answer, tally), _) => return Poll::Ready(Given::new(answer, tally)),
                (Self::Alone(mut alone), _) => {
                    let Poll::Ready(answer) = alone.poll(caller, cx) else {
                        *self = Self::Alone(alone);
                        return Poll::Pending;
                    };
                    caller.drop_run();
                    return Poll::Ready(Given::new(answer, alone.tally));
                }
                (Self::Waiting(waiting), Some(End::Lapse(answer))) => {
                    // A body is gone before the call gives up its place.
                    caller.drop_run();
                    return Poll::Ready(Given::new(answer, waiting.tally));
                }
                (Self::Waiting(waiting), Some(End::Arrival(arrival))) => match arrival {
                    Arrival::TakenOver(runner) => Self::take_over(caller, waiting, runner),
                    Arrival::Outdated => Self::ask(caller, waiting.into_ticket()),
                    Arrival::Settled => match waiting.answer(caller.kind()) {
                        Ok(given) => return Poll::Ready(given),
                        Err(Again { ticket, found: None }) => Self::ask(caller, ticket),
                        Err(Again { ticket, found: Some(found) }) => Self::hit(caller, found, ticket),
                    },
                },
                (Self::Waiting(_) | Self::Over, _) => panic!("a coalesced call was polled after it had answered"),
            }
        }
    }
}

fn start(caller: &mut dyn Typed, runner: Runner, tally: &Tally, rules: Rules, way: Way) -> Result<(), Refused> {
    let approach = way.remote.and_then(|remote| {
        let errand = Errand::new(remote, tally.store.clone(), &runner, &rules, way.mode, way.seen)?;
        runner.run.approach(true);
        Some(errand.approach())
    });
    if let Some(mut permit) = way.permit {
        permit.begin();
        runner.run.permitted(permit);
    }
    caller.start(runner, Plan::new(tally.store.clone(), rules, tally.bypass(), approach))
}

/// What lies between a flight and its body.
struct Way {
    /// The breaker's leave. Where the remote tier is asked first, the breaker is asked after that.
    permit: Option<Permit>,
    remote: Option<Arc<Remote>>,
    /// The value that will not do.
    seen: Option<Arc<AnyStored>>,
    mode: Mode,
}

/// The place of a call in the flight that it has joined or leads.
fn wait(
    waiter: Waiter,
    leads: bool,
    mut tally: Tally,
    mode: Mode,
    patience: Option<Pin<Box<Patience>>>,
    rules: &Rules,
) -> Waiting {
    let edge = wait_edge(|| waiter.run(), leads).unwrap_or_else(|chain| tally.panic(&chain));
    let mut waiting = Waiting::new(waiter, tally, mode, patience, edge);
    waiting.has_window = rules.terms.have_window();
    waiting
}

/// Notes that the run whose body calls waits for this one, which the call leads or joins.
///
/// # Errors
///
/// That closes a circle.
fn wait_edge(awaited: impl FnOnce() -> Arc<Run>, leads: bool) -> Result<Option<Box<Edge>>, String> {
    let Some(waiter) = context::run() else { return Ok(None) };
    match Edge::add(&waiter, &awaited(), leads) {
        Ok(edge) => Ok(Some(Box::new(edge))),
        Err(chain) => Err(format!("a run waits for itself and would never end: {chain}")),
    }
}
