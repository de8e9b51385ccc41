//! Which keys of this process the tier may send news of.
//!
//! News names a key by its cache and its parts. A key here begins with its hash, which is made while the parts are serialized,
//! and cannot be made of their bytes. So the hash of each key that goes to the tier is kept, as long as memory or a flight may
//! have something under it; others are let go of from time to time.

use std::collections::HashMap;

use crate::key::{Key, hash_of, rest_of};
use crate::sync::Mutex;

/// The hashes of keys, by what follows them.
#[derive(Default)]
pub(super) struct Index(Mutex<Hashes>);

#[derive(Default)]
struct Hashes {
    known: HashMap<Box<[u8]>, Hash>,
    /// When there are so many, those that are of no use go.
    bound: usize,
    /// How often that has been done.
    round: u32,
}

#[derive(Clone, Copy)]
struct Hash {
    hash: u64,
    /// The last round in which the key went to the tier: what it brings may not be in its place yet.
    round: u32,
}

impl Index {
    /// Below this, nothing is let go of.
    const LEAST: usize = if cfg!(miri) { 16 } else { 1024 };

    /// Keeps the hash of a key. `is_used` says whether anything is stored, or under way, under one.
    pub(super) fn add(&self, key: &[u8], is_used: impl Fn(&[u8]) -> bool) {
        let mut hashes = self.0.lock();
        let Hashes { known, bound, round } = &mut *hashes;
        if let Some(hash) = known.get_mut(rest_of(key)) {
            hash.round = *round;
            return;
        }
        if known.len() >= (*bound).max(Self::LEAST) {
            known.retain(|rest, Hash { hash, round: last }| *last == *round || is_used(&joined(*hash, rest)));
            *bound = 2 * known.len();
            *round += 1;
        }
        known.insert(rest_of(key).into(), Hash { hash: hash_of(key), round: *round });
    }

    /// The key that goes on so after its hash.
    pub(super) fn find(&self, rest: &[u8]) -> Option<Key> {
        let Hash { hash, .. } = *self.0.lock().known.get(rest)?;
        Some(joined(hash, rest))
    }
}

fn joined(hash: u64, rest: &[u8]) -> Key {
    hash.to_le_bytes().iter().chain(rest).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_use_stay_and_others_go() {
        // Miri takes its time.
        let all: usize = if cfg!(miri) { 60 } else { 100_000 };
        let index = Index::default();
        let key = |number: u64| joined(number, &number.to_be_bytes());
        let is_used = |key: &[u8]| hash_of(key).is_multiple_of(10);
        for number in 0..all as u64 {
            index.add(&key(number), is_used);
            assert_eq!(index.find(&number.to_be_bytes()), Some(key(number)), "{number}: it has just come");
        }
        for number in (0..all as u64).step_by(10) {
            assert_eq!(index.find(&u64::to_be_bytes(number)), Some(key(number)), "{number} is in use");
        }
        let known = index.0.lock().known.len();
        assert!((all / 10..(all * 6 / 10).max(2 * Index::LEAST)).contains(&known), "{known}");
    }
}
