//! The table: entries by the hashes of their keys, found without a lock.
//!
//! 1. A shard's entries are in an array of slots, each as near as can be behind the place that its hash gives it. A slot is
//!    empty, or holds the address of an entry; or it did, and a search goes on beyond it. There are always empty slots, where
//!    searches end.
//! 2. An entry is a share of a value at rest. It is complete before it is in a slot, and then nothing of it changes but its
//!    atomics.
//! 3. Slots are read within a [`Section`], and written to by who holds the shard's lock. Who takes an entry out of its slot
//!    retires it; so that happens once, and it is freed when nobody looks at it any more.
//! 4. An array that is too full is replaced by one with the same entries, and retired, under the lock. Who still reads it
//!    began to before that, and so before whatever changes in the other is done.
//! 5. The low bits of a slot tell most entries apart without a look at them.
//! 6. A shard remembers where it was last looked for entries that are over, and goes on from there. For each new entry there is
//!    one look; and as many more as it takes to find sixteen in a row with nothing to go. So where values come and go, about
//!    a tenth of the slots have what is over, and the rest of the room is for what is not.
//! 7. One value may be in a slot again after it was taken out, or in place of itself: what a slot holds is a share of it.

use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use tokio::time::Instant;

use crate::space::Space;
use crate::sync::plain::{AtomicPtr, Mutex, MutexGuard};
use crate::sync::{Ordering, step};

use super::entry::{Entry, Gone};
use super::grace::{Retired, Section, free};
use super::stored::{AnyStored, Head};

pub(super) struct Table {
    shards: [Shard; Self::SHARDS],
    /// What has been taken out, and is yet to be freed.
    retired: Mutex<Vec<Retired>>,
}

#[derive(Default)]
#[repr(align(64))]
struct Shard {
    /// Replaced under the lock. Null: there are none.
    slots: AtomicPtr<Slots>,
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    entries: usize,
    /// Slots that are not empty.
    used: usize,
    /// The next slot whose entry may be over.
    next: usize,
}

/// As many as a power of two.
struct Slots(Box<[AtomicPtr<Head>]>);

/// What there is at a place.
enum Found<'s> {
    /// An entry with the tag that is asked for.
    Entry(Entry<'s>),
    /// Another, or one that is gone.
    Other,
    /// None, nor will any of that hash be found beyond.
    Empty,
}

/// The bits of a slot for the tag: the alignment of entries leaves them free.
const TAG: usize = align_of::<Head>() - 1;

/// An odd number: where there is no entry, the number is even.
#[inline]
const fn tag(hash: u64) -> usize {
    ((hash >> 48) as usize | 1) & TAG
}

/// Where a search begins.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is asked for")]
const fn start(hash: u64) -> usize {
    hash as usize
}

/// The slot of an entry that is gone.
const GONE: *mut Head = ptr::without_provenance_mut(2);

/// The address of the entry in a slot.
#[inline]
fn entry_in(slot: *mut Head) -> *mut Head {
    slot.map_addr(|address| address & !TAG)
}

/// An entry that nobody finds any more.
///
/// # Safety
///
/// It was in this slot, and was taken out by the one who gives it here.
#[expect(unsafe_code, reason = "see `Retired`")]
unsafe fn retired(slot: *mut Head) -> Retired {
    unsafe fn free(entry: NonNull<()>) {
        // SAFETY: by the contracts of `retired` and `Retired::new`, the share that was the slot's is this one's.
        drop(unsafe { Arc::from_raw(AnyStored::whole(entry.cast::<Head>().as_ptr())) });
    }

    let Some(entry) = NonNull::new(entry_in(slot)) else { unreachable!("an entry has an address") };
    // SAFETY: who has taken it out is the only one that has, and the share is nobody else's.
    unsafe { Retired::new(entry.cast(), free) }
}

