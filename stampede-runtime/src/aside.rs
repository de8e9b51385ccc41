//! Values that die while a lock of ours is held.
//!
//! Dropping a value runs the user's code, which may panic, or call back into the store. The memory tier drops values when it
//! pleases: on replacement, on eviction, or when some later operation collects its garbage; it does so under locks of its
//! own, and is itself called under those of the flight table. So a value that is dropped meanwhile is laid aside, and dropped
//! in truth when the last of these locks is released.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Free) };
    /// Empty when nothing is held. So nothing of it is to be dropped with its thread, and it is there until the very end.
    static ASIDE: RefCell<ManuallyDrop<Vec<Box<dyn Any>>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Holding,
    /// And something has been laid aside.
    Laden,
}

/// While this lives, values that are dropped on this thread are laid aside; the outermost drops them in truth. It goes with
/// a lock, and is to be dropped after it.
#[derive(Debug)]
pub(crate) struct Holding {
    outermost: bool,
}

impl Holding {
    #[inline]
    pub(crate) fn start() -> Self {
        let outermost = STATE.get() == State::Free;
        if outermost {
            STATE.set(State::Holding);
        }
        Self { outermost }
    }
}

impl Drop for Holding {
    #[inline]
    fn drop(&mut self) {
        if self.outermost && STATE.replace(State::Free) == State::Laden {
            unload();
        }
    }
}

#[cold]
fn unload() {
    let aside = ASIDE.with_borrow_mut(|aside| mem::take(&mut **aside));
    aside.into_iter().for_each(drop_contained);
}

/// Drops a value. If it panics at that, the panic has been reported and goes no further: what goes on here is no business of
/// the value's.
fn drop_contained(value: Box<dyn Any>) {
    contain(&mut Some(value));
}

fn contain(value: &mut dyn Clear) {
    let _ = catch_unwind(AssertUnwindSafe(|| value.clear()));
}

fn is_holding() -> bool {
    STATE.get() != State::Free
}

fn lay_aside(value: Box<dyn Any>) {
    STATE.set(State::Laden);
    ASIDE.with_borrow_mut(|aside| aside.push(value));
}

/// What depends on the type of a value that dies: no more than this.
trait Clear {
    fn clear(&mut self);
}

impl<V> Clear for Option<V> {
    fn clear(&mut self) {
        drop(self.take());
    }
}

/// A value whose drop waits for the end of [`Holding`], and whose panics at that stay there.
#[derive(Debug)]
pub(crate) struct Careful<V: 'static>(Option<V>);

impl<V> Careful<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(Some(value))
    }

    /// The value; absent only while it is being dropped.
    #[inline]
    pub(crate) const fn get(&self) -> Option<&V> {
        // A method would be one more function for each type of values.
        match &self.0 {
            Some(value) => Some(value),
            None => None,
        }
    }

    /// Takes it out: what is dropped from then on is nothing.
    pub(crate) const fn take(&mut self) -> Option<V> {
        self.0.take()
    }
}

impl<V> Drop for Careful<V> {
    fn drop(&mut self) {
        if is_holding() {
            lay_aside(Box::new(self.0.take()));
        } else {
            contain(&mut self.0);
        }
    }
}
