//! The bodies of responses.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BodyError;
use crate::exchange::Exchange;
use crate::range::Part;
use crate::stream::{Cursor, Next};

pin_project! {
    /// The body of a response that went through a [`CacheService`](crate::CacheService): one that the service passed on as it
    /// was, or a reader of one that is shared or stored, whose bytes are not copied.
    ///
    /// # Errors
    ///
    /// If the handler dies while it writes the body, everybody who reads it gets a [`BodyError`], and nobody a complete end.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the reader's place. What is stored does not depend on who reads it.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        /// All there is, in one piece.
        Known { bytes: Option<Bytes> },
        /// Nothing, which says nothing about the length of what GET would give.
        Head,
        /// One that is shared.
        Shared { reader: Box<Reader> },
        /// The handler's own.
        Own { #[pin] body: B },
        /// A part of it.
        Part { #[pin] body: B, skip: u64, left: u64 },
    }
}

/// Reads a body that is shared, or parts of it.
#[derive(Debug)]
pub(crate) struct Reader {
    cursor: Cursor,
    pieces: VecDeque<Piece>,
    /// Keeps the body from being given up.
    exchange: Arc<Exchange>,
}

/// What a reader gives, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(Bytes),
    Part(Part),
    /// All that there is, and the trailers.
    Whole,
}

impl Reader {
    /// `None` if the start of the body is gone.
    pub(crate) fn new(exchange: &Arc<Exchange>) -> Option<Self> {
        let cursor = exchange.stream.read_from(0)?;
        Some(Self { cursor, pieces: [Piece::Whole].into(), exchange: Arc::clone(exchange) })
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Only these pieces of it.
    pub(crate) fn only(self, pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut reader = Self { pieces: pieces.into_iter().collect(), ..self };
        reader.find_start();
        reader
    }

    fn find_start(&mut self) {
        if let Some(Piece::Part(part)) = self.pieces.front() {
            self.cursor.seek(part.start);
        }
    }

    fn done(&mut self) {
        self.pieces.pop_front();
        self.find_start();
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => {
                    let text = std::mem::take(text);
                    self.done();
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
                Some(Piece::Part(part)) => {
                    if part.start >= part.end {
                        self.done();
                        continue;
                    }
                    let mut bytes = match self.cursor.poll_next(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Next::Bytes(bytes)) => bytes,
                        Poll::Ready(Next::End(_)) => {
                            return self.failed(BodyError::new("the body is shorter than was declared"));
                        }
                        Poll::Ready(Next::Failed(error)) => return self.failed(error),
                    };
                    let left = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
                    bytes.truncate(left);
                    part.start += bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Piece::Whole) => {
                    return match self.cursor.poll_next(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Next::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        Poll::Ready(Next::End(trailers)) => {
                            self.done();
                            Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
                        }
                        Poll::Ready(Next::Failed(error)) => self.failed(error),
                    };
                }
            }
        }
    }

    fn failed(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.pieces.clear();
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        match (self.pieces.front(), self.cursor.stream().whole()) {
            (None, _) => true,
            (Some(Piece::Whole), Some(whole)) => self.cursor.offset() >= whole.len && whole.trailers.is_none(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut exact = Some(0);
        let mut least = 0;
        for piece in &self.pieces {
            let len = match piece {
                Piece::Text(text) => Some(text.len() as u64),
                Piece::Part(part) => Some(part.end.saturating_sub(part.start)),
                Piece::Whole => {
                    let stream = self.cursor.stream();
                    least += stream.len().saturating_sub(self.cursor.offset());
                    // A length that is known beforehand leaves no room for trailers.
                    match stream.whole() {
                        Some(whole) if whole.trailers.is_some() => self.exchange.declared,
                        Some(whole) => Some(whole.len),
                        None => self.exchange.declared,
                    }
                    .map(|len| len.saturating_sub(self.cursor.offset()))
                }
            };
            exact = exact.zip(len).map(|(sum, len)| sum + len);
        }
        let mut hint = SizeHint::new();
        match exact {
            Some(exact) => hint.set_exact(exact),
            None => hint.set_lower(least),
        }
        hint
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn known(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Known { bytes: Some(bytes.into()).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Known { bytes: None } }
    }

    pub(crate) fn of_head() -> Self {
        Self { kind: Kind::Head }
    }

    pub(crate) fn shared(reader: Reader) -> Self {
        Self { kind: Kind::Shared { reader: Box::new(reader) } }
    }

    pub(crate) fn own(body: B) -> Self {
        Self { kind: Kind::Own { body } }
    }

    pub(crate) fn part(body: B, part: Part) -> Self {
        Self { kind: Kind::Part { body, skip: part.start, left: part.end - part.start } }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Known { .. } => "known",
            Kind::Head => "head",
            Kind::Shared { .. } => "shared",
            Kind::Own { .. } => "own",
            Kind::Part { .. } => "part",
        };
        f.debug_tuple("ResponseBody").field(&kind).finish()
    }
}

/// An empty one.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().kind.project() {
            KindProjection::Known { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            KindProjection::Head => Poll::Ready(None),
            KindProjection::Shared { reader } => reader.poll_frame(cx),
            KindProjection::Own { body } => body.poll_frame(cx).map(|frame| frame.map(in_bytes)),
            KindProjection::Part { mut body, skip, left } => loop {
                if *left == 0 {
                    return Poll::Ready(None);
                }
                let mut bytes = match body.as_mut().poll_frame(cx).map(|frame| frame.map(in_bytes)) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(bytes) => bytes,
                        Err(_) => continue,
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => {
                        *left = 0;
                        return Poll::Ready(Some(Err(BodyError::new("the body is shorter than was declared"))));
                    }
                };
                let before = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
                bytes.advance(before);
                *skip -= before as u64;
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
                if !bytes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Known { bytes } => bytes.is_none(),
            Kind::Head => true,
            Kind::Shared { reader } => reader.is_end_stream(),
            Kind::Own { body } => body.is_end_stream(),
            Kind::Part { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Known { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Head => SizeHint::new(),
            Kind::Shared { reader } => reader.size_hint(),
            Kind::Own { body } => body.size_hint(),
            Kind::Part { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

/// A frame of any kind of data, with its errors, as ours. What is `Bytes` already is not copied.
pub(crate) fn in_bytes<D: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
    frame: Result<Frame<D>, E>,
) -> Result<Frame<Bytes>, BodyError> {
    match frame {
        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
        Err(error) => Err(BodyError::of_handler(error)),
    }
}

/// The trailers of a frame that is no data.
pub(crate) fn trailers(frame: Frame<Bytes>) -> Option<HeaderMap> {
    frame.into_trailers().ok()
}
