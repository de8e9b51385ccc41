//! What the steps need of the machine. Nothing is skipped for want of a tool: it is installed, or
//! the run fails.

use crate::miri;
use crate::process::{on_path, output, run, succeeds};

struct Tool {
    command: &'static str,
    /// Debian's packages, separated by spaces.
    debian: &'static str,
    why: &'static str,
}

const CC: Tool = Tool { command: "cc", debian: "gcc libc6-dev", why: "rusqlite compiles the SQLite it bundles" };
const REDIS: Tool = Tool {
    command: "redis-server",
    debian: "redis-server",
    why: "the tests of the Redis tier, and the load test, start their own, 7.0 or later",
};
const PROMETHEUS: Tool =
    Tool { command: "prometheus", debian: "prometheus", why: "it is asked what dashboard and alerts ask" };

const TOOLS: &[Tool] = &[
    CC,
    REDIS,
    PROMETHEUS,
    Tool { command: "chromium", debian: "chromium", why: "a test opens the page of the load test in it" },
    Tool { command: "redis-sentinel", debian: "redis-sentinel", why: "the tests of the Redis tier fail over" },
];

/// What the load test needs.
const SERVERS: &[Tool] = &[CC, REDIS];

/// What the pictures need besides.
const PICTURES: &[Tool] = &[CC, REDIS, PROMETHEUS];

/// What measures the HTTP layer.
const METERS: &[Tool] = &[
    Tool { command: "valgrind", debian: "valgrind", why: "callgrind counts the instructions of a server" },
    Tool { command: "wrk", debian: "wrk", why: "it measures the latency of a server" },
];

/// Components of the toolchain, and the cargo command by which each is found.
const COMPONENTS: &[(&str, &str)] = &[("rustfmt", "fmt"), ("clippy", "clippy")];

/// Finds every tool and component, and installs what is missing where that can be done.
pub(crate) fn provide() -> Result<(), String> {
    for (component, command) in COMPONENTS {
        if succeeds(&format!("cargo {command} --version")) {
            println!("{component}: found");
        } else if on_path("rustup") {
            println!("{component}: missing, installing it with rustup");
            run(&format!("rustup component add {component}"))?;
        } else {
            return Err(format!("{component} is missing; add it to the Rust toolchain"));
        }
    }
    miri::provide();
    provide_tools(TOOLS)
}

/// Finds what the load test needs, and installs what is missing.
pub(crate) fn provide_servers() -> Result<(), String> {
    provide_tools(SERVERS)
}

/// The same for what the pictures are drawn from.
pub(crate) fn provide_pictures() -> Result<(), String> {
    provide_tools(PICTURES)
}

/// The same for what the benchmarks of the HTTP layer need.
pub(crate) fn provide_meters() -> Result<(), String> {
    provide_tools(METERS)
}

fn provide_tools(tools: &[Tool]) -> Result<(), String> {
    for tool in tools.iter().filter(|tool| on_path(tool.command)) {
        println!("{}: found", tool.command);
    }
    let missing = self::missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt_get) = apt_get() else {
        return Err(complaint(&missing));
    };
    let packages: Vec<&str> = missing.iter().map(|tool| tool.debian).collect();
    let packages = packages.join(" ");
    println!("{}; installing {packages} with apt-get", complaint(&missing));
    run(&format!("{apt_get} update"))?;
    run(&format!("{apt_get} install -y {packages}"))?;

    let missing = self::missing(tools);
    if missing.is_empty() { Ok(()) } else { Err(complaint(&missing)) }
}

fn missing(tools: &[Tool]) -> Vec<&Tool> {
    tools.iter().filter(|tool| !on_path(tool.command)).collect()
}

/// How to call apt-get with the right to install, where it exists and that right can be had.
fn apt_get() -> Option<String> {
    if !on_path("apt-get") {
        return None;
    }
    let sudo = if output("id -u").is_ok_and(|id| id.trim() == "0") {
        ""
    } else if on_path("sudo") {
        "sudo "
    } else {
        return None;
    };
    Some(format!("{sudo}env DEBIAN_FRONTEND=noninteractive apt-get"))
}

/// One line that names what is missing, and why it is needed.
fn complaint(missing: &[&Tool]) -> String {
    let tools: Vec<String> = missing.iter().map(|tool| format!("`{}` ({})", tool.command, tool.why)).collect();
    format!("missing on this machine: {}", tools.join(", "))
}
