//! What stands for the remote tier in builds without the feature `tier`: the names that the rest of the crate knows, of types
//! that have no values. So a store is asked for its tier as ever, the answer is no, and none of the code for one is built.

mod stats;
mod wire;

use std::convert::Infallible;
use std::future::Pending;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::flight::Runner;
use crate::key::Key;
use crate::memory::AnyStored;
use crate::policy::{Mode, Rules, Terms, Weight};
use crate::store::{Inner, Store};
use crate::telemetry::Telemetry;

pub use self::stats::TierStats;
pub use self::wire::Identity;
pub(crate) use self::wire::{Typed, Wire};

pub(crate) type AnyTier = Infallible;
pub(crate) type Approach = Pending<Approached>;
pub(crate) type Reading = Pending<Option<Arc<AnyStored>>>;

pub(crate) enum Remote {}
pub(crate) enum Errand {}
pub(crate) enum Away {}
#[derive(Debug)]
pub(crate) enum Held {}
#[derive(Debug)]
pub(crate) enum Mark {}

pub(crate) enum Approached {
    Found(Arc<AnyStored>),
    PutOff(Arc<AnyStored>, Duration),
    Run(Option<Held>, Mark),
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) held: Held,
    pub(crate) wire: Option<Arc<dyn Wire>>,
    pub(crate) run_time: Duration,
}

pub(crate) enum Order {
    Tag(Arc<str>),
    Clear,
}

/// Memory has heard, and nothing else has to.
pub(crate) struct Told(pub(crate) Option<Infallible>);

impl Told {
    pub(crate) const EVERYWHERE: Self = Self(None);
}

impl Future for Told {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }
}

impl Remote {
    pub(crate) fn new(tier: AnyTier, _: Weak<Inner>, _: Arc<Telemetry>) -> Arc<Self> {
        match tier {}
    }

    pub(crate) fn attach(&self) {
        match *self {}
    }

    pub(crate) fn is_well(&self) -> bool {
        match *self {}
    }

    pub(crate) fn vouches(&self, _: &Mark, _: Instant) -> bool {
        match *self {}
    }

    pub(crate) fn tell(&self, _: Order, _: impl FnOnce() + Send + 'static) -> Infallible {
        match *self {}
    }

    pub(crate) fn stats(&self) -> TierStats {
        match *self {}
    }
}

impl Errand {
    pub(crate) fn new(
        _: Arc<Remote>,
        _: Store,
        _: &Runner,
        _: &Rules,
        _: Mode,
        _: Option<Arc<AnyStored>>,
    ) -> Option<Self> {
        None
    }

    pub(crate) fn approach(self) -> Approach {
        match self {}
    }
}

impl Away {
    pub(crate) fn of(_: &Store, _: &Key, _: &'static str, _: Option<Arc<dyn Wire>>, _: &Weight) -> Option<Arc<Self>> {
        None
    }

    pub(crate) fn mark(&self) -> Mark {
        match *self {}
    }

    pub(crate) fn read(&self, _: Store, _: Key, _: Terms) -> Reading {
        match *self {}
    }

    pub(crate) fn put(&self, _: Arc<AnyStored>) -> Order {
        match *self {}
    }

    pub(crate) fn invalidate(&self) -> Order {
        match *self {}
    }

    pub(crate) fn expire(&self) -> Order {
        match *self {}
    }
}

impl Held {
    pub(crate) fn release(self, _: Duration) {
        match self {}
    }
}

impl Load {
    pub(crate) fn send(self, _: Arc<AnyStored>, _: Store, _: Key) {
        match self.held {}
    }
}

impl Mark {
    pub(crate) fn renewed(&self) -> Self {
        match *self {}
    }
}
