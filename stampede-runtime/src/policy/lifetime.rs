//! The lifetime of a stored value: computed once, when it is written.

use std::time::Duration;

use tokio::time::Instant;

use super::{Age, after};
#[cfg(feature = "tier")]
use crate::tier::Record;

/// What a cache says about the lifetime of its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    /// The share of the TTL after which a refresh is due. Off unless within (0, 1).
    pub(crate) refresh_ahead: f64,
    /// β of `XFetch`. Off unless positive.
    pub(crate) xfetch: f64,
    /// The share of the TTL up to which it is cut, within [0, 1].
    pub(crate) jitter: f64,
}

impl Terms {
    pub(crate) const DEFAULT: Self = Self {
        ttl: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        refresh_ahead: 0.0,
        xfetch: 0.0,
        jitter: 0.0,
    };

    /// Whether values are of use beyond their TTL.
    pub(crate) fn have_window(&self) -> bool {
        !(self.stale_while_revalidate.is_zero() && self.stale_if_error.is_zero())
    }
}

/// The times that divide the life of a stored value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) fresh_until: Instant,
    pub(crate) windows: Windows,
}

/// What there is before the end of a value's TTL and beyond, in nanoseconds from there. By default, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Windows {
    /// Before this the value is fresh, and that is all there is to it.
    refresh_ahead: u64,
    revalidate_for: u64,
    on_error_for: u64,
    /// δ·β of `XFetch`, in seconds. Zero: within `refresh_ahead`, a refresh is due.
    spread: f32,
}

impl Lifetime {
    /// The farthest that `XFetch` looks ahead, in units of δ·β: −ln of the smallest u that there is.
    const HORIZON: f64 = 53.0 * std::f64::consts::LN_2;

    /// The lifetime of a value that came to be at `now`, after a run of `run_time`, and is fresh for `ttl` but for the
    /// jitter. `draw` gives a random number in (0, 1].
    pub(crate) fn starting(
        now: Instant,
        ttl: Duration,
        terms: &Terms,
        run_time: Duration,
        draw: impl FnOnce() -> f64,
    ) -> Self {
        let ttl = if terms.jitter > 0.0 { ttl.saturating_sub(scaled(ttl, terms.jitter * (1.0 - draw()))) } else { ttl };
        let fresh_until = after(now, ttl);
        let ttl = fresh_until - now;
        let spread = if terms.xfetch > 0.0 { run_time.as_secs_f64() * terms.xfetch } else { 0.0 };
        let early = if terms.refresh_ahead > 0.0 && terms.refresh_ahead < 1.0 {
            ttl.saturating_sub(scaled(ttl, terms.refresh_ahead))
        } else {
            Duration::try_from_secs_f64(spread * Self::HORIZON).unwrap_or(Duration::MAX).min(ttl)
        };
        #[expect(clippy::cast_possible_truncation, reason = "a spread is no more precise than a measured run")]
        let windows = Windows {
            refresh_ahead: nanos(early),
            revalidate_for: nanos(terms.stale_while_revalidate),
            on_error_for: nanos(terms.stale_if_error),
            spread: spread as f32,
        };
        Self { fresh_until, windows }
    }

    /// The lifetime, on these terms, of a value that the remote tier was asked for at `asked_at` and keeps for `left`.
    ///
    /// No two hosts' clocks are compared: of all the time that the tier was to keep the value, what is not left has passed.
    /// It is fresh for `max_ttl` at most.
    #[cfg(feature = "tier")]
    pub(crate) fn received(
        asked_at: Instant,
        record: &Record,
        left: Duration,
        terms: &Terms,
        max_ttl: Duration,
    ) -> Self {
        let age = record.fresh.saturating_add(record.stale).saturating_sub(left);
        let terms = Terms {
            // What the writer has cut off is cut off. The writer's TTL may be longer than that of these terms: a run can say so.
            jitter: 0.0,
            stale_while_revalidate: terms.stale_while_revalidate.min(record.stale),
            stale_if_error: terms.stale_if_error.min(record.stale),
            ..*terms
        };
        match asked_at.checked_sub(age) {
            Some(filled_at) => Self::starting(filled_at, record.fresh.min(max_ttl), &terms, record.run_time, || 1.0),
            // Older than this host's clock.
            None => Self::plain(asked_at, Duration::ZERO),
        }
    }

    /// That of an answer that is good until then and no longer.
    pub(crate) fn plain(now: Instant, ttl: Duration) -> Self {
        Self::starting(now, ttl, &Terms::DEFAULT, Duration::ZERO, || 1.0)
    }

    /// What the value is good for at `now`.
    ///
    /// `XFetch` is that of Vattani, Chierichetti and Lowenstein (Optimal Probabilistic Cache Stampede Prevention, VLDB
    /// 2015): a refresh is due iff now − δ·β·ln(u) ≥ expiry, for a random u in (0, 1].
    pub(crate) fn at(&self, now: Instant, draw: impl FnOnce() -> f64) -> Age {
        let Self { fresh_until, windows: Windows { refresh_ahead, revalidate_for, on_error_for, spread } } = *self;
        if now < fresh_until {
            let left = fresh_until - now;
            let is_due = || spread <= 0.0 || f64::from(spread) * -draw().ln() >= left.as_secs_f64();
            return if nanos(left) <= refresh_ahead && is_due() { Age::Due } else { Age::Fresh };
        }
        let since = nanos(now - fresh_until);
        if since < revalidate_for {
            Age::Stale
        } else if since < on_error_for {
            Age::Reserve
        } else {
            Age::Dead
        }
    }

    /// Before this the value is fresh, and no refresh is due.
    pub(crate) fn refresh_at(&self) -> Instant {
        let ahead = Duration::from_nanos(self.windows.refresh_ahead);
        self.fresh_until.checked_sub(ahead).unwrap_or(self.fresh_until)
    }

    /// How long the value is of use beyond its TTL.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_nanos(self.windows.revalidate_for.max(self.windows.on_error_for))
    }

    /// Whether there is a window for answers in place of errors.
    pub(crate) fn covers_errors(&self) -> bool {
        self.windows.on_error_for > 0
    }

    /// When the value is of no more use.
    pub(crate) fn dead_at(&self) -> Instant {
        after(self.fresh_until, self.window())
    }
}

/// A share of a duration.
fn scaled(duration: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * share).unwrap_or(duration)
}

/// At most some centuries.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
