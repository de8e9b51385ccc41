//! Those who take part in the models: callers, those who leave, and those who invalidate.

use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::future::{spawn, yield_now};

use super::{Answer, COALESCED, FRESH, KEY, NORMAL, Notes, OVERDUE, Stock, TAG, TAGGED, Wish, World};
use crate::flight::{Arrival, Runner, Waiter};
use crate::flights::Admission;
use crate::key::hash_of;
use crate::sync::{Handle, Ordering};
use crate::tags::{Bearing, Tag};

/// Runs the body here, to its end.
fn here(world: &World) -> impl FnMut(Runner) {
    |runner| {
        world.owns(&runner);
        let version = world.read();
        world.finish(runner, version);
    }
}

/// Runs the body in a task of its own, which can be aborted in its middle.
fn apart(world: &Arc<World>, runner: Runner) {
    spawn_run(world, runner, yield_now());
}

fn spawn_run(world: &Arc<World>, runner: Runner, middle: impl Future<Output = ()> + Send + 'static) {
    world.owns(&runner);
    let (flight, run, world) = (Arc::clone(&runner.flight), Arc::clone(&runner.run), Arc::clone(world));
    let task = spawn(async move {
        let version = world.read();
        middle.await;
        world.finish(runner, version);
    });
    flight.runs_as(&run, task.abort_handle(), &Handle::current());
}

/// The first of the runs that it is given goes this way; the others are run here.
fn first(world: &World, mut way: impl FnMut(Runner)) -> impl FnMut(Runner) {
    let mut is_first = true;
    move |runner| {
        if std::mem::take(&mut is_first) {
            world.owns(&runner);
            way(runner);
        } else {
            here(world)(runner);
        }
    }
}

/// What becomes of a run.
type Start = fn(&Arc<World>, Runner);

/// Asks, looks once, and leaves. A run that it gets to lead is dropped, unless `start` sees to it.
fn look_in(world: &Arc<World>, wish: Wish, start: Option<Start>) {
    let (mut waiter, mut runner) = match world.admit(wish) {
        Admission::Answered(_) => return,
        Admission::Joined(waiter) => (waiter, None),
        Admission::Led(waiter, runner) => (waiter, Some(runner)),
    };
    if let Some(start) = start
        && let Some(runner) = runner.take()
    {
        start(world, runner);
    }
    if let Some(runner) = &runner {
        world.owns(runner);
    }
    // Its waker wakes nobody: it leaves, woken or not.
    let arrival = waiter.poll_arrival(&Context::from_waker(Waker::noop()));
    if let Poll::Ready(Arrival::TakenOver(runner)) = &arrival {
        world.owns(runner);
    }
    drop((waiter, arrival, runner));
}

pub(super) fn caller(world: &Arc<World>) {
    world.call(NORMAL, here(world));
}

/// Where there is one run for all: those who have waited for it find no trace of it.
pub(super) fn caller_of_the_only_run(world: &Arc<World>) {
    if world.call(NORMAL, here(world)) {
        assert_eq!(world.flights.in_flight(), 0, "a run is under way after its end");
        assert_eq!(world.flights.waiting(), 0, "a caller waits for a run after its end");
        assert!(world.flights.lock(KEY).remove(KEY).is_none(), "a flight is current after its end");
    }
}

pub(super) fn caller_of_task(world: &Arc<World>) {
    world.call(NORMAL, |runner| apart(world, runner));
}

/// Of what bears the tag.
pub(super) fn tagged_caller(world: &Arc<World>) {
    world.call(TAGGED, here(world));
}

pub(super) fn tagged_caller_of_task(world: &Arc<World>) {
    world.call(TAGGED, |runner| apart(world, runner));
}

/// Whose run is dropped, when it is the first.
pub(super) fn losing_tagged_caller(world: &Arc<World>) {
    world.call(TAGGED, first(world, drop));
}

pub(super) fn tagged_leaver(world: &Arc<World>) {
    look_in(world, TAGGED, None);
}

pub(super) fn tagged_refresher(world: &Arc<World>) {
    if let Some((waiter, runner)) = world.lead_if_idle(TAGGED) {
        drop(waiter);
        here(world)(runner);
    }
}

pub(super) fn fresh_caller(world: &Arc<World>) {
    world.call(FRESH, here(world));
}

/// Of what is not stored.
pub(super) fn coalesced_caller(world: &Arc<World>) {
    world.call(COALESCED, |runner| apart(world, runner));
}

/// Whose run is dropped, when it is the first.
pub(super) fn losing_caller(world: &Arc<World>) {
    world.call(NORMAL, first(world, drop));
}

/// Who has the right to a run and does without, once.
pub(super) fn declining_caller(world: &Arc<World>) {
    let decline = |runner: Runner| {
        world.notes().declined += 1;
        runner.decline();
    };
    world.call(NORMAL, first(world, decline));
}

/// Whose runs have no time.
pub(super) fn overdue_caller(world: &Arc<World>) {
    world.call(OVERDUE, here(world));
}

