//! Whether the tier is well, and what it has to be told when it is again.
//!
//! ```text
//!          failures in a row, or one order that did not arrive
//!   well ───────────────────────────────────────────────────────▶  sick: left alone, probed
//!     ▲                                                              │
//!     └───────── a probe succeeds, and then all orders do ───────────┘
//! ```
//!
//! 1. While the tier is sick nobody reads it. Orders are queued, and are the first that it hears: so what was voided while it
//!    could not be told is void before it is read again.
//! 2. The queue is bounded. When it is full, everything is to be voided instead of each.
//! 3. One task probes; it goes when the tier is well or the store is gone.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::{Event, Op, Remote, jitter, within};
use crate::memory::AnyStored;
use crate::sync::Mutex;
use crate::sync::Ordering;
use crate::sync::plain::AtomicBool;
use crate::tier::{Record, TierError, TierKey};

/// Something that the tier has to be told.
#[derive(Clone)]
pub(crate) enum Order {
    Invalidate(TierKey),
    Expire(TierKey),
    /// As it travels, and as it stays here.
    Put(TierKey, Arc<Record>, Arc<AnyStored>),
    Tag(Arc<str>),
    Clear,
}

impl Order {
    /// What the tier is asked to do.
    fn op(&self) -> &'static str {
        match self {
            Self::Invalidate(_) => "invalidate",
            Self::Expire(_) => "expire",
            Self::Put(..) => "put",
            Self::Tag(_) => "invalidate_tag",
            Self::Clear => "clear",
        }
    }
}

#[derive(Default)]
pub(crate) struct Health {
    sick: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    /// What the tier has to be told. Only while it is sick.
    orders: VecDeque<Order>,
    /// How many there have been.
    kept: u64,
    /// Whether somebody has to see to the tier, and has been told so.
    loud: bool,
}

impl Health {
    /// So many failures in a row are no accident.
    const FAILURES: u32 = 3;
    const ORDERS: usize = 4096;
    /// Between two probes: at first, and at most.
    const PROBE: Duration = Duration::from_millis(100);
    const PROBE_AT_MOST: Duration = Duration::from_secs(2);

    pub(super) fn is_well(&self) -> bool {
        !self.sick.load(Ordering::Acquire)
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.state.lock();
        if self.is_well() {
            state.failures = 0;
        }
    }

    /// A trip has failed. Says whether this makes the tier sick.
    pub(super) fn failed(&self, error: &TierError) -> bool {
        let mut state = self.state.lock();
        state.failures += 1;
        let failures = state.failures;
        if error.is_loud() && !std::mem::replace(&mut state.loud, true) {
            tracing::error!(%error, "the remote tier refuses this process: calls go on with memory alone");
        }
        if !self.is_well() || failures < Self::FAILURES && !error.is_loud() {
            return false;
        }
        tracing::warn!(%error, "the remote tier fails: calls go on with memory alone");
        self.sick.store(true, Ordering::Release);
        true
    }

    /// Keeps an order that did not arrive. Says whether this makes the tier sick.
    fn keep(&self, order: Order) -> bool {
        let mut state = self.state.lock();
        if state.orders.len() == Self::ORDERS {
            state.orders.clear();
            state.orders.push_back(Order::Clear);
            state.kept += 1;
        }
        // A value that could not be sent has replaced the one that is there all the same.
        state.orders.push_back(match order {
            Order::Put(key, ..) => Order::Invalidate(key),
            order => order,
        });
        state.kept += 1;
        if !self.is_well() {
            return false;
        }
        tracing::warn!("the remote tier could not be told of an invalidation: it is left alone until it can");
        self.sick.store(true, Ordering::Release);
        true
    }

    /// The first order, and its number.
    fn next(&self) -> Option<(Order, u64)> {
        let state = self.state.lock();
        state.orders.front().map(|order| (order.clone(), state.kept - state.orders.len() as u64))
    }

    /// The order of this number has arrived. It may have been dropped meanwhile, for one that voids everything.
    fn done(&self, number: u64) {
        let mut state = self.state.lock();
        if state.kept - state.orders.len() as u64 == number {
            state.orders.pop_front();
        }
    }

    /// The tier has answered, and has been told everything, unless something new has come up.
    fn recover(&self) -> bool {
        let mut state = self.state.lock();
        if state.orders.is_empty() {
            *state = State { kept: state.kept, ..State::default() };
            self.sick.store(false, Ordering::Release);
        }
        self.is_well()
    }
}

impl Remote {
    /// Tells the tier, or keeps it in mind. Says whether it has been told.
    pub(super) async fn order(&self, order: Order) -> bool {
        if self.is_well() && self.trip(order.op(), self.send(&order)).await.is_some() {
            return true;
        }
        if self.health.keep(order) {
            self.nurse();
        }
        false
    }

    async fn send(&self, order: &Order) -> Result<(), TierError> {
        match order {
            Order::Invalidate(key) => self.tier.invalidate(key).await,
            Order::Expire(key) => self.tier.expire(key).await,
            Order::Tag(tag) => self.tier.invalidate_tag(tag).await,
            Order::Put(key, record, stored) => {
                let fill = self.tier.put(key, Record::clone(record)).await?;
                if let Some(mark) = stored.remote() {
                    mark.filled(fill);
                }
                Ok(())
            }
            Order::Clear => self.tier.clear().await,
        }
    }

    /// Sees to a tier that has fallen sick.
    pub(super) fn nurse(&self) {
        self.count(Event::Outage);
        self.telemetry.tier_is_up(self.tier.name(), false, true);
        self.spawn(nurse(Weak::clone(&self.me)));
    }

    /// Whether the tier answers and has heard all that it has missed.
    async fn examine(&self) -> bool {
        if self.probe("ping", self.tier.ping()).await.is_err() {
            return false;
        }
        while let Some((order, number)) = self.health.next() {
            if self.probe(order.op(), self.send(&order)).await.is_err() {
                return false;
            }
            self.health.done(number);
        }
        let is_well = self.health.recover();
        if is_well {
            self.telemetry.tier_is_up(self.tier.name(), true, true);
        }
        is_well
    }

    /// A trip whose failure says nothing new.
    async fn probe<T>(
        &self,
        op: &'static str,
        trip: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let op = Op::starts(op);
        let result = within(self.limits.time, trip).await;
        self.telemetry.trip(self.tier.name(), op, result.is_ok());
        result
    }
}

/// Probes a sick tier until it is well.
async fn nurse(remote: Weak<Remote>) {
    let mut pause = Health::PROBE;
    loop {
        sleep(pause / 2 + jitter(pause / 2)).await;
        let Some(remote) = remote.upgrade() else { return };
        if remote.examine().await {
            remote.count(Event::Recovery);
            tracing::info!("the remote tier is back");
            return;
        }
        pause = (pause * 2).min(Health::PROBE_AT_MOST);
    }
}
