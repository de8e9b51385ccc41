//! A call's place in a flight, and what becomes of it.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cycle::Edge;
use crate::flight::{Arrival, Outcome as Settled, Waiter};
use crate::memory::AnyStored;
use crate::output::{Answer, Given};
use crate::patience::{Lapse, Patience};
use crate::policy::Mode;
use crate::stats::Outcome;
use crate::tally::{Kind, Tally, Ticket};

/// A call's place in a flight.
pub(crate) struct Waiting {
    waiter: Waiter,
    pub(crate) tally: Tally,
    _edge: Option<Box<Edge>>,
    patience: Option<Pin<Box<Patience>>>,
    pub(crate) mode: Mode,
    pub(crate) role: Role,
    /// Whether there can be an old value that makes up for a lost run.
    pub(crate) has_window: bool,
}

/// What is left of a call whose flight has no answer for it: to ask again.
pub(crate) struct Again {
    pub(crate) ticket: Ticket,
    /// What the remote tier had.
    pub(crate) found: Option<Arc<AnyStored>>,
}

/// What a call has to do with the run that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is somebody else's.
    Joins,
    /// It is this call's.
    Leads,
    /// It is this call's, and is to replace a value that will do if it fails.
    Refreshes,
}

impl Waiting {
    /// A place among those who wait for somebody else's run, for the call of this ticket.
    pub(crate) fn new(waiter: Waiter, ticket: Ticket, edge: Option<Box<Edge>>) -> Self {
        let Ticket { mode, mut tally, patience, .. } = ticket;
        tally.waits();
        Self { waiter, tally, _edge: edge, patience, mode, role: Role::Joins, has_window: false }
    }

    /// Ready once the flight has an outcome, or a next run to be started.
    pub(crate) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.waiter.poll_arrival(cx)
    }

    /// Ready when an old value makes up for a run that was lost, or when the call has waited long enough.
    pub(crate) fn poll_patience(&mut self, cx: &mut Context<'_>, kind: Kind) -> Poll<Answer> {
        if self.has_window
            && self.waiter.follows_timeout()
            && let Some(old) = self.make_up(kind)
        {
            return Poll::Ready(Answer::Stored(old));
        }
        while let Some(patience) = &mut self.patience {
            let Poll::Ready(lapse) = patience.as_mut().poll(cx) else { break };
            if let Some(old) = self.make_up(kind) {
                return Poll::Ready(Answer::Stored(old));
            }
            if let Lapse::Hard(after) = lapse {
                self.tally.took(Outcome::Error);
                return Poll::Ready(Answer::TimedOut(self.waiter.run().name, after));
            }
        }
        Poll::Pending
    }

    /// The old value that will do now, if there is one.
    pub(crate) fn make_up(&mut self, kind: Kind) -> Option<Arc<AnyStored>> {
        let key = Arc::clone(&self.waiter.run().key);
        self.tally.make_up(&key, kind, self.mode, self.role == Role::Refreshes)
    }

    /// What the flight's outcome is to this call; what to ask again with if it is none.
    pub(crate) fn answer(mut self, kind: Kind) -> Result<Given, Again> {
        let flight = Arc::clone(&self.waiter.flight);
        let outcome = flight.outcome();
        if let Some(Settled::Found(stored)) = outcome {
            return Err(Again { found: Some(Arc::clone(stored)), ticket: self.into_ticket() });
        }
        if let Some(Settled::Stored(stored)) = outcome
            && stored.is(kind.value)
        {
            if self.role == Role::Refreshes {
                self.tally.took(Outcome::Miss);
            }
            return Ok(Given::new(Answer::Stored(Arc::clone(stored)), self.tally));
        }
        if let Some(old) = self.make_up(kind) {
            return Ok(Given::new(Answer::Stored(old), self.tally));
        }
        let error = match outcome {
            Some(Settled::Panic(payload, message)) => {
                self.tally.took(Outcome::Error);
                let original = if self.role == Role::Joins { None } else { payload.lock().take() };
                resume_unwind(original.unwrap_or_else(|| Box::new(message.to_string())));
            }
            Some(Settled::Stored(stored)) if kind.is_error(stored) => Answer::Stored(Arc::clone(stored)),
            Some(Settled::Error(error)) if error.is(kind.error) => Answer::Error(flight),
            // An error of another type: a `Cache` was asked in two ways at once. This caller's own run will tell.
            _ => return Err(Again { found: None, ticket: self.into_ticket() }),
        };
        self.tally.took(Outcome::Error);
        Ok(Given::new(error, self.tally))
    }

    /// To ask once more.
    pub(crate) fn into_ticket(self) -> Ticket {
        let run = self.waiter.run();
        let Self { tally, patience, mode, .. } = self;
        Ticket { key: Arc::clone(&run.key), name: run.name, mode, tally, patience, seen: None }
    }
}
