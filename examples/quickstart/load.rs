//! The callers: an open loop, so that a slow answer does not make the next caller come later.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::origin::BoxError;

pub(crate) const DURATION: Duration = Duration::from_secs(8);
pub(crate) const CALLS_PER_SECOND: u32 = 500;
/// The hot keys. Callers ask for them in turn.
pub(crate) const PRODUCTS: u32 = 5;
/// Who would be one more in flight than this is turned away: a server sheds load before it drowns.
pub(crate) const IN_FLIGHT: usize = 100;

/// What became of the callers.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) turned_away: u64,
    /// One for each caller that got an answer, the shortest first.
    pub(crate) latencies: Vec<Duration>,
    /// Which answers were given to which question.
    pub(crate) answers: BTreeSet<(u32, Vec<u32>)>,
}

impl Outcome {
    pub(crate) fn answered(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }

    fn note(&mut self, (product, answer, latency): (u32, Vec<u32>, Duration)) {
        self.answers.insert((product, answer));
        self.latencies.push(latency);
    }
}

/// Makes the calls, each in a task of its own, and waits for the last answer.
pub(crate) async fn offer<F, C>(call: F) -> Result<Outcome, BoxError>
where
    F: Fn(u32) -> C,
    C: Future<Output = Result<Vec<u32>, BoxError>> + Send + 'static,
{
    let mut outcome = Outcome::default();
    let mut callers = JoinSet::new();
    let mut arrivals = tokio::time::interval(Duration::from_secs(1) / CALLS_PER_SECOND);
    let started = Instant::now();
    for product in (0..PRODUCTS).cycle() {
        arrivals.tick().await;
        if started.elapsed() >= DURATION {
            break;
        }
        while let Some(answer) = callers.try_join_next() {
            outcome.note(answer??);
        }
        if callers.len() == IN_FLIGHT {
            outcome.turned_away += 1;
            continue;
        }
        let called = Instant::now();
        let answer = call(product);
        callers.spawn(async move { Ok::<_, BoxError>((product, answer.await?, called.elapsed())) });
    }
    while let Some(answer) = callers.join_next().await {
        outcome.note(answer??);
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}
