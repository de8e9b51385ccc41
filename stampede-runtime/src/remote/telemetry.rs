//! Telling the world what the remote tier does.

#[cfg(feature = "metrics")]
use tokio::time::Instant;

use super::Event;
use crate::event;
use crate::telemetry::Telemetry;

impl Telemetry {
    /// The tier is used, or left alone. `is_new`: it was not before.
    pub(super) fn tier_is_up(&self, tier: &'static str, is_up: bool, is_new: bool) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(crate::metrics::TIER_UP, "tier" => tier).set(f64::from(u8::from(is_up)));
        if is_new {
            self.tell(|| event::Event::Tier { tier, is_up });
        }
    }

    /// A trip to the tier is over, that began then.
    pub(super) fn trip(&self, tier: &'static str, op: Op, is_ok: bool) {
        let _ = (self, tier, op, is_ok);
        #[cfg(feature = "metrics")]
        {
            let Op(op, began) = op;
            let result = if is_ok { "ok" } else { "error" };
            metrics::counter!(crate::metrics::TIER_OPERATIONS, "tier" => tier, "op" => op, "result" => result)
                .increment(1);
            metrics::histogram!(crate::metrics::TIER_OPERATION_DURATION, "tier" => tier, "op" => op)
                .record(began.elapsed());
        }
    }

    /// Something that the tier's own statistics count.
    pub(super) fn tier_event(&self, tier: &'static str, event: Event) {
        let _ = (self, tier, event);
        #[cfg(feature = "metrics")]
        {
            use crate::metrics::{TIER_FILLS, TIER_LEASES, TIER_VALUES};
            let (name, result) = match event {
                Event::Hit => (TIER_VALUES, "hit"),
                Event::Undecodable => (TIER_VALUES, "undecodable"),
                Event::Unfit => (TIER_VALUES, "unfit"),
                Event::Lease => (TIER_LEASES, "won"),
                Event::Busy => (TIER_LEASES, "busy"),
                Event::Throttled => (TIER_LEASES, "throttled"),
                Event::TakeOver => (TIER_LEASES, "takeover"),
                Event::Revoked => (TIER_LEASES, "revoked"),
                Event::Lost => (TIER_LEASES, "lost"),
                Event::Fill => (TIER_FILLS, "stored"),
                Event::Refused => (TIER_FILLS, "refused"),
                // Trips and the tier's health tell these.
                Event::Failure | Event::Outage | Event::Recovery => return,
            };
            metrics::counter!(name, "tier" => tier, "result" => result).increment(1);
        }
    }
}

/// A trip to a tier under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op(
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nobody is told"))] &'static str,
    #[cfg(feature = "metrics")] Instant,
);

impl Op {
    pub(super) fn starts(name: &'static str) -> Self {
        Self(
            name,
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }
}
