//! What a body can say about its own run.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::time::Duration;

use crate::context;

/// A value for those who wait, and nobody else: it is not stored.
///
/// Inside a coalesced function, say it the way that the return type allows:
///
/// - `return NoCache(value).into();` where the function returns a `Result` or an `Option`,
/// - `return NoCache(value).into_inner();` where it returns anything else,
/// - `Err(NoCache(value).into())`, also through `?`, where the error is `anyhow::Error`, `eyre::Report` or
///   `Box<dyn Error + Send + Sync>`: the caller gets `Ok(value)`. The value has to be of the very type that the function
///   returns (`NoCache(5u64)`, not `NoCache(5)`), for nothing infers it here; else the caller gets an error that says so.
///
/// Callers that already wait get the value; the next call runs the body again. `NoCache` itself is never seen outside.
/// Outside a coalesced function it changes nothing. A value already stored stays until it expires.
///
/// To say the same from somewhere below the body, call [`no_cache`].
pub struct NoCache<T>(pub T);

impl<T> NoCache<T> {
    /// The value, and the word to the current run that it is not to be stored.
    pub fn into_inner(self) -> T {
        no_cache();
        self.0
    }
}

impl<T, E> From<NoCache<T>> for Result<T, E> {
    fn from(value: NoCache<T>) -> Self {
        Ok(value.into_inner())
    }
}

impl<T> From<NoCache<T>> for Option<T> {
    fn from(value: NoCache<T>) -> Self {
        Some(value.into_inner())
    }
}

// Not derived: any value can be carried as an error, whether or not it can be printed.
impl<T> Debug for NoCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoCache(..)")
    }
}

impl<T> Display for NoCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = std::any::type_name::<T>();
        write!(f, "`NoCache` of a `{ty}`, which is not what the coalesced function returns: name the type of the value")
    }
}

impl<T> Error for NoCache<T> {}

/// Keeps the result of the current run out of the store, from anywhere below the body of a coalesced function.
///
/// Callers that wait get the result. Outside a run, and in tasks that the body has spawned, this does nothing.
pub fn no_cache() {
    if let Some(run) = context::run() {
        run.no_cache();
    }
}

/// Sets for how long the result of the current run is stored, from anywhere below the body of a coalesced function: the
/// `expires_in` of a token, say.
///
/// It takes the place of the function's `ttl`, also where that is absent; the store's `max_ttl` still caps it, and zero
/// keeps the result out of the store. The last word counts. Outside a run, and in tasks that the body has spawned, this
/// does nothing.
pub fn store_for(ttl: Duration) {
    if let Some(run) = context::run() {
        run.store_for(ttl);
    }
}

/// Whether the current run has nobody waiting for it: it refreshes a value in the background, or its callers have left.
///
/// The answer may change while a body runs. Outside a run, and in tasks that the body has spawned, it is `false`.
pub fn is_background() -> bool {
    context::run().is_some_and(|run| run.waiters() == 0)
}
