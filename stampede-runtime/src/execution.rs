//! Running a body to its end, whatever that is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tracing::Span;

use crate::context::{self, InRun, Within};
use crate::flight::{Flight, Outcome, Runner};
use crate::key::space_of;
use crate::memory::{AnyStored, Stored, Verdict};
use crate::output::{Output, Packed};
use crate::policy::{Lifetime, Report, Rules};
use crate::random;
use crate::remote::{Approach, Approached, Held, Load, Mark};
use crate::run::Run;
use crate::settled::AnyError;
use crate::stats::RunResult;
use crate::store::Store;
use crate::sync::Mutex;
use crate::timer::Timer;

pin_project! {
    /// A run: drives a body within its context, up to its limit, and brings the flight to its end.
    ///
    /// The body is dropped here, within the same guard against panics that it is polled in. Dropping the execution closes
    /// the flight as lost.
    pub struct Execution<F> {
        // Before the runner: when an execution is dropped, its body is gone before the next run can start.
        #[pin]
        body: Option<Within<InRun, F>>,
        // What making the body has thrown.
        thrown: Mutex<Option<Box<dyn Any + Send>>>,
        #[pin]
        limit: Timer,
        span: Span,
        runner: Option<Runner>,
        plan: Plan,
    }
}

/// What is to become of a result.
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) rules: Rules,
    /// The store is switched off: nothing is written.
    pub(crate) bypass: bool,
    /// What is to be done before the body.
    approach: Option<Approach>,
    /// What came of it: the lease that the body runs under, and what its value is to bear.
    held: Option<Held>,
    mark: Option<Mark>,
}

/// How a run ended.
enum Ended {
    Done(Done),
    TimedOut,
    /// No body has run: none may.
    Refused,
}

/// What a run came to.
struct Done {
    outcome: Outcome,
    /// As what the run counts; nothing if no body has run.
    result: Option<RunResult>,
    /// What is to be stored.
    kept: Option<Arc<AnyStored>>,
    run_time: Duration,
}

impl Done {
    /// What is to be had without a run.
    fn found(stored: Arc<AnyStored>, keep: bool) -> Ended {
        let kept = keep.then(|| Arc::clone(&stored));
        Ended::Done(Self { outcome: Outcome::Found(stored), result: None, kept, run_time: Duration::ZERO })
    }

    fn panicked(payload: Box<dyn Any + Send>) -> Ended {
        let says = message_of(&*payload).into();
        Self::failed(Outcome::Panic(Mutex::new(Some(payload)), says), RunResult::Panic, None)
    }

    fn failed(outcome: Outcome, result: RunResult, kept: Option<Arc<AnyStored>>) -> Ended {
        Ended::Done(Self { outcome, result: Some(result), kept, run_time: Duration::ZERO })
    }

    fn is_failure(&self) -> bool {
        matches!(self.result, Some(RunResult::Error | RunResult::Panic))
    }

    fn report(&self) -> Report {
        match self.result {
            None => Report::Lost,
            Some(_) if self.is_failure() => Report::Failure,
            Some(_) => Report::Success,
        }
    }
}

impl<F: Future<Output = Output>> Execution<F> {
    /// A run of this body; or of none, if making it panicked.
    pub(crate) fn new(runner: Runner, plan: Plan, body: Result<F, Box<dyn Any + Send>>) -> Self {
        let span = plan.store.flights().telemetry.span(&runner.run);
        runner.run.give_span(&span);
        let context = InRun::new(Arc::clone(&runner.run), context::store());
        let (body, thrown) = match body {
            Ok(body) => (Some(Within::new(context, body)), None),
            Err(payload) => (None, Some(payload)),
        };
        Self { runner: Some(runner), plan, body, thrown: Mutex::new(thrown), limit: Timer::default(), span }
    }

    /// The flight and the run that this is, while it is not over.
    pub(crate) fn parts(&self) -> Option<(Arc<Flight>, Arc<Run>)> {
        self.runner.as_ref().map(|runner| (Arc::clone(&runner.flight), Arc::clone(&runner.run)))
    }
}

