//! Stores: where values are kept, and in whose name runs are shared.

mod builder;
mod near;
#[cfg(all(test, not(stampede_model)))]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use once_cell::sync::OnceCell;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::breaker::Breakers;
use crate::context::{self, InStore, Within};
use crate::flights::Flights;
use crate::memory::{AnyStored, Memory};
use crate::policy::Age;
use crate::remote::{Order, Remote, Told};
use crate::stats::{Calls, Stats};
use crate::sync::{AtomicU64, Ordering};
use crate::tags::{Tag, TagTable};
use crate::telemetry::{By, Voiding};

pub use self::builder::StoreBuilder;
pub(crate) use self::near::Near;

/// Where coalesced functions and caches keep their values, and share their runs.
///
/// A `Store` is a handle: clones are the same store. It is bounded, in memory, and needs no set-up; the one in force is,
/// in this order: the one that a function names with `store = …`, that of the innermost [`scope`](Self::scope) around the
/// call, the [installed](Self::install) one, and a default of 10 000 entries.
///
/// # Examples
///
/// ```
/// use stampede::Store;
///
/// let store = Store::builder().max_entries(50_000).build();
/// assert_eq!(store.stats().entries, 0);
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    memory: Arc<Memory>,
    flights: Arc<Flights>,
    breakers: Breakers,
    max_ttl: Duration,
    /// From 1, and raised by `clear`: what began in an earlier epoch is void. And whether the store is switched [`OFF`].
    epoch: AtomicU64,
    remote: Option<Arc<Remote>>,
}

/// While this bit of its epoch is set, a store is switched off: all values are of earlier ones.
const OFF: u64 = 1 << 63;

/// What a call finds in the store that is not simply the answer: a value of this age, or an error.
pub(crate) type Found = Option<(Arc<AnyStored>, Age)>;

static PROCESS: OnceCell<Store> = OnceCell::new();

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { memory, flights, max_ttl, .. } = &*self.inner;
        f.debug_struct("Store")
            .field("memory", memory)
            .field("flights", flights)
            .field("max_ttl", max_ttl)
            .finish_non_exhaustive()
    }
}

