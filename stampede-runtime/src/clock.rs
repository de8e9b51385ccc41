//! The clock of hits.
//!
//! To ask the precise clock takes as long as all the rest of a hit. The system keeps a coarse one, which is the precise one
//! as it was at the last tick: reading it takes a quarter of that. It is late by a tick, some milliseconds. So it may say
//! that a time is yet to come only with a margin, and where it cannot say so, the precise clock is asked: nothing is served
//! past its time, and nothing expires early either.
//!
//! There is a coarse clock on Linux, with 64 bits. Elsewhere, and with the feature `test-util` (time is tokio's), it never says anything.

use std::time::Duration;

use once_cell::sync::Lazy;
use tokio::time::Instant;

use crate::policy::{after, nanos};

/// A time on the coarse clock, less the margin: as long as it is yet to come, so is the time that it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surely(pub(crate) u64);

impl Surely {
    /// Of no time is it certain.
    pub(crate) const NEVER: Self = Self(0);

    pub(crate) fn before(then: Instant) -> Self {
        Self(coarse::until(then))
    }

    /// Whether the time is yet to come, for certain.
    #[inline]
    pub(crate) fn is_to_come(self) -> bool {
        coarse::now() < self.0
    }
}

/// A time in eight bytes: nanoseconds since some moment. Of two times, the later one is the larger number. Those beyond some
/// centuries, past or to come, are those centuries away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// Before all that a process can reckon with.
    pub(crate) const MIN: Self = Self(0);
    const ORIGIN: u64 = 1 << 63;

    fn origin() -> Instant {
        static ORIGIN: Lazy<Instant> = Lazy::new(Instant::now);
        *ORIGIN
    }

    pub(crate) fn of(then: Instant) -> Self {
        let origin = Self::origin();
        let after = nanos(then.saturating_duration_since(origin));
        Self(Self::ORIGIN.saturating_add(after).saturating_sub(nanos(origin.saturating_duration_since(then))))
    }
}

impl From<Moment> for Instant {
    fn from(Moment(then): Moment) -> Self {
        let origin = Moment::origin();
        match then.checked_sub(Moment::ORIGIN) {
            Some(since) => after(origin, Duration::from_nanos(since)),
            // It has been one before.
            None => origin.checked_sub(Duration::from_nanos(Moment::ORIGIN - then)).unwrap_or(origin),
        }
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

    /// The time itself.
    pub(crate) fn then(&self) -> Instant {
        self.then
    }

    /// Whether it is yet to come.
    #[inline]
    pub fn is_to_come(&self) -> bool {
        self.surely.is_to_come() || Instant::now() < self.then
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(feature = "test-util")))]
mod coarse {
    use once_cell::sync::Lazy;
    use tokio::time::Instant;

    /// How far behind the coarse clock may be, in nanoseconds: ten ticks of the slowest kernels.
    const MARGIN: u64 = 100_000_000;

    /// Nanoseconds since some moment.
    #[inline]
    pub(super) fn now() -> u64 {
        // The end of all time: if the call fails, nothing is yet to come.
        let mut time = libc::timespec { tv_sec: -1, tv_nsec: 999_999_999 };
        #[expect(unsafe_code, reason = "the standard library has no coarse clock")]
        // SAFETY: the pointer is to a `timespec` that lives until the call has returned; it is all that the call writes to.
        unsafe {
            libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time);
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

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(feature = "test-util"))))]
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

    #[test]
    fn a_moment_is_the_time_that_it_was_made_of() {
        let (now, span) = (Instant::now(), Duration::from_nanos(1_234_567_891));
        for time in [now - span, now, now + span, after(now, Duration::MAX)] {
            assert_eq!(Instant::from(Moment::of(time)), time);
        }
        assert!(Moment::MIN.0 < Moment::of(now - span).0);
        assert!(Moment::of(now - span).0 < Moment::of(now).0 && Moment::of(now).0 < Moment::of(now + span).0);
    }

    #[test]
    fn a_time_is_to_come_until_it_comes() {
        let now = Instant::now();
        assert!(Until::new(now + Duration::from_hours(1)).is_to_come());
        assert!(!Until::new(now).is_to_come());
    }
}
