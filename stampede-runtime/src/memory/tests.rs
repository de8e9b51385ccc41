//! What the table and the tokens owe each other.

mod streams;
mod threads;

use std::thread;
use std::time::Duration;

use super::stored::Rest;
use super::*;
use crate::key::{Key, hash};
use crate::policy::{Lifetime, Terms};
use crate::space::Space;

const NOWHERE: Option<u64> = None;

fn memory(entries: u64) -> Memory {
    Memory::new(Bounds { entries, weight: None }, std::sync::Arc::default())
}

fn stored(key: &Key, value: u64) -> Arc<AnyStored> {
    any(key, value)
}

fn any<V: Send + Sync + 'static>(key: &Key, value: V) -> Arc<AnyStored> {
    let life = Lifetime::plain(Instant::now(), Duration::from_hours(1));
    Stored::new(value).with(key, Verdict::plain(life, 1))
}

/// A key with a hash that is not its own.
fn key(hash: u64, text: &str) -> Key {
    [hash.to_le_bytes().as_slice(), &1_u32.to_le_bytes(), text.as_bytes()].concat().into()
}

fn value(memory: &Memory, key: &[u8]) -> Option<u64> {
    memory.get(key).and_then(|stored| stored.downcast().copied())
}

/// What is found as a call finds it: near its key, if that is easily come by, and the key is this.
fn found<'m>(memory: &'m Memory, probe: &Probe<'_>) -> Option<Held<'m>> {
    let near = Section::start_easily().and_then(|section| {
        let first = memory.first(section, probe.space, probe.hash);
        first.map_or_else(|section| memory.near(section, probe.space, probe.hash), Some)
    });
    near.filter(|held| probe.parts.are(held.entry().parts())).or_else(|| memory.look(probe))
}

/// A hit, if there is anything; `look` is called meanwhile.
fn read(memory: &Memory, probe: &Probe<'_>, look: impl FnOnce(Entry<'_>)) -> bool {
    let held = found(memory, probe);
    if let Some(held) = &held {
        look(held.entry());
        memory.hit(held);
    }
    held.is_some()
}

#[test]
fn a_full_table_gives_way() {
    let memory = memory(10);
    // Miri takes its time.
    let entries = if cfg!(miri) { 30 } else { 1_000 };
    for n in 0..entries {
        memory.insert(stored(&key(n << 57 | n, "text"), n));
    }
    assert!(memory.len() <= 10, "{}", memory.len());
    assert_eq!(memory.len(), memory.tokens.entry_count());
    memory.clear();
    assert_eq!((memory.len(), memory.tokens.entry_count()), (0, 0));
}

#[test]
fn two_keys_of_one_hash_are_two() {
    let memory = memory(10);
    let (a, b) = (key(7, "a"), key(7, "b"));
    memory.insert(stored(&a, 1));
    assert_eq!((value(&memory, &a), value(&memory, &b)), (Some(1), NOWHERE));
    memory.insert(stored(&b, 2));
    assert_eq!((value(&memory, &a), value(&memory, &b)), (Some(1), Some(2)));
    assert_eq!((memory.len(), memory.tokens.entry_count()), (2, 2));
    memory.remove(&a);
    assert_eq!((value(&memory, &a), value(&memory, &b)), (NOWHERE, Some(2)));
    assert_eq!((memory.len(), memory.tokens.entry_count()), (1, 1));
}

/// What tells the entry of a key.
fn token(memory: &Memory, key: &Key) -> Token {
    let section = Section::start();
    let entry = memory.find(&section, key).expect("an entry");
    Token::of(entry.hash, entry.number.load(Ordering::Relaxed))
}

#[test]
fn a_value_that_is_stored_again_has_one_token() {
    let memory = memory(10);
    let key = key(7, "a");
    let value = stored(&key, 1);
    for _ in 0..3 {
        memory.insert(Arc::clone(&value));
        assert_eq!((memory.len(), memory.tokens.entry_count()), (1, 1), "in place of itself");
        assert!(memory.tokens.contains_key(&token(&memory, &key)));
    }
    memory.remove(&key);
    memory.insert(value);
    assert_eq!((memory.len(), memory.tokens.entry_count()), (1, 1));
}

