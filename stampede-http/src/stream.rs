//! A body that one producer fills and any number of readers follow, each at its own pace.
//!
//! Invariants:
//!
//! 1. Chunks are only ever added at the end, and bear the offset that they begin at; many small ones are put together. Up to
//!    `limit` bytes (with what each chunk costs besides) all of them are kept: a reader can begin, and be, anywhere, and
//!    nobody waits for anybody.
//! 2. A body beyond `limit` has outgrown it for good: it is not stored, nobody can begin any more who missed its start,
//!    and chunks that all readers have passed are let go. The producer then keeps to `limit` bytes between the slowest
//!    reader and itself. If somebody is out of bytes meanwhile, those who hold it up have [`PATIENCE`] to move on; then
//!    they are left behind, with an error.
//! 3. The end is set once, and is final: complete, with trailers or without, or failed. Every reader that has not been left
//!    behind sees it after the last byte, and nobody sees a complete end of a failed body.
//! 4. A body that is complete and has not outgrown its limit is moved to `whole`, under the lock, and read there without
//!    it by those who begin after that.
//! 5. A body is given up when nobody can have an interest in it any more: nobody holds its `Exchange`, or it has lost its
//!    start and its last reader. One that is for readers only says when nobody reads it (`is_unread`): callers who waited
//!    for its head may still be on their way.
//! 6. Wakers are woken, and bytes and errors dropped, outside the lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::BodyError;

/// How long a reader may hold up the others of a body that has outgrown its limit, and a body that is for readers only goes on
/// without any.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What a chunk costs besides its bytes.
const OVERHEAD: usize = 64;

/// A chunk of fewer bytes is small: copies of it are cheap, and what it is a slice of may be large.
const SMALL: usize = 1024;

/// So many small chunks in a row become one.
const MANY: usize = 64;

/// A body under way, or at its end.
#[derive(Debug)]
pub(crate) struct Stream {
    limit: usize,
    state: Mutex<State>,
    whole: OnceLock<Whole>,
}

/// Bytes, and the offset that they begin at.
type Chunk = (u64, Bytes);

/// A body that is complete.
#[derive(Debug)]
pub(crate) struct Whole {
    chunks: Box<[Chunk]>,
    pub(crate) len: u64,
    pub(crate) trailers: Option<HeaderMap>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// How many of the last chunks are small, and have not been put together.
    small: usize,
    /// What the chunks kept cost.
    cost: usize,
    /// All bytes so far, and the offset that the next chunk begins at.
    len: u64,
    outgrown: bool,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    readers: Vec<Option<Place>>,
    producer: Option<Waker>,
    purpose: Purpose,
    /// Nobody has a use for the body any more.
    abandoned: bool,
}

/// Whom a body is of use to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// It is stored in the end.
    #[default]
    Everybody,
    Readers,
    /// It was for readers only, and they have left.
    Nobody,
}

#[derive(Debug, Default)]
struct Place {
    offset: u64,
    waker: Option<Waker>,
    left_behind: bool,
}

/// What is next for a reader.
#[derive(Debug)]
pub(crate) enum Next {
    Bytes(Bytes),
    /// The end of a complete body.
    End(Option<HeaderMap>),
    Failed(BodyError),
}

/// Whether the producer may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Yes,
    /// Not before the slowest reader moves on, and another one is out of bytes.
    HeldUp,
    /// The same, and nobody is.
    Full,
    /// Nobody wants the body any more.
    Abandoned,
}

