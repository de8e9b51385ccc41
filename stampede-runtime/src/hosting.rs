//! What a library that puts a cache of ours under something else needs beyond the public interface: `stampede-http` does.
//!
//! Its values may go on growing after their run has ended (a response whose body still streams): they are stored when they
//! are of use, and [`Hosted::settle`] says later what has become of them. What is stored is only ever replaced by what it
//! has become, under the key's lock, and keeps the epoch and the tags of its run: an invalidation in between wins.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::call::Id;
use crate::context;
use crate::key::{Probe, encode, hash};
use crate::memory::{Stored, Verdict};
use crate::policy::{Age, Lifetime, Mode, Options};
use crate::random;
use crate::reply::Value;
use crate::run::Run;
use crate::space::Space;
use crate::stats::{Outcome, RunResult};
use crate::store::Store;
use crate::telemetry::Since;

pub use crate::tags::Tag;

/// A cache on a store that may end its calls with a `Timeout` or a `CircuitOpen`, going by its options.
pub fn cache<V: Value, X>(name: &str, store: Store, options: Options<V>) -> Cache<V, X> {
    let (space, name) = Space::named(name, TypeId::of::<V>());
    Cache { id: Id::new(space, name), store, options, own_errors: PhantomData }
}

/// The store that a cache is on.
pub fn store<V: Value, X>(cache: &Cache<V, X>) -> Store {
    cache.store.clone()
}

/// The name of a cache.
pub fn name<V: Value, X>(cache: &Cache<V, X>) -> &'static str {
    cache.id.name
}

/// Counts a call that went past the store by its nature.
pub fn count_bypass<V: Value, X>(cache: &Cache<V, X>) {
    cache.store.flights().call_ended(cache.id.space(), Outcome::Bypass, Since::default());
}

/// Counts a call that was answered by what a run had left to grow.
pub fn count_coalesced<V: Value, X>(cache: &Cache<V, X>) {
    cache.store.flights().call_ended(cache.id.space(), Outcome::Coalesced, Since::default());
}

/// What `take` makes of the value under a key that is fresh: the answer to a call, which is counted. `take` is told whether a
/// refresh is due. `None` if there is no such value, the store is switched off, or a wrapper wishes for something else.
pub fn hit<V: Value, X, K: Serialize + ?Sized, T>(
    cache: &Cache<V, X>,
    key: &K,
    take: impl FnOnce(&V, bool) -> Option<T>,
) -> Option<T> {
    if !matches!(context::mode(), Mode::Normal | Mode::NoStale) {
        return None;
    }
    let space = cache.id.space();
    let probe = Probe { space, hash: hash(space, key).ok()?, parts: &key };
    let mut near = cache.store.look(&probe)?;
    if let Some(seen) = near.seen() {
        let taken = seen.0.value::<V>().and_then(|value| take(value, false));
        if taken.is_some() {
            near.taken();
        } else {
            near.let_be();
        }
        return taken;
    }
    let found = near.refused();
    drop(near);
    let Some((stored, Age::Due)) = found else { return None };
    let taken = take(stored.downcast::<V>()?, true);
    if taken.is_some() {
        cache.store.flights().call_ended(space, Outcome::Fresh, Since::default());
    }
    taken
}

/// Counts a run outside all flights, of a call that a flight could not answer.
pub fn count_own_run<V: Value, X>(cache: &Cache<V, X>) {
    cache.store.flights().own_run_ended(cache.id.space(), RunResult::NoCache);
}

/// The moment before which a value has to be known that is going to be stored by [`put_unless_voided`].
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    voided: usize,
    epoch: u64,
    /// The last tag that was voided.
    tag: u64,
}

/// What was voided under a key before now was voided before the value began.
pub fn fence<V: Value, X, K: Serialize + ?Sized>(cache: &Cache<V, X>, key: &K) -> Option<Fence> {
    let key = encode(cache.id.space(), key).ok()?;
    let flights = cache.store.flights();
    Some(Fence { voided: flights.voided(&key), epoch: cache.store.epoch(), tag: cache.store.tags().latest() })
}

/// Whether this call may be answered by a run that began at the fence: neither its key has been voided since (nor another of
/// the same shard, nor any tag), nor does a wrapper or the store's switch wish for something else.
pub fn may_join<V: Value, X, K: Serialize + ?Sized>(cache: &Cache<V, X>, key: &K, since: &Fence) -> bool {
    let Fence { voided, epoch, tag } = *since;
    matches!(context::mode(), Mode::Normal | Mode::NoStale)
        && !cache.store.is_bypassed()
        && fence(cache, key).is_some_and(|now| (now.voided, now.epoch, now.tag) == (voided, epoch, tag))
}

