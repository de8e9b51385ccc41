//! The memory tier: the only module that knows how values are kept, and for how long there is room.
//!
//! 1. What is stored is in the table, and nowhere else. Readers go there and nowhere else; they take no lock, and write to
//!    no memory that other threads use. (A hit within the copying of another counts where others do, too.)
//! 2. moka bounds the table. It holds no value, but a token for each entry, and says which of them have to go. An entry is
//!    in the table before its token is handed in, and a token's entry goes when the token does, whatever the cause. So there
//!    is no entry without a token, except for the moments between. (A token may outlive an entry that goes in such a moment:
//!    it takes up room for one until moka lets go of it.)
//! 3. A token names its entry by the hash of its key and by a number. moka counts by the hash how often a key is asked for; by
//!    the number, an entry is never mistaken for the one that took its place. (The numbers begin anew after some billions.
//!    Who then went by an old one would lose a value, no more.)
//! 4. moka judges by how often and how recently an entry is asked for. It need only know that when something has to go, and
//!    only what is new drives anything out. So for each new entry, each thread tells moka of its next few hits; where nothing
//!    new comes, hits are not told. Every miss that stores something is.
//! 5. What a value is good for is decided by the policy, from its own times. moka knows nothing of time: who stores or counts
//!    clears away what is over, if there is anything where it looks.
//! 6. What is taken out of the table is dropped when no reader is left that might look at it, on any thread that reads or
//!    writes here or in another store; and there, like all that moka drops, not before the locks in force are released: see
//!    [`grace`] and [`crate::aside`].

mod barrier;
mod entry;
mod grace;
#[cfg(all(test, stampede_model))]
mod model;
mod stored;
mod table;
#[cfg(all(test, not(stampede_model)))]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::aside::Holding;
use crate::key::{ByHash, Probe, hash_of};
use crate::policy::after;
use crate::space::Space;
use crate::sync::{Ordering, plain, step};
use crate::telemetry::Telemetry;

pub(crate) use self::entry::{Entry, Held};
pub(crate) use self::grace::Section;
use self::stored::Head;
pub(crate) use self::stored::{AnyStored, Stored, Verdict};
use self::table::Table;

/// How much a memory tier holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: u64,
    pub(crate) weight: Option<u64>,
}

impl Bounds {
    /// moka knows one bound. With two, an entry costs the larger of its shares in either, so that whatever fits by cost
    /// fits by both.
    const WHOLE: u64 = 1 << 31;

    fn capacity(self) -> u64 {
        if self.weight.is_some() { Self::WHOLE } else { self.entries }
    }

    fn cost(self, weight: u32) -> u32 {
        let Some(bound) = self.weight else { return 1 };
        let by_entries = Self::WHOLE.div_ceil(self.entries.max(1));
        let by_weight = (u128::from(weight) * u128::from(Self::WHOLE)).div_ceil(u128::from(bound.max(1)));
        u32::try_from(by_weight.max(u128::from(by_entries))).unwrap_or(u32::MAX)
    }
}

pub(crate) struct Memory {
    table: Arc<Table>,
    tokens: Cache<Token, (), ByHash>,
    bounds: Bounds,
    lanes: Lanes,
    /// How many entries have been handed in: the number of the next one.
    entries: plain::AtomicU32,
    /// How many hits each thread owes moka, for all of them that were new.
    owed: plain::AtomicU64,
    telemetry: Arc<Telemetry>,
}

/// What moka holds for an entry.
#[derive(Clone, Copy, Debug)]
struct Token {
    hash: u64,
    number: u32,
    /// Known where it is handed in.
    cost: u32,
}

impl Token {
    const fn of(hash: u64, number: u32) -> Self {
        Self { hash, number, cost: 0 }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        (self.hash, self.number) == (other.hash, other.number)
    }
}