impl Slots {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| AtomicPtr::default()).collect())
    }

    /// Those beyond the end are the first ones again.
    #[inline]
    const fn index(&self, place: usize) -> usize {
        place & self.0.len().wrapping_sub(1)
    }

    fn at(&self, place: usize) -> &AtomicPtr<Head> {
        &self.0[self.index(place)]
    }

    /// What there is at a place: an entry, if these bits of its slot are those of the tag, an odd number.
    #[inline]
    fn look<'s>(&'s self, _: &'s Section, place: usize, bits: usize, tag: usize) -> Found<'s> {
        debug_assert!(!tag.is_multiple_of(2), "what is no entry is even");
        // Pairs with where entries are put into slots.
        // There is one, as there are some; to say so otherwise would be a panic for a search to reckon with.
        let Some(slot) = self.0.get(self.index(place)) else { return Found::Empty };
        let slot = slot.load(Ordering::Acquire);
        if slot.addr() & bits == tag {
            #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
            // SAFETY: what is odd is the address of an entry, from `into_raw` and complete; the slot's share keeps it. These
            // slots were found within the section. If they are those of the shard, the share is retired within the section or
            // after it; if they have been replaced, that was within the section, and the share was retired after that. So it
            // is freed after the section. Until then there are shared references only.
            Found::Entry(unsafe { Entry::at(entry_in(slot)) })
        } else if slot.is_null() {
            Found::Empty
        } else {
            Found::Other
        }
    }

    /// All entries.
    fn entries<'s>(&'s self, section: &'s Section) -> impl Iterator<Item = (*mut Head, Entry<'s>)> {
        self.0.iter().enumerate().filter_map(|(place, slot)| match self.look(section, place, 1, 1) {
            Found::Entry(entry) => Some((slot.load(Ordering::Relaxed), entry)),
            Found::Other | Found::Empty => None,
        })
    }

    /// Takes the entry out that is at this place. The lock is held.
    fn take(&self, mut place: usize, count: &mut Count) -> Retired {
        // Pairs with `look`.
        let old = self.at(place).swap(GONE, Ordering::AcqRel);
        count.entries -= 1;
        // No search has to go on for what is followed by an empty slot.
        if self.at(place.wrapping_add(1)).load(Ordering::Relaxed).is_null() {
            while self.at(place).load(Ordering::Relaxed) == GONE {
                self.at(place).store(ptr::null_mut(), Ordering::Relaxed);
                count.used -= 1;
                place = place.wrapping_sub(1);
            }
        }
        #[expect(unsafe_code, reason = "readers may still look at it")]
        // SAFETY: it was taken out of this slot just now.
        unsafe {
            retired(old)
        }
    }

    /// Puts an entry into the first empty slot from its place on.
    fn settle(&self, slot: *mut Head, hash: u64) {
        let mut place = start(hash);
        while !self.at(place).load(Ordering::Relaxed).is_null() {
            place = place.wrapping_add(1);
        }
        self.at(place).store(slot, Ordering::Relaxed);
    }
}

impl Shard {
    #[inline]
    fn slots<'s>(&'s self, _: &'s Section) -> Option<&'s Slots> {
        // Pairs with where they are replaced.
        let slots = self.slots.load(Ordering::Acquire);
        #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
        // SAFETY: it is null, or from `Box::into_raw` and complete. It is retired within the section or after it, and so
        // freed after it. Until then there are shared references only.
        unsafe {
            slots.as_ref()
        }
    }

    /// Replaces the slots by `new`. The lock is held.
    fn replace(&self, new: *mut Slots) -> Option<Retired> {
        // Pairs with `slots`.
        let old = self.slots.swap(new, Ordering::AcqRel);
        #[expect(unsafe_code, reason = "readers may still look at them")]
        // SAFETY: they are from `Box::into_raw`, the shard's no more, and a box is made of them nowhere else.
        NonNull::new(old).map(|old| unsafe { Retired::boxed(old) })
    }

    /// Replaces the slots by others, if one more entry would leave too few of them empty. The lock is held.
    fn make_room(&self, count: &mut Count, section: &Section) -> Option<Retired> {
        /// To begin with.
        const FEW: usize = 8;
        let old = self.slots(section);
        if old.is_some_and(|slots| count.used < slots.0.len() / 4 * 3) {
            return None;
        }
        let new = Slots::new(((count.entries + 1) * 2).next_power_of_two().max(FEW));
        for (slot, entry) in old.into_iter().flat_map(|slots| slots.entries(section)) {
            new.settle(slot, entry.hash);
        }
        count.used = count.entries;
        self.replace(Box::into_raw(Box::new(new)))
    }

