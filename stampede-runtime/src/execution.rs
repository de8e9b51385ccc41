//! Running a body to its end, whatever that is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

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
use crate::timer::Timer;

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
        // What making the body has thrown.
        thrown: Mutex<Option<Box<dyn Any + Send>>>,
        #[pin]
        limit: Timer,
        // When the body was first polled, where that matters.
        began: Option<Instant>,
        plan: Plan<V>,
        runner: Option<Runner<V>>,
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
    /// A run of this body; or of none, if making it panicked.
    pub(crate) fn new(
        runner: Runner<V>,
        plan: Plan<V>,
        share: H,
        scope: Option<Store>,
        body: Result<F, Box<dyn Any + Send>>,
    ) -> Self {
        let context = InRun::new(Arc::clone(&runner.run), scope);
        let (body, thrown) = match body {
            Ok(body) => (Some(Within::new(context, body)), None),
            Err(payload) => (None, Some(payload)),
        };
        Self {
            runner: Some(runner),
            plan,
            share,
            body,
            thrown: Mutex::new(thrown),
            limit: Timer::default(),
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

        let thrown = this.thrown.lock().take();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if let Some(payload) = thrown {
                return Poll::Ready(Ended::Panic(payload));
            }
            if !run.is_over()
                && let Some(body) = this.body.as_mut().as_pin_mut()
            {
                if let Poll::Ready(output) = body.poll(cx) {
                    this.body.set(None);
                    let run_time = began.map_or(Duration::ZERO, |began| began.elapsed());
                    return Poll::Ready(judge::<R, V, E, D, H>(output, run, plan, share, run_time));
                }
                if this.limit.as_mut().poll(deadline, cx).is_pending() {
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
    let Plan { store, options, bypass } = plan;
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

fn finish<V, E, H>(runner: Runner<V>, plan: &Plan<V>, ended: Ended<V, E>)
where
    V: Value,
    E: Send + 'static,
    H: Share<E>,
{
    let Plan { store, options, bypass } = plan;
    // Before those who wait are woken: they may ask again at once. A run that is lost is settled by its flight.
    let report = match ended {
        Ended::Value(_) => Some(Report::Success),
        Ended::Error(_) | Ended::Panic(_) => Some(Report::Failure),
        Ended::TimedOut => None,
    };
    if let Some(news) = report.and_then(|report| runner.run.settle(report)) {
        news.tell();
    }
    let key = &Arc::clone(&runner.run.key);
    let (epoch, bearing) = (runner.flight.epoch, &runner.flight.bearing.clone());
    let is_void = || bearing.as_ref().is_some_and(|bearing| store.tags().voids(bearing));
    let put_off = || !*bypass && store.put_off(key, options.retry_after);
    let now = Instant::now();
    match ended {
        Ended::Value(Verdict { value, ttl, weight, result, run_time }) => {
            let life = Lifetime::starting(now, ttl, &options.terms, run_time, random::unit);
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
            let kept_out = *bypass || store.is_bypassed() || !runner.run.will_store(true);
            let ttl = if kept_out { Duration::ZERO } else { store.cap(options.error_ttl) };
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
