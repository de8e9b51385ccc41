//! Random histories under random policies: what every answer and every figure must satisfy, whatever happened.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use stampede::{Cache, Store, coalesce, fresh, no_stale, uncached};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::tools::{ms, secs, settle};
use crate::ways::{Answer, End, Fault, Way};

#[derive(Clone, Copy, Debug)]
struct Config {
    way: Way,
    ttl: Duration,
    revalidate: Duration,
    on_error: Duration,
    retry_after: Duration,
    /// Zero: off.
    early: f64,
    jitter: f64,
    timeout: Duration,
    soft_timeout: Duration,
    error_ttl: Duration,
    run_limit: Duration,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Normal,
    NoStale,
    Fresh,
    Uncached,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Call(u8, Mode, Duration, End),
    /// Drops the call that was made so many calls ago.
    Cancel(usize),
    Pass(Duration),
    Put(u8),
    Invalidate(u8),
    Expire(u8),
    Tag(Option<u8>),
    Clear,
}

/// What has happened so far, in order.
#[derive(Default)]
struct World {
    clock: AtomicU64,
    /// For each value, when it began to be made, and when it was there.
    births: Mutex<HashMap<u64, (u64, Instant)>>,
    /// For each key, the last act that voided what there was, and the last that ended its freshness.
    floors: Mutex<HashMap<u8, (u64, u64)>>,
    begun: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl World {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst) + 1
    }

    fn void(&self, key: u8, at: u64) {
        self.floors.lock().expect("no panic").insert(key, (at, at));
    }

    fn floors(&self, key: u8) -> (u64, u64) {
        self.floors.lock().expect("no panic").get(&key).copied().unwrap_or_default()
    }

    fn born(&self, value: u64) {
        self.births.lock().expect("no panic").insert(value, (value, Instant::now()));
    }
}

#[derive(Clone)]
struct Body {
    world: Arc<World>,
    takes: Duration,
    end: End,
    counts: bool,
}

impl Body {
    async fn run(self) -> Answer {
        let Self { world, takes, end, counts } = self;
        world.begun.fetch_add(u64::from(counts), SeqCst);
        // The value of a run is the moment that it began.
        let value = world.tick();
        sleep(takes).await;
        match end {
            End::Error => Err(Fault::Run(value)),
            End::Panic => panic!("run {value}"),
            End::Hangs => pending().await,
            _ => {
                world.born(value);
                Ok(value)
            }
        }
    }
}

#[coalesce(
    ttl = config.ttl, stale_while_revalidate = config.revalidate, stale_if_error = config.on_error,
    retry_after = config.retry_after, xfetch = config.early, jitter = config.jitter, timeout = config.timeout,
    soft_timeout = config.soft_timeout, error_ttl = config.error_ttl, run_limit = config.run_limit,
    breaker(failures = config.failures, reset_after = secs(5)), tags = "\"all\", format!(\"key:{key}\")", key = "key"
)]
async fn detached(config: Config, key: u8, body: Body) -> Answer {
    body.run().await
}

#[coalesce(
    ttl = config.ttl, stale_while_revalidate = config.revalidate, stale_if_error = config.on_error,
    retry_after = config.retry_after, refresh_ahead = config.early / 10.0, jitter = config.jitter,
    timeout = config.timeout, soft_timeout = config.soft_timeout, error_ttl = config.error_ttl,
    run_limit = config.run_limit, breaker(failures = config.failures, reset_after = secs(5)),
    tags = "\"all\", format!(\"key:{key}\")", key = "key", inline
)]
async fn inline(config: Config, key: u8, body: Body) -> Answer {
    body.run().await
}

