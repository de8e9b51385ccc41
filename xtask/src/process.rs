//! Commands written as one line, as a person would type them.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The workspace root, where every command runs.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies in the workspace root")
}

/// A command that runs at the root without what `cargo run` tells xtask about itself: build scripts
/// that watch these variables would run anew, and programs would take xtask's folder, or its toolchain, for their own.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root());
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

/// The command that `line` spells; its words are split at spaces and know no quotes.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a command line has a first word");
    let mut command = match env::var_os("CARGO") {
        Some(cargo) if name == "cargo" => program(cargo), // the toolchain that runs xtask
        _ => program(name),
    };
    command.args(words);
    command
}

/// Runs `line` in sight of the user; anything but success is an error.
pub(crate) fn run(line: &str) -> Result<(), String> {
    println!("$ {line}");
    finish(&mut command(line), line)
}

/// As [`run`], with arguments that may hold spaces.
pub(crate) fn run_with_args(line: &str, args: &[&str]) -> Result<(), String> {
    println!("$ {line} {}", args.join(" "));
    finish(command(line).args(args), line)
}

/// As [`run`], with one environment variable.
pub(crate) fn run_with_env(key: &str, value: &str, line: &str) -> Result<(), String> {
    println!("$ {key}=\"{value}\" {line}");
    finish(command(line).env(key, value), line)
}

/// Runs `line` unseen, and returns what it wrote to stdout. Stderr stays visible.
pub(crate) fn output(line: &str) -> Result<String, String> {
    let output =
        command(line).stderr(Stdio::inherit()).output().map_err(|error| format!("`{line}` does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{line}` ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{line}`: {error}"))
}

/// Whether `line`, run unseen, starts and ends well.
pub(crate) fn succeeds(line: &str) -> bool {
    command(line).output().is_ok_and(|output| output.status.success())
}

/// Whether a program of this name can be started.
pub(crate) fn on_path(name: &str) -> bool {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(&file).is_file()))
}

fn finish(command: &mut Command, line: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` ended with {status}")),
        Err(error) => Err(format!("`{line}` does not start: {error}")),
    }
}
