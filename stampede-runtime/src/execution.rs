//! Running a body to its end, whatever that is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::breaker::Permit;
use crate::context::{InRun, Within};
use crate::flight::{Flight, Outcome, Runner};
use crate::memory::{AnyStored, Stored};
use crate::policy::{Lifetime, Options, Report};
use crate::random;
use crate::reply::{Divide, Reply, Share, Value, carried};
use crate::run::Run;
use crate::settled::{KeptError, Settled};
use crate::stats::RunResult;
use crate::store::Store;
use crate::sync::Mutex;

pin_project! {
    /// A run: drives a body within its context, up to its limit, and brings the flight to its end.
    ///
    /// The body is dropped here, within the same guard against panics that it is polled in. Dropping the execution closes
    /// the flight as lost.
    pub struct Execution<R, V, E, D, H, F>
    where
        V: Send,
        V: Sync,
        V: 'static,
    {
        // Before the runner: when an execution is dropped, its body is gone before the next run can start.
        #[pin]
        body: Option<Within<InRun, F>>,
        #[pin]
        limit: Option<Sleep>,
        // When the body was first polled, where that matters.
        began: Option<Instant>,
        runner: Option<Runner<V>>,
        plan: Plan<V>,
        share: H,
        reply: Reply<R, V, E, D>,
    }
}

/// What is to become of a result.
pub(crate) struct Plan<V> {
    pub(crate) store: Store,
    pub(crate) options: Options<V>,
    /// The store is switched off: nothing is written.
    pub(crate) bypass: bool,
    /// The breaker's leave, where there is one.
    pub(crate) permit: Option<Permit>,
}

/// How a body ended.
enum Ended<V, E> {
    Value(Verdict<V>),
    Error(E),
    Panic(Box<dyn Any + Send>),
    TimedOut,
}

/// A value and what the application has to say about it.
struct Verdict<V> {
    value: V,
    /// Zero: not to be stored.
    ttl: Duration,
    weight: u32,
    result: RunResult,
    /// How long the run took, where that matters.
    run_time: Duration,
}

impl<R, V, E, D, H, F> Execution<R, V, E, D, H, F>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    pub(crate) fn new(runner: Runner<V>, mut plan: Plan<V>, share: H, scope: Option<Store>, body: F) -> Self {
        if let Some(permit) = &mut plan.permit {
            permit.begin(&runner.run);
        }
        let context = InRun::new(Arc::clone(&runner.run), scope);
        Self {
            runner: Some(runner),
            plan,
            share,
            body: Some(Within::new(context, body)),
            limit: None,
            began: None,
            reply: Reply::NEW,
        }
    }

    /// The flight and the run that this is, while it is not over.
    pub(crate) fn parts(&self) -> Option<(Arc<Flight<V>>, Arc<Run>)> {
        self.runner.as_ref().map(|runner| (Arc::clone(&runner.flight), Arc::clone(&runner.run)))
    }
}

impl<R, V, E, D, H, F> Future for Execution<R, V, E, D, H, F>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(runner) = this.runner else {
            return Poll::Ready(());
        };
        let (run, deadline) = (&*runner.run, runner.deadline);
        run.begin();
        let plan = &*this.plan;
        if plan.options.terms.xfetch > 0.0 && this.began.is_none() {
            *this.began = Some(Instant::now());
        }
        let began = *this.began;
        let share = *this.share;

        let ended = catch_unwind(AssertUnwindSafe(|| {
            if !run.is_over()
                && let Some(body) = this.body.as_mut().as_pin_mut()
            {
                if let Poll::Ready(output) = body.poll(cx) {
                    this.body.set(None);
                    let run_time = began.map_or(Duration::ZERO, |began| began.elapsed());
                    return Poll::Ready(judge::<R, V, E, D, H>(output, run, plan, share, run_time));
                }
                if !is_past(deadline, this.limit.as_mut(), cx) {
                    return Poll::Pending;
                }
            }
            this.body.set(None);
            Poll::Ready(Ended::TimedOut)
        }));
        let ended = match ended {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(ended)) => ended,
            Err(payload) => Ended::Panic(payload),
        };
        if let Some(runner) = this.runner.take() {
            finish::<V, E, H>(runner, this.plan, ended);
        }
        Poll::Ready(())
    }
}

/// Whether the run has reached its limit. Where there is no runtime to wake it, it is only looked at when polled.
fn is_past(deadline: Instant, mut limit: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> bool {
    if limit.is_none() {
        if Handle::try_current().is_err() {
            return Instant::now() >= deadline;
        }
        limit.set(Some(sleep_until(deadline)));
    }
    limit.as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready())
}

