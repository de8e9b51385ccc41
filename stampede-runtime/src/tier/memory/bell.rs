//! What wakes those who watch a key. It rings once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::tier::Word;

#[derive(Default)]
struct State {
    rung: Option<Word>,
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

    pub(super) fn ring(self, word: Word) {
        let waker = {
            let mut state = lock(&self.0);
            state.rung = Some(word);
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
    type Output = Word;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Word> {
        let mut state = lock(&self.0);
        if let Some(word) = state.rung {
            return Poll::Ready(word);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
