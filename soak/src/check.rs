//! A call and what its answer has to satisfy.
//!
//! 1. It is of the right function and key.
//! 2. It is not older than its TTL, and its windows where the call takes old values: see [`crate::value`].
//! 3. It did not begin before something that voids it and had returned when the call began: see [`crate::floors`].
//! 4. `fresh` gives nothing that was over before the call; `uncached` nothing that began before it.
//! 5. Errors of the library's own come from functions that have asked for them; panics are those of bodies.
//! 6. In the quiet arena, what [`crate::quiet`] says.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use stampede::{fresh, no_stale, uncached};

use crate::arena::{Arena, Kind, Task};
use crate::body::PANIC;
use crate::floors::Floor;
use crate::functions::Function;
use crate::ledger::Count;
use crate::value::{Answer, Fault, Value};

/// What the timers and threads of a busy machine may add to a `timeout`.
const LATE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Normal,
    NoStale,
    Fresh,
    Uncached,
}

/// What is asked, for reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    arena: Kind,
    function: Function,
    key: u16,
    mode: Mode,
    how: &'static str,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arena, function, key, mode, how } = self;
        write!(f, "{how} of {function:?}({key}), {mode:?}, in the arena {arena:?}")
    }
}

/// A call that has begun.
struct Begun<'a> {
    arena: &'a Arena,
    asked: Asked,
    floor: Floor,
    number: u64,
    began: Instant,
    must_answer: bool,
    answered: bool,
}

/// Calls a function, once this is polled, and checks its answer. A panic that is as it should be goes on, if the call is
/// nested.
pub(crate) async fn call(task: Task, function: Function, key: u16, mode: Mode, how: &'static str) -> Option<Answer> {
    let arena = &task.arena;
    let asked = Asked { arena: arena.kind, function, key, mode, how };
    let _watched = arena.world.watchdog.watch(asked);
    let mut begun = Begun::new(arena, asked);
    let inner = Task { uncached: mode == Mode::Uncached, ..task.clone() };
    let call = function.call(&inner, key);
    let call = async {
        match mode {
            Mode::Normal => call.await,
            Mode::NoStale => no_stale(call).await,
            Mode::Fresh => fresh(call).await,
            Mode::Uncached => uncached(call).await,
        }
    };
    let answer = caught(arena.store.scope(call)).await;
    begun.answered = true;
    begun.check(&answer);
    match answer {
        Ok(answer) => Some(answer),
        Err(payload) if how == NESTED => resume_unwind(payload),
        Err(_) => None,
    }
}

/// How the calls of bodies are called.
pub(crate) const NESTED: &str = "a nested call";

/// Reads an entry and checks what it gives, which is never more than fresh.
pub(crate) async fn get(task: &Task, function: Function, key: u16) {
    let arena = &task.arena;
    let asked = Asked { arena: arena.kind, function, key, mode: Mode::NoStale, how: "a look" };
    let begun = Begun { answered: true, ..Begun::look(arena, asked) };
    if let Some(value) = function.act(task, key, crate::functions::Act::Get).await {
        begun.check_value(&value);
    }
}

impl<'a> Begun<'a> {
    fn look(arena: &'a Arena, asked: Asked) -> Self {
        let Asked { function, key, .. } = asked;
        let must_answer = function.is_quiet() && arena.quiet.must_answer(function, key);
        let (floor, number) = (arena.floors.of(function, key), arena.world.tick());
        Self { arena, asked, floor, number, began: Instant::now(), must_answer, answered: false }
    }

    fn new(arena: &'a Arena, asked: Asked) -> Self {
        arena.ledger.count(Count::Calls);
        match asked.mode {
            Mode::Normal => {}
            Mode::NoStale => arena.ledger.count(Count::NoStale),
            Mode::Fresh => arena.ledger.count(Count::Fresh),
            Mode::Uncached => arena.ledger.count(Count::Uncached),
        }
        Self::look(arena, asked)
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        self.arena
            .world
            .failures
            .expect(holds, || format!("{}, begun as event {}: {}", self.asked, self.number, what()));
    }

