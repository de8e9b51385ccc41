//! Compiling: what 200 annotated functions cost, each of them called.
//!
//! One throw-away crate per contender, in a workspace of their own under the target directory; their dependencies are built
//! beforehand. A round compiles one crate, alone and from nothing: `cargo build` in debug, and `cargo check` unless it has
//! to be quick.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Effort;
use crate::harness::{Contender, Figure, Limit, Measure, Target};

/// The shapes of the functions: arguments and result, body, and a call.
const SHAPES: [Shape; 4] = [
    Shape {
        signature: "number(id: u64) -> u64",
        body: "crate::ask(id).await",
        call: "number(7).await as usize",
        key: None,
    },
    Shape {
        signature: "fallible(name: &str) -> Result<String, Failed>",
        body: "if crate::ask(7).await > 0 { Ok(name.to_owned()) } else { Err(Failed) }",
        call: r#"fallible("seven").await.map_or(0, |text| text.len())"#,
        key: Some(("String", "name.to_owned()")),
    },
    Shape {
        signature: "optional(id: u64, language: String) -> Option<String>",
        body: "(crate::ask(id).await > 0).then_some(language)",
        call: r#"optional(7, "en".to_owned()).await.map_or(0, |text| text.len())"#,
        key: None,
    },
    Shape {
        signature: "record(id: u32, full: bool) -> Record",
        body: "Record { id: crate::ask(u64::from(id)).await, full }",
        call: "usize::from(record(7, true).await.full)",
        key: None,
    },
];

struct Shape {
    signature: &'static str,
    body: &'static str,
    call: &'static str,
    /// The type of the key and how it is made, where arguments are borrowed: `cached` has to be told.
    key: Option<(&'static str, &'static str)>,
}

/// What all functions ask.
const ASK: &str = "
pub async fn ask(id: u64) -> u64 {
    tokio::task::yield_now().await;
    id
}
";

/// What some of a module's functions give.
const TYPES: &str = "
    #[derive(Clone, Debug)]
    pub struct Failed;

    #[derive(Clone, Debug)]
    pub struct Record {
        pub id: u64,
        pub full: bool,
    }

";

/// How a contender annotates: its package, and the attribute for a function.
type Annotate = (&'static str, &'static str, fn(&Shape) -> String);

const CONTENDERS: [Annotate; 5] = [
    ("stampede", "compile-stampede", |_| "#[stampede::coalesce(ttl = \"1h\")]".to_owned()),
    ("concurrent_cached", "compile-concurrent-cached", |shape| cached("concurrent_cached(ttl_secs = 3600", shape)),
    ("cached", "compile-cached", |shape| cached("cached(ttl_secs = 3600", shape)),
    ("cached by_key", "compile-cached-by-key", |shape| {
        cached("cached(ttl_secs = 3600, sync_writes = \"by_key\"", shape)
    }),
    ("no attribute", PLAIN, |_| String::new()),
];

const PLAIN: &str = "compile-plain";

fn cached(attribute: &str, shape: &Shape) -> String {
    let key = shape.key.map(|(ty, make)| format!(", key = \"{ty}\", convert = {{ {make} }}"));
    format!("#[cached::macros::{attribute}{})]", key.unwrap_or_default())
}

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    // There is one function of each shape in each.
    let modules = if effort.quick { 10 } else { 50 };
    let commands: &[&str] = if effort.quick { &["build"] } else { &["build", "check"] };
    let workspace = generate(modules, commands);
    let contender = |(name, package, _): Annotate| {
        let workspace = workspace.clone();
        Contender::new(name, move || {
            commands.iter().flat_map(|command| <[f64; 2]>::from(compile(&workspace, command, package))).collect()
        })
    };
    vec![
        weight(),
        Measure {
            title: if effort.quick { "compile: 40 functions, debug" } else { "compile: 200 functions, debug" },
            figures: ["build, s of CPU", "build, s", "check, s of CPU", "check, s"][..2 * commands.len()]
                .iter()
                .map(|name| Figure::lower(name))
                .collect(),
            peer: "concurrent_cached",
            rounds: if effort.quick { 1 } else { effort.rounds },
            contenders: CONTENDERS.into_iter().map(contender).collect(),
            targets: vec![Target::new("E2", "stampede", 0, Limit::Ratio("cached", 1.0))],
        },
    ]
}

