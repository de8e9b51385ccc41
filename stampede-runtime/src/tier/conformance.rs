//! What every [`Tier`] has to do, as a suite that an author of one runs.
//!
//! ```
//! use std::time::Duration;
//!
//! use stampede_runtime::tier::Limits;
//! use stampede_runtime::tier::conformance;
//! use stampede_runtime::tier::memory::MemoryTier;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // A new, empty tier each time, as two processes see it.
//! let make = async || {
//!     let limits = Limits { lease: Duration::from_secs(1), ..Limits::default() };
//!     let here = MemoryTier::with_limits(limits);
//!     let there = here.another();
//!     (here, there)
//! };
//! conformance::check(make).await;
//! conformance::replay(make).await;
//! # }
//! ```
//!
//! "New and empty" may mean a prefix of its own. The suite waits for leases to end, so they are best a second long; it takes some
//! ten of them, unless tokio's clock is paused.
//!
//! What is not in the suite: that a lease which lapses wakes those who watch its key. They have been told how long it stands.
//! Nor whether a lease still stands whose tags have been voided, for nobody can tell from outside what it is good for.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Acquired, Claim, FillId, Kept, Lease, News, Record, Signal, Tier, TierKey, Trip, Word};

mod explore;
mod leases;
mod model;
mod replay;
mod signals;
mod values;
mod voids;

pub use replay::replay;

/// Checks all that the documentation of [`Tier`] promises. `make` gives a new, empty tier each time, as two processes see it,
/// neither [attached](Tier::attach).
///
/// # Panics
///
/// If a promise is not kept; the name of the case goes to standard error.
pub async fn check<T: Tier>(make: impl AsyncFn() -> (T, T)) {
    macro_rules! run {
        ($($module:ident :: $case:ident),+ $(,)?) => {$(
            let named = Named(stringify!($case).to_owned());
            $module::$case(Fleet::attached(make().await).await).await;
            drop(named);
        )+};
    }
    run! {
        leases::a_key_has_one_lease,
        leases::many_claims_at_once_get_one_lease,
        leases::a_lease_ends_with_its_time,
        leases::a_lease_is_renewed_but_not_revived,
        leases::a_released_lease_is_free,
        leases::a_throttle_keeps_those_away_who_have_an_old_value,
        leases::a_forced_claim_ends_the_lease_of_others,
        values::a_fill_is_there_for_all,
        values::a_lease_fills_once,
        values::a_put_is_there_for_all,
        values::what_was_seen_is_not_given_again,
        values::what_nobody_can_use_is_discarded,
        values::the_time_that_is_left_counts_down,
        values::any_time_to_live_will_do,
        values::any_bytes_survive,
        values::keys_are_apart,
        voids::no_value_is_filled_after_its_key_was_voided,
        voids::no_value_is_filled_after_its_tag_was_voided,
        voids::a_void_tag_takes_its_values_with_it,
        voids::an_invalidated_key_is_gone,
        voids::an_expired_value_stays_for_its_stale_window,
        voids::a_clear_takes_everything,
        signals::whatever_happens_to_a_key_wakes_those_who_watch_it,
        signals::a_dropped_trip_does_no_harm,
        signals::others_hear_of_what_was_voided,
    }
    let named = Named("tiers_are_apart".to_owned());
    let fleets = (Fleet::attached(make().await).await, Fleet::attached(make().await).await);
    values::tiers_are_apart(fleets.0, fleets.1).await;
    drop(named);
}

/// Says which case it was.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "it goes with the panic's message")]
            {
                eprintln!("conformance: `{}` is not kept", self.0);
            }
        }
    }
}

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What clocks that count milliseconds may be off.
const TICKS: Duration = Duration::from_millis(3);

/// Two processes with one tier.
struct Fleet<T> {
    one: Process<T>,
    two: Process<T>,
    lease: Duration,
}

struct Process<T> {
    tier: T,
    news: Arc<Mutex<Vec<News>>>,
}

