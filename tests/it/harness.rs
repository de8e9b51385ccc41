//! What the tests share: bodies under control, runtimes to run them on, and a rig that looks for what is left behind.

use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use stampede::{Stats, coalesce};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{self, JoinHandle};
use tokio::time::timeout;

use crate::stores::Store;

/// The TTL of the functions here that have one.
pub(crate) const TTL: Duration = Duration::from_hours(1);
/// The default `run_limit`.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);

/// The number of the run that gave the answer, from 1.
pub(crate) type Answer = Result<u64, String>;
pub(crate) type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The caller's own, with a paused clock.
    Current,
    Two,
    Eight,
}

impl Threads {
    pub(crate) const ALL: [Self; 3] = [Self::Current, Self::Two, Self::Eight];

    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::Current => Builder::new_current_thread(),
            Self::Two | Self::Eight => Builder::new_multi_thread(),
        };
        match self {
            Self::Current => builder.start_paused(true),
            Self::Two => builder.worker_threads(2),
            Self::Eight => builder.worker_threads(8),
        };
        builder.enable_all().build().unwrap()
    }

    /// Runs a test on a runtime of its own. What hangs fails.
    pub(crate) fn run<F: Future>(self, test: F) -> F::Output {
        let patience = match self {
            // Where the clock is paused, it moves on when there is nothing else to do.
            Self::Current => Duration::from_hours(24),
            Self::Two | Self::Eight => Duration::from_mins(1),
        };
        self.runtime().block_on(async { timeout(patience, test).await.expect("nobody hangs") })
    }
}

/// The ways in which a function can be annotated, as far as flights are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stored,
    Shared,
    InlineStored,
    InlineShared,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Stored, Self::Shared, Self::InlineStored, Self::InlineShared];

    pub(crate) fn is_inline(self) -> bool {
        matches!(self, Self::InlineStored | Self::InlineShared)
    }

    pub(crate) fn is_stored(self) -> bool {
        matches!(self, Self::Stored | Self::InlineStored)
    }

    /// Whether a run goes on after all who waited for it have left.
    pub(crate) fn survives(self) -> bool {
        self == Self::Stored
    }
}

#[coalesce(ttl = TTL, skip(body))]
pub(crate) async fn stored(body: &Body) -> Answer {
    body.run().await
}

#[coalesce(skip(body))]
pub(crate) async fn shared(body: &Body) -> Answer {
    body.run().await
}

#[coalesce(ttl = TTL, skip(body), inline)]
pub(crate) async fn inline_stored(body: &Body) -> Answer {
    body.run().await
}

#[coalesce(skip(body), inline)]
pub(crate) async fn inline_shared(body: &Body) -> Answer {
    body.run().await
}

/// How a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Value,
    Error,
    Panic,
}

/// What a body does.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) end: End,
    /// So many of the first runs end before their first await: they never come to the gate.
    pub(crate) early: u64,
    /// Called when a run begins, with its number.
    pub(crate) hook: Option<Hook>,
    /// Called when a run is about to end, with its number.
    pub(crate) last_act: Option<Hook>,
}

pub(crate) type Hook = Box<dyn Fn(u64) + Send + Sync>;

/// A body under the test's control: it begins, waits at a gate, and ends. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Body(Arc<Control>);

struct Control {
    script: Script,
    gate: Semaphore,
    started: AtomicU64,
    live: AtomicU64,
    runner: AtomicU64,
}

/// A run that has not been dropped.
struct Live<'c>(&'c AtomicU64);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Body {
    fn new(script: Script) -> Self {
        let zero = AtomicU64::default;
        let gate = Semaphore::new(0);
        Self(Arc::new(Control { script, gate, started: zero(), live: zero(), runner: zero() }))
    }

    pub(crate) async fn run(&self) -> Answer {
        let Control { script, gate, started, live, runner } = &*self.0;
        runner.store(task::try_id().map_or(0, number_of), SeqCst);
        live.fetch_add(1, SeqCst);
        let _live = Live(live);
        let number = started.fetch_add(1, SeqCst) + 1;
        if let Some(hook) = &script.hook {
            hook(number);
        }
        if number > script.early
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
        if let Some(last_act) = &script.last_act {
            last_act(number);
        }
        match script.end {
            End::Value => Ok(number),
            End::Error => Err(format!("run {number} failed")),
            End::Panic => panic!("run {number} panicked"),
        }
    }

    /// Lets one run through the gate.
    pub(crate) fn pass(&self) {
        self.0.gate.add_permits(1);
    }

    /// Lets every run through the gate from now on.
    pub(crate) fn open(&self) {
        self.0.gate.close();
    }

    /// How many runs have begun.
    pub(crate) fn started(&self) -> u64 {
        self.0.started.load(SeqCst)
    }

