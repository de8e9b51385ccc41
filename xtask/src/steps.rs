//! The steps of `cargo xtask test`: what a change must pass.

use std::time::{Duration, Instant};

use crate::metadata::Metadata;
use crate::process::{run as command, run_with_env};
use crate::{examples, miri, prerequisites};

pub(crate) type Step = (&'static str, fn() -> Result<(), String>);

/// Cheap checks first, so that the common faults show early.
pub(crate) const STEPS: &[Step] = &[
    ("prerequisites", prerequisites::provide),
    ("fmt", || command("cargo fmt --all --check")),
    ("clippy", || command("cargo clippy --workspace --all-targets --all-features -- -D warnings")),
    ("features", features),
    // Not `--all-targets`, which would run the benchmarks.
    ("tests", || command("cargo test --workspace --all-features --lib --bins --tests")),
    // On the machine's own clock.
    ("plain tests", || command("cargo test -p stampede-runtime --tests")),
    ("miri", miri::test),
    ("model", model),
    ("doc tests", || command("cargo test --workspace --all-features --doc")),
    ("examples", examples::run_all),
    // Empty under debug assertions, so `tests` does not run it a first time.
    ("memory", || command("cargo test --release -p stampede-rs -p stampede-http --test memory")),
    // A taste of it; alone, it takes a minute.
    ("soak", || command("cargo run --release -p stampede-soak -- --seconds 5")),
    ("docs", docs),
];

/// Runs `steps` up to the first that fails, then prints the time that each took.
pub(crate) fn run(steps: &[Step]) -> Result<(), String> {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let mut outcome = Ok(());
    for (name, check) in steps {
        println!("\n==> {name}");
        let start = Instant::now();
        let result = check();
        let time = start.elapsed();
        times.push((name, time));
        if let Err(error) = result {
            outcome = Err(format!("step `{name}` failed: {error}"));
            break;
        }
        println!("<== {name}: {:.1} s", time.as_secs_f64());
    }

    println!();
    for (name, time) in &times {
        println!("{name:<14}{:>8.1} s", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| time).sum();
    println!("{:<14}{:>8.1} s", "total", total.as_secs_f64());
    let failed = usize::from(outcome.is_err());
    print!("\n{} passed, {failed} failed", times.len() - failed);
    match steps.len() - times.len() {
        0 => println!(),
        left => println!(", {left} not run"),
    }
    outcome
}

/// Each feature of each published package alone, and each package without any.
fn features() -> Result<(), String> {
    for package in Metadata::read()?.packages.iter().filter(|package| package.published) {
        let bare = format!("cargo check -p {} --no-default-features", package.name);
        command(&bare)?;
        for feature in &package.features {
            command(&format!("{bare} --features {feature}"))?;
        }
    }
    Ok(())
}

/// Checks the models of the core's concurrency. In a folder of their own: the flag changes every package.
fn model() -> Result<(), String> {
    let line = "cargo test -p stampede-runtime --lib --profile model --target-dir target/model model::";
    run_with_env("RUSTFLAGS", "--cfg stampede_model", line)?;
    // That of the remote tier's protocol, with the configurations that take too long without optimisation.
    command("cargo test -p stampede-runtime --features test-util,tier --lib --release conformance::")
}

fn docs() -> Result<(), String> {
    let line = "cargo doc --workspace --all-features --no-deps --document-private-items";
    run_with_env("RUSTDOCFLAGS", "-D warnings", line)
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn the_first_failure_is_named_and_ends_the_run() {
        let outcome = run(&[
            ("first", || Ok(())),
            ("second", || Err("no such luck".into())),
            ("third", || unreachable!("a step after a failed one")),
        ]);
        assert_eq!(outcome, Err("step `second` failed: no such luck".into()));
    }

    #[test]
    fn all_steps_run_when_none_fails() {
        assert_eq!(run(&[("first", || Ok(())), ("second", || Ok(()))]), Ok(()));
    }
}
