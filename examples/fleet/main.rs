//! A fleet of four processes with one Redis, which dies and comes back. Takes half a minute; `-- --short`, ten seconds.
//!
//! `cargo run --release --features redis --example fleet`
//!
//! - `main.rs`: what happens to the fleet
//! - `worker.rs`: a process of the fleet, with the two functions that it serves, and callers
//! - `fleet.rs`: the processes, and what they report
//! - `origin.rs`: the database, a temporary `SQLite` file that logs the runs it has served
//! - `server.rs`: the Redis
//! - `view.rs`: what the terminal shows
//! - `verdict.rs`: the table, and what must hold

mod fleet;
mod origin;
mod server;
mod verdict;
mod view;
mod worker;

use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::{Fleet, WORKERS};
use crate::origin::Shop;
use crate::server::Server;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A value is fresh for this long.
const TTL: Duration = Duration::from_secs(1);
/// A process that dies keeps others from its runs for so long at most.
const LEASE: Duration = Duration::from_secs(1);
/// How soon after its return every process uses Redis again.
const RECOVERY: Duration = Duration::from_secs(5);
/// What no call takes longer than.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which part of the story it is.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Up,
    Down,
    Back,
    Loss,
}

const PHASES: [Phase; 4] = [Phase::Up, Phase::Down, Phase::Back, Phase::Loss];

/// How long each part takes.
struct Plan([Duration; 4]);

impl Plan {
    const WHOLE: [u64; 4] = [9_000, 7_000, 9_000, 7_000];
    const SHORT: [u64; 4] = [3_000, 1_500, 2_500, 2_000];
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", redis, shop, number] => return worker::main(redis, shop.as_ref(), number.parse()?).await,
        ["--short"] => Plan::SHORT,
        [] => Plan::WHOLE,
        _ => return Err("the only argument that there is: --short".into()),
    };
    tokio::select! {
        done = tell(Plan(plan.map(Duration::from_millis))) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()), // so that all processes end, and the file goes
    }
}

async fn tell(Plan([up, down, back, loss]): Plan) -> Result<(), BoxError> {
    let mut redis = Server::start()?;
    let shop = Shop::create()?;
    let mut fleet = Fleet::start(&redis, shop).await?;

    fleet.begin(Phase::Up, format!("{WORKERS} workers, one Redis on port {}", redis.port));
    fleet.watch(Instant::now() + up, |_| false).await?;

    fleet.begin(Phase::Down, "Redis is killed");
    redis.kill()?;
    fleet.watch(Instant::now() + down, |_| false).await?;

    redis.start_again()?;
    let returned = Instant::now();
    fleet.say("Redis is back, and empty");
    let recovered = fleet.watch(returned + RECOVERY, Fleet::all_well).await?;
    let recovery = recovered.then(|| returned.elapsed());

    fleet.begin(Phase::Back, "every worker uses Redis again");
    fleet.watch(Instant::now() + TTL + back, |_| false).await?;

    // Whoever makes the next report has the lease for it.
    let seen = fleet.reports_begun();
    fleet.watch(Instant::now() + PATIENCE + TTL, |fleet| fleet.reports_begun() > seen).await?;
    let killed = fleet.kill_the_reporter().await?;
    fleet.begin(Phase::Loss, format!("worker {killed} is killed, in the middle of a run"));
    let (died, seen) = (Instant::now(), fleet.reports_begun());
    let taken_over = fleet.watch(died + LEASE + PATIENCE, |fleet| fleet.reports_begun() > seen).await?;
    let takeover = taken_over.then(|| died.elapsed());
    fleet.say("another worker has taken that run over");
    fleet.replace(killed, &redis).await?;
    fleet.say(&format!("a new worker {killed} is there"));
    fleet.watch(Instant::now() + loss, |_| false).await?;

    let story = fleet.end().await?;
    verdict::table(&story);
    verdict::judge(&story, recovery, takeover)
}
