//! How to test coalesced code: a store for each test, and a clock that stands still until it is told to move.
//!
//! `cargo run --example testing`
//!
//! In `Cargo.toml`, for the clock:
//!
//! ```toml
//! [dev-dependencies]
//! stampede-rs = { version = "0.1", features = ["test-util"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stampede::{Store, coalesce};
use tokio::time::{advance, sleep};

/// What stands in for the real thing in tests: it counts, and it can fail.
#[derive(Clone, Default)]
struct Prices {
    requests: Arc<AtomicU32>,
}

impl Prices {
    async fn get(&self, item: &str) -> Result<u32, String> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(100)).await;
        if item == "unicorn" {
            return Err("no such item".to_owned());
        }
        Ok(42)
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The code under test.
#[coalesce(ttl = "5s", key = "item")]
async fn price(prices: &Prices, item: &str) -> Result<u32, String> {
    prices.get(item).await
}

/// A store of its own, so that tests that run side by side do not see each other's values.
fn store() -> Store {
    Store::builder().max_entries(100).build()
}

// In a test module these are `#[tokio::test(start_paused = true)]`.

async fn callers_share_one_request() {
    let (store, prices) = (store(), Prices::default());
    let callers = async { tokio::join!(price(&prices, "anvil"), price(&prices, "anvil")) };
    assert_eq!(store.scope(callers).await, (Ok(42), Ok(42)));
    assert_eq!(prices.requests(), 1);

    // The store knows how each call was answered.
    let calls = store.stats().calls;
    assert_eq!((calls.miss, calls.coalesced), (1, 1));
}

async fn a_price_is_good_for_five_seconds() {
    let (store, prices) = (store(), Prices::default());
    let test = async {
        price(&prices, "anvil").await?;
        advance(Duration::from_millis(4_999)).await;
        price(&prices, "anvil").await?;
        assert_eq!(prices.requests(), 1);

        advance(Duration::from_millis(1)).await;
        price(&prices, "anvil").await?;
        assert_eq!(prices.requests(), 2);
        Ok::<_, String>(())
    };
    assert_eq!(store.scope(test).await, Ok(()));
}

async fn an_error_is_not_stored() {
    let (store, prices) = (store(), Prices::default());
    let test = async {
        for _ in 0..2 {
            assert_eq!(price(&prices, "unicorn").await, Err("no such item".to_owned()));
        }
    };
    store.scope(test).await;
    assert_eq!(prices.requests(), 2);
    assert_eq!(store.stats().entries, 0);
}

async fn tasks_are_given_the_store_too() {
    let (store, prices) = (store(), Prices::default());
    // A task that is spawned within a scope is not in it: like a task-local, the scope is one task's.
    let caller = || {
        let (store, prices) = (store.clone(), prices.clone());
        tokio::spawn(async move { store.scope(price(&prices, "anvil")).await })
    };
    let (one, other) = tokio::join!(caller(), caller());
    assert!(matches!((one, other), (Ok(Ok(42)), Ok(Ok(42)))));
    assert_eq!(prices.requests(), 1);
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    callers_share_one_request().await;
    println!("callers share one request ... ok");
    a_price_is_good_for_five_seconds().await;
    println!("a price is good for five seconds ... ok");
    an_error_is_not_stored().await;
    println!("an error is not stored ... ok");
    tasks_are_given_the_store_too().await;
    println!("tasks are given the store too ... ok");
}
