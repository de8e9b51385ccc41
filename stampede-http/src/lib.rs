//! A tower layer for HTTP that coalesces, caches, streams, and never leaks: `stampede::http` of the crate `stampede-rs`.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use stampede::http::CacheLayer;
//!
//! let app: Router = Router::new()
//!     .route("/report", get(|| async { "a slow report" }))
//!     .layer(CacheLayer::new(Duration::from_secs(5)).stale_while_revalidate(Duration::from_secs(30)));
//! ```
//!
//! A thousand requests that come for `/report` at once are one run of its handler, and so are all that come within the next
//! five seconds. It works with axum, hyper and other tower services, around a server's handlers and around a client.
//!
//! # Who gets what
//!
//! These rules are gone through in order; the first that applies decides.
//!
//! 1. **Past the layer, untouched**: `CONNECT`, upgrades (of unsafe methods only the opted in: see 2), and what
//!    [`paths`](CacheLayer::paths) or [`accept_request`](CacheLayer::accept_request) leave out.
//! 2. **Always to the handler**: methods other than GET and HEAD, unless they are [opted in](CacheLayer::methods). If an
//!    unsafe one succeeds, what is stored for its URL is void, whatever the protocol it was asked for by; so it is if the
//!    caller is gone, or the handler died, and nobody knows how far it came. Likewise to the handler: requests with `If-Match` or
//!    `If-Unmodified-Since`, conditions and ranges with other methods than GET and HEAD, and bodies that are not a part of
//!    the key.
//! 3. **A request with `Authorization`, `Proxy-Authorization` or `Cookie`** shares nothing and waits for nobody, unless
//!    [`vary_on`](CacheLayer::vary_on) puts that header into the key. It may be answered by a stored response that is marked
//!    `public`, and one that it gets itself is stored if it is.
//! 4. **A URL known to be personal** is run for each request, for [a while](CacheLayer::personal_for).
//! 5. **A stored response** is the answer: all of it, or what conditions and ranges of the request make of it (304, 206,
//!    416). HEAD is answered from GET's entry, never the reverse.
//! 6. **One run** is shared by all other requests of a key. The handler is asked without the conditions and ranges of the
//!    request, so that its answer is whole. When the head of the response is there:
//!    - If it is *personal* (`private`, `no-store`, `no-cache`, `Set-Cookie`, `Vary` on what the key leaves out, an
//!      `Access-Control-Allow-Origin` for one origin while the key leaves out `Origin`), endless (`text/event-stream`, `multipart/x-mixed-replace`) or
//!      declares to be larger than [`max_body`](CacheLayer::max_body), the caller whose run it was gets it; the others are
//!      released at once to run on their own, in parallel; and the URL is remembered. So for a 206 or 304, which nobody asked
//!      for, but the URL is not remembered.
//!    - If it is a 5xx, it is an error: an old response may make up for it, else it is shared with those who waited.
//!    - Otherwise it is shared, and stored for the TTL of its [status](CacheLayer::ttl_by_status). What it says itself
//!      (`max-age`, `s-maxage`, `Expires`, `must-revalidate`, `stale-while-revalidate`, `stale-if-error`) may make that
//!      less, and never more. The handler has the last word by [`NoCache`], [`StoreFor`] and [`Tags`].
//!
//! The key is scheme, host, path and query as they were sent, the class of the method, the headers of
//! [`vary_on`](CacheLayer::vary_on), and the body where methods are opted in, with its `Content-Type` and `Content-Encoding`;
//! compared in full.
//!
//! # Streaming
//!
//! The first byte leaves as soon as the handler has written it, to all who wait. Those who come while a body is on its way
//! follow it from its start. Each reads at its own pace from one copy in memory, and no client that is slow or gone holds up
//! another, or cuts what is stored. If the handler dies, every reader gets an aborted body. Trailers are kept, but for those
//! that concern one caller. A body that will not be stored is given up a second after its last reader has left.
//!
//! A body that outgrows [`max_body`](CacheLayer::max_body) without having declared so is not stored, and goes on for those
//! who are reading it, with that much of it in memory: from then on they move at the pace of the slowest, who is left behind,
//! with an aborted body, when it has held up the others for a second.
//!
//! # Cancellation, panics, errors
//!
//! Runs are tasks of their own, so a client that hangs up harms nobody. A run whose response will be stored is finished; one
//! whose response nobody can use any more is cancelled. A panic is a 500 for those who waited, a
//! [timeout](CacheLayer::timeout) a 504, an open [breaker](CacheLayer::breaker) a 503. The error type of the service stays
//! what it is: see [`CacheService`].
//!
//! # Headers
//!
//! Others than the first caller get the end-to-end headers, without those of rate limits and request ids (the list is
//! [yours](CacheLayer::personal_headers)). `Age` and `Cache-Status` (RFC 9211) say where a response comes from:
//! `stampede; hit; ttl=4`, `stampede; fwd=miss; stored`, `stampede; fwd=miss; collapsed; stored`, `stampede; fwd=bypass`.
//!
//! `Access-Control-*` reaches others only where it is the same for them: with `Access-Control-Allow-Origin: *` and without
//! credentials, or where [`vary_on`](CacheLayer::vary_on) puts `Origin` into the key. Otherwise the response is personal.
//!
//! # Memory
//!
//! A stored response weighs about as many units as it takes bytes, its share of tables included, so a store with a `max_weight` is bounded in bytes; without
//! one, by its entries times [`max_body`](CacheLayer::max_body). What is on its way is bounded by that per run, and is shared
//! also where the store has no room for it. URLs are remembered as personal in a fixed 32 KiB.
//!
//! # Deployment caveats
//!
//! - What a handler goes by and neither the key nor `Vary` tells makes callers see each other's responses: `X-Forwarded-Host`,
//!   the address of the client, a session that is no cookie. Put it into [`vary_on`](CacheLayer::vary_on) or
//!   [`key_part`](CacheLayer::key_part).
//! - Under `Router::nest`, axum cuts the prefix off the path. Clones of one layer in two nested routers would take
//!   `/a/x` for `/b/x`: give each router a layer of its own, or add the prefix by `key_part` (from axum's `OriginalUri`).
//! - `no-cache` or `no-store` of a *request* is not heeded: clients do not decide what reaches the origin.
//! - Put compression outside of the layer, or `Accept-Encoding` into [`vary_on`](CacheLayer::vary_on). CORS works on either
//!   side; outside, one entry serves all origins.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))] // a library has no business giving up

mod answer;
mod asks;
mod body;
mod config;
mod control;
mod error;
mod exchange;
mod extensions;
mod fill;
mod future;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod headers;
mod inner;
mod key;
mod layer;
mod marks;
mod patterns;
mod range;
mod run;
mod serve;
mod service;
mod share;
mod status;
mod stream;
#[cfg(feature = "tier")]
mod travel;
mod under_way;
mod validators;
mod verdict;
mod voiding;

pub use body::ResponseBody;
pub use error::BodyError;
pub use extensions::{NoCache, StoreFor, Tags};
pub use future::ResponseFuture;
pub use layer::{CacheLayer, Collected, RequestBodies, Untouched};
pub use service::CacheService;

/// What the fuzz targets call. Not a stable interface.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzzing {
    /// Gives the parsers of headers these bytes.
    pub fn check_headers(data: &[u8]) {
        crate::fuzzing::check_headers(data);
    }
}
