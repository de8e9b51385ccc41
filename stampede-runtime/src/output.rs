//! The way between what knows a function's types and what does not: a body packs what it returns, and a call unpacks what
//! it is given. All that lies between is compiled once, here, and not for each type in the crates of the users.

use std::sync::Arc;
use std::time::Duration;

use crate::flight::{Outcome, Waiter};
use crate::memory::{AnyStored, Entry, Stored};
use crate::refusal::{CircuitOpen, Timeout};
use crate::reply::{Share, Value};
use crate::settled::AnyError;
use crate::stats::Outcome as Counted;
use crate::tally::Tally;

/// What a body has returned.
pub struct Output(pub(crate) Packed);

/// What is stored, for who takes an answer.
#[derive(Clone, Copy)]
pub struct Seen<'s>(pub(crate) Entry<'s>);

/// What a body has returned, and nobody has judged yet.
pub(crate) enum Packed {
    /// A value; one that came as an error, in a [`NoCache`](crate::NoCache), is not to be stored.
    Value { value: Arc<AnyStored>, no_cache: bool },
    /// An error, as it came.
    Error(AnyError),
}

impl Output {
    pub(crate) fn value<V: Value>(value: V) -> Self {
        Self(Packed::Value { value: Arc::new(Stored::new(value)), no_cache: false })
    }

    pub(crate) fn carried<V: Value>(value: V) -> Self {
        Self(Packed::Value { value: Arc::new(Stored::new(value)), no_cache: true })
    }

    pub(crate) fn error<E: Send + 'static, H: Share<E>>(error: E) -> Self {
        Self(Packed::Error(AnyError::new::<E, H>(error)))
    }
}

/// What a call comes to.
pub(crate) enum Answer {
    /// A copy of this value, or a share of this error.
    Stored(Arc<AnyStored>),
    /// The same of what the flight came to that the call has waited for.
    Settled(Waiter),
    /// What its own body has returned, to it alone.
    Own(Packed),
    TimedOut(&'static str, Duration),
    CircuitOpen(&'static str),
}

/// What a call comes to, on its way to the caller, and the count of it.
pub struct Given {
    answer: Answer,
    tally: Tally,
}

/// Why a call has no value.
enum Failure<'g> {
    Error(&'g AnyError),
    TimedOut(Timeout),
    CircuitOpen(CircuitOpen),
}

impl Answer {
    fn stored(&self) -> Option<&AnyStored> {
        match self {
            Self::Stored(stored) => Some(stored),
            Self::Settled(waiter) => match waiter.flight.outcome() {
                Some(Outcome::Stored(stored)) => Some(stored),
                _ => None,
            },
            _ => None,
        }
    }

    /// A value that nobody else has.
    fn own(&mut self) -> Option<&mut AnyStored> {
        if let Self::Own(Packed::Value { value, .. }) = self { Arc::get_mut(value) } else { None }
    }

    fn failure(&self) -> Option<Failure<'_>> {
        match self {
            Self::Stored(_) => self.stored()?.downcast().map(Failure::Error),
            Self::Settled(waiter) => match waiter.flight.outcome() {
                Some(Outcome::Error(error)) => Some(Failure::Error(error)),
                _ => self.stored()?.downcast().map(Failure::Error),
            },
            Self::Own(Packed::Error(error)) => Some(Failure::Error(error)),
            Self::Own(Packed::Value { .. }) => None,
            Self::TimedOut(cache, after) => Some(Failure::TimedOut(Timeout { cache, after: *after })),
            Self::CircuitOpen(cache) => Some(Failure::CircuitOpen(CircuitOpen { cache })),
        }
    }
}

impl Given {
    pub(crate) fn new(answer: Answer, tally: Tally) -> Self {
        if let Answer::Stored(stored) = &answer
            && tally.outcome == Counted::Stale
        {
            tally.store.flights().telemetry.stale_answer(tally.space, stored);
        }
        Self { answer, tally }
    }

    /// The value, if that is what the call comes to: a copy, or itself if it is nobody else's.
    pub(crate) fn value<V: Value>(&mut self) -> Option<V> {
        let Self { answer, tally } = self;
        if let Some(stored) = answer.stored()
            && let Some(value) = stored.downcast::<V>()
        {
            let path = tally.enter_users_code();
            let value = value.clone();
            tally.took(path);
            return Some(value);
        }
        answer.own()?.take()
    }

    /// The error, if it does not come to a value.
    pub(crate) fn error<E: Send + 'static, H: Share<E>>(self, share: H) -> E {
        let error = match self.answer.failure() {
            Some(Failure::Error(error)) => error.take(share),
            Some(Failure::TimedOut(timeout)) => share.timeout(timeout),
            Some(Failure::CircuitOpen(open)) => share.circuit_open(open),
            None => None,
        };
        match error {
            Some(error) => error,
            None => self.give_up(),
        }
    }

    /// The function has no error to say so.
    pub(crate) fn give_up(mut self) -> ! {
        match self.answer {
            Answer::TimedOut(cache, _) => {
                self.tally.panic(&format!("a call of `{cache}` timed out, and has no error to say so"))
            }
            Answer::CircuitOpen(_) => self.tally.panic("a breaker is open, and the call has no error to say so"),
            _ => unreachable!("an answer is of the call's own types"),
        }
    }
}