/// Whose run is past its limit, and nobody has noticed until somebody joins it.
pub(super) fn overdue_idler(world: &Arc<World>) {
    let Admission::Led(waiter, runner) = world.admit(OVERDUE) else { unreachable!("nobody else is there") };
    world.owns(&runner);
    let Admission::Joined(joined) = world.admit(OVERDUE) else { unreachable!("it is under way") };
    assert!(runner.run.is_over(), "a run past its limit is waited for");
    drop((waiter, joined, runner));
}

/// Whose first run sees its limit by itself.
pub(super) fn timed_out_caller(world: &Arc<World>) {
    world.call(OVERDUE, first(world, Runner::time_out));
}

pub(super) fn leaver(world: &Arc<World>) {
    look_in(world, NORMAL, None);
}

/// Who has found a flight that loses its currency before it is joined. Somebody waits for it: it stays open.
pub(super) fn late_joiner(world: &Arc<World>) {
    let Admission::Led(waiter, runner) = world.admit(NORMAL) else { unreachable!("nobody else is there") };
    let found = world.flights.near(hash_of(KEY)).expect("it is there");
    invalidator(world);
    assert!(Waiter::join(found, false, None).is_err(), "a superseded flight is joined");
    here(world)(runner);
    drop(waiter);
}

pub(super) fn fresh_leaver(world: &Arc<World>) {
    look_in(world, FRESH, None);
}

pub(super) fn leaver_of_task(world: &Arc<World>) {
    look_in(world, NORMAL, Some(apart));
}

pub(super) fn leaver_of_coalesced_task(world: &Arc<World>) {
    look_in(world, COALESCED, Some(apart));
}

/// Whose run would never end by itself.
pub(super) fn leaver_of_endless_task(world: &Arc<World>) {
    look_in(world, COALESCED, Some(endless));
}

/// The same of what is to be stored: it is of use until it is invalidated.
pub(super) fn invalidator_of_endless_task(world: &Arc<World>) {
    look_in(world, NORMAL, Some(endless));
    invalidator(world);
}

/// The same of a refresh, which nobody waits for from its start.
pub(super) fn invalidator_of_endless_refresh(world: &Arc<World>) {
    if let Some((waiter, runner)) = world.lead_if_idle(NORMAL) {
        drop(waiter);
        endless(world, runner);
    }
    invalidator(world);
}

fn endless(world: &Arc<World>, runner: Runner) {
    spawn_run(world, runner, pending());
}

/// Starts a run that nobody waits for, unless there is one.
pub(super) fn refresher(world: &Arc<World>) {
    if let Some((waiter, runner)) = world.lead_if_idle(NORMAL) {
        drop(waiter);
        here(world)(runner);
    }
}

/// The same, and its run is dropped.
pub(super) fn losing_refresher(world: &Arc<World>) {
    if let Some((waiter, runner)) = world.lead_if_idle(NORMAL) {
        world.owns(&runner);
        drop(waiter);
        drop(runner);
    }
}

pub(super) fn invalidator(world: &Arc<World>) {
    let version = world.notes().change();
    supersede(world, |notes| notes.stored = None);
    world.notes().has_returned(version);
}

/// What is put is right by definition when it is put: newer than whatever was before.
pub(super) fn putter(world: &Arc<World>) {
    put(world, None);
}

pub(super) fn tagged_putter(world: &Arc<World>) {
    put(world, world.bearing().map(Arc::from));
}

fn put(world: &World, bearing: Option<Arc<Bearing>>) {
    let epoch = world.epoch.load(Ordering::SeqCst);
    let mut version = 0;
    supersede(world, |notes| {
        version = notes.change();
        notes.stored = Some(Stock { answer: Answer { version, epoch }, bearing });
    });
    world.notes().has_returned(version);
}

fn supersede(world: &World, then: impl FnOnce(&mut Notes)) {
    let mut superseded = Vec::new();
    world.flights.supersede(KEY, || {
        let mut notes = world.notes();
        superseded = notes.supersede_all();
        then(&mut notes);
    });
    world.are_told(&superseded);
}

pub(super) fn clearer(world: &Arc<World>) {
    let version = {
        let mut notes = world.notes();
        notes.epoch += 1;
        notes.change()
    };
    let epoch = world.epoch.fetch_add(1, Ordering::SeqCst) + 1;
    // One that is admitted from now on, even with an epoch from before, reads what is new; its value is void all the same.
    let known = world.notes().admitted.len();
    world.flights.supersede_before(epoch);
    let mut notes = world.notes();
    notes.admitted[..known].iter_mut().filter(|old| old.epoch < epoch).for_each(|old| old.superseded = true);
    notes.stored = None;
    notes.has_returned(version);
}

/// Of what bears the tag. Nobody is told: whoever meets such a flight finds it void.
pub(super) fn tag_invalidator(world: &Arc<World>) {
    let (version, known) = {
        let mut notes = world.notes();
        (notes.change(), notes.admitted.len())
    };
    world.flights.tags.invalidate(&Tag::new(TAG));
    let mut notes = world.notes();
    notes.admitted[..known].iter_mut().filter(|old| old.tagged).for_each(|old| old.voided = true);
    notes.has_returned(version);
}