impl<T: Tier> Fleet<T> {
    async fn attached((one, two): (T, T)) -> Self {
        let fleet = Self { lease: one.limits().lease, one: Process::attach(one), two: Process::attach(two) };
        for process in [&fleet.one, &fleet.two] {
            process.hears(&News::Linked).await;
            done("ping", process.tier.ping()).await;
        }
        fleet
    }
}

async fn done<R>(what: &str, trip: Trip<'_, R>) -> R {
    match timeout(PATIENCE, trip).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => panic!("{what}: {error}"),
        Err(elapsed) => panic!("{what}: there is no answer: {elapsed}"),
    }
}

/// Its methods are those of the tier, and panic if that does not answer.
impl<T: Tier> Process<T> {
    fn attach(tier: T) -> Self {
        let news = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&news);
        tier.attach(Box::new(move |news| heard.lock().unwrap_or_else(PoisonError::into_inner).push(news)));
        Self { tier, news }
    }

    /// Waits until the process has heard this.
    async fn hears(&self, news: &News) {
        let begun = Instant::now();
        while !self.news.lock().unwrap_or_else(PoisonError::into_inner).contains(news) {
            assert!(begun.elapsed() < PATIENCE, "nobody is told: {news:?}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn read(&self, key: &TierKey) -> Option<Kept> {
        done("read", self.tier.read(key)).await
    }

    /// The payload of what is there.
    async fn payload(&self, key: &TierKey) -> Option<Vec<u8>> {
        Some(self.read(key).await?.record.payload)
    }

    async fn acquire(&self, key: &TierKey, claim: Claim) -> Acquired {
        done("acquire", self.tier.acquire(key, claim)).await
    }

    async fn watch(&self, key: &TierKey) -> Signal {
        done("watch", self.tier.watch(key)).await
    }

    async fn fill(&self, key: &TierKey, lease: &Lease, record: Record) -> Option<FillId> {
        done("fill", self.tier.fill(key, lease.clone(), record)).await
    }

    async fn release(&self, key: &TierKey, lease: &Lease, throttle: Duration) {
        done("release", self.tier.release(key, lease.clone(), throttle)).await;
    }

    async fn renew(&self, leases: &[(TierKey, Lease)]) {
        done("renew", self.tier.renew(leases)).await;
    }

    async fn put(&self, key: &TierKey, record: Record) -> FillId {
        done("put", self.tier.put(key, record)).await
    }

    async fn invalidate(&self, key: &TierKey) {
        done("invalidate", self.tier.invalidate(key)).await;
    }

    async fn expire(&self, key: &TierKey) {
        done("expire", self.tier.expire(key)).await;
    }

    async fn invalidate_tag(&self, tag: &str) {
        done("invalidate_tag", self.tier.invalidate_tag(tag)).await;
    }

    async fn clear(&self) {
        done("clear", self.tier.clear()).await;
    }

    /// The lease, which is to be had.
    async fn lease(&self, key: &TierKey, claim: Claim) -> Lease {
        match self.acquire(key, claim).await {
            Acquired::Leased(lease) => lease,
            other => panic!("the lease is not to be had: {other:?}"),
        }
    }
}

fn key(name: &str) -> TierKey {
    TierKey { cache: "conformance".into(), parts: name.as_bytes().into() }
}

/// A value of a minute, which is never served stale.
fn record(payload: &str) -> Record {
    Record {
        payload: payload.into(),
        fingerprint: 7,
        fresh: Duration::from_mins(1),
        stale: Duration::ZERO,
        run_time: Duration::from_millis(3),
        tags: Arc::default(),
    }
}

fn tags(tags: &[&str]) -> Arc<[Arc<str>]> {
    tags.iter().map(|&tag| tag.into()).collect()
}

fn is_busy(acquired: &Acquired) -> bool {
    matches!(acquired, Acquired::Busy(_))
}

/// All of them, polled in turn.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = std::pin::Pin::new(future).poll(cx) {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
