//! The real calls above the flights: through the store, with runs in tasks of their own and in their callers'.
//!
//! Bodies have no point at which the checker might switch: what [`crate::context`] keeps in thread-locals while one is
//! polled would be seen by the other tasks, which share the thread.

use std::any::TypeId;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;

use super::bounded::Bounded;
use super::{Party, gone, run, sample};
use crate::call::{Called, Id, Target, call};
use crate::entry::Entry;
use crate::launch::{Detach, Detached, Inline, Launch};
use crate::policy::Options;
use crate::reply::{Probe, ProbeOther, auto, pack, returns};
use crate::space::Space;
use crate::store::Store;
use crate::support::detach;
use crate::sync::set_runtime;
use crate::tags::Tag;

/// A store, and the data behind it.
#[derive(Default)]
struct World {
    store: Store,
    /// The version of the data.
    version: AtomicU64,
    /// The version as of the last invalidation that has returned.
    fence: AtomicU64,
    calls: AtomicU64,
    bodies: AtomicU64,
}

/// One cache for all models. Identities are the process's, and the locks that they are given under are no part of a model.
fn id() -> Id {
    static SPACE: OnceLock<Space> = OnceLock::new();
    let space = SPACE.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let name = move || sender.send(Space::named("model", TypeId::of::<u64>()).0).expect("it is received");
        shuttle::check_random(name, 1);
        receiver.recv().expect("it is sent")
    });
    Id::new(*space, "model")
}

fn options() -> Options<u64> {
    Options::default().ttl(Duration::from_hours(1))
}

fn tagged() -> Options<u64> {
    options().tags(&[Tag::new("tag")])
}

impl World {
    /// A body: it reads the data, and takes a moment to think.
    fn body(self: &Arc<Self>) -> impl Future<Output = u64> + Send + use<> {
        let world = Arc::clone(self);
        world.bodies.fetch_add(1, Ordering::Relaxed);
        let mut read = None;
        poll_fn(move |cx| {
            if let Some(version) = read {
                return Poll::Ready(version);
            }
            read = Some(world.version.load(Ordering::Relaxed));
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn call<L, F>(
        &self,
        launch: L,
        options: fn() -> Options<u64>,
        mut start: impl FnMut() -> F,
    ) -> impl Future<Output = u64>
    where
        L: Launch<Detach>,
        F: Future<Output = u64> + Send + 'static,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let target = Target { whose: id(), store: Some(&self.store), key: &&() };
        let reply = Probe::<u64>::NEW.__reply();
        let start = move |returns| {
            let body = start();
            detach(async move { pack(returns, body.await) })
        };
        let called = call(&target, returns(reply, auto(reply)), launch, options, start);
        async {
            match called {
                Called::Hit(answer) => answer,
                Called::Going(call) => call.await,
            }
        }
    }

    /// Calls, and waits for the answer.
    fn ask<F: Future<Output = u64>>(&self, call: impl FnOnce() -> F) {
        let fence = self.fence.load(Ordering::Relaxed);
        let answer = block_on(call());
        assert!(answer >= fence, "a call was answered with what had been invalidated before it was made");
    }

    fn entry(&self) -> Entry<u64> {
        Entry::new(id(), self.store.clone(), &(), options())
    }

    /// The data changes, and `tell` says so to the store.
    fn change<F: Future>(&self, tell: impl FnOnce() -> F) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        block_on(tell());
        self.fence.fetch_max(version, Ordering::Relaxed);
    }

    /// All parties are gone.
    fn rests(self: &Arc<Self>) {
        gone(self.store.flights());
        let stats = self.store.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0), "runs under way, callers that wait");
        assert_eq!(stats.calls.total(), self.calls.load(Ordering::Relaxed), "each call counts once");
        assert_eq!(stats.runs.total(), self.bodies.load(Ordering::Relaxed), "each run counts once");
        let stored = block_on(self.entry().get());
        assert!(stored.is_none_or(|stored| stored >= self.fence.load(Ordering::Relaxed)), "what is void is stored");
    }
}

fn tagged_caller(world: &Arc<World>) {
    world.ask(|| world.call(Detached, tagged, || world.body()));
}

fn tagged_inline_caller(world: &Arc<World>) {
    world.ask(|| world.call(Inline, tagged, || world.body()));
}

fn tag_invalidator(world: &Arc<World>) {
    world.change(|| world.store.invalidate_tag("tag"));
}

/// Calls, looks once, and leaves.
fn look_in(call: impl Future<Output = u64>) {
    let _ = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
}

fn caller(world: &Arc<World>) {
    world.ask(|| world.call(Detached, options, || world.body()));
}

fn inline_caller(world: &Arc<World>) {
    world.ask(|| world.call(Inline, options, || world.body()));
}

fn leaver(world: &Arc<World>) {
    look_in(world.call(Detached, options, || world.body()));
}

/// Its run goes with it.
fn inline_leaver(world: &Arc<World>) {
    look_in(world.call(Inline, options, || world.body()));
}

/// Its run would never end by itself, and is of no use to anybody else.
fn endless_leaver(world: &Arc<World>) {
    let endless = || {
        world.bodies.fetch_add(1, Ordering::Relaxed);
        pending()
    };
    look_in(world.call(Detached, Options::default, endless));
}

fn invalidator(world: &Arc<World>) {
    let entry = world.entry();
    world.change(|| entry.invalidate());
}

fn clearer(world: &Arc<World>) {
    world.change(|| world.store.clear());
}

#[test]
fn inline_calls() {
    id();
    set_runtime(false);
    run(Bounded::new(2), &[inline_caller, inline_caller], World::rests);
    run(Bounded::new(2), &[inline_leaver, inline_caller], World::rests);
    run(Bounded::new(1), &[inline_leaver, inline_caller, inline_caller], World::rests);
    run(Bounded::new(1), &[inline_leaver, inline_caller, invalidator], World::rests);
    run(Bounded::new(1), &[inline_caller, inline_caller, clearer], World::rests);
    run(Bounded::new(1), &[tagged_inline_caller, tagged_inline_caller, tag_invalidator], World::rests);
}

#[test]
fn detached_calls() {
    id();
    set_runtime(true);
    run(Bounded::new(1), &[caller, caller], World::rests);
    run(Bounded::new(1), &[leaver, caller], World::rests);
    run(Bounded::new(1), &[caller, invalidator], World::rests);
    run(Bounded::new(1), &[caller, clearer], World::rests);
    run(Bounded::new(1), &[tagged_caller, tag_invalidator], World::rests);
}

#[test]
fn a_call_that_leaves_ends_a_run_that_nobody_can_use() {
    id();
    set_runtime(true);
    run(Bounded::new(2), &[endless_leaver, endless_leaver], World::rests);
}

#[test]
fn a_crowd_of_calls() {
    id();
    let parties: &[Party<World>] = &[caller, inline_caller, leaver, inline_leaver, caller, invalidator, clearer];
    sample(1_000, parties, World::rests);
    let parties: &[Party<World>] = &[tagged_caller, tagged_inline_caller, tagged_caller, tag_invalidator, clearer];
    sample(1_000, parties, World::rests);
}
