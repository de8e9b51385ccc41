//! What is over, where values come and go. Nothing here is for Miri: it would take hours.

use super::*;

/// A stream of keys that nobody asks for twice, of which so many are fresh at a time: how many entries there are in the end,
/// and how many of the fresh ones.
fn stream(entries: u64, fresh: u64) -> (usize, usize) {
    let memory = memory(entries);
    // Random, but the same in every run.
    let key = |n: u64| key((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29), "text");
    let many = 20 * entries;
    for n in 0..many {
        memory.insert(stored(&key(n), n));
        if let Some(n) = n.checked_sub(fresh) {
            memory.expire(&key(n));
        }
    }
    memory.tokens.run_pending_tasks();
    let there = (many - fresh..many).filter(|n| value(&memory, &key(*n)).is_some()).count();
    (memory.table.len(), there)
}

#[test]
fn what_is_over_drives_nothing_out() {
    for fresh in [20, 100, 300] {
        let (entries, there) = stream(1_000, fresh);
        let fresh = usize::try_from(fresh).expect("a few");
        assert_eq!(there, fresh);
        assert!(entries <= fresh + 250, "{entries} of which {fresh} are fresh");
    }
}

#[test]
fn what_is_over_makes_room_in_a_small_store() {
    // Of ten, each of them asked for often; and of one that takes up nearly all.
    for (bounds, old, weight) in
        [(Bounds { entries: 10, weight: None }, 10, 1), (Bounds { entries: 10_000, weight: Some(100) }, 1, 90)]
    {
        let memory = Memory::new(bounds, Arc::default());
        let put = |hash: u64, weight| {
            let life = Lifetime::plain(Instant::now(), Duration::from_hours(1));
            memory.insert(Stored::new(hash).with(&key(hash, "text"), Verdict { weight, ..Verdict::plain(life, 1) }));
            memory.tokens.run_pending_tasks();
        };
        let hash = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..old).for_each(|n| put(hash(n), weight));
        for n in (0..10).flat_map(|_| 0..old) {
            memory.tokens.get(&token(&memory, &key(hash(n), "text")));
        }
        (0..old).for_each(|n| memory.expire(&key(hash(n), "text")));
        (100..120).for_each(|n| put(hash(n), weight.min(20)));
        assert!((0..old).all(|n| value(&memory, &key(hash(n), "text")).is_none()), "{bounds:?}");
    }
}

#[test]
fn of_what_has_been_over_for_long_much_goes_at_once() {
    let memory = memory(10_000);
    let over = Lifetime::plain(Instant::now(), Duration::ZERO);
    for n in 0..200 {
        memory.table.insert(Stored::new(n).with(&key(n, "text"), Verdict::plain(over, 1)), 1);
    }
    (200..205).for_each(|n| memory.insert(stored(&key(n, "text"), n)));
    assert_eq!(memory.table.len(), 5);
}
