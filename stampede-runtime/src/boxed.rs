//! Futures of one type for all that come to the same.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::Mutex;

/// A future in a box. Never locked: the mutex makes what holds it `Sync`.
pub struct Boxed<T>(Mutex<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Boxed<T> {
    /// Takes the box, so that there is one of this for each `T` and not for each future.
    pub(crate) fn new(future: Box<dyn Future<Output = T> + Send>) -> Self {
        Self(Mutex::new(Box::into_pin(future)))
    }
}

impl<T> Future for Boxed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.get_mut().as_mut().poll(cx)
    }
}
