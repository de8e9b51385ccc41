//! What functions return, and how one result reaches many callers.
//!
//! A reply is a plain value or a `Result`. Which of them is decided by type: an inherent method of [`Probe`] for `Result`
//! wins over the method of a trait for everything else, also behind an alias.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::nocache::NoCache;
use crate::output::{Given, Output, Seen};
use crate::refusal::{CircuitOpen, Timeout};
use crate::tally::Kind;

/// What can be kept and handed to many callers.
#[diagnostic::on_unimplemented(
    message = "a coalesced value is shared between callers, and `{Self}` cannot be",
    label = "not `Clone + Send + Sync + 'static`",
    note = "implement or derive `Clone`, or return `Arc<{Self}>`; the value must also be `Send`, `Sync` and own what it holds"
)]
pub trait Value: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Value for T {}

/// A reply that is stored whole.
#[derive(Debug)]
pub struct Plain(());

/// A `Result`, whose `Ok` is stored and whose `Err` is not.
#[derive(Debug)]
pub struct Fallible(());

/// What a function returns, how that divides into a value that may be stored and an error that may not, and how both reach
/// several callers.
///
/// All are parameters rather than associated types, and so are they in all that is made of them: a projection with a
/// `'static` bound could not be proved where a future is spawned.
#[expect(clippy::type_complexity, reason = "five parameters, one of them held")]
pub struct Returns<R, V, E, D, H> {
    share: H,
    reply: PhantomData<fn(D) -> (R, V, E)>,
}

impl<R, V, E, D, H: Copy> Clone for Returns<R, V, E, D, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, V, E, D, H: Copy> Copy for Returns<R, V, E, D, H> {}

/// What a function returns, with this way to share its errors.
pub fn returns<R, V, E, D, H>(_: Reply<R, V, E, D>, share: H) -> Returns<R, V, E, D, H>
where
    V: Value,
    E: Send + 'static,
    H: Share<E>,
{
    Returns { share, reply: PhantomData }
}

/// The way from a return type to what knows no types, and back.
pub trait Pack<R>: Copy + Send + 'static {
    /// The types in question.
    const KIND: Kind;

    /// What a body has returned.
    fn pack(self, output: R) -> Output;

    /// What a call returns that this value answers, if it does.
    fn copy(self, seen: Seen<'_>) -> Option<R>;

    /// What a call returns.
    fn unpack(self, given: Given) -> R;
}

impl<T, H> Pack<T> for Returns<T, T, Infallible, Plain, H>
where
    T: Value,
    H: Share<Infallible> + Send + 'static,
{
    const KIND: Kind = Kind::of::<T, Infallible, H>();

    fn pack(self, output: T) -> Output {
        Output::value(output)
    }

    #[expect(clippy::question_mark, reason = "it would be two more functions for each type")]
    #[inline]
    fn copy(self, Seen(entry): Seen<'_>) -> Option<T> {
        let Some(value) = entry.value::<T>() else { return None };
        Some(value.clone())
    }

    fn unpack(self, mut given: Given) -> T {
        match given.value() {
            Some(value) => value,
            None => given.give_up(),
        }
    }
}

impl<T, E, H> Pack<Result<T, E>> for Returns<Result<T, E>, T, E, Fallible, H>
where
    T: Value,
    E: Send + 'static,
    H: Share<E> + Send + 'static,
{
    const KIND: Kind = Kind::of::<T, E, H>();

    fn pack(self, output: Result<T, E>) -> Output {
        match output {
            Ok(value) => Output::value(value),
            Err(error) => match self.share.carried(&error) {
                Some(value) => Output::carried::<T>(value),
                None => Output::error::<E, H>(error),
            },
        }
    }

    #[expect(clippy::question_mark, reason = "it would be two more functions for each type")]
    #[inline]
    fn copy(self, Seen(entry): Seen<'_>) -> Option<Result<T, E>> {
        let Some(value) = entry.value::<T>() else { return None };
        Some(Ok(value.clone()))
    }

    fn unpack(self, mut given: Given) -> Result<T, E> {
        match given.value() {
            Some(value) => Ok(value),
            None => Err(given.error(self.share)),
        }
    }
}

/// What a body has returned, on its way to those who wait.
pub fn pack<R, P: Pack<R>>(returns: P, output: R) -> Output {
    returns.pack(output)
}

/// A return type with its parts and the way to divide it.
#[expect(clippy::type_complexity, reason = "four parameters, none of them held")]
pub struct Reply<R, V, E, D>(PhantomData<fn(D) -> (R, V, E)>);

impl<R, V, E, D> Reply<R, V, E, D> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

/// The reply, if its value can be kept.
pub const fn kept<R, V: Value, E, D>(reply: Reply<R, V, E, D>) -> Reply<R, V, E, D> {
    reply
}

/// The way that the reply's error can be shared.
pub const fn auto<R, V, E: ShareError<M>, D, M>(_: Reply<R, V, E, D>) -> Auto<M> {
    Auto(PhantomData)
}

impl<R, V, E, D> Clone for Reply<R, V, E, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, V, E, D> Copy for Reply<R, V, E, D> {}

/// Asks a return type what kind of reply it is.
#[derive(Debug)]
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// The question.
    pub const NEW: Self = Self(PhantomData);
}

impl<T, E> Probe<Result<T, E>> {
    /// The answer for a `Result`.
    pub const fn __reply(self) -> Reply<Result<T, E>, T, E, Fallible> {
        Reply::NEW
    }
}

