//! Errors of the library's own: what a call can end in that its body did not say.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::reply::{Fallible, Reply, Share, Value};

/// A call took longer than its cache's `timeout`.
///
/// Functions with a `timeout` return a `Result` whose error implements `From<Timeout>`; `anyhow::Error`, `eyre::Report` and
/// `Box<dyn Error + Send + Sync>` do so as they are.
///
/// ```
/// use stampede::{Timeout, coalesce};
///
/// #[derive(Clone, Debug)]
/// enum DbError {
///     TooSlow,
/// }
///
/// impl From<Timeout> for DbError {
///     fn from(_: Timeout) -> Self {
///         Self::TooSlow
///     }
/// }
///
/// #[coalesce(ttl = "5s", timeout = "300ms")]
/// async fn load_user(id: u64) -> Result<String, DbError> {
///     Ok(format!("user {id}"))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeout {
    /// The name of the cache.
    pub cache: &'static str,
    /// How long the call was to take at most.
    pub after: Duration,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a call of `{}` took longer than {:?}", self.cache, self.after)
    }
}

impl Error for Timeout {}

/// A cache's circuit breaker is open: the body has failed too often in a row, and is left alone for a while.
///
/// Functions with a `breaker` return a `Result` whose error implements `From<CircuitOpen>`; `anyhow::Error`,
/// `eyre::Report` and `Box<dyn Error + Send + Sync>` do so as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitOpen {
    /// The name of the cache.
    pub cache: &'static str,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit of `{}` is open: its last runs have failed", self.cache)
    }
}

impl Error for CircuitOpen {}

/// Errors that can say that a call took too long.
#[diagnostic::on_unimplemented(
    message = "a call with a `timeout` may end in `stampede::Timeout`, and `{Self}` cannot be made from it",
    label = "not `From<stampede::Timeout>`",
    note = "implement `From<stampede::Timeout>` for `{Self}`"
)]
pub trait FromTimeout {
    /// The error.
    fn from_timeout(timeout: Timeout) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Timeout>> FromTimeout for E {
    fn from_timeout(timeout: Timeout) -> Self {
        timeout.into()
    }
}

/// Errors that can say that a circuit is open.
#[diagnostic::on_unimplemented(
    message = "a call with a `breaker` may end in `stampede::CircuitOpen`, and `{Self}` cannot be made from it",
    label = "not `From<stampede::CircuitOpen>`",
    note = "implement `From<stampede::CircuitOpen>` for `{Self}`"
)]
pub trait FromCircuitOpen {
    /// The error.
    fn from_circuit_open(open: CircuitOpen) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<CircuitOpen>> FromCircuitOpen for E {
    fn from_circuit_open(open: CircuitOpen) -> Self {
        open.into()
    }
}

/// Replies that know errors.
#[diagnostic::on_unimplemented(
    message = "this argument is about errors, and the function returns none",
    label = "the function has no error to return",
    note = "return a `Result`"
)]
pub trait Fails {}

impl Fails for Fallible {}

/// What a call's own errors become. Nothing, unless there can be some.
pub trait Refuse<E>: Copy {
    /// The error of a call that took too long.
    fn timeout(self, _: Timeout) -> Option<E> {
        None
    }

    /// The error of a call whose run may not start.
    fn circuit_open(self, _: CircuitOpen) -> Option<E> {
        None
    }
}

/// A way to share errors, and what the call's own become.
#[derive(Clone, Copy, Debug)]
pub struct Refusing<H, X> {
    pub(crate) share: H,
    pub(crate) refuse: X,
}

impl<E, H: Share<E>, X: Refuse<E>> Share<E> for Refusing<H, X> {
    type Shared = H::Shared;

    fn prepare(error: E) -> H::Shared {
        H::prepare(error)
    }

    fn share(self, shared: &H::Shared) -> E {
        self.share.share(shared)
    }

    fn carried<V: Value>(self, error: &E) -> Option<V> {
        self.share.carried(error)
    }

    fn timeout(self, timeout: Timeout) -> Option<E> {
        self.refuse.timeout(timeout.clone()).or_else(|| self.share.timeout(timeout))
    }

    fn circuit_open(self, open: CircuitOpen) -> Option<E> {
        self.refuse.circuit_open(open.clone()).or_else(|| self.share.circuit_open(open))
    }
}

