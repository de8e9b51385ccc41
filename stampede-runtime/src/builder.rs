//! The description of a cache.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::call::Id;
use crate::codec::Codec;
use crate::policy::{Options, Rules};
use crate::refusal::OwnErrors;
use crate::remote::Identity;
use crate::reply::Value;
use crate::space::Space;
use crate::store::Store;
use crate::tags::{Tag, TagText};

/// Describes a [`Cache`]. Made by [`Cache::builder`].
///
/// What an option means is said in full at the attribute's argument of the same name; a zero duration is off. `X` is the
/// cache's: the errors that it has [of its own](Cache#errors-of-its-own).
#[must_use = "a description alone caches nothing: call `build`"]
pub struct CacheBuilder<V, X = Infallible> {
    name: String,
    version: u32,
    store: Option<Store>,
    options: Options<V>,
    /// Adds how values travel, once all else is known.
    travel: Option<Travel<V>>,
    said: Said,
    own_errors: PhantomData<fn() -> X>,
}

type Travel<V> = fn(Options<V>, Identity) -> Options<V>;

/// What has to be checked as a whole.
#[derive(Clone, Copy, Default)]
struct Said {
    refresh_ahead: Option<f64>,
    xfetch: Option<f64>,
    jitter: Option<f64>,
    breaker: Option<(u32, Duration)>,
    retry_after: bool,
    soft_timeout: bool,
    /// One beyond the TTL.
    window: bool,
}

impl<V, X> fmt::Debug for CacheBuilder<V, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<V: Value> CacheBuilder<V> {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: 1,
            store: None,
            options: Options::default(),
            travel: None,
            said: Said::default(),
            own_errors: PhantomData,
        }
    }
}

impl<V: Value, X> CacheBuilder<V, X> {
    /// How long a value is fresh, from the moment its run ends. Unless told, nothing is stored: calls are coalesced only.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { options: self.options.ttl(ttl), ..self }
    }

    /// How long after its TTL a value is still the answer at once, while one background run refreshes it. Off unless told.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        let said = Said { window: true, ..self.said };
        Self { options: self.options.stale_while_revalidate(window), said, ..self }
    }

    /// How long after its TTL a value is still the answer if a run gives an error, panics or takes too long. Off unless
    /// told.
    pub fn stale_if_error(self, window: Duration) -> Self {
        let said = Said { window: true, ..self.said };
        Self { options: self.options.stale_if_error(window), said, ..self }
    }

    /// How long after a failed or unstored run there is no further one for the key, while an old value can be served;
    /// 1 s unless told.
    pub fn retry_after(self, retry_after: Duration) -> Self {
        let said = Said { retry_after: true, ..self.said };
        Self { options: self.options.retry_after(retry_after), said, ..self }
    }

    /// The share of the TTL, between 0 and 1, after which the first hit starts a background run. Off unless told.
    pub fn refresh_ahead(self, share: f64) -> Self {
        let said = Said { refresh_ahead: Some(share), ..self.said };
        Self { options: self.options.refresh_ahead(share), said, ..self }
    }

    /// β of `XFetch`: hits start a background run at random, the likelier the nearer the end of the TTL and the longer the
    /// run of this value took. 1 is what the authors recommend; more is earlier. Off unless told.
    pub fn xfetch(self, beta: f64) -> Self {
        let said = Said { xfetch: Some(beta), ..self.said };
        Self { options: self.options.xfetch(beta), said, ..self }
    }

    /// The share of each TTL, at least 0 and less than 1, up to which it is cut at random when a value is stored, so that
    /// what was stored together does not expire together. 0 unless told.
    pub fn jitter(self, share: f64) -> Self {
        let said = Said { jitter: Some(share), ..self.said };
        Self { options: self.options.jitter(share), said, ..self }
    }

    /// How long a call takes at most, all in all: then it ends in a [`Timeout`](crate::Timeout), or in an old value within
    /// its stale windows. The run goes on if its value is to be stored, up to the `run_limit`. Off unless told.
    pub fn timeout(self, timeout: Duration) -> CacheBuilder<V, X::OrTimeout>
    where
        X: OwnErrors,
    {
        let Self { name, version, store, options, travel, said, .. } = self;
        let options = options.timeout(timeout);
        CacheBuilder { name, version, store, options, travel, said, own_errors: PhantomData }
    }

    /// How long a call waits while there is an old value within its stale windows: then that is the answer, and the run
    /// goes on. Off unless told.
    pub fn soft_timeout(self, soft_timeout: Duration) -> Self {
        let said = Said { soft_timeout: true, ..self.said };
        Self { options: self.options.soft_timeout(soft_timeout), said, ..self }
    }

    /// How long a run may take before it is cancelled and those who still wait share a next one; the larger of 5 min and
    /// ten times the `timeout` unless told.
    pub fn run_limit(self, run_limit: Duration) -> Self {
        Self { options: self.options.run_limit(run_limit), ..self }
    }

    /// How long an error is the answer, instead of a next run; in memory only. It never takes the place of a value that can
    /// still be served. Errors are not stored unless told.
    pub fn error_ttl(self, error_ttl: Duration) -> Self {
        Self { options: self.options.error_ttl(error_ttl), ..self }
    }

    /// A circuit breaker for all keys of the cache: after so many failures in a row no run starts for `reset_after`, and
    /// calls get a value within its stale windows or end in [`CircuitOpen`](crate::CircuitOpen); then one run probes. Off
    /// unless told.
    pub fn breaker(self, failures: u32, reset_after: Duration) -> CacheBuilder<V, X::OrCircuitOpen>
    where
        X: OwnErrors,
    {
        let said = Said { breaker: Some((failures, reset_after)), ..self.said };
        let Self { name, version, store, options, travel, .. } = self;
        let options = options.breaker(failures, reset_after);
        CacheBuilder { name, version, store, options, travel, said, own_errors: PhantomData }
    }

    /// Tags that all values bear, besides those of [`Cache::tagged`]: [`Store::invalidate_tag`] voids them all at once.
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<Tag> = tags.into_iter().map(|tag| tag.tag()).collect();
        Self { options: self.options.tags(&tags), ..self }
    }

    /// Stores only the values that it accepts; the others still reach those who wait.
    pub fn cache_if(self, accepts: fn(&V) -> bool) -> Self {
        Self { options: self.options.cache_if(accepts), ..self }
    }

    /// What a value weighs in a store that is bounded by weight; 1 unless told.
    pub fn weight(self, weigh: fn(&V) -> u32) -> Self {
        Self { options: self.options.weight(weigh), ..self }
    }

    /// Part of the cache's identity: caches of one name and two versions share nothing. 1 unless told.
    pub fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// Values also go to the store's [remote tier](crate::StoreBuilder::remote), written as
    /// `MessagePack`, and come from there; without such a tier, they stay in memory. In memory unless told.
    #[cfg(feature = "tier")]
    pub fn remote(self) -> Self
    where
        V: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.codec::<crate::codec::MessagePack>()
    }

    /// Values also go to the store's [remote tier](crate::StoreBuilder::remote), in this codec. In memory unless told.
    pub fn codec<C: Codec<V>>(self) -> Self {
        Self { travel: Some(Options::remote::<C>), ..self }
    }

    /// The store to use; the one in force at [`build`](Self::build) unless told.
    pub fn store(self, store: &Store) -> Self {
        Self { store: Some(store.clone()), ..self }
    }

    /// Builds the cache, on the store named or in force.
    ///
    /// # Panics
    ///
    /// If options contradict each other, or are out of their range; the attribute refuses the same to compile. (A `ttl` of
    /// zero is no contradiction, nor is a window of zero: they may come from configuration.)
    pub fn build(self) -> Cache<V, X> {
        if let Some(fault) = self.said.fault(&self.options.rules) {
            panic!("stampede: the cache `{}` cannot be built: {fault}", self.name);
        }
        let identity = Identity { version: self.version, ..Identity::default() };
        let options = match self.travel {
            Some(travel) => travel(self.options, identity),
            None => self.options,
        };
        let name = match self.version {
            1 => self.name,
            version => format!("{} v{version}", self.name),
        };
        let (space, name) = Space::named(&name, TypeId::of::<V>());
        let store = self.store.unwrap_or_else(Store::current);
        Cache { id: Id::new(space, name), store, options, own_errors: PhantomData }
    }
}

