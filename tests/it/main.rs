//! The attribute and the runtime, as their users use them.
#![warn(clippy::disallowed_types)]

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
mod store;
mod stores;
mod tools;
mod wrappers;
