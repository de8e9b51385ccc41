//! Values that die while a lock of ours is held.
//!
//! Dropping a value runs the user's code, which may panic, or call back into the store. The memory tier drops values when it
//! pleases: on replacement, on eviction, or when some later operation collects its garbage; it does so under locks of its
//! own, and is itself called under those of the flight table. So a value that is dropped meanwhile is laid aside, and dropped
//! in truth when the last of these locks is released.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Free) };
    static ASIDE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
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
    ASIDE.take().into_iter().for_each(drop_contained);
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
    // At the very end of a thread its locals are gone, and so are its locks.
    STATE.try_with(Cell::get).is_ok_and(|state| state != State::Free)
}

fn lay_aside(value: Box<dyn Any>) {
    STATE.set(State::Laden);
    let _ = ASIDE.try_with(|aside| aside.borrow_mut().push(value));
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
    pub(crate) const fn get(&self) -> Option<&V> {
        self.0.as_ref()
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