    /// How many of them are neither over nor dropped.
    pub(crate) fn live(&self) -> u64 {
        self.0.live.load(SeqCst)
    }

    /// Whether this task is the one that the latest run began in.
    pub(crate) fn runs_in<T>(&self, task: &JoinHandle<T>) -> bool {
        self.0.runner.load(SeqCst) == number_of(task.id())
    }
}

fn number_of(id: task::Id) -> u64 {
    id.to_string().parse().unwrap()
}

/// A store of its own, and a body.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) body: Body,
}

impl Default for Rig {
    #[track_caller]
    fn default() -> Self {
        Self::new(Script::default())
    }
}

impl Rig {
    #[track_caller]
    pub(crate) fn new(script: Script) -> Self {
        Self { store: Store::default(), body: Body::new(script) }
    }

    /// A call of some function, with the rig's body and in its store.
    pub(crate) fn call_with<T, F>(&self, call: impl FnOnce(Body) -> F) -> Call<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        Box::pin(self.store.scope(call(self.body.clone())))
    }

    pub(crate) fn call(&self, kind: Kind) -> Call<Answer> {
        self.call_with(|body| async move {
            match kind {
                Kind::Stored => stored(&body).await,
                Kind::Shared => shared(&body).await,
                Kind::InlineStored => inline_stored(&body).await,
                Kind::InlineShared => inline_shared(&body).await,
            }
        })
    }

    /// So many callers, in a task each.
    pub(crate) fn spawn(&self, kind: Kind, callers: u64) -> Vec<JoinHandle<Answer>> {
        (0..callers).map(|_| tokio::spawn(self.call(kind))).collect()
    }

    /// Waits until so many callers wait for a run.
    pub(crate) async fn waiting(&self, callers: u64) {
        until("callers waiting", callers, || self.store.stats().waiting).await;
    }

    /// Waits until so many runs have begun.
    pub(crate) async fn started(&self, runs: u64) {
        until("runs begun", runs, || self.body.started()).await;
    }

    /// Checks that nothing is left behind, and that each call and each run that begun was counted once.
    pub(crate) async fn rest(&self, calls: u64, runs: u64) -> Stats {
        until("runs in flight", 0, || self.store.stats().in_flight).await;
        until("callers waiting", 0, || self.store.stats().waiting).await;
        until("bodies alive", 0, || self.body.live()).await;
        let stats = self.store.stats();
        assert_eq!(stats.calls.total(), calls, "calls: {stats:?}");
        assert_eq!(stats.runs.total(), runs, "runs: {stats:?}");
        assert_eq!(stats.runs_saved(), (calls - stats.calls.bypass).saturating_sub(runs), "runs saved: {stats:?}");
        stats
    }
}

/// Gives the others their turns until a figure is what it is expected to be.
pub(crate) async fn until<T: PartialEq + fmt::Debug>(what: &str, expected: T, figure: impl Fn() -> T) {
    let patience = Patience::new();
    while figure() != expected {
        patience.check(|| format!("{what}: {:?}, expected {expected:?}", figure()));
        task::yield_now().await;
    }
}

/// Lets everything that can go on go on, on the runtime of one thread.
pub(crate) async fn settle() {
    for _ in 0..100 {
        task::yield_now().await;
    }
}

/// The same as [`until`] for a thread.
pub(crate) fn block_until(what: &str, holds: impl Fn() -> bool) {
    let patience = Patience::new();
    while !holds() {
        patience.check(|| what.to_owned());
        thread::yield_now();
    }
}

/// Turns what would hang into a failure.
struct Patience(Instant);

impl Patience {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn check(&self, what: impl Fn() -> String) {
        assert!(self.0.elapsed() < Duration::from_secs(30), "never came to be: {}", what());
    }
}

/// Polls a future once.
pub(crate) async fn poll_once<T>(future: &mut Call<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// The answers of tasks that are expected to have some.
pub(crate) async fn answers<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap_or_else(|error| resume_unwind(error.into_panic())));
    }
    answers
}

/// What the panics of tasks say that are expected to panic.
pub(crate) async fn panics<T: fmt::Debug>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<String> {
    let mut panics = Vec::new();
    for task in tasks {
        panics.push(said(&*task.await.expect_err("a panic").into_panic()));
    }
    panics
}

/// What a panic says.
pub(crate) fn said(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).expect("a panic with a text")
}

/// Cancels tasks, and waits until they are gone.
pub(crate) async fn cancel<T: fmt::Debug>(tasks: impl IntoIterator<Item = JoinHandle<T>>) {
    for task in tasks {
        task.abort();
        assert!(task.await.expect_err("no answer").is_cancelled());
    }
}
