//! Policy: what a stored value is good for. Pure functions of the entry, the time and the options; the rest obeys.

use std::time::Duration;

use tokio::time::Instant;

/// How a cache treats its values and runs: what the attribute's arguments and the builder's methods come to.
#[derive(Debug)]
#[doc(hidden)]
pub struct Options<V> {
    pub(crate) ttl: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) run_limit: Duration,
    pub(crate) cache_if: Option<fn(&V) -> bool>,
    pub(crate) weight: Option<fn(&V) -> u32>,
}

// Not derived: that would ask for `V: Clone`.
impl<V> Clone for Options<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Options<V> {}

impl<V> Default for Options<V> {
    fn default() -> Self {
        Self {
            ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            retry_after: Duration::from_secs(1),
            run_limit: Duration::from_mins(5),
            cache_if: None,
            weight: None,
        }
    }
}

/// Setters, one for each argument of the attribute.
impl<V> Options<V> {
    /// How long a value is fresh.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// How long after that it may be served while it is refreshed.
    #[must_use]
    pub fn stale_while_revalidate(self, stale_while_revalidate: Duration) -> Self {
        Self { stale_while_revalidate, ..self }
    }

    /// How long a failed refresh keeps the next one away.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }

    /// How long a run may take. Zero would let none run: it means the default.
    #[must_use]
    pub fn run_limit(self, run_limit: Duration) -> Self {
        let run_limit = if run_limit.is_zero() { Self::default().run_limit } else { run_limit };
        Self { run_limit, ..self }
    }

    /// Which values are stored.
    #[must_use]
    pub fn cache_if(self, cache_if: fn(&V) -> bool) -> Self {
        Self { cache_if: Some(cache_if), ..self }
    }

    /// What a value weighs.
    #[must_use]
    pub fn weight(self, weight: fn(&V) -> u32) -> Self {
        Self { weight: Some(weight), ..self }
    }
}

/// The two ends of a stored value: of its freshness, and of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) fresh_until: Instant,
    pub(crate) stale_until: Instant,
}

impl Lifetime {
    /// The lifetime of a value that came to be at `now`.
    pub(crate) fn starting(now: Instant, ttl: Duration, stale: Duration) -> Self {
        let fresh_until = after(now, ttl);
        Self { fresh_until, stale_until: after(fresh_until, stale) }
    }

    /// What the value is good for at `now`.
    pub(crate) fn at(self, now: Instant) -> Age {
        if now < self.fresh_until {
            Age::Fresh
        } else if now < self.stale_until {
            Age::Stale
        } else {
            Age::Dead
        }
    }
}

/// What a stored value is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Within its TTL: the answer.
    Fresh,
    /// Past its TTL, within its stale window: an answer while a refresh is under way.
    Stale,
    /// Past everything: no answer.
    Dead,
}

/// The instant that lies `duration` after `now`; durations past the clock's end mean some decades.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(30 * 365 * 24);
    now.checked_add(duration).unwrap_or_else(|| now + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_fresh_then_stale_then_dead() {
        let start = Instant::now();
        let life = Lifetime::starting(start, Duration::from_secs(5), Duration::from_secs(3));
        for (ms, age) in
            [(0, Age::Fresh), (4_999, Age::Fresh), (5_000, Age::Stale), (7_999, Age::Stale), (8_000, Age::Dead)]
        {
            assert_eq!(life.at(start + Duration::from_millis(ms)), age, "at {ms} ms");
        }
    }

    #[test]
    fn without_a_stale_window_there_is_no_stale() {
        let start = Instant::now();
        let life = Lifetime::starting(start, Duration::from_secs(5), Duration::ZERO);
        assert_eq!(life.at(start + Duration::from_secs(5)), Age::Dead);
    }

    #[test]
    fn endless_durations_do_not_overflow() {
        let start = Instant::now();
        let life = Lifetime::starting(start, Duration::MAX, Duration::MAX);
        assert_eq!(life.at(start + Duration::from_hours(10 * 365 * 24)), Age::Fresh);
    }
}
