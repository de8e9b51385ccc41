//! One attribute against cache stampedes.
//!
//! `#[coalesce(ttl = "5s")]` on an async function gives its callers one run per key, a stored result, and an origin that
//! never sees a stampede: not when a hot key expires, not when the body fails, not when the client that started the work
//! hangs up.
//!
//! ```
//! use stampede::coalesce;
//!
//! #[coalesce(ttl = "5s", key = "id")]
//! async fn load_user(pool: &Pool, id: u64) -> Result<User, DbError> {
//!     pool.query(id).await
//! }
//! # #[derive(Clone)] struct Pool;
//! # #[derive(Clone, Debug, PartialEq)] struct User(u64);
//! # #[derive(Clone, Debug)] struct DbError;
//! # impl Pool { async fn query(&self, id: u64) -> Result<User, DbError> { Ok(User(id)) } }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), DbError> {
//! # let pool = Pool;
//! let (a, b) = tokio::try_join!(load_user(&pool, 7), load_user(&pool, 7))?; // one query
//! assert_eq!(a, b);
//! load_user_entry(7).invalidate().await; // what is stored for a key is voided
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! - [`coalesce`]: the attribute and its arguments.
//! - [`Timeout`], [`CircuitOpen`]: the errors of the library's own.
//! - [`NoCache`], [`no_cache`], [`store_for`], [`is_background`]: what a body can say about its own run.
//! - [`fresh`], [`no_stale`], [`uncached`]: what a caller can ask of a single call.
//! - [`FnEntry`], [`Entry`]: what is stored for a key, to be read, written and voided by hand.
//! - [`Store`]: where values are kept, how many, and what has happened so far.
//! - [`Cache`]: the same without the macro.
//! - [How it works](https://github.com/stampede-rs/stampede/blob/main/docs/how-it-works.md): from the call to its answer, in
//!   five minutes.
//!
//! # Concurrent callers, errors, panics, cancellation
//!
//! All callers of a key share one run, in a task of its own with copies of the arguments. Value, error or panic reaches
//! everyone who waited. Dropping a call gives up the caller's place and nothing else: a run whose value will be stored goes
//! on, and one whose result nobody can use any more is cancelled.
//!
//! # When not to use it
//!
//! Where the body has effects that must happen at every call; where the answer depends on who asks and the key does not;
//! where a cache is slower than the body.
//!
//! # Memory
//!
//! Values live in a bounded store; runs under way do not, so eviction cannot lose or double one. See
//! [`StoreBuilder::max_entries`] and [`StoreBuilder::max_weight`].
//!
//! # Features
//!
//! - `http`: [`http::CacheLayer`](https://docs.rs/stampede-http), for axum, hyper and other tower services.
//! - `redis`: [`redis::Redis`](https://docs.rs/stampede-redis), a tier that a fleet shares, on Redis or Valkey; with
//!   `redis-tls`, `redis-cluster` and `redis-sentinel` for servers of these kinds.
//! - `test-util`: TTLs follow tokio's clock, paused or not. For dev-dependencies.

