//! What takes the place of the real primitives while a model is checked.
//!
//! Shuttle's own where it has them. The rest is what tokio and `once_cell` promise, in as few words as possible, with a
//! point at which the checker may switch to another task before each step that another task can see.

use std::cell::Cell;
use std::future::{Future, pending};
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

pub(crate) use shuttle::future::AbortHandle;
use shuttle::future::{JoinHandle, spawn, yield_now};
use shuttle::sync;
pub(crate) use shuttle::sync::atomic::AtomicU64;
use tokio::time::Instant;

thread_local! {
    // All tasks of a model share one thread.
    static RUNTIME: Cell<bool> = const { Cell::new(false) };
    static RELEASING: Cell<bool> = const { Cell::new(false) };
}

/// A mutex without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// For its one owner: nothing is locked.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuttle may switch after a lock is released as it may before the next one is taken. Once is enough: see
/// [`is_releasing`].
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        RELEASING.set(true);
        self.0 = None;
        RELEASING.set(false);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is held")
    }
}

/// Whether the task that runs is about to release a lock. To switch now changes nothing: it does nothing that others can
/// see before the next point at which it may be switched from.
pub(crate) fn is_releasing() -> bool {
    RELEASING.get()
}

/// A cell that is set once.
#[derive(Debug)]
pub(crate) struct OnceCell<T>(once_cell::sync::OnceCell<T>);

impl<T> OnceCell<T> {
    pub(crate) const fn new() -> Self {
        Self(once_cell::sync::OnceCell::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        step();
        self.0.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        step();
        self.0.set(value)
    }
}

/// What follows is a step of its own.
pub(crate) fn step() {
    // To shuttle, a switch and nothing else.
    shuttle::thread::sleep(Duration::ZERO);
}

/// From here on, this thread's models take place within a runtime, or outside any.
pub(crate) fn set_runtime(is_there: bool) {
    RUNTIME.set(is_there);
}

/// The one runtime that there may be.
#[derive(Clone, Debug)]
pub(crate) struct Handle(());

#[derive(Debug)]
pub(crate) struct NoRuntime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeId(());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuntimeFlavor {
    /// Never this one, so that all who wait watch over the limit.
    CurrentThread,
    MultiThread,
}

#[expect(clippy::unused_self, reason = "as tokio has it")]
impl Handle {
    pub(crate) fn current() -> Self {
        Self(())
    }

    pub(crate) fn try_current() -> Result<Self, NoRuntime> {
        RUNTIME.get().then(Self::current).ok_or(NoRuntime)
    }

    pub(crate) fn id(&self) -> RuntimeId {
        RuntimeId(())
    }

    pub(crate) fn runtime_flavor(&self) -> RuntimeFlavor {
        RuntimeFlavor::MultiThread
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn(future)
    }
}

/// Time does not pass in a model: what is not over already never is.
pub(crate) async fn sleep_until(deadline: Instant) {
    if deadline > Instant::now() {
        pending::<()>().await;
    }
    yield_now().await;
}

pub(crate) async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}
