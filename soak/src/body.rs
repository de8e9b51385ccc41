//! What the bodies do: this and that, and in an outage nothing but fail.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use stampede::{NoCache, store_for};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::sleep;

use crate::arena::{Arena, Kind, Task, Weather};
use crate::check::{self, Mode};
use crate::functions::Function;
use crate::ledger::Count;
use crate::quiet::Running;
use crate::random::Random;
use crate::value::{Answer, Fault, Value};

/// What the panics of bodies say first.
pub(crate) const PANIC: &str = "soak:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    Error,
    Panic,
    NoCache,
    StoreFor(Duration),
}

/// A body on its way.
struct Body<'a> {
    arena: &'a Arc<Arena>,
    function: Function,
    key: u16,
    number: u64,
    counts: bool,
    running: Option<Running<'a>>,
}

impl<'a> Body<'a> {
    fn begin(task: &'a Task, function: Function, key: u16) -> Self {
        let Task { arena, uncached } = task;
        let number = arena.world.tick();
        let running = function.is_quiet().then(|| Running::begin(arena, function, key));
        let body = Self { arena, function, key, number, counts: !uncached, running };
        body.count(Count::Begun);
        body
    }

    fn count(&self, count: Count) {
        if self.counts {
            self.arena.ledger.count(count);
        }
    }

    /// Takes its time, and says how it is to end.
    async fn work(&self) -> End {
        let Self { arena, function, key, number, .. } = *self;
        let mut random = Random::new(arena.world.seed, number);
        let outage = arena.world.weather() == Weather::Outage;
        if function == Function::Outer {
            let inner = random.pick(&Function::NOISY);
            let task = Task { arena: Arc::clone(arena), uncached: false };
            // A circle would be a panic of its own.
            if inner != Function::Outer {
                arena.ledger.count(Count::Nested);
                let _ = check::call(task, inner, key / 2, Mode::Normal, check::NESTED).await;
            }
        }
        match random.below(100) {
            _ if outage => sleep(Duration::from_micros(random.below(4_000))).await,
            0..40 => {}
            40..55 => yield_now().await,
            55..90 => sleep(Duration::from_micros(random.skewed(20_000))).await,
            90..95 => {
                let time = Duration::from_micros(random.below(2_000));
                let _ = spawn_blocking(move || std::thread::sleep(time)).await;
            }
            95..98 => sleep(Duration::from_micros(random.below(90_000))).await,
            _ if function.policy().hangs && self.counts => pending().await,
            _ => {}
        }
        let quiet = arena.kind == Kind::Quiet;
        match random.below(100) {
            die if outage => {
                if die < 15 {
                    End::Panic
                } else {
                    End::Error
                }
            }
            0..3 => End::Panic,
            3..12 => End::Error,
            12..17 if !quiet => End::NoCache,
            17..21 if !quiet => End::StoreFor(Duration::ZERO),
            21..27 if !quiet => End::StoreFor(Duration::from_micros(random.below(150_000))),
            _ => End::Value,
        }
    }

    fn value(&self, ttl: Option<Duration>) -> Value {
        self.ends(true);
        self.count(Count::EndedInValue);
        Value::of_run(self.function, self.key, self.number, ttl)
    }

    fn ends(&self, well: bool) {
        if let Some(running) = &self.running {
            running.ends(well);
        }
    }

    fn panic(&self) -> ! {
        self.ends(false);
        self.count(Count::EndedInPanic);
        panic!("{PANIC} {:?} {} {}", self.function, self.key, self.number)
    }
}

/// The body of those that can fail.
pub(crate) async fn run(task: Task, function: Function, key: u16) -> Answer {
    let body = Body::begin(&task, function, key);
    match body.work().await {
        End::Value => Ok(body.value(None)),
        End::NoCache => NoCache(body.value(None)).into(),
        End::StoreFor(ttl) => {
            store_for(ttl);
            Ok(body.value(Some(ttl)))
        }
        End::Panic => body.panic(),
        End::Error => {
            body.ends(false);
            body.count(Count::EndedInError);
            Err(Fault::Run(Value::of_run(function, key, body.number, None)))
        }
    }
}

/// The body of those that cannot.
pub(crate) async fn run_whole(task: Task, function: Function, key: u16) -> Value {
    let body = Body::begin(&task, function, key);
    match body.work().await {
        End::Value => body.value(None),
        End::NoCache => NoCache(body.value(None)).into_inner(),
        End::StoreFor(ttl) => {
            store_for(ttl);
            body.value(Some(ttl))
        }
        End::Panic | End::Error => body.panic(),
    }
}
