//! Barriers between those who do something often and those who do something rarely.
//!
//! Of two threads, one stores, passes a light barrier and loads; the other stores, passes a heavy one and loads. Then at
//! least one of them loads what the other has stored. On Linux, the light one costs nothing at run time: the heavy one has the
//! system interrupt all threads of the process that run, each of which then has passed a barrier where it was. Where
//! there is no such service, or not yet, both are fences.

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

/// Whether the light one is as light as it gets.
#[cfg(all(test, not(stampede_model)))]
pub(super) fn is_light() -> bool {
    !system::IS_THERE || system::is_ready()
}

/// Makes the light one light. Until then it is a fence, and so is the heavy one. `then` is called when all is ready: it is
/// given what says so, and has to see to it that none of the heavy ones stands at that moment.
pub(super) fn prepare(then: impl FnOnce(fn()) + Send + 'static) {
    system::prepare(then);
}

#[cfg(all(target_os = "linux", not(miri), not(all(test, stampede_model))))]
mod system {
    use std::thread;

    use crate::sync::Ordering;
    use crate::sync::plain::AtomicBool;

    pub(super) const IS_THERE: bool = true;

    // From `linux/membarrier.h`.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    /// Once it is, it stays so: a light barrier that does not know yet is a fence, which is more.
    static READY: AtomicBool = AtomicBool::new(false);

    fn membarrier(command: libc::c_int) -> bool {
        #[expect(unsafe_code, reason = "the standard library does not have it")]
        // SAFETY: the call takes three numbers, and neither reads nor writes memory of the process.
        let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
        result == 0
    }

    /// Whoever knows loads nothing that was stored before the last of the heavy ones that did not.
    #[inline]
    pub(super) fn is_ready() -> bool {
        READY.load(Ordering::Acquire)
    }

    /// The system takes ten milliseconds or more to get ready: they are not to be anybody's first call.
    pub(super) fn prepare(then: impl FnOnce(fn()) + Send + 'static) {
        let register = move || {
            if membarrier(REGISTER_PRIVATE_EXPEDITED) {
                then(|| READY.store(true, Ordering::Release));
            }
        };
        // Without a thread, or without such a service, all barriers stay fences.
        let _ = thread::Builder::new().name("stampede".to_owned()).spawn(register);
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

    pub(super) fn prepare(_: impl FnOnce(fn()) + Send + 'static) {}

    pub(super) const fn interrupt() -> bool {
        true
    }
}
