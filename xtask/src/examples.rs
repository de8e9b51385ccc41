//! Builds every example and runs it to its end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::metadata::Metadata;
use crate::process;

/// Time that one example may take. They take seconds; the rest is for slow machines.
const LIMIT: Duration = Duration::from_mins(2);
/// Those that have a short form, by its arguments.
const SHORTENED: &[(&str, &[&str])] =
    &[("expiry", &["--short"]), ("fleet", &["--short"]), ("load", &["--short", "--redis"])];
/// Lines of a failed example's output that are shown.
const TAIL: usize = 40;

/// Runs the examples of all packages, up to the first that fails.
pub(crate) fn run_all() -> Result<(), String> {
    let metadata = Metadata::read()?;
    let mut names: Vec<&String> = metadata.packages.iter().flat_map(|package| &package.examples).collect();
    names.sort();
    if names.is_empty() {
        return Err("there are no examples to run".into());
    }

    let line = "cargo build --release --workspace --all-features --examples";
    println!("$ {line}");
    let built = executables(&process::output(&format!("{line} --message-format json-render-diagnostics"))?);
    let logs = metadata.target.join("xtask");
    fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;

    for name in names {
        let Some(path) = built.get(name) else {
            // Cargo passes over an example whose `required-features` are off without a word.
            return Err(format!("example `{name}` was not built"));
        };
        let start = Instant::now();
        let log = logs.join(format!("example-{name}.log"));
        let mut command = process::program(path);
        if let Some((_, arguments)) = SHORTENED.iter().find(|(shortened, _)| shortened == name) {
            command.args(*arguments);
        }
        run(&mut command, &log, LIMIT).map_err(|error| format!("example `{name}` {error}"))?;
        println!("example {name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The examples among the artifacts that cargo's JSON messages name, with their paths.
fn executables(messages: &str) -> BTreeMap<String, String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["kind"] == json!(["example"]))
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?;
            Some((name.to_owned(), message["executable"].as_str()?.to_owned()))
        })
        .collect()
}

/// Runs `command` with its output in `log`, the end of which a failure carries.
fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<(), String> {
    let ended = spawn(command, log)
        .and_then(|mut child| wait(&mut child, limit))
        .map_err(|error| format!("does not run: {error}"))?;
    let fault = match ended {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("ended with {status}"),
        None => format!("did not end within {} s and was killed", limit.as_secs()),
    };
    let output = fs::read(log).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = output.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    Err(format!("{fault}; the end of {}:\n{tail}", log.display()))
}

fn spawn(command: &mut Command, log: &Path) -> io::Result<Child> {
    let file = File::create(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()
}

/// Waits until `child` ends, or kills it when the time is up.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::env;
    use std::process::{self, Command};
    use std::time::Duration;

    use super::{LIMIT, executables, run};

    fn sh(name: &str, script: &str, limit: Duration) -> Result<(), String> {
        let log = env::temp_dir().join(format!("xtask-{}-{name}.log", process::id()));
        let outcome = run(Command::new("sh").args(["-c", script]), &log, limit);
        std::fs::remove_file(log).expect("the run leaves a log");
        outcome
    }

    #[test]
    fn success_is_quiet() {
        assert_eq!(sh("success", "echo fine", LIMIT), Ok(()));
    }

    #[test]
    fn a_failure_carries_its_status_and_the_end_of_both_streams() {
        let script = "i=1; while [ $i -le 60 ]; do echo line-$i.; i=$((i+1)); done; echo oh >&2; exit 3";
        let error = sh("failure", script, LIMIT).expect_err("the script fails");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("line-22.") && error.ends_with("line-60.\noh"), "{error}");
        assert!(!error.contains("line-21."), "{error}");
    }

    #[test]
    fn an_endless_run_is_killed() {
        let error = sh("endless", "exec sleep 600", Duration::ZERO).expect_err("time is up at once");
        assert!(error.contains("did not end within 0 s"), "{error}");
    }

    #[test]
    fn only_examples_are_taken_from_the_messages() {
        let messages = r#"
            {"reason": "compiler-artifact", "target": {"kind": ["lib"], "name": "a"}, "executable": null}
            {"reason": "compiler-artifact", "target": {"kind": ["example"], "name": "b"}, "executable": "/b"}
            {"reason": "build-finished", "success": true}"#;
        let found = executables(messages);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "/b".to_owned())]);
    }
}
