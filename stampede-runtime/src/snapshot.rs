//! How a run that outlives its caller comes by its arguments.
//!
//! `Snap::of(&argument).__snap(argument)` makes an owned copy of an argument; `.lend()` and then `.arg()` of the copy give the
//! body what its signature asks for. Which copy is made goes by type: inherent methods for what borrows in a known shape win
//! over the trait for references, and that wins over the trait for the rest, which is one autoref further away. The name is
//! one that no trait of the user's has, for that might be in scope, too.

use std::borrow::{Borrow, Cow};
use std::marker::PhantomData;

/// The kind of an argument.
pub struct Snap<A>(PhantomData<fn(A)>);

impl<A> Snap<A> {
    /// The kind of this argument.
    pub fn of(_: &A) -> Self {
        Self(PhantomData)
    }

    /// The argument once more, for a run that is started: a reference is copied, a value cloned.
    pub fn again(self, argument: &A) -> A
    where
        A: Again,
    {
        argument.clone()
    }
}

/// The copy of a `&T`.
#[derive(Debug)]
pub struct OfRef<T: ?Sized, O>(O, PhantomData<fn(&T)>);

/// The copy of an `Option<&T>`.
#[derive(Debug)]
pub struct OfOption<T: ?Sized, O>(Option<O>, PhantomData<fn(&T)>);

/// The copy of a `&[&T]` or `Vec<&T>`.
#[derive(Debug)]
pub struct OfRefs<T: ?Sized, O, W>(Vec<O>, PhantomData<fn(&T) -> W>);

/// How the body wants its references.
#[derive(Debug)]
pub struct AsSlice(());

/// How the body wants its references.
#[derive(Debug)]
pub struct AsVec(());

/// The copy of an argument by value: itself.
#[derive(Debug)]
pub struct OfValue<T>(T);

/// An argument for the body.
#[derive(Debug)]
pub struct Lent<A>(A);

/// References for the body, as a slice.
#[derive(Debug)]
pub struct LentSlice<'c, T: ?Sized>(Vec<&'c T>);

/// What borrows in a known shape.
impl<T: Snapshot + ?Sized> Snap<&[&T]> {
    /// An owned copy.
    pub fn __snap(self, argument: &[&T]) -> OfRefs<T, T::Owned, AsSlice> {
        OfRefs(argument.iter().map(|part| part.snapshot()).collect(), PhantomData)
    }
}

/// Likewise.
impl<T: Snapshot + ?Sized> Snap<Vec<&T>> {
    /// An owned copy.
    pub fn __snap(self, argument: Vec<&T>) -> OfRefs<T, T::Owned, AsVec> {
        OfRefs(argument.into_iter().map(T::snapshot).collect(), PhantomData)
    }
}

/// Likewise.
impl<T: Snapshot + ?Sized> Snap<Option<&T>> {
    /// An owned copy.
    pub fn __snap(self, argument: Option<&T>) -> OfOption<T, T::Owned> {
        OfOption(argument.map(T::snapshot), PhantomData)
    }
}

/// Likewise.
impl<T: ToOwned + ?Sized + 'static> Snap<Cow<'_, T>> {
    /// An owned copy.
    pub fn __snap(self, argument: Cow<'_, T>) -> OfValue<Cow<'static, T>> {
        OfValue(Cow::Owned(argument.into_owned()))
    }
}

/// Any other reference.
pub trait SnapRef<'a, T: ?Sized> {
    /// An owned copy.
    fn __snap(self, argument: &'a T) -> OfRef<T, T::Owned>
    where
        T: Snapshot;
}

impl<'a, T: ?Sized> SnapRef<'a, T> for Snap<&'a T> {
    fn __snap(self, argument: &'a T) -> OfRef<T, T::Owned>
    where
        T: Snapshot,
    {
        OfRef(argument.snapshot(), PhantomData)
    }
}

/// Whatever does not borrow.
pub trait SnapValue<T> {
    /// The argument itself.
    fn __snap(&self, argument: T) -> OfValue<T>
    where
        T: Portable;
}

impl<T> SnapValue<T> for Snap<T> {
    fn __snap(&self, argument: T) -> OfValue<T>
    where
        T: Portable,
    {
        OfValue(argument)
    }
}

impl<T: ?Sized, O: Borrow<T>> OfRef<T, O> {
    /// For the time of the body.
    pub fn lend(&self) -> Lent<&T> {
        Lent(self.0.borrow())
    }
}

impl<T: ?Sized, O: Borrow<T>> OfOption<T, O> {
    /// For the time of the body.
    pub fn lend(&self) -> Lent<Option<&T>> {
        Lent(self.0.as_ref().map(Borrow::borrow))
    }
}

impl<T: ?Sized, O: Borrow<T>> OfRefs<T, O, AsSlice> {
    /// For the time of the body.
    pub fn lend(&self) -> LentSlice<'_, T> {
        LentSlice(self.0.iter().map(Borrow::borrow).collect())
    }
}

impl<T: ?Sized, O: Borrow<T>> OfRefs<T, O, AsVec> {
    /// For the time of the body.
    pub fn lend(&self) -> Lent<Vec<&T>> {
        Lent(self.0.iter().map(Borrow::borrow).collect())
    }
}

impl<T> OfValue<T> {
    /// For the time of the body.
    pub fn lend(self) -> Lent<T> {
        Lent(self.0)
    }
}

impl<A> Lent<A> {
    /// What the body's signature asks for.
    pub fn arg(self) -> A {
        self.0
    }
}

impl<'c, T: ?Sized> LentSlice<'c, T> {
    /// What the body's signature asks for.
    pub fn arg(&self) -> &[&'c T] {
        &self.0
    }
}

/// What an owned copy can be made of.
#[diagnostic::on_unimplemented(
    message = "the run outlives its caller and takes a copy of each argument, and `{Self}` cannot be copied",
    label = "its target is not `Clone`, or what it owns is not `Send + 'static`",
    note = "derive `Clone` for it, pass it in an `Arc`, or write `inline` to run in the caller's task"
)]
pub trait Snapshot {
    /// The copy.
    type Owned: Borrow<Self> + Send + 'static;

    /// Makes the copy.
    fn snapshot(&self) -> Self::Owned;
}

#[diagnostic::do_not_recommend]
impl<T: ToOwned<Owned: Send + 'static> + ?Sized> Snapshot for T {
    type Owned = T::Owned;

    fn snapshot(&self) -> T::Owned {
        self.to_owned()
    }
}

/// What a task of its own can take along.
#[diagnostic::on_unimplemented(
    message = "the run is a task of its own and takes its arguments along, and `{Self}` cannot leave its thread",
    label = "not `Send`",
    note = "use types that are `Send` (`Arc` for `Rc`, `Mutex` for `RefCell`), or write `inline` to run in the caller's task"
)]
pub trait Portable: Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static> Portable for T {}

/// Arguments that a run can be started with more than once.
#[diagnostic::on_unimplemented(
    message = "the next run may need its arguments once more, and `{Self}` cannot be copied",
    label = "not `Clone`",
    note = "derive `Clone` for it, pass it in an `Arc`, or take it by reference and write `inline`"
)]
pub trait Again: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> Again for T {}