impl Eq for Token {}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl Memory {
    pub(crate) fn new(bounds: Bounds, telemetry: Arc<Telemetry>) -> Self {
        grace::prepare();
        let table = Arc::new(Table::default());
        let (entries, told) = (Arc::downgrade(&table), Arc::clone(&telemetry));
        let mut tokens =
            Cache::builder().max_capacity(bounds.capacity()).eviction_listener(move |token: Arc<Token>, (), cause| {
                if let Some(table) = entries.upgrade() {
                    // No step of a model's: moka holds locks here that it knows nothing of.
                    let cause = (cause == RemovalCause::Size).then_some("size");
                    let is_it = |entry: &Head| entry.number.load(Ordering::Relaxed) == token.number;
                    if let Some(gone) = table.remove(token.hash, is_it) {
                        told.left(Some(gone.space), cause);
                    }
                }
            });
        if bounds.weight.is_some() {
            tokens = tokens.weigher(|token: &Token, ()| token.cost);
        }
        Self {
            table,
            tokens: tokens.build_with_hasher(ByHash::default()),
            bounds,
            lanes: Lanes::default(),
            entries: plain::AtomicU32::new(0),
            owed: plain::AtomicU64::new(0),
            telemetry,
        }
    }

    /// Whether anything can be stored at all.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.bounds.entries == 0 || self.bounds.weight == Some(0)
    }

    /// What is stored under a key, without a copy of it. It stays as it is meanwhile.
    pub(crate) fn look(&self, probe: &Probe<'_>) -> Option<Held<'_>> {
        let is_it = |entry: &Head| probe.is(entry.space, entry.parts());
        Held::find(&self.table, Section::start(), probe.hash, is_it)
    }

    /// What is stored under some key of this cache and hash, and mostly found where it is looked for first.
    #[inline]
    pub(crate) fn first(&self, section: Section, space: Space, hash: u64) -> Result<Held<'_>, Section> {
        Held::first(&self.table, section, space, hash)
    }

    /// The same where it is not found there.
    pub(crate) fn near(&self, section: Section, space: Space, hash: u64) -> Option<Held<'_>> {
        Held::find(&self.table, section, hash, |entry| entry.space == space)
    }

    /// Counts a hit.
    #[inline]
    pub(crate) fn hit(&self, held: &Held<'_>) {
        let lane = self.lanes.count(held.section().thread());
        if lane.told.load(Ordering::Relaxed) < self.owed.load(Ordering::Relaxed) {
            self.tell(held);
        }
    }

    /// How many hits each thread tells moka of for each new entry: where at least one call in so many misses, of all.
    const FEW: u64 = 16;
    /// For how many new entries a thread makes up that come in a row.
    const ROW: u64 = 1024;

    /// Tells moka of a hit.
    #[cold]
    fn tell(&self, held: &Held<'_>) {
        let (lane, owed) = (self.lanes.of(held.section().thread()), self.owed.load(Ordering::Relaxed));
        let told = lane.told.load(Ordering::Relaxed).max(owed.saturating_sub(Self::FEW * Self::ROW));
        lane.told.store(told + 1, Ordering::Relaxed);
        let _holding = Holding::start();
        self.tokens.get(&held.entry().token());
    }

    /// How many reads were hits.
    pub(crate) fn hits(&self) -> u64 {
        self.lanes.sum()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<AnyStored>> {
        let section = Section::start();
        self.find(&section, key).map(Entry::share)
    }

    fn find<'s>(&'s self, section: &'s Section, key: &[u8]) -> Option<Entry<'s>> {
        self.table.find(section, hash_of(key), |entry| entry.is_of(key))
    }

    /// Stores a value under its key.
    pub(crate) fn insert(&self, stored: Arc<AnyStored>) {
        // What is for the remote tier alone.
        if self.holds_nothing() {
            return;
        }
        let _holding = Holding::start();
        let Head { hash, space, .. } = *stored.head();
        let number = self.entries.fetch_add(1, Ordering::Relaxed);
        let token = Token { hash, number, cost: self.bounds.cost(stored.head().weight()) };
        // What is over makes room before anything else has to; the more of it, the larger a share of the store this takes up.
        let share = u64::from(token.cost) * Self::LOOKS / self.bounds.capacity().max(1);
        self.clear_away(hash, (1 + share).min(Self::LOOKS));
        let replaced = self.table.insert(stored, number);
        step();
        if let Some(gone) = &replaced {
            self.tokens.invalidate(&gone.token);
        } else {
            self.owed.fetch_add(Self::FEW, Ordering::Relaxed);
            // The miss that it came of.
            self.tokens.get(&token);
        }
        self.tokens.insert(token, ());
        if replaced.is_none() {
            self.telemetry.entered(Some(space));
        }
    }

    /// How often is looked for what is over, where an entry comes that takes up the whole store.
    const LOOKS: u64 = 256;

    /// Lets go of what is over, where the table looks next in each of so many shards: the one after the other, and round.
    fn clear_away(&self, hash: u64, shards: u64) {
        let now = Instant::now();
        for gone in Table::shards_from(hash, shards).flat_map(|hash| self.table.clear_next(hash, now)) {
            step();
            self.tokens.invalidate(&gone.token);
            self.telemetry.left(Some(gone.space), Some("expired"));
        }
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        let _holding = Holding::start();
        if let Some(gone) = self.table.remove(hash_of(key), |entry| entry.is_of(key)) {
            step();
            self.tokens.invalidate(&gone.token);
            // What is voided by hand is to be dropped before long.
            self.table.flush();
            self.telemetry.left(Some(gone.space), None);
        }
    }

    /// Lets go of this very value.
    pub(crate) fn remove_this(&self, key: &[u8], stored: &Arc<AnyStored>) {
        if self.get(key).is_some_and(|there| Arc::ptr_eq(&there, stored)) {
            self.remove(key);
        }
    }

    /// Keeps refreshes of the value that is stored under a key away for this long. Says whether there is one.
    pub(crate) fn put_off(&self, key: &[u8], retry_after: Duration) -> bool {
        let (now, section) = (Instant::now(), Section::start());
        let value = self.find(&section, key).filter(|entry| !entry.stored().is_error() && !entry.is_over(now));
        if let Some(entry) = &value {
            entry.put_off(after(now, retry_after));
        }
        value.is_some()
    }

    /// Ends the TTL of what is stored under a key.
    pub(crate) fn expire(&self, key: &[u8]) {
        let section = Section::start();
        if let Some(entry) = self.find(&section, key) {
            step();
            entry.expire(Instant::now());
        }
    }

    /// Lets go of everything. What was stored is already void by its epoch; this frees the memory.
    pub(crate) fn clear(&self) {
        let _holding = Holding::start();
        // In this order: what comes in between loses its place in the table, and not its token.
        self.tokens.invalidate_all();
        step();
        self.table.clear().into_iter().for_each(|space| self.telemetry.left(Some(space), None));
    }

    pub(crate) fn len(&self) -> u64 {
        let _holding = Holding::start();
        self.clear_away(0, Table::SHARDS as u64);
        self.tokens.run_pending_tasks();
        self.table.len() as u64
    }
}

