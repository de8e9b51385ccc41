//! What one expiry costs: a hot key behind a cache that keeps values for two seconds, and behind `#[coalesce]`.
//!
//! `cargo run --release --example expiry`
//!
//! The database is the one of `quickstart`. `--short` sees two expiries instead of five; `--json` writes what was measured as
//! one line for `cargo xtask pictures`.

#[path = "../quickstart/origin.rs"]
#[expect(dead_code, reason = "here runs are counted as they begin, not when a connection is free")]
mod origin;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stampede::coalesce;
use tokio::task::JoinSet;

use crate::origin::{BoxError, Shop};

const TTL: Duration = Duration::from_secs(2);
const CALLS_PER_SECOND: u32 = 1000;
/// What `most` looks at.
const MOMENT: Duration = Duration::from_millis(100);

/// When runs began.
static RUNS: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

async fn query(shop: &Shop) -> Result<Vec<u32>, BoxError> {
    lock(&RUNS).push(Instant::now());
    shop.query_also_bought(7).await
}

type Kept = Option<(Instant, Vec<u32>)>;
static KEPT: Mutex<Kept> = Mutex::new(None);

/// How it is usually written: a value is used for as long as it is fresh. When it is not, whoever sees it asks.
async fn with_a_ttl(shop: &Shop) -> Result<Vec<u32>, BoxError> {
    let kept = lock(&KEPT).clone();
    match kept {
        Some((at, answer)) if at.elapsed() < TTL => Ok(answer),
        _ => {
            let answer = query(shop).await?;
            *lock(&KEPT) = Some((Instant::now(), answer.clone()));
            Ok(answer)
        }
    }
}

#[coalesce(ttl = TTL, skip(shop))]
async fn coalesced(shop: &Shop) -> Result<Vec<u32>, BoxError> {
    query(shop).await
}

/// What became of the calls, and of the origin.
struct Outcome {
    /// Since the first call, the shortest first.
    runs: Vec<Duration>,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Calls for as long as `duration`, in an open loop: a slow answer does not make the next caller come later.
    async fn of<C>(duration: Duration, call: impl Fn() -> C) -> Result<Self, BoxError>
    where
        C: Future<Output = Result<Vec<u32>, BoxError>> + Send + 'static,
    {
        lock(&RUNS).clear();
        let started = Instant::now();
        let mut arrivals = tokio::time::interval(Duration::from_secs(1) / CALLS_PER_SECOND);
        let mut callers = JoinSet::new();
        while started.elapsed() < duration {
            arrivals.tick().await;
            let (called, answer) = (Instant::now(), call());
            callers.spawn(async move { answer.await.map(|_| called.elapsed()) });
        }
        let mut latencies = callers.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        latencies.sort_unstable();
        let mut runs: Vec<_> = lock(&RUNS).iter().map(|run| *run - started).collect();
        runs.sort_unstable();
        Ok(Self { runs, latencies })
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }

    /// The most runs that began within a moment.
    fn most(&self) -> usize {
        let within = |first: &Duration| self.runs.iter().filter(|run| (*first..*first + MOMENT).contains(run)).count();
        self.runs.iter().map(within).max().unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        let seconds = |time: &Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
        json!({
            "calls": self.latencies.len(),
            "runs_s": self.runs.iter().map(seconds).collect::<Vec<_>>(),
            "p50_s": seconds(&self.percentile(50)),
            "p99_s": seconds(&self.percentile(99)),
            "max_s": seconds(&self.percentile(100)),
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let told = |word: &str| std::env::args().any(|arg| arg == word);
    let duration = TTL * if told("--short") { 2 } else { 5 } + TTL / 2;
    let shop = Shop::open().await?;
    let cached = {
        let shop = shop.clone();
        let call = move || {
            let shop = shop.clone();
            async move { with_a_ttl(&shop).await }
        };
        Outcome::of(duration, call).await?
    };
    let coalesced = {
        let shop = shop.clone();
        let call = move || {
            let shop = shop.clone();
            async move { coalesced(&shop).await }
        };
        Outcome::of(duration, call).await?
    };
    if told("--json") {
        let measured = json!({
            "ttl_s": TTL.as_secs_f64(),
            "calls_per_second": CALLS_PER_SECOND,
            "duration_s": duration.as_secs_f64(),
            "query_s": shop.query_cost().as_secs_f64(),
            "without": cached.to_json(),
            "with": coalesced.to_json(),
        });
        println!("{measured}");
    } else {
        println!(
            "one key, {CALLS_PER_SECOND} calls a second, a query that takes {:.0?}, a TTL of {TTL:?}\n",
            shop.query_cost()
        );
        let line = |name: &str, cell: fn(&Outcome) -> String| {
            println!("  {name:<28}{:>12}{:>16}", cell(&cached), cell(&coalesced));
        };
        println!("  {:<28}{:>12}{:>16}", "", "a TTL", "#[coalesce]");
        line("calls", |outcome| outcome.latencies.len().to_string());
        line("runs of the query", |outcome| outcome.runs.len().to_string());
        line("  most within 100 ms", |outcome| outcome.most().to_string());
        line("99 % of calls within", |outcome| format!("{:.1?}", outcome.percentile(99)));
        line("slowest call", |outcome| format!("{:.1?}", outcome.percentile(100)));
    }
    let expiries_apart = coalesced.runs.windows(2).all(|pair| pair[1] >= pair[0] + TTL);
    if expiries_apart && coalesced.runs.len() >= 2 && cached.runs.len() > 2 * coalesced.runs.len() {
        Ok(())
    } else {
        Err("a claim is broken: one run for each expiry with the attribute, a stampede without".into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
