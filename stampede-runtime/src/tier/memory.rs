//! A tier in memory, for tests.
//!
//! Several stores of one process can share it, each as a process of its own would: that is a fleet whose every step follows
//! tokio's clock, paused or not. And it can be made to fail in the ways that real ones do.
//!
//! ```
//! # use std::time::Duration;
//! # use stampede_runtime::{Store, tier::memory::{Fault, MemoryTier}};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let here = MemoryTier::new();
//! let there = here.another();
//! let first = Store::builder().remote(here.clone()).build();
//! let second = Store::builder().remote(there).build();
//! here.set_fault(Fault::Slow(Duration::from_secs(5))); // for `first` alone
//! # }
//! ```

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::table::Table;
use super::{
    Acquired, Claim, FillId, Kept, Lease, Limits, Listener, News, Record, Signal, Tier, TierError, TierKey, Trip,
};

mod bell;
mod table;

/// A tier in memory, as one of a fleet's processes sees it. See the [module](self).
///
/// Clones are the same process; [`another`](Self::another) is another one.
#[derive(Clone)]
pub struct MemoryTier(Arc<Process>);

struct Process {
    fleet: Arc<Fleet>,
    limits: Limits,
    link: Mutex<Link>,
}

/// What the processes have in common. No lock is held while another one is taken.
struct Fleet {
    state: Mutex<State>,
    processes: Mutex<Vec<Weak<Process>>>,
}

#[derive(Default)]
struct State {
    table: Table,
    is_read_only: bool,
}

struct Link {
    fault: Fault,
    listener: Option<Arc<dyn Fn(News) + Send + Sync>>,
    is_up: bool,
}

/// What is wrong with a tier, as one process sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It answers with errors.
    Failing,
    /// It answers with errors that will not pass by themselves: it is told a wrong password, say.
    Refusing,
    /// It is not there: nothing is done, and there is no answer.
    Hanging,
    /// It does what it is asked, and there is no answer.
    Mute,
    /// It takes this long: half until it has done what it is asked, half until the answer is here.
    Slow(Duration),
}

impl Default for MemoryTier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTier").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryTier {
    /// An empty tier, with the [limits](Limits) that are usual.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// An empty tier.
    pub fn with_limits(limits: Limits) -> Self {
        Self::join(Arc::new(Fleet { state: Mutex::default(), processes: Mutex::default() }), limits)
    }

    /// The same tier as another process sees it. Nothing is wrong with it there, yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::join(Arc::clone(&self.0.fleet), self.0.limits)
    }

    fn join(fleet: Arc<Fleet>, limits: Limits) -> Self {
        let link = Mutex::new(Link { fault: Fault::None, listener: None, is_up: true });
        let process = Arc::new(Process { fleet, limits, link });
        lock(&process.fleet.processes).push(Arc::downgrade(&process));
        Self(process)
    }

    /// What is wrong from now on, as this process sees it. Trips that are under way go on as they began.
    pub fn set_fault(&self, fault: Fault) {
        lock(&self.0.link).fault = fault;
    }

    /// Cuts the link by which this process gets its news, or mends it. What happens meanwhile it does not hear of.
    pub fn set_linked(&self, is_up: bool) {
        self.0.set_linked(is_up);
    }

    /// Takes no values, claims or invalidations from anybody, or takes them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        lock(&self.0.fleet.state).is_read_only = is_read_only;
    }

    /// Forgets everything, voids of tags among it, as a server does that is started anew. All links are lost and made again.
    pub fn restart_empty(&self) {
        let processes = self.0.fleet.processes();
        let were_up: Vec<_> = processes.iter().map(|process| process.set_linked(false)).collect();
        std::mem::take(&mut lock(&self.0.fleet.state).table).clear();
        for (process, was_up) in processes.iter().zip(were_up) {
            process.set_linked(was_up);
        }
    }
}

