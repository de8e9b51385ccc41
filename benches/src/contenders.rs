//! The function that everybody caches, `(id: u64, name: &str) -> u64` for an hour, each in its own way.
//!
//! Nothing is ever evicted: `cached` is unbounded, as its users have it unless told, and the others have room enough.

use std::convert::Infallible;
use std::time::Duration;

use cached::macros::{cached, concurrent_cached};
use cached::{Cached, ConcurrentCached};
use stampede::coalesce;

use crate::CAPACITY;

pub(crate) const NAME: &str = "profile";

const TTL: Duration = Duration::from_hours(1);

#[expect(clippy::unused_async, reason = "bodies are, even where they have nothing to wait for")]
async fn body(id: u64, name: &str) -> u64 {
    id + u64::from(name.as_bytes()[0])
}

#[coalesce(ttl = "1h", entry = false)]
pub(crate) async fn coalesce_detached(id: u64, name: &str) -> u64 {
    body(id, name).await
}

#[coalesce(ttl = "1h", inline, entry = false)]
pub(crate) async fn coalesce_inline(id: u64, name: &str) -> u64 {
    body(id, name).await
}

/// Sharded, without protection against stampedes.
#[concurrent_cached(ttl_secs = 3600, key = "(u64, String)", convert = { (id, name.to_owned()) }, name = "SHARDED")]
pub(crate) async fn concurrent_cached(id: u64, name: &str) -> u64 {
    body(id, name).await
}

/// One lock around the map, and one around each of the runs.
#[cached(
    ttl_secs = 3600,
    sync_writes = "by_key",
    key = "(u64, String)",
    convert = { (id, name.to_owned()) },
    name = "BY_KEY"
)]
pub(crate) async fn cached_by_key(id: u64, name: &str) -> u64 {
    body(id, name).await
}

/// Empties the caches that are statics.
pub(crate) async fn forget() {
    BY_KEY.write().await.cache_reset();
    if let Some(sharded) = SHARDED.get() {
        let Ok(()) = sharded.cache_reset();
    }
}

/// A cache that knows its keys' runs.
pub(crate) struct Moka(moka::future::Cache<(u64, String), u64>);

impl Moka {
    pub(crate) fn new() -> Self {
        Self(moka::future::Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build())
    }

    pub(crate) async fn get_with(&self, id: u64, name: &str) -> u64 {
        self.0.get_with((id, name.to_owned()), body(id, name)).await
    }

    pub(crate) async fn try_get_with(&self, id: u64, name: &str) -> u64 {
        let run = async { Ok::<_, Infallible>(body(id, name).await) };
        self.0.try_get_with((id, name.to_owned()), run).await.unwrap_or_else(|error| match *error {})
    }
}

/// The floor: a synchronous look-up by the number alone, and no more than that.
pub(crate) struct BareMoka(moka::sync::Cache<u64, u64>);

impl BareMoka {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build())
    }

    pub(crate) fn get(&self, id: u64) -> u64 {
        self.0.get(&id).unwrap_or_else(|| {
            self.0.insert(id, id);
            id
        })
    }
}