impl Said {
    /// What is wrong, and what to do about it.
    fn fault(self, rules: &Rules) -> Option<&'static str> {
        let Self { refresh_ahead, xfetch, jitter, breaker, retry_after, soft_timeout, window } = self;
        let early = refresh_ahead.is_some() || xfetch.is_some();
        let (soft, hard) = (rules.soft_timeout, rules.timeout);
        [
            (
                refresh_ahead.is_some_and(|share| !(share > 0.0 && share < 1.0)),
                "`refresh_ahead` is a share of the TTL: say a number between 0 and 1",
            ),
            (xfetch.is_some_and(|beta| !(beta > 0.0 && beta.is_finite())), "`xfetch` is β: say a number above 0"),
            (
                jitter.is_some_and(|share| !(0.0..1.0).contains(&share)),
                "`jitter` is a share of the TTL: say a number from 0 to below 1",
            ),
            (
                refresh_ahead.is_some() && xfetch.is_some(),
                "`refresh_ahead` and `xfetch` both say when to refresh early: say one of them",
            ),
            (
                breaker.is_some_and(|(failures, reset_after)| failures == 0 || reset_after.is_zero()),
                "`breaker` opens after a number of failures, for a time: say at least 1 and more than no time",
            ),
            (
                !soft.is_zero() && !hard.is_zero() && soft >= hard,
                "`soft_timeout` is not shorter than `timeout`, which ends the call: say a shorter one",
            ),
            (
                soft_timeout && !window,
                "`soft_timeout` is about old values: say `stale_if_error` or `stale_while_revalidate` too",
            ),
            (
                retry_after && !early && !window,
                "`retry_after` is about runs that replace a value which is still of use: say \
                 `stale_while_revalidate`, `stale_if_error`, `refresh_ahead` or `xfetch` too",
            ),
        ]
        .into_iter()
        .find_map(|(wrong, fault)| wrong.then_some(fault))
    }
}