/// A thread's own place to count. Only that thread writes to it, so it need not be asked twice what is there; but for a
/// few, which are for all threads beyond.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    hits: plain::AtomicU64,
    /// How many hits the thread has told moka of, or need not any more.
    told: plain::AtomicU64,
}

#[derive(Debug, Default)]
struct Lanes {
    own: Box<[Lane; Self::OWN]>,
    shared: Box<[Lane; Self::SHARED]>,
}

impl Lanes {
    const OWN: usize = 32;
    const SHARED: usize = 8;

    /// Counts a hit of the thread that alone has this number as long as it lives. Who does not know theirs are few.
    #[inline]
    fn count(&self, thread: Option<usize>) -> &Lane {
        if let Some(lane) = thread.and_then(|thread| self.own.get(thread)) {
            lane.hits.store(lane.hits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            lane
        } else {
            let lane = self.shared(thread);
            lane.hits.fetch_add(1, Ordering::Relaxed);
            lane
        }
    }

    #[inline]
    fn shared(&self, thread: Option<usize>) -> &Lane {
        &self.shared[thread.unwrap_or_default() % Self::SHARED]
    }

    fn of(&self, thread: Option<usize>) -> &Lane {
        thread.and_then(|thread| self.own.get(thread)).unwrap_or_else(|| self.shared(thread))
    }

    fn sum(&self) -> u64 {
        self.own.iter().chain(&*self.shared).map(|lane| lane.hits.load(Ordering::Relaxed)).sum()
    }
}
