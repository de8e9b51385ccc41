//! The project's chores, run as `cargo xtask <command>`.

mod examples;
mod metadata;
mod miri;
mod pictures;
mod prerequisites;
mod process;
mod steps;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask <command>

Commands:
  test             everything a change must pass, in order, up to the first failure
  demo [args]...   the load test, for two minutes, with a Redis that dies and a page of live charts; arguments such as
                   --rate N and --serve ADDRESS go to it
  pictures         draws the README's, from the example `expiry` and a run of the load test that Prometheus scrapes
  bench [args]...  the benchmarks, in release; arguments such as --quick go to them
  soak [args]...   everything at once under real threads for a minute; --seconds N and --seed S go to it
  deny             licenses, advisories and sources of the dependencies (needs cargo-deny)
  help             this text
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match dispatch(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[&str]) -> Result<(), String> {
    match args {
        [] | ["help" | "--help" | "-h", ..] | ["test" | "pictures" | "deny", "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        ["test"] => steps::run(steps::STEPS),
        ["demo", args @ ..] => demo(args),
        ["pictures"] => pictures::draw(),
        ["bench", args @ ..] => bench(args),
        ["soak", args @ ..] => soak(args),
        ["deny"] => deny(),
        [command @ ("test" | "pictures" | "deny"), extra, ..] => {
            Err(format!("`{command}` takes no arguments; run it without `{extra}`"))
        }
        [unknown, ..] => Err(format!(
            "there is no command `{unknown}`; write `test`, `demo`, `pictures`, `bench`, `soak` or `deny`, or `help` for what they do"
        )),
    }
}

/// What it needs is installed first. The address of the page is printed, and is always the same unless told.
fn demo(args: &[&str]) -> Result<(), String> {
    prerequisites::provide_servers()?;
    let page: &[&str] = if args.contains(&"--serve") { &[] } else { &["--serve", "127.0.0.1:9000"] };
    let line = "cargo run --release -p stampede-rs --all-features --example load -- --redis";
    process::run_with_args(line, &[page, args].concat())
}

fn bench(args: &[&str]) -> Result<(), String> {
    let filter = args.iter().skip_while(|arg| **arg != "--filter").nth(1);
    if filter.is_none_or(|filter| "http".contains(filter)) {
        prerequisites::provide_meters()?;
    }
    process::run_with_args("cargo run --profile bench -p stampede-benches --", args)
}

/// A part of `test`, where it is short.
fn soak(args: &[&str]) -> Result<(), String> {
    process::run_with_args("cargo run --release -p stampede-soak --", args)
}

/// Not a part of `test`: it takes minutes to install, and needs the network to fetch advisories.
fn deny() -> Result<(), String> {
    if !process::succeeds("cargo deny --version") {
        return Err("cargo-deny is not installed; run `cargo install --locked cargo-deny`".into());
    }
    process::run("cargo deny check")
}

#[cfg(test)]
mod tests {
    use super::dispatch;

    #[test]
    fn a_wrong_command_line_is_told_what_to_write() {
        let error = dispatch(&["tset"]).expect_err("`tset` is no command");
        assert!(error.contains("`tset`") && error.contains("write `test`"), "{error}");

        let error = dispatch(&["deny", "now"]).expect_err("`deny` takes no arguments");
        assert!(error.contains("without `now`"), "{error}");
    }
}
