//! URLs that are remembered as personal for a while, in a fixed amount of memory.
//!
//! A slot holds the mark of one key: part of its hash, and when it ends. A newer mark takes the slot of an older one, which
//! is then forgotten; a key whose hash looks like a marked one is taken for it. Either costs a run and harms nothing.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const SLOTS: usize = 4096;
/// How many bits of a mark say when it ends, in 1/8 s since the beginning: 8 years' worth.
const TIME_BITS: u32 = 31;

#[derive(Debug)]
pub(crate) struct Marks {
    slots: Box<[AtomicU64]>,
    any: AtomicBool,
    hasher: RandomState,
    began: Instant,
}

impl Marks {
    pub(crate) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, any: AtomicBool::new(false), hasher: RandomState::new(), began: Instant::now() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis() / 125).unwrap_or(u64::MAX) & ((1 << TIME_BITS) - 1)
    }

    fn slot(&self, key: &impl Hash) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        (&self.slots[hash as usize % SLOTS], hash >> TIME_BITS)
    }

    pub(crate) fn set(&self, key: &impl Hash, duration: Duration) {
        let (slot, tag) = self.slot(key);
        let end = self.now() + u64::try_from(duration.as_millis() / 125).unwrap_or(u64::MAX).min(1 << 24);
        slot.store(tag << TIME_BITS | end, Ordering::Relaxed);
        self.any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self, key: &impl Hash) -> bool {
        self.is_set_for(|| key)
    }

    /// The same for a key that is only made if there is any mark.
    pub(crate) fn is_set_for<K: Hash>(&self, key: impl FnOnce() -> K) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let key = &key();
        let (slot, tag) = self.slot(key);
        let mark = slot.load(Ordering::Relaxed);
        mark >> TIME_BITS == tag && mark & ((1 << TIME_BITS) - 1) > self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mark_lasts_for_its_time_and_for_its_key() {
        let marks = Marks::new();
        assert!(!marks.is_set(&"a"));
        marks.set(&"a", Duration::from_secs(10));
        assert!(marks.is_set(&"a") && !marks.is_set(&"b"));
        tokio::time::advance(Duration::from_millis(9_800)).await;
        assert!(marks.is_set(&"a"));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(!marks.is_set(&"a"));
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_marks_takes_the_same_memory() {
        let marks = Marks::new();
        for n in 0..200_000 {
            marks.set(&n, Duration::from_mins(1));
        }
        assert!(marks.is_set(&199_999));
        assert_eq!(marks.slots.len(), SLOTS);
    }
}
