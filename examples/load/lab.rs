//! What all phases have in common.

use std::fmt::Display;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stampede::Store;
use stampede::event::{BreakerState, Event};

use crate::BoxError;
use crate::books::Books;
use crate::callers::{Desk, lock};
use crate::load::Load;
use crate::origin::{Origin, Shop};
use crate::other::Other;
use crate::tier::{Tier, Who};

/// How long a phase waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Lab {
    pub(crate) is_short: bool,
    pub(crate) books: Books,
    pub(crate) tier: Arc<Tier>,
    /// The store of this server, which is the process's.
    pub(crate) store: Store,
    /// Another server, which shares the tier.
    pub(crate) other: Other,
    pub(crate) load: Arc<Load>,
    /// What has become of breakers, and when.
    pub(crate) breakers: Arc<Breakers>,
    shop: Shop,
    /// By phase.
    desks: Mutex<Vec<(usize, Desk)>>,
    /// Which phase it is, from 1, and how much of it is over.
    phase: AtomicUsize,
    progress: Mutex<Progress>,
}

/// How much of a phase is over.
#[derive(Clone, Copy)]
enum Progress {
    Part(u32, u32),
    Since(Instant, Duration),
}

#[derive(Default)]
pub(crate) struct Breakers {
    changes: Mutex<Vec<(BreakerState, Instant)>>,
    latest: AtomicU8,
}

impl Breakers {
    fn note(&self, event: &Event) {
        if let Event::Breaker { state, .. } = event {
            lock(&self.changes).push((*state, Instant::now()));
            self.latest.store(*state as u8, Ordering::Relaxed);
        }
    }

    pub(crate) fn changes(&self) -> Vec<(BreakerState, Instant)> {
        lock(&self.changes).clone()
    }

    pub(crate) fn latest(&self) -> &'static str {
        let states = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open];
        states[usize::from(self.latest.load(Ordering::Relaxed))].as_str()
    }
}

impl Lab {
    /// Opens it, with the load in it.
    pub(crate) async fn open(is_short: bool, is_redis: bool, rate: u32) -> Result<Arc<Self>, BoxError> {
        let books = Books::open()?;
        let tier = Arc::new(Tier::start(is_redis)?);
        let breakers = Arc::new(Breakers::default());
        let hears = Arc::clone(&breakers);
        let store = Store::builder().max_entries(50_000).on_event(move |event| hears.note(event));
        let store = tier.behind(store, Who::We).await?.build();
        store.clone().install()?;
        let other = Other::start(&tier).await?;
        let shop = Shop::create()?;
        let desk = Desk::new(Origin::new(&shop, "load", Duration::from_millis(5)));
        let load = Load::start(desk, rate)?;
        let (desks, phase) = (Mutex::default(), AtomicUsize::new(0));
        let progress = Mutex::new(Progress::Part(0, 1));
        Ok(Arc::new(Self { is_short, books, tier, store, other, load, breakers, shop, desks, phase, progress }))
    }

    /// Ends Redis, and removes the file: whoever still has a handle to them has it in vain.
    pub(crate) fn close(&self) -> Result<(), BoxError> {
        self.shop.remove();
        self.tier.kill()
    }

    /// A cache that is new in this phase.
    pub(crate) fn desk(&self, cache: &'static str) -> Desk {
        self.slow_desk(cache, Duration::ZERO)
    }

    /// The same, whose queries take this long.
    pub(crate) fn slow_desk(&self, cache: &'static str, takes: Duration) -> Desk {
        let desk = Desk::new(Origin::new(&self.shop, cache, takes));
        lock(&self.desks).push((self.phase(), desk.clone()));
        desk
    }

    /// The desks of a phase.
    pub(crate) fn desks(&self, of: usize) -> Vec<Desk> {
        lock(&self.desks).iter().filter(|(phase, _)| *phase == of).map(|(_, desk)| desk.clone()).collect()
    }

    pub(crate) fn all_desks(&self) -> Vec<Desk> {
        lock(&self.desks).iter().map(|(_, desk)| desk.clone()).collect()
    }

    pub(crate) fn phase(&self) -> usize {
        self.phase.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::Relaxed);
        self.is_at(0, 1);
    }

    /// So much of the phase is over.
    pub(crate) fn is_at(&self, part: u32, of: u32) {
        *lock(&self.progress) = Progress::Part(part, of);
    }

    /// From now on, it takes this long.
    pub(crate) fn takes(&self, time: Duration) {
        *lock(&self.progress) = Progress::Since(Instant::now(), time);
    }

    /// From 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        match *lock(&self.progress) {
            Progress::Part(part, of) => f64::from(part) / f64::from(of),
            Progress::Since(began, time) => began.elapsed().div_duration_f64(time).min(1.0),
        }
    }

    /// How often a phase is to show what it shows, by number, with a pause after each.
    pub(crate) fn rounds(&self) -> u32 {
        if self.is_short { 2 } else { 12 }
    }

    /// The pause after a round, of which this is one.
    pub(crate) async fn round_is_over(&self, round: u32) {
        self.is_at(round + 1, self.rounds());
        tokio::time::sleep(Duration::from_millis(if self.is_short { 20 } else { 400 })).await;
    }

    /// How long a phase goes on that goes on for a time.
    pub(crate) fn spell(&self) -> Duration {
        Duration::from_millis(if self.is_short { 600 } else { 6_000 })
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<(), BoxError> {
        let started = Instant::now();
        while !is_so() {
            if started.elapsed() > PATIENCE {
                return Err(format!("in vain: {what}").into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until so many callers wait for a run of this cache.
    pub(crate) async fn until_waiting(&self, desk: &Desk, callers: u32) -> Result<(), BoxError> {
        let cache = desk.origin().cache();
        self.until(&format!("{callers} callers wait"), || self.books.waiting(cache) == i64::from(callers)).await
    }
}

/// What came of a phase.
pub(crate) struct Finding {
    held: bool,
    measured: Vec<String>,
}

impl Finding {
    pub(crate) fn new() -> Self {
        Self { held: true, measured: Vec::new() }
    }

    /// A claim, in the figures that it was checked by.
    pub(crate) fn check(&mut self, holds: bool, what: impl Display) {
        self.held &= holds;
        self.measured.push(if holds { what.to_string() } else { format!("NOT: {what}") });
    }

    /// A figure that nothing is claimed of.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.measured.push(what.into());
    }

    pub(crate) fn broken(why: impl Display) -> Self {
        Self { held: false, measured: vec![why.to_string()] }
    }

    pub(crate) fn held(&self) -> bool {
        self.held
    }

    pub(crate) fn measured(&self) -> String {
        self.measured.join("; ")
    }
}
