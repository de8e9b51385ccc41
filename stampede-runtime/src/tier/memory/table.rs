//! What a [`MemoryTier`](super::MemoryTier) keeps, and the steps that change it, each of them atomic.
//!
//! 1. A key has one place for a lease; a throttle may stand there instead. Whatever ends a lease empties the place or gives it
//!    to another token, so a lease stands as long as its token is there and its time is not over.
//! 2. Voids of tags are numbered. A lease bears the number of the last one before it was granted, and so does a value; it is
//!    void if one of its tags has a higher number.
//! 3. Each step rings the bells of its key, if it may have changed what a claim comes to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::bell::{Bell, Ringing};
use crate::tier::{Acquired, Claim, FillId, Kept, Lease, Record, TierKey, Word};

#[derive(Default)]
pub(super) struct Table {
    slots: HashMap<TierKey, Slot>,
    voids: Voids,
}

#[derive(Default)]
struct Slot {
    value: Option<Value>,
    holder: Option<Holder>,
    bells: Vec<Bell>,
}

struct Value {
    record: Record,
    fill: FillId,
    until: Instant,
    made_at: u64,
}

struct Holder {
    /// None of a throttle.
    token: Option<u128>,
    tags: Arc<[Arc<str>]>,
    granted_at: u64,
    until: Instant,
}

#[derive(Default)]
struct Voids {
    latest: u64,
    of: HashMap<Arc<str>, u64>,
}

impl Voids {
    fn are_void(&self, tags: &[Arc<str>], made_at: u64) -> bool {
        tags.iter().any(|tag| self.of.get(tag).is_some_and(|&voided_at| voided_at > made_at))
    }
}

/// Another one each time, whichever tier asks.
fn number() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

/// Beyond a century all is the same.
fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(Duration::from_hours(100 * 365 * 24))
}

impl Slot {
    fn ring(&mut self, word: Word) {
        self.bells.drain(..).for_each(|bell| bell.ring(word));
    }

    fn holds(&self, lease: &Lease, now: Instant) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.token == Some(lease.token) && now < holder.until)
    }

    fn value(&self, voids: &Voids, now: Instant) -> Option<Kept> {
        let value = self.value.as_ref()?;
        let stands = now < value.until && !voids.are_void(&value.record.tags, value.made_at);
        stands.then(|| Kept { record: value.record.clone(), fill: value.fill, left: value.until - now })
    }

    fn store(&mut self, record: Record, made_at: u64, now: Instant) -> FillId {
        let fill = FillId(number());
        let until = after(now, record.fresh.saturating_add(record.stale));
        self.value = Some(Value { record, fill, until, made_at });
        self.holder = None;
        self.ring(Word::Other);
        fill
    }
}

impl Table {
    fn slot(&mut self, key: &TierKey) -> (&mut Slot, &mut Voids) {
        (self.slots.entry(key.clone()).or_default(), &mut self.voids)
    }

    pub(super) fn read(&self, key: &TierKey, now: Instant) -> Option<Kept> {
        self.slots.get(key)?.value(&self.voids, now)
    }

    pub(super) fn acquire(&mut self, key: &TierKey, claim: &Claim, time: Duration, now: Instant) -> Acquired {
        let (slot, voids) = self.slot(key);
        if let Some(kept) = slot.value(voids, now) {
            if claim.seen != Some(kept.fill) {
                if !claim.force {
                    return Acquired::Value(kept);
                }
            } else if claim.discard {
                slot.value = None;
            }
        }
        let stands = |holder: &&Holder| now < holder.until && !voids.are_void(&holder.tags, holder.granted_at);
        if let Some(holder) = slot.holder.as_ref().filter(stands).filter(|_| !claim.force) {
            let left = holder.until - now;
            if holder.token.is_some() {
                return Acquired::Busy(left);
            }
            if claim.has_old {
                return Acquired::Throttled(left);
            }
        }
        let token = number();
        let (tags, granted_at) = (Arc::clone(&claim.tags), voids.latest);
        slot.holder = Some(Holder { token: Some(token), tags, granted_at, until: after(now, time) });
        slot.ring(Word::Other);
        Acquired::Leased(Lease { token, tags: vec![granted_at] })
    }

    pub(super) fn watch(&mut self, key: &TierKey) -> Ringing {
        let (slot, _) = self.slot(key);
        slot.bells.retain(Bell::is_heard);
        let (bell, ringing) = Bell::new();
        slot.bells.push(bell);
        ringing
    }

    pub(super) fn fill(&mut self, key: &TierKey, lease: &Lease, record: Record, now: Instant) -> Option<FillId> {
        let (slot, voids) = self.slot(key);
        if !slot.holds(lease, now) {
            return None;
        }
        let granted_at = *lease.tags.first()?;
        if voids.are_void(&record.tags, granted_at) {
            slot.holder = None;
            slot.ring(Word::Other);
            return None;
        }
        Some(slot.store(record, granted_at, now))
    }

    pub(super) fn release(&mut self, key: &TierKey, lease: &Lease, throttle: Duration, now: Instant) {
        let (slot, voids) = self.slot(key);
        if !slot.holds(lease, now) {
            return;
        }
        let (tags, granted_at) = (Arc::default(), voids.latest);
        let throttled = Holder { token: None, tags, granted_at, until: after(now, throttle) };
        slot.holder = (!throttle.is_zero()).then_some(throttled);
        slot.ring(Word::GivenBack);
    }

    pub(super) fn renew(&mut self, leases: &[(TierKey, Lease)], time: Duration, now: Instant) {
        for (key, lease) in leases {
            let (slot, _) = self.slot(key);
            let holds = slot.holds(lease, now);
            if let Some(holder) = slot.holder.as_mut().filter(|_| holds) {
                holder.until = after(now, time);
            }
        }
    }

    pub(super) fn put(&mut self, key: &TierKey, record: Record, now: Instant) -> FillId {
        let (slot, voids) = self.slot(key);
        slot.store(record, voids.latest, now)
    }

    pub(super) fn invalidate(&mut self, key: &TierKey) {
        let (slot, _) = self.slot(key);
        (slot.value, slot.holder) = (None, None);
        slot.ring(Word::Other);
    }

    pub(super) fn expire(&mut self, key: &TierKey, now: Instant) {
        let (slot, _) = self.slot(key);
        if let Some(value) = &mut slot.value {
            value.until = value.until.min(after(now, value.record.stale));
        }
        slot.holder = None;
        slot.ring(Word::Other);
    }

    pub(super) fn invalidate_tag(&mut self, tag: &str) {
        self.voids.latest += 1;
        self.voids.of.insert(Arc::from(tag), self.voids.latest);
        let is_borne =
            |slot: &&mut Slot| slot.holder.as_ref().is_some_and(|holder| holder.tags.iter().any(|t| **t == *tag));
        self.slots.values_mut().filter(is_borne).for_each(|slot| slot.ring(Word::Other));
    }

    pub(super) fn clear(&mut self) {
        for (_, mut slot) in self.slots.drain() {
            slot.ring(Word::Other);
        }
    }
}