impl<F: Future<Output = Output>> Future for Execution<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(runner) = this.runner else {
            return Poll::Ready(());
        };
        let plan = this.plan;
        runner.run.begin();
        let entered = this.span.enter();

        let thrown = this.thrown.lock().take();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if let Some(payload) = thrown {
                return Poll::Ready(Done::panicked(payload));
            }
            if !runner.run.is_over()
                && let Some(body) = this.body.as_mut().as_pin_mut()
            {
                let approached = plan.approach(runner, cx);
                if let Poll::Ready(Some(ended)) = approached {
                    this.body.set(None);
                    return Poll::Ready(ended);
                }
                if plan.is_timed() && approached.is_ready() {
                    runner.run.body_begins();
                }
                if approached.is_ready()
                    && let Poll::Ready(output) = body.poll(cx)
                {
                    this.body.set(None);
                    return Poll::Ready(judge(output, runner, plan, runner.run.run_time()));
                }
                if this.limit.as_mut().poll(runner.deadline, cx).is_pending() {
                    return Poll::Pending;
                }
            }
            this.body.set(None);
            Poll::Ready(Ended::TimedOut)
        }));
        let ended = match ended {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(ended)) => ended,
            Err(payload) => Done::panicked(payload),
        };
        drop(entered);
        if let Some(runner) = this.runner.take() {
            finish(runner, plan, ended);
        }
        Poll::Ready(())
    }
}

/// Says what is to become of what a body has returned. Runs the user's code.
fn judge(Output(output): Output, runner: &Runner, plan: &mut Plan, run_time: Duration) -> Ended {
    match output {
        Packed::Value { value, no_cache } => {
            if no_cache {
                runner.run.no_cache();
            }
            judge_value(value, runner, plan, run_time)
        }
        Packed::Error(error) => judge_error(error, runner, plan),
    }
}

/// Asks the application about a value.
fn judge_value(mut value: Arc<AnyStored>, runner: &Runner, plan: &mut Plan, run_time: Duration) -> Ended {
    let mark = plan.mark.take();
    let opinion = &plan.rules.opinion;
    let refused = runner.run.said_no_cache() || !opinion.accepts(&value);
    let ttl = if refused { Duration::ZERO } else { plan.ttl(runner.run.ttl(plan.rules.terms.ttl)) };
    let stores = !ttl.is_zero();
    let weight = if stores { opinion.weight.of(&value) } else { 1 };
    let terms = runner.run.windows(&plan.rules.terms);
    let life = Lifetime::starting(Instant::now(), ttl, &terms, run_time, random::unit);
    let bearing = runner.run.bearing(runner.flight.bearing.clone());
    // Nobody else has it yet.
    if let Some(value) = Arc::get_mut(&mut value) {
        value.judged(&runner.run.key, Verdict { life, epoch: runner.flight.epoch, bearing, weight, mark });
    }
    let result = Some(if refused { RunResult::NoCache } else { RunResult::Ok });
    let kept = stores.then(|| Arc::clone(&value));
    Ended::Done(Done { outcome: Outcome::Stored(value), result, kept, run_time })
}

/// Says what an error's callers and later ones get.
fn judge_error(error: AnyError, runner: &Runner, plan: &Plan) -> Ended {
    // The body may have said that its result is not to be stored.
    let ttl = if runner.run.will_store(true) { plan.ttl(plan.rules.error_ttl) } else { Duration::ZERO };
    if ttl.is_zero() {
        return Done::failed(Outcome::Error(error), RunResult::Error, None);
    }
    let life = Lifetime::plain(Instant::now(), ttl);
    let verdict = Verdict { bearing: runner.flight.bearing.clone(), ..Verdict::plain(life, runner.flight.epoch) };
    let kept: Arc<AnyStored> = Stored::new(error.shared()).with(&runner.run.key, verdict);
    Done::failed(Outcome::Stored(Arc::clone(&kept)), RunResult::Error, Some(kept))
}

impl Plan {
    pub(crate) fn new(store: Store, rules: Rules, bypass: bool, approach: Option<Approach>) -> Self {
        Self { store, rules, bypass, approach, held: None, mark: None }
    }

