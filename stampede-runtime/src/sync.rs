//! The one place that names the synchronisation primitives of the core, so that a model checker can replace them.

pub(crate) use std::sync::MutexGuard;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{self, PoisonError};

/// A mutex without poisoning. The only code of the user that runs under one is the copying of an error for those who wait,
/// which changes nothing that is locked; so a panic leaves nothing half done, and need not become everybody's.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
