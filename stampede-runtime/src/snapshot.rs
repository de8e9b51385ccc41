//! How a run that outlives its caller comes by its arguments.
//!
//! `Snap(argument).snap()` makes an owned copy of an argument, and `copy.lend()` gives the body what its signature asks
//! for. Which copy is made goes by type: inherent methods for what borrows win over the method of a trait for the rest.

use std::borrow::{Borrow, Cow};

/// An argument about to be copied.
#[derive(Debug)]
pub struct Snap<A>(pub A);

/// The copy of a `&T`.
#[derive(Debug)]
pub struct OfRef<T: ToOwned + ?Sized>(T::Owned);

/// The copy of an `Option<&T>`.
#[derive(Debug)]
pub struct OfOption<T: ToOwned + ?Sized>(Option<T::Owned>);

/// The copy of an argument by value: itself.
#[derive(Debug)]
pub struct OfValue<T>(T);

impl<T: ToOwned + ?Sized> Snap<&T> {
    /// An owned copy.
    pub fn snap(self) -> OfRef<T> {
        OfRef(self.0.to_owned())
    }
}

impl<T: ToOwned + ?Sized> Snap<Option<&T>> {
    /// An owned copy.
    pub fn snap(self) -> OfOption<T> {
        OfOption(self.0.map(T::to_owned))
    }
}

impl<T: ToOwned + ?Sized + 'static> Snap<Cow<'_, T>> {
    /// An owned copy.
    pub fn snap(self) -> OfValue<Cow<'static, T>> {
        OfValue(Cow::Owned(self.0.into_owned()))
    }
}

/// Whatever does not borrow.
pub trait SnapValue<T> {
    /// The argument itself.
    fn snap(self) -> OfValue<T>;
}

impl<T: Send + 'static> SnapValue<T> for Snap<T> {
    fn snap(self) -> OfValue<T> {
        OfValue(self.0)
    }
}

impl<T: ToOwned + ?Sized> OfRef<T> {
    /// What the body's signature asks for.
    pub fn lend(&self) -> &T {
        self.0.borrow()
    }
}

impl<T: ToOwned + ?Sized> OfOption<T> {
    /// What the body's signature asks for.
    pub fn lend(&self) -> Option<&T> {
        self.0.as_ref().map(Borrow::borrow)
    }
}

impl<T> OfValue<T> {
    /// What the body's signature asks for.
    pub fn lend(self) -> T {
        self.0
    }
}

/// An argument once more, for a run that is started: a reference is copied, a value cloned.
pub fn again<A: Again>(argument: &A) -> A {
    argument.clone()
}

/// Arguments that a run can be started with more than once.
#[diagnostic::on_unimplemented(
    message = "a coalesced function takes copies of its arguments, and `{Self}` cannot be copied",
    label = "not `Clone`",
    note = "implement `Clone` for it, wrap it in an `Arc`, or take it by reference and say `inline`"
)]
pub trait Again: Clone {}

impl<T: Clone> Again for T {}
