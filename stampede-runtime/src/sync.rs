//! The one place that names the synchronisation primitives of the core, so that a model checker can replace them: built for
//! its own tests with `--cfg stampede_model`, the crate uses those of `sync/model.rs`.

#[cfg(all(test, stampede_model))]
mod model;

#[cfg(all(test, stampede_model))]
pub(crate) use model::*;
#[cfg(not(all(test, stampede_model)))]
pub(crate) use real::*;

pub(crate) use std::sync::atomic::Ordering;

#[cfg(all(test, stampede_model))]
pub(crate) use shuttle::thread_local;

/// For what numbers, counts, or gives a hint that a look under a lock sets right. A model sees no step in it.
pub(crate) mod plain {
    use std::sync::{self, PoisonError};

    pub(crate) use std::sync::MutexGuard;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

    /// A mutex without poisoning. The only code of the user that runs under one is the copying of an error for those who
    /// wait, which changes nothing that is locked; so a panic leaves nothing half done, and need not become everybody's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// For its one owner: nothing is locked.
        #[cfg(not(all(test, stampede_model)))]
        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(not(all(test, stampede_model)))]
mod real {
    pub(crate) use std::sync::atomic::AtomicU64;
    pub(crate) use std::thread_local;

    pub(crate) use once_cell::sync::OnceCell;
    pub(crate) use tokio::runtime::{Handle, Id as RuntimeId, RuntimeFlavor};
    pub(crate) use tokio::task::AbortHandle;
    pub(crate) use tokio::time::{sleep, sleep_until};

    pub(crate) use super::plain::{Mutex, MutexGuard};

    /// What follows is a step of its own, to a model.
    #[inline]
    pub(crate) const fn step() {}
}