/// The same for those who do without the macro; its failures in a row are at least one.
fn built(config: Config) -> Cache<u64, (stampede::Timeout, stampede::CircuitOpen)> {
    let builder = Cache::builder("policy oracle")
        .ttl(config.ttl)
        .stale_while_revalidate(config.revalidate)
        .stale_if_error(config.on_error)
        .retry_after(config.retry_after)
        .jitter(config.jitter)
        .timeout(config.timeout)
        .soft_timeout(config.soft_timeout.min(config.timeout / 2))
        .error_ttl(config.error_ttl)
        .run_limit(config.run_limit)
        .breaker(config.failures.max(1), secs(5))
        .tags(["all"]);
    if config.early > 0.0 { builder.refresh_ahead(config.early / 10.0).build() } else { builder.build() }
}

async fn call(config: Config, key: u8, body: Body) -> Answer {
    match config.way {
        Way::Detached => detached(config, key, body).await,
        Way::Inline => inline(config, key, body).await,
        Way::Built => built(config).tagged([format!("key:{key}")]).try_get_with(&key, || body.clone().run()).await,
    }
}

/// A call that says what is wrong with its answer.
async fn checked(config: Config, (key, mode, body): (u8, Mode, Body)) {
    let world = Arc::clone(&body.world);
    let (void, expired) = world.floors(key);
    let began = Instant::now();
    let call = call(config, key, body);
    let answer = match mode {
        Mode::Normal => call.await,
        Mode::NoStale => no_stale(call).await,
        Mode::Fresh => fresh(call).await,
        Mode::Uncached => uncached(call).await,
    };
    let fault = |what: String| world.faults.lock().expect("no panic").push(format!("{mode:?}: {what}"));
    if !config.timeout.is_zero() && began.elapsed() > config.timeout + ms(1) {
        fault(format!("took {:?}", began.elapsed()));
    }
    let Ok(value) = answer else { return };
    let (birth, there) = world.births.lock().expect("no panic")[&value];
    let age = there.elapsed();
    let takes_old = mode == Mode::Normal;
    let window = if takes_old { config.revalidate.max(config.on_error) } else { Duration::ZERO };
    if age > config.ttl + window {
        fault(format!("value {value} is {age:?} old"));
    }
    if birth < void || !takes_old && birth < expired {
        fault(format!("value {value} predates what was done before the call: {void}, {expired}"));
    }
    if mode == Mode::Fresh && there < began {
        fault(format!("value {value} was there before the call"));
    }
}

/// Time passes by sleeping: the clock then stops at each timer on its way.
async fn check(config: Config, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let store = Store::default();
    let world = Arc::new(World::default());
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    let mut calls = 0;
    let act = async |op: Op| match (op, config.way) {
        (Op::Put(key), way) => {
            let value = world.tick();
            world.born(value);
            match way {
                Way::Detached => detached_entry(config, key).put(value).await,
                Way::Inline => inline_entry(config, key).put(value).await,
                Way::Built => built(config).tagged([format!("key:{key}")]).entry(&key).put(value).await,
            }
            world.void(key, value);
        }
        (Op::Invalidate(key), way) => {
            match way {
                Way::Detached => detached_entry(config, key).invalidate().await,
                Way::Inline => inline_entry(config, key).invalidate().await,
                Way::Built => built(config).entry(&key).invalidate().await,
            };
            world.void(key, world.tick());
        }
        (Op::Expire(key), way) => {
            match way {
                Way::Detached => detached_entry(config, key).expire().await,
                Way::Inline => inline_entry(config, key).expire().await,
                Way::Built => built(config).entry(&key).expire().await,
            };
            let (void, _) = world.floors(key);
            world.floors.lock().expect("no panic").insert(key, (void, world.tick()));
        }
        (Op::Tag(Some(key)), _) => {
            store.invalidate_tag(format!("key:{key}")).await;
            world.void(key, world.tick());
        }
        (Op::Tag(None), _) => {
            store.invalidate_tag("all").await;
            (0..3).for_each(|key| world.void(key, world.tick()));
        }
        (Op::Clear, _) => {
            store.clear().await;
            (0..3).for_each(|key| world.void(key, world.tick()));
        }
        (Op::Pass(time), _) => sleep(time).await,
        (Op::Call(..) | Op::Cancel(_), _) => {}
    };
    for op in ops {
        match op {
            Op::Call(key, mode, takes, end) => {
                calls += 1;
                let body = Body { world: Arc::clone(&world), takes, end, counts: mode != Mode::Uncached };
                let (store, call) = (store.clone(), (key, mode, body));
                tasks.push(tokio::spawn(async move { store.scope(checked(config, call)).await }));
                // A call is made when it is first polled.
                tokio::task::yield_now().await;
            }
            Op::Cancel(ago) => {
                if let Some(at) = tasks.len().checked_sub(ago + 1) {
                    tasks[at].abort();
                }
            }
            op => store.scope(act(op)).await,
        }
    }
    // Whatever hangs is given up by its limit, and its successor by the next; those who wait leave one by one.
    for task in tasks.iter().rev() {
        sleep(config.run_limit).await;
        if !task.is_finished() && config.timeout.is_zero() {
            task.abort();
        }
    }
    for _ in 0..5 {
        sleep(secs(60)).await;
    }
    for task in tasks {
        let _ = task.await;
    }
    settle().await;
    let faults = world.faults.lock().expect("no panic").clone();
    prop_assert!(faults.is_empty(), "{:?}", faults);
    let stats = store.stats();
    prop_assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{:?}", stats);
    prop_assert_eq!(stats.calls.total(), calls, "{:?}", stats);
    let begun = world.begun.load(SeqCst);
    prop_assert!(begun <= stats.runs.total(), "{begun} begun: {:?}", stats);
    prop_assert!(stats.runs.total() - stats.runs.cancelled <= begun, "{begun} begun: {:?}", stats);
    Ok(())
}