impl From<Arc<Inner>> for Store {
    fn from(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

impl Default for Store {
    /// A store of its own with the default bound.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Store {
    /// Starts the description of a store.
    pub fn builder() -> StoreBuilder {
        StoreBuilder::new()
    }

    /// The store in force here: that of the innermost [`scope`](Self::scope), else the process's.
    ///
    /// The process's store is the [installed](Self::install) one; the first use of it without one installs the default.
    pub fn current() -> Self {
        context::store().unwrap_or_else(|| PROCESS.get_or_init(Self::default).clone())
    }

    /// Gives the store that is named, else the one in force, to `then`. It makes no handle to it.
    pub(crate) fn with<T>(named: Option<&Self>, then: impl FnOnce(&Self) -> T) -> T {
        context::with_store(|scoped| then(named.or(scoped).unwrap_or_else(|| PROCESS.get_or_init(Self::default))))
    }

    /// That store, if it takes nothing to come by it: mostly.
    #[inline]
    pub(crate) fn at_hand(named: Option<&Self>) -> Option<&Self> {
        match named {
            None if context::is_unscoped() => PROCESS.get(),
            named => named,
        }
    }

    /// Makes this the process's store, for all calls that neither name one nor are within a [`scope`](Self::scope).
    ///
    /// # Errors
    ///
    /// The process has one already: another was installed, or a call has used the default. Install early in `main`.
    pub fn install(self) -> Result<(), InstallError> {
        PROCESS.set(self).map_err(InstallError)
    }

    /// Runs a future with this store in force, for tests and tenants.
    ///
    /// It holds for all that the future awaits, in whatever nesting, and for the runs that it starts; not for the tasks
    /// that it spawns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the one within; the scope adds nothing that could be lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use stampede::Store;
    ///
    /// let tenant = Store::builder().max_entries(100).build();
    /// tenant.scope(async {
    ///     // Calls in here see nothing that others have stored.
    ///     assert_eq!(Store::current().stats().entries, 0);
    /// }).await;
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scope<F> {
        Scope { within: Within::new(InStore::new(Some(self.clone())), future) }
    }

    /// Voids everything: what is stored, and what runs under way would store. Those runs are delivered to the callers that
    /// wait for them. Says whether every tier of the store has heard of it; with memory alone, that is always so.
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled; what it would have said is lost.
    pub async fn clear(&self) -> bool {
        self.voided(Voiding::Clear, By::Call);
        let store = self.clone();
        let here = move || store.clear_here();
        self.tell(|| Some(Order::Clear), here.clone(), here).await
    }

    /// Voids every entry that bears a tag, of whatever function or cache, and what runs under way would store with it.
    ///
    /// Those runs are delivered to the callers that wait for them, and not to later ones: these start another. It takes the
    /// same short time for any number of entries; their memory is freed when they are replaced, make room, or have expired
    /// and others are stored. Says whether every tier of the store has heard of it; with memory alone, that is always so.
    ///
    /// The store remembers at least the last 16 384 different tags that were invalidated. When it forgets one, whatever bears
    /// any tag and has not been looked at since that invalidation is void as well: it may be run again, and is never served.
    ///
    /// # Cancel safety
    ///
    /// All is done, or under way, when the future is first polled; what it would have said is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use stampede::{Store, coalesce};
    ///
    /// #[coalesce(ttl = "1h", tags = "format!(\"tenant:{tenant}\")")]
    /// async fn orders(tenant: u64, page: u32) -> Vec<u64> {
    ///     vec![tenant, page.into()]
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// orders(7, 1).await;
    /// orders(7, 2).await;
    /// Store::current().invalidate_tag("tenant:7").await;
    /// assert_eq!(orders_entry(7, 1).get().await, None);
    /// # }
    /// ```
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> bool {
        let (store, tag) = (self.clone(), Tag::new(tag.as_ref()));
        let text = Arc::clone(tag.text());
        self.voided(Voiding::Tag, By::Call);
        let here = move || store.tags().invalidate(&tag);
        self.tell(|| Some(Order::Tag(text)), here.clone(), here).await
    }

    /// Does something here; and tells the remote tier, if there is one and `order` is something that concerns it, and does
    /// what is to be done after that. Says whether every tier has heard.
    pub(crate) fn tell(
        &self,
        order: impl FnOnce() -> Option<Order>,
        before: impl FnOnce(),
        after: impl FnOnce() + Send + 'static,
    ) -> Told {
        let order = self.inner.remote.as_ref().and_then(|remote| Some((remote, order()?)));
        before();
        Told(order.map(|(remote, order)| remote.tell(order, after)))
    }

    /// Switches the store off, or on again: while it is off, calls neither read nor write it. Calls for one key still
    /// share a run. For incidents.
    pub fn bypass(&self, bypass: bool) {
        let epoch = &self.inner.epoch;
        if bypass {
            epoch.fetch_or(OFF, Ordering::SeqCst)
        } else {
            epoch.fetch_and(!OFF, Ordering::SeqCst)
        };
    }

    /// What the store has seen so far.
    pub fn stats(&self) -> Stats {
        let Inner { memory, flights, .. } = &*self.inner;
        let calls = flights.calls();
        Stats {
            calls: Calls { fresh: calls.fresh + memory.hits(), ..calls },
            runs: flights.runs(),
            in_flight: flights.in_flight() as u64,
            waiting: flights.waiting() as u64,
            entries: memory.len(),
            tier: self.inner.remote.as_ref().map(|remote| remote.stats()).unwrap_or_default(),
        }
    }

    /// Tells the world.
    pub(crate) fn voided(&self, voiding: Voiding, by: By) {
        self.inner.flights.telemetry.voided(voiding, by);
    }

    /// What tells this store from every other.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    pub(crate) fn tags(&self) -> &TagTable {
        &self.inner.flights.tags
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        &self.inner.breakers
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.inner.flights
    }

    pub(crate) fn is_bypassed(&self) -> bool {
        self.inner.epoch.load(Ordering::Relaxed) & OFF != 0
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::SeqCst) & !OFF
    }

