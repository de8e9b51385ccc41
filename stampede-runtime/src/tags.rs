//! Tags: names that entries bear, by which all who bear one are voided at once.
//!
//! 1. A tag's invalidation is one record in the store's table, whatever the number of entries: its place in the sequence of
//!    all invalidations. An entry knows how far that sequence had come when its run began; a later record of one of its tags
//!    voids it. No clock is asked.
//! 2. The number of the latest invalidation is raised under the table's lock, after its record stands: who sees the number
//!    finds the record.
//! 3. The table is bounded. When old records go, the floor rises to the last of their numbers, and whatever began below it
//!    counts as void, for nothing tells any more whether it is. So no entry lives again that was voided.
//! 4. Tags are told apart by hashes, keyed at random once per process. Two tags of one hash would be
//!    voided together, which costs a run and harms nothing.
//! 5. The table's lock is taken last, and nothing else happens under it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// A tag, as an entry bears it.
#[derive(Clone, Debug)]
pub struct Tag {
    mark: u64,
    /// For others, who do not know our marks.
    text: Arc<str>,
}

impl Tag {
    /// The tag with this text.
    pub fn new(text: &str) -> Self {
        static HASHER: Lazy<RandomState> = Lazy::new(RandomState::new);
        Self { mark: HASHER.hash_one(text), text: Arc::from(text) }
    }

    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// What can be a tag.
#[diagnostic::on_unimplemented(
    message = "a tag is a text, and `{Self}` is none",
    label = "not a string",
    note = "write what makes a string of it, as in tags = \"format!(\\\"user:{{id}}\\\")\""
)]
pub trait TagText {
    /// The tag.
    fn tag(&self) -> Tag;
}

#[diagnostic::do_not_recommend]
impl<T: AsRef<str> + ?Sized> TagText for T {
    fn tag(&self) -> Tag {
        Tag::new(self.as_ref())
    }
}

/// The tags of a cache's entries. Without any, nothing is allocated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags(Option<Arc<[Tag]>>);

impl Tags {
    pub(crate) fn add(&mut self, tags: &[Tag]) {
        if !tags.is_empty() {
            let all = self.0.iter().flat_map(|tags| tags.iter()).chain(tags);
            self.0 = Some(all.cloned().collect());
        }
    }

    /// What they are called.
    pub(crate) fn texts(&self) -> Arc<[Arc<str>]> {
        self.0.as_deref().map(texts).unwrap_or_default()
    }

    /// These tags, on something that begins now.
    pub(crate) fn bearing(&self, table: &TagTable) -> Option<Box<Bearing>> {
        let tags = Arc::clone(self.0.as_ref()?);
        Some(Box::new(Bearing { tags, valid_at: AtomicU64::new(table.latest()) }))
    }
}

/// Tags on a run or an entry.
#[derive(Debug)]
pub(crate) struct Bearing {
    tags: Arc<[Tag]>,
    /// The latest invalidation that is known not to concern them: first the one before the run began.
    valid_at: AtomicU64,
}

impl Clone for Bearing {
    fn clone(&self) -> Self {
        Self { tags: Arc::clone(&self.tags), valid_at: AtomicU64::new(self.valid_at.load(Ordering::Relaxed)) }
    }
}

impl Bearing {
    /// What they are called.
    pub(crate) fn texts(&self) -> Arc<[Arc<str>]> {
        texts(&self.tags)
    }

    /// The same tags, as old as the invalidation `valid_at`.
    pub(crate) fn dated(self, valid_at: u64) -> Self {
        Self { valid_at: AtomicU64::new(valid_at), ..self }
    }

    /// These tags, as old as the invalidation `valid_at`.
    pub(crate) fn of(tags: &[Tag], valid_at: u64) -> Option<Box<Self>> {
        Self::with(None, tags, valid_at)
    }

    /// These tags besides, which are as old as the invalidation `valid_at`.
    pub(crate) fn with(this: Option<Box<Self>>, more: &[Tag], valid_at: u64) -> Option<Box<Self>> {
        if more.is_empty() {
            return this;
        }
        let own = this.iter().flat_map(|this| this.tags.iter());
        let tags = own.chain(more).cloned().collect();
        let valid_at = this.as_ref().map_or(valid_at, |this| valid_at.min(this.valid_at.load(Ordering::Relaxed)));
        Some(Box::new(Self { tags, valid_at: AtomicU64::new(valid_at) }))
    }
}

fn texts(tags: &[Tag]) -> Arc<[Arc<str>]> {
    tags.iter().map(|tag| Arc::clone(tag.text())).collect()
}