fn a_time() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(ms(500)), Just(secs(1)), Just(secs(2)), Just(secs(5)), (1_u64..8_000).prop_map(ms)]
}

fn maybe() -> impl Strategy<Value = Duration> {
    prop_oneof![1 => Just(Duration::ZERO), 2 => a_time()]
}

fn an_op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![
        8 => Just(Mode::Normal), 2 => Just(Mode::NoStale), 1 => Just(Mode::Fresh), 1 => Just(Mode::Uncached)
    ];
    let end = prop_oneof![6 => Just(End::Value), 3 => Just(End::Error), 1 => Just(End::Panic), 1 => Just(End::Hangs)];
    let takes = prop_oneof![2 => Just(Duration::ZERO), 1 => a_time()];
    let call = (0_u8..3, mode, takes, end).prop_map(|(key, mode, takes, end)| Op::Call(key, mode, takes, end));
    prop_oneof![
        14 => call,
        8 => a_time().prop_map(Op::Pass),
        1 => (0_usize..4).prop_map(Op::Cancel),
        1 => (0_u8..3).prop_map(Op::Put),
        1 => (0_u8..3).prop_map(Op::Invalidate),
        1 => (0_u8..3).prop_map(Op::Expire),
        1 => prop_oneof![(0_u8..3).prop_map(|key| Op::Tag(Some(key))), Just(Op::Tag(None))],
        1 => Just(Op::Clear),
    ]
}

fn a_config() -> impl Strategy<Value = Config> {
    let way = prop_oneof![Just(Way::Detached), Just(Way::Inline), Just(Way::Built)];
    let early = prop_oneof![Just(0.0), Just(1.0), Just(5.0), Just(9.0)];
    let jitter = prop_oneof![Just(0.0), Just(0.5)];
    let failures = prop_oneof![1 => Just(2_u32), 3 => Just(1_000)];
    let times = (a_time(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe());
    (way, early, jitter, failures, times).prop_map(|(way, early, jitter, failures, times)| {
        let (ttl, revalidate, on_error, retry_after, timeout, soft_timeout, error_ttl) = times;
        let run_limit = secs(30);
        Config {
            way,
            ttl,
            revalidate,
            on_error,
            retry_after,
            early,
            jitter,
            timeout,
            soft_timeout,
            error_ttl,
            run_limit,
            failures,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_too_old_and_nothing_is_counted_twice(
        config in a_config(), ops in prop::collection::vec(an_op(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(check(config, ops))?;
    }
}
