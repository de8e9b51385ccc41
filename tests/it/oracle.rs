//! Random histories of a cache, against a model that says what each step must come to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stampede::{Cache, NoCache, fresh, no_stale, store_for, uncached};
use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;

use crate::stores::Store;
use crate::tools::{ms, pass, settle};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Normal,
    NoStale,
    Fresh,
    Uncached,
}

/// What a body does, should it run.
#[derive(Clone, Copy, Debug)]
enum Body {
    Value,
    /// `get_with`, which knows no errors.
    Plain,
    Error,
    NoCache,
    StoreFor(Duration),
    Refused,
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So many calls at once.
    Call(u8, Mode, Body, usize),
    Pass(Duration),
    Put(u8),
    Get(u8),
    Invalidate(u8),
    Clear,
    Bypass(bool),
}

#[derive(Clone, Copy, Debug)]
struct Config {
    ttl: Duration,
    stale: Duration,
    retry_after: Duration,
    max_ttl: Duration,
}

/// What `cache_if` does not let in.
const REFUSED: u64 = 1 << 32;

/// How a call ended: its value, its error, or a panic.
type Answer = Result<u64, &'static str>;

#[derive(Clone, Copy)]
struct Kept {
    value: u64,
    fresh_until: Instant,
    stale_until: Instant,
    retry_at: Instant,
}

/// The model: what is stored, and the figures that the store must show.
struct Model {
    config: Config,
    kept: HashMap<u8, Kept>,
    /// Bodies that have run: the next one's value.
    bodies: u64,
    bypass: bool,
    calls: stampede::Calls,
    runs: stampede::Runs,
}

impl Model {
    fn alive(&self, key: u8) -> Option<Kept> {
        self.kept.get(&key).filter(|kept| Instant::now() < kept.stale_until).copied()
    }

    fn fresh(&self, key: u8) -> Option<u64> {
        self.alive(key).filter(|kept| Instant::now() < kept.fresh_until).map(|kept| kept.value)
    }

    fn keep(&mut self, key: u8, value: u64, ttl: Duration) {
        let now = Instant::now();
        let fresh_until = now + ttl.min(self.config.max_ttl);
        let stale_until = fresh_until + self.config.stale;
        self.kept.insert(key, Kept { value, fresh_until, stale_until, retry_at: now });
    }

    /// A body runs. Its answer, and for how long that is to be stored, if at all.
    fn body(&mut self, body: Body) -> (Answer, Duration) {
        self.bodies += 1;
        let ttl = self.config.ttl;
        match body {
            Body::Value | Body::Plain => (Ok(self.bodies), ttl),
            Body::Error => (Err("error"), Duration::ZERO),
            Body::NoCache => (Ok(self.bodies), Duration::ZERO),
            Body::StoreFor(ttl) => (Ok(self.bodies), ttl),
            Body::Refused => (Ok(self.bodies + REFUSED), Duration::ZERO),
            Body::Panic => (Err("panic"), Duration::ZERO),
        }
    }

    /// A run that counts, and what becomes of its result.
    fn run(&mut self, key: u8, body: Body) -> Answer {
        let (answer, ttl) = self.body(body);
        if !self.bypass {
            match (answer, body) {
                (Err("error"), _) => self.runs.error += 1,
                (Err(_), _) => self.runs.panic += 1,
                (Ok(_), Body::NoCache | Body::Refused) => self.runs.no_cache += 1,
                (Ok(_), _) => self.runs.ok += 1,
            }
            match answer {
                Ok(value) if !ttl.min(self.config.max_ttl).is_zero() => self.keep(key, value, ttl),
                _ => {
                    if let Some(kept) = self.kept.get_mut(&key) {
                        kept.retry_at = Instant::now() + self.config.retry_after;
                    }
                }
            }
        }
        answer
    }

    fn call(&mut self, key: u8, mode: Mode, body: Body, callers: usize) -> Vec<Answer> {
        let count = callers as u64;
        if mode == Mode::Uncached {
            self.calls.bypass += count;
            return (0..callers).map(|_| self.body(body).0).collect();
        }
        if self.bypass {
            self.calls.bypass += count;
            return vec![self.run(key, body); callers];
        }
        if mode != Mode::Fresh
            && let Some(value) = self.fresh(key)
        {
            self.calls.fresh += count;
            return vec![Ok(value); callers];
        }
        if mode == Mode::Normal
            && let Some(kept) = self.alive(key)
        {
            self.calls.stale += count;
            if Instant::now() >= kept.retry_at {
                let _ = self.run(key, body);
            }
            return vec![Ok(kept.value); callers];
        }
        let answer = self.run(key, body);
        if answer.is_ok() {
            self.calls.miss += 1;
            self.calls.coalesced += count - 1;
        } else {
            self.calls.error += count;
        }
        vec![answer; callers]
    }
}

/// The real thing: a body that runs as the model says.
async fn run_body(body: Body, bodies: Arc<AtomicU64>) -> Result<u64, String> {
    let value = bodies.fetch_add(1, Ordering::SeqCst) + 1;
    // Callers of one step have all come by the time that this goes on.
    yield_now().await;
    match body {
        Body::Value | Body::Plain => Ok(value),
        Body::Error => Err("error".into()),
        Body::NoCache => NoCache(value).into(),
        Body::Refused => Ok(value + REFUSED),
        Body::Panic => panic!("panic"),
        Body::StoreFor(ttl) => {
            store_for(ttl);
            Ok(value)
        }
    }
}

