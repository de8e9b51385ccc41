//! Caches without the macro.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use crate::builder::CacheBuilder;
use crate::call::{Called, Id, Target, call};
use crate::entry::Entry;
use crate::launch::Detached;
use crate::policy::Options;
use crate::refusal::{Own, Refuse, Refusing};
use crate::reply::{Auto, Fallible, Pack, Plain, Reply, Returns, ShareError, Value, auto, pack, returns};
use crate::store::Store;
use crate::support::detach;
use crate::tags::{Tag, TagText};

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
///
/// # Errors of its own
///
/// `X` says which errors a call can end in that the body did not give: none unless told; [`Timeout`](crate::Timeout) after
/// [`CacheBuilder::timeout`], [`CircuitOpen`](crate::CircuitOpen) after [`CacheBuilder::breaker`], and a pair of them after
/// both. Such a cache has no `get_with`, for that knows no errors, and the error type of its `try_get_with` implements
/// `From` of each.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::time::Duration;
/// use stampede::{Cache, Timeout};
///
/// let users: Cache<String, Timeout> =
///     Cache::builder("users").ttl(Duration::from_secs(5)).timeout(Duration::from_millis(300)).build();
/// let user = users.try_get_with(&7, || async { std::io::Result::Ok("Ada".to_owned()).map_err(Into::into) });
/// let user: Result<String, Box<dyn std::error::Error + Send + Sync>> = user.await;
/// assert_eq!(user?, "Ada");
/// # Ok(()) }
/// ```
pub struct Cache<V, X = Infallible> {
    pub(crate) id: Id,
    pub(crate) store: Store,
    pub(crate) options: Options<V>,
    pub(crate) own_errors: PhantomData<fn() -> X>,
}

impl<V, X> Clone for Cache<V, X> {
    fn clone(&self) -> Self {
        Self { id: self.id, store: self.store.clone(), options: self.options.clone(), own_errors: PhantomData }
    }
}

impl<V, X> fmt::Debug for Cache<V, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.id.name).finish_non_exhaustive()
    }
}

impl<V: Value> Cache<V> {
    /// Starts the description of a cache. The name tells it from other caches of the store.
    pub fn builder(name: &str) -> CacheBuilder<V> {
        CacheBuilder::new(name)
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
        ({
            let called = self.call(key, Reply::<V, V, Infallible, Plain>::NEW, init);
            match called {
                Called::Hit(value) => return value,
                Called::Going(call) => call,
            }
        })
        .await
    }
}

impl<V: Value, X> Cache<V, X> {
    /// [`get_with`](Cache::get_with) for bodies that may fail. A value is stored, an error is not: it reaches everybody who waits for the run.
    ///
    /// The error is `Clone`, or one of the types that hold any error (`anyhow::Error`, `eyre::Report`,
    /// `Box<dyn Error + Send + Sync>`); of those, a caller who was alone gets the original, and several get views with the
    /// same message and source chain.
    ///
    /// # Errors
    ///
    /// Those of the run, and those that the cache has of its own: see [there](Self#errors-of-its-own).
    ///
    /// # Panics
    ///
    /// If the run does, if it waits for itself, or if there is no tokio runtime to run it.
    ///
    /// # Cancel safety
    ///
    /// As [`get_with`](Cache::get_with).
    pub async fn try_get_with<K, S, F, E, M>(&self, key: &K, init: S) -> Result<V, E>
    where
        K: Serialize + ?Sized,
        S: FnMut() -> F,
        F: Future<Output = Result<V, E>> + Send + 'static,
        E: ShareError<M> + Send + 'static,
        M: 'static,
        X: 'static,
        Own<X>: Refuse<E>,
    {
        ({
            let called = self.call(key, Reply::<Result<V, E>, V, E, Fallible>::NEW, init);
            match called {
                Called::Hit(result) => return result,
                Called::Going(call) => call,
            }
        })
        .await
    }

    fn call<K, R, E, D, M, S, F>(
        &self,
        key: &K,
        reply: Reply<R, V, E, D>,
        mut start: S,
    ) -> Called<R, impl Future<Output = R>>
    where
        K: Serialize + ?Sized,
        R: 'static,
        E: ShareError<M> + Send + 'static,
        Returns<R, V, E, D, Refusing<Auto<M>, Own<X>>>: Pack<R>,
        M: 'static,
        X: 'static,
        Own<X>: Refuse<E>,
        S: FnMut() -> F,
        F: Future<Output = R> + Send + 'static,
    {
        let returns = returns(reply, Refusing { share: auto(reply), refuse: Own::<X>::NEW });
        let options = || self.options.clone();
        let start = move |returns| {
            let body = start();
            detach(async move { pack(returns, body.await) })
        };
        call(&Target { whose: self.id, store: Some(&self.store), key: &key }, returns, Detached, options, start)
    }

    /// What is stored under a key, to be read, written and voided by hand.
    pub fn entry<K: Serialize + ?Sized>(&self, key: &K) -> Entry<V> {
        Entry::new(self.id, self.store.clone(), key, self.options.clone())
    }

    /// The same cache, whose values bear these tags besides: [`Store::invalidate_tag`] voids them with all others of that
    /// tag. For tags that the key decides; those that all values bear are told to the [builder](CacheBuilder::tags).
    ///
    /// What is found in the store is an answer whatever its tags; the tags are those of runs that this handle's calls start,
    /// and of values that its entries put.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let users = stampede::Cache::<String>::builder("tagged users").ttl(std::time::Duration::from_secs(5)).build();
    /// let tenant = 7;
    /// let user = users.tagged([format!("tenant:{tenant}")]).get_with(&(tenant, 1), || async { "Ada".to_owned() }).await;
    /// assert_eq!(users.entry(&(tenant, 1)).get().await, Some(user));
    /// stampede::Store::current().invalidate_tag("tenant:7").await;
    /// assert_eq!(users.entry(&(tenant, 1)).get().await, None);
    /// # }
    /// ```
    #[must_use = "the cache itself stays as it is"]
    pub fn tagged<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<Tag> = tags.into_iter().map(|tag| tag.tag()).collect();
        let cache = self.clone();
        Self { options: cache.options.tags(&tags), ..cache }
    }
}
