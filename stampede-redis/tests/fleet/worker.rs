//! A process of a fleet: does what it is told by a TCP connection, a line a command, and ends with it.
//!
//! ```text
//! it hears   NUMBER call KEY CALLERS        it says   NUMBER answer …   once that is done
//!            NUMBER hammer KEYS MILLISECONDS          run NUMBER KEY    when a body wants its value
//!            NUMBER get KEY
//!            NUMBER put KEY VALUE
//!            NUMBER invalidate KEY
//!            NUMBER stats
//!            run NUMBER VALUE               an empty value is an error
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stampede_redis::Redis;
use stampede_runtime::{Cache, Store};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How a process is told what it is: where to call, and its [`Setup`](crate::fleet::Setup).
pub(crate) const VARIABLE: &str = "STAMPEDE_FLEET";

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(setup: &str) {
    let words: Vec<&str> = setup.split(' ').collect();
    let [port, url, ttl, stale, lease, limit] = words[..] else { panic!("`{setup}` is no set-up") };
    let ms = |text: &str| Duration::from_millis(text.parse().unwrap());

    let redis = Redis::connect(url).prefix("fleet").lease(ms(lease)).time_limit(ms(limit)).await.unwrap();
    let store = Store::builder().remote(redis).build();
    let cache = Cache::<u64>::builder("numbers").ttl(ms(ttl)).stale_if_error(ms(stale)).store(&store).remote().build();
    let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.into_split();
    let (sender, mut lines) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }
    });
    let process = Arc::new(Process { store, cache, say: sender, runs: Mutex::default(), next: AtomicU64::new(0) });
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        process.clone().obey(&line);
    }
}

struct Process {
    store: Store,
    cache: Cache<u64>,
    say: mpsc::UnboundedSender<String>,
    /// The bodies that wait for their value.
    runs: Mutex<HashMap<u64, oneshot::Sender<Option<u64>>>>,
    next: AtomicU64,
}

impl Process {
    fn obey(self: Arc<Self>, line: &str) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if words[0] == "run" {
            let run = self.runs.lock().unwrap().remove(&words[1].parse().unwrap());
            // Its call may have given up.
            _ = run.unwrap().send(words[2].parse().ok());
            return;
        }
        tokio::spawn(async move {
            let numbers: Vec<u64> = words[2..].iter().map(|word| word.parse().unwrap()).collect();
            let answer = match (words[1].as_str(), &numbers[..]) {
                ("call", &[key, callers]) => self.call(key, callers).await,
                ("hammer", &[keys, time]) => self.hammer(keys, Duration::from_millis(time)).await,
                ("get", &[key]) => {
                    self.cache.entry(&key).get().await.map_or_else(String::new, |value| value.to_string())
                }
                ("put", &[key, value]) => {
                    self.cache.entry(&key).put(value).await;
                    String::new()
                }
                ("invalidate", &[key]) => self.cache.entry(&key).invalidate().await.to_string(),
                ("stats", []) => {
                    let tier = self.store.stats().tier;
                    let is_well = tier.outages == tier.recoveries;
                    format!("{} {} {} {}", u8::from(is_well), tier.outages, tier.busy, tier.refused)
                }
                _ => panic!("`{words:?}` is no command"),
            };
            _ = self.say.send(format!("{} answer {answer}", words[0]));
        });
    }

    async fn once(&self, key: u64) -> Result<u64, String> {
        self.cache
            .try_get_with(&key, || {
                let (number, say) = (self.next.fetch_add(1, Ordering::Relaxed), self.say.clone());
                let (sender, value) = oneshot::channel();
                self.runs.lock().unwrap().insert(number, sender);
                async move {
                    _ = say.send(format!("run {number} {key}"));
                    value.await.unwrap().ok_or_else(|| "the origin fails".to_owned())
                }
            })
            .await
    }

    /// The longest that a call took, in milliseconds, and how many got which answer.
    async fn call(self: &Arc<Self>, key: u64, callers: u64) -> String {
        let mut calls = JoinSet::new();
        for _ in 0..callers {
            let process = self.clone();
            calls.spawn(async move {
                let start = Instant::now();
                (process.once(key).await, start.elapsed())
            });
        }
        let (mut answers, mut longest) = (BTreeMap::<String, u64>::new(), Duration::ZERO);
        while let Some(call) = calls.join_next().await {
            let (answer, time) = call.unwrap();
            longest = longest.max(time);
            *answers.entry(answer.map_or_else(|_| "error".to_owned(), |value| value.to_string())).or_default() += 1;
        }
        let answers: Vec<String> = answers.into_iter().map(|(answer, count)| format!("{answer}:{count}")).collect();
        format!("{} {}", longest.as_millis(), answers.join(" "))
    }

    /// Asks for all keys at once, again and again. Gives the number of calls and of errors.
    async fn hammer(self: &Arc<Self>, keys: u64, time: Duration) -> String {
        let (start, mut calls, mut errors) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            let mut round = JoinSet::new();
            for key in 0..keys {
                for _ in 0..2 {
                    let process = self.clone();
                    round.spawn(async move { process.once(key).await.is_err() });
                }
            }
            while let Some(is_error) = round.join_next().await {
                calls += 1;
                errors += u64::from(is_error.unwrap());
            }
            // The load, not a wait for anything: leaves room for others on a small machine.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        format!("{calls} {errors}")
    }
}