    /// `ttl`, as far as this store stores at all.
    pub(crate) fn cap(&self, ttl: Duration) -> Duration {
        if self.inner.memory.holds_nothing() && self.inner.remote.is_none() {
            Duration::ZERO
        } else {
            ttl.min(self.inner.max_ttl)
        }
    }

    /// What is stored under a key and what it is good for.
    pub(crate) fn look_up(&self, key: &[u8]) -> Option<(Arc<AnyStored>, Age)> {
        let stored = self.inner.memory.get(key)?;
        let age = self.age(&stored, self.epoch());
        (age != Age::Dead).then_some((stored, age))
    }

    /// What a value of this store's is good for, in this epoch. While the store is [`OFF`], that is later than all.
    #[cold]
    fn age(&self, stored: &AnyStored, epoch: u64) -> Age {
        let now = Instant::now();
        let age = stored.age(now, epoch, self.tags());
        match (stored.remote(), &self.inner.remote) {
            (Some(mark), Some(remote)) if age != Age::Dead && !remote.vouches(mark, now) => Age::Unvouched,
            _ => age,
        }
    }

    /// What is in memory under a key, whatever it is good for.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<Arc<AnyStored>> {
        self.inner.memory.get(key)
    }

    /// Lets go of what is stored under a key, unless it is this.
    pub(crate) fn forget_all_but(&self, key: &[u8], stored: &Arc<AnyStored>) {
        if !self.peek(key).is_some_and(|there| Arc::ptr_eq(&there, stored)) {
            self.forget(key);
        }
    }

    pub(crate) fn remote(&self) -> Option<&Arc<Remote>> {
        self.inner.remote.as_ref()
    }

    /// Voids everything in memory.
    pub(crate) fn clear_here(&self) {
        let epoch = (self.inner.epoch.fetch_add(1, Ordering::SeqCst) & !OFF) + 1;
        self.inner.flights.supersede_before(epoch);
        self.inner.memory.clear();
    }

    /// Voids a key in memory.
    pub(crate) fn void_here(&self, key: &[u8]) {
        self.flights().supersede(key, || self.forget(key));
    }

    /// Ends the TTL of a key's value in memory.
    pub(crate) fn expire_here(&self, key: &[u8]) {
        self.flights().supersede(key, || self.expire(key));
    }

    /// Lets go of this very value.
    pub(crate) fn forget_this(&self, key: &[u8], stored: &Arc<AnyStored>) {
        let locked = self.flights().lock(key);
        self.inner.memory.remove_this(key, stored);
        drop(locked);
    }

    /// Stores a value under its key.
    pub(crate) fn keep(&self, stored: Arc<AnyStored>) {
        self.inner.memory.insert(stored);
    }

    /// Keeps refreshes of the value that is stored away for this long. Says whether there is one.
    pub(crate) fn put_off(&self, key: &[u8], retry_after: Duration) -> bool {
        self.look_up(key).is_some() && self.inner.memory.put_off(key, retry_after)
    }

    /// Ends the TTL of what is stored.
    pub(crate) fn expire(&self, key: &[u8]) {
        self.inner.memory.expire(key);
    }

    pub(crate) fn forget(&self, key: &[u8]) {
        self.inner.memory.remove(key);
    }
}

/// The process has a store already. Gives the new one back.
pub struct InstallError(Store);

impl InstallError {
    /// The store that was not installed.
    pub fn into_store(self) -> Store {
        self.0
    }
}

impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallError(..)")
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has a store already: install yours before the first coalesced call")
    }
}

impl std::error::Error for InstallError {}

pin_project! {
    /// A future with a store in force. Made by [`Store::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Scope<F> {
        #[pin]
        within: Within<InStore, F>,
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().within.poll(cx)
    }
}
