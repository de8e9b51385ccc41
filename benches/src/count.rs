//! Instructions: what valgrind counts for a call.
//!
//! This program runs itself under callgrind, twice for each contender, with some hits and with more of them. What the
//! difference comes to is a hit's, and the loop's around it, which is counted in the same way and taken off.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::allocations;
use crate::contenders::{Moka, NAME, cached_by_key, coalesce_detached, concurrent_cached};

/// What is counted, in another process.
pub(crate) fn run(contender: &str, calls: u64) {
    calls_of(contender, calls);
}

/// What a thousand hits allocate.
pub(crate) fn allocations_of_hits(contender: &str) -> u32 {
    calls_of(contender, 1_000);
    let cold = allocations::count(|| calls_of(contender, 1_000)).count;
    let more = allocations::count(|| calls_of(contender, 2_000)).count;
    more - cold
}

fn calls_of(contender: &str, calls: u64) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let moka = LazyLock::new(Moka::new);
    match contender {
        "stampede" => hits(&runtime, calls, &coalesce_detached),
        "concurrent_cached" => hits(&runtime, calls, &concurrent_cached),
        "cached by_key" => hits(&runtime, calls, &cached_by_key),
        "moka get_with" => hits(&runtime, calls, &async |id, name: &str| moka.get_with(id, name).await),
        _ => hits(&runtime, calls, &async |id, _: &str| id),
    }
}

/// What is counted: by its name, so it is a function of its own.
#[inline(never)]
fn hits(runtime: &Runtime, calls: u64, call: &impl AsyncFn(u64, &str) -> u64) {
    runtime.block_on(async {
        for _ in 0..calls {
            black_box(call(black_box(7), black_box(NAME)).await);
        }
    });
}

/// Instructions per hit, or nothing where valgrind is not installed.
pub(crate) fn per_hit(contender: &str) -> Option<f64> {
    static LOOP: LazyLock<Option<f64>> = LazyLock::new(|| per_call("loop"));
    Some(per_call(contender)? - (*LOOP)?)
}

/// The two counts do not disturb each other.
fn per_call(contender: &str) -> Option<f64> {
    const FEW: u64 = 2_000;
    const MORE: u64 = 22_000;
    let (few, more) = thread::scope(|scope| {
        let few = scope.spawn(|| count(contender, FEW));
        let more = count(contender, MORE);
        (few.join().expect("a count"), more)
    });
    Some((more? - few?) / (MORE - FEW) as f64)
}

fn count(contender: &str, calls: u64) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=stampede_benches::count::hits"])
        .arg(std::env::current_exe().ok()?)
        .args(["--count", contender, &calls.to_string()])
        .stdout(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stderr).ok()?;
    text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}
