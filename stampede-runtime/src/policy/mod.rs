//! Policy: what a call does. Pure functions of the entry, the time, the options and a random number; the rest obeys.
//!
//! No clock, no lock, no I/O: who asks brings the time and the chance along, so that every case can be told in a table.
//!
//! ```text
//!   written           refresh_at             fresh_until            + stale_while_revalidate      + stale_if_error
//!      ├──── Fresh ───────┼── Fresh, or Due ──────┼─────── Stale ──────────────┼────── Reserve ──────────┼── Dead
//! ```

mod circuit;
mod lifetime;
mod options;

use std::time::Duration;

use tokio::time::Instant;

pub use self::circuit::BreakerState;
pub(crate) use self::circuit::{Change, Circuit, Report, Trip};
pub(crate) use self::lifetime::{Lifetime, Terms, Windows, nanos};
pub use self::options::Options;
pub(crate) use self::options::{Rules, Weight};

/// How a call wants to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Normal,
    NoStale,
    Fresh,
    Uncached,
}

/// What a stored value is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Within its TTL: the answer.
    Fresh,
    /// The same, and it is time for a refresh.
    Due,
    /// Past its TTL, within `stale_while_revalidate`: an answer while a refresh is under way.
    Stale,
    /// Past that, within `stale_if_error`: an answer if a run fails.
    Reserve,
    /// Perhaps voided elsewhere, without our having heard of it: the remote tier is to be asked.
    Unvouched,
    /// Past everything: no answer.
    Dead,
}

impl Age {
    /// Whether the value is within its TTL.
    pub(crate) fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::Due)
    }
}

/// What a call does about the value that it has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value is the answer.
    Answer,
    /// It is, and a run in the background replaces it, unless one is under way.
    Refresh,
    /// The call waits for a run.
    Run,
}

/// What a call of this mode does about a value of this age. `put_off`: a run has failed, or stored nothing, less than
/// `retry_after` ago.
pub(crate) fn step(age: Age, mode: Mode, put_off: bool) -> Step {
    match (mode, age) {
        (Mode::Fresh | Mode::Uncached, _)
        | (Mode::NoStale, Age::Stale | Age::Reserve)
        | (_, Age::Unvouched | Age::Dead) => Step::Run,
        (_, Age::Fresh) => Step::Answer,
        (_, Age::Due | Age::Stale | Age::Reserve) if put_off => Step::Answer,
        (_, Age::Due | Age::Stale) => Step::Refresh,
        (_, Age::Reserve) => Step::Run,
    }
}

/// Whether a value of this age is the answer of a call whose run has failed, has timed out, or may not start; or that has
/// waited long enough.
///
/// A call that `refreshes` set out to replace a value that was an answer. Any other takes an old value; one that somebody
/// has put meanwhile it takes only where errors are made up for at all.
pub(crate) fn makes_up(age: Age, mode: Mode, refreshes: bool, life: &Lifetime) -> bool {
    match (age, mode) {
        (Age::Unvouched | Age::Dead, _) | (_, Mode::Fresh | Mode::Uncached) => false,
        (Age::Fresh | Age::Due, _) => refreshes || mode == Mode::Normal && life.covers_errors(),
        (Age::Stale | Age::Reserve, _) => mode == Mode::Normal,
    }
}

/// The instant that lies `duration` after `now`; more than some decades mean some decades.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(30 * 365 * 24);
    now + duration.min(FAR)
}

#[cfg(test)]
mod tests;
