//! What holds while a future is polled: the store in force, the wish of a wrapper, the run whose body it is.
//!
//! Each of the three is a thread-local that a wrapping future swaps in before it polls the future within and swaps out
//! after, also when that panics. So it follows `join!`, `select!` and `Box::pin`, and not tasks that are spawned.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::policy::Mode;
use crate::run::Run;
use crate::store::Store;

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Nowhere) };
    /// A hit holds on to this while it copies the value. Code of the user's that runs meanwhile and puts another store in
    /// force does so in `INNER`, which nobody holds on to.
    static OUTER: RefCell<Option<Store>> = const { RefCell::new(None) };
    static INNER: RefCell<Option<Store>> = const { RefCell::new(None) };
    static MODE: Cell<Mode> = const { Cell::new(Mode::Normal) };
    /// Whether a call has read the mode since it was set.
    static MODE_READ: Cell<bool> = const { Cell::new(false) };
    static RUN: RefCell<Option<Arc<Run>>> = const { RefCell::new(None) };
}

/// Where the store of the innermost scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Outer,
    Inner,
}

/// The store of the innermost scope.
pub(crate) fn store() -> Option<Store> {
    match PLACE.get() {
        Place::Nowhere => None,
        Place::Outer => OUTER.with_borrow(Clone::clone),
        Place::Inner => INNER.with_borrow(Clone::clone),
    }
}

/// Whether there is none.
#[inline]
pub(crate) fn is_unscoped() -> bool {
    PLACE.get() == Place::Nowhere
}

/// Gives it to `then`, without a handle of its own where that can be.
#[inline]
pub(crate) fn with_store<T>(then: impl FnOnce(Option<&Store>) -> T) -> T {
    match PLACE.get() {
        Place::Nowhere => then(None),
        Place::Outer => OUTER.with_borrow(|store| then(store.as_ref())),
        Place::Inner => then(store().as_ref()),
    }
}

/// What the innermost wrapper asks of a call.
pub(crate) fn mode() -> Mode {
    MODE_READ.set(true);
    MODE.get()
}

/// The run whose body is being polled.
pub(crate) fn run() -> Option<Arc<Run>> {
    RUN.with_borrow(Clone::clone)
}

/// Something that is swapped with the thread's state before and after each poll.
pub(crate) trait Layer {
    fn swap(&mut self);
}

pin_project! {
    /// A future that is polled with a layer in place.
    #[derive(Debug)]
    pub(crate) struct Within<L, F> {
        layer: L,
        #[pin]
        future: F,
    }
}

impl<L: Layer, F> Within<L, F> {
    pub(crate) fn new(layer: L, future: F) -> Self {
        Self { layer, future }
    }

    pub(crate) fn layer(self: Pin<&mut Self>) -> &mut L {
        self.project().layer
    }
}

impl<L: Layer, F: Future> Future for Within<L, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        struct Restore<'l, L: Layer>(&'l mut L);

        impl<L: Layer> Drop for Restore<'_, L> {
            fn drop(&mut self) {
                self.0.swap();
            }
        }

        let this = self.project();
        this.layer.swap();
        let _restore = Restore(this.layer);
        this.future.poll(cx)
    }
}

/// Puts a store in force.
pub(crate) struct InStore {
    store: Option<Store>,
    /// Whether this is what has moved on to `INNER`.
    moved: bool,
}

impl InStore {
    pub(crate) const fn new(store: Option<Store>) -> Self {
        Self { store, moved: false }
    }
}

impl Layer for InStore {
    fn swap(&mut self) {
        let mut swap = |store: &mut Option<Store>| {
            mem::swap(store, &mut self.store);
            store.is_some()
        };
        if PLACE.get() == Place::Inner {
            INNER.with_borrow_mut(swap);
            if mem::take(&mut self.moved) {
                PLACE.set(Place::Outer);
            }
            return;
        }
        if let Ok(is_there) = OUTER.with(|store| store.try_borrow_mut().map(|mut store| swap(&mut store))) {
            PLACE.set(if is_there { Place::Outer } else { Place::Nowhere });
        } else {
            INNER.with_borrow_mut(swap);
            PLACE.set(Place::Inner);
            self.moved = true;
        }
    }
}

impl fmt::Debug for InStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InStore")
    }
}

/// Makes calls follow a wish.
#[derive(Debug)]
pub(crate) struct InMode {
    mode: Mode,
    pub(crate) read: bool,
    inside: bool,
}

impl InMode {
    pub(crate) const fn new(mode: Mode) -> Self {
        Self { mode, read: false, inside: false }
    }
}

impl Layer for InMode {
    fn swap(&mut self) {
        self.mode = MODE.replace(self.mode);
        self.inside = !self.inside;
        let read = MODE_READ.replace(self.read);
        // On the way out, what was met inside was met in the wrappers around, too.
        if !self.inside {
            MODE_READ.set(read || self.read);
        }
        self.read = read;
    }
}

/// Marks the body of a run: its own signals, no wrapper, and the store that was in force where it was called.
#[derive(Debug)]
pub(crate) struct InRun {
    run: Option<Arc<Run>>,
    store: InStore,
    mode: InMode,
}

impl InRun {
    pub(crate) fn new(run: Arc<Run>, store: Option<Store>) -> Self {
        Self { run: Some(run), store: InStore::new(store), mode: InMode::new(Mode::Normal) }
    }
}

impl Layer for InRun {
    fn swap(&mut self) {
        RUN.with_borrow_mut(|run| mem::swap(run, &mut self.run));
        self.store.swap();
        self.mode.swap();
    }
}
