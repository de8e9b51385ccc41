//! The attribute and the runtime, as their users use them.
#![warn(clippy::disallowed_types)]

mod breaker;
mod cancellation;
mod contradictions;
mod corners;
mod cycle;
mod early;
mod edges;
mod error_ttl;
mod expire;
mod failures;
mod fences;
mod harness;
mod identity;
mod keys;
mod matrix;
mod nocache;
mod oracle;
mod patience;
mod policy_oracle;
mod remote;
mod returns;
mod runs;
mod stale;
mod stale_if_error;
mod store;
mod stores;
mod tags;
mod tools;
mod ways;
mod wrappers;
