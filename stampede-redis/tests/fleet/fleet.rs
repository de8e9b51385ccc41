//! The side of the tests: starts the processes, tells them what to do, and is the origin that their runs ask.

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::worker::VARIABLE;

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(time: Duration, future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(time, future).await.expect("it takes too long")
}

/// Asks again until the answer is yes.
pub(crate) async fn until(mut question: impl AsyncFnMut() -> bool) {
    within(PATIENCE, async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// How the cache of each process is made, and its tier.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) ttl: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) lease: Duration,
    pub(crate) time_limit: Duration,
}

impl Default for Setup {
    /// What is usual, but that a busy machine is no sick tier.
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(1),
            stale_if_error: Duration::ZERO,
            lease: Duration::from_secs(3),
            time_limit: Duration::from_secs(10),
        }
    }
}

/// The processes on one server, or on what stands before it.
pub(crate) struct Fleet {
    pub(crate) processes: Vec<Process>,
    runs: mpsc::UnboundedReceiver<Run>,
}

pub(crate) struct Process {
    child: Child,
    is_dead: bool,
    line: Arc<Line>,
}

/// What goes between a test and a process.
struct Line {
    say: mpsc::UnboundedSender<String>,
    asked: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<String>>>,
}

/// A body that wants its value.
pub(crate) struct Run {
    pub(crate) key: u64,
    pub(crate) process: usize,
    pub(crate) at: Instant,
    number: u64,
    line: Arc<Line>,
}

/// What the callers of one process got.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) longest: Duration,
    /// How many got which value, or `error`.
    pub(crate) counts: BTreeMap<String, u64>,
}

/// What a process says of its tier.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) is_well: bool,
    pub(crate) outages: u64,
    pub(crate) busy: u64,
    pub(crate) refused: u64,
}

impl Fleet {
    pub(crate) async fn start(url: &str, size: usize, setup: Setup) -> Self {
        Self::start_at(&vec![url.to_owned(); size], setup).await
    }

    /// A process for each URL.
    pub(crate) async fn start_at(urls: &[String], setup: Setup) -> Self {
        let (sender, runs) = mpsc::unbounded_channel();
        let mut processes = Vec::new();
        for (number, url) in urls.iter().enumerate() {
            processes.push(Process::start(number, url, setup, sender.clone()).await);
        }
        // Each hears the others from here on.
        let mut client = redis::Client::open(&*urls[0]).unwrap().get_multiplexed_async_connection().await.unwrap();
        until(async || {
            let mut ask = redis::cmd("PUBSUB");
            let answer = ask.arg("NUMSUB").arg("fleet:{~news}").query_async::<(String, usize)>(&mut client);
            answer.await.unwrap().1 == urls.len()
        })
        .await;
        Self { processes, runs }
    }

    /// The next run of a body, in whichever process.
    pub(crate) async fn run(&mut self) -> Run {
        within(PATIENCE, self.runs.recv()).await.expect("the processes live")
    }

    /// The next run, if there is one before this is done.
    pub(crate) async fn run_before<T>(&mut self, done: impl Future<Output = T>) -> Result<Run, T> {
        tokio::select! {
            biased;
            run = self.runs.recv() => Ok(run.expect("the processes live")),
            done = done => Err(done),
        }
    }

    /// That nothing runs, or has run unnoticed. Each process has said all that it had to say when it has answered.
    pub(crate) async fn assert_no_run(&mut self) {
        for process in self.processes.iter().filter(|process| !process.is_dead) {
            process.tier().await;
        }
        if let Ok(run) = self.runs.try_recv() {
            panic!("a run of key {} in process {}", run.key, run.process);
        }
    }
}