/// Gives an async function one run per key, and its callers a stored result.
///
/// # Arguments
///
/// Durations `D` are `"5s"`, `"1m 30s"`, `"250ms"` (units ns us ms s m h d), or any expression of type `Duration`,
/// evaluated when a call may have to run.
///
/// - `ttl = D`: how long a value is fresh, from the moment its run ends. Absent or zero: coalesce only, nothing is stored.
/// - `key = "e1, e2"`: expressions over the arguments whose values, serialized in order, are the key. Default: every
///   argument but `self`.
/// - `skip(a, b)`: leaves these arguments out of the default key. `skip(self)` says that all objects of a type share.
/// - `stale_while_revalidate = D`: after `ttl`, for this long, callers get the old value at once, and one background run
///   refreshes it. With `inline`, the first caller waits for its own run, and the others get the old value.
/// - `stale_if_error = D`: after `ttl`, for this long, a run that gives an error, panics or takes too long is answered with
///   the old value, for everyone who waits. Both windows count from the end of the TTL, as in RFC 5861.
/// - `retry_after = D`: after a failed or unstored run, no further one for this key for this long, while an old value
///   can be served. Default: 1 s.
/// - `refresh_ahead = p`, between 0 and 1: the first hit after this share of the TTL starts a background run.
/// - `xfetch = β`, above 0: hits start a background run at random, iff now − δ·β·ln(u) ≥ expiry for a random u in (0, 1] and
///   the run time δ of that very value (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention,
///   VLDB 2015). 1 is what the authors recommend; more is earlier. Not together with `refresh_ahead`.
/// - `jitter = f`, from 0 to below 1: up to this share of it is subtracted, at random, from each TTL when a value is stored.
/// - `timeout = D`: bounds the whole call, whether it waits for its own run or another's. The error implements
///   `From<`[`Timeout`]`>`. See [below](#time).
/// - `soft_timeout = D`, shorter than `timeout`: if there is an old value within a stale window, that is the answer after
///   this long, and the run goes on. Without one it has no effect.
/// - `run_limit = D`: a run older than this is dropped and counted as a timeout; those who still wait share one next run.
///   Default: the larger of 5 min and ten times the `timeout`.
/// - `error_ttl = D`: errors are stored too, for this long, in memory, where no value is that can still be served. Panics
///   are not. All callers then get a share of the error, the first one, too.
/// - `breaker(failures = n, reset_after = D)`: after so many failed runs in a row, of whatever key, none starts for this
///   long. The error implements `From<`[`CircuitOpen`]`>`. See [below](#the-breaker).
/// - `tags = "e1, e2"`: expressions over the arguments that give strings; [`Store::invalidate_tag`] voids all that bear one.
/// - `cache_if = f`: `fn(&Value) -> bool`; stores only what it accepts.
/// - `share_error = f`: `fn(&E) -> E`, for errors that are neither `Clone` nor one of the types that hold any error.
/// - `weight = f`: `fn(&Value) -> u32`, for stores bounded by weight. Default: 1.
/// - `store = expr`: the store to use, anything that is, or derefs to, a [`Store`]. Default: the one in force.
/// - `name = "…"`: what the cache is called. Default: module path, the type it belongs to, function.
/// - `version = n`: part of the cache's identity.
/// - `entry = name`: renames the companion, `entry = false` leaves it out. Default: `<function>_entry`.
/// - `inline`: runs in the first caller's task instead of a task of its own; for arguments that cannot be copied and bodies
///   that are not `Send`.
/// - `crate = path`: where stampede is, if it is renamed or re-exported. Default: `::stampede`.
///
/// What is given as an expression is checked when it is used: a duration of zero is off (for `run_limit`, the default), and
/// so is a share or β out of its range.
///
/// # Time
///
/// A call with a `timeout` ends in time, in [`Timeout`] or in an old value within a stale window. It leaves its run, which
/// goes on up to the `run_limit` if its value will be stored; with `inline` the body goes with its caller. That calls leave
/// says nothing about the run: the next call joins it, and it is no failure before its limit. Calls that are `uncached` are
/// bounded as well. A `soft_timeout` that is not shorter than the `timeout` has no effect.
///
/// # Failures
///
/// A run fails if it gives an error, panics, or reaches its `run_limit`. Where an old value is left, it is the answer for
/// all who wait but those of [`no_stale`] and [`fresh`], the call counts as stale, and the key has no next run before
/// `retry_after`; the failure shows in [`Runs`] and in the log. What was voided while the run was under way is not left.
///
/// # The breaker
///
/// There is one for each cache of a store. A run that gives a value, stored or not, is a success; failures are as above;
/// cancelled runs are neither. After so many failures in a row it is open: a fresh value is still the answer, a flight under
/// way can still be joined, and every other call gets a value within a stale window or [`CircuitOpen`]. After `reset_after`
/// one run probes, and its success closes the breaker; a probe that is lost lets the next run be one. Calls that are
/// [`uncached`] are neither refused nor counted; those of a [bypassed](Store::bypass) store are both. Each change is logged.
///
/// # The companion
///
/// Beside `load_user` stands `load_user_entry`, which takes those arguments that key, store and options mention, in the
/// function's order, and gives an [`FnEntry`]: what is stored for that key.
///
/// # Arguments and values
///
/// A run may outlive the caller that started it, so it works on copies of the arguments: `&str` becomes `String`, `&[T]`
/// becomes `Vec<T>`, `&T` needs `T: Clone`, values are cloned; within `Option`, `Vec`, `Cow` and slices, references are
/// copied likewise. All are `Send + 'static`. What borrows in another way (`Row<'_>`) wants `inline`. The call keeps its own
/// by reference meanwhile, so it is `Send` if they are `Sync`. `&mut` is refused. What is stored (`T`, or the `T` of a
/// `Result<T, E>`) is `Clone + Send + Sync + 'static`.
///
/// An argument may be a pattern, and the key name its parts: `key = "x"` for `Point { x, y }: Point`. Collections without an
/// order (`HashMap`, `HashSet`) are no parts of a key: two that are equal may be walked in different orders, and make two
/// keys. They are refused where the signature shows them.
///
/// # Methods, traits, generic types
///
/// A method says how its objects are told apart: `key = "self.id, …"`, a `store` of their own, or `skip(self)` if they may
/// share. In the impl of a trait (native, or with `async_trait` around), there can be no companion and no helper beside the
/// method: say `entry = false`. The body then stands within the call, so it cannot call itself.
///
/// Each instantiation of a generic function or type has values of its own. A function without a receiver in a generic impl
/// has to say `Self` (in its signature, its body or its key) if it is to use the impl's types.
///
/// # Concurrent callers
///
/// They wait for the one run and share its value, error or panic. Recursion is fine, with other keys: a run that waits for
/// itself panics with the chain of names.
///
/// # Panics
///
/// Calls panic if their run does, with the same message; if it waits for itself; and if there is no tokio runtime to run it
/// in, or one without timers (with `inline`, any executor will do: the limit of a run is then looked at when it is polled).
///
/// # Cancel safety
///
/// Dropping a call gives up the caller's place and nothing else. A run whose value will be stored is finished; one whose
/// value nobody can use any more is cancelled. With `inline`, dropping the caller that runs the body drops the body, and one
/// of those who wait starts its own.
///
/// # Examples
///
/// ```
/// use stampede::{NoCache, coalesce};
///
/// #[derive(Clone)]
/// struct Weather {
///     region: String,
/// }
///
/// impl Weather {
///     /// Kept for ten minutes, served for another hour while it is refreshed.
///     #[coalesce(ttl = "10m", stale_while_revalidate = "1h", key = "self.region, city")]
///     async fn temperature(&self, city: &str) -> Option<i32> {
///         match city {
///             "Atlantis" => None,                      // is stored, too
///             "Nowhere" => NoCache(0).into(),          // is not
///             _ => Some(21),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let weather = Weather { region: "eu".into() };
/// assert_eq!(weather.temperature("Lisbon").await, Some(21));
/// weather.temperature_entry("Lisbon").put(Some(25)).await;
/// assert_eq!(weather.temperature("Lisbon").await, Some(25));
/// # }
/// ```
pub use stampede_macros::coalesce;
#[doc(hidden)]
pub use stampede_runtime::__private;
pub use stampede_runtime::{
    Cache, CacheBuilder, Calls, CircuitOpen, Entry, FnEntry, InstallError, NoCache, Runs, Scope, Stats, Store,
    StoreBuilder, TierStats, Timeout, Wrapped, codec, event, fresh, is_background, no_cache, no_stale, store_for,
    uncached,
};

