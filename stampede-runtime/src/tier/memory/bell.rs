//! What wakes those who watch a key. It rings once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
struct State {
    has_rung: bool,
    waker: Option<Waker>,
}

pub(super) struct Bell(Arc<Mutex<State>>);

/// Ready when the bell has rung.
pub(super) struct Ringing(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bell {
    pub(super) fn new() -> (Self, Ringing) {
        let state = Arc::default();
        (Self(Arc::clone(&state)), Ringing(state))
    }

    pub(super) fn ring(self) {
        let waker = {
            let mut state = lock(&self.0);
            state.has_rung = true;
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether anybody waits for it.
    pub(super) fn is_heard(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Future for Ringing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.has_rung {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
