//! How stores are described and built.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::breaker::Breakers;
use crate::event::Event;
use crate::flights::Flights;
use crate::memory::{Bounds, Memory};
use crate::remote::{AnyTier, Remote};
use crate::sync::AtomicU64;
use crate::telemetry::{Hook, Telemetry};

use super::{Inner, Store};

/// How many entries the default store holds.
const DEFAULT_ENTRIES: u64 = 10_000;

/// Describes a [`Store`]. Made by [`Store::builder`].
#[must_use = "a description alone stores nothing: call `build`"]
pub struct StoreBuilder {
    max_entries: u64,
    max_weight: Option<u64>,
    max_ttl: Duration,
    remote: Option<AnyTier>,
    hook: Option<AssertUnwindSafe<Hook>>,
}

impl fmt::Debug for StoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_entries, max_weight, max_ttl, remote, hook } = self;
        f.debug_struct("StoreBuilder")
            .field("max_entries", max_entries)
            .field("max_weight", max_weight)
            .field("max_ttl", max_ttl)
            .field("remote", &remote.is_some())
            .field("on_event", &hook.is_some())
            .finish()
    }
}

impl StoreBuilder {
    pub(super) const fn new() -> Self {
        Self { max_entries: DEFAULT_ENTRIES, max_weight: None, max_ttl: Duration::MAX, remote: None, hook: None }
    }

    /// How many values the store holds at most; 10 000 unless told. Zero stores nothing: calls are still coalesced.
    pub fn max_entries(self, max_entries: u64) -> Self {
        Self { max_entries, ..self }
    }

    /// How much the values may weigh together at most, by the `weight` that functions and caches give them (1 unless
    /// told). It holds together with `max_entries`; a value counts for the larger of its shares in the two, so a store with
    /// both bounds may be full before either is reached.
    pub fn max_weight(self, max_weight: u64) -> Self {
        Self { max_weight: Some(max_weight), ..self }
    }

    /// The longest TTL that the store grants, whatever functions, caches and runs ask for.
    pub fn max_ttl(self, max_ttl: Duration) -> Self {
        Self { max_ttl, ..self }
    }

    /// A tier beyond memory, for the functions and caches that say `remote`: memory answers first, the tier keeps a fleet
    /// from running one body twice, and the body runs last. Memory alone unless told. With the feature `tier`.
    #[cfg(feature = "tier")]
    pub fn remote(self, tier: impl crate::tier::Tier) -> Self {
        Self { remote: Some(AssertUnwindSafe(Box::new(tier))), ..self }
    }

    /// Tells a closure what happens: runs that end, calls that had to wait, breakers that open and close, a remote tier that
    /// comes and goes. For programs that use neither metrics nor tracing, and for tests. Nobody is told unless told.
    ///
    /// It is called at once, in whatever task or thread the thing has happened, and not under a lock; so it may use the store,
    /// and is to be quick. If it panics, the panic is reported, and calls and runs go on.
    ///
    /// ```
    /// use stampede::{Store, event::Event};
    ///
    /// let store = Store::builder()
    ///     .on_event(|event| match event {
    ///         Event::RunEnded { cache, result, run_time, .. } => println!("{cache}: {result:?} in {run_time:?}"),
    ///         other => println!("{other:?}"),
    ///     })
    ///     .build();
    /// # let _ = store;
    /// ```
    pub fn on_event(self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { hook: Some(AssertUnwindSafe(Box::new(hook))), ..self }
    }

    /// Builds the store.
    ///
    /// # Panics
    ///
    /// With a remote tier, outside a tokio runtime: the runtime in which the store is built serves the tier from then on.
    pub fn build(self) -> Store {
        let bounds = Bounds { entries: self.max_entries, weight: self.max_weight };
        let telemetry = Arc::new(Telemetry::new(self.hook.map(|hook| hook.0)));
        let memory = Arc::new(Memory::new(bounds, Arc::clone(&telemetry)));
        // What is stored does not outlive the store, even if a flight does.
        let values = Arc::downgrade(&memory);
        let put_off =
            move |key: &[u8], retry_after| values.upgrade().is_some_and(|memory| memory.put_off(key, retry_after));
        let inner = Arc::new_cyclic(|store| Inner {
            memory,
            flights: Arc::new(Flights::new(put_off).with_telemetry(Arc::clone(&telemetry))),
            max_ttl: self.max_ttl,
            breakers: Breakers::new(Arc::clone(&telemetry)),
            epoch: AtomicU64::new(1),
            remote: self.remote.map(|tier| Remote::new(tier, Weak::clone(store), telemetry)),
        });
        if let Some(remote) = &inner.remote {
            remote.attach();
        }
        Store { inner }
    }
}
