//! Those who call: each call is counted and timed where it is made, so that what a store says can be checked against it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::BoxError;
use crate::origin::{Fault, Origin, Price};

/// Times in nanoseconds, up to a minute.
pub(crate) fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("the bounds are in order")
}

pub(crate) fn record(times: &mut Histogram<u32>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache as a phase sees it: its origin, and all who call.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    origin: Origin,
    calls: AtomicU64,
    errors: Errors,
    times: Mutex<Histogram<u32>>,
}

#[derive(Default)]
struct Errors {
    are_meant: AtomicBool,
    meant: AtomicU64,
    others: AtomicU64,
    /// The first of these.
    first: Mutex<Option<String>>,
}

/// What a caller got, and how long it took.
pub(crate) struct Asked {
    pub(crate) answer: Result<Price, Fault>,
    pub(crate) took: Duration,
}

impl Asked {
    /// Whether it got this edition.
    pub(crate) fn has(&self, edition: u64) -> bool {
        self.answer.as_ref().is_ok_and(|price| price.edition == edition)
    }
}

impl Desk {
    pub(crate) fn new(origin: Origin) -> Self {
        let (calls, errors, times) = (AtomicU64::new(0), Errors::default(), Mutex::new(histogram()));
        Self(Arc::new(Inner { origin, calls, errors, times }))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// A call. It counts from the moment that it is first polled, as in the store.
    pub(crate) async fn ask(&self, call: impl Future<Output = Result<Price, Fault>>) -> Asked {
        self.ask_due(Instant::now(), call).await
    }

    /// A call that should have been made by now, or earlier.
    pub(crate) async fn ask_due(&self, due: Instant, call: impl Future<Output = Result<Price, Fault>>) -> Asked {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let answer = call.await;
        let took = due.elapsed();
        record(&mut lock(&self.0.times), took);
        if let Err(error) = &answer {
            self.0.errors.note(error);
        }
        Asked { answer, took }
    }

    /// A call that is not a function's: nothing but its error, if there is one, and its time.
    pub(crate) fn note(&self, took: Duration, error: Option<&BoxError>) {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        record(&mut lock(&self.0.times), took);
        if let Some(error) = error {
            self.0.errors.note(error);
        }
    }

    /// From now on, errors are what a phase wants to see; or are not.
    pub(crate) fn mean_errors(&self, are_meant: bool) {
        self.0.errors.are_meant.store(are_meant, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Errors that were meant, and the others.
    pub(crate) fn errors(&self) -> (u64, u64) {
        (self.0.errors.meant.load(Ordering::Relaxed), self.0.errors.others.load(Ordering::Relaxed))
    }

    pub(crate) fn first_error(&self) -> Option<String> {
        lock(&self.0.errors.first).clone()
    }

    pub(crate) fn times(&self) -> Histogram<u32> {
        lock(&self.0.times).clone()
    }
}

impl Errors {
    fn note(&self, error: &impl ToString) {
        if self.are_meant.load(Ordering::Relaxed) {
            self.meant.fetch_add(1, Ordering::Relaxed);
        } else {
            self.others.fetch_add(1, Ordering::Relaxed);
            lock(&self.first).get_or_insert_with(|| error.to_string());
        }
    }
}

/// So many callers at once, by their numbers.
pub(crate) fn crowd<F>(desk: &Desk, callers: u32, call: impl Fn(Origin, u32) -> F) -> JoinSet<Asked>
where
    F: Future<Output = Result<Price, Fault>> + Send + 'static,
{
    let mut crowd = JoinSet::new();
    for number in 0..callers {
        let (desk, call) = (desk.clone(), call(desk.origin().clone(), number));
        crowd.spawn(async move { desk.ask(call).await });
    }
    crowd
}

/// Callers who ask again and again, for so long, and pause in between. Their calls are numbered.
pub(crate) async fn insist<F>(
    desk: &Desk,
    callers: u32,
    spell: Duration,
    pause: Duration,
    call: impl Fn(Origin, u32) -> F + Clone + Send + Sync + 'static,
) -> Result<Vec<Asked>, BoxError>
where
    F: Future<Output = Result<Price, Fault>> + Send + 'static,
{
    let until = Instant::now() + spell;
    let mut crowd = JoinSet::new();
    for caller in 0..callers {
        let (desk, call) = (desk.clone(), call.clone());
        crowd.spawn(async move {
            let mut all = Vec::new();
            for number in (caller..).step_by(callers as usize) {
                if Instant::now() >= until {
                    break;
                }
                all.push(desk.ask(call(desk.origin().clone(), number)).await);
                tokio::time::sleep(pause).await;
            }
            all
        });
    }
    let mut all = Vec::new();
    while let Some(some) = crowd.join_next().await {
        all.extend(some?);
    }
    Ok(all)
}

/// Within which so many per cent of the answers came.
pub(crate) fn percentile(asked: &[Asked], percent: usize) -> Duration {
    let mut times: Vec<Duration> = asked.iter().map(|asked| asked.took).collect();
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
