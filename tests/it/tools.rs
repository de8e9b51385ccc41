//! What several test modules share: calls that are polled by hand, and an origin whose reads can be held back.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::stores::Store;
use tokio::sync::Semaphore;
use tokio::task::yield_now;

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lets everything that can go on go on; time stands still.
pub(crate) async fn settle() {
    for _ in 0..40 {
        yield_now().await;
    }
}

/// Lets time pass, once nothing is left to do, and everything happen that it brings about.
pub(crate) async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    settle().await;
}

/// A future that is polled when told.
pub(crate) struct Call<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    answer: Option<T>,
}

impl<'a, T: Clone> Call<'a, T> {
    /// One that has been polled once.
    pub(crate) async fn start(future: impl Future<Output = T> + 'a) -> Self {
        let mut call = Self { future: Box::pin(future), answer: None };
        call.poll().await;
        call
    }

    pub(crate) async fn poll(&mut self) -> Option<T> {
        if self.answer.is_none() {
            let polled = poll_fn(|cx| Poll::Ready(self.future.as_mut().poll(cx))).await;
            if let Poll::Ready(answer) = polled {
                self.answer = Some(answer);
            }
        }
        self.answer.clone()
    }
}

/// Polls these calls until nothing can go on any more, and gives their answers.
pub(crate) async fn drive<T: Clone>(calls: &mut [Call<'_, T>]) -> Vec<Option<T>> {
    for _ in 0..20 {
        for call in calls.iter_mut() {
            call.poll().await;
        }
        yield_now().await;
    }
    calls.iter().map(|call| call.answer.clone()).collect()
}

/// Where the bodies read: the n-th read gives n, once it is released.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Reads>);

struct Reads {
    begun: AtomicU64,
    gates: Vec<Semaphore>,
}

impl Origin {
    const READS: usize = 64;

    /// One whose reads are held back until they are released.
    pub(crate) fn gated() -> Self {
        Self::with(0)
    }

    /// One whose reads are answered at once.
    pub(crate) fn open() -> Self {
        Self::with(1)
    }

    fn with(permits: usize) -> Self {
        let gates = (0..Self::READS).map(|_| Semaphore::new(permits)).collect();
        Self(Arc::new(Reads { begun: AtomicU64::new(0), gates }))
    }

    pub(crate) async fn read(&self) -> u64 {
        let number = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let gate = self.gate(number);
        gate.acquire().await.expect("gates are never closed").forget();
        number
    }

    /// Lets the n-th read end.
    pub(crate) fn release(&self, number: u64) {
        self.gate(number).add_permits(1);
    }

    /// How many reads have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    fn gate(&self, number: u64) -> &Semaphore {
        &self.0.gates[usize::try_from(number).expect("few reads")]
    }
}

/// What must hold of a store at rest: nothing is under way, and every call counted once.
pub(crate) fn assert_at_rest(store: &Store, calls: u64) {
    let stats = store.stats();
    assert_eq!((stats.in_flight, stats.waiting, stats.calls.total()), (0, 0, calls), "{stats:?}");
}
