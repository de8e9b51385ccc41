//! The remote tier that two servers share: a Redis of our own, or one in memory that can be made to fail.

use std::sync::Mutex;
use std::time::Duration;

use stampede::StoreBuilder;
use stampede::redis::Redis;
use stampede::tier::Limits;
use stampede::tier::memory::{Fault, MemoryTier};

use crate::BoxError;
use crate::callers::lock;
use crate::server::Server;

/// A server that stands still keeps others from its runs for so long at most.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// How soon after its return the tier is used again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);

pub(crate) enum Tier {
    Memory { ours: MemoryTier, theirs: MemoryTier },
    Redis(Mutex<Server>),
}

/// One of the two servers that share it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Who {
    We,
    Others,
}

impl Tier {
    pub(crate) fn start(is_redis: bool) -> Result<Self, BoxError> {
        if is_redis {
            return Ok(Self::Redis(Mutex::new(Server::start()?)));
        }
        let ours = MemoryTier::with_limits(Limits { lease: LEASE, ..Limits::default() });
        Ok(Self::Memory { theirs: ours.another(), ours })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "the tier",
            Self::Redis(_) => "Redis",
        }
    }

    /// Puts it behind a store. The tasks that this takes are those of the runtime that it is awaited on.
    pub(crate) async fn behind(&self, store: StoreBuilder, who: Who) -> Result<StoreBuilder, BoxError> {
        let url = match self {
            Self::Memory { ours, .. } if who == Who::We => return Ok(store.remote(ours.clone())),
            Self::Memory { theirs, .. } => return Ok(store.remote(theirs.clone())),
            Self::Redis(server) => lock(server).url(),
        };
        Ok(store.remote(Redis::connect(url).prefix("load").lease(LEASE).await?))
    }

    /// It dies; whatever it knew is lost.
    pub(crate) fn kill(&self) -> Result<(), BoxError> {
        match self {
            Self::Memory { ours, theirs } => {
                for tier in [ours, theirs] {
                    tier.set_fault(Fault::Hanging);
                    tier.set_linked(false);
                }
            }
            Self::Redis(server) => lock(server).kill()?,
        }
        Ok(())
    }

    /// It is back, and empty.
    pub(crate) fn start_again(&self) -> Result<(), BoxError> {
        match self {
            Self::Memory { ours, theirs } => {
                ours.restart_empty();
                for tier in [ours, theirs] {
                    tier.set_fault(Fault::None);
                    tier.set_linked(true);
                }
            }
            Self::Redis(server) => lock(server).start_again()?,
        }
        Ok(())
    }
}