#[test]
fn a_lost_token_takes_its_entry_along_and_not_the_next() {
    let memory = memory(10);
    let key = key(7, "a");
    memory.insert(stored(&key, 1));
    let first = token(&memory, &key);
    memory.insert(stored(&key, 2));
    assert_eq!(
        (memory.tokens.entry_count(), memory.tokens.contains_key(&first)),
        (0, false),
        "it is handed in no more"
    );
    memory.tokens.insert(first, ());
    memory.tokens.invalidate(&first);
    assert_eq!((value(&memory, &key), memory.len()), (Some(2), 1), "what it replaced is gone, and it is not");
    memory.tokens.invalidate(&token(&memory, &key));
    assert_eq!((value(&memory, &key), memory.len()), (NOWHERE, 0));
}

#[test]
fn an_entry_that_is_removed_takes_its_token_along() {
    let memory = memory(10);
    memory.insert(stored(&key(7, "a"), 1));
    memory.remove(&key(7, "a"));
    assert_eq!((memory.len(), memory.tokens.entry_count()), (0, 0));
}

#[test]
fn a_key_of_another_cache_is_another() {
    let memory = memory(10);
    let probe = |space: u32| Probe { space: Space::from_bytes(space.to_le_bytes()), hash: 7, parts: &"a" };
    memory.insert(stored(&probe(1).to_key().expect("a key"), 1));
    assert!(read(&memory, &probe(1), |_| {}));
    assert!(!read(&memory, &probe(2), |_| {}));
    let other = probe(2).to_key().expect("a key");
    assert!(memory.get(&other).is_none());
    assert!(memory.table.insert(stored(&other, 2), 2).is_none(), "it replaces nothing");
    assert_eq!((value(&memory, &probe(1).to_key().expect("a key")), value(&memory, &other)), (Some(1), Some(2)));
}

#[test]
fn to_expire_what_is_stale_makes_it_no_younger() {
    let (memory, key) = (memory(10), key(7, "a"));
    let fresh_until = |until: Instant| {
        let life = Lifetime { fresh_until: until, ..Lifetime::plain(until, Duration::ZERO) };
        memory.insert(Stored::new(1_u64).with(&key, Verdict::plain(life, 1)));
        memory.expire(&key);
        memory.get(&key).expect("it is stored").life().fresh_until
    };
    let now = Instant::now();
    let before = now.checked_sub(Duration::from_nanos(1)).expect("a while ago");
    assert_eq!(fresh_until(before), before);
    let ended = fresh_until(now + Duration::from_hours(1));
    assert!(now <= ended && ended <= Instant::now());
}

#[test]
fn what_is_replaced_is_dropped() {
    let memory = memory(10);
    let (first, is_alive, dropped_in_the_end) = watched(&key(7, "a"));
    memory.insert(first);
    assert!(is_alive(), "it is stored");
    memory.insert(stored(&key(7, "a"), 2));
    memory.table.flush();
    dropped_in_the_end();
}

#[test]
fn of_few_entries_few_are_left_to_be_dropped() {
    let memory = memory(4);
    let alive = Arc::new(());
    for _ in 0..100 {
        memory.insert(any(&key(7, "a"), Arc::clone(&alive)));
    }
    let begun = std::time::Instant::now();
    // This one, that which is stored, and one more.
    while Arc::strong_count(&alive) > 3 {
        assert!(begun.elapsed() < Duration::from_mins(1), "{} are left", Arc::strong_count(&alive));
        thread::yield_now();
    }
}

#[test]
fn what_is_over_goes_as_others_come() {
    let memory = memory(10_000);
    let now = Instant::now();
    let terms = Terms { stale_if_error: Duration::from_hours(1), ..Terms::DEFAULT };
    let stale = Lifetime::starting(now, Duration::ZERO, &terms, Duration::ZERO, || 1.0);
    let put = |n: u64, life| memory.insert(Stored::new(n).with(&key(n, "text"), Verdict::plain(life, 1)));
    // All in one shard.
    let few = if cfg!(miri) { 4 } else { 100 };
    (0..few).for_each(|n| put(n, Lifetime::plain(now, Duration::ZERO)));
    (few..2 * few).for_each(|n| put(n, stale));
    (2 * few..8 * few).for_each(|n| put(n, Lifetime::plain(now, Duration::from_hours(1))));
    let there = |n: &u64| value(&memory, &key(*n, "text")).is_some();
    assert!((few..8 * few).all(|n| there(&n)), "stale ones are of use");
    assert_eq!((0..few).filter(there).count(), 0);
    assert_eq!((memory.len(), memory.tokens.entry_count()), (7 * few, 7 * few));
}

