//! What the table and the tokens owe each other.

use std::time::Duration;

use super::*;
use crate::policy::Lifetime;
use crate::space::Space;

const NOWHERE: Option<u64> = None;

fn memory(entries: u64) -> Memory {
    Memory::new(Bounds { entries, weight: None }, std::sync::Arc::default())
}

fn stored(value: u64) -> Arc<AnyStored> {
    let life = Lifetime::plain(Instant::now(), Duration::from_hours(1));
    Stored::new(value).with(life, 1, None, 1)
}

/// A key with a hash that is not its own.
fn key(hash: u64, text: &str) -> Key {
    [&hash.to_le_bytes(), &1_u64.to_le_bytes(), text.as_bytes()].concat().into()
}

fn value(memory: &Memory, key: &[u8]) -> Option<u64> {
    memory.get(key).and_then(|stored| stored.downcast().copied())
}

#[test]
fn a_full_table_gives_way() {
    let memory = memory(10);
    // Miri takes its time.
    let entries = if cfg!(miri) { 30 } else { 1_000 };
    for n in 0..entries {
        memory.insert(key(n << 57 | n, "text"), stored(n));
    }
    assert!(memory.len() <= 10, "{}", memory.len());
    assert_eq!(memory.len(), memory.tokens.entry_count());
    memory.clear();
    assert_eq!((memory.len(), memory.tokens.entry_count()), (0, 0));
}

#[test]
fn two_keys_of_one_hash_are_two_and_take_turns() {
    let memory = memory(10);
    let (a, b) = (key(7, "a"), key(7, "b"));
    memory.insert(Arc::clone(&a), stored(1));
    assert_eq!((value(&memory, &a), value(&memory, &b)), (Some(1), NOWHERE));
    memory.insert(Arc::clone(&b), stored(2));
    assert_eq!((value(&memory, &a), value(&memory, &b)), (NOWHERE, Some(2)), "there is one token");
    assert_eq!(memory.len(), 1);
    memory.remove(&a);
    assert_eq!(value(&memory, &b), Some(2));
}

#[test]
fn a_lost_token_takes_its_entry_along_and_not_the_next() {
    let memory = memory(10);
    let key = key(7, "a");
    memory.insert(Arc::clone(&key), stored(1));
    memory.insert(Arc::clone(&key), stored(2));
    assert_eq!((value(&memory, &key), memory.len()), (Some(2), 1), "what it replaced is gone, and it is not");
    memory.tokens.invalidate(&7);
    assert_eq!((value(&memory, &key), memory.len()), (NOWHERE, 0));
}

#[test]
fn long_keys_are_kept_elsewhere_and_found() {
    let memory = memory(10);
    for len in [0, 1, Rest::SHORT - 8, Rest::SHORT - 7, 300] {
        let key = key(len as u64, &"x".repeat(len));
        memory.insert(Arc::clone(&key), stored(len as u64));
        assert_eq!(value(&memory, &key), Some(len as u64));
    }
}

#[test]
fn a_probe_finds_what_its_bytes_name() {
    let memory = memory(10);
    let (space, _) = Space::named("probes", std::any::TypeId::of::<u64>());
    let texts = ["", "a", "abc", "abcd", "abcdefg", "abcdefgh", "abcdefghijklmnop", "abcdefghijklmnopq"];
    for (n, text) in (0..).zip(texts) {
        memory.insert(crate::key::encode(space, &(n, text)).expect("a key"), stored(n));
    }
    let read = |n: u64, text: &str| {
        let parts = (n, text);
        let probe = Probe { space, hash: crate::key::hash(space, &parts).expect("a key"), parts: &&parts };
        memory.read(&probe, 1, |stored, is_fresh| (stored.downcast().copied(), is_fresh), |_| true)
    };
    for (n, text) in (0..).zip(texts) {
        let (found, _) = read(n, text).expect("it is there");
        assert_eq!(found, Some(n), "{text}");
        assert!(read(n + 1, text).is_none() && read(n, &format!("{text}x")).is_none(), "{text}");
    }
    assert_eq!(memory.hits(), texts.len() as u64);
}

#[test]
fn moka_hears_of_the_first_hits_after_something_new() {
    let memory = memory(10);
    let (space, _) = Space::named("hits", std::any::TypeId::of::<u64>());
    let probe = Probe { space, hash: crate::key::hash(space, &1).expect("a key"), parts: &&1 };
    let told = || memory.lanes.0.iter().map(|lane| lane.told.load(Ordering::Relaxed)).max();
    memory.insert(probe.to_key().expect("a key"), stored(1));
    for hits in 1..=40 {
        assert!(memory.read(&probe, 1, |_, _| (), |()| true).is_some());
        assert_eq!(told(), Some(u64::from(hits >= 16)), "after {hits}");
    }
    memory.insert(probe.to_key().expect("a key"), stored(2));
    assert_eq!(memory.news.load(Ordering::Relaxed), 1, "what is replaced drives nothing out");
}