/// What is compiled before a function is: the dependency with its default features, and all that it depends on.
fn weight() -> Measure<'static> {
    let contender = |name, package: &'static str, dependency: String| {
        Contender::new(name, move || {
            let workspace = scratch().join(package);
            let manifest = format!(
                "[package]\nname = \"{package}\"\nedition = \"2024\"\n\n[dependencies]\n{dependency}\n\n[workspace]\n"
            );
            write(&workspace.join("Cargo.toml"), manifest);
            write(&workspace.join("Cargo.lock"), fs::read(root().join("Cargo.lock")).expect("the lock file"));
            write(&workspace.join("src/main.rs"), "fn main() {}\n");
            let _ = fs::remove_dir_all(workspace.join("target"));
            let tree =
                cargo(&workspace, &["tree", "--offline", "--edges=normal", "--prefix=none", "--no-dedupe"]).output();
            let tree = String::from_utf8(tree.expect("cargo starts").stdout).expect("text");
            // The first is the package itself.
            let crates =
                tree.lines().skip(1).map(|line| line.trim_end_matches(" (proc-macro)")).collect::<HashSet<_>>();
            let (cpu, wall) = timed(&mut cargo(&workspace, &["build", "--quiet", "--offline"]));
            vec![crates.len() as f64, cpu, wall]
        })
    };
    Measure {
        title: "weight: a dependency and all that it depends on, debug",
        figures: ["crates", "build, s of CPU", "build, s"].map(Figure::lower).to_vec(),
        peer: "cached",
        rounds: 1,
        contenders: vec![
            contender("stampede", "weight-stampede", stampede()),
            contender("cached", "weight-cached", CACHED.to_owned()),
        ],
        targets: (0..2).map(|figure| Target::new("E1", "stampede", figure, Limit::Ratio("cached", 0.8))).collect(),
    }
}

const CACHED: &str = "cached = { version = \"=4.1.0\", features = [\"async\"] }";

fn stampede() -> String {
    format!("stampede-rs = {{ path = {:?} }}", root().display().to_string())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches lies in the workspace root")
}

/// Where what is compiled lies.
fn scratch() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    own.parent().and_then(Path::parent).expect("this program lies in a target directory").join("compile-time")
}

/// Writes the crates and builds what they depend on. Where they are.
fn generate(modules: usize, commands: &[&str]) -> PathBuf {
    let workspace = scratch();
    let lock = fs::read(root().join("Cargo.lock")).expect("the lock file");
    write(&workspace.join("Cargo.lock"), lock);
    let packages = CONTENDERS.map(|(_, package, _)| format!("{package:?}")).join(", ");
    write(&workspace.join("Cargo.toml"), format!("[workspace]\nresolver = \"3\"\nmembers = [{packages}]\n"));
    for (_, package, annotate) in CONTENDERS {
        let dependencies =
            [stampede(), CACHED.to_owned(), "tokio = { version = \"1\", features = [\"rt\", \"time\"] }".to_owned()]
                .join("\n");
        let manifest =
            format!("[package]\nname = \"{package}\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n");
        write(&workspace.join(package).join("Cargo.toml"), manifest);
        write(&source(&workspace, package), program(annotate, modules));
    }
    // All have the same dependencies: those of one that has little to be compiled itself.
    for command in commands {
        compile(&workspace, command, PLAIN);
    }
    workspace
}

/// A crate's source: modules of functions, and a `main` that calls them all.
fn program(annotate: fn(&Shape) -> String, count: usize) -> String {
    let mut modules = String::new();
    for module in 0..count {
        let functions = SHAPES.iter().fold(String::new(), |mut text, shape| {
            let Shape { signature, body, .. } = shape;
            let attribute = annotate(shape);
            write!(text, "    {attribute}\n    pub async fn {signature} {{\n        {body}\n    }}\n\n")
                .expect("memory");
            text
        });
        let calls = SHAPES.map(|shape| shape.call).join(" + ");
        write!(
            modules,
            "\npub mod m{module} {{{TYPES}{functions}    pub async fn calls() -> usize {{\n        {calls}\n    }}\n}}\n"
        )
        .expect("memory");
    }
    let calls = (0..count).map(|module| format!("m{module}::calls().await")).collect::<Vec<_>>().join("\n        + ");
    format!(
        "fn main() {{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(\"{{}}\", runtime.block_on(all()));
}}

async fn all() -> usize {{
    {calls}
}}
{ASK}{modules}"
    )
}

/// Compiles one crate, and nothing else unless it has to: how many seconds that takes, of CPU and of the clock.
fn compile(workspace: &Path, command: &str, package: &str) -> (f64, f64) {
    let source = source(workspace, package);
    let text = fs::read(&source).expect("a source");
    write(&source, text); // now it is newer than what was made of it
    timed(&mut cargo(workspace, &[command, "--quiet", "--offline", "--package", package]))
}

/// A command of cargo's for what lies there.
fn cargo(workspace: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo
        .args(arguments)
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", workspace.join("target"))
        .env("CARGO_INCREMENTAL", "0") // nothing has changed, which an incremental build would notice
        .env_remove("RUSTC_WRAPPER"); // nor is a result to come from a cache
    cargo
}

/// How many seconds it takes, of CPU and of the clock.
fn timed(command: &mut Command) -> (f64, f64) {
    let before = cpu_of_children();
    let start = Instant::now();
    let status = command.status().expect("cargo starts");
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?} ended with {status}");
    let cpu = cpu_of_children().zip(before).map_or(wall, |(after, before)| after - before);
    (cpu, wall)
}

fn source(workspace: &Path, package: &str) -> PathBuf {
    workspace.join(package).join("src/main.rs")
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// The CPU time in seconds of all processes that this one has started and that are over, and of theirs; where Linux tells.
fn cpu_of_children() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;

    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name comes second, in parentheses, and may hold anything; the fields are 16 and 17, counted from one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(13).take(2).map(str::parse::<u32>);
    Some(ticks.sum::<Result<u32, _>>().ok()?.into()).map(|ticks: f64| ticks / TICKS_PER_SECOND)
}
