//! What the attribute's output calls.

use std::any::TypeId;
use std::sync::Arc;

use serde::Serialize;

use crate::call::{Id, Whose};
use crate::entry::{Entry, FnEntry};
use crate::key::Origin;
use crate::launch::Detach;
use crate::output::Output;
use crate::policy::Options;
use crate::reply::{Reply, Value};
use crate::space::Site;
use crate::store::Store;

pub use crate::call::{Called, Target};
pub use std::any::type_name;
pub use std::boxed::Box;
pub use std::future::Future;
pub use std::option::Option;
pub use std::pin::Pin;
pub use std::time::Duration;
pub use std::vec::Vec;
pub use std::{concat, module_path};

/// Boxes a detached body.
pub fn detach<F>(body: F) -> Detach
where
    F: Future<Output = Output>
        + Send // or write `inline`, to run in the caller's task
        + 'static,
{
    Detach::new(Box::new(body))
}

/// What an expression for a duration comes to.
pub fn duration<D: IsDuration>(duration: D) -> Duration {
    duration.into_duration()
}

/// Types of durations: there is one.
#[diagnostic::on_unimplemented(
    message = "expected a duration, found `{Self}`",
    label = "not a `Duration`",
    note = "write a text such as \"5s\" or \"1m 30s\", or an expression of type `std::time::Duration`"
)]
pub trait IsDuration {
    /// The duration.
    fn into_duration(self) -> Duration;
}

impl IsDuration for Duration {
    fn into_duration(self) -> Duration {
        self
    }
}

/// Which cache a function has.
#[derive(Clone, Copy, Debug)]
pub struct Function<'c> {
    /// Where it stands.
    pub site: &'static Site,
    /// The type that it belongs to.
    pub owner: Option<&'static str>,
    /// Its instantiation.
    pub types: &'c [TypeId],
}

impl Whose for Function<'_> {
    #[cold]
    fn id(&self) -> Id {
        Id::of(self.site, self.types, self.owner)
    }

    #[inline]
    fn known(&self) -> Option<&Origin> {
        self.site.known(self.types)
    }
}

/// A part of a key.
pub fn part<T: KeyPart + ?Sized>(part: &T) -> T::Part<'_> {
    part.part()
}

/// What can be part of a key.
#[diagnostic::on_unimplemented(
    message = "the arguments, serialized, are the key, and `{Self}` cannot be serialized",
    label = "not `Serialize`",
    note = "derive `serde::Serialize` for it, leave it out by `skip(…)`, or name what the result depends on by `key = \"…\"`"
)]
pub trait KeyPart {
    /// The part.
    type Part<'p>: Serialize
    where
        Self: 'p;

    /// The part.
    fn part(&self) -> Self::Part<'_>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> KeyPart for T {
    type Part<'p>
        = &'p T
    where
        T: 'p;

    fn part(&self) -> &T {
        self
    }
}

/// What a companion gives.
pub fn entry<R, V: Value, E, D, K: Serialize>(
    target: &Target<'_, Function<'_>, K>,
    _: Reply<R, V, E, D>,
    options: Options<V>,
) -> FnEntry<R> {
    let store = target.store.cloned().unwrap_or_else(Store::current);
    FnEntry::new(Entry::new(target.whose.id(), store, target.key, options))
}

/// The default options of a function that replies so.
pub fn options<R, V, E, D>(_: Reply<R, V, E, D>) -> Options<V> {
    Options::default()
}

/// The name of what a function stands in, as far as something in the function tells.
pub fn place_of<T>(_: &T) -> &'static str {
    std::any::type_name::<T>()
}

/// The same for the type of an argument that has no name.
pub fn type_name_of_val<T: ?Sized>(_: &T) -> &'static str {
    std::any::type_name::<T>()
}

/// The codec of caches that name none.
#[cfg(feature = "tier")]
pub use crate::codec::MessagePack as DefaultCodec;

/// Stands in for the codec of caches that name none.
#[cfg(not(feature = "tier"))]
#[derive(Debug)]
pub struct FeatureTierIsOff;

/// The codec of caches that name none.
#[cfg(not(feature = "tier"))]
pub use self::FeatureTierIsOff as DefaultCodec;

/// What tells a type from every other, borrowing or not.
pub fn type_of<T: ?Sized>() -> TypeId {
    typeid::of::<T>()
}

/// The same for an argument whose type has no name.
pub fn type_of_val<T: ?Sized>(_: &T) -> TypeId {
    typeid::of::<T>()
}

/// A look at a store, for tests: how many flights its table holds, how many runs are under way, how many callers wait. It
/// keeps the table, and nothing that is stored.
pub fn watch(store: &Store) -> impl Fn() -> (usize, usize, usize) + Send + use<> {
    let flights = Arc::clone(store.flights());
    move || (flights.len(), flights.in_flight(), flights.waiting())
}
