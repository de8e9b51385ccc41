//! Model checks of the memory tier: readers against those who insert, replace, evict, expire, invalidate and clear, under
//! every schedule of two with a bounded number of pre-emptions, and some of three. As those of [`crate::flight`], they are part of the step `model`.
//!
//! A step is a reader's look at the table, a slot or a value; a change of the table, which is made under a lock; an operation
//! of moka, which is checked elsewhere; or one on an atomic of ours. Checked is what the order of these steps can do: that no reader is given another key's value, one from before a change that had returned
//! when it began, or one that has been dropped; and that at the end each entry has its token, and each token's is no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuttle::scheduler::{RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use tokio::time::Instant;

use super::grace::Section;
use super::{Bounds, Memory, Stored, Token, Verdict};
use crate::flight::Bounded;
use crate::flights::Flights;
use crate::key::{Key, Probe, encode, hash};
use crate::policy::{Age, Lifetime};
use crate::space::Space;
use crate::sync::{AtomicU64, Ordering, step};

/// Whose it is and how new, and what is no more when it has been dropped.
struct Value {
    key: u64,
    version: u64,
    alive: Arc<()>,
}

struct World {
    memory: Memory,
    flights: Flights,
    epoch: AtomicU64,
    space: Space,
    /// By key: the last version that there was, and the oldest that may still be seen.
    versions: Mutex<[(u64, u64); 2]>,
}

impl World {
    fn new() -> Self {
        let world = Self {
            memory: Memory::new(Bounds { entries: 10, weight: None }, std::sync::Arc::default()),
            flights: Flights::new(|_, _| false),
            epoch: AtomicU64::new(1),
            space: Space::from_bytes([1; 4]),
            versions: Mutex::default(),
        };
        world.put(0);
        world.put(1);
        world
    }

    fn key(&self, key: u64) -> Key {
        encode(self.space, &key).expect("a key")
    }

    /// The next version of a key; who has changed it says so when that is done.
    fn change(&self, key: u64, change: impl FnOnce(u64)) {
        let versions = || self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::from(key == 1);
        versions()[at].0 += 1;
        let version = versions()[at].0;
        change(version);
        let mut versions = versions();
        versions[at].1 = versions[at].1.max(version);
    }

    fn put(&self, key: u64) {
        let bytes = self.key(key);
        // Versions of a key are in order, for each is made under its lock.
        self.flights.supersede(&bytes, || {
            self.change(key, |version| {
                let life = Lifetime::plain(Instant::now(), Duration::from_hours(1));
                let value = Value { key, version, alive: Arc::new(()) };
                let verdict = Verdict::plain(life, self.epoch.load(Ordering::SeqCst));
                self.memory.insert(Stored::new(value).with(&bytes, verdict));
            });
        });
    }

    fn invalidate(&self, key: u64) {
        let bytes = self.key(key);
        self.flights.supersede(&bytes, || self.change(key, |_| self.memory.remove(&bytes)));
    }

    fn expire(&self, key: u64) {
        let bytes = self.key(key);
        self.flights.supersede(&bytes, || self.change(key, |_| self.memory.expire(&bytes)));
    }

    /// As when there is no room.
    fn evict(&self, key: u64) {
        let key = self.key(key);
        let section = Section::start();
        let Some(entry) = self.memory.find(&section, &key) else { return };
        let token = entry.token();
        drop(section);
        step();
        self.memory.tokens.invalidate(&token);
    }

    fn clear(&self) {
        let before = *self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // What had been put by then is void from here on.
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        for (now, (_, oldest)) in versions.iter_mut().zip(before) {
            now.1 = now.1.max(oldest + 1);
        }
        drop(versions);
        self.memory.clear();
    }

    fn read(&self, key: u64) {
        for _ in 0..2 {
            let oldest = self.versions.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(key == 1)].1;
            let probe = Probe { space: self.space, hash: hash(self.space, &key).expect("a key"), parts: &&key };
            step();
            let section = Section::start_easily().unwrap_or_else(Section::start);
            let first = self.memory.first(section, probe.space, probe.hash);
            let near = first.map_or_else(|section| self.memory.near(section, probe.space, probe.hash), Some);
            let Some(held) = near.filter(|held| probe.parts.are(held.entry().parts())) else { continue };
            let (entry, tags) = (held.entry(), &self.flights.tags);
            step();
            let epoch = self.epoch.load(Ordering::SeqCst);
            let is_fresh = entry.is_fresh(epoch) || entry.stored().age(Instant::now(), epoch, tags) == Age::Fresh;
            let value = entry.value::<Value>().expect("it is one");
            step();
            assert_eq!(Arc::strong_count(&value.alive), 1, "it is gone");
            assert_eq!(value.key, key, "it is another's");
            assert!(!is_fresh || value.version >= oldest, "{} is older than {oldest}", value.version);
            self.memory.hit(&held);
        }
    }

    /// Each entry has its token.
    fn check(&self) {
        self.memory.table.each(|entry| {
            let token = Token::of(entry.hash, entry.number.load(Ordering::Relaxed));
            assert!(self.memory.tokens.contains_key(&token), "an entry has a token");
        });
    }
}

fn explore(preemptions: usize, parties: &'static [fn(&World)]) {
    check(Bounded::new(preemptions), parties);
}

/// Some schedules of more parties: all of them would take hours.
fn explore_some(parties: &'static [fn(&World)]) {
    check(RandomScheduler::new(500), parties);
}

fn check(scheduler: impl Scheduler + 'static, parties: &'static [fn(&World)]) {
    let model = move || {
        let world = Arc::new(World::new());
        let party = |party: &fn(&World)| {
            let (world, party) = (Arc::clone(&world), *party);
            thread::spawn(move || party(&world))
        };
        let threads: Vec<_> = parties.iter().map(party).collect();
        for thread in threads {
            thread.join().expect("a party");
        }
        world.check();
    };
    Runner::new(scheduler, Config::default()).run(model);
}

#[test]
fn a_reader_against_one_change() {
    explore(2, &[|world| world.read(0), |world| world.put(0)]);
    explore(2, &[|world| world.read(0), |world| world.invalidate(0)]);
    explore(2, &[|world| world.read(0), |world| world.expire(0)]);
    explore(2, &[|world| world.read(0), |world| world.evict(0)]);
    explore(2, &[|world| world.read(0), |world| world.clear()]);
    explore(2, &[|world| world.read(0), |world| world.put(1)]);
}

#[test]
fn a_reader_against_two_changes() {
    explore_some(&[|world| world.read(0), |world| world.put(0), |world| world.evict(0)]);
    explore_some(&[|world| world.read(0), |world| world.put(0), |world| world.invalidate(0)]);
    explore_some(&[|world| world.read(0), |world| world.put(0), |world| world.expire(0)]);
    explore_some(&[|world| world.read(0), |world| world.put(0), |world| world.clear()]);
    explore_some(&[|world| world.read(0), |world| world.invalidate(0), |world| world.evict(0)]);
    explore_some(&[|world| world.read(0), |world| world.put(0), |world| world.put(1)]);
}
