//! Keys that are asked for the first time, and then again and again.

use std::sync::Arc;
use std::time::Duration;

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{crowd, insist, percentile};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};
use crate::phases::cold::is_same;

const KEYS: u32 = 20;
const CALLERS: u32 = 5 * KEYS;

#[coalesce(name = "catalogue", ttl = "10m", key = "item", remote)]
async fn catalogue(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(super) async fn up(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("catalogue");
    desk.origin().set(Mood::Held);
    let callers = crowd(&desk, CALLERS, |origin, number| async move { catalogue(&origin, number % KEYS).await });
    lab.until_waiting(&desk, CALLERS).await?;
    desk.origin().set(Mood::Fine);
    let asked = callers.join_all().await;
    let (answers, runs) = (asked.iter().filter(|asked| asked.has(0)).count(), desk.origin().queries());
    let mut finding = Finding::new();
    finding.check(answers == CALLERS as usize, format!("{answers} callers had an answer"));
    finding.check(runs == u64::from(KEYS), format!("{runs} runs"));
    Ok(finding)
}

pub(super) async fn hits(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("catalogue");
    let before = lab.books.calls_that("catalogue", "fresh");
    let call = |origin, number| async move { catalogue(&origin, number % KEYS).await };
    lab.takes(lab.spell());
    let asked = insist(&desk, KEYS, lab.spell(), Duration::from_millis(5), call).await?;
    let hits = lab.books.calls_that("catalogue", "fresh") - before;
    let (runs, p99) = (desk.origin().queries(), percentile(&asked, 99));
    let mut finding = Finding::new();
    let all = is_same(asked.len(), hits) && asked.len() > 500;
    finding.check(all, format!("{} calls, {hits} fresh", asked.len()));
    finding.check(runs == 0, format!("{runs} runs"));
    finding.check(p99 <= Duration::from_millis(1), format!("p99 {p99:.1?}"));
    Ok(finding)
}
