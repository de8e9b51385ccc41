//! A call's place in a flight, and what becomes of it.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::call::timed_out;
use crate::cycle::Edge;
use crate::flight::{Arrival, Outcome as Settled, Waiter};
use crate::launch::Driven;
use crate::patience::{Lapse, Patience};
use crate::policy::Mode;
use crate::reply::{Divide, Share, Value};
use crate::settled::take_error;
use crate::stats::Outcome;
use crate::tally::{Tally, Ticket};

/// A call's place in a flight.
pub(crate) struct Waiting<R, V: Value, E, D, H, F> {
    /// The run, if it takes place here. First: its body is gone before the call gives up its place.
    pub(crate) run: Option<Driven<R, V, E, D, H, F>>,
    pub(crate) waiter: Waiter<V>,
    pub(crate) tally: Tally,
    _edge: Option<Box<Edge>>,
    patience: Option<Pin<Box<Patience>>>,
    mode: Mode,
    pub(crate) role: Role,
    /// Whether there can be an old value that makes up for a lost run.
    pub(crate) has_window: bool,
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

impl<R, V, E, D, H, F> Waiting<R, V, E, D, H, F>
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    /// A place among those who wait for somebody else's run, for the call of this ticket.
    pub(crate) fn new(waiter: Waiter<V>, ticket: Ticket, edge: Option<Box<Edge>>) -> Self {
        let Ticket { mode, tally, patience, .. } = ticket;
        Self { waiter, tally, _edge: edge, run: None, patience, mode, role: Role::Joins, has_window: false }
    }

    /// Ready once the flight has an outcome, or a next run to be started; polls the run along the way if it takes place here.
    pub(crate) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival<V>> {
        if let Some(run) = &mut self.run
            && run.as_mut().poll(cx).is_ready()
        {
            self.run = None;
        }
        self.waiter.poll_arrival(cx)
    }

    /// Ready when an old value makes up for a run that was lost, or when the call has waited long enough.
    pub(crate) fn poll_patience(&mut self, cx: &mut Context<'_>, share: H) -> Poll<Result<V, E>> {
        if self.has_window
            && self.waiter.follows_timeout()
            && let Some(value) = self.make_up()
        {
            return Poll::Ready(Ok(value));
        }
        while let Some(patience) = &mut self.patience {
            let Poll::Ready(lapse) = patience.as_mut().poll(cx) else { break };
            if let Some(value) = self.make_up() {
                return Poll::Ready(Ok(value));
            }
            if let Lapse::Hard(after) = lapse {
                self.tally.took(Outcome::Error);
                return Poll::Ready(Err(timed_out(share, self.waiter.run().name, after)));
            }
        }
        Poll::Pending
    }

    /// The old value that will do now, if there is one.
    pub(crate) fn make_up(&mut self) -> Option<V> {
        let key = Arc::clone(&self.waiter.run().key);
        self.tally.make_up(&key, self.mode, self.role == Role::Refreshes)
    }

    /// What the flight's outcome is to this call; a ticket to ask again if it is none.
    pub(crate) fn answer(mut self, share: H) -> Result<Result<V, E>, Ticket> {
        let flight = Arc::clone(&self.waiter.flight);
        let outcome = flight.outcome();
        if let Some(Settled::Value(stored)) = outcome
            && let Some(value) = stored.value()
        {
            if self.role == Role::Refreshes {
                self.tally.took(Outcome::Miss);
            }
            return Ok(Ok(self.tally.copy(value)));
        }
        if let Some(old) = self.make_up() {
            return Ok(Ok(old));
        }
        match outcome {
            Some(Settled::Error(settled)) => {
                self.tally.took(Outcome::Error);
                if let Some(error) = take_error(&mut **settled.lock(), share) {
                    return Ok(Err(error));
                }
                // An error of another type: a `Cache` was asked in two ways at once. This caller's own run will tell.
                self.tally.took(Outcome::Coalesced);
            }
            Some(Settled::Panic(payload, message)) => {
                self.tally.took(Outcome::Error);
                let original = if self.role == Role::Joins { None } else { payload.lock().take() };
                resume_unwind(original.unwrap_or_else(|| Box::new(message.to_string())));
            }
            Some(Settled::Value(_)) | None => {}
        }
        Err(self.into_ticket())
    }

    /// To ask once more.
    pub(crate) fn into_ticket(self) -> Ticket {
        let run = self.waiter.run();
        let Self { tally, patience, mode, .. } = self;
        Ticket { key: Arc::clone(&run.key), name: run.name, mode, tally, patience }
    }
}
