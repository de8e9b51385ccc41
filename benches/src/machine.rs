//! What the figures depend on.

use std::process::Command;
use std::thread::available_parallelism;

/// The versions that this program was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Machine, compiler and contenders in two lines.
pub(crate) fn facts() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.and_then(|output| String::from_utf8(output.stdout).ok());
    let rustc = rustc.as_deref().map_or("rustc of unknown version", str::trim);
    let crates = ["stampede-rs", "cached", "moka", "tokio"].map(|name| format!("{name} {}", version(name)));
    format!("{cores} cores, {}, {rustc}\n{}", processor(), crates.join(", "))
}

fn version(name: &str) -> &'static str {
    let entry = LOCK.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
    version.unwrap_or("of unknown version")
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(std::env::consts::ARCH, |(_, model)| model).to_owned()
}
