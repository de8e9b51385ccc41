//! When it may be freed what readers may still be looking at.
//!
//! 1. Readers look at what is shared within a [`Section`]. The mark of their thread is odd meanwhile; no other thread
//!    changes it.
//! 2. What is retired can be found no more by sections that begin after that. So [`free`] notes which marks are odd, and
//!    when each of these has changed, nobody is left who might look at it.
//! 3. A section's mark stands before its first look, and it is found no more before the marks are read: a light barrier there
//!    and a heavy one here see to that. Either the mark is seen to be odd, or the section does not find it.
//!    A section within another is nothing of its own. It ends before that does, so whoever keeps one keeps it no longer than
//!    the look that it is for.
//! 4. Nobody waits. What cannot be freed yet is left to those in whose way it is: they are told, and look whether they have
//!    been told when their section is over. The same barriers see to it that they do, or that their mark is seen to have
//!    changed.
//! 5. To read the marks and to leave something to others is one step, under the lock. It is taken last; nothing is freed
//!    under it, for that may run code of the user's.
//! 6. The light barrier becomes light under that lock. So those of before have fences on both sides, and who passes a light one
//!    finds nothing that was retired before.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Once;

use crate::aside::Holding;
use crate::sync::plain::{AtomicBool, AtomicUsize, Mutex};
use crate::sync::{Ordering, thread_local};

use super::barrier;

/// What is to be freed, and freed when dropped.
pub(super) struct Retired {
    at: NonNull<()>,
    free: unsafe fn(NonNull<()>),
}

#[expect(unsafe_code, reason = "see the `SAFETY` of its maker")]
// SAFETY: it is made of what can be sent, and there is no other way to that.
unsafe impl Send for Retired {}

impl Retired {
    /// What `free` frees.
    ///
    /// # Safety
    ///
    /// To free it on any thread is sound once nobody looks at it any more: so this is given to [`free`] after it
    /// has become impossible to find. Nobody else frees it.
    #[expect(unsafe_code, reason = "what readers look at is not owned by them")]
    pub(super) unsafe fn new(at: NonNull<()>, free: unsafe fn(NonNull<()>)) -> Self {
        Self { at, free }
    }

    /// What once was a box.
    ///
    /// # Safety
    ///
    /// The pointer is from `Box::into_raw`, and what there is to [`new`](Self::new).
    #[expect(unsafe_code, reason = "what readers look at is not owned by them")]
    pub(super) unsafe fn boxed<T: Send>(at: NonNull<T>) -> Self {
        unsafe fn free<T>(at: NonNull<()>) {
            // SAFETY: by the contract of `boxed`, of the same type, and this is the only box that is made of it.
            drop(unsafe { Box::from_raw(at.cast::<T>().as_ptr()) });
        }
        // SAFETY: see `free`, and the contract of this.
        unsafe { Self::new(at.cast(), free::<T>) }
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "see `new`")]
        // SAFETY: by the contract of `new`; this happens once.
        unsafe {
            (self.free)(self.at);
        }
    }
}

/// What a thread reads under.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Reader {
    /// Which of the readers it is.
    number: usize,
    /// Odd within a section.
    mark: AtomicUsize,
    /// Whether somebody has left something to be freed.
    told: AtomicBool,
}

struct Registry {
    readers: Vec<&'static Reader>,
    /// Those of threads that are no more.
    idle: Vec<&'static Reader>,
    left: Vec<Batch>,
}

