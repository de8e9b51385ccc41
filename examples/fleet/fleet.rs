//! The processes of the fleet, as the one who directs them sees them.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval};

use crate::origin::{Run, Shop};
use crate::server::Server;
use crate::view::View;
use crate::worker::{BEGUN, READY};
use crate::{BoxError, PHASES, Phase};

pub(crate) const WORKERS: usize = 4;
/// What one bar of the chart stands for: half a second.
const TICK: Duration = Duration::from_millis(500);

pub(crate) struct Fleet {
    shop: Shop,
    workers: Vec<Worker>,
    events: mpsc::UnboundedReceiver<(usize, Event)>,
    sender: mpsc::UnboundedSender<(usize, Event)>,
    ticks: Interval,
    view: View,
    chapters: Vec<Chapter>,
    /// How many reports were begun, and by whom the latest.
    reports: (u32, usize),
}

struct Worker {
    process: Child,
    state: State,
    failures: u64,
    errors: u64,
}

/// How a worker and its tier are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum State {
    Starting,
    Well,
    Sick,
    Dead,
}

/// What a worker says.
enum Event {
    Ready,
    Begun,
    Report { is_well: bool, errors: u64, failures: u64, latencies: Vec<u64> },
}

/// What happened in a phase, by the workers' words.
pub(crate) struct Chapter {
    pub(crate) phase: Phase,
    /// Since 1970.
    pub(crate) began: Duration,
    /// In microseconds, one for each call that was answered.
    pub(crate) latencies: Vec<u64>,
    pub(crate) errors: u64,
    /// Trips to Redis that failed.
    pub(crate) failures: u64,
}

/// All that happened.
pub(crate) struct Story {
    pub(crate) chapters: Vec<Chapter>,
    pub(crate) ended: Duration,
    pub(crate) runs: Vec<Run>,
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Fleet {
    /// Starts the workers, and waits until all are there.
    pub(crate) async fn start(redis: &Server, shop: Shop) -> Result<Self, BoxError> {
        let (sender, events) = mpsc::unbounded_channel();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (workers, chapters) = (Vec::new(), Vec::new());
        let view = View::new();
        let mut fleet = Self { shop, workers, events, sender, ticks, view, chapters, reports: (0, 0) };
        fleet.begin(PHASES[0], "");
        for number in 0..WORKERS {
            let worker = fleet.launch(number, redis)?;
            fleet.workers.push(worker);
        }
        let is_there = |fleet: &Self| fleet.workers.iter().all(|worker| worker.state != State::Starting);
        if !fleet.watch(Instant::now() + Duration::from_secs(10), is_there).await? {
            return Err("the workers do not start".into());
        }
        fleet.chapters.clear();
        Ok(fleet)
    }

    fn launch(&self, number: usize, redis: &Server) -> Result<Worker, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", &redis.url()]).arg(self.shop.path()).arg(number.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().ok_or("a worker's stdout is a pipe")?;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(event) = Event::read(&line) else { continue };
                if sender.send((number, event)).is_err() {
                    return;
                }
            }
        });
        Ok(Worker { process, state: State::Starting, failures: 0, errors: 0 })
    }

    /// Looks on until the time comes, or this is so. Says whether it is.
    pub(crate) async fn watch(&mut self, until: Instant, is_so: impl Fn(&Self) -> bool) -> Result<bool, BoxError> {
        while !is_so(self) {
            tokio::select! {
                event = self.events.recv() => if let Some((number, event)) = event { self.note(number, event) },
                _ = self.ticks.tick() => self.draw()?,
                () = tokio::time::sleep_until(until) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn note(&mut self, number: usize, event: Event) {
        let (worker, Some(chapter)) = (&mut self.workers[number], self.chapters.last_mut()) else { return };
        if worker.state == State::Dead {
            return;
        }
        match event {
            Event::Ready => worker.state = State::Well,
            Event::Begun => self.reports = (self.reports.0 + 1, number),
            Event::Report { is_well, errors, failures, latencies } => {
                worker.state = if is_well { State::Well } else { State::Sick };
                chapter.errors += errors - worker.errors;
                chapter.failures += failures - worker.failures;
                (worker.errors, worker.failures) = (errors, failures);
                self.view.note(&latencies);
                chapter.latencies.extend(latencies);
            }
        }
    }

    fn draw(&mut self) -> Result<(), BoxError> {
        let states: Vec<State> = self.workers.iter().map(|worker| worker.state).collect();
        self.view.draw(self.shop.count()?, &states);
        Ok(())
    }

    pub(crate) fn say(&mut self, what: &str) {
        self.view.say(what);
    }

    pub(crate) fn begin(&mut self, phase: Phase, what: impl AsRef<str>) {
        if !what.as_ref().is_empty() {
            self.say(what.as_ref());
        }
        let (began, latencies) = (since_1970(), Vec::new());
        self.chapters.push(Chapter { phase, began, latencies, errors: 0, failures: 0 });
    }

    pub(crate) fn all_well(&self) -> bool {
        self.workers.iter().all(|worker| worker.state == State::Well)
    }

    pub(crate) fn reports_begun(&self) -> u32 {
        self.reports.0
    }

    /// Kills the worker that makes the report, and gives its number.
    pub(crate) async fn kill_the_reporter(&mut self) -> Result<usize, BoxError> {
        let number = self.reports.1;
        let worker = &mut self.workers[number];
        worker.process.kill().await?;
        worker.state = State::Dead;
        Ok(number)
    }

    /// A new process in the place of one that was killed.
    pub(crate) async fn replace(&mut self, number: usize, redis: &Server) -> Result<(), BoxError> {
        self.workers[number] = self.launch(number, redis)?;
        let is_there = |fleet: &Self| fleet.workers[number].state != State::Starting;
        self.watch(Instant::now() + Duration::from_secs(10), is_there).await?;
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<Story, BoxError> {
        let ended = since_1970();
        for worker in &mut self.workers {
            drop(worker.process.stdin.take());
        }
        for worker in &mut self.workers {
            if !worker.process.wait().await?.success() {
                return Err("a worker has failed".into());
            }
        }
        self.view.end();
        Ok(Story { chapters: self.chapters, ended, runs: self.shop.runs()? })
    }
}

impl Event {
    fn read(line: &str) -> Option<Self> {
        match line {
            READY => return Some(Self::Ready),
            BEGUN => return Some(Self::Begun),
            _ => {}
        }
        let mut numbers = line.split(' ').map_while(|word| word.parse::<u64>().ok());
        Some(Self::Report {
            is_well: numbers.next()? == 1,
            errors: numbers.next()?,
            failures: numbers.next()?,
            latencies: numbers.collect(),
        })
    }
}
