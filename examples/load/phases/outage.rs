//! An origin that is down for a while, for the sustained load as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{crowd, insist, percentile};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};

const KEYS: u32 = 20;
const RETRY: Duration = Duration::from_millis(250);

#[coalesce(name = "outage", ttl = "100ms", stale_if_error = "10m", retry_after = RETRY, key = "item", remote)]
async fn precious(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(super) async fn outage(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("outage");
    let (origin, sustained) = (desk.origin().clone(), lab.load.desk.origin().clone());
    let call = |origin, number| async move { precious(&origin, number % KEYS).await };
    crowd(&desk, KEYS, call).join_all().await;
    while precious_entry(KEYS - 1).get().await.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    for origin in [&origin, &sustained] {
        origin.set(Mood::Fails);
    }
    let (before, started, load_before) = (origin.queries(), Instant::now(), lab.load.answered());
    let spell = lab.spell().max(Duration::from_secs(1));
    lab.takes(spell);
    let asked = insist(&desk, KEYS, spell, Duration::from_millis(5), call).await?;
    let (failures, time) = (origin.queries() - before, started.elapsed());
    let load = lab.load.answered() - load_before;
    for origin in [&origin, &sustained] {
        origin.set(Mood::Fine);
    }

    for item in 0..KEYS {
        origin.publish(item).await?;
    }
    let healed = Instant::now();
    let mut news = 0;
    while news < KEYS && healed.elapsed() < Duration::from_secs(5) {
        let asked = crowd(&desk, KEYS, call).join_all().await;
        news = u32::try_from(asked.iter().filter(|asked| asked.has(1)).count())?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let old = asked.iter().filter(|asked| asked.has(0)).count();
    let most = f64::from(KEYS) * (time.div_duration_f64(RETRY) + 1.0);
    let (_, load_errors) = lab.load.desk.errors();
    let mut finding = Finding::new();
    finding.check(old == asked.len() && old > 100, format!("{old} of {} answers were old values", asked.len()));
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let few = failures >= u64::from(KEYS) && failures as f64 <= most;
    finding.check(few, format!("{failures} attempts for {KEYS} keys in {time:.1?}"));
    finding.check(load_errors == 0 && load > 0, format!("{load_errors} errors among {load} requests of the load"));
    finding.check(news == KEYS, format!("{news} new values within {:.0?}", healed.elapsed()));
    finding.note(format!("p99 {:.1?}", percentile(&asked, 99)));
    Ok(finding)
}