    fn check(&self, answer: &Result<Answer, Box<dyn Any + Send>>) {
        let Asked { function, key, .. } = self.asked;
        let (policy, took) = (function.policy(), self.began.elapsed());
        self.arena.ledger.took(took);
        let in_time = policy.timeout.is_zero() || took < policy.timeout + LATE;
        self.expect(in_time, || format!("took {took:?} in spite of a timeout of {:?}", policy.timeout));
        if self.must_answer {
            self.expect(matches!(answer, Ok(Ok(_))), || format!("there is an old value, and the answer is {answer:?}"));
        }
        let ended_in = match answer {
            Ok(Ok(value)) => {
                self.check_value(value);
                if function.is_quiet() {
                    self.arena.quiet.answered(function, key);
                }
                Count::Values
            }
            Ok(Err(Fault::Run(error))) => {
                self.check_origin(error);
                self.check_age(error, policy.error_ttl);
                self.check_failure(error.number());
                Count::Errors
            }
            Ok(Err(Fault::Timeout(timeout))) => {
                self.expect(!policy.timeout.is_zero(), || format!("has no timeout, and ended in {timeout:?}"));
                Count::Timeouts
            }
            Ok(Err(Fault::Open(open))) => {
                self.expect(policy.breaker, || format!("has no breaker, and ended in {open:?}"));
                Count::Refusals
            }
            Err(payload) => {
                self.check_panic(&**payload);
                Count::Panics
            }
        };
        self.arena.ledger.count(ended_in);
    }

    fn check_value(&self, value: &Value) {
        let policy = self.asked.function.policy();
        self.check_origin(value);
        let window = if self.asked.mode == Mode::Normal { policy.window() } else { Duration::ZERO };
        self.check_age(value, value.own_ttl().unwrap_or(policy.ttl) + window);
        self.check_order(value.number());
        // What has been expired is as old as its TTL: of use to those who take old values, where there is a window.
        if window.is_zero() {
            let (number, floor) = (value.number(), self.floor.expired);
            self.expect(number > floor, || format!("what began as event {number} was expired by event {floor}"));
        }
        if self.asked.function.is_quiet() && value.age_at(self.began) > policy.ttl + policy.revalidate {
            let makes_up = self.arena.quiet.makes_up(self.asked.function, self.asked.key, self.began);
            self.expect(makes_up, || format!("got {value:?}, and no run has failed"));
        }
        if self.asked.mode == Mode::Fresh {
            self.expect(!value.was_over_before(self.began), || format!("{value:?} was there before"));
        }
    }

    fn check_origin(&self, value: &Value) {
        let Asked { function, key, .. } = self.asked;
        self.expect((value.function(), value.key()) == (function, key), || format!("got {value:?}"));
    }

    fn check_age(&self, value: &Value, limit: Duration) {
        let age = value.age_at(self.began);
        self.expect(age <= limit, || format!("{value:?} was {age:?} old, and is good for {limit:?}"));
    }

    fn check_order(&self, number: u64) {
        let floor = self.floor.void;
        self.expect(number > floor, || format!("what began as event {number} was voided by event {floor}"));
        let in_order = self.asked.mode != Mode::Uncached || number > self.number;
        self.expect(in_order, || format!("what began as event {number} is not its own run"));
    }

    /// Failures are of no use past their TTL.
    fn check_failure(&self, number: u64) {
        self.check_order(number);
        let floor = self.floor.expired;
        self.expect(number > floor, || format!("what failed as event {number} was expired by event {floor}"));
    }

    /// `soak: function key number`, of this function, or of one that it calls.
    fn check_panic(&self, payload: &(dyn Any + Send)) {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let Some(text) = text.or_else(|| payload.downcast_ref::<String>().cloned()) else {
            return self.expect(false, || "a panic without a text".into());
        };
        let Asked { function, key, .. } = self.asked;
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            [PANIC, _, _, _] if function == Function::Outer => {}
            [PANIC, of, its_key, number] => {
                let is_own = of == format!("{function:?}") && its_key == key.to_string();
                self.expect(is_own, || format!("a panic of another: {text}"));
                self.check_failure(number.parse().unwrap_or_default());
            }
            _ => self.expect(false, || format!("a panic that is nobody's: {text}")),
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.arena.ledger.count(Count::Dropped);
        }
    }
}

/// What a future gives, or how it panics.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err(payload)),
    })
    .await
}
