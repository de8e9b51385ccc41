//! The key is what the answer depends on: some arguments, or expressions over them.
//!
//! `cargo run --example key_subset`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stampede::coalesce;

/// A client for somebody's weather service. Arguments taken by reference are cloned when a run starts, so a client
/// is a handle, as those of databases and HTTP libraries are.
#[derive(Clone, Default)]
struct Weather {
    requests: Arc<AtomicU32>,
}

impl Weather {
    async fn get(&self, city: &str, days: u8) -> String {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(80)).await;
        format!("{city}: rain for {days} days")
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// `key` says what belongs to the key. The client and the trace id do not change the answer.
#[coalesce(ttl = "10m", key = "city, days")]
async fn forecast(weather: &Weather, trace_id: u64, city: &str, days: u8) -> String {
    println!("  request {trace_id} asks the weather service about {city}");
    weather.get(city, days).await
}

/// `skip` says what does not. Every other argument is part of the key.
#[coalesce(ttl = "10m", skip(weather))]
async fn next_days(weather: &Weather, city: &str, days: u8) -> String {
    weather.get(city, days).await
}

/// The parts of a key are expressions: what means the same gets the same entry.
#[coalesce(ttl = "10m", key = "city.trim().to_lowercase(), days.unwrap_or(3)")]
async fn lenient(weather: &Weather, city: &str, days: Option<u8>) -> String {
    weather.get(city.trim(), days.unwrap_or(3)).await
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let weather = Weather::default();

    // Three callers at once, and one for another city: two requests.
    let (first, second, third, other) = tokio::join!(
        forecast(&weather, 1, "Oslo", 3),
        forecast(&weather, 2, "Oslo", 3),
        forecast(&weather, 3, "Oslo", 3),
        forecast(&weather, 4, "Bergen", 3),
    );
    assert!(first == second && second == third && third != other);
    assert_eq!(weather.requests(), 2);
    println!("4 calls, 4 trace ids, 2 cities: {} requests", weather.requests());

    // Another function, another cache: a third request, for both of these.
    next_days(&weather, "Oslo", 3).await;
    next_days(&weather, "Oslo", 3).await;
    assert_eq!(weather.requests(), 3);

    // Three spellings of one question: a fourth.
    lenient(&weather, "Oslo", None).await;
    lenient(&weather, " oslo", Some(3)).await;
    lenient(&weather, "OSLO ", Some(3)).await;
    assert_eq!(weather.requests(), 4);
    println!("5 more calls, 2 more functions: {} requests", weather.requests());
}
