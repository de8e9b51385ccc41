//! A tower layer for HTTP that coalesces, caches, streams, and never leaks.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))] // a library has no business giving up

mod answer;
mod body;
mod config;
mod control;
mod error;
mod exchange;
mod extensions;
mod fill;
mod future;
mod headers;
mod key;
mod layer;
mod marks;
mod range;
mod run;
mod serve;
mod service;
mod share;
mod status;
mod stream;
mod validators;
mod verdict;

pub use body::ResponseBody;
pub use error::BodyError;
pub use extensions::{NoCache, StoreFor, Tags};
pub use future::ResponseFuture;
pub use layer::{CacheLayer, Collected, RequestBodies, Untouched};
pub use service::CacheService;