impl Fleet {
    fn processes(&self) -> Vec<Arc<Process>> {
        let mut processes = lock(&self.processes);
        processes.retain(|process| process.strong_count() > 0);
        processes.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Process {
    /// Says how it was.
    fn set_linked(&self, is_up: bool) -> bool {
        let was_up = std::mem::replace(&mut lock(&self.link).is_up, is_up);
        if was_up != is_up {
            self.tell(if is_up { News::Linked } else { News::Unlinked });
        }
        was_up
    }

    fn tell(&self, news: News) {
        let listener = lock(&self.link).listener.clone();
        if let Some(listener) = listener {
            listener(news);
        }
    }

    /// A trip that does this, and spreads this news.
    fn trip<'t, T: Send + 't>(
        &'t self,
        news: Option<News>,
        act: impl FnOnce(&mut State, Instant) -> Result<T, TierError> + Send + 't,
    ) -> Trip<'t, T> {
        Box::pin(async move {
            let fault = lock(&self.link).fault;
            match fault {
                Fault::Failing => return Err(TierError::new("the tier fails")),
                Fault::Refusing => return Err(TierError::loud("the tier refuses")),
                Fault::Hanging => return pending().await,
                Fault::Slow(time) => sleep(time / 2).await,
                Fault::None | Fault::Mute => {}
            }
            let result = act(&mut lock(&self.fleet.state), Instant::now());
            if let (Ok(_), Some(news)) = (&result, news) {
                self.spread(&news);
            }
            match fault {
                Fault::Mute => pending().await,
                Fault::Slow(time) => sleep(time / 2).await,
                _ => {}
            }
            result
        })
    }

    /// A trip that changes the table.
    fn change<'t, T: Send + 't>(
        &'t self,
        news: Option<News>,
        act: impl FnOnce(&mut Table, Instant) -> T + Send + 't,
    ) -> Trip<'t, T> {
        self.trip(news, |state, now| {
            if state.is_read_only {
                Err(TierError::new("the tier is read-only"))
            } else {
                Ok(act(&mut state.table, now))
            }
        })
    }

    /// Tells all others.
    fn spread(&self, news: &News) {
        for process in self.fleet.processes() {
            if !std::ptr::eq(&raw const *process, self) && lock(&process.link).is_up {
                process.tell(news.clone());
            }
        }
    }
}

impl Tier for MemoryTier {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn attach(&self, listener: Listener) {
        let is_up = {
            let mut link = lock(&self.0.link);
            link.listener = Some(Arc::from(listener));
            link.is_up
        };
        if is_up {
            self.0.tell(News::Linked);
        }
    }

    fn read<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Option<Kept>> {
        self.0.trip(None, |state, now| Ok(state.table.read(key, now)))
    }

    fn acquire<'t>(&'t self, key: &'t TierKey, claim: Claim) -> Trip<'t, Acquired> {
        self.0.change(None, move |table, now| table.acquire(key, &claim, self.0.limits.lease, now))
    }

    fn watch<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Signal> {
        self.0.trip(None, |state, _| Ok(Box::pin(state.table.watch(key)) as Signal))
    }

    fn fill<'t>(&'t self, key: &'t TierKey, lease: Lease, record: Record) -> Trip<'t, Option<FillId>> {
        self.0.change(None, move |table, now| table.fill(key, &lease, record, now))
    }

    fn release<'t>(&'t self, key: &'t TierKey, lease: Lease, throttle: Duration) -> Trip<'t, ()> {
        self.0.change(None, move |table, now| table.release(key, &lease, throttle, now))
    }

    fn renew<'t>(&'t self, leases: &'t [(TierKey, Lease)]) -> Trip<'t, ()> {
        self.0.change(None, |table, now| table.renew(leases, self.0.limits.lease, now))
    }

    fn put<'t>(&'t self, key: &'t TierKey, record: Record) -> Trip<'t, FillId> {
        self.0.change(Some(News::Voided(key.clone())), |table, now| table.put(key, record, now))
    }

    fn invalidate<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()> {
        self.0.change(Some(News::Voided(key.clone())), |table, _| table.invalidate(key))
    }

    fn expire<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()> {
        self.0.change(Some(News::Expired(key.clone())), |table, now| table.expire(key, now))
    }

    fn invalidate_tag<'t>(&'t self, tag: &'t str) -> Trip<'t, ()> {
        self.0.change(Some(News::Tag(Arc::from(tag))), |table, _| table.invalidate_tag(tag))
    }

    fn clear(&self) -> Trip<'_, ()> {
        self.0.change(Some(News::Cleared), |table, _| table.clear())
    }

    fn ping(&self) -> Trip<'_, ()> {
        self.0.change(None, |_, _| ())
    }
}
