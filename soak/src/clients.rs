//! Those who call, hang up, write and void, at random.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::arena::{Arena, Kind, Task};
use crate::check::{self, Mode};
use crate::floors::Reach;
use crate::functions::{Act, Function, KEYS, key_tag};
use crate::ledger::Count;
use crate::random::Random;
use crate::value::Value;

/// How many calls of one key a burst is.
const BURST: u64 = 50;

/// One client: a step after the other, until it is time to stop.
pub(crate) async fn client(arena: Arc<Arena>, number: u64) {
    let mut random = Random::new(arena.world.seed, number << 40);
    let task = Task { arena, uncached: false };
    while !task.arena.world.is_over() {
        let functions: &[Function] = if task.arena.kind == Kind::Quiet { &Function::QUIET } else { &Function::NOISY };
        let function = random.pick(functions);
        let key = u16::try_from(random.skewed(KEYS.into())).unwrap_or_default();
        step(&task, function, key, &mut random).await;
        match random.below(4) {
            0 => sleep(Duration::from_micros(random.below(3_000))).await,
            1 => yield_now().await,
            _ => {}
        }
    }
}

async fn step(task: &Task, function: Function, key: u16, random: &mut Random) {
    let quiet = task.arena.kind == Kind::Quiet;
    let mode = match random.below(100) {
        _ if quiet => Mode::Normal,
        0..80 => Mode::Normal,
        80..89 => Mode::NoStale,
        89..95 => Mode::Fresh,
        _ => Mode::Uncached,
    };
    let how = match random.below(1_000) {
        0..700 => return drop(check::call(task.clone(), function, key, mode, "a call").await),
        700..850 => return drop_call(task, function, key, mode, random).await,
        850..860 => return burst(task, function, key, mode).await,
        _ if quiet => return,
        860..940 => Step::Get,
        940..955 => Step::Put,
        955..970 => Step::Invalidate,
        970..990 => Step::Expire,
        _ => Step::InvalidateTag,
    };
    how.take(task, function, key).await;
}

/// Calls, and hangs up.
async fn drop_call(task: &Task, function: Function, key: u16, mode: Mode, random: &mut Random) {
    let patience = Duration::from_micros(random.skewed(15_000));
    let call = |how| check::call(task.clone(), function, key, mode, how);
    match random.below(4) {
        0 => {
            drop(call("a call that is not polled"));
            task.arena.ledger.count(Count::Unpolled);
        }
        1 => {
            let mut call = pin!(call("a call that is polled once"));
            poll_fn(|cx| {
                let _ = call.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
        }
        2 => _ = timeout(patience, call("a call that is dropped")).await,
        _ => {
            let call = tokio::spawn(call("a call in a task that is aborted"));
            sleep(patience).await;
            call.abort();
            let _ = call.await;
        }
    }
}

/// Many calls of one key at once.
async fn burst(task: &Task, function: Function, key: u16, mode: Mode) {
    let mut calls = JoinSet::new();
    for _ in 0..BURST {
        calls.spawn(check::call(task.clone(), function, key, mode, "a call in a burst"));
    }
    task.arena.ledger.add(Count::Burst, BURST);
    while calls.join_next().await.is_some() {}
}

/// What is done to an entry.
#[derive(Clone, Copy, Debug)]
enum Step {
    Get,
    Put,
    Invalidate,
    Expire,
    InvalidateTag,
}

impl Step {
    async fn take(self, task: &Task, function: Function, key: u16) {
        let arena = &task.arena;
        let entry = Reach::Entry(function, key);
        let scoped = |act| arena.store.scope(function.act(task, key, act));
        let number = arena.world.tick();
        let (reach, count) = match self {
            Self::Get => {
                arena.store.scope(check::get(task, function, key)).await;
                return arena.ledger.count(Count::Gets);
            }
            Self::Put => {
                let (value, again) = Value::to_put(function, key);
                scoped(Act::Put(value)).await;
                again.has_been_put(arena.world.tick());
                (entry, Count::Puts)
            }
            Self::Invalidate => {
                scoped(Act::Invalidate).await;
                (entry, Count::Invalidations)
            }
            Self::Expire => {
                scoped(Act::Expire).await;
                (Reach::Ttl(function, key), Count::Expirations)
            }
            Self::InvalidateTag => {
                arena.store.invalidate_tag(key_tag(key)).await;
                (Reach::Key(key), Count::TagInvalidations)
            }
        };
        arena.floors.raise(reach, number);
        arena.ledger.count(count);
    }
}
