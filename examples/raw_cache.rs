//! `Cache`, for where an attribute does not fit: the work is a closure, the key any value that can be serialized.
//!
//! `cargo run --example raw_cache`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use stampede::Cache;
use tokio::time::sleep;

#[derive(Serialize)]
struct Thumbnail<'a> {
    image: &'a str,
    width: u32,
}

/// A proxy whose upstream is chosen while it runs, as are its lifetimes.
#[derive(Clone)]
struct Images {
    thumbnails: Cache<Arc<[u8]>>, // large values behind an `Arc`: a hit clones the value
    requests: Arc<AtomicU32>,
}

impl Images {
    fn new(ttl: Duration) -> Self {
        let thumbnails = Cache::builder("thumbnails").ttl(ttl).build();
        let requests = Arc::default();
        Self { thumbnails, requests }
    }

    async fn thumbnail(&self, image: &str, width: u32) -> Result<Arc<[u8]>, String> {
        let key = Thumbnail { image, width };
        // Called only if there is work to do. The future that it makes is a task of its own: it owns what it uses.
        let work = || {
            let (upstream, image) = (self.clone(), image.to_owned());
            async move { upstream.fetch(&image, width).await }
        };
        self.thumbnails.try_get_with(&key, work).await
    }

    async fn fetch(&self, image: &str, width: u32) -> Result<Arc<[u8]>, String> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
        if image.is_empty() {
            return Err("no such image".to_owned());
        }
        Ok(vec![0; width as usize].into())
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), String> {
    let images = Images::new(Duration::from_mins(1));

    let (one, other) = tokio::join!(images.thumbnail("cat.png", 64), images.thumbnail("cat.png", 64));
    assert!(Arc::ptr_eq(&one?, &other?));
    images.thumbnail("cat.png", 128).await?;
    assert_eq!(images.requests(), 2);
    println!("3 calls for 2 thumbnails: {} requests", images.requests());

    // Errors go to whoever waited, and are not kept.
    let (one, other) = tokio::join!(images.thumbnail("", 64), images.thumbnail("", 64));
    assert!(one.is_err() && one == other);
    assert_eq!(images.requests(), 3);
    println!("2 calls for one that does not exist: {} request", images.requests() - 2);

    // An entry can be had without a call.
    let (image, width) = ("cat.png", 64);
    let entry = images.thumbnails.entry(&Thumbnail { image, width });
    assert!(entry.get().await.is_some());
    entry.invalidate().await;
    images.thumbnail("cat.png", 64).await?;
    assert_eq!(images.requests(), 4);
    println!("invalidated, and called again: {} more", images.requests() - 3);

    // Where nothing can fail, `get_with`.
    let lengths = Cache::<usize>::builder("lengths").ttl(Duration::from_mins(1)).build();
    let length = lengths.get_with(&"cat.png", || async { "cat.png".len() }).await;
    assert_eq!(length, 7);
    Ok(())
}