async fn real_call(cache: Cache<u64>, key: u8, mode: Mode, body: Body, bodies: Arc<AtomicU64>) -> Answer {
    let call = async move {
        if let Body::Plain = body {
            let init = move || {
                let bodies = Arc::clone(&bodies);
                async move { run_body(body, bodies).await.expect("a value") }
            };
            Ok(cache.get_with(&key, init).await)
        } else {
            cache.try_get_with(&key, move || run_body(body, Arc::clone(&bodies))).await
        }
    };
    let answer = match mode {
        Mode::Normal => call.await,
        Mode::NoStale => no_stale(call).await,
        Mode::Fresh => fresh(call).await,
        Mode::Uncached => uncached(call).await,
    };
    answer.map_err(|_| "error")
}

async fn real_calls(
    cache: &Cache<u64>,
    (key, mode, body, callers): (u8, Mode, Body, usize),
    bodies: &Arc<AtomicU64>,
) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(real_call(cache.clone(), key, mode, body, Arc::clone(bodies)));
    }
    let mut answers = Vec::new();
    while let Some(task) = tasks.join_next().await {
        answers.push(task.unwrap_or(Err("panic")));
    }
    // What a stale answer brought about.
    settle().await;
    answers
}

async fn check(config: Config, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let store = Store::builder().max_ttl(config.max_ttl).build();
    let cache: Cache<u64> = Cache::builder("oracle")
        .ttl(config.ttl)
        .stale_while_revalidate(config.stale)
        .retry_after(config.retry_after)
        .cache_if(|value| *value < REFUSED)
        .store(&store)
        .build();
    let bodies = Arc::new(AtomicU64::new(0));
    let (calls, runs) = (stampede::Calls::default(), stampede::Runs::default());
    let mut model = Model { config, kept: HashMap::new(), bodies: 0, bypass: false, calls, runs };
    let mut put = 1_000_000;
    for op in ops {
        match op {
            Op::Call(key, mode, body, callers) => {
                let mut expected = model.call(key, mode, body, callers);
                let mut got = real_calls(&cache, (key, mode, body, callers), &bodies).await;
                expected.sort_unstable();
                got.sort_unstable();
                prop_assert_eq!(got, expected, "answers of {:?}", op);
            }
            Op::Pass(time) => pass(time).await,
            Op::Put(key) => {
                put += 1;
                cache.entry(&key).put(put).await;
                model.kept.remove(&key);
                if !config.ttl.min(config.max_ttl).is_zero() {
                    model.keep(key, put, config.ttl);
                }
            }
            Op::Get(key) => prop_assert_eq!(cache.entry(&key).get().await, model.fresh(key)),
            Op::Invalidate(key) => {
                prop_assert!(cache.entry(&key).invalidate().await);
                model.kept.remove(&key);
            }
            Op::Clear => {
                store.clear().await;
                model.kept.clear();
            }
            Op::Bypass(on) => {
                store.bypass(on);
                model.bypass = on;
            }
        }
        prop_assert_eq!(bodies.load(Ordering::SeqCst), model.bodies, "bodies that ran, after {:?}", op);
    }
    let stats = store.stats();
    prop_assert_eq!(stats.calls, model.calls);
    prop_assert_eq!(stats.runs, model.runs);
    prop_assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    let saved = (model.calls.total() - model.calls.bypass).saturating_sub(model.runs.total());
    prop_assert_eq!(stats.runs_saved(), saved);
    Ok(())
}

/// Times that meet the ends of TTLs and windows exactly, now and then.
fn a_time() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(ms(500)), Just(ms(1_000)), Just(ms(2_000)), Just(ms(5_000)), (0_u64..8_000).prop_map(ms)]
}

fn a_call() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![
        6 => Just(Mode::Normal), 2 => Just(Mode::NoStale), 1 => Just(Mode::Fresh), 1 => Just(Mode::Uncached)
    ];
    let body = prop_oneof![
        6 => Just(Body::Value), 2 => Just(Body::Plain), 2 => Just(Body::Error), 1 => Just(Body::NoCache),
        1 => Just(Body::Refused), 1 => Just(Body::Panic), 1 => Just(Body::StoreFor(Duration::ZERO)),
        1 => a_time().prop_map(Body::StoreFor)
    ];
    (0_u8..3, mode, body, 1_usize..4).prop_map(|(key, mode, body, callers)| Op::Call(key, mode, body, callers))
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => a_call(),
        6 => a_time().prop_map(Op::Pass),
        1 => (0_u8..3).prop_map(Op::Put),
        1 => (0_u8..3).prop_map(Op::Get),
        1 => (0_u8..3).prop_map(Op::Invalidate),
        1 => prop_oneof![3 => Just(Op::Clear), 1 => any::<bool>().prop_map(Op::Bypass), 3 => Just(Op::Bypass(false))],
    ]
}

fn a_config() -> impl Strategy<Value = Config> {
    let ttl = prop_oneof![1 => Just(Duration::ZERO), 4 => Just(ms(2_000)), 2 => Just(ms(5_000))];
    let stale = prop_oneof![1 => Just(Duration::ZERO), 3 => Just(ms(5_000)), 1 => Just(ms(60_000))];
    let max_ttl = prop_oneof![3 => Just(ms(3_600_000)), 1 => Just(ms(1_000)), 1 => Just(Duration::ZERO)];
    (ttl, stale, a_time(), max_ttl).prop_map(|(ttl, stale, retry_after, max_ttl)| Config {
        ttl,
        stale,
        retry_after,
        max_ttl,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_as_the_model_says(config in a_config(), ops in prop::collection::vec(an_op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(check(config, ops))?;
    }
}
