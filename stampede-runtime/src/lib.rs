//! Single flight, freshness and stores behind `#[coalesce]` of the `stampede-rs` crate, which is where to read on.

#![cfg_attr(not(feature = "tier"), allow(dead_code))] // what only a tier has a use for
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))] // a library has no business giving up

mod aside;
mod asking;
mod boxed;
mod breaker;
mod builder;
mod cache;
mod call;
mod clock;
pub mod codec;
mod context;
mod cycle;
mod entry;
pub mod event;
mod execution;
mod flight;
mod flights;
mod hosting;
mod key;
mod launch;
mod memory;
#[cfg(feature = "metrics")]
mod meters;
#[cfg(feature = "metrics")]
pub mod metrics;
mod nocache;
mod output;
mod patience;
mod policy;
mod random;
mod refusal;
#[cfg_attr(not(feature = "tier"), path = "remote/absent.rs")]
mod remote;
mod reply;
mod run;
mod settled;
mod snapshot;
mod space;
mod stats;
mod store;
mod support;
mod sync;
mod tags;
mod tally;
mod telemetry;
#[cfg(feature = "tier")]
pub mod tier;
mod timer;
mod waiting;
mod wakers;
mod wrappers;

pub use builder::CacheBuilder;
pub use cache::Cache;
pub use entry::{Entry, FnEntry};
pub use nocache::{NoCache, is_background, no_cache, store_for};
pub use refusal::{CircuitOpen, Timeout};
pub use remote::TierStats;
pub use stats::{Calls, Runs, Stats};
pub use store::{InstallError, Scope, Store, StoreBuilder};
pub use wrappers::{Wrapped, fresh, no_stale, uncached};

/// What `stampede-http` calls. Not a stable interface: it moves in step with that crate.
#[doc(hidden)]
pub mod __hosting {
    pub use crate::clock::Until;
    pub use crate::hosting::{
        Fence, Hosted, Tag, cache, count_bypass, count_coalesced, count_own_run, fence, hit, may_join, name,
        put_unless_voided, store,
    };
    pub use crate::policy::Options;
    pub use crate::remote::Identity;
}

/// What the attribute's output calls. Not a stable interface: it moves in step with the macro.
#[doc(hidden)]
pub mod __private {
    pub use crate::call::call;
    pub use crate::launch::{Detach, Detached, Inline};
    pub use crate::policy::Options;
    #[cfg(feature = "test-util")]
    pub use crate::random::seed;
    pub use crate::refusal::{with_breaker, with_errors, with_timeout};
    pub use crate::remote::Identity;
    pub use crate::reply::{Auto, Named, Pack, Probe, ProbeOther, Reply, auto, kept, pack, returns};
    pub use crate::snapshot::{Snap, SnapRef, SnapValue};
    pub use crate::space::Site;
    pub use crate::store::Store;
    pub use crate::support::*;
    pub use crate::tags::TagText;
}