/// By a function that the attribute's output names: so it is missed once, where the argument stands.
pub struct By<T, E>(fn(T) -> E);

impl<T, E> Clone for By<T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, E> Copy for By<T, E> {}

impl<E> Refuse<E> for By<Timeout, E> {
    fn timeout(self, timeout: Timeout) -> Option<E> {
        Some(self.0(timeout))
    }
}

impl<E> Refuse<E> for By<CircuitOpen, E> {
    fn circuit_open(self, open: CircuitOpen) -> Option<E> {
        Some(self.0(open))
    }
}

/// For a function with a `timeout`.
pub fn with_timeout<R, V, E, D, H>(_: Reply<R, V, E, D>, share: H) -> Refusing<H, By<Timeout, E>>
where
    D: MayTimeOut<E>,
{
    Refusing { share, refuse: By(D::from_timeout) }
}

/// For a function with a `breaker`.
pub fn with_breaker<R, V, E, D, H>(_: Reply<R, V, E, D>, share: H) -> Refusing<H, By<CircuitOpen, E>>
where
    D: MayBeRefused<E>,
{
    Refusing { share, refuse: By(D::from_circuit_open) }
}

/// For a function with an `error_ttl`.
pub fn with_errors<R, V, E, D: Fails, H>(_: Reply<R, V, E, D>, share: H) -> H {
    share
}

/// Replies that can say that a call took too long.
#[diagnostic::on_unimplemented(
    message = "a call with a `timeout` may end without a value, and this function has no error to say so",
    label = "the function returns no `Result`",
    note = "return a `Result` whose error implements `From<stampede::Timeout>`"
)]
pub trait MayTimeOut<E> {
    /// The error.
    fn from_timeout(timeout: Timeout) -> E;
}

impl<E: FromTimeout> MayTimeOut<E> for Fallible {
    fn from_timeout(timeout: Timeout) -> E {
        E::from_timeout(timeout)
    }
}

/// Replies that can say that a circuit is open.
#[diagnostic::on_unimplemented(
    message = "a call with a `breaker` may end without a value, and this function has no error to say so",
    label = "the function returns no `Result`",
    note = "return a `Result` whose error implements `From<stampede::CircuitOpen>`"
)]
pub trait MayBeRefused<E> {
    /// The error.
    fn from_circuit_open(open: CircuitOpen) -> E;
}

impl<E: FromCircuitOpen> MayBeRefused<E> for Fallible {
    fn from_circuit_open(open: CircuitOpen) -> E {
        E::from_circuit_open(open)
    }
}

/// By the errors that a [`Cache`](crate::Cache) has of its own, as its type says.
pub struct Own<X>(PhantomData<fn() -> X>);

impl<X> Own<X> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<X> Clone for Own<X> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<X> Copy for Own<X> {}

/// The errors that a [`Cache`](crate::Cache) has of its own: none, one, or two.
pub trait OwnErrors {
    /// With a timeout besides.
    type OrTimeout;
    /// With a breaker besides.
    type OrCircuitOpen;
}

impl OwnErrors for Infallible {
    type OrTimeout = Timeout;
    type OrCircuitOpen = CircuitOpen;
}

impl OwnErrors for Timeout {
    type OrTimeout = Self;
    type OrCircuitOpen = (Self, CircuitOpen);
}

impl OwnErrors for CircuitOpen {
    type OrTimeout = (Timeout, Self);
    type OrCircuitOpen = Self;
}

impl OwnErrors for (Timeout, CircuitOpen) {
    type OrTimeout = Self;
    type OrCircuitOpen = Self;
}

impl<E> Refuse<E> for Own<Infallible> {}

impl<E: FromTimeout> Refuse<E> for Own<Timeout> {
    fn timeout(self, timeout: Timeout) -> Option<E> {
        Some(E::from_timeout(timeout))
    }
}

impl<E: FromCircuitOpen> Refuse<E> for Own<CircuitOpen> {
    fn circuit_open(self, open: CircuitOpen) -> Option<E> {
        Some(E::from_circuit_open(open))
    }
}

impl<E: FromTimeout + FromCircuitOpen> Refuse<E> for Own<(Timeout, CircuitOpen)> {
    fn timeout(self, timeout: Timeout) -> Option<E> {
        Some(E::from_timeout(timeout))
    }

    fn circuit_open(self, open: CircuitOpen) -> Option<E> {
        Some(E::from_circuit_open(open))
    }
}
