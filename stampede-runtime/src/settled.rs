//! Errors at rest: in a flight for those who wait, and (`error_ttl`) in the store for those who come later.

use std::any::Any;
use std::sync::Arc;

use crate::flight::Outcome;
use crate::memory::AnyStored;
use crate::reply::Share;
use crate::sync::Mutex;

/// An error in a flight.
pub(crate) enum Settled<E, S> {
    /// For the one caller who waits, as it came.
    Alone(Option<E>),
    /// For several.
    Shared(S),
    /// In the store as well.
    Kept(Arc<AnyStored>),
}

impl<E: Send + 'static, S: Send + 'static> Settled<E, S> {
    pub(crate) fn into_outcome<V>(self) -> Outcome<V> {
        Outcome::Error(Mutex::new(Box::new(self)))
    }
}

/// An error in the store: the form that several callers can take their share of. Behind a lock, for it need not be `Sync`.
pub(crate) struct KeptError(Mutex<Box<dyn Any + Send>>);

impl KeptError {
    pub(crate) fn new<S: Send + 'static>(shared: S) -> Self {
        Self(Mutex::new(Box::new(shared)))
    }

    /// Whether it is of this form. Runs none of the user's code.
    pub(crate) fn is<S: 'static>(&self) -> bool {
        self.0.lock().is::<S>()
    }

    /// One caller's share, if it is of this form.
    pub(crate) fn take<E, H: Share<E>>(&self, share: H) -> Option<E>
    where
        H::Shared: 'static,
    {
        Some(share.share(self.0.lock().downcast_ref::<H::Shared>()?))
    }
}

/// One caller's share of an error in a flight, if it is of this type.
pub(crate) fn take_error<E: 'static, H: Share<E>>(settled: &mut (dyn Any + Send), share: H) -> Option<E> {
    match settled.downcast_mut::<Settled<E, H::Shared>>()? {
        Settled::Alone(error) => error.take(),
        Settled::Shared(shared) => Some(share.share(shared)),
        Settled::Kept(stored) => stored.downcast::<KeptError>()?.take(share),
    }
}
