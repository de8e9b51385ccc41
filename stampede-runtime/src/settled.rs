//! Errors at rest: in a flight for those who wait, and (`error_ttl`) in the store for those who come later.

use std::any::{Any, TypeId};
use std::mem;

use crate::reply::Share;
use crate::sync::Mutex;

/// An error of some type, as a [`Settled`]. Behind a lock, for it need not be `Sync`.
pub(crate) struct AnyError {
    settled: Mutex<Box<dyn Any + Send>>,
    share: fn(&mut dyn Any),
}

/// An error at rest.
enum Settled<E, S> {
    /// For the one caller who waits, as it came. Nothing once it has been taken.
    Alone(Option<E>),
    /// For several: the form that each can take a share of.
    Shared(S),
}

impl AnyError {
    /// An error as it came: for one caller.
    pub(crate) fn new<E: Send + 'static, H: Share<E>>(error: E) -> Self {
        let settled: Settled<E, H::Shared> = Settled::Alone(Some(error));
        Self { settled: Mutex::new(Box::new(settled)), share: share::<E, H> }
    }

    /// The same for several.
    pub(crate) fn shared(self) -> Self {
        (self.share)(&mut **self.settled.lock());
        self
    }

    /// The type of errors that a call of this kind can take.
    pub(crate) const fn type_of<E: Send + 'static, H: Share<E>>() -> TypeId {
        TypeId::of::<Settled<E, H::Shared>>()
    }

    /// Whether it is of this type. Runs none of the user's code.
    pub(crate) fn is(&self, ty: TypeId) -> bool {
        (**self.settled.lock()).type_id() == ty
    }

    /// One caller's share, if it is of this type.
    pub(crate) fn take<E: Send + 'static, H: Share<E>>(&self, share: H) -> Option<E> {
        match self.settled.lock().downcast_mut::<Settled<E, H::Shared>>()? {
            Settled::Alone(error) => error.take(),
            Settled::Shared(shared) => Some(share.share(shared)),
        }
    }
}

fn share<E: Send + 'static, H: Share<E>>(settled: &mut dyn Any) {
    if let Some(settled) = settled.downcast_mut::<Settled<E, H::Shared>>()
        && let Settled::Alone(Some(error)) = mem::replace(settled, Settled::Alone(None))
    {
        *settled = Settled::Shared(H::prepare(error));
    }
}