#[test]
fn what_is_over_takes_no_others_token_along() {
    let memory = memory(10);
    let over = Lifetime::plain(Instant::now(), Duration::ZERO);
    memory.table.insert(Stored::new(1).with(&key(7, "a"), Verdict::plain(over, 1)), 1);
    (1..=2).for_each(|number| memory.tokens.insert(Token::of(7, number), ()));
    (0..100).for_each(|_| memory.clear_away(7, 1));
    assert!(value(&memory, &key(7, "a")).is_none());
    assert_eq!([1, 2].map(|number| memory.tokens.contains_key(&Token::of(7, number))), [false, true]);
}

#[test]
fn long_keys_are_kept_elsewhere_and_found() {
    let memory = memory(10);
    for len in [0, 1, Rest::SHORT, Rest::SHORT + 1, 300] {
        let key = key(len as u64, &"x".repeat(len));
        memory.insert(stored(&key, len as u64));
        assert_eq!(value(&memory, &key), Some(len as u64));
    }
}

#[test]
fn a_probe_finds_what_its_bytes_name() {
    let memory = memory(1_000);
    // All have one hash: it is the bytes that tell them apart.
    let space = Space::from_bytes(1_u32.to_le_bytes());
    let text = |len: usize| "abcdefghijklmnopqrstuvwxyz".repeat(20)[..len].to_owned();
    let lens = [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 254, 255, 300];
    for (n, len) in (0_u64..).zip(lens) {
        let key = Probe { space, hash: 7, parts: &&(n, text(len)) }.to_key().expect("a key");
        memory.insert(stored(&key, n));
    }
    let found = |n: u64, text: String| {
        let mut found = NOWHERE;
        read(&memory, &Probe { space, hash: 7, parts: &&(n, text) }, |entry| found = entry.value().copied());
        found
    };
    for (n, len) in (0..).zip(lens) {
        assert_eq!(found(n, text(len)), Some(n), "{len} bytes");
        assert_eq!((found(n + 1, text(len)), found(n, text(len) + "x")), (NOWHERE, NOWHERE), "{len} bytes");
        for place in (0..len).step_by(if cfg!(miri) { 41 } else { 1 }) {
            let mut other = text(len);
            other.replace_range(place..=place, "-");
            assert_eq!(found(n, other), NOWHERE, "{len} bytes, of which the one at {place} is another");
        }
    }
    assert_eq!(memory.hits(), lens.len() as u64);
}

#[test]
fn moka_hears_of_some_hits_for_each_new_entry() {
    let memory = memory(10_000);
    let (space, _) = Space::named("hits", std::any::TypeId::of::<u64>());
    let probe = |n: &'static u64| Probe { space, hash: hash(space, n).expect("a key"), parts: n };
    let told = |hits: usize| {
        for _ in 0..hits {
            assert!(read(&memory, &probe(&1), |_| {}));
        }
        memory.lanes.own.iter().map(|lane| lane.told.load(Ordering::Relaxed)).max()
    };
    memory.insert(stored(&probe(&1).to_key().expect("a key"), 1));
    assert_eq!((told(10), told(10)), (Some(10), Some(16)));
    memory.insert(stored(&probe(&1).to_key().expect("a key"), 2));
    assert_eq!(told(10), Some(16), "what is replaced drives nothing out");
    for n in 0..3 {
        memory.insert(stored(&key(n, "new"), n));
    }
    assert_eq!((told(30), told(30)), (Some(46), Some(64)), "they may come in a row");
    memory.owed.fetch_add(5_000 * Memory::FEW, Ordering::Relaxed);
    assert_eq!(told(1), Some((5_004 - Memory::ROW) * Memory::FEW + 1), "and what is long past is past");
}

/// A value that tells whether it has been dropped: in the end it is, if only when others' sections are over.
fn watched(key: &Key) -> (Arc<AnyStored>, impl Fn() -> bool + use<>, impl Fn() + use<>) {
    let alive = Arc::new(());
    let stored = any(key, Arc::clone(&alive));
    let watch = Arc::downgrade(&alive);
    drop(alive);
    let in_the_end = {
        let watch = watch.clone();
        move || {
            let begun = std::time::Instant::now();
            while watch.strong_count() > 0 {
                assert!(begun.elapsed() < Duration::from_mins(1), "it is never dropped");
                thread::yield_now();
            }
        }
    };
    (stored, move || watch.strong_count() > 0, in_the_end)
}

