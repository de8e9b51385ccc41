//! Barriers between those who do something often and those who do something rarely.
//!
//! Of two threads, one stores, passes a light barrier and loads; the other stores, passes a heavy one and loads. Then at
//! least one of them loads what the other has stored. On Linux, the light one costs nothing at run time: the heavy one has the
//! system interrupt all threads of the process that run, each of which then has passed a barrier where it was. Where
//! there is no such service, both are fences.

use crate::sync::Ordering;
use std::sync::atomic::{compiler_fence, fence};

/// Between a store and a load, often.
#[inline]
pub(super) fn light() {
    if system::IS_THERE && system::is_ready() {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Between a store and a load, rarely. Says whether it has stood.
#[must_use]
pub(super) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    !system::IS_THERE || !system::is_ready() || system::interrupt()
}

/// To be called before the first of the light ones.
pub(super) fn prepare() {
    system::prepare();
}

#[cfg(all(target_os = "linux", not(miri), not(all(test, stampede_model))))]
mod system {
    use crate::sync::Ordering;
    use crate::sync::plain::AtomicBool;

    pub(super) const IS_THERE: bool = true;

    // From `linux/membarrier.h`.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    /// Once it is, it stays so: a thread that does not know yet passes a fence, which is more.
    static READY: AtomicBool = AtomicBool::new(false);

    fn membarrier(command: libc::c_int) -> bool {
        #[expect(unsafe_code, reason = "the standard library does not have it")]
        // SAFETY: the call takes three numbers, and neither reads nor writes memory of the process.
        let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
        result == 0
    }

    #[inline]
    pub(super) fn is_ready() -> bool {
        READY.load(Ordering::Relaxed)
    }

    pub(super) fn prepare() {
        if !is_ready() && membarrier(REGISTER_PRIVATE_EXPEDITED) {
            READY.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn interrupt() -> bool {
        membarrier(PRIVATE_EXPEDITED)
    }
}

#[cfg(not(all(target_os = "linux", not(miri), not(all(test, stampede_model)))))]
mod system {
    pub(super) const IS_THERE: bool = false;

    pub(super) const fn is_ready() -> bool {
        false
    }

    pub(super) const fn prepare() {}

    pub(super) const fn interrupt() -> bool {
        true
    }
}
