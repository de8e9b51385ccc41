//! A timer that goes along with whoever polls it, from one runtime to the next.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// A timer of the runtime that it was last polled in. That may be gone when it is polled again.
    #[derive(Debug, Default)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<Sleep>,
        runtime: Option<Id>,
    }
}

impl Timer {
    /// Ready when `then` has come. Where there is no runtime to wake the caller, the clock is looked at when it is polled.
    pub(crate) fn poll(self: Pin<&mut Self>, then: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Ok(runtime) = Handle::try_current() else {
            return if Instant::now() < then { Poll::Pending } else { Poll::Ready(()) };
        };
        let is_here = this.runtime.replace(runtime.id()) == Some(runtime.id());
        match this.sleep.as_mut().as_pin_mut() {
            Some(sleep) if is_here => {
                if sleep.deadline() != then {
                    sleep.reset(then);
                }
            }
            _ => this.sleep.set(Some(sleep_until(then))),
        }
        this.sleep.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
    }
}