/// Stores a value that no run of the cache has made, unless its key has been voided since the fence (or another of the same
/// shard has, or a tag: then nothing happens). Runs under way go on, and will take its place.
pub fn put_unless_voided<V: Value, X, K: Serialize + ?Sized>(
    cache: &Cache<V, X>,
    key: &K,
    fence: &Fence,
    hosted: &Hosted,
    value: V,
    ttl: Duration,
) {
    let Ok(key) = encode(cache.id.space(), key) else { return };
    let (store, ttl) = (&cache.store, cache.store.cap(ttl));
    if ttl.is_zero() || store.is_bypassed() {
        return;
    }
    let value = Stored::new(value);
    let weight = cache.options.rules.opinion.weight.of(&value);
    let terms = hosted.run.windows(&cache.options.rules.terms);
    let life = Lifetime::starting(Instant::now(), ttl, &terms, Duration::ZERO, random::unit);
    let bearing =
        cache.options.rules.tags.bearing(store.tags()).map(|bearing| Box::new(bearing.dated(hosted.tags_valid_at)));
    let bearing = hosted.run.bearing(bearing);
    let stored = value.with(&key, Verdict { life, epoch: fence.epoch, bearing, weight, mark: None });
    store.flights().unless_voided(&key, fence.voided, || store.keep(stored));
}

/// The run whose body is being polled: what has been said about its result, and what becomes of it afterwards.
#[derive(Clone, Debug)]
pub struct Hosted {
    run: Arc<Run>,
    store: Store,
    /// Tags that the result turns out to bear are as old as this.
    tags_valid_at: u64,
}

impl Hosted {
    /// The current run; call this before the body's work begins. Outside all flights (and all runs), it is one whose result
    /// is not going to be stored.
    pub fn enter(store: &Store) -> Self {
        let run = context::run().filter(|run| run.store == store.id());
        let run = run.unwrap_or_else(|| {
            let run = Run::uncached("");
            run.no_cache();
            Arc::new(run)
        });
        Self { run, tags_valid_at: store.tags().latest(), store: store.clone() }
    }

    /// A run outside all flights: what is said about it is for whoever holds this.
    pub fn enter_own(store: &Store) -> Self {
        Self { run: Arc::new(Run::uncached("")), tags_valid_at: store.tags().latest(), store: store.clone() }
    }

    /// Whether it was said that the result is not to be stored.
    pub fn said_no_cache(&self) -> bool {
        self.run.said_no_cache()
    }

    /// How long it was said that the result is to be fresh, if it was.
    pub fn said_ttl(&self) -> Option<Duration> {
        self.run.said_ttl()
    }

    /// A TTL, as far as the store grants it.
    pub fn capped(&self, ttl: Duration) -> Duration {
        self.store.cap(ttl)
    }

    /// How many wait for the run.
    pub fn waiters(&self) -> usize {
        self.run.waiters()
    }

    /// Voids what is stored under the run's key: it has turned out to be of a kind that is not to be stored.
    pub fn forget(&self) {
        let (store, key) = (&self.store, &self.run.key);
        let locked = store.flights().lock(key);
        store.forget(key);
        drop(locked);
    }

    /// Keeps the result out of the store.
    pub fn no_cache(&self) {
        self.run.no_cache();
    }

    /// Says how long the result is to be fresh.
    pub fn store_for(&self, ttl: Duration) {
        self.run.store_for(ttl);
    }

    /// The result is of use beyond its TTL for no longer than this: while it is revalidated, and in place of errors.
    pub fn limit_windows(&self, stale_while_revalidate: Duration, stale_if_error: Duration) {
        self.run.limit_windows(stale_while_revalidate, stale_if_error);
    }

    /// The result bears these tags, besides those of its cache.
    pub fn bear(&self, tags: Vec<Tag>) {
        self.run.bear(tags, self.tags_valid_at);
    }

    /// The result goes on growing after the run: it leaves the process only by [`settle`](Self::settle).
    pub fn grow(&self) {
        self.run.grow();
    }

    /// Whether nobody waits for the run.
    pub fn is_background(&self) -> bool {
        self.run.waiters() == 0
    }

    /// Whether there is an older value under the run's key, which may be of use until this one is.
    pub fn replaces(&self) -> bool {
        !self.run.key.is_empty() && self.store.look_up(&self.run.key).is_some()
    }

    /// Whether the run has ended, and what was to be stored is.
    pub fn is_over(&self) -> bool {
        self.run.is_over() || self.run.key.is_empty()
    }

    /// Says what has become of the run's value, if `is_it` finds that it is (still) what is stored: its TTL, which begins
    /// now, and its weight; or, with a TTL of zero, that it is to be forgotten.
    pub fn settle<V: Value>(&self, options: &Options<V>, is_it: impl Fn(&V) -> bool, ttl: Duration) {
        let (store, key) = (&self.store, &self.run.key);
        let ttl = store.cap(ttl);
        // If it is not sent, the lease goes back.
        let load = self.run.take_load();
        let locked = store.flights().lock(key);
        let Some((stored, _)) = store.look_up(key) else { return };
        let Some(value) = stored.downcast::<V>().filter(|value| is_it(value)) else { return };
        if ttl.is_zero() {
            store.forget(key);
        } else {
            let weight = options.rules.opinion.weight.of(&stored);
            let terms = self.run.windows(&options.rules.terms);
            let life = Lifetime::starting(Instant::now(), ttl, &terms, Duration::ZERO, random::unit);
            let renewed = stored.renewed(value.clone(), life, weight);
            store.keep(Arc::clone(&renewed) as _);
            drop(locked);
            if let Some(load) = load {
                load.send(renewed, store.clone(), Arc::clone(key));
            }
        }
    }
}
