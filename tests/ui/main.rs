//! What the attribute takes, under strict lints, and what it refuses, with what words.
#![deny(warnings, missing_docs, clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(clippy::unnecessary_debug_formatting, reason = "to see it all")]
#![allow(unreachable_pub, reason = "as a library would have them")]

mod pass;
#[path = "../it/stores.rs"]
#[allow(clippy::pedantic, clippy::nursery, reason = "of the other tests")]
mod stores;

/// One misuse in each file of `fail/`, and beside it what the compiler says. Written anew by `TRYBUILD=overwrite`.
#[test]
fn misuse_is_refused_in_kind_words() {
    const TOOLCHAIN: &str = "1.95";
    let rustc = std::process::Command::new("rustc").arg("--version").output().expect("a compiler");
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    assert!(
        version.starts_with(&format!("rustc {TOOLCHAIN}.")),
        "the messages in tests/ui/fail are those of Rust {TOOLCHAIN}; this is {version}"
    );
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
