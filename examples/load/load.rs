//! The sustained load: an open loop. Each request is due at a time that depends on nothing but the rate, and its latency
//! counts from then: if the machine is late, or an answer slow, the requests behind it are charged for it as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use stampede::coalesce;
use tokio::runtime::Handle;

use crate::BoxError;
use crate::callers::{Desk, histogram, lock, record};
use crate::origin::{Fault, Origin, Price};

pub(crate) const KEYS: u32 = 20;
/// A request is late that is sent so long after it was due.
const LATE: Duration = Duration::from_millis(1);
/// How long answers may take that are on their way when the load ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the load asks for, in turn. Its origin fails when a phase says so, and its tier may die.
#[coalesce(
    name = "load",
    ttl = "1s",
    jitter = 0.2,
    stale_while_revalidate = "1m",
    stale_if_error = "1m",
    key = "item",
    remote
)]
async fn price(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(crate) struct Load {
    pub(crate) rate: u32,
    pub(crate) desk: Desk,
    started: Instant,
    sent: AtomicU64,
    late: AtomicU64,
    answered: AtomicU64,
    /// Since the last look.
    latest: Mutex<Histogram<u32>>,
    ends: OnceLock<Instant>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

/// How it went.
#[derive(Clone, Copy)]
pub(crate) struct Balance {
    pub(crate) due: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) late: u64,
    /// Answers per second.
    pub(crate) achieved: f64,
}

impl Load {
    /// Starts it, on a thread that does nothing else, in tasks of this runtime.
    pub(crate) fn start(desk: Desk, rate: u32) -> Result<Arc<Self>, BoxError> {
        let load = Arc::new(Self {
            rate,
            desk,
            started: Instant::now(),
            sent: AtomicU64::new(0),
            late: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            latest: Mutex::new(histogram()),
            ends: OnceLock::new(),
            sender: Mutex::new(None),
        });
        let (sender, runtime) = (Arc::clone(&load), Handle::current());
        let sender = thread::Builder::new().name("load".to_owned()).spawn(move || sender.send_all(&runtime))?;
        *lock(&load.sender) = Some(sender);
        Ok(load)
    }

    /// When a request is due.
    fn due(&self, number: u64) -> Instant {
        let (seconds, rest) = (number / u64::from(self.rate), number % u64::from(self.rate));
        self.started
            + Duration::from_secs(seconds)
            + Duration::from_secs(1) * u32::try_from(rest).unwrap_or(0) / self.rate
    }

    fn send_all(self: &Arc<Self>, runtime: &Handle) {
        for number in 0.. {
            let due = self.due(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What was due before the end is sent, however late.
            if self.ends.get().is_some_and(|ends| due > *ends) {
                return;
            }
            if due.elapsed() > LATE {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
            let load = Arc::clone(self);
            runtime.spawn(async move {
                let origin = load.desk.origin().clone();
                let item = u32::try_from(number % u64::from(KEYS)).unwrap_or(0);
                let asked = load.desk.ask_due(due, price(&origin, item)).await;
                record(&mut lock(&load.latest), asked.took);
                load.answered.fetch_add(1, Ordering::Relaxed);
            });
        }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The latencies since this was last asked.
    pub(crate) fn latest(&self) -> Histogram<u32> {
        std::mem::replace(&mut lock(&self.latest), histogram())
    }

    /// Ends it: what was sent is still answered.
    pub(crate) async fn end(&self) -> Result<Balance, BoxError> {
        let (ends, answered) = (*self.ends.get_or_init(Instant::now), self.answered());
        let took = ends - self.started;
        let sender = lock(&self.sender).take();
        if sender.is_some_and(|sender| sender.join().is_err()) {
            return Err("the load's thread panicked".into());
        }
        while self.answered() < self.sent.load(Ordering::Relaxed) && self.started.elapsed() < took + PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The first was due at the start.
        let due = 1 + u64::try_from(took.as_nanos() * u128::from(self.rate) / 1_000_000_000)?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let achieved = answered as f64 / took.as_secs_f64();
        let sent = self.sent.load(Ordering::Relaxed);
        Ok(Balance { due, sent, answered: self.answered(), late: self.late(), achieved })
    }
}
