//! The phases, in their order. Each asserts its claim in figures.

use std::pin::Pin;
use std::sync::Arc;

use crate::BoxError;
use crate::lab::{Finding, Lab};

mod breaker;
mod clients;
mod cold;
mod early;
mod http;
mod lease;
mod outage;
mod storm;
mod tier;
mod warm;
mod whole;

pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) claim: String,
    pub(crate) play: Play,
}

type Played = Pin<Box<dyn Future<Output = Result<Finding, BoxError>> + Send>>;
type Play = fn(Arc<Lab>) -> Played;

/// All of them.
pub(crate) fn all(lab: &Lab) -> Vec<Phase> {
    let tier = lab.tier.name();
    let phase = |name, claim: &str, play| Phase { name, claim: claim.to_owned(), play };
    vec![
        phase("warm-up", "20 keys, 100 callers, 20 runs", |lab| Box::pin(warm::up(lab))),
        phase("steady hits", "no runs; 99 of 100 answers within 1 ms", |lab| Box::pin(warm::hits(lab))),
        phase("stampede on a cold key", "50 callers, 1 run", |lab| Box::pin(cold::one(lab))),
        phase(
            "stale under a foreign lease",
            "no run of ours; 99 of 100 old answers within 1 ms; then the other's value",
            |lab| Box::pin(lease::held_elsewhere(lab)),
        ),
        phase(
            "self-fetch past a dead lease",
            "its server stands still: 50 callers, 1 run takes over in time; the late value is refused",
            |lab| Box::pin(lease::taken_over(lab)),
        ),
        phase("XFetch", "each key is renewed before its time; nobody waits", |lab| Box::pin(early::xfetch(lab))),
        phase("refresh that fails", "no errors; 99 of 100 old answers within 1 ms; one attempt per 250 ms", |lab| {
            Box::pin(early::failing(lab))
        }),
        phase("three cold keys", "40 callers each, 3 runs", |lab| Box::pin(cold::three(lab))),
        phase("breaker", "5 failures open it, 1 probe closes it, by itself", |lab| Box::pin(breaker::round_trip(lab))),
        phase("stampede at expiry", "10 000 callers, 1 run", |lab| Box::pin(cold::at_expiry(lab))),
        phase("origin outage", "no errors, from old values; one attempt per key and 250 ms", |lab| {
            Box::pin(outage::outage(lab))
        }),
        Phase {
            name: if tier == "Redis" { "Redis killed, mid-run" } else { "tier lost, mid-run" },
            claim: format!("no errors, 1 run per key; {tier} is used again within 5 s of its return"),
            play: |lab| Box::pin(tier::killed(lab)),
        },
        phase(
            "clients that hang up",
            "990 of 1000 leave, the first among them: 1 run, for 10; what nobody wants is cancelled",
            |lab| Box::pin(clients::hang_up(lab)),
        ),
        phase("invalidation storm", "no answer is older than what was voided before the call", |lab| {
            Box::pin(storm::storm(lab))
        }),
        phase(
            "HTTP misbehaviour",
            "hang-ups, halves, nonsense, dying bodies: others get one run's whole answer, and nobody another's",
            |lab| Box::pin(http::misbehaviour(lab)),
        ),
        Phase {
            name: "the load and the books",
            claim: format!(
                "99 % of {} requests per second, none shed, no errors; Prometheus knows each call and run",
                lab.load.rate
            ),
            play: |lab| Box::pin(whole::whole(lab)),
        },
    ]
}
