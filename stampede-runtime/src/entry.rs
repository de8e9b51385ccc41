//! Entries: what is stored under one key, to be read, written and voided by hand.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::call::{Id, warn_about_key};
use crate::key::{Key, encode};
use crate::memory::{AnyStored, Stored, Verdict};
use crate::policy::{Lifetime, Options, Rules, Terms, Weight};
use crate::random;
use crate::remote::{Away, Order, Reading, Told};
use crate::reply::Value;
use crate::store::Store;
use crate::tags::Tags;
use crate::telemetry::{By, Voiding};

/// What a store holds for one key of a [`Cache`](crate::Cache), or of a coalesced function (see [`FnEntry`]).
///
/// It owns the key and a handle to the store, borrows nothing, and can be kept. None of its methods runs a body or waits
/// for one.
///
/// If a part of the key could not be serialized, there is no entry: reading finds nothing, writing does nothing, and a
/// warning has been logged.
pub struct Entry<V> {
    store: Store,
    key: Option<Key>,
    terms: Terms,
    weight: Weight,
    tags: Tags,
    away: Option<Arc<Away>>,
    value: PhantomData<fn(V) -> V>,
}

// Not derived: that would ask for `V: Clone`.
impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            key: self.key.clone(),
            terms: self.terms,
            weight: self.weight.clone(),
            tags: self.tags.clone(),
            away: self.away.clone(),
            value: PhantomData,
        }
    }
}

impl<V> fmt::Debug for Entry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("ttl", &self.terms.ttl).finish_non_exhaustive()
    }
}

impl<V> Entry<V> {
    /// The entry of a key; `W` is the type of what is stored.
    pub(crate) fn new<W: Value, K: Serialize + ?Sized>(id: Id, store: Store, parts: &K, options: Options<W>) -> Self {
        let key = match encode(id.space(), parts) {
            Ok(key) => Some(key),
            Err(error) => {
                warn_about_key(id.name, &error);
                None
            }
        };
        let Rules { terms, tags, opinion, wire, .. } = options.rules;
        let terms = Terms { ttl: store.cap(terms.ttl), ..terms };
        let away = key.as_ref().and_then(|key| Away::of(&store, key, id.name, wire, &opinion.weight));
        Self { key, terms, weight: opinion.weight, tags, away, store, value: PhantomData }
    }

    /// Voids what is stored, and keeps what a run under way would store out of the store.
    ///
    /// That run is delivered to those who wait for it, and not to later callers: they start another. This holds also if
    /// nothing was stored. Says whether every tier of the store has heard of it; with memory alone, that is always so.
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled.
    pub async fn invalidate(&self) -> bool {
        self.void().await
    }

    /// Ends the TTL of what is stored: the old value is no hit any more, but stays for stale answers.
    ///
    /// From now on the value is as if its TTL had run out at this moment: it is served for `stale_while_revalidate` while a
    /// run refreshes it, and for `stale_if_error` in place of errors, and is of no use where there is neither. What a run
    /// under way returns was known before this, so it is delivered to those who wait and not stored, as with
    /// [`invalidate`](Self::invalidate). A value whose TTL is over stays as it is. Says what `invalidate` says.
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled.
    pub async fn expire(&self) -> bool {
        self.end_ttl().await
    }

    fn end_ttl(&self) -> Told {
        let Some(key) = self.key.clone() else { return Told::EVERYWHERE };
        let store = self.store.clone();
        store.voided(Voiding::Expire, By::Call);
        self.tell(Away::expire, move || store.expire_here(&key))
    }

    fn void(&self) -> Told {
        let Some(key) = self.key.clone() else { return Told::EVERYWHERE };
        let store = self.store.clone();
        store.voided(Voiding::Invalidate, By::Call);
        self.tell(Away::invalidate, move || store.void_here(&key))
    }

    fn tell(&self, order: fn(&Away) -> Order, here: impl Fn() + Clone + Send + 'static) -> Told {
        self.store.tell(|| self.away.as_ref().map(|away| order(away)), here.clone(), here)
    }

