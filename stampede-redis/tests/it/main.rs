//! The tier on real servers, which the tests start and end.

#[cfg(feature = "cluster")]
mod cluster;
mod conformance;
mod connect;
mod fences;
mod link;
mod news;
mod proxy;
#[cfg(feature = "sentinel")]
mod sentinel;
mod server;
mod support;
mod tags;
#[cfg(feature = "tls")]
mod tls;
mod trips;
mod values;
