//! Wishes for single calls: `fresh`, `no_stale`, `uncached`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context::{InMode, Within};
use crate::policy::Mode;

/// Makes coalesced calls run now: no stored value will do, fresh or stale.
///
/// A run under way that was not started by `fresh` loses its currency: it is delivered to those who wait for it and not
/// stored. Concurrent `fresh` calls for one key share one run, whose value is stored as ever.
///
/// It applies to every coalesced call awaited within the future, through `join!`, `select!` or `Box::pin`, and neither to
/// calls inside the runs that those start nor to tasks that are spawned. The innermost wrapper counts. A wrapper that met no
/// coalesced call logs a warning, once.
///
/// # Cancel safety
///
/// Dropping the future drops the one within; the wrapper adds nothing that could be lost.
pub fn fresh<F: Future>(future: F) -> Wrapped<F> {
    Wrapped::new("fresh", Mode::Fresh, future)
}

/// Makes coalesced calls give no stale value: a fresh one will do, else they wait for a run, also for a refresh under way.
///
/// It applies to the same calls as [`fresh`].
///
/// # Cancel safety
///
/// Dropping the future drops the one within; the wrapper adds nothing that could be lost.
pub fn no_stale<F: Future>(future: F) -> Wrapped<F> {
    Wrapped::new("no_stale", Mode::NoStale, future)
}

/// Makes coalesced calls run their bodies as if they were not annotated: they neither read the store, nor join a run, nor
/// store anything.
///
/// The body runs in the caller's task, and not at all after the caller has left. It applies to the same calls as [`fresh`].
///
/// # Cancel safety
///
/// Dropping the future drops the one within, and with it the body.
pub fn uncached<F: Future>(future: F) -> Wrapped<F> {
    Wrapped::new("uncached", Mode::Uncached, future)
}

pin_project! {
    /// A future whose coalesced calls follow a wish. Made by [`fresh`], [`no_stale`] and [`uncached`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Wrapped<F> {
        name: &'static str,
        #[pin]
        within: Within<InMode, F>,
    }
}

impl<F: Future> Wrapped<F> {
    fn new(name: &'static str, mode: Mode, future: F) -> Self {
        Self { name, within: Within::new(InMode::new(mode), future) }
    }
}

impl<F: Future> Future for Wrapped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let polled = this.within.as_mut().poll(cx);
        if polled.is_ready() && !this.within.layer().read {
            warn_about_wrapper(this.name);
        }
        polled
    }
}

/// Once: the wish had nobody to follow it, which is hardly what was meant.
fn warn_about_wrapper(name: &'static str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            wrapper = name,
            "a wrapper met no coalesced call: wrap the future of the call itself, not of a task that makes it"
        );
    });
}
