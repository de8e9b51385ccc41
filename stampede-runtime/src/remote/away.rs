//! What entries do with the tier: by hand, outside all flights.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Mark, Order, Receipt, Remote, Wire};
use crate::boxed::Boxed;
use crate::key::Key;
use crate::memory::AnyStored;
use crate::policy::{Age, Terms, Weight};
use crate::store::Store;
use crate::tier::TierKey;

/// A value on its way from the tier.
pub(crate) type Reading = Boxed<Option<Arc<AnyStored>>>;

/// A key of a cache that has a remote tier.
pub(crate) struct Away {
    remote: Arc<Remote>,
    key: TierKey,
    wire: Arc<dyn Wire>,
    weight: Weight,
}

impl Away {
    /// `None` if the cache stays in memory.
    pub(crate) fn of(
        store: &Store,
        key: &Key,
        name: &'static str,
        wire: Option<Arc<dyn Wire>>,
        weight: &Weight,
    ) -> Option<Arc<Self>> {
        let (remote, wire) = (Arc::clone(store.remote()?), wire?);
        let key = remote.key(key, name, &*wire)?;
        Some(Arc::new(Self { remote, key, wire, weight: weight.clone() }))
    }

    /// A fresh value that the tier has. Memory keeps it, unless something has been voided meanwhile. If the tier does not
    /// answer, what memory has is trusted.
    pub(crate) fn read(self: &Arc<Self>, store: Store, key: Key, terms: Terms) -> Reading {
        Reading::new(Box::new(Arc::clone(self).reading(store, key, terms)))
    }

    async fn reading(self: Arc<Self>, store: Store, key: Key, terms: Terms) -> Option<Arc<AnyStored>> {
        let remote = &self.remote;
        if store.is_bypassed() {
            return None;
        }
        let trusted = || {
            let (known, _) = store.look_up(&key)?;
            let age = known.age(Instant::now(), store.epoch(), store.tags());
            (age.is_fresh() && !known.is_error()).then_some(known)
        };
        if !remote.is_well() {
            return trusted();
        }
        let voided = store.flights().voided(&key);
        let (epoch, tags_valid_at) = (store.epoch(), store.tags().latest());
        let (asked_at, mark) = (Instant::now(), remote.mark());
        let Some(kept) = remote.trip("read", remote.tier.read(&self.key)).await else { return trusted() };
        let kept = kept?;
        let receipt = Receipt {
            key: &key,
            asked_at,
            terms: &terms,
            weight: &self.weight,
            max_ttl: store.cap(Duration::MAX),
            epoch,
            tags_valid_at,
            mark,
        };
        let stored = remote.open(&kept, &*self.wire, receipt)?;
        let is_fresh = |stored: &AnyStored, age: Age| age.is_fresh() && !stored.is_error();
        if !is_fresh(&stored, stored.age(Instant::now(), epoch, store.tags())) {
            return None;
        }
        store.flights().unless_voided(&key, voided, || {
            if !store.look_up(&key).is_some_and(|(stored, age)| is_fresh(&stored, age)) {
                store.keep(Arc::clone(&stored));
            }
        });
        Some(stored)
    }

    /// What a value that is about to go to the tier bears.
    pub(crate) fn mark(&self) -> Mark {
        self.remote.mark()
    }

    pub(crate) fn invalidate(&self) -> Order {
        Order::Invalidate(self.key.clone())
    }

    pub(crate) fn expire(&self) -> Order {
        Order::Expire(self.key.clone())
    }

    /// To store a value in the tier; to void what is there, if the value cannot go there.
    pub(crate) fn put(&self, stored: Arc<AnyStored>) -> Order {
        match self.remote.record(&stored, &*self.wire, Duration::ZERO) {
            Some(record) => Order::Put(self.key.clone(), Arc::new(record), stored),
            None => self.invalidate(),
        }
    }
}
