//! Values that are renewed before they are needed, and a renewal that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{crowd, insist, percentile};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};
use crate::phases::cold::is_same;

const KEYS: u32 = 4;
const RUN: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_millis(250);

#[coalesce(name = "xfetch", ttl = "1s", xfetch = 1.0, key = "item")]
async fn likely(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

#[coalesce(name = "flaky", ttl = "50ms", stale_while_revalidate = "10m", retry_after = RETRY, key = "item", remote)]
async fn flaky(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

/// A hot key is renewed at random, the likelier the nearer its end is, and one caller sees to it in the background.
pub(super) async fn xfetch(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.slow_desk("xfetch", RUN);
    let call = |origin, number| async move { likely(&origin, number % KEYS).await };
    crowd(&desk, KEYS, call).join_all().await;
    let spell = lab.spell().max(Duration::from_secs(2));
    lab.takes(spell);
    let asked = insist(&desk, 2 * KEYS, spell, Duration::from_millis(5), call).await?.len();
    let hits = lab.books.calls_that("xfetch", "fresh");
    lab.until("the last renewal is over", || desk.origin().running() == 0).await?;
    let renewals = desk.origin().queries() - u64::from(KEYS);
    let in_time = || lab.books.runs_by("xfetch", "trigger", "early");
    let count = usize::try_from(renewals)?;
    lab.until("it is counted", || lab.books.runs("xfetch") == desk.origin().queries().cast_signed()).await?;
    let mut finding = Finding::new();
    finding.check(is_same(asked, hits), format!("{hits} of {asked} calls found a fresh value"));
    let all = is_same(count, in_time()) && renewals >= u64::from(KEYS);
    finding.check(all, format!("{} of {renewals} renewals came early", in_time()));
    Ok(finding)
}

/// The origin fails while a value is due: the old one goes on being the answer, and the origin is not asked too often.
pub(super) async fn failing(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("flaky");
    let origin = desk.origin().clone();
    desk.ask(flaky(&origin, 0)).await;
    while flaky_entry(0).get().await.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    origin.set(Mood::Fails);
    let (before, started) = (origin.queries(), Instant::now());
    let call = |origin, _| async move { flaky(&origin, 0).await };
    let spell = lab.spell().max(Duration::from_secs(1));
    lab.takes(spell);
    let asked = insist(&desk, 10, spell, Duration::from_millis(5), call).await?;
    origin.publish(0).await?;
    let (failures, time) = (origin.queries() - before, started.elapsed());
    origin.set(Mood::Fine);
    let healed = Instant::now();
    while !desk.ask(flaky(&origin, 0)).await.has(1) {
        if healed.elapsed() > Duration::from_secs(5) {
            return Err("there is no new value".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let old = asked.iter().filter(|asked| asked.has(0)).count();
    let (p99, most) = (percentile(&asked, 99), time.div_duration_f64(RETRY) + 1.0);
    let mut finding = Finding::new();
    finding.check(old == asked.len() && old > 100, format!("{old} of {} answers were the old one", asked.len()));
    finding.check(p99 <= Duration::from_millis(1), format!("p99 {p99:.1?}"));
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let few = failures >= 2 && failures as f64 <= most;
    finding.check(few, format!("{failures} attempts failed in {time:.1?}"));
    finding.note(format!("a new value {:.0?} after", healed.elapsed()));
    Ok(finding)
}
