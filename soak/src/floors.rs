//! What has been voided, by the numbers of events.
//!
//! Whoever voids something takes a number first, and raises a floor to it when that has returned. A call reads its floors
//! when it begins. What it is given began before a floor only if the voiding, which had returned by then, has been ignored.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::functions::{Function, GROUPS, KEYS};

pub(crate) struct Floors {
    cleared: AtomicU64,
    all: AtomicU64,
    groups: Vec<AtomicU64>,
    keys: Vec<AtomicU64>,
    entries: Vec<Entry>,
}

#[derive(Default)]
struct Entry {
    void: AtomicU64,
    expired: AtomicU64,
}

/// What lies at or below these numbers is void, or past its TTL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) void: u64,
    pub(crate) expired: u64,
}

/// Whose floor is raised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    Everything,
    All,
    Group(u16),
    Key(u16),
    Entry(Function, u16),
    /// The TTL of one.
    Ttl(Function, u16),
}

impl Floors {
    pub(crate) fn new() -> Self {
        let entries = (Function::QuietInline as usize + 1) * usize::from(KEYS);
        Self {
            cleared: AtomicU64::new(0),
            all: AtomicU64::new(0),
            groups: (0..GROUPS).map(|_| AtomicU64::new(0)).collect(),
            keys: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            entries: (0..entries).map(|_| Entry::default()).collect(),
        }
    }

    fn entry(&self, function: Function, key: u16) -> &Entry {
        &self.entries[function as usize * usize::from(KEYS) + usize::from(key)]
    }

    /// Something that took this number before it began has been done.
    pub(crate) fn raise(&self, reach: Reach, number: u64) {
        let floor = match reach {
            Reach::Everything => &self.cleared,
            Reach::All => &self.all,
            Reach::Group(group) => &self.groups[usize::from(group)],
            Reach::Key(key) => &self.keys[usize::from(key)],
            Reach::Entry(function, key) => &self.entry(function, key).void,
            Reach::Ttl(function, key) => &self.entry(function, key).expired,
        };
        floor.fetch_max(number, SeqCst);
    }

    /// The floor of a call that begins now.
    pub(crate) fn of(&self, function: Function, key: u16) -> Floor {
        let entry = self.entry(function, key);
        let mut void = self.cleared.load(SeqCst).max(entry.void.load(SeqCst));
        if function.policy().tagged {
            let tags = [&self.all, &self.groups[usize::from(key % GROUPS)], &self.keys[usize::from(key)]];
            void = tags.iter().map(|floor| floor.load(SeqCst)).fold(void, u64::max);
        }
        Floor { void, expired: entry.expired.load(SeqCst).max(void) }
    }
}
