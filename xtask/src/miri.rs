//! Miri: some of the runtime's tests, interpreted, with an eye on what the code underneath ours does with memory and on
//! races between threads.

use crate::process::{on_path, run, run_with_env, succeeds};

const FLAGS: &str = concat!(
    // crossbeam-epoch, which moka brings, breaks the rules of the older model.
    "-Zmiri-tree-borrows ",
    // It also makes pointers of integers, which is warned about otherwise.
    "-Zmiri-permissive-provenance ",
    // What it keeps back to be freed later never is; that the table of flights is empty is checked after each test.
    "-Zmiri-ignore-leaks",
);

/// Tests that need no I/O, and some minutes: all of them would take hours. The models of the remote tier's protocol look at
/// tens of thousands of states, in one thread and without a pointer; the streams of values are long.
const TESTS: &str = "rustup run nightly cargo miri test -p stampede-runtime --features test-util,tier --lib --test flights -- --skip conformance --skip streams";

/// Runs the tests under Miri, where it is to be had.
pub(crate) fn test() -> Result<(), String> {
    if !is_there() {
        println!("there is no Miri for the toolchains of this machine");
        return Ok(());
    }
    run_with_env("MIRIFLAGS", FLAGS, TESTS)
}

/// Finds Miri, which only nightly toolchains have, or installs it where that can be done.
pub(crate) fn provide() {
    if !is_there() && on_path("rustup") {
        println!("miri: missing, installing it with rustup");
        let installed = if succeeds("rustup run nightly rustc --version") {
            run("rustup component add --toolchain nightly miri rust-src")
        } else {
            run("rustup toolchain install nightly --profile minimal --component miri,rust-src")
        };
        if let Err(error) = installed {
            println!("{error}");
        }
    }
    println!("miri: {}", if is_there() { "found" } else { "missing; its step has nothing to do" });
}

fn is_there() -> bool {
    succeeds("rustup run nightly cargo miri --version")
}
