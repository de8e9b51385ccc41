//! Everything at once, for as long as it takes: random calls, errors, panics, delays, cancellations, invalidations and
//! storms of tags under real threads and on the machine's own clock. Each answer is checked as it comes, and the books are
//! at the end; then it prints what it did. One failure ends the soak.
//!
//! What must hold of an answer is in [`check`], of what happens under failures in [`quiet`], of the figures in
//! [`accounts`], and that nobody hangs in [`watchdog`].

mod accounts;
mod arena;
mod body;
mod check;
mod clients;
mod failures;
mod floors;
mod functions;
mod ledger;
mod log;
mod quiet;
mod random;
mod report;
mod value;
mod watchdog;
mod weather;

use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, panic, thread};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::arena::{Arena, Kind, World};
use crate::log::Log;

const HELP: &str = "\
A soak under real threads: everything at once, and each answer checked.

Usage: cargo xtask soak [--seconds N] [--seed S]

  --seconds N   how long (60)
  --seed S      which operations take place (another one each time); how they interleave is up to the machine
";

/// The threads of the runtime.
const WORKERS: usize = 6;
/// The clients of each arena.
const CLIENTS: [(Kind, u64); 3] = [(Kind::Noisy, 40), (Kind::Bypassed, 24), (Kind::Quiet, 16)];

/// How many panics of bodies there were.
static EXPECTED_PANICS: AtomicU64 = AtomicU64::new(0);

struct Arguments {
    seconds: u64,
    seed: u64,
}

fn arguments(args: &[String]) -> Result<Arguments, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos()));
    let mut arguments = Arguments { seconds: 60, seed: now };
    for pair in args.chunks(2) {
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number; write digits"));
        match pair {
            [name, value] if name == "--seconds" => arguments.seconds = number(value)?,
            [name, value] if name == "--seed" => arguments.seed = number(value)?,
            [name, ..] => return Err(format!("`{name}` makes no sense here; see `--help`")),
            [] => {}
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match arguments(&args) {
        Ok(arguments) => soak(&arguments),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn soak(&Arguments { seconds, seed }: &Arguments) -> ExitCode {
    println!("soak: {seconds} s, seed {seed}, {WORKERS} threads");
    let (log, world) = (Log::default(), Arc::new(World::new(seed)));
    if tracing::subscriber::set_global_default(log.clone()).is_err() {
        world.failures.add("somebody else logs".into());
    }
    silence_expected_panics(&world);
    guard(&world);

    let arenas = CLIENTS.map(|(kind, clients)| (Arena::new(&world, kind), clients));
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let weather = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for (arena, count) in &arenas {
            for number in 0..*count {
                clients.spawn(clients::client(Arc::clone(arena), number | (arena.kind as u64) << 8));
            }
        }
        let noisy = arenas.iter().map(|(arena, _)| Arc::clone(arena)).filter(|arena| arena.kind != Kind::Quiet);
        let weather = tokio::spawn(weather::make(Arc::clone(&world), noisy.collect()));
        while begun.elapsed() < Duration::from_secs(seconds) && !world.is_over() {
            sleep(Duration::from_millis(20)).await;
        }
        world.end();
        while let Some(client) = clients.join_next().await {
            world.failures.expect(client.is_ok(), || format!("a client: {client:?}"));
        }
        weather.await.unwrap_or_default()
    });
    let took = begun.elapsed();
    if !world.failures.any() {
        for (arena, _) in &arenas {
            accounts::close(arena);
        }
    }
    let arenas: Vec<_> = arenas.into_iter().map(|(arena, _)| arena).collect();
    report::print(&arenas, took, weather, EXPECTED_PANICS.load(SeqCst), &log);
    if world.failures.any() {
        println!("{}; run it again with --seed {seed}", world.failures);
        return ExitCode::FAILURE;
    }
    println!("ok");
    ExitCode::SUCCESS
}

/// Those of bodies; any other is a failure.
fn silence_expected_panics(world: &Arc<World>) {
    let (world, usual) = (Arc::clone(world), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with(body::PANIC)) {
            EXPECTED_PANICS.fetch_add(1, SeqCst);
            return;
        }
        usual(info);
        world.failures.add(format!("an unexpected panic: {info}"));
    }));
}

/// Ends the process if a call hangs, or the soak does: who hangs may have taken all threads.
fn guard(world: &Arc<World>) {
    let world = Arc::clone(world);
    thread::spawn(move || {
        let mut over_since = None;
        loop {
            thread::sleep(Duration::from_millis(250));
            let hanging = world.watchdog.hanging();
            let is_late =
                world.is_over() && over_since.get_or_insert_with(Instant::now).elapsed() > 4 * watchdog::PATIENCE;
            if !hanging.is_empty() || is_late {
                for call in hanging {
                    world.failures.add(call);
                }
                world.failures.expect(!is_late, || "the soak does not come to an end".into());
                println!("{}; run it again with --seed {}", world.failures, world.seed);
                exit(1);
            }
        }
    });
}
