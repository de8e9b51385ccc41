//! A load test that asserts what it shows: a load that never pauses, and one trouble after the other. Takes two minutes;
//! `-- --short`, twenty seconds. It fails if one claim does not hold.
//!
//! `cargo run --release --all-features --example load -- --redis`
//!
//! - `--redis`: two servers share a Redis, which is started here, and dies; else they share a tier in memory, and lose that
//! - `--rate N`: the requests per second that never pause; 1000 unless told
//! - `--serve ADDRESS`: a page of live charts, and `/metrics` for Prometheus; after the end for as long as you like
//! - `--json`: a line of JSON four times a second, and the table as the last one, instead of what terminals get
//! - `--short`: everything once or twice
//!
//! The requests are calls of functions with `#[coalesce]`; in the phase about HTTP, they come through a socket.
//!
//! - `main.rs`: arguments and the story; `phases/`: what happens, and what is claimed of it
//! - `load.rs`: the load, an open loop; `callers.rs`: the callers of the phases
//! - `origin.rs`: the database, a temporary `SQLite` file that counts its queries
//! - `tier.rs`, `other.rs`: what the two servers share, and the second one; `lab.rs`: all this together
//! - `books.rs`: what Prometheus would know; `watch.rs`, `sample.rs`: what is seen of it
//! - `view.rs`, `report.rs`: what the terminal shows; `serve.rs`, `page.html`: what browsers show

mod books;
mod callers;
#[path = "../axum_server/client.rs"]
mod client;
mod lab;
mod load;
mod origin;
mod other;
mod phases;
mod report;
mod sample;
mod serve;
#[path = "../fleet/server.rs"]
mod server;
mod tier;
mod view;
mod watch;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::callers::lock;
use crate::lab::{Finding, Lab};
use crate::origin::Mood;
use crate::phases::Phase;
use crate::report::Row;
use crate::sample::Verdict;
use crate::serve::Page;
use crate::view::View;
use crate::watch::{Board, INTERVAL, Watch};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const RATE: u32 = 1_000;
/// A phase that takes longer than this is broken.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Arguments {
    is_short: bool,
    is_redis: bool,
    is_json: bool,
    rate: Option<u32>,
    serve: Option<SocketAddr>,
}

impl Arguments {
    fn read() -> Result<Self, BoxError> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" => arguments.is_short = true,
                "--redis" => arguments.is_redis = true,
                "--json" => arguments.is_json = true,
                "--rate" => {
                    let rate = words.next().and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0);
                    arguments.rate = Some(rate.ok_or("`--rate` takes a number of requests per second, above 0")?);
                }
                "--serve" => {
                    let address = words.next().and_then(|address| address.parse().ok());
                    arguments.serve = Some(address.ok_or("`--serve` takes an address such as 127.0.0.1:9000")?);
                }
                other => {
                    let there_is = "write --redis, --rate N, --serve ADDRESS, --json or --short";
                    return Err(format!("there is no `{other}`; {there_is}").into());
                }
            }
        }
        Ok(arguments)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments = Arguments::read()?;
    let lab = Lab::open(arguments.is_short, arguments.is_redis, arguments.rate.unwrap_or(RATE)).await?;
    let shown = tokio::select! {
        shown = show(&arguments, &lab) => shown,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    lab.close()?;
    let (broken, page) = shown?;
    if let Some(page) = page {
        if std::io::stdin().is_terminal() {
            eprintln!("still on http://{}/ until you stop it", page.address());
            tokio::signal::ctrl_c().await?;
        }
        page.finish().await;
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("broken: {}", broken.join("; ")).into()) }
}

/// Tells the story, and shows it meanwhile. Says which claims are broken, and where there is a page about it.
async fn show(arguments: &Arguments, lab: &Arc<Lab>) -> Result<(Vec<&'static str>, Option<Page>), BoxError> {
    let page = match arguments.serve {
        Some(address) => Some(Page::start(address, lab.books.0.clone()).await?),
        None => None,
    };
    if let Some(page) = &page {
        eprintln!("live on http://{}/", page.address());
    }
    let phases: Arc<[Phase]> = phases::all(lab).into();
    let board = Board::default();
    let mut watch = Watch::new(lab, &phases, &board);
    let mut view = (!arguments.is_json).then(View::new);
    let mut show = |held| {
        let sample = watch.look(held);
        match &mut view {
            Some(view) => view.draw(&sample),
            None => println!("{}", serde_json::json!(sample)),
        }
        if let Some(page) = &page {
            page.show(&sample);
        }
    };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut story = tokio::spawn(tell(Arc::clone(lab), Arc::clone(&phases), Arc::clone(&board)));
    let mut rows = loop {
        tokio::select! {
            rows = &mut story => break rows?,
            _ = ticks.tick() => show(None),
        }
    };
    let broken: Vec<&str> = lock(&board).iter().filter(|verdict| !verdict.held).map(|verdict| verdict.name).collect();
    let held = broken.is_empty();
    show(Some(held));

    rows.push(Row::of("the load", std::slice::from_ref(&lab.load.desk)));
    rows.push(Row::sum(&rows));
    if arguments.is_json {
        println!("{}", serde_json::json!({ "table": rows, "held": held }));
    } else {
        report::table(&rows);
    }
    Ok((broken, page))
}

/// One phase after the other, with the load alone in between.
async fn tell(lab: Arc<Lab>, phases: Arc<[Phase]>, board: Board) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, phase) in (1..).zip(&*phases) {
        tokio::time::sleep(Duration::from_millis(if lab.is_short { 100 } else { 1_500 })).await;
        lab.enter(number);
        let mut play = tokio::spawn((phase.play)(Arc::clone(&lab)));
        let played = timeout(LIMIT, &mut play).await;
        let finding = match played {
            Ok(Ok(Ok(finding))) => finding,
            Ok(Ok(Err(error))) => Finding::broken(error),
            Ok(Err(panic)) => Finding::broken(panic),
            Err(_) => {
                play.abort();
                Finding::broken(format!("not over within {LIMIT:?}"))
            }
        };
        lab.is_at(1, 1);
        let (held, measured) = (finding.held(), finding.measured());
        lock(&board).push(Verdict { name: phase.name, claim: phase.claim.clone(), held, measured });
        let desks = lab.desks(number);
        for desk in desks.iter().chain([&lab.load.desk]) {
            desk.origin().set(Mood::Fine); // also if the phase was broken
        }
        if !desks.is_empty() {
            rows.push(Row::of(phase.name, &desks));
        }
    }
    rows
}
