//! The clock of hits.
//!
//! To ask the precise clock takes as long as all the rest of a hit. The system keeps a coarse one, which is the precise one
//! as it was at the last tick: reading it takes a quarter of that. It is late by a tick, some milliseconds. So it may say
//! that a time is yet to come only with a margin, and where it cannot say so, the precise clock is asked: nothing is served
//! past its time, and nothing expires early either.
//!
//! There is a coarse clock on Linux. Elsewhere, and with the feature `test-util` (time is tokio's), it never says anything.

use tokio::time::Instant;

/// A time on the coarse clock, less the margin: as long as it is yet to come, so is the time that it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surely(u64);

impl Surely {
    pub(crate) fn before(then: Instant) -> Self {
        Self(coarse::until(then))
    }

    /// Whether the time is yet to come, for certain.
    #[inline]
    pub(crate) fn is_to_come(self) -> bool {
        coarse::now() < self.0
    }
}

/// A time that it is cheap to ask about until shortly before it comes.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    then: Instant,
    surely: Surely,
}

impl Until {
    /// Until then.
    pub fn new(then: Instant) -> Self {
        Self { then, surely: Surely::before(then) }
    }

    /// Whether it is yet to come.
    #[inline]
    pub fn is_to_come(&self) -> bool {
        self.surely.is_to_come() || Instant::now() < self.then
    }
}

#[cfg(all(target_os = "linux", not(feature = "test-util")))]
mod coarse {
    use once_cell::sync::Lazy;
    use tokio::time::Instant;

    /// How far behind the coarse clock may be, in nanoseconds: ten ticks of the slowest kernels.
    const MARGIN: u64 = 100_000_000;

    /// Nanoseconds since some moment.
    #[inline]
    pub(super) fn now() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        #[expect(unsafe_code, reason = "the standard library has no coarse clock")]
        // SAFETY: the pointer is to a `timespec` that lives until the call has returned; it is all that the call writes to.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) } != 0;
        if failed {
            return u64::MAX; // nothing is yet to come
        }
        time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
    }

    /// The same for another moment, less the margin.
    pub(super) fn until(then: Instant) -> u64 {
        // The second is at most the first: so is what is reckoned from it.
        static NOW: Lazy<(Instant, u64)> = Lazy::new(|| {
            let coarse = now();
            (Instant::now(), coarse)
        });
        let (precise, coarse) = *NOW;
        let left = u64::try_from(then.saturating_duration_since(precise).as_nanos()).unwrap_or(u64::MAX);
        coarse.saturating_add(left).saturating_sub(MARGIN)
    }
}

#[cfg(not(all(target_os = "linux", not(feature = "test-util"))))]
mod coarse {
    use tokio::time::Instant;

    #[inline]
    pub(super) fn now() -> u64 {
        u64::MAX
    }

    pub(super) fn until(_: Instant) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_to_come_until_it_comes() {
        let now = Instant::now();
        assert!(Until::new(now + Duration::from_hours(1)).is_to_come());
        assert!(!Until::new(now).is_to_come());
    }
}
