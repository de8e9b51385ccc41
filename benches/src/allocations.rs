//! Counting heap allocations, where asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Allocations of the current thread.
#[derive(Clone, Copy, Default)]
pub(crate) struct Allocations {
    pub(crate) count: u32,
    pub(crate) bytes: usize,
    /// What it has not freed.
    pub(crate) live: i64,
}

thread_local! {
    /// Nothing unless this thread is being counted: the other measures pay for one look at this.
    static COUNTED: Cell<Option<Allocations>> = const { Cell::new(None) };
}

/// What a piece of code allocates on this thread. Memory that it frees again counts, too.
pub(crate) fn count(code: impl FnOnce()) -> Allocations {
    COUNTED.set(Some(Allocations::default()));
    code();
    COUNTED.take().unwrap_or_default()
}

fn note(bytes: usize) {
    if let Some(Allocations { count, bytes: sum, live }) = COUNTED.get() {
        let live = live.saturating_add_unsigned(bytes as u64);
        COUNTED.set(Some(Allocations { count: count + 1, bytes: sum + bytes, live }));
    }
}

fn note_freed(bytes: usize) {
    if let Some(counted) = COUNTED.get() {
        COUNTED.set(Some(Allocations { live: counted.live.saturating_sub_unsigned(bytes as u64), ..counted }));
    }
}

/// The system's allocator, with an eye on it.
pub(crate) struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be had without")]
// SAFETY: every method passes its arguments on to the system's allocator as they are, and its result back. Noting what
// went by touches only a thread-local `Cell` that is initialised at compile time and never dropped: it does not allocate,
// panic or unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size.saturating_sub(layout.size()));
        note_freed(layout.size().saturating_sub(size));
        // SAFETY: as the caller promised.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note_freed(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}