/// The invalidations of a store's tags.
#[derive(Debug, Default)]
pub(crate) struct TagTable {
    latest: AtomicU64,
    records: Mutex<Records>,
}

/// The number of each tag's last invalidation, in two generations: when the young one is full, the old one goes and the young
/// one is old. So whatever goes, as many tags as fill a generation have been invalidated since.
#[derive(Debug, Default)]
struct Records {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
    /// The last number that the old generation may know.
    turn: u64,
    /// What began before this invalidation is void.
    floor: u64,
}

impl TagTable {
    /// How many tags a generation knows.
    const RECORDS: usize = if cfg!(miri) { 16 } else { 16_384 };

    /// The number of the latest invalidation.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::SeqCst)
    }

    /// Voids what bears a tag and began before this.
    pub(crate) fn invalidate(&self, tag: &Tag) {
        let mut records = self.records.lock();
        let number = self.latest() + 1;
        records.young.insert(tag.mark, number);
        if records.young.len() == Self::RECORDS {
            records.old = mem::take(&mut records.young);
            records.floor = mem::replace(&mut records.turn, number);
        }
        self.latest.store(number, Ordering::SeqCst);
    }

    /// Whether one of these tags was invalidated since what bears them began.
    pub(crate) fn voids(&self, bearing: &Bearing) -> bool {
        let valid_at = bearing.valid_at.load(Ordering::Relaxed);
        if self.latest() <= valid_at {
            return false;
        }
        let records = self.records.lock();
        let latest = self.latest();
        let last = |tag: &Tag| records.young.get(&tag.mark).or_else(|| records.old.get(&tag.mark));
        let voided = |tag: &Tag| last(tag).is_some_and(|number| *number > valid_at);
        let void = valid_at < records.floor || bearing.tags.iter().any(voided);
        drop(records);
        if !void {
            // What is found valid once need not be looked up again before the next invalidation.
            bearing.valid_at.fetch_max(latest, Ordering::Relaxed);
        }
        void
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearing(table: &TagTable, texts: &[&str]) -> Bearing {
        let mut tags = Tags::default();
        tags.add(&texts.iter().map(|text| Tag::new(text)).collect::<Vec<_>>());
        *tags.bearing(table).expect("tags")
    }

    #[test]
    fn a_tag_voids_what_began_before_and_bears_it() {
        let table = TagTable::default();
        let before = bearing(&table, &["a", "b"]);
        let other = bearing(&table, &["c"]);
        assert!(!table.voids(&before));
        table.invalidate(&Tag::new("b"));
        let after = bearing(&table, &["a", "b"]);
        assert_eq!([&before, &other, &after].map(|bearing| table.voids(bearing)), [true, false, false]);
        assert!(table.voids(&before), "for good");
    }

    #[test]
    fn what_is_forgotten_stays_void() {
        let table = TagTable::default();
        let (voided, unrelated) = (bearing(&table, &["first"]), bearing(&table, &["other"]));
        table.invalidate(&Tag::new("first"));
        let mut others = 0..;
        let mut invalidate = |count| {
            for n in others.by_ref().take(count) {
                table.invalidate(&Tag::new(&format!("tag {n}")));
            }
            table.records.lock().floor
        };
        assert_eq!(invalidate(TagTable::RECORDS), 0, "as many tags as that are told apart");
        assert!(table.voids(&voided), "it is known");
        let after = bearing(&table, &["other"]);
        assert_ne!(invalidate(TagTable::RECORDS), 0, "and no more than twice as many");
        assert!(table.voids(&voided), "as it was");
        assert!(table.voids(&unrelated), "nothing tells that it is not");
        assert!(!table.voids(&after), "it began after all that is forgotten");
    }

    #[test]
    fn one_tag_over_and_over_takes_one_record() {
        let table = TagTable::default();
        let other = bearing(&table, &["other"]);
        for _ in 0..3 * TagTable::RECORDS {
            table.invalidate(&Tag::new("hot"));
        }
        assert!(!table.voids(&other));
        assert_eq!(table.records.lock().young.len(), 1);
    }

    #[test]
    fn what_was_found_valid_outlives_the_floor() {
        let table = TagTable::default();
        let hot = bearing(&table, &["hot"]);
        for n in 0..3 * TagTable::RECORDS {
            table.invalidate(&Tag::new(&n.to_string()));
            assert!(!table.voids(&hot));
        }
        table.invalidate(&Tag::new("hot"));
        assert!(table.voids(&hot));
    }

    #[test]
    fn without_tags_there_is_nothing_to_bear() {
        assert!(Tags::default().bearing(&TagTable::default()).is_none());
    }
}
