//! What a run does before its body: it asks the tier for a value, or for the lease to make one.
//!
//! ```text
//!             a value        ─▶  found: those who wait look at it as if it had been in memory
//!   acquire   the lease      ─▶  the body runs, and its value goes to the tier
//!             busy           ─▶  wait for whoever has the lease, then ask again; if it was given back without a value and
//!                                is already somebody else's, the body runs without it
//!             throttled      ─▶  an old value will do for a while
//!             no answer      ─▶  what memory has is trusted; else the body runs as with memory alone
//! ```
//!
//! Dropping it leaves no lease behind: a claim that is under way is seen to its end, and a lease that it brings given back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Event, Held, Mark, Op, Receipt, Remote, Wire, jitter, within};
use crate::boxed::Boxed;
use crate::flight::Runner;
use crate::key::Key;
use crate::memory::AnyStored;
use crate::policy::{Age, Mode, Rules, Terms, Weight};
use crate::store::Store;
use crate::tier::{Acquired, Claim, FillId, Signal, TierError, TierKey, Trip, Word};

/// A key of a cache that uses a tier, and what the run is to know.
pub(crate) struct Errand {
    pub(crate) remote: Arc<Remote>,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) tier_key: TierKey,
    pub(crate) store: Store,
    pub(crate) key: Key,
    pub(crate) terms: Terms,
    pub(crate) weight: Weight,
    /// A `fresh` call asks: no value will do.
    pub(crate) fresh: bool,
    /// The filling that will not do.
    pub(crate) seen: Option<FillId>,
    /// What memory has.
    pub(crate) known: Option<Arc<AnyStored>>,
    /// Whether that stands: news would have come if it was void.
    pub(crate) is_vouched: bool,
    /// Whether old values are answers for the call that leads.
    pub(crate) takes_old: bool,
    pub(crate) tags: Arc<[Arc<str>]>,
    pub(crate) epoch: u64,
    pub(crate) tags_valid_at: u64,
}

/// What comes of it.
pub(crate) enum Approached {
    /// This is what there is.
    Found(Arc<AnyStored>),
    /// What memory has will have to do for this long.
    PutOff(Arc<AnyStored>, Duration),
    /// The body is to run.
    Run(Option<Held>, Mark),
}

/// The way of a run to its body.
pub(crate) type Approach = Boxed<Approached>;

impl Errand {
    /// What a flight's run asks of the tier. `seen`: what the call that leads it knows, and cannot use as it is.
    pub(crate) fn new(
        remote: Arc<Remote>,
        store: Store,
        runner: &Runner,
        rules: &Rules,
        mode: Mode,
        seen: Option<Arc<AnyStored>>,
    ) -> Option<Self> {
        let (run, flight) = (&runner.run, &runner.flight);
        let wire = Arc::clone(rules.wire.as_ref()?);
        let tier_key = remote.key(&run.key, run.name, &*wire)?;
        let (now, has_seen) = (Instant::now(), seen.is_some());
        let known = seen.or_else(|| store.peek(&run.key));
        let age = |known: &AnyStored| known.age(now, store.epoch(), store.tags());
        let known = known.filter(|known| age(known) != Age::Dead && !known.is_error());
        let mark = known.as_ref().and_then(|known| known.remote());
        let is_vouched = has_seen || mark.is_none_or(|mark| remote.vouches(mark, now));
        // What nobody vouches for may be what the tier has.
        let seen = mark.filter(|_| is_vouched).and_then(Mark::fill);
        Some(Self {
            wire,
            tier_key,
            key: Arc::clone(&run.key),
            terms: rules.terms,
            weight: rules.opinion.weight.clone(),
            fresh: flight.fresh,
            seen,
            known,
            is_vouched,
            takes_old: mode == Mode::Normal,
            tags: rules.tags.texts(),
            epoch: flight.epoch,
            tags_valid_at: store.tags().latest(),
            remote,
            store,
        })
    }

    /// The longest pause between two questions where nobody says that something has happened.
    const POLL_AT_MOST: Duration = Duration::from_millis(100);
    /// What those who wait for the end of a lease are spread over.
    const SPREAD: Duration = Duration::from_millis(50);

    pub(crate) fn approach(self) -> Approach {
        Boxed::new(Box::new(self.run()))
    }