/// What is to be freed when these marks have changed.
struct Batch {
    _retired: Vec<Retired>,
    waits_for: Vec<(&'static Reader, usize)>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { readers: Vec::new(), idle: Vec::new(), left: Vec::new() });

thread_local! {
    static READER: Cell<Option<&'static Reader>> = const { Cell::new(None) };
    static TENURE: Tenure = const { Tenure(Cell::new(None)) };
}

/// What gives a thread's reader back in the end.
struct Tenure(Cell<Option<&'static Reader>>);

impl Drop for Tenure {
    fn drop(&mut self) {
        let _ = READER.try_with(Cell::take);
        REGISTRY.lock().idle.extend(self.0.take());
    }
}

/// To be called by whoever is going to have readers.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    // Under the lock, under which the heavy barriers are.
    ONCE.call_once(|| {
        barrier::prepare(|ready| {
            let registry = REGISTRY.lock();
            ready();
            drop(registry);
        });
    });
}

/// While this lives, nothing is freed that its thread has found within it.
#[derive(Debug)]
pub(crate) struct Section {
    /// None, within another section: that is nothing of its own.
    marked: Option<Marked>,
    /// It ends on the thread that it began on.
    thread: PhantomData<*const ()>,
}

/// A reader whose mark is odd.
#[derive(Debug)]
struct Marked(&'static Reader);

impl Section {
    #[inline]
    pub(super) fn start() -> Self {
        let reader = READER.with(Cell::get).unwrap_or_else(Reader::take);
        Self { marked: Marked::new(reader), thread: PhantomData }
    }

    /// The same where it is easily done: on a thread that has a reader, and not within another section.
    #[inline]
    pub(crate) fn start_easily() -> Option<Self> {
        let marked = Marked::new(READER.with(Cell::get)?)?;
        Some(Self { marked: Some(marked), thread: PhantomData })
    }

    /// A number that no other thread has as long as this one lives; they are small. None, within another section.
    #[inline]
    pub(super) fn thread(&self) -> Option<usize> {
        self.marked.as_ref().map(|Marked(reader)| reader.number)
    }
}

impl Marked {
    #[inline]
    fn new(reader: &'static Reader) -> Option<Self> {
        let mark = reader.mark.load(Ordering::Relaxed);
        if !mark.is_multiple_of(2) {
            return None;
        }
        // Who sees it frees after all that was read in the sections before this one.
        reader.mark.store(mark.wrapping_add(1), Ordering::Release);
        // Pairs with the first heavy one in `free`.
        barrier::light();
        Some(Self(reader))
    }
}

impl Drop for Marked {
    #[inline]
    fn drop(&mut self) {
        let Self(reader) = self;
        let mark = reader.mark.load(Ordering::Relaxed);
        // Who sees it frees after all that was read here.
        reader.mark.store(mark.wrapping_add(1), Ordering::Release);
        // Pairs with the second heavy one in `free`.
        barrier::light();
        if reader.told.load(Ordering::Relaxed) {
            reader.clear_up();
        }
    }
}

impl Reader {
    #[cold]
    fn take() -> &'static Self {
        let mut registry = REGISTRY.lock();
        let reader = registry.idle.pop().unwrap_or_else(|| {
            let number = registry.readers.len();
            let reader: &Self =
                Box::leak(Box::new(Self { number, mark: AtomicUsize::new(0), told: AtomicBool::new(false) }));
            registry.readers.push(reader);
            reader
        });
        drop(registry);
        if TENURE.try_with(|tenure| tenure.0.set(Some(reader))).is_ok() {
            READER.with(|own| own.set(Some(reader)));
        } else {
            // At its very end a thread has a reader for one section.
            reader.told.store(true, Ordering::Relaxed);
        }
        reader
    }

    /// Frees what was left to this reader, and to others that have not seen to it.
    #[cold]
    fn clear_up(&'static self) {
        let _holding = Holding::start();
        self.told.store(false, Ordering::Relaxed);
        let mut registry = REGISTRY.lock();
        let (over, left) = mem::take(&mut registry.left).into_iter().partition::<Vec<_>, _>(Batch::is_over);
        registry.left = left;
        if !READER.with(Cell::get).is_some_and(|own| ptr::eq(own, self)) {
            registry.idle.push(self);
        }
        drop(registry);
        drop(over);
    }
}

impl Batch {
    fn is_over(&self) -> bool {
        // Pairs with the end of a section.
        self.waits_for.iter().all(|(reader, mark)| reader.mark.load(Ordering::Acquire) != *mark)
    }
}

/// Frees what has been retired, as soon as nobody looks at it any more: mostly at once.
pub(super) fn free(retired: Vec<Retired>) {
    if retired.is_empty() {
        return;
    }
    let _holding = Holding::start();
    // Before the barrier: whoever becomes a reader after this finds nothing of it.
    let mut registry = REGISTRY.lock();
    if !barrier::heavy() {
        // Nobody can tell then who looks at it.
        return mem::forget(retired);
    }
    let marks = registry.readers.iter().map(|reader| (*reader, reader.mark.load(Ordering::Acquire)));
    let waits_for = marks.filter(|(_, mark)| !mark.is_multiple_of(2)).collect::<Vec<_>>();
    let batch = Batch { _retired: retired, waits_for };
    for (reader, _) in &batch.waits_for {
        reader.told.store(true, Ordering::Relaxed);
    }
    let is_over = batch.waits_for.is_empty() || {
        let has_stood = barrier::heavy();
        has_stood && batch.is_over()
    };
    if is_over {
        drop(registry);
        drop(batch);
    } else {
        registry.left.push(batch);
    }
}
