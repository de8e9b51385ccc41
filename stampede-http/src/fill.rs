//! The producer of a shared body: polls the handler's and fills the stream.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use http_body::Body;
use tokio::time::{Sleep, sleep};

use crate::body::{in_bytes, trailers};
use crate::config::Config;
use crate::error::BodyError;
use crate::headers::shareable;
use crate::stream::{PATIENCE, Room, Stream};

/// Moves a body into a stream. Dropped before its end, it fails the stream: nobody takes what there is for all.
pub(crate) struct Fill<B> {
    body: Pin<Box<B>>,
    stream: Arc<Stream>,
    /// The length that the head declares.
    declared: Option<u64>,
    config: Arc<Config>,
    trailers: Option<HeaderMap>,
    held_up: Option<Pin<Box<Sleep>>>,
}

impl<B> Fill<B> {
    pub(crate) fn new(body: B, stream: Arc<Stream>, declared: Option<u64>, config: Arc<Config>) -> Self {
        Self { body: Box::pin(body), stream, declared, config, trailers: None, held_up: None }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Fails the stream.
    pub(crate) fn give_up(&self, what: &'static str) {
        self.stream.end(Err(BodyError::new(what)));
    }
}

impl<B> Fill<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Ready when the stream has come to its end, or nobody wants it any more. Returns early, `Pending` and with its waker
    /// woken, when the body has just outgrown its limit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.stream.room(cx) {
                Room::Yes => self.held_up = None,
                Room::Abandoned => {
                    self.give_up("nobody reads the response any more");
                    return Poll::Ready(());
                }
                Room::Full => {
                    self.held_up = None;
                    return Poll::Pending;
                }
                Room::HeldUp => {
                    let held_up = self.held_up.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                    if held_up.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.held_up = None;
                    self.stream.leave_behind();
                    continue;
                }
            }
            let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else { return Poll::Pending };
            match frame.map(in_bytes) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        let before = self.stream.has_outgrown();
                        self.stream.push(bytes);
                        if self.declared.is_some_and(|declared| self.stream.len() > declared) {
                            self.give_up("the body is longer than was declared");
                            return Poll::Ready(());
                        }
                        if !before && self.stream.has_outgrown() {
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                    }
                    // For all, so without what concerns one of them.
                    Err(frame) => {
                        self.trailers = trailers(frame).map(|all| shareable(&all, &self.config.personal_headers));
                    }
                },
                Some(Err(error)) => {
                    self.stream.end(Err(error));
                    return Poll::Ready(());
                }
                None => {
                    if self.declared.is_some_and(|declared| self.stream.len() < declared) {
                        self.give_up("the body is shorter than was declared");
                    } else {
                        self.stream.end(Ok(self.trailers.take()));
                    }
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<B> Drop for Fill<B> {
    fn drop(&mut self) {
        // Changes nothing where there is an end.
        self.give_up("the handler's run ended before its body");
    }
}
