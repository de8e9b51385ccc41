//! Errors at rest: in a flight for those who wait, and (`error_ttl`) in the store for those who come later.

use std::any::{Any, TypeId};

use crate::reply::Share;
use crate::sync::Mutex;

/// An error of some type, as a [`Settled`]. Behind a lock, for it need not be `Sync`.
pub(crate) struct AnyError(Mutex<Box<dyn Any + Send>>);

/// An error at rest.
enum Settled<E, S> {
    /// For the one caller who waits, as it came.
    Alone(Option<E>),
    /// For several: the form that each can take a share of.
    Shared(S),
}

impl AnyError {
    /// An error for one caller, as it is, or for several.
    pub(crate) fn new<E: Send + 'static, H: Share<E>>(error: E, alone: bool) -> Self {
        let settled = if alone { Settled::Alone(Some(error)) } else { Settled::Shared(H::prepare(error)) };
        Self(Mutex::new(Box::new(settled)))
    }

    /// The type of errors that a call of this kind can take.
    pub(crate) fn type_of<E: Send + 'static, H: Share<E>>() -> TypeId {
        TypeId::of::<Settled<E, H::Shared>>()
    }

    /// Whether it is of this type. Runs none of the user's code.
    pub(crate) fn is(&self, ty: TypeId) -> bool {
        (**self.0.lock()).type_id() == ty
    }

    /// One caller's share, if it is of this type.
    pub(crate) fn take<E: Send + 'static, H: Share<E>>(&self, share: H) -> Option<E> {
        match self.0.lock().downcast_mut::<Settled<E, H::Shared>>()? {
            Settled::Alone(error) => error.take(),
            Settled::Shared(shared) => Some(share.share(shared)),
        }
    }
}
