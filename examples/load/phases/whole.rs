//! The end: what the load came to, and whether what was called is what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::BoxError;
use crate::lab::{Finding, Lab};

/// The share of the rate that has to be achieved.
const SHARE: f64 = 0.99;

pub(super) async fn whole(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let load = lab.load.end().await?;
    lab.is_at(1, 2);
    let mut finding = Finding::new();
    let rate = f64::from(lab.load.rate);
    let share = load.achieved / rate;
    finding.check(share >= SHARE, format!("{:.1} per second, {:.2} %", load.achieved, share * 100.0));
    let shed = load.due.saturating_sub(load.sent) + (load.sent - load.answered);
    finding.check(shed == 0, format!("{} sent and answered, {shed} not, {} late", load.sent, load.late));

    let desks = || std::iter::once(lab.load.desk.clone()).chain(lab.all_desks());
    let errors: u64 = desks().map(|desk| desk.errors().1).sum();
    let first = desks().find_map(|desk| desk.first_error()).map(|error| format!(", the first: {error}"));
    finding.check(errors == 0, format!("{errors} errors that nobody meant{}", first.unwrap_or_default()));

    let stores = [&lab.store, &lab.other.store];
    let at_rest = || stores.iter().map(|store| store.stats()).all(|stats| (stats.in_flight, stats.waiting) == (0, 0));
    let is_at_rest = lab.until("all is at rest", at_rest).await.is_ok();
    finding.check(is_at_rest, "all is at rest");
    // Some caches are those of several phases.
    let mut caches: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    // Those of HTTP are also run past the store, each in a way of its own.
    for desk in desks().filter(|desk| desk.origin().cache() != "http") {
        let (calls, runs) = caches.entry(desk.origin().cache()).or_default();
        *calls += desk.calls();
        *runs += desk.origin().queries();
    }
    let (calls, runs) = caches.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let books = &lab.books;
    let wrong = caches.iter().find_map(|(cache, (calls, runs))| {
        let known = (books.calls(cache), books.runs(cache));
        (known != (calls.cast_signed(), runs.cast_signed()))
            .then(|| format!("{cache}: {calls} calls and {runs} runs are known as {} and {}", known.0, known.1))
    });
    finding.check(wrong.is_none(), wrong.unwrap_or_else(|| format!("the books know {calls} calls and {runs} runs")));
    Ok(finding)
}
