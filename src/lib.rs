//! One attribute against cache stampedes.

pub use stampede_macros::coalesce;
#[doc(hidden)]
pub use stampede_runtime::__private;
pub use stampede_runtime::{
    Cache, CacheBuilder, Calls, Entry, FnEntry, InstallError, NoCache, Runs, Scope, Stats, Store, StoreBuilder,
    Wrapped, fresh, is_background, no_cache, no_stale, store_for, uncached,
};