impl Stream {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), whole: OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body is not going to be stored, or not if nobody reads it.
    pub(crate) fn is_for_readers_only(&self) {
        self.lock().purpose = Purpose::Readers;
    }

    /// Whether a body is for readers only, and has none any more.
    pub(crate) fn is_unread(&self) -> bool {
        self.whole.get().is_none() && self.lock().purpose == Purpose::Nobody
    }

    /// The body, if it is complete and all there.
    pub(crate) fn whole(&self) -> Option<&Whole> {
        self.whole.get()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.whole.get().is_none() && matches!(self.lock().end, Some(Err(_)))
    }

    /// Whether there is more to come, of a body that is kept from its start.
    pub(crate) fn is_growing(&self) -> bool {
        let state = self.lock();
        state.end.is_none() && !state.outgrown
    }

    pub(crate) fn has_outgrown(&self) -> bool {
        self.whole.get().is_none() && self.lock().outgrown
    }

    /// What is in memory of it.
    pub(crate) fn cost(&self) -> usize {
        match self.whole.get() {
            Some(whole) => whole.chunks.iter().map(|(_, bytes)| bytes.len() + OVERHEAD).sum(),
            None => self.lock().cost,
        }
    }

    /// All bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.whole.get().map_or_else(|| self.lock().len, |whole| whole.len)
    }

    /// Adds bytes.
    pub(crate) fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        let apart = state.add(bytes);
        state.outgrown |= state.cost > self.limit;
        let passed = state.trim();
        let wakers = state.wakers();
        drop(state);
        drop((apart, passed));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The body is over; with trailers, if there are any, or by an error. Only the first end counts.
    pub(crate) fn end(&self, end: Result<Option<HeaderMap>, BodyError>) {
        let mut state = self.lock();
        let mut apart = VecDeque::new();
        if state.end.is_none() {
            if let Ok(trailers) = &end
                && !state.outgrown
            {
                let chunks = merged(&state.chunks);
                let _ = self.whole.set(Whole { chunks, len: state.len, trailers: trailers.clone() });
                apart = std::mem::take(&mut state.chunks);
            }
            state.end = Some(end);
        }
        let wakers = state.wakers();
        drop(state);
        drop(apart);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nobody has a use for the body any more.
    pub(crate) fn abandon(&self) {
        if self.whole.get().is_some() {
            return;
        }
        let mut state = self.lock();
        state.abandoned = true;
        let producer = state.producer.take();
        drop(state);
        producer.into_iter().for_each(Waker::wake);
    }

    /// Whether the producer may go on. It is woken when that changes.
    pub(crate) fn room(&self, cx: &Context<'_>) -> Room {
        let mut state = self.lock();
        let room = if state.abandoned {
            Room::Abandoned
        } else if !state.outgrown || state.cost < self.limit {
            Room::Yes
        } else if state.is_waited_for() {
            Room::HeldUp
        } else {
            Room::Full
        };
        let replaced = state.producer.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        room
    }

    /// Leaves those behind who hold up the others.
    pub(crate) fn leave_behind(&self) {
        let mut state = self.lock();
        let within = state.chunks.front().map_or(0, |(start, bytes)| start + bytes.len() as u64);
        let mut wakers = Vec::new();
        for place in state.readers.iter_mut().flatten().filter(|place| place.offset < within) {
            place.left_behind = true;
            wakers.extend(place.waker.take());
        }
        let passed = state.trim();
        drop(state);
        drop(passed);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A reader at this offset; `None` if what is there has been let go.
    pub(crate) fn read_from(self: &Arc<Self>, offset: u64) -> Option<Cursor> {
        let of_whole = || Cursor { stream: Arc::clone(self), offset, place: None };
        if self.whole.get().is_some() {
            return Some(of_whole());
        }
        let mut state = self.lock();
        if self.whole.get().is_some() {
            return Some(of_whole());
        }
        if state.chunks.front().map_or(state.len, |(start, _)| *start) > offset {
            return None;
        }
        if state.purpose == Purpose::Nobody {
            state.purpose = Purpose::Readers;
        }
        let place = Some(Place { offset, ..Place::default() });
        let index = state.readers.iter().position(Option::is_none).unwrap_or(state.readers.len());
        match state.readers.get_mut(index) {
            Some(free) => *free = place,
            None => state.readers.push(place),
        }
        drop(state);
        Some(Cursor { stream: Arc::clone(self), offset, place: Some(index) })
    }
}

impl State {
    fn wakers(&mut self) -> Vec<Waker> {
        self.readers.iter_mut().flatten().filter_map(|place| place.waker.take()).collect()
    }

    /// Adds a chunk. Gives those back that have become one.
    fn add(&mut self, bytes: Bytes) -> Vec<Chunk> {
        self.small = if bytes.len() < SMALL { self.small + 1 } else { 0 };
        self.cost += bytes.len() + OVERHEAD;
        let start = self.len;
        self.len += bytes.len() as u64;
        self.chunks.push_back((start, bytes));
        if self.small < MANY {
            return Vec::new();
        }
        self.small = 0;
        // Some may have been let go.
        let apart = self.chunks.split_off(self.chunks.len().saturating_sub(MANY));
        self.cost -= OVERHEAD * (apart.len() - 1);
        self.chunks.extend(apart.front().map(|(start, _)| (*start, joined(&apart))));
        apart.into()
    }

    /// Whether a reader is out of bytes: it waits for the next ones, or for some beyond.
    fn is_waited_for(&self) -> bool {
        self.readers.iter().flatten().any(|place| place.offset >= self.len && place.waker.is_some())
    }

    /// Lets go of what all readers have passed, if not everything is to be kept.
    fn trim(&mut self) -> Vec<Chunk> {
        let mut passed = Vec::new();
        if !self.outgrown {
            return passed;
        }
        let places = self.readers.iter().flatten().filter(|place| !place.left_behind);
        // Without readers there may yet be some.
        let Some(slowest) = places.map(|place| place.offset).min() else { return passed };
        while let Some(chunk) = self.chunks.pop_front_if(|(start, bytes)| *start + bytes.len() as u64 <= slowest) {
            self.cost -= chunk.1.len() + OVERHEAD;
            passed.push(chunk);
        }
        passed
    }

    /// The producer, if it may have to know that a reader has moved on, or waits, or is gone.
    fn producer_to_wake(&mut self) -> Option<Waker> {
        let wanted = self.outgrown || self.abandoned || self.purpose == Purpose::Nobody;
        if wanted { self.producer.take() } else { None }
    }
}

/// The chunks of a complete body; small ones as one.
fn merged(chunks: &VecDeque<Chunk>) -> Box<[Chunk]> {
    let len: usize = chunks.iter().map(|(_, bytes)| bytes.len()).sum();
    if len > 0 && len / chunks.len() < 4 * SMALL {
        return Box::new([(0, joined(chunks))]);
    }
    chunks.iter().cloned().collect()
}

/// A copy in one piece.
fn joined(chunks: &VecDeque<Chunk>) -> Bytes {
    let mut all = Vec::with_capacity(chunks.iter().map(|(_, bytes)| bytes.len()).sum());
    for (_, bytes) in chunks {
        all.extend_from_slice(bytes);
    }
    all.into()
}

/// What there is at an offset, up to the end of its chunk.
fn at<'c>(offset: u64, len: usize, chunk: impl Fn(usize) -> Option<&'c Chunk>) -> Option<Bytes> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if chunk(middle)?.0 <= offset { low = middle + 1 } else { high = middle }
    }
    let (start, bytes) = chunk(low.checked_sub(1)?)?;
    let skip = usize::try_from(offset - start).ok().filter(|skip| *skip < bytes.len())?;
    Some(bytes.slice(skip..))
}

