//! Nobody waits for a refresh, and a refresh that fails takes nothing away.
//!
//! `cargo run --example background_refresh`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use stampede::{coalesce, is_background};
use tokio::time::{Instant, sleep, timeout};

/// A feed of exchange rates that takes its time.
#[derive(Clone, Default)]
struct Feed {
    requests: Arc<AtomicU32>,
    down: Arc<AtomicBool>,
}

impl Feed {
    /// Gives the number of the request, to tell old from new.
    async fn get(&self) -> Result<u32, FeedError> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let down = self.down.load(Ordering::Relaxed);
        sleep(Duration::from_millis(300)).await;
        if down { Err(FeedError) } else { Ok(request) }
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct FeedError;

/// For 10 s a value is fresh. For the 5 min after that it is good enough while a new one is fetched; if that fails,
/// the feed is left alone for 3 s.
#[coalesce(ttl = "10s", stale_while_revalidate = "5m", retry_after = "3s", skip(feed))]
async fn rates(feed: &Feed) -> Result<u32, FeedError> {
    // Where nobody waits there is time to be patient.
    let patience = Duration::from_millis(if is_background() { 10_000 } else { 500 });
    timeout(patience, feed.get()).await.map_err(|_| FeedError)?
}

/// The rates, and how long the caller had to wait for them.
async fn timed(feed: &Feed) -> (Result<u32, FeedError>, Duration) {
    let called = Instant::now();
    let rates = rates(feed).await;
    (rates, called.elapsed())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    const AT_ONCE: Duration = Duration::ZERO;
    let feed = Feed::default();

    let (first, waited) = timed(&feed).await;
    assert_eq!((first, waited), (Ok(1), Duration::from_millis(300)));
    println!("first call: waits {waited:?}");

    // Expired: the old value at once, and a refresh behind the scenes, for the next.
    sleep(Duration::from_secs(11)).await;
    assert_eq!(timed(&feed).await, (Ok(1), AT_ONCE));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(timed(&feed).await, (Ok(2), AT_ONCE));
    assert_eq!(feed.requests(), 2);
    println!("expired: nobody waits, {} requests so far", feed.requests());

    // Expired, and the feed is down: the old value, and an attempt every 3 s, however many call.
    feed.down.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(11)).await;
    for _ in 0..90 {
        assert_eq!(timed(&feed).await, (Ok(2), AT_ONCE));
        sleep(Duration::from_millis(100)).await;
    }
    let failed = feed.requests() - 2;
    println!("down for 9 s: 90 calls answered, {failed} failed requests");
    assert_eq!(failed, 3); // the first at once, the others 3 s after the one before had failed

    // Up again: the next refresh gets through.
    feed.down.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(timed(&feed).await, (Ok(2), AT_ONCE));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(timed(&feed).await, (Ok(6), AT_ONCE));
    println!("up again: request {} has the new value", feed.requests());
}
