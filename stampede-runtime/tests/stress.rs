//! Everything that can happen to what is stored, at once and on the machine's own clock, and readers that look whether
//! anybody sees what he must not: another key's value, one from before an invalidation, one past its TTL, one that is gone.
//!
//! It takes two seconds; `STAMPEDE_STRESS_SECONDS=60` makes it a minute.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use stampede_runtime::{Cache, Store};
use tokio::runtime::Builder;

/// More than there is room for.
const KEYS: u64 = 400;
const ROOM: u64 = 150;
/// One that the coarse clock is of no use for, and one that it is.
const TTLS: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(180)];
const WRITERS: u64 = 2;
const READERS: u64 = 3;

const ALIVE: u64 = 0x600d_600d_600d_600d;

/// A value that knows whose it is, and is no good any more when it has been dropped.
#[derive(Clone)]
struct Value {
    key: u64,
    version: u64,
    state: Arc<State>,
    /// Not shared: what a reader copies is alive.
    alive: Box<u64>,
}

struct State {
    /// When it had been stored for certain.
    stored_by: OnceLock<Instant>,
    alive: AtomicBool,
}

impl Drop for Value {
    fn drop(&mut self) {
        *self.alive = 0;
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

impl Value {
    fn new(key: u64, version: u64) -> Self {
        let state = State { stored_by: OnceLock::new(), alive: AtomicBool::new(true) };
        Self { key, version, state: Arc::new(state), alive: Box::new(ALIVE) }
    }

    /// Looks at what a call returned that was made at that time, when this was the oldest version that it could be given.
    fn check(&self, key: u64, oldest: u64, asked_at: Instant, ttl: Duration) {
        assert_eq!((self.key, *self.alive), (key, ALIVE), "another's, or gone");
        assert!(self.state.alive.load(Ordering::Relaxed), "gone");
        assert!(self.version >= oldest, "{} is older than {oldest}", self.version);
        if let Some(stored_by) = self.state.stored_by.get() {
            assert!(asked_at < *stored_by + ttl, "{:?} past its time", asked_at - (*stored_by + ttl));
        }
    }
}

struct World {
    store: Store,
    caches: [Cache<Value>; 2],
    /// By key: the version that is being written, and the one that has been.
    current: Vec<AtomicU64>,
    oldest: Vec<AtomicU64>,
    over: AtomicBool,
    hits: AtomicU64,
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

impl World {
    fn place(key: u64, cache: usize) -> usize {
        usize::try_from(key).expect("a few") * 2 + cache
    }

    /// The one who changes a key.
    async fn write(&self, writer: u64) {
        let mut random = Random(writer + 1);
        while !self.over.load(Ordering::Relaxed) {
            let key = random.below(KEYS / WRITERS) * WRITERS + writer;
            let cache = usize::try_from(random.below(2)).expect("a bit");
            let (place, entry) = (Self::place(key, cache), self.caches[cache].entry(&(key, "name")));
            let version = self.current[place].fetch_add(1, Ordering::SeqCst) + 1;
            match random.below(64) {
                0..32 => {
                    let value = Value::new(key, version);
                    entry.put(value.clone()).await;
                    let _ = value.state.stored_by.set(Instant::now());
                }
                32..48 => drop(entry.invalidate().await),
                48..63 => drop(entry.expire().await),
                // Of all keys: no oldest version of one is to be told from that.
                _ => assert!(self.store.clear().await),
            }
            self.oldest[place].store(version, Ordering::SeqCst);
        }
    }

    async fn read(&self, reader: u64) {
        let mut random = Random(1_000 + reader);
        while !self.over.load(Ordering::Relaxed) {
            // Some keys are asked for more than others.
            let key = random.below(KEYS).min(random.below(KEYS));
            let cache = usize::try_from(random.below(2)).expect("a bit");
            let place = Self::place(key, cache);
            let (oldest, asked_at) = (self.oldest[place].load(Ordering::SeqCst), Instant::now());
            let cached = &self.caches[cache];
            let value = if random.below(2) == 0 {
                let Some(value) = cached.entry(&(key, "name")).get().await else { continue };
                self.hits.fetch_add(1, Ordering::Relaxed);
                value
            } else {
                let current = &self.current[place];
                cached
                    .get_with(&(key, "name"), || {
                        let version = current.load(Ordering::SeqCst);
                        async move { Value::new(key, version) }
                    })
                    .await
            };
            value.check(key, oldest, asked_at, TTLS[cache]);
        }
    }
}

#[test]
fn nobody_sees_what_he_must_not() {
    let seconds = std::env::var("STAMPEDE_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    let store = Store::builder().max_entries(ROOM).build();
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let caches = [0, 1].map(|cache| {
        // A cache is on the store in force where it is built.
        let build = async { Cache::builder(&format!("stress {cache}")).ttl(TTLS[cache]).build() };
        runtime.block_on(store.scope(build))
    });
    let numbers = || (0..KEYS * 2).map(|_| AtomicU64::new(0)).collect();
    let world = World {
        store,
        caches,
        current: numbers(),
        oldest: numbers(),
        over: AtomicBool::new(false),
        hits: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let world = &world;
        let runtime = || Builder::new_current_thread().enable_time().build().expect("a runtime");
        for writer in 0..WRITERS {
            scope.spawn(move || runtime().block_on(world.write(writer)));
        }
        for reader in 0..READERS {
            scope.spawn(move || runtime().block_on(world.read(reader)));
        }
        thread::sleep(Duration::from_secs(seconds));
        world.over.store(true, Ordering::Relaxed);
    });
    let stats = world.store.stats();
    println!("{stats:?}, {} read by hand", world.hits.load(Ordering::Relaxed));
    assert!(stats.entries <= ROOM, "{stats:?}");
    assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
    assert!(stats.calls.fresh > 0 && stats.calls.miss > 0 && world.hits.load(Ordering::Relaxed) > 0, "{stats:?}");
}
