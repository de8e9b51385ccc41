//! Two and three parties, by every schedule with a few pre-emptions.

use super::parties::*;
use super::{explore, explore_watched};

#[test]
fn callers_share_one_run() {
    explore(3, &[caller_of_the_only_run, caller_of_the_only_run], |notes| assert_eq!(notes.runs, 1));
    explore(2, &[caller_of_the_only_run, caller_of_the_only_run, caller], |notes| assert_eq!(notes.runs, 1));
    explore(2, &[caller_of_task, caller_of_task], |notes| assert_eq!(notes.runs, 1));
}

#[test]
fn a_lost_run_is_taken_over_once() {
    explore(3, &[losing_caller, caller], |notes| assert!(notes.runs <= 2));
    explore(2, &[losing_caller, caller, caller], |notes| assert!(notes.runs <= 2));
    explore(2, &[losing_caller, losing_caller, caller], |notes| assert!(notes.runs <= 3));
    explore(2, &[declining_caller, caller, caller], |notes| assert!(notes.runs <= 2));
}

#[test]
fn one_who_leaves_takes_nothing_along() {
    explore(3, &[caller, leaver], |notes| assert!(notes.runs <= 2));
    explore(2, &[caller, leaver, caller], |notes| assert!(notes.runs <= 2));
    explore(2, &[losing_caller, leaver, caller], |notes| assert!(notes.runs <= 3));
    explore(2, &[leaver, leaver, leaver], |notes| assert!(notes.stored.is_none()));
}

#[test]
fn what_is_superseded_does_not_commit() {
    explore(3, &[caller, invalidator], |_| ());
    explore(3, &[caller, putter], |notes| {
        assert_eq!(notes.stored.as_ref().map(|stored| stored.answer.version), Some(1))
    });
    explore(2, &[caller, invalidator, caller], |_| ());
    explore(2, &[caller, putter, invalidator], |_| ());
    explore(2, &[losing_caller, invalidator, caller], |_| ());
    explore(2, &[leaver, invalidator, caller], |_| ());
}

#[test]
fn what_is_superseded_is_not_joined() {
    explore(0, &[late_joiner], |notes| assert_eq!(notes.runs, 1));
}

#[test]
fn what_began_before_a_clear_does_not_outlive_it() {
    explore(3, &[caller, clearer], |_| ());
    explore(2, &[caller, clearer, caller], |_| ());
    explore(2, &[caller, clearer, fresh_caller], |_| ());
    explore(2, &[caller, clearer, invalidator], |_| ());
    explore(2, &[losing_caller, clearer, caller], |_| ());
}

#[test]
fn what_began_before_its_tag_was_invalidated_is_delivered_and_no_more() {
    explore(3, &[tagged_caller, tag_invalidator], |_| ());
    explore(2, &[tagged_caller, tag_invalidator, tagged_caller], |_| ());
    explore(2, &[tagged_caller_of_task, tag_invalidator, tagged_caller], |_| ());
    explore(2, &[tagged_caller, tag_invalidator, tag_invalidator], |_| ());
    explore(2, &[tagged_caller, tag_invalidator, tagged_putter], |_| ());
    explore(2, &[losing_tagged_caller, tag_invalidator, tagged_caller], |_| ());
    explore(2, &[tagged_leaver, tag_invalidator, tagged_caller], |_| ());
    explore(2, &[tagged_refresher, tag_invalidator, tagged_refresher], |_| ());
    explore(2, &[tagged_caller_of_task, tag_invalidator, tagged_refresher], |_| ());
}

#[test]
fn a_fresh_call_supersedes_what_is_not() {
    explore(3, &[caller, fresh_caller], |_| ());
    explore(2, &[caller, fresh_caller, caller], |_| ());
    explore(2, &[caller, fresh_caller, fresh_caller], |_| ());
    explore(2, &[losing_caller, fresh_caller, leaver], |_| ());
    explore(2, &[caller, fresh_leaver, invalidator], |_| ());
}

#[test]
fn a_run_that_nobody_can_use_is_not_joined() {
    explore(2, &[leaver_of_coalesced_task, coalesced_caller], |_| ());
    explore(0, &[leaver_of_coalesced_task, leaver_of_coalesced_task, coalesced_caller], |_| ());
    explore(2, &[leaver_of_task, invalidator], |_| ());
    explore(1, &[leaver_of_task, invalidator, caller_of_task], |_| ());
}

#[test]
fn a_run_that_nobody_can_use_is_aborted() {
    explore(2, &[leaver_of_endless_task, leaver_of_endless_task], |_| ());
    explore(2, &[leaver_of_endless_task, invalidator], |_| ());
    explore(2, &[invalidator_of_endless_task, invalidator], |_| ());
    explore(2, &[invalidator_of_endless_task, leaver], |_| ());
    explore(1, &[invalidator_of_endless_task, invalidator_of_endless_task, leaver], |_| ());
    explore(2, &[invalidator_of_endless_refresh, invalidator], |_| ());
}

#[test]
fn a_run_past_its_limit_is_replaced() {
    explore(0, &[overdue_idler], |notes| assert_eq!(notes.runs, 1));
    explore(3, &[overdue_caller, overdue_caller], |_| ());
    explore(2, &[overdue_caller, overdue_caller, caller], |_| ());
    explore(2, &[timed_out_caller, overdue_caller, leaver], |_| ());
    explore(2, &[overdue_caller, invalidator, overdue_caller], |_| ());
}

#[test]
fn a_limit_is_watched_over() {
    explore_watched(2, &[caller, caller], |notes| assert_eq!(notes.runs, 1));
    explore_watched(2, &[overdue_caller, overdue_caller], |_| ());
    explore_watched(2, &[overdue_caller, leaver], |_| ());
    explore_watched(1, &[caller, leaver, invalidator], |_| ());
}

#[test]
fn one_refresh_at_a_time() {
    explore(3, &[refresher, refresher], |notes| assert_eq!(notes.runs, 1));
    explore(2, &[refresher, refresher, refresher], |notes| assert_eq!(notes.runs, 1));
    explore(2, &[refresher, caller, refresher], |notes| assert_eq!(notes.runs, 1));
    explore(2, &[losing_refresher, refresher, caller], |notes| assert!(notes.runs <= 2));
    explore(2, &[losing_refresher, invalidator, refresher], |_| ());
    explore(2, &[overdue_caller, refresher, refresher], |_| ());
}