impl Whole {
    fn at(&self, offset: u64) -> Option<Bytes> {
        at(offset, self.chunks.len(), |index| self.chunks.get(index))
    }

    /// The bytes, if they are in one piece and there is nothing else.
    pub(crate) fn alone(&self) -> Option<Bytes> {
        match &*self.chunks {
            _ if self.trailers.is_some() => None,
            [] => Some(Bytes::new()),
            [(_, bytes)] => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The length, if there are no trailers, which leave no room for it.
    pub(crate) fn len_alone(&self) -> Option<u64> {
        if self.trailers.is_some() { None } else { Some(self.len) }
    }

    /// The bytes, chunk by chunk.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|(_, bytes)| &**bytes)
    }
}

/// A reader's place in a stream. Dropping it gives up the place and nothing else.
#[derive(Debug)]
pub(crate) struct Cursor {
    stream: Arc<Stream>,
    offset: u64,
    /// The entry in the stream's list, for those who began before its end.
    place: Option<usize>,
}

impl Cursor {
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves on without having read, or back.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        if let Some(index) = self.place {
            let mut state = self.stream.lock();
            if let Some(place) = state.readers.get_mut(index).and_then(Option::as_mut) {
                place.offset = offset;
            }
        }
    }

    /// What is next, if the body is complete.
    fn next_of_whole(&mut self) -> Option<Next> {
        let whole = self.stream.whole.get()?;
        Some(match whole.at(self.offset) {
            Some(bytes) => {
                self.offset += bytes.len() as u64;
                Next::Bytes(bytes)
            }
            None => Next::End(whole.trailers.clone()),
        })
    }

    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        let stream = Arc::clone(&self.stream);
        // The end moves the bytes under the lock: who began before it looks for them under the lock.
        let guard = self.place.map(|_| stream.lock());
        if let Some(next) = self.next_of_whole() {
            return Poll::Ready(next);
        }
        let mut guard = guard.unwrap_or_else(|| stream.lock());
        let state = &mut *guard;
        let place = self.place.and_then(|index| state.readers.get_mut(index)).and_then(Option::as_mut);
        // Whoever began before the end has a place.
        let Some(place) = place.filter(|place| !place.left_behind) else {
            return Poll::Ready(Next::Failed(BodyError::left_behind()));
        };
        let mut replaced = None;
        let next = match at(self.offset, state.chunks.len(), |index| state.chunks.get(index)) {
            Some(bytes) => {
                self.offset += bytes.len() as u64;
                place.offset = self.offset;
                Poll::Ready(Next::Bytes(bytes))
            }
            None => match &state.end {
                Some(Ok(trailers)) => Poll::Ready(Next::End(trailers.clone())),
                Some(Err(error)) => Poll::Ready(Next::Failed(error.clone())),
                None => {
                    replaced = place.waker.replace(cx.waker().clone());
                    Poll::Pending
                }
            },
        };
        let passed = state.trim();
        let producer = state.producer_to_wake();
        drop(guard);
        drop((passed, replaced));
        producer.into_iter().for_each(Waker::wake);
        next
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let Some(index) = self.place else { return };
        let mut state = self.stream.lock();
        let place = state.readers.get_mut(index).and_then(Option::take);
        // What has lost its start has no readers to come.
        let is_cut = state.outgrown && state.chunks.front().is_none_or(|(start, _)| *start > 0);
        if state.readers.iter().all(Option::is_none) {
            state.abandoned |= is_cut;
            if state.purpose == Purpose::Readers {
                state.purpose = Purpose::Nobody;
            }
        }
        let passed = state.trim();
        let producer = state.producer_to_wake();
        drop(state);
        drop((place, passed));
        producer.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