impl Process {
    async fn start(number: usize, url: &str, setup: Setup, runs: mpsc::UnboundedSender<Run>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let Setup { ttl, stale_if_error, lease, time_limit } = setup;
        let [ttl, stale, lease, limit] = [ttl, stale_if_error, lease, time_limit].map(|time| time.as_millis());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, format!("{port} {url} {ttl} {stale} {lease} {limit}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = within(PATIENCE, listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (read, mut write) = stream.into_split();
        let (say, mut said) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(line) = said.recv().await {
                if write.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let line = Arc::new(Line { say, asked: AtomicU64::new(0), waiting: Mutex::default() });
        let heard = line.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                heard.hear(&text, number, &runs);
            }
        });
        Self { child, is_dead: false, line }
    }

    fn ask(&self, command: &str) -> JoinHandle<String> {
        let (sender, answer) = oneshot::channel();
        let number = self.line.asked.fetch_add(1, Ordering::Relaxed);
        self.line.waiting.lock().unwrap().insert(number, sender);
        self.line.say.send(format!("{number} {command}")).unwrap();
        tokio::spawn(async move { within(PATIENCE * 2, answer).await.unwrap() })
    }

    /// So many callers want a key at once. They are on their way when it returns, and done when its task is.
    pub(crate) fn call(&self, key: u64, callers: u64) -> JoinHandle<Answers> {
        let answer = self.ask(&format!("call {key} {callers}"));
        tokio::spawn(async move {
            let answer = answer.await.unwrap();
            let (longest, counts) = answer.split_once(' ').unwrap();
            let counts = counts.split(' ').map(|count| {
                let (answer, count) = count.split_once(':').unwrap();
                (answer.to_owned(), count.parse().unwrap())
            });
            Answers { longest: Duration::from_millis(longest.parse().unwrap()), counts: counts.collect() }
        })
    }

    /// All keys below this, again and again for this long. Gives how many calls there were, and how many errors.
    pub(crate) fn hammer(&self, keys: u64, time: Duration) -> JoinHandle<(u64, u64)> {
        let answer = self.ask(&format!("hammer {keys} {}", time.as_millis()));
        tokio::spawn(async move {
            let answer = answer.await.unwrap();
            let (calls, errors) = answer.split_once(' ').unwrap();
            (calls.parse().unwrap(), errors.parse().unwrap())
        })
    }

    /// What is there, without a run.
    pub(crate) async fn get(&self, key: u64) -> Option<u64> {
        self.ask(&format!("get {key}")).await.unwrap().parse().ok()
    }

    pub(crate) async fn put(&self, key: u64, value: u64) {
        self.ask(&format!("put {key} {value}")).await.unwrap();
    }

    /// Whether the tier has heard.
    pub(crate) async fn invalidate(&self, key: u64) -> bool {
        self.ask(&format!("invalidate {key}")).await.unwrap() == "true"
    }

    pub(crate) async fn tier(&self) -> Tier {
        let answer = self.ask("stats").await.unwrap();
        let numbers: Vec<u64> = answer.split(' ').map(|number| number.parse().unwrap()).collect();
        let [is_well, outages, busy, refused] = numbers[..] else { panic!("{answer}") };
        Tier { is_well: is_well == 1, outages, busy, refused }
    }

    /// Ready when the process waits for somebody else's run, the first in its life, and will hear of its end.
    pub(crate) async fn follows(&self) {
        // It asks twice before it waits: a lease may end while it sees to it that it will hear of that.
        until(async || self.tier().await.busy == 2).await;
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.is_dead = true;
    }

    /// Stops it in its tracks, as a machine that swaps would.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also if it is paused. It may be dead already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Line {
    fn hear(self: &Arc<Self>, text: &str, process: usize, runs: &mpsc::UnboundedSender<Run>) {
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        match words[..] {
            ["run", number, key] => {
                let (number, key) = (number.parse().unwrap(), key.parse().unwrap());
                // A test that is over does not listen.
                _ = runs.send(Run { key, process, at: Instant::now(), number, line: self.clone() });
            }
            [number, "answer", answer] => {
                let waiting = self.waiting.lock().unwrap().remove(&number.parse().unwrap());
                _ = waiting.unwrap().send(answer.to_owned());
            }
            _ => panic!("`{text}` is nothing that a process says"),
        }
    }
}

impl Run {
    pub(crate) fn answer(self, value: u64) {
        _ = self.line.say.send(format!("run {} {value}", self.number));
    }

    pub(crate) fn fail(self) {
        _ = self.line.say.send(format!("run {} ", self.number));
    }
}

impl Answers {
    /// That all of so many callers got this.
    #[track_caller]
    pub(crate) fn assert_all(&self, callers: u64, answer: u64) {
        assert_eq!(self.counts, BTreeMap::from([(answer.to_string(), callers)]));
    }

    #[track_caller]
    pub(crate) fn assert_all_failed(&self, callers: u64) {
        assert_eq!(self.counts, BTreeMap::from([("error".to_owned(), callers)]));
    }
}
