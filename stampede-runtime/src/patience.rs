//! How long a call waits: `timeout` and `soft_timeout`. Boxed, and only there where one of them is given.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::policy::{Rules, after};
use crate::timer::Timer;

pin_project! {
    /// The ends of a call's patience, and one timer for whichever is next.
    pub(crate) struct Patience {
        #[pin]
        timer: Timer,
        soft: Option<Instant>,
        hard: Option<Instant>,
        timeout: Duration,
    }
}

/// What has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// An old value will do from here on, if there is one.
    Soft,
    /// The call is over, after this long.
    Hard(Duration),
}

impl Patience {
    /// That of a call which begins now. `takes_old`: it may be answered with an old value.
    pub(crate) fn new(rules: &Rules, takes_old: bool) -> Option<Pin<Box<Self>>> {
        let Rules { timeout, soft_timeout, .. } = *rules;
        if timeout.is_zero() && (soft_timeout.is_zero() || !takes_old) {
            return None;
        }
        let now = Instant::now();
        let end = |duration: Duration| (!duration.is_zero()).then(|| after(now, duration));
        let soft = end(soft_timeout).filter(|_| takes_old);
        Some(Box::pin(Self { timer: Timer::default(), soft, hard: end(timeout), timeout }))
    }

    /// Ready when the next end is reached; each is reached once.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lapse> {
        let mut this = self.project();
        let soft = this.soft.filter(|soft| this.hard.is_none_or(|hard| *soft <= hard));
        let Some(next) = soft.or(*this.hard) else { return Poll::Pending };
        if this.timer.as_mut().poll(next, cx).is_pending() {
            return Poll::Pending;
        }
        if soft.is_some() {
            *this.soft = None;
            return Poll::Ready(Lapse::Soft);
        }
        *this.hard = None;
        Poll::Ready(Lapse::Hard(*this.timeout))
    }
}