    /// What is fresh here, or may be there.
    fn read<W: Value>(&self) -> Result<W, Option<Reading>> {
        let key = self.key.as_ref().ok_or(None)?;
        if let Some((stored, age)) = self.store.look_up(key)
            && age.is_fresh()
        {
            return stored.downcast::<W>().cloned().ok_or(None);
        }
        let away = self.away.as_ref().ok_or(None)?;
        Err(Some(away.read(self.store.clone(), Arc::clone(key), self.terms)))
    }

    async fn read_anywhere<W: Value>(&self) -> Option<W> {
        match self.read() {
            Ok(value) => Some(value),
            Err(Some(reading)) => reading.await?.downcast::<W>().cloned(),
            Err(None) => None,
        }
    }

    fn write<W: Value>(&self, value: W) -> Told {
        let Some(key) = self.key.clone() else { return Told::EVERYWHERE };
        if self.terms.ttl.is_zero() {
            // What was is voided, and nothing takes its place.
            return self.void();
        }
        let value = Stored::new(value);
        let mark = self.away.as_ref().map(|away| away.mark());
        let weight = self.weight.of(&value);
        // How long a run would have taken is not known, so `xfetch` leaves this value alone.
        let life = Lifetime::starting(Instant::now(), self.terms.ttl, &self.terms, Duration::ZERO, random::unit);
        let bearing = self.tags.bearing(self.store.tags());
        let verdict = Verdict { life, epoch: self.store.epoch(), bearing, weight, mark };
        let stored: Arc<AnyStored> = value.with(&key, verdict);
        let put = {
            let (key, store, stored) = (Arc::clone(&key), self.store.clone(), Arc::clone(&stored));
            move || store.flights().supersede(&key, || store.keep(stored))
        };
        let order = || self.away.as_ref().map(|away| away.put(Arc::clone(&stored)));
        // What was loaded meanwhile is void; and if others have voided our value meanwhile, it stays so.
        let clear = {
            let (store, stored) = (self.store.clone(), Arc::clone(&stored));
            move || store.flights().supersede(&key, || store.forget_all_but(&key, &stored))
        };
        self.store.tell(order, put, clear)
    }
}

impl<V: Value> Entry<V> {
    /// The value, if a fresh one is stored, here or in the remote tier. Never runs anything, and is no call to the statistics.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn get(&self) -> Option<V> {
        self.read_anywhere().await
    }

    /// Stores a value, fresh for the TTL of its cache from now on.
    ///
    /// A run under way for the same key does not overwrite it; that run is delivered to those who wait for it. Where the
    /// TTL is zero (coalesce only), nothing is stored, and what was is voided.
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled.
    pub async fn put(&self, value: V) {
        self.write(value).await;
    }
}

/// The [`Entry`] of a coalesced function, made by its companion: `load_user_entry(7)` for `load_user(…, 7)`.
///
/// `R` is the function's return type. For a `Result<T, E>` the entry speaks `T`; for anything else it is an `Entry<R>` by
/// `Deref`.
///
/// ```
/// # use stampede::*;
/// # async fn example(load_user_entry: impl Fn(u64) -> FnEntry<Result<String, std::io::Error>>) {
/// load_user_entry(7).put("Ada".to_owned()).await;
/// assert_eq!(load_user_entry(7).get().await.as_deref(), Some("Ada"));
/// load_user_entry(7).invalidate().await;
/// # }
/// ```
pub struct FnEntry<R> {
    entry: Entry<R>,
}

impl<R> FnEntry<R> {
    pub(crate) const fn new(entry: Entry<R>) -> Self {
        Self { entry }
    }
}

impl<R> Clone for FnEntry<R> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone() }
    }
}

impl<R> fmt::Debug for FnEntry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}

impl<R> Deref for FnEntry<R> {
    type Target = Entry<R>;

    fn deref(&self) -> &Entry<R> {
        &self.entry
    }
}

/// The methods that speak the value; the others are those of [`Entry`].
impl<T: Value, E> FnEntry<Result<T, E>> {
    /// The value, if a fresh one is stored: see [`Entry::get`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn get(&self) -> Option<T> {
        self.entry.read_anywhere().await
    }

    /// Stores a value: see [`Entry::put`].
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled.
    pub async fn put(&self, value: T) {
        self.entry.write(value).await;
    }
}
