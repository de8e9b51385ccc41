//! Leases that this process holds.
//!
//! 1. Whoever has a [`Held`] has the lease. It ends in one of three ways: with a value, with a word that there is none, or by
//!    drop, which says the same. So no lease outlives its run by more than a trip, unless the process or the link dies.
//! 2. While it is held, one task for all of a store's leases renews them. The task ends when there are none.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Event, Op, Remote, Wire, within};
use crate::key::Key;
use crate::memory::AnyStored;
use crate::store::Store;
use crate::sync::Mutex;
use crate::tier::{Lease, TierKey};

/// The leases that are to be renewed, by token.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Renewals>);

#[derive(Debug, Default)]
struct Renewals {
    held: HashMap<u128, (TierKey, Lease)>,
    /// When they were granted, or last renewed, as far as is known.
    since: HashMap<u128, Instant>,
    /// Whether somebody renews them.
    is_tended: bool,
}

/// The right to store a key's value in the tier, held by a run.
pub(crate) struct Held {
    remote: Arc<Remote>,
    key: TierKey,
    /// Until it is given back.
    lease: Option<Lease>,
}

/// What goes to the tier once the value is known.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) held: Held,
    pub(crate) wire: Option<Arc<dyn Wire>>,
    pub(crate) run_time: Duration,
}

impl Load {
    /// Sends this value, which the store has under this key.
    pub(crate) fn send(self, stored: Arc<AnyStored>, store: Store, key: Key) {
        self.held.fill(stored, self.wire, self.run_time, (store, key));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Held {
    pub(super) fn new(remote: &Arc<Remote>, key: TierKey, lease: Lease) -> Self {
        remote.count(Event::Lease);
        remote.leases.hold(remote, &key, &lease);
        Self { remote: Arc::clone(remote), key, lease: Some(lease) }
    }

    /// Sends the value to the tier. If that refuses it, something was voided meanwhile: memory lets go of it, too.
    pub(crate) fn fill(
        mut self,
        stored: Arc<AnyStored>,
        wire: Option<Arc<dyn Wire>>,
        run_time: Duration,
        here: (Store, Key),
    ) {
        let Some(wire) = wire else { return };
        let remote = Arc::clone(&self.remote);
        remote.spawn(async move {
            let Some(record) = self.remote.record(&stored, &*wire, run_time) else { return };
            let Some(lease) = self.lease.take() else { return };
            let token = lease.token;
            let trip = self.remote.tier.fill(&self.key, lease, record);
            let limit = self.remote.limits.lease.max(self.remote.limits.time);
            let (op, since) = (Op::starts("fill"), self.remote.leases.let_go(token));
            // Had it been renewed in time, somebody has ended it.
            let is_in_time = since.is_some_and(|since| since.elapsed() < self.remote.limits.lease);
            let result = within(limit, trip).await;
            match self.remote.heard(op, result) {
                Some(Some(fill)) => {
                    self.remote.count(Event::Fill);
                    if let Some(mark) = stored.remote() {
                        mark.filled(fill);
                    }
                }
                Some(None) => {
                    self.remote.count(Event::Refused);
                    self.remote.count(if is_in_time { Event::Revoked } else { Event::Lost });
                    here.0.forget_this(&here.1, &stored);
                }
                None => {}
            }
        });
    }

    /// There is no value. Those who have an old one are kept away for `throttle`.
    pub(crate) fn release(mut self, throttle: Duration) {
        self.give_back(throttle);
    }

    fn give_back(&mut self, throttle: Duration) {
        let Some(lease) = self.lease.take() else { return };
        self.remote.leases.let_go(lease.token);
        let (remote, key) = (Arc::clone(&self.remote), self.key.clone());
        self.remote.spawn(async move {
            remote.trip("release", remote.tier.release(&key, lease, throttle)).await;
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(Duration::ZERO);
    }
}

impl Leases {
    fn hold(&self, remote: &Remote, key: &TierKey, lease: &Lease) {
        let mut renewals = self.0.lock();
        renewals.held.insert(lease.token, (key.clone(), lease.clone()));
        renewals.since.insert(lease.token, Instant::now());
        if !std::mem::replace(&mut renewals.is_tended, true) {
            drop(renewals);
            remote.spawn(tend(Weak::clone(&remote.me), remote.limits.lease / 3));
        }
    }

    /// Renews it no more. Says since when it is known to have stood.
    fn let_go(&self, token: u128) -> Option<Instant> {
        let mut renewals = self.0.lock();
        renewals.held.remove(&token);
        renewals.since.remove(&token)
    }

    /// These have been renewed by a trip that began then.
    fn renewed(&self, leases: &[(TierKey, Lease)], then: Instant) {
        let mut renewals = self.0.lock();
        for (_, lease) in leases {
            if let Some(since) = renewals.since.get_mut(&lease.token) {
                *since = then;
            }
        }
    }

    /// The leases there are; whoever tends them is to go if there are none.
    fn all(&self) -> Vec<(TierKey, Lease)> {
        let mut renewals = self.0.lock();
        renewals.is_tended = !renewals.held.is_empty();
        renewals.held.values().cloned().collect()
    }
}

/// Renews a store's leases as long as there are any.
async fn tend(remote: Weak<Remote>, pause: Duration) {
    loop {
        sleep(pause).await;
        let Some(remote) = remote.upgrade() else { return };
        let leases = remote.leases.all();
        if leases.is_empty() {
            return;
        }
        // A sick tier is not asked; what it has forgotten by the time it is well is lost.
        if remote.is_well() {
            let began = Instant::now();
            if remote.trip("renew", remote.tier.renew(&leases)).await.is_some() {
                remote.leases.renewed(&leases, began);
            }
        }
    }
}