#[cfg(feature = "metrics")]
pub use stampede_runtime::metrics;

#[cfg(feature = "tier")]
pub use stampede_runtime::tier;

/// HTTP: a tower layer for axum, hyper and other services. With the feature `http`.
#[cfg(feature = "http")]
pub use stampede_http as http;

/// A tier that a fleet shares, on Redis or Valkey. With the feature `redis`.
#[cfg(feature = "redis")]
pub use stampede_redis as redis;

/// The examples of the README are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What must not compile, by its error: an option that gives calls an error of its own needs a type to say it with.
///
/// ```compile_fail,E0277
/// #[stampede::coalesce(ttl = "5s", timeout = "1s")]
/// async fn plain(id: u64) -> u64 { id }
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Clone)] struct E;
/// #[stampede::coalesce(ttl = "5s", timeout = "1s")]
/// async fn other_error(id: u64) -> Result<u64, E> { Ok(id) }
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Clone)] struct E;
/// impl From<stampede::Timeout> for E { fn from(_: stampede::Timeout) -> Self { E } }
/// #[stampede::coalesce(ttl = "5s", timeout = "1s", breaker(failures = 5, reset_after = "30s"))]
/// async fn half(id: u64) -> Result<u64, E> { Ok(id) }
/// ```
///
/// ```compile_fail,E0277
/// #[stampede::coalesce(ttl = "5s", error_ttl = "1s")]
/// async fn no_errors(id: u64) -> Option<u64> { Some(id) }
/// ```
///
/// ```compile_fail,E0277
/// #[stampede::coalesce(ttl = "5s", tags = "id")]
/// async fn no_text(id: u64) -> u64 { id }
/// ```
///
/// ```compile_fail,E0599
/// # async fn f() {
/// let second = std::time::Duration::from_secs(1);
/// let cache = stampede::Cache::<u64>::builder("bounded").timeout(second).build();
/// cache.get_with(&1, || async { 1 }).await;
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # async fn f() {
/// let second = std::time::Duration::from_secs(1);
/// let cache = stampede::Cache::<u64>::builder("guarded").timeout(second).breaker(5, second).build();
/// let answer: Result<u64, stampede::Timeout> = cache.try_get_with(&1, || async { Ok(1) }).await;
/// # }
/// ```
#[cfg(doctest)]
struct Refused;