    /// Ready with `None` when the body is to run.
    fn approach(&mut self, runner: &Runner, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        let Some(approach) = &mut self.approach else { return Poll::Ready(None) };
        let Poll::Ready(approached) = Pin::new(approach).poll(cx) else { return Poll::Pending };
        self.approach = None;
        let run = &runner.run;
        match approached {
            Approached::Found(stored) => Poll::Ready(Some(Done::found(stored, !self.store.is_bypassed()))),
            Approached::PutOff(old, retry_after) => {
                self.store.put_off(&run.key, retry_after);
                Poll::Ready(Some(Done::found(old, !self.store.is_bypassed())))
            }
            Approached::Run(held, mark) => {
                (self.held, self.mark) = (held, Some(mark));
                // Only now is it known that a run is needed.
                if let (Some(trip), Some(space)) = (self.rules.trip, space_of(&run.key))
                    && !run.has_permit()
                {
                    let admission = self.store.breakers().admit(space, run.name, trip, self.rules.limit());
                    let Ok(mut permit) = admission else { return Poll::Ready(Some(Ended::Refused)) };
                    permit.begin();
                    run.permitted(permit);
                }
                run.approach(false);
                Poll::Ready(None)
            }
        }
    }

    /// Whether it matters how long the body takes.
    fn is_timed(&self) -> bool {
        self.rules.terms.xfetch > 0.0 || self.held.is_some() || self.store.flights().telemetry.times_runs()
    }

    /// `ttl`, as far as anything may be stored.
    fn ttl(&self, ttl: Duration) -> Duration {
        if self.bypass || self.store.is_bypassed() { Duration::ZERO } else { self.store.cap(ttl) }
    }
}

/// Brings a flight to its end.
fn finish(runner: Runner, plan: &mut Plan, ended: Ended) {
    let Plan { store, rules, bypass, held, .. } = plan;
    let held = held.take();
    // Those who have an old value do without the next run for a while, here and elsewhere.
    let release = |held: Option<Held>, has_old: bool| {
        if let Some(held) = held {
            held.release(if has_old { rules.retry_after } else { Duration::ZERO });
        }
    };
    let run = Arc::clone(&runner.run);
    let done = match ended {
        Ended::Done(done) => done,
        // A run that is lost is settled by its flight.
        Ended::TimedOut => {
            release(held, store.look_up(&run.key).is_some());
            return runner.time_out();
        }
        Ended::Refused => return runner.decline(),
    };
    // Before those who wait are woken: they may ask again at once.
    if let Some(news) = run.settle(done.report()) {
        news.tell();
    }
    let is_failure = done.is_failure();
    let Done { outcome, result, kept, run_time } = done;
    // Whether an old value stays in use.
    let mut old_stays = false;
    let mut is_kept = false;
    let commit = &mut || {
        // An old value that can still be served is a better answer than an error.
        if kept.is_none() || is_failure {
            old_stays = !*bypass && store.put_off(&run.key, rules.retry_after);
        }
        if let Some(kept) = &kept
            && !old_stays
        {
            store.keep(Arc::clone(kept));
            is_kept = true;
        }
    };
    let Some(closed) = runner.close(result, commit) else { return };
    let says = if let Outcome::Panic(_, says) = &outcome { Some(Arc::clone(says)) } else { None };
    let outcome = match outcome {
        Outcome::Error(error) if !closed.alone => Outcome::Error(error.shared()),
        outcome => outcome,
    };
    let is_unheard = run.waiters() == 0;
    closed.settle(outcome);
    match (held, kept) {
        (Some(held), Some(value)) if is_kept && !is_failure => {
            if let Some(load) = run.keep_load(Load { held, wire: rules.wire.clone(), run_time }) {
                load.send(value, store.clone(), Arc::clone(&run.key));
            }
        }
        (held, _) => release(held, old_stays),
    }
    if let Some(result) = result
        && is_failure
        && (old_stays || is_unheard)
    {
        let telemetry = &store.flights().telemetry;
        telemetry.hidden_failure(&run, result, says.as_deref(), old_stays, rules.retry_after);
    }
}

/// What a panic said.
fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "a coalesced function panicked with a payload that is not text"
    }
}
