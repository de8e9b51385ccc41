//! Redis: what a value costs that another process has stored, and one that nobody has. On loopback, one call at a time.

use std::cell::Cell;
use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cached::AsyncRedisCache;
use cached::ConcurrentCachedAsync;
use redis::aio::MultiplexedConnection;
use stampede::redis::Redis;
use stampede::tier::{Acquired, Claim, Record, Tier, TierKey};
use stampede::{Cache, Store};
use tokio::runtime::{Builder, Runtime};

use crate::Effort;
use crate::harness::{Contender, Figure, Limit, Measure, Target};

const TTL: Duration = Duration::from_hours(1);

/// What a hit comes down to: a value and how long it lives yet, by a script.
const BARE: &str = "return { redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) }";

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let calls = if effort.quick { 2_000 } else { 10_000 };
    let bench = Rc::new(Bench::new(calls));
    vec![
        hit("remote hit: 100 bytes", &bench, effort, 100),
        hit("remote hit: 10 kB", &bench, effort, 10_000),
        miss("remote miss: 100 bytes", &bench, effort, 100),
    ]
}

fn hit(title: &'static str, bench: &Rc<Bench>, effort: Effort, len: usize) -> Measure<'static> {
    let payload = "x".repeat(len);
    bench.runtime.block_on(bench.fill(&payload));
    Measure {
        title,
        figures: vec![Figure::lower("µs per call")],
        peer: "bare script",
        rounds: effort.rounds,
        contenders: vec![
            contender("bare script", bench, async |bench, index| {
                let sha = &bench.sha;
                let mut command = redis::cmd("EVALSHA");
                command.arg(sha).arg(1).arg(format!("bare:{index}"));
                let found: (Vec<u8>, u64) = command.query_async(&mut bench.bare.clone()).await.unwrap();
                black_box(found);
            }),
            contender("bare GET", bench, async |bench, index| {
                let mut command = redis::cmd("GET");
                command.arg(format!("bare:{index}"));
                black_box(command.query_async::<Vec<u8>>(&mut bench.bare.clone()).await.unwrap());
            }),
            contender("tier acquire", bench, async |bench, index| {
                let found = bench.tier.acquire(&key(index), Claim::default()).await.unwrap();
                assert!(matches!(found, Acquired::Value(_)));
            }),
            contender("tier read", bench, async |bench, index| {
                assert!(bench.tier.read(&key(index)).await.unwrap().is_some());
            }),
            // Its memory is empty at the first call of each round, and every call is for another key.
            with_store("stampede", bench, async |bench, cache, index| {
                let found: String = cache.get_with(&index, || async { unreachable!("it is stored") }).await;
                black_box(found);
                let _ = bench;
            }),
            contender("cached", bench, async |bench, index| {
                assert!(bench.cached.async_cache_get(&index.to_string()).await.unwrap().is_some());
            }),
        ],
        targets: vec![Target::new("R1", "tier acquire", 0, Limit::Ratio("bare script", 1.15))],
    }
}

fn miss(title: &'static str, bench: &Rc<Bench>, effort: Effort, len: usize) -> Measure<'static> {
    let payload = move || "x".repeat(len);
    Measure {
        title,
        figures: vec![Figure::lower("µs per call")],
        peer: "bare GET and SET",
        rounds: effort.rounds,
        contenders: vec![
            contender("bare GET and SET", bench, async move |bench, _| {
                let index = bench.unseen();
                let (name, mut bare) = (format!("new:{index}"), bench.bare.clone());
                let found: Option<Vec<u8>> = redis::cmd("GET").arg(&name).query_async(&mut bare).await.unwrap();
                let mut set = redis::cmd("SET");
                set.arg(&name).arg(payload()).arg("PX").arg(3_600_000);
                let () = set.query_async(&mut bare).await.unwrap();
                black_box(found);
            }),
            contender("tier acquire and fill", bench, async move |bench, _| {
                let key = TierKey { cache: "new".into(), ..key(bench.unseen()) };
                let Acquired::Leased(lease) = bench.tier.acquire(&key, Claim::default()).await.unwrap() else {
                    panic!("nobody else is here")
                };
                bench.tier.fill(&key, lease, record(payload())).await.unwrap().unwrap();
            }),
            contender("cached", bench, async move |bench, _| {
                let name = format!("new {}", bench.unseen());
                black_box(bench.cached.async_cache_get(&name).await.unwrap());
                bench.cached.async_cache_set(name, payload()).await.unwrap();
            }),
        ],
        targets: Vec::new(),
    }
}

fn key(index: u32) -> TierKey {
    TierKey { cache: "bench".into(), parts: index.to_be_bytes().into() }
}

fn record(payload: String) -> Record {
    Record {
        payload: payload.into_bytes(),
        fingerprint: 1,
        fresh: TTL,
        stale: Duration::ZERO,
        run_time: Duration::from_millis(1),
        tags: std::sync::Arc::default(),
    }
}

fn contender(name: &'static str, bench: &Rc<Bench>, call: impl AsyncFn(&Bench, u32) + 'static) -> Contender<'static> {
    let bench = bench.clone();
    Contender::new(name, move || {
        vec![bench.runtime.block_on(async {
            let start = Instant::now();
            for index in 0..bench.calls {
                call(&bench, index).await;
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(bench.calls)
        })]
    })
}

fn with_store(
    name: &'static str,
    bench: &Rc<Bench>,
    call: impl AsyncFn(&Bench, &Cache<String>, u32) + 'static,
) -> Contender<'static> {
    let bench = bench.clone();
    Contender::new(name, move || {
        vec![bench.runtime.block_on(async {
            let cache = bench.cache();
            let start = Instant::now();
            for index in 0..bench.calls {
                call(&bench, &cache, index).await;
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(bench.calls)
        })]
    })
}

/// A server, and connections to it.
struct Bench {
    runtime: Runtime,
    calls: u32,
    keys: Cell<u32>,
    bare: MultiplexedConnection,
    sha: String,
    tier: Redis,
    cached: AsyncRedisCache<String, String>,
    _server: Server,
}

impl Bench {
    fn new(calls: u32) -> Self {
        let server = Server::start();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("redis://127.0.0.1:{}", server.port);
        let (bare, sha, tier, cached) = runtime.block_on(async {
            let info: redis::ConnectionInfo = url.parse().unwrap();
            let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
            let client = redis::Client::open(info).unwrap();
            let mut bare = client.get_multiplexed_async_connection().await.unwrap();
            let sha: String = redis::cmd("SCRIPT").arg("LOAD").arg(BARE).query_async(&mut bare).await.unwrap();
            let tier = Redis::connect(&url).await.unwrap();
            let cached = AsyncRedisCache::builder("cached").ttl(TTL).connection_string(&url).build().await.unwrap();
            (bare, sha, tier, cached)
        });
        Self { runtime, calls, keys: Cell::new(0), bare, sha, tier, cached, _server: server }
    }

    /// The number of a key that nobody has asked for.
    fn unseen(&self) -> u32 {
        self.keys.set(self.keys.get() + 1);
        self.keys.get()
    }

    /// With an empty memory, on the same tier.
    fn cache(&self) -> Cache<String> {
        let store = Store::builder().remote(self.tier.clone()).build();
        Cache::builder("bench").ttl(TTL).remote().store(&store).build()
    }

    async fn fill(&self, payload: &str) {
        self.tier.clear().await.unwrap();
        let cache = self.cache();
        for index in 0..self.calls {
            let mut set = redis::cmd("SET");
            set.arg(format!("bare:{index}")).arg(payload).arg("PX").arg(3_600_000);
            let () = set.query_async(&mut self.bare.clone()).await.unwrap();
            self.tier.put(&key(index), record(payload.to_owned())).await.unwrap();
            cache.entry(&index).put(payload.to_owned()).await;
            self.cached.async_cache_set(index.to_string(), payload.to_owned()).await.unwrap();
        }
    }
}

struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { port, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