/// Takes a body's output apart and asks the application about it. Runs the user's code.
fn judge<R, V, E, D, H>(output: R, run: &Run, plan: &Plan<V>, share: H, run_time: Duration) -> Ended<V, E>
where
    V: Value,
    D: Divide<R, V, E>,
    H: Share<E>,
{
    let value = match split::<R, V, E, D, H>(output, run, share) {
        Ok(value) => value,
        Err(error) => return Ended::Error(error),
    };
    let Plan { store, options, bypass, .. } = plan;
    let refused = run.said_no_cache() || options.cache_if.is_some_and(|accepts| !accepts(&value));
    let ttl =
        if refused || *bypass || store.is_bypassed() { Duration::ZERO } else { store.cap(run.ttl(options.terms.ttl)) };
    let weight = if ttl.is_zero() { 0 } else { options.weight.map_or(1, |weigh| weigh(&value)) };
    let result = if refused { RunResult::NoCache } else { RunResult::Ok };
    Ended::Value(Verdict { value, ttl, weight, result, run_time })
}

/// Takes a body's output apart; a `NoCache` that came as an error becomes the value that it is.
pub(crate) fn split<R, V, E, D, H>(output: R, run: &Run, share: H) -> Result<V, E>
where
    V: Value,
    D: Divide<R, V, E>,
    H: Share<E>,
{
    D::split(output).or_else(|error| match share.as_error(&error).and_then(carried) {
        Some(value) => {
            run.no_cache();
            Ok(value)
        }
        None => Err(error),
    })
}

fn finish<V, E, H>(runner: Runner<V>, plan: &mut Plan<V>, ended: Ended<V, E>)
where
    V: Value,
    E: Send + 'static,
    H: Share<E>,
{
    let Plan { store, options, bypass, permit } = plan;
    // Before those who wait are woken: they may ask again at once.
    if let Some(permit) = permit {
        match ended {
            Ended::Value(_) => permit.report(Report::Success),
            Ended::TimedOut if runner.run.is_over() => {} // for a reason that its drop will find
            _ => permit.report(Report::Failure),
        }
    }
    let key = &Arc::clone(&runner.run.key);
    let (epoch, bearing) = (runner.flight.epoch, &runner.run.bearing(runner.flight.bearing.clone()));
    let is_void = || bearing.as_ref().is_some_and(|bearing| store.tags().voids(bearing));
    let put_off = || !*bypass && store.put_off(key, options.retry_after);
    let now = Instant::now();
    match ended {
        Ended::Value(Verdict { value, ttl, weight, result, run_time }) => {
            let terms = runner.run.windows(&options.terms);
            let life = Lifetime::starting(now, ttl, &terms, run_time, random::unit);
            let stored = Arc::new(Stored::new(value, life, epoch, bearing.clone(), weight));
            let commit = || {
                if is_void() {
                    // Delivered, not stored.
                } else if ttl.is_zero() {
                    put_off();
                } else {
                    store.keep(Arc::clone(key), Arc::clone(&stored) as _);
                }
            };
            runner.finish(result, commit, |_| Outcome::Value(Arc::clone(&stored)));
        }
        Ended::Error(error) => {
            let failed = Failed { result: RunResult::Error, says: None };
            let ttl = if *bypass || store.is_bypassed() { Duration::ZERO } else { store.cap(options.error_ttl) };
            if ttl.is_zero() {
                failed.finish(runner, put_off, |alone| {
                    if alone { Settled::Alone(Some(error)) } else { Settled::Shared(H::prepare(error)) }.into_outcome()
                });
                return;
            }
            let kept = KeptError::new(H::prepare(error));
            let stored: Arc<AnyStored> =
                Arc::new(Stored::new(kept, Lifetime::plain(now, ttl), epoch, bearing.clone(), 1));
            let commit = || {
                // An old value that can still be served is the better answer.
                let old_stays = put_off();
                if !old_stays && !is_void() {
                    store.keep(Arc::clone(key), Arc::clone(&stored));
                }
                old_stays
            };
            failed.finish(runner, commit, |_| Settled::<E, H::Shared>::Kept(Arc::clone(&stored)).into_outcome());
        }
        Ended::Panic(payload) => {
            let message: Arc<str> = message_of(&*payload).into();
            let failed = Failed { result: RunResult::Panic, says: Some(&message) };
            failed.finish(runner, put_off, |_| Outcome::Panic(Mutex::new(Some(payload)), Arc::clone(&message)));
        }
        Ended::TimedOut => runner.time_out(),
    }
}

/// A run that failed.
struct Failed<'a> {
    result: RunResult,
    says: Option<&'a str>,
}

impl Failed<'_> {
    /// Brings the flight to its end. `commit` says whether an old value stays in use; then nobody else may hear of this.
    fn finish<V: Value>(
        self,
        runner: Runner<V>,
        commit: impl FnOnce() -> bool,
        outcome: impl FnOnce(bool) -> Outcome<V>,
    ) {
        let Self { result, says } = self;
        let (run, mut old_stays) = (Arc::clone(&runner.run), false);
        runner.finish(result, || old_stays = commit(), outcome);
        if old_stays {
            tracing::warn!(cache = run.name, ?result, says, "a run failed: the old value stays in use");
        }
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
