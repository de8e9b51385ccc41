//! The books at the end: the store's figures against the soak's own.

use std::thread;
use std::time::{Duration, Instant};

use crate::arena::{Arena, Kind};
use crate::ledger::Count;
use crate::watchdog::PATIENCE;

/// Waits until nothing is under way any more, and compares the figures.
pub(crate) fn close(arena: &Arena) {
    let (failures, name) = (&arena.world.failures, arena.kind);
    let look = stampede::__private::watch(&arena.store);
    let begun = Instant::now();
    while look() != (0, 0, 0) && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let left = look();
    failures.expect(left == (0, 0, 0), || {
        format!("{name:?}: flights in the table, runs under way, callers waiting: {left:?} after {PATIENCE:?}")
    });

    let (stats, count) = (arena.store.stats(), |count| arena.ledger.get(count));
    let (calls, runs) = (stats.calls, stats.runs);
    let check = |holds: bool, what: &str| failures.expect(holds, || format!("{name:?}: {what}: {stats:?}"));
    let (made, uncached, bodies) = (count(Count::Calls), count(Count::Uncached), count(Count::Begun));
    check(calls.total() == made, &format!("{made} calls were made"));
    check((stats.in_flight, stats.waiting) == (0, 0), "something is still counted as under way");
    check(stats.entries <= arena.max_entries, &format!("at most {} entries", arena.max_entries));

    // Each run counts once, and its body begins unless it is dropped before; what a body came to may be known to nobody.
    check(runs.total() - runs.cancelled - runs.timeout <= bodies, &format!("{bodies} bodies begun"));
    let [values, errors, panics] = [Count::EndedInValue, Count::EndedInError, Count::EndedInPanic].map(count);
    check(runs.ok + runs.no_cache <= values, &format!("{values} bodies ended in a value"));
    check(runs.error <= errors, &format!("{errors} bodies ended in an error"));
    // Also those that a nested call passes on.
    let passed_on = count(Count::Nested);
    check(runs.panic <= panics + passed_on, &format!("{panics} bodies panicked"));
    if arena.kind == Kind::Bypassed {
        check(calls.bypass >= uncached, &format!("{uncached} uncached calls"));
    } else {
        // Runs of a store that is switched off are not counted; only here is it known that there are none.
        check(calls.bypass == uncached, &format!("{uncached} uncached calls"));
        check(bodies <= runs.total(), &format!("{bodies} bodies begun"));
        check(stats.runs_saved() == (made - uncached).saturating_sub(runs.total()), "runs saved");
    }
    if arena.kind == Kind::Quiet {
        check(runs.timeout + runs.no_cache == 0, "no body hangs or refuses");
        check(runs.total() - runs.cancelled == values + errors + panics, "each body that ended is a run");
    }
}
