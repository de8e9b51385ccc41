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
use crate::tally::{Kind, Subject, Tally, Ticket};

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

/// What a call's wait comes to.
pub(crate) enum End {
    Arrival(Arrival),
    /// Nothing: this will do.
    Lapse(Answer),
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
    /// A place among those who wait for somebody else's run, for a call of this mode.
    pub(crate) fn new(
        waiter: Waiter,
        mut tally: Tally,
        mode: Mode,
        patience: Option<Pin<Box<Patience>>>,
        edge: Option<Box<Edge>>,
    ) -> Self {
        tally.waits();
        Self { waiter, tally, _edge: edge, patience, mode, role: Role::Joins, has_window: false }
    }

    /// Ready once the flight has an outcome, or a next run to be started; or when there is no more waiting for it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, kind: Kind) -> Poll<End> {
        match self.waiter.poll_arrival(cx) {
            Poll::Ready(arrival) => Poll::Ready(End::Arrival(arrival)),
            Poll::Pending => self.poll_patience(cx, kind).map(End::Lapse),
        }
    }

    /// Ready when an old value makes up for a run that was lost, or when the call has waited long enough.
    fn poll_patience(&mut self, cx: &mut Context<'_>, kind: Kind) -> Poll<Answer> {
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
        self.tally.make_up(&self.waiter.flight.key, kind, self.mode, self.role == Role::Refreshes)
    }

    /// What the flight's outcome is to this call; what to ask again with if it is none.
    pub(crate) fn answer(mut self, kind: Kind) -> Result<Given, Again> {
        match self.waiter.flight.outcome() {
            Some(Settled::Found(stored)) => {
                let found = Some(Arc::clone(stored));
                return Err(Again { found, ticket: self.into_ticket() });
            }
            Some(Settled::Stored(stored)) if stored.is(kind.value) => {
                if self.role == Role::Refreshes {
                    self.tally.took(Outcome::Miss);
                }
                return Ok(Given::new(Answer::Settled(self.waiter), self.tally));
            }
            _ => {}
        }
        if let Some(old) = self.make_up(kind) {
            return Ok(Given::new(Answer::Stored(old), self.tally));
        }
        let is_ours = match self.waiter.flight.outcome() {
            Some(Settled::Panic(payload, message)) => {
                self.tally.took(Outcome::Error);
                let original = if self.role == Role::Joins { None } else { payload.lock().take() };
                resume_unwind(original.unwrap_or_else(|| Box::new(message.to_string())));
            }
            Some(Settled::Stored(stored)) => kind.is_error(stored),
            Some(Settled::Error(error)) => error.is(kind.error),
            Some(Settled::Found(_)) | None => false,
        };
        if !is_ours {
            // An error of another type: a `Cache` was asked in two ways at once. This caller's own run will tell.
            return Err(Again { found: None, ticket: self.into_ticket() });
        }
        self.tally.took(Outcome::Error);
        Ok(Given::new(Answer::Settled(self.waiter), self.tally))
    }

    /// To ask once more.
    pub(crate) fn into_ticket(self) -> Ticket {
        let Self { waiter, tally, patience, mode, .. } = self;
        let name = waiter.run().name;
        Ticket { subject: Subject::Key(Arc::clone(&waiter.flight.key)), name, mode, tally, patience, seen: None }
    }
}