    async fn run(mut self) -> Approached {
        let mut claim = Claim {
            seen: self.seen,
            force: self.fresh,
            has_old: self.takes_old && self.is_vouched && self.known.is_some(),
            tags: Arc::clone(&self.tags),
            ..Claim::default()
        };
        let limit = self.remote.limits.time;
        let (mut left, mut signal, mut pause) = (limit, None, Duration::from_millis(5));
        let mut heard = Word::Other;
        let mut was_busy = false;
        loop {
            let (asked_at, mark) = (Instant::now(), self.remote.mark());
            let acquired = self.acquire(claim.clone(), left).await;
            left = left.saturating_sub(asked_at.elapsed());
            match acquired {
                None => return self.do_without(),
                Some(Acquired::Value(kept)) => {
                    let (key, terms, weight) = (&self.key, &self.terms, &self.weight);
                    let (epoch, tags_valid_at) = (self.epoch, self.tags_valid_at);
                    let max_ttl = self.store.cap(Duration::MAX);
                    let receipt = Receipt { key, asked_at, terms, weight, max_ttl, epoch, tags_valid_at, mark };
                    match self.remote.open(&kept, &*self.wire, receipt) {
                        Some(stored) if stored.age(Instant::now(), self.epoch, self.store.tags()) != Age::Dead => {
                            self.remote.count(Event::Hit);
                            return Approached::Found(stored);
                        }
                        // What cannot be read is of no use to anybody like us. What is only too old for us is.
                        opened => claim.discard = opened.is_none(),
                    }
                    claim.seen = Some(kept.fill);
                }
                Some(Acquired::Leased(lease)) => {
                    self.give_up_unvouched();
                    if was_busy {
                        self.remote.count(Event::TakeOver);
                    }
                    let held = Held::new(&self.remote, self.tier_key.clone(), lease);
                    return Approached::Run(Some(held), mark);
                }
                Some(Acquired::Busy(busy)) => {
                    self.remote.count(Event::Busy);
                    was_busy = true;
                    self.give_up_unvouched();
                    if heard == Word::GivenBack {
                        // No convoy: whoever has waited for a run that failed does not wait for another one.
                        return Approached::Run(None, mark);
                    }
                    heard = self.follow(&mut signal, &mut pause, busy).await;
                    // The tier's share is that of its trips. This was somebody's run.
                    left = limit;
                }
                Some(Acquired::Throttled(throttled)) => {
                    self.remote.count(Event::Throttled);
                    match self.known {
                        Some(known) => return Approached::PutOff(known, throttled),
                        None => claim.has_old = false,
                    }
                }
            }
        }
    }

    /// Asks for a value or the lease, for no longer than this.
    async fn acquire(&self, claim: Claim, limit: Duration) -> Option<Acquired> {
        // It may have fallen sick since the run began.
        if !self.remote.is_well() {
            return None;
        }
        let op = Op::starts("acquire");
        let mut claiming = Claiming::new(Arc::clone(&self.remote), self.tier_key.clone(), claim);
        let result = within(limit, &mut claiming).await;
        self.remote.heard(op, result)
    }

    /// The tier does not answer: what memory has is trusted to the end of its TTL, if that has not been ended by hand.
    fn do_without(self) -> Approached {
        let is_fresh = |known: &AnyStored| known.age(Instant::now(), self.store.epoch(), self.store.tags()).is_fresh();
        match self.known.filter(|known| !self.fresh && !self.is_vouched && is_fresh(known)) {
            Some(known) => Approached::Found(known),
            None => Approached::Run(None, Mark::unlinked()),
        }
    }

    /// The tier has no value but the one that has been seen: what memory has and nobody vouches for was voided, or lost.
    fn give_up_unvouched(&mut self) {
        if let Some(known) = self.known.take_if(|_| !self.is_vouched) {
            self.store.forget_this(&self.key, &known);
        }
    }

    /// Waits until whoever has the lease may be done. The first time, only sees to it that it will hear of that.
    async fn follow(&self, signal: &mut Option<Signal>, pause: &mut Duration, busy: Duration) -> Word {
        if let Some(signal) = signal.take() {
            return timeout(busy + jitter(Self::SPREAD), signal).await.unwrap_or(Word::Other);
        }
        *signal = self.remote.trip("watch", self.remote.tier.watch(&self.tier_key)).await;
        if signal.is_none() {
            sleep(pause.mul_f64(0.5) + jitter(*pause)).await;
            *pause = (*pause * 2).min(Self::POLL_AT_MOST);
        }
        Word::Other
    }
}

/// A claim under way. Dropped, it goes on by itself, so that a lease which it brings is given back.
struct Claiming {
    remote: Arc<Remote>,
    key: TierKey,
    trip: Option<Trip<'static, Acquired>>,
}

impl Claiming {
    fn new(remote: Arc<Remote>, key: TierKey, claim: Claim) -> Self {
        let (asked, about) = (Arc::clone(&remote), key.clone());
        let trip = Box::pin(async move { asked.tier.acquire(&about, claim).await });
        Self { remote, key, trip: Some(trip) }
    }
}

impl Future for Claiming {
    type Output = Result<Acquired, TierError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(trip) = &mut self.trip else { return Poll::Pending };
        let result = trip.as_mut().poll(cx);
        if result.is_ready() {
            self.trip = None;
        }
        result
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let Some(trip) = self.trip.take() else { return };
        let (remote, key) = (Arc::clone(&self.remote), self.key.clone());
        let spawner = Arc::clone(&remote);
        spawner.spawn(async move {
            if let Ok(Ok(Acquired::Leased(lease))) = timeout(remote.limits.lease, trip).await {
                remote.trip("release", remote.tier.release(&key, lease, Duration::ZERO)).await;
            }
        });
    }
}
