//! Caches without the macro.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::call::{Call, Id, Recipe};
use crate::entry::Entry;
use crate::launch::Detached;
use crate::policy::Options;
use crate::reply::{Auto, Divide, Fallible, Plain, Reply, ShareError, Value, auto};
use crate::space::Space;
use crate::store::Store;

/// A cache with single flight for code that does without the macro: the key and the body are given at each call.
///
/// A `Cache` is a handle: clones are the same cache, and so are all caches of one name and value type on one store. Keys are
/// anything that serializes; `&1u8` and `&1u64` are two keys, `&"a"` and `&String::from("a")` are one.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use stampede::Cache;
///
/// let users: Cache<String> = Cache::builder("users").ttl(Duration::from_secs(5)).build();
/// let (tenant, id) = ("acme", 7u64);
/// let user = users.get_with(&(tenant, id), || async move { format!("user {id} of {tenant}") }).await;
/// assert_eq!(user, "user 7 of acme");
/// assert_eq!(users.entry(&(tenant, id)).get().await, Some(user));
/// # }
/// ```
pub struct Cache<V> {
    id: Id,
    store: Store,
    options: Options<V>,
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self { id: self.id, store: self.store.clone(), options: self.options }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.id.name).finish_non_exhaustive()
    }
}

impl<V: Value> Cache<V> {
    /// Starts the description of a cache. The name tells it from other caches of the store.
    pub fn builder(name: &str) -> CacheBuilder<V> {
        CacheBuilder { name: name.to_owned(), version: 1, store: None, options: Options::default() }
    }

    /// The value for a key: a stored one, or that of a run of `init`, which all who ask for the key meanwhile share.
    ///
    /// The run is a task of its own. `init` makes its future, which therefore owns what it needs. A panic of the run reaches
    /// everybody who waits for it.
    ///
    /// `init` is called if there is work to do, and again if a run was lost (its runtime shut down, or it reached the
    /// `run_limit`); so what the future takes with it is cloned within, which a hit does not pay for:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let cache = stampede::Cache::<String>::builder("hosts").build();
    /// let (host, resolver) = ("a.example".to_owned(), std::sync::Arc::new(|host: &str| format!("address of {host}")));
    /// let address = cache.get_with(&host, || {
    ///     let (host, resolver) = (host.clone(), resolver.clone());
    ///     async move { resolver(&host) }
    /// });
    /// assert_eq!(address.await, "address of a.example");
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the run does, if it waits for itself, or if there is no tokio runtime to run it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the caller's place. A run whose value is to be stored goes on without it; one whose
    /// value nobody can use any more is cancelled.
    pub async fn get_with<K, S, F>(&self, key: &K, init: S) -> V
    where
        K: Serialize + ?Sized,
        S: FnMut() -> F,
        F: Future<Output = V> + Send + 'static,
    {
        self.call(key, Reply::<V, V, Infallible, Plain>::NEW, init).await
    }

    /// The same for bodies that may fail. A value is stored, an error is not: it reaches everybody who waits for the run.
    ///
    /// The error is `Clone`, or one of the types that hold any error (`anyhow::Error`, `eyre::Report`,
    /// `Box<dyn Error + Send + Sync>`); of those, a caller who was alone gets the original, and several get views with the
    /// same message and source chain.
    ///
    /// # Errors
    ///
    /// Those of the run.
    ///
    /// # Panics
    ///
    /// If the run does, if it waits for itself, or if there is no tokio runtime to run it.
    ///
    /// # Cancel safety
    ///
    /// As [`get_with`](Self::get_with).
    pub async fn try_get_with<K, S, F, E, M>(&self, key: &K, init: S) -> Result<V, E>
    where
        K: Serialize + ?Sized,
        S: FnMut() -> F,
        F: Future<Output = Result<V, E>> + Send + 'static,
        E: ShareError<M> + Send + 'static,
        M: 'static,
    {
        self.call(key, Reply::<Result<V, E>, V, E, Fallible>::NEW, init).await
    }

    #[expect(clippy::type_complexity, reason = "the parts of a call, which is made in two ways")]
    fn call<K, R, E, D, M, S, F>(
        &self,
        key: &K,
        reply: Reply<R, V, E, D>,
        start: S,
    ) -> Call<R, V, E, D, Auto<M>, impl Fn() -> Options<V> + use<K, V, R, E, D, M, S, F>, S, F, Detached>
    where
        K: Serialize + ?Sized,
        R: 'static,
        E: ShareError<M> + Send + 'static,
        D: Divide<R, V, E> + 'static,
        M: 'static,
        S: FnMut() -> F,
        F: Future<Output = R> + Send + 'static,
    {
        let options = self.options;
        let recipe = Recipe { share: auto(reply), options: move || options, start, launch: Detached };
        Call::new(self.id, Some(&self.store), key, recipe)
    }

    /// What is stored under a key, to be read, written and voided by hand.
    pub fn entry<K: Serialize + ?Sized>(&self, key: &K) -> Entry<V> {
        Entry::new(self.id, self.store.clone(), key, self.options)
    }
}

/// Describes a [`Cache`]. Made by [`Cache::builder`].
#[must_use = "a description alone caches nothing: call `build`"]
pub struct CacheBuilder<V> {
    name: String,
    version: u32,
    store: Option<Store>,
    options: Options<V>,
}

impl<V> fmt::Debug for CacheBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<V: Value> CacheBuilder<V> {
    /// How long a value is fresh, from the moment its run ends. Unless told, nothing is stored: calls are coalesced only.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { options: self.options.ttl(ttl), ..self }
    }

    /// How long after its TTL a value is still the answer at once, while one background run refreshes it. Off unless told.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        Self { options: self.options.stale_while_revalidate(window), ..self }
    }

    /// How long after a failed or unstored refresh there is no further one for the key, while an old value can be served;
    /// 1 s unless told.
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { options: self.options.retry_after(retry_after), ..self }
    }

    /// How long a run may take before it is cancelled and those who still wait share a next one; 5 min unless told.
    pub fn run_limit(self, run_limit: Duration) -> Self {
        Self { options: self.options.run_limit(run_limit), ..self }
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

    /// The store to use; the one in force at [`build`](Self::build) unless told.
    pub fn store(self, store: &Store) -> Self {
        Self { store: Some(store.clone()), ..self }
    }

    /// Builds the cache, on the store named or in force.
    pub fn build(self) -> Cache<V> {
        let name = match self.version {
            1 => self.name,
            version => format!("{} v{version}", self.name),
        };
        let (space, name) = Space::named(&name, TypeId::of::<V>());
        Cache { id: Id { space, name }, store: self.store.unwrap_or_else(Store::current), options: self.options }
    }
}
