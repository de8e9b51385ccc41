//! Values that die while a lock of ours is held.
//!
//! Dropping a value runs the user's code, which may call back into the store. The memory tier drops values when it
//! pleases: on replacement, on eviction, or when some later operation collects its garbage; and it is called under the locks
//! of the flight table. So a value that is dropped meanwhile is laid aside, and dropped in truth when the lock is released.

use std::any::Any;
use std::cell::{Cell, RefCell};

thread_local! {
    static HOLDING: Cell<bool> = const { Cell::new(false) };
    static ASIDE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, values that are dropped on this thread are laid aside. To be dropped after the lock that it goes with.
#[derive(Debug)]
pub(crate) struct Holding(());

impl Holding {
    pub(crate) fn start() -> Self {
        let held = HOLDING.replace(true);
        debug_assert!(!held, "no two shards are locked at once");
        Self(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDING.set(false);
        drop(ASIDE.take());
    }
}

/// A value whose drop waits for the end of [`Holding`].
#[derive(Debug)]
pub(crate) struct Careful<V: 'static>(Option<V>);

impl<V> Careful<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(Some(value))
    }

    /// The value; absent only while it is being dropped.
    pub(crate) const fn get(&self) -> Option<&V> {
        self.0.as_ref()
    }
}

impl<V> Drop for Careful<V> {
    fn drop(&mut self) {
        // At the very end of a thread its locals are gone, and so are its locks.
        if HOLDING.try_with(Cell::get).unwrap_or(false) {
            let value: Box<dyn Any> = Box::new(self.0.take());
            let _ = ASIDE.try_with(|aside| aside.borrow_mut().push(value));
        }
    }
}