#[test]
fn what_is_looked_at_is_dropped_afterwards() {
    let memory = memory(10);
    let (space, _) = Space::named("looks", std::any::TypeId::of::<u64>());
    let probe = Probe { space, hash: hash(space, &1).expect("a key"), parts: &&1 };
    let key = probe.to_key().expect("a key");
    let (stored, is_alive, dropped_in_the_end) = watched(&key);
    memory.insert(stored);
    assert!(read(&memory, &probe, |_| {
        memory.remove(&key);
        assert!(memory.get(&key).is_none(), "it is found no more");
        assert!(is_alive(), "it is looked at");
    }));
    dropped_in_the_end();
}

#[test]
fn what_is_looked_at_stays_while_something_else_is() {
    let memory = memory(10);
    let (space, _) = Space::named("looks", std::any::TypeId::of::<u64>());
    let probe = |n: &'static u64| Probe { space, hash: hash(space, n).expect("a key"), parts: n };
    let (first, is_alive, dropped_in_the_end) = watched(&probe(&1).to_key().expect("a key"));
    memory.insert(first);
    memory.insert(stored(&probe(&2).to_key().expect("a key"), 2));
    assert!(read(&memory, &probe(&1), |_| {
        assert!(read(&memory, &probe(&2), |_| memory.remove(&probe(&1).to_key().expect("a key"))));
        assert!(is_alive(), "it is looked at");
    }));
    dropped_in_the_end();
}

#[test]
fn entries_are_found_whatever_was_there_before() {
    let table = Table::default();
    // All in one shard, and most of them where another is looked for first.
    let key = |n: u64| key(n % 7, &n.to_string());
    let has = |n: u64| {
        let section = Section::start();
        table.find(&section, n % 7, |entry| entry.is_of(&key(n))).is_some()
    };
    let keys = if cfg!(miri) { 20 } else { 200 };
    for step in 1..5 {
        // In no order, so that some that stayed have what is gone before them.
        for n in (0..keys).map(|n| n * 37 % keys) {
            let was_there = has(n);
            assert_eq!(table.insert(stored(&key(n), n), 1).is_some(), was_there, "{n}");
        }
        assert_eq!(table.len(), usize::try_from(keys).expect("a few"));
        for n in (0..keys).step_by(step) {
            assert!(table.remove(n % 7, |entry| entry.is_of(&key(n))).is_some(), "{n}");
            assert!(table.remove(n % 7, |entry| entry.is_of(&key(n))).is_none(), "{n}");
        }
        assert!((0..keys).all(|n| has(n) == (n % step as u64 != 0)));
        assert!(table.used() >= table.len());
    }
    for n in 0..keys {
        table.remove(n % 7, |entry| entry.is_of(&key(n)));
    }
    assert_eq!(table.used(), 0, "no search goes beyond where there is nothing");
    assert!(table.insert(stored(&key(1), 1), 1).is_none());
    table.clear();
    assert_eq!((table.len(), (0..keys).any(has)), (0, false));
}

#[cfg(feature = "metrics")]
#[test]
fn a_recorder_that_panics_breaks_nothing() {
    use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    /// Does so when something leaves. It has a size, or it would pass for none.
    struct Panics(#[expect(dead_code, reason = "it has a size")] u8);

    impl GaugeFn for Panics {
        fn increment(&self, _: f64) {}

        fn decrement(&self, _: f64) {
            panic!("out of order");
        }

        fn set(&self, _: f64) {}
    }

    impl Recorder for Panics {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Self(0)))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let memory = memory(10);
    let keys = ["a", "b", "c"].map(|text| key(7, text));
    let [a, b, c] = &keys;
    metrics::with_local_recorder(&Panics(0), || {
        memory.insert(stored(a, 1));
        memory.remove(a);
        memory.insert(stored(a, 1));
        memory.clear();
        assert_eq!((value(&memory, a), memory.len()), (NOWHERE, 0));
        for key in &keys {
            memory.insert(stored(key, 1));
        }
        // As when there is no room.
        for key in [a, b] {
            memory.tokens.invalidate(&token(&memory, key));
        }
        assert_eq!((value(&memory, c), memory.len()), (Some(1), 1), "moka still tells what is to go");
        memory.expire(c);
        assert!((0..8).any(|_| memory.len() == 0), "it goes at one of the next looks");
    });
}

#[test]
fn what_is_gone_leaves_room() {
    let table = Table::default();
    // In a row, so that what goes has something behind it.
    for n in 0..if cfg!(miri) { 40 } else { 400 } {
        assert!(table.insert(stored(&key(n, "a"), n), 1).is_none());
        if n >= 5 {
            assert!(table.remove(n - 5, |_| true).is_some());
        }
        assert!(table.used() <= 12, "of sixteen slots");
    }
}
