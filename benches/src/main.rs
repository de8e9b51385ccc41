//! How fast stampede is, next to its peers.
//!
//! ```text
//! cargo run --profile bench -p stampede-benches [--features metrics] -- [--quick] [--filter NAME]
//! ```
//!
//! Everything here is measured in rounds: each contender once per round, in an order that rotates, so that whatever else
//! the machine does falls upon all of them alike. Figures are medians over the rounds, unless it says otherwise. Read
//! their ratios: these survive a change of machine, and the times do not.

#![expect(clippy::cast_precision_loss, reason = "figures are read to three digits")]

mod allocations;
mod compile;
mod contenders;
mod count;
mod growth;
mod harness;
mod hit;
mod http;
mod keys;
mod machine;
mod miss;
mod ratio;
mod redis;
mod storm;
mod table;
mod waiters;

use std::process::ExitCode;

use stampede::Store;

use crate::harness::Measure;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// More than any of the measures stores: what is compared is not who evicts.
const CAPACITY: u64 = 2_000_000;

const USAGE: &str = "usage: stampede-benches [--quick] [--filter NAME], NAME being part of hit, ratio, miss, waiters, growth, storm, http, redis or compile";

/// How thorough to be.
#[derive(Clone, Copy)]
struct Effort {
    quick: bool,
    rounds: usize,
}

type Section = (&'static str, fn(Effort) -> Vec<Measure<'static>>);

const SECTIONS: [Section; 9] = [
    ("hit", hit::measures),
    ("ratio", ratio::measures),
    ("miss", miss::measures),
    ("waiters", waiters::measures),
    ("growth", growth::measures),
    ("storm", storm::measures),
    ("http", http::measures),
    ("redis", redis::measures),
    ("compile", compile::measures),
];

fn main() -> ExitCode {
    let mut effort = Effort { quick: false, rounds: 9 };
    let mut filter = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => effort = Effort { quick: true, rounds: 3 },
            // For the measures of `http` only.
            "--serve-http" => {
                http::serve(&arguments.next().unwrap_or_default());
                return ExitCode::SUCCESS;
            }
            "--filter" => filter = arguments.next().unwrap_or_default(),
            "--count" => {
                install();
                let contender = arguments.next().unwrap_or_default();
                count::run(&contender, arguments.next().and_then(|calls| calls.parse().ok()).unwrap_or(0));
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    let sections = SECTIONS.iter().filter(|(name, _)| name.contains(&filter)).collect::<Vec<_>>();
    if sections.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    }

    install();
    println!("{}", machine::facts());
    println!("medians of the rounds (min–max), unless it says otherwise; ratios: lower is better");
    let mut all = Vec::new();
    for (_, measures) in sections {
        for measure in measures(effort) {
            let results = measure.run();
            table::print(&results);
            all.push(results);
        }
    }
    table::print_targets(&all);
    ExitCode::SUCCESS
}

fn install() {
    #[cfg(feature = "metrics")]
    metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().expect("the first");
    Store::builder().max_entries(CAPACITY).build().install().expect("nothing has been called yet");
}
