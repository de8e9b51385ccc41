//! More parties than can be enumerated, by random schedules.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};

use super::parties::*;
use super::{Party, World, sample};

const ALL: &[Party<World>] = &[
    caller,
    caller_of_task,
    fresh_caller,
    losing_caller,
    declining_caller,
    leaver,
    leaver_of_task,
    fresh_leaver,
    refresher,
    losing_refresher,
    invalidator,
    putter,
    clearer,
];

fn storm(parties: &'static [Party<World>]) {
    sample(4_000, parties, |world| world.rests(|_| ()));
}

/// Does this and that.
fn wanderer(world: &Arc<World>) {
    for _ in 0..3 {
        let party = ALL[thread_rng().gen_range(0..ALL.len())];
        party(world);
    }
}

/// The same of runs that are past their limit from the start.
fn late_wanderer(world: &Arc<World>) {
    for _ in 0..2 {
        let party = [overdue_caller, timed_out_caller, leaver, invalidator][thread_rng().gen_range(0..4)];
        party(world);
    }
}

#[test]
fn a_crowd_that_does_this_and_that() {
    storm(&[wanderer, wanderer, wanderer, wanderer, wanderer, wanderer]);
}

#[test]
fn a_crowd_whose_runs_have_no_time() {
    storm(&[late_wanderer, late_wanderer, late_wanderer, wanderer, wanderer]);
}

/// The same of what bears a tag.
fn tagged_wanderer(world: &Arc<World>) {
    let all = [
        tagged_caller,
        tagged_caller_of_task,
        losing_tagged_caller,
        tagged_leaver,
        tagged_refresher,
        tagged_putter,
        tag_invalidator,
        clearer,
    ];
    for _ in 0..3 {
        let party = all[thread_rng().gen_range(0..all.len())];
        party(world);
    }
}

#[test]
fn a_crowd_whose_tag_is_invalidated() {
    storm(&[tagged_wanderer, tagged_wanderer, tagged_wanderer, tagged_wanderer, tagged_wanderer]);
}

#[test]
fn a_crowd_that_only_calls() {
    storm(&[caller, caller_of_task, losing_caller, caller, losing_caller, caller_of_task, leaver, leaver]);
}

/// What is not stored never mixes with what is: the cache's options say which it is.
#[test]
fn a_crowd_that_stores_nothing() {
    storm(&[
        coalesced_caller,
        leaver_of_coalesced_task,
        coalesced_caller,
        leaver_of_coalesced_task,
        invalidator,
        clearer,
    ]);
}
