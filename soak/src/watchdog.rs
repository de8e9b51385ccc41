//! Nobody hangs: a thread of its own looks for calls that do not come to an end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::check::Asked;

/// Longer than any call may take, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

const SHARDS: u64 = 32;

/// The calls under way.
pub(crate) struct Watchdog {
    next: AtomicU64,
    shards: Vec<Mutex<HashMap<u64, (Asked, Instant)>>>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { next: AtomicU64::new(0), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Watchdog {
    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, (Asked, Instant)>> {
        let at = usize::try_from(number % SHARDS).unwrap_or_default();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins, which ends when what this returns is dropped.
    pub(crate) fn watch(&self, asked: Asked) -> Watched<'_> {
        let number = self.next.fetch_add(1, SeqCst);
        self.shard(number).insert(number, (asked, Instant::now()));
        Watched { watchdog: self, number }
    }

    /// Calls that take too long.
    pub(crate) fn hanging(&self) -> Vec<String> {
        let of_shard = |number| -> Vec<String> {
            let shard = self.shard(number);
            let calls = shard.values().filter(|(_, since)| since.elapsed() > PATIENCE);
            calls.map(|(asked, since)| format!("{asked} hangs since {:?}", since.elapsed())).collect()
        };
        (0..SHARDS).flat_map(of_shard).collect()
    }
}

pub(crate) struct Watched<'a> {
    watchdog: &'a Watchdog,
    number: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.watchdog.shard(self.number).remove(&self.number);
    }
}