    /// Takes all out, and notes of which caches they were.
    fn clear(&self, spaces: &mut Vec<Space>) -> Vec<Retired> {
        let section = Section::start();
        let mut count = self.count.lock();
        *count = Count::default();
        let entries = self.slots(&section).into_iter().flat_map(|slots| slots.entries(&section));
        let gone = entries.map(|(slot, entry)| {
            spaces.push(entry.space);
            #[expect(unsafe_code, reason = "readers may still look at it")]
            // SAFETY: its slot goes with all the others, before the lock is released, and nobody finds others that it is
            // in. Nothing here panics, least of all code of others: what has been retired by then would be freed.
            unsafe {
                retired(slot)
            }
        });
        let mut gone = gone.collect::<Vec<_>>();
        gone.extend(self.replace(ptr::null_mut()));
        gone
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()), retired: Mutex::default() }
    }
}

impl Table {
    pub(super) const SHARDS: usize = 32;
    /// Where in a hash its shard is.
    const SHARD: u32 = 56;
    /// How much may be retired and not freed, in a table with a shard of so many entries. To find out what can be takes a
    /// system call. But where few entries fill a store they are large: it is to be one of sixteen at most, more or less.
    fn unfreed(entries: usize) -> usize {
        (entries * Self::SHARDS / 16).clamp(1, 32)
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Shard {
        let bits = (hash >> Self::SHARD) as usize;
        &self.shards[bits % Self::SHARDS]
    }

    /// The entry with this hash that is where such are looked for first, if it is.
    #[inline]
    pub(super) fn first<'s>(&'s self, section: &'s Section, hash: u64) -> Option<Entry<'s>> {
        step();
        let slots = self.shard(hash).slots(section)?;
        step();
        match slots.look(section, start(hash), TAG, tag(hash)) {
            Found::Entry(entry) if entry.hash == hash => Some(entry),
            _ => None,
        }
    }

    /// The entry with this hash that `is_it`.
    pub(super) fn find<'s>(
        &'s self,
        section: &'s Section,
        hash: u64,
        is_it: impl Fn(&Head) -> bool,
    ) -> Option<Entry<'s>> {
        step();
        let slots = self.shard(hash).slots(section)?;
        let (tag, mut place) = (tag(hash), start(hash));
        loop {
            step();
            match slots.look(section, place, TAG, tag) {
                Found::Entry(entry) if entry.hash == hash && is_it(&entry) => return Some(entry),
                Found::Empty => return None,
                Found::Entry(_) | Found::Other => place = place.wrapping_add(1),
            }
        }
    }

    /// Puts an entry in, by this number. It takes the place of the one of its key, if there is one.
    pub(super) fn insert(&self, stored: Arc<AnyStored>, number: u32) -> Option<Gone> {
        let new = AnyStored::into_raw(stored);
        #[expect(unsafe_code, reason = "it is not in the table yet")]
        // SAFETY: the share is this function's own until it is in its slot. The entry is looked at no longer than that.
        let entry = unsafe { Entry::at(new) };
        let (hash, tag) = (entry.hash, tag(entry.hash));
        let shard = self.shard(hash);
        let (section, mut count) = (Section::start(), shard.count.lock());
        let resized = shard.make_room(&mut count, &section);
        let Some(slots) = shard.slots(&section) else { unreachable!("there is room") };
        let (mut place, mut room) = (start(hash), None);
        let replaced = loop {
            match slots.look(&section, place, TAG, tag) {
                Found::Entry(other) if other.is_like(&entry) => break Some(other.gone()),
                Found::Empty => break None,
                Found::Other if slots.at(place).load(Ordering::Relaxed) == GONE => room = room.or(Some(place)),
                Found::Entry(_) | Found::Other => {}
            }
            place = place.wrapping_add(1);
        };
        if replaced.is_none() {
            count.entries += 1;
            count.used += usize::from(room.is_none());
            place = room.unwrap_or(place);
        }
        // Not before: it may be the one that it replaces.
        entry.number.store(number, Ordering::Relaxed);
        // Pairs with `look`.
        let old = slots.at(place).swap(new.map_addr(|address| address | tag), Ordering::AcqRel);
        let unfreed = Self::unfreed(count.entries);
        drop(count);
        drop(section);
        step();
        #[expect(unsafe_code, reason = "readers may still look at it")]
        // SAFETY: it was taken out of this slot just now.
        let taken = replaced.is_some().then(|| unsafe { retired(old) });
        self.retire(taken.into_iter().chain(resized), unfreed);
        replaced
    }

    /// Takes the entry out that `is_it`. No step of a model's: moka may call, with locks of which that knows nothing.
    pub(super) fn remove(&self, hash: u64, is_it: impl Fn(&Head) -> bool) -> Option<Gone> {
        let shard = self.shard(hash);
        let (section, mut count) = (Section::start(), shard.count.lock());
        let (slots, tag, mut place) = (shard.slots(&section)?, tag(hash), start(hash));
        let entry = loop {
            match slots.look(&section, place, TAG, tag) {
                Found::Entry(entry) if entry.hash == hash && is_it(&entry) => break entry,
                Found::Empty => return None,
                Found::Entry(_) | Found::Other => place = place.wrapping_add(1),
            }
        };
        let gone = entry.gone();
        let (taken, unfreed) = (slots.take(place, &mut count), Self::unfreed(count.entries));
        drop(count);
        drop(section);
        self.retire([taken], unfreed);
        Some(gone)
    }

    /// Looks at the next slot of this hash's shard, and takes its entry out if that is over; and as long as it finds more, at
    /// those behind it.
    pub(super) fn clear_next(&self, hash: u64, now: Instant) -> Vec<Gone> {
        const MORE: usize = 16;
        const MANY: usize = 64;
        let shard = self.shard(hash);
        let (section, mut count) = (Section::start(), shard.count.lock());
        let (mut gone, mut taken) = (Vec::new(), Vec::new());
        let mut looks = 1;
        while let Some(slots) = shard.slots(&section)
            && looks > 0
        {
            looks -= 1;
            let place = count.next;
            count.next = place.wrapping_add(1);
            if let Found::Entry(entry) = slots.look(&section, place, 1, 1)
                && entry.is_over(now)
            {
                gone.push(entry.gone());
                taken.push(slots.take(place, &mut count));
                looks = MORE.min(MANY - gone.len());
            }
        }
        let unfreed = Self::unfreed(count.entries);
        drop(count);
        drop(section);
        if !taken.is_empty() {
            self.retire(taken, unfreed);
        }
        gone
    }

    /// Hashes of so many shards, one after the other, from that of this hash on.
    pub(super) fn shards_from(hash: u64, many: u64) -> impl Iterator<Item = u64> {
        (0..many).map(move |shard| hash.wrapping_add(shard << Self::SHARD))
    }

    /// Frees these in the end, outside all sections and locks.
    fn retire(&self, taken: impl IntoIterator<Item = Retired>, unfreed: usize) {
        let mut all = self.retired.lock();
        all.extend(taken);
        free_all(all, unfreed);
    }

    /// Takes all entries out, and says of which caches they were.
    pub(super) fn clear(&self) -> Vec<Space> {
        let mut spaces = Vec::new();
        for shard in &self.shards {
            let retired = shard.clear(&mut spaces);
            step();
            free(retired);
        }
        self.flush();
        spaces
    }

    #[cfg(all(test, stampede_model))]
    pub(super) fn each(&self, mut look: impl FnMut(&Head)) {
        let section = Section::start();
        let slots = self.shards.iter().filter_map(|shard| shard.slots(&section));
        slots.flat_map(|slots| slots.entries(&section)).for_each(|(_, entry)| look(&entry));
    }

    /// How many slots are not empty. What is counted is so.
    #[cfg(all(test, not(stampede_model)))]
    pub(super) fn used(&self) -> usize {
        let section = Section::start();
        let used = self.shards.iter().map(|shard| {
            let count = shard.count.lock();
            let slots = shard.slots(&section);
            let entries = slots.into_iter().flat_map(|slots| slots.entries(&section)).count();
            let used =
                slots.into_iter().flat_map(|slots| &slots.0).filter(|slot| !slot.load(Ordering::Relaxed).is_null());
            assert_eq!((count.entries, count.used), (entries, used.count()));
            count.used
        });
        used.sum()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.count.lock().entries).sum()
    }

    /// Frees what has been taken out, as soon as that can be.
    pub(super) fn flush(&self) {
        step();
        free_all(self.retired.lock(), 1);
    }
}

/// Frees what has been retired, if there is so much of it.
fn free_all(mut all: MutexGuard<'_, Vec<Retired>>, much: usize) {
    if all.len() >= much {
        let retired = mem::take(&mut *all);
        drop(all);
        free(retired);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // Whoever reads it borrows it.
        self.shards.iter().for_each(|shard| drop(shard.clear(&mut Vec::new())));
    }
}
