//! What readers and those who change the table owe each other, on several threads.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;

use super::*;

#[test]
fn what_another_thread_looks_at_is_dropped_there() {
    let memory = memory(10);
    let (space, _) = Space::named("looks", std::any::TypeId::of::<u64>());
    let probe = || Probe { space, hash: hash(space, &1).expect("a key"), parts: &&1 };
    let key = probe().to_key().expect("a key");
    let (stored, is_alive, dropped_in_the_end) = watched(&key);
    memory.insert(stored);
    let ((looks, is_looking), (go_on, is_to_go_on)) = (channel(), channel());
    thread::scope(|scope| {
        // Should this fail, it is to let the other go.
        let go_on = go_on;
        scope.spawn(|| {
            let (looks, is_to_go_on) = (looks, is_to_go_on);
            assert!(read(&memory, &probe(), |_| {
                looks.send(()).expect("they wait");
                is_to_go_on.recv().expect("they say so");
            }));
        });
        is_looking.recv().expect("it looks");
        memory.remove(&key);
        assert!(is_alive(), "it is looked at");
        go_on.send(()).expect("it waits");
    });
    dropped_in_the_end();
}

#[test]
fn readers_see_their_own_keys_values_and_none_that_is_gone() {
    const KEYS: u64 = 40;
    let rounds = if cfg!(miri) { 2 } else { 2_000 };
    let memory = memory(KEYS / 2);
    let (space, _) = Space::named("stress", std::any::TypeId::of::<u64>());
    // Of two hashes alone, so that they are in each other's way.
    let hash_of = |n: u64| n % 2;
    let key = |n: u64| Probe { space, hash: hash_of(n), parts: &&n }.to_key().expect("a key");
    let read_all = || {
        for n in (0..rounds).flat_map(|_| 0..KEYS) {
            read(&memory, &Probe { space, hash: hash_of(n), parts: &&n }, |entry| {
                let value = entry.value::<Box<u64>>().expect("a number");
                assert_eq!(**value, n);
            });
        }
    };
    let write = |more: u64| {
        for n in (0..rounds).flat_map(|_| 0..KEYS).map(|n| n.wrapping_mul(more) % KEYS) {
            memory.table.insert(any(&key(n), Box::new(n)), 1);
            if n % 3 == 0 {
                memory.table.remove(hash_of(n + 1), |entry| entry.is_of(&key(n + 1)));
            } else if n == KEYS - 1 {
                memory.clear();
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(read_all);
        scope.spawn(|| write(1));
        scope.spawn(|| write(7));
        read_all();
    });
}

#[test]
fn what_is_replaced_again_and_again_is_always_found_and_not_freed() {
    /// Tells that it is no more.
    struct Numbered(u64, Arc<AtomicU64>);

    impl Drop for Numbered {
        fn drop(&mut self) {
            self.1.fetch_max(self.0, Ordering::Relaxed);
        }
    }

    let (table, freed, is_over) = (Table::default(), Arc::default(), AtomicBool::new(false));
    let put = |key: &Key, number: u64| table.insert(any(key, Numbered(number, Arc::clone(&freed))), 1);
    let a = key(7, "a");
    put(&a, 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let section = Section::start();
                let entry = table.find(&section, 7, |entry| entry.is_of(&a)).expect("there is always one");
                let found = entry.value::<Numbered>().expect("a number").0;
                for _ in 0..found % 8 {
                    let freed = freed.load(Ordering::Relaxed);
                    assert!(freed < found, "{found} is looked at, and {freed} has been freed");
                }
            }
        });
        for number in 2..if cfg!(miri) { 80 } else { 20_000 } {
            put(&a, number);
            // Of the same shard: others before it come and go, and its slots are replaced.
            let other = key(6, &(number % 20).to_string());
            if number % 40 < 20 {
                put(&other, 0);
            } else {
                table.remove(6, |entry| entry.is_of(&other));
            }
            table.flush();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_thread_may_read_at_its_very_end() {
    /// Reads when its thread is over, before or after that has given up what it reads under.
    struct AtTheEnd(RefCell<Option<Arc<Memory>>>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            if let Some(memory) = self.0.take() {
                for _ in 0..2 {
                    assert_eq!(value(&memory, &key(7, "a")), Some(1));
                }
            }
        }
    }

    thread_local!(static AT_THE_END: AtTheEnd = const { AtTheEnd(RefCell::new(None)) });

    let memory = Arc::new(memory(10));
    memory.insert(stored(&key(7, "a"), 1));
    for reads_first in [true, false] {
        let memory = Arc::clone(&memory);
        let thread = thread::spawn(move || {
            let read = || assert_eq!(value(&memory, &key(7, "a")), Some(1));
            if reads_first {
                read();
            }
            AT_THE_END.with(|end| end.0.replace(Some(Arc::clone(&memory))));
            read();
        });
        thread.join().expect("no panic");
    }
}

#[test]
fn threads_that_come_and_go_read_under_the_same() {
    let threads = if cfg!(miri) { 8 } else { 100 };
    let numbers = (0..threads).map(|_| thread::spawn(|| Section::start().thread()).join().expect("no panic"));
    let numbers = numbers.collect::<HashSet<_>>();
    // Those of other tests come and go, too.
    assert!(numbers.len() <= threads / 2, "{numbers:?}");
}

#[test]
fn a_thread_may_let_go_of_values_at_its_very_end() {
    /// Removes what is stored when its thread is over.
    struct AtTheEnd(RefCell<Option<Arc<Memory>>>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            if let Some(memory) = self.0.take() {
                memory.remove(&key(7, "b"));
            }
        }
    }

    thread_local!(static AT_THE_END: AtTheEnd = const { AtTheEnd(RefCell::new(None)) });

    let memory = Arc::new(memory(10));
    let (first, _, dropped_in_the_end) = watched(&key(7, "a"));
    let (second, _, dropped_at_the_end) = watched(&key(7, "b"));
    memory.insert(first);
    memory.insert(stored(&key(8, "b"), 2));
    let thread = thread::spawn(move || {
        // Before there is anything else of this thread's: what is the last to come is the first to go.
        AT_THE_END.with(|end| end.0.replace(Some(Arc::clone(&memory))));
        memory.remove(&key(7, "a"));
        memory.insert(second);
    });
    thread.join().expect("no panic");
    dropped_in_the_end();
    dropped_at_the_end();
}

/// What sections rest on, with numbers for what is freed.
#[test]
fn of_a_light_and_a_heavy_barrier_one_sees_the_other() {
    let (mark, newest, freed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 300 } else { 300_000 };
    grace::prepare();
    let begun = std::time::Instant::now();
    // Where the system has no such service, they stay fences.
    while !barrier::is_light() && begun.elapsed() < Duration::from_secs(1) {
        thread::yield_now();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (1..).step_by(2).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                mark.store(number, Ordering::Release);
                barrier::light();
                let found = newest.load(Ordering::Relaxed);
                // It is looked at for a while.
                for _ in 0..number % 16 {
                    let freed = freed.load(Ordering::Relaxed);
                    assert!(freed <= found, "{found} is looked at, and those before {freed} have been freed");
                }
                mark.store(number + 1, Ordering::Release);
            }
        });
        for number in 1..rounds {
            newest.store(number, Ordering::Relaxed);
            if barrier::heavy() && mark.load(Ordering::Acquire).is_multiple_of(2) {
                freed.store(number, Ordering::Relaxed);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
