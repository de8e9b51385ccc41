//! An origin that hangs, fails and comes back: callers get an old value in time, and the origin is left alone.
//!
//! `cargo run --example outage`

use std::future::pending;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use stampede::{CircuitOpen, Store, Timeout, coalesce};
use tokio::time::{Instant, sleep};

/// A price service with moods.
#[derive(Clone, Default)]
struct Prices(Arc<Mutex<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    mood: Mood,
    requests: u32,
}

#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Fine,
    Hangs,
    Fails,
}

impl Prices {
    /// Gives the number of the request, to tell old from new.
    async fn get(&self) -> Result<u32, PriceError> {
        let State { mood, requests } = {
            let mut state = self.0.lock().expect("no panic");
            state.requests += 1;
            *state
        };
        match mood {
            Mood::Fine => Ok(requests),
            Mood::Hangs => pending().await,
            Mood::Fails => Err(PriceError::Down),
        }
    }

    fn is(&self, mood: Mood) {
        self.0.lock().expect("no panic").mood = mood;
    }

    fn requests(&self) -> u32 {
        self.0.lock().expect("no panic").requests
    }
}

#[derive(Clone, Debug, PartialEq)]
enum PriceError {
    Down,
    TooSlow,
    LeftAlone,
}

impl From<Timeout> for PriceError {
    fn from(_: Timeout) -> Self {
        Self::TooSlow
    }
}

impl From<CircuitOpen> for PriceError {
    fn from(_: CircuitOpen) -> Self {
        Self::LeftAlone
    }
}

/// Nobody waits for longer than half a second; for an hour an old price is better than none; and a service that fails five
/// times in a row has 30 s to recover.
#[coalesce(
    ttl = "10s",
    stale_if_error = "1h",
    timeout = "500ms",
    run_limit = "2s",
    breaker(failures = 5, reset_after = "30s"),
    key = "item",
    tags = "\"prices\""
)]
async fn price(prices: &Prices, item: u32) -> Result<u32, PriceError> {
    prices.get().await
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let prices = &Prices::default();
    assert_eq!(price(prices, 1).await, Ok(1));

    // It hangs: the old price, after half a second. Who has no old price gets an error as soon.
    sleep(Duration::from_secs(11)).await;
    prices.is(Mood::Hangs);
    let called = Instant::now();
    assert_eq!(price(prices, 1).await, Ok(1));
    assert_eq!(price(prices, 2).await, Err(PriceError::TooSlow));
    println!("hangs: two answers in {:?}", called.elapsed());
    assert!(called.elapsed() < Duration::from_millis(1_010));
    sleep(Duration::from_secs(2)).await; // the two runs reach their limit

    // It fails: the old price at once. After three more failures in a row it is left alone.
    prices.is(Mood::Fails);
    for _ in 0..60 {
        assert_eq!(price(prices, 1).await, Ok(1));
        sleep(Duration::from_millis(500)).await;
    }
    println!("fails for 30 s: 60 answers, {} requests", prices.requests() - 3);
    assert_eq!(prices.requests() - 3, 3);
    assert_eq!(price(prices, 3).await, Err(PriceError::LeftAlone));

    // It recovers: one request probes, and its success lets the others through.
    prices.is(Mood::Fine);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(price(prices, 1).await, Ok(7));
    assert_eq!(price(prices, 3).await, Ok(8));
    println!("fine again: request {} was let through", prices.requests());

    // New prices for everything: one word voids them all.
    Store::current().invalidate_tag("prices").await;
    assert_eq!(price(prices, 1).await, Ok(9));

    let stats = Store::current().stats();
    println!("{} calls: {} stale answers, {} errors", stats.calls.total(), stats.calls.stale, stats.calls.error);
}
