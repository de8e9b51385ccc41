//! Entries: what is stored under one key, to be read, written and voided by hand.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::call::{Id, warn_about_key};
use crate::key::{Key, encode};
use crate::memory::Stored;
use crate::policy::{Lifetime, Options, Terms};
use crate::random;
use crate::reply::Value;
use crate::store::Store;
use crate::tags::Tags;

type Weigh = Arc<dyn Fn(&dyn Any) -> u32 + Send + Sync>;

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
    weigh: Option<Weigh>,
    tags: Tags,
    value: PhantomData<fn(V) -> V>,
}

// Not derived: that would ask for `V: Clone`.
impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            key: self.key.clone(),
            terms: self.terms,
            weigh: self.weigh.clone(),
            tags: self.tags.clone(),
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
        let key = match encode(id.space, parts) {
            Ok(key) => Some(key),
            Err(error) => {
                warn_about_key(id.name, &error);
                None
            }
        };
        let weigh = options
            .opinion
            .weight
            .map(|weigh| -> Weigh { Arc::new(move |value| value.downcast_ref::<W>().map_or(1, weigh)) });
        let terms = Terms { ttl: store.cap(options.rules.terms.ttl), ..options.rules.terms };
        Self { key, terms, weigh, tags: options.rules.tags, store, value: PhantomData }
    }

    /// Voids what is stored, and keeps what a run under way would store out of the store.
    ///
    /// That run is delivered to those who wait for it, and not to later callers: they start another. This holds also if
    /// nothing was stored. Says whether every tier of the store has heard of it; with memory alone, that is always so.
    ///
    /// # Cancel safety
    ///
    /// All is done when the future is first polled.
    #[expect(clippy::unused_async, reason = "tiers beyond memory will have to be told, and that takes a round trip")]
    pub async fn invalidate(&self) -> bool {
        if let Some(key) = &self.key {
            self.store.flights().supersede(key, || self.store.forget(key));
        }
        true
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
    /// All is done when the future is first polled.
    #[expect(clippy::unused_async, reason = "tiers beyond memory will have to be told, and that takes a round trip")]
    pub async fn expire(&self) -> bool {
        if let Some(key) = &self.key {
            self.store.flights().supersede(key, || self.store.expire(key));
        }
        true
    }

    fn read<W: Value>(&self) -> Option<W> {
        let (stored, age) = self.store.look_up(self.key.as_deref()?)?;
        if age.is_fresh() { stored.downcast::<W>().cloned() } else { None }
    }

    fn write<W: Value>(&self, value: W) {
        let Some(key) = &self.key else { return };
        let weight = self.weigh.as_ref().map_or(1, |weigh| weigh(&value));
        // How long a run would have taken is not known, so `xfetch` leaves this value alone.
        let life = Lifetime::starting(Instant::now(), self.terms.ttl, &self.terms, Duration::ZERO, random::unit);
        let bearing = self.tags.bearing(self.store.tags());
        let stored = Arc::new(Stored::new(value, life, self.store.epoch(), bearing, weight));
        self.store.flights().supersede(key, || {
            if self.terms.ttl.is_zero() {
                self.store.forget(key);
            } else {
                self.store.keep(Arc::clone(key), stored);
            }
        });
    }
}

impl<V: Value> Entry<V> {
    /// The value, if a fresh one is stored. Never runs anything, and is no call to the statistics.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    #[expect(clippy::unused_async, reason = "a tier beyond memory will have to be asked")]
    pub async fn get(&self) -> Option<V> {
        self.read()
    }

    /// Stores a value, fresh for the TTL of its cache from now on.
    ///
    /// A run under way for the same key does not overwrite it; that run is delivered to those who wait for it. Where the
    /// TTL is zero (coalesce only), nothing is stored, and what was is voided.
    ///
    /// # Cancel safety
    ///
    /// All is done when the future is first polled.
    #[expect(clippy::unused_async, reason = "tiers beyond memory will have to be told, and that takes a round trip")]
    pub async fn put(&self, value: V) {
        self.write(value);
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
    #[expect(clippy::unused_async, reason = "a tier beyond memory will have to be asked")]
    pub async fn get(&self) -> Option<T> {
        self.entry.read()
    }

    /// Stores a value: see [`Entry::put`].
    ///
    /// # Cancel safety
    ///
    /// All is done when the future is first polled.
    #[expect(clippy::unused_async, reason = "tiers beyond memory will have to be told, and that takes a round trip")]
    pub async fn put(&self, value: T) {
        self.entry.write(value);
    }
}