impl<T, E: Deref<Target = dyn Error + Send + Sync>> Probe<Result<T, E>> {
    /// How to look into the error, where it can hold any.
    pub fn __find_error(self) -> AsError<E> {
        |error| Some(&**error)
    }
}

/// The answers for everything else.
pub trait ProbeOther<R> {
    /// The answer for everything but a `Result`.
    fn __reply(self) -> Reply<R, R, Infallible, Plain>;

    /// The answer for errors that are just themselves.
    fn __find_error<E>(self) -> AsError<E>;
}

impl<R> ProbeOther<R> for Probe<R> {
    fn __reply(self) -> Reply<R, R, Infallible, Plain> {
        Reply::NEW
    }

    fn __find_error<E>(self) -> AsError<E> {
        |_| None
    }
}

/// How an error reaches several callers.
pub trait Share<E>: Copy {
    /// An error in a form that several callers can take their share of.
    type Shared: Send + 'static;

    /// Brings an error that several callers wait for into that form.
    fn prepare(error: E) -> Self::Shared;

    /// One caller's share.
    fn share(self, shared: &Self::Shared) -> E;

    /// The value that the error carries as [`NoCache`], if it can hold any error there is, and does.
    fn carried<V: Value>(self, error: &E) -> Option<V>;

    /// What a caller gets who has waited for too long, where calls are bounded.
    fn timeout(self, _: Timeout) -> Option<E> {
        None
    }

    /// What a caller gets whose run may not start, where there is a breaker.
    fn circuit_open(self, _: CircuitOpen) -> Option<E> {
        None
    }
}

/// Which of the ways to share an error a type has.
pub struct Auto<M>(PhantomData<fn() -> M>);

impl<M> Clone for Auto<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Auto<M> {}

impl<M, E: ShareError<M>> Share<E> for Auto<M> {
    type Shared = E::Shared;

    fn prepare(error: E) -> E::Shared {
        error.prepare()
    }

    fn share(self, shared: &E::Shared) -> E {
        E::share(shared)
    }

    fn carried<V: Value>(self, error: &E) -> Option<V> {
        error.carried()
    }
}

/// Looks into an error for any error that it holds.
pub(crate) type AsError<E> = fn(&E) -> Option<&(dyn Error + 'static)>;

/// The way that the attribute's `share_error` names.
pub struct Named<E> {
    share: fn(&E) -> E,
    as_error: AsError<E>,
}

impl<E> Named<E> {
    /// By this function. `as_error` is [`Probe`]'s answer.
    pub const fn new<R, V, D>(_: Reply<R, V, E, D>, share: fn(&E) -> E, as_error: AsError<E>) -> Self {
        Self { share, as_error }
    }
}

impl<E> Clone for Named<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Named<E> {}

impl<E: Send + 'static> Share<E> for Named<E> {
    type Shared = E;

    fn prepare(error: E) -> E {
        error
    }

    fn share(self, shared: &E) -> E {
        (self.share)(shared)
    }

    fn carried<V: Value>(self, error: &E) -> Option<V> {
        (self.as_error)(error).and_then(carried)
    }
}

/// Errors that can reach several callers. `M` tells the ways apart.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` cannot be shared with the callers that wait for the same run",
    label = "not `Clone`",
    note = "derive `Clone` for it, wrap what is not `Clone` in an `Arc`, or say `share_error = path` with a `fn(&E) -> E`"
)]
pub trait ShareError<M>: Sized {
    /// See [`Share::Shared`].
    type Shared: Send + 'static;
    /// See [`Share::prepare`].
    fn prepare(self) -> Self::Shared;
    /// See [`Share::share`].
    fn share(shared: &Self::Shared) -> Self;
    /// See [`Share::carried`].
    fn carried<V: Value>(&self) -> Option<V>;
}

/// By `Clone`.
#[derive(Debug)]
pub struct ByClone(());

/// By a view: for types that can hold any error there is (`Box<dyn Error + Send + Sync>`, `anyhow::Error`,
/// `eyre::Report`).
#[derive(Debug)]
pub struct ByView(());

#[diagnostic::do_not_recommend]
impl<E: Clone + Send + 'static> ShareError<ByClone> for E {
    type Shared = E;

    fn prepare(self) -> E {
        self
    }

    fn share(shared: &E) -> E {
        shared.clone()
    }

    fn carried<V: Value>(&self) -> Option<V> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<E> ShareError<ByView> for E
where
    E: Deref<Target = dyn Error + Send + Sync> + From<View<E>> + Send + Sync + 'static,
{
    type Shared = View<E>;

    fn prepare(self) -> View<E> {
        View(Arc::new(self))
    }

    fn share(shared: &View<E>) -> E {
        View(Arc::clone(&shared.0)).into()
    }

    fn carried<V: Value>(&self) -> Option<V> {
        carried(&**self)
    }
}

/// One caller's view of an error that is shared: the same message and the same source chain.
pub struct View<E>(Arc<E>);

impl<E: Deref<Target = dyn Error + Send + Sync>> Display for View<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self.0, f)
    }
}

impl<E: Deref<Target = dyn Error + Send + Sync>> Debug for View<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self.0, f)
    }
}

impl<E: Deref<Target = dyn Error + Send + Sync>> Error for View<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (**self.0).source()
    }
}

/// Finds the value that an error of this kind carries as [`NoCache`], if it does.
fn carried<V: Value>(error: &(dyn Error + 'static)) -> Option<V> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(NoCache(value)) = error.downcast_ref() {
            return Some(V::clone(value));
        }
        next = error.source();
    }
    None
}
