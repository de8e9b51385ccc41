//! One way of asking the database, under load: what was measured, and what must have come of it.

use std::future::Future;
use std::time::{Duration, Instant};

use stampede::{Stats, Store};

use crate::load::{self, Outcome, PRODUCTS};
use crate::origin::{BoxError, Query, Shop};
use crate::view::Chart;

/// What the attributes in `main.rs` say.
const TTL: Duration = Duration::from_secs(2);

pub(crate) struct Phase {
    pub(crate) outcome: Outcome,
    pub(crate) queries: Vec<Query>,
    pub(crate) elapsed: Duration,
    pub(crate) stats: Stats,
}

impl Phase {
    /// Offers the load to `call`, with a store of its own, and draws a row of the chart meanwhile.
    pub(crate) async fn run<F, C>(shop: &Shop, chart: &mut Chart, call: F) -> Result<Self, BoxError>
    where
        F: Fn(Shop, u32) -> C,
        C: Future<Output = Result<Vec<u32>, BoxError>> + Send + 'static,
    {
        shop.clear_log();
        let store = Store::builder().max_entries(1_000).build();
        let started = Instant::now();
        let load = load::offer(|product| {
            let (store, answer) = (store.clone(), call(shop.clone(), product));
            async move { store.scope(answer).await }
        });
        tokio::pin!(load);
        let mut frames = tokio::time::interval(Duration::from_millis(100));
        let outcome = loop {
            tokio::select! {
                outcome = &mut load => break outcome?,
                _ = frames.tick() => chart.progress(started, &shop.queries()),
            }
        };
        while store.stats().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await; // a refresh that nobody waits for
        }
        let (elapsed, queries) = (started.elapsed(), shop.queries());
        chart.finish(started, elapsed, &queries);
        Ok(Self { outcome, queries, elapsed, stats: store.stats() })
    }

    pub(crate) fn queries_per_second(&self) -> f64 {
        let queries = u32::try_from(self.queries.len()).unwrap_or(u32::MAX);
        f64::from(queries) / self.elapsed.as_secs_f64()
    }

    /// The shortest time from one query for a product to the next, for each product.
    fn gaps(&self) -> impl Iterator<Item = Duration> {
        (0..PRODUCTS).filter_map(|product| {
            let queries = self.queries.iter().filter(|query| query.product == product);
            let starts: Vec<Instant> = queries.map(|query| query.at).collect();
            starts.windows(2).map(|pair| pair[1] - pair[0]).min()
        })
    }

    /// What the store counted is what happened.
    fn adds_up(&self) -> bool {
        let (calls, runs) = (self.outcome.answered(), self.queries.len() as u64);
        self.stats.calls.total() == calls && self.stats.runs.total() == runs && self.stats.runs_saved() == calls - runs
    }
}

/// What must hold on every machine. (How long the callers wait depends on the machine: see for yourself.)
pub(crate) fn judge([plain, ttl, stale]: &[Phase; 3]) -> Result<(), BoxError> {
    let coalesced = [ttl, stale];
    let closest = coalesced.iter().flat_map(|phase| phase.gaps()).min();
    let closest = closest.unwrap_or_default();
    let mut all_hold = true;
    let mut claim = |holds: bool, what: &str| {
        println!("  {} {what}", if holds { "[holds] " } else { "[BROKEN]" });
        all_hold &= holds;
    };
    claim(plain.queries.len() as u64 == plain.outcome.answered(), "without the attribute, each answer took a query");
    claim(closest >= TTL, &format!("with it, no product was queried twice within {TTL:?} (closest: {closest:.3?})"));
    claim(
        coalesced.iter().all(|phase| phase.queries.len() >= 3 * PRODUCTS as usize),
        "every product expired and was queried again, more than once",
    );
    claim(
        coalesced.iter().all(|phase| phase.outcome.answers == plain.outcome.answers),
        "all three gave the same answers",
    );
    claim(coalesced.iter().all(|phase| phase.adds_up()), "the store's counts agree with SQLite's and the callers'");
    println!();
    if all_hold { Ok(()) } else { Err("a claim is broken".into()) }
}
