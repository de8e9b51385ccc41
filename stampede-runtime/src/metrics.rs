//! What a store reports by the [`metrics`](https://docs.rs/metrics) facade, with the feature `metrics`.
//!
//! Install a recorder, an exporter for Prometheus or OpenTelemetry for example, and [`describe`] the metrics to it; there is
//! nothing else to do. The labels are bounded: the names of caches and tiers, and fixed words. A key is never one.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | [`stampede_calls_total`](CALLS) | counter | `cache`, `outcome` | calls, each once, when it is over: `fresh`, `stale`, `miss`, `coalesced`, `error`, `bypass`, as in [`Calls`](crate::Calls) |
//! | [`stampede_runs_total`](RUNS) | counter | `cache`, `result`, `trigger` | runs, each once, when it is over: `ok`, `error`, `panic`, `timeout`, `cancelled`, `no_cache`, as in [`Runs`](crate::Runs); begun by a `miss`, by a `stale` value, `early`, or `manual` (`fresh`) |
//! | [`stampede_run_duration_seconds`](RUN_DURATION) | histogram | `cache`, `result` | how long the bodies of these runs took |
//! | [`stampede_wait_duration_seconds`](WAIT_DURATION) | histogram | `cache`, `outcome` | how long calls waited for runs, of those that waited |
//! | [`stampede_stale_age_seconds`](STALE_AGE) | histogram | `cache` | how far beyond its TTL a stale answer was |
//! | [`stampede_runs_in_flight`](RUNS_IN_FLIGHT) | gauge | `cache` | runs under way, also those that still ask the tier |
//! | [`stampede_callers_waiting`](CALLERS_WAITING) | gauge | `cache` | calls that wait for a run |
//! | [`stampede_entries`](ENTRIES) | gauge | `cache` | what the memory tier holds, errors included, as far as it has cleared up |
//! | [`stampede_evictions_total`](EVICTIONS) | counter | `cache`, `reason` | entries that had to make room (`size`) or whose time was over (`expired`) |
//! | [`stampede_invalidations_total`](INVALIDATIONS) | counter | `op`, `reason` | `invalidate`, `expire`, `tag`, `clear`: by a `call` here, or by `news` from the tier |
//! | [`stampede_breaker_state`](BREAKER_STATE) | gauge | `cache` | 0 closed, 1 half-open, 2 open |
//! | [`stampede_breaker_transitions_total`](BREAKER_TRANSITIONS) | counter | `cache`, `result` | changes, to `open`, `half_open` and `closed` |
//! | [`stampede_tier_up`](TIER_UP) | gauge | `tier` | 1 while the tier is used, 0 while it is left alone |
//! | [`stampede_tier_operations_total`](TIER_OPERATIONS) | counter | `tier`, `op`, `result` | trips to the tier that were `ok` or came to an `error`, probes among them |
//! | [`stampede_tier_operation_duration_seconds`](TIER_OPERATION_DURATION) | histogram | `tier`, `op` | how long these took |
//! | [`stampede_tier_values_total`](TIER_VALUES) | counter | `tier`, `result` | values that the tier had (`hit`), could not be read (`undecodable`), or stayed in memory (`unfit`) |
//! | [`stampede_tier_leases_total`](TIER_LEASES) | counter | `tier`, `result` | leases that were `won`, of these taken over after others had one (`takeover`); that others had (`busy`) or were put off (`throttled`); that ended early: by an invalidation (`revoked`), or because they were not renewed in time (`lost`) |
//! | [`stampede_tier_fills_total`](TIER_FILLS) | counter | `tier`, `result` | values `stored` in the tier, or `refused` by it |
//!
//! The calls of a cache are the sum over `outcome`, and its runs the sum over `result` and `trigger`; runs saved are the
//! calls but those of `outcome="bypass"`, less the runs. Runs of a [bypassed](crate::Store::bypass) store are not counted.
//!
//! # Recorders
//!
//! A store keeps the handles that a recorder gave it at the first event of a cache; what came before there was a recorder is
//! not reported. With recorders of their own, tests want stores of their own. A recorder is called where the event is, in
//! part under locks of the store: it must not call into `stampede`. And it must have a size: the facade's own, which stands in
//! where there is none, is known by that it has not.
//!
//! With the feature and an exporter for Prometheus, a hit of some 450 instructions takes some 35 more, and about as many where
//! there is no recorder, for then it looks for one: `cargo run --profile bench -p stampede-benches --features metrics --
//! --filter hit` tells, next to the same without the feature. Without it, none of this is compiled.

use metrics::Unit;

macro_rules! names {
    ($($kind:ident $constant:ident = $name:literal, $unit:ident, $text:literal;)*) => {
        $(#[doc = concat!("`", $name, "`: ", $text, ".")] pub const $constant: &str = $name;)*

        /// Tells the recorder in force what the metrics are about. To be called after it has been installed.
        pub fn describe() {
            $(names!(@$kind $constant, $unit, $text);)*
        }

        /// All of them, for tests and tools.
        pub const ALL: &[&str] = &[$($constant),*];
    };
    (@counter $constant:ident, $unit:ident, $text:literal) => {
        metrics::describe_counter!($constant, Unit::$unit, $text)
    };
    (@gauge $constant:ident, $unit:ident, $text:literal) => { metrics::describe_gauge!($constant, Unit::$unit, $text) };
    (@histogram $constant:ident, $unit:ident, $text:literal) => {
        metrics::describe_histogram!($constant, Unit::$unit, $text)
    };
}

names! {
    counter CALLS = "stampede_calls_total", Count, "calls by how they ended";
    counter RUNS = "stampede_runs_total", Count, "runs by how they ended and what began them";
    histogram RUN_DURATION = "stampede_run_duration_seconds", Seconds, "how long runs took";
    histogram WAIT_DURATION = "stampede_wait_duration_seconds", Seconds, "how long calls waited for runs";
    histogram STALE_AGE = "stampede_stale_age_seconds", Seconds, "how far beyond its TTL a stale answer was";
    gauge RUNS_IN_FLIGHT = "stampede_runs_in_flight", Count, "runs under way";
    gauge CALLERS_WAITING = "stampede_callers_waiting", Count, "calls that wait for a run";
    gauge ENTRIES = "stampede_entries", Count, "entries in memory";
    counter EVICTIONS = "stampede_evictions_total", Count, "entries that memory let go of";
    counter INVALIDATIONS = "stampede_invalidations_total", Count, "what was voided by hand, here or elsewhere";
    gauge BREAKER_STATE = "stampede_breaker_state", Count, "0 closed, 1 half-open, 2 open";
    counter BREAKER_TRANSITIONS = "stampede_breaker_transitions_total", Count, "changes of a breaker's state";
    gauge TIER_UP = "stampede_tier_up", Count, "whether the remote tier is used";
    counter TIER_OPERATIONS = "stampede_tier_operations_total", Count, "trips to the remote tier";
    histogram TIER_OPERATION_DURATION = "stampede_tier_operation_duration_seconds", Seconds, "how long trips to the remote tier took";
    counter TIER_VALUES = "stampede_tier_values_total", Count, "values that came from the remote tier, or could not go or come";
    counter TIER_LEASES = "stampede_tier_leases_total", Count, "leases on keys of the remote tier";
    counter TIER_FILLS = "stampede_tier_fills_total", Count, "values that went to the remote tier";
}
