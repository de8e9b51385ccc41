//! The attribute and the runtime, as their users use them.

mod cancellation;
mod corners;
mod cycle;
mod failures;
mod fences;
mod harness;
mod identity;
mod keys;
mod matrix;
mod nocache;
mod oracle;
mod returns;
mod runs;
mod stale;
mod stale_if_error;
mod store;
mod tools;
mod ways;
mod wrappers;
