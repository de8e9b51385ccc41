//! The tier on real servers, which the tests start and end.

mod connect;
mod fences;
mod link;
mod news;
mod proxy;
mod server;
mod support;
mod tags;
mod values;
