//! How long a call waits: `timeout` and `soft_timeout`. Boxed, and only there where one of them is given.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::policy::{Rules, after};

pin_project! {
    /// The ends of a call's patience, and one timer for whichever is next.
    pub(crate) struct Patience {
        #[pin]
        timer: Option<Sleep>,
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
        Some(Box::pin(Self { timer: None, soft, hard: end(timeout), timeout }))
    }

    /// Ready when the next end is reached; each is reached once.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lapse> {
        let mut this = self.project();
        let soft = this.soft.filter(|soft| this.hard.is_none_or(|hard| *soft <= hard));
        let Some(next) = soft.or(*this.hard) else { return Poll::Pending };
        // Where there is no runtime to wake the call, the clock is looked at when it is polled.
        if Handle::try_current().is_err() {
            if Instant::now() < next {
                return Poll::Pending;
            }
        } else {
            match this.timer.as_mut().as_pin_mut() {
                None => this.timer.set(Some(sleep_until(next))),
                Some(timer) if timer.deadline() != next => timer.reset(next),
                Some(_) => {}
            }
            if this.timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_pending()) {
                return Poll::Pending;
            }
        }
        if soft.is_some() {
            *this.soft = None;
            return Poll::Ready(Lapse::Soft);
        }
        *this.hard = None;
        Poll::Ready(Lapse::Hard(*this.timeout))
    }
}
