//! A tier that a fleet shares, on Redis or Valkey: part of [`stampede-rs`](https://docs.rs/stampede-rs).
//!
//! ```no_run
//! use stampede_redis::Redis;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = Redis::connect("redis://127.0.0.1").prefix("shop").await?;
//! # Ok(())
//! # }
//! ```
//!
//! What one process has made, the others read, and of those who want the same value at once, in whatever process, one makes
//! it. What is invalidated anywhere is gone everywhere, and no value from before is stored after.
//!
//! | what a caller meets | round trips |
//! |---|---|
//! | a value that Redis has | 1 |
//! | none: the right to make it, a *lease* | the same 1 (2 if an old value was found first) |
//! | none, and somebody else makes it | 1, the wait, and 1 |
//! | `invalidate`, `put`, `expire`, a tag | 1 |
//!
//! Storing a value, and giving up or renewing a lease, are 1 each and off the callers' path. In a Cluster, voiding a tag is 3.
//!
//! # What it needs
//!
//! Redis 7.0 or later, or any Valkey, as one server, as a Cluster (feature `cluster`) or behind Sentinels (`sentinel`), with TLS
//! by the feature `tls`. An older server is refused. A server with access control lets its user do `~PREFIX:*`, `&PREFIX:*` and
//! `+@read +@write +@scripting +@pubsub +@connection`. It need not be persistent: what it has lost is made anew.
//!
//! Each process holds two connections, one for commands and one for news. They are made in the background, watched by pings,
//! and replaced when they are lost; calls never wait for that.
//!
//! # What it promises, and what may be lost
//!
//! Each operation is one script, which Redis runs atomically. A value is stored by the lease that it was made under, if that
//! stands; every invalidation, write, expiry and forced claim ends it. No clock of one machine is compared with another's.
//!
//! - **Redis down, slow or wedged**: an error, at once when it is known, and within two seconds when it is not. Nothing is kept
//!   and repeated here: that is the store's part, as is how long a call waits.
//! - **Redis restarted empty**: values and leases are gone. Fills under old leases are refused.
//! - **A failover**, of a Sentinel or in a Cluster: what the old primary had not passed on is lost. A lost lease is one more
//!   run. A lost invalidation is an old value that comes back, until its TTL ends.
//! - **Eviction**: a lost lease is one more run; a lost generation of a tag is a tag that was voided.
//! - **Foreign or damaged bytes** are a miss, and are removed. A payload larger than
//!   [`max_value_bytes`](Connect::max_value_bytes) is a miss, and stays for those who read it.
//! - **A replica, or a full server**, is an error for whatever has to write.
//! - **In a Cluster**, a key whose tag was voided while it was being made is made again only when that run has ended or given
//!   up, and news travels between nodes by the Cluster's bus, so that a partition between them may swallow some:
//!   [`memory_ttl`](Connect::memory_ttl) bounds how long a copy in memory may then be old.
//!
//! # What is in Redis
//!
//! ```text
//! shop:{app::load_user/%2a}      a value: 72 bytes, 8 or more for tags, and the payload, for its TTL and stale window
//! shop:{app::load_user/%2a}:l    the lease of a run under way, or a mark that one has failed
//! shop:{app::load_user/%2a}:w    a channel: who waits for this key
//! shop:{user:7}                  what a tag stands at: a random number, replaced when the tag is voided
//! shop:{~all}, shop:{~voids}     the same for everything, and for the tags in sum; these two have no TTL
//! shop:{~news}, shop:{~ping}     the channel on which invalidations are told; a key that tells whether one can be written
//! ```
//!
//! Bytes that are not graphic ASCII are escaped; keys and tags of more than 64 bytes appear as 192 bits of their SHA-256. What
//! is told on the channels names keys in full.

mod backend;
mod commands;
mod connect;
mod envelope;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod generations;
mod link;
mod message;
mod names;
mod news;
mod scripts;
mod tier;
mod wire;

pub use crate::connect::{Connect, ConnectError};
pub use crate::tier::Redis;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::error::Fault;

/// What the fuzz target calls. Not a stable interface.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzzing {
    /// Gives the decoders of values and messages these bytes.
    pub fn check_envelope(data: &[u8]) {
        crate::fuzzing::check_envelope(data);
    }
}

/// Bytes that nobody else has, and nobody can guess: a secret of the process and a number, hashed, which costs no system call.
fn random<const N: usize>() -> Result<[u8; N], Fault> {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let secret = if let Some(secret) = SECRET.get() {
        secret
    } else {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Fault::new(format!("the system gives no random numbers: {error}")))?;
        SECRET.get_or_init(|| secret)
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let hash: [u8; 32] = Sha256::new().chain_update(secret).chain_update(count.to_be_bytes()).finalize().into();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hash[..N]);
    Ok(bytes)
}
