//! The tier dies in the middle of a run, and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{crowd, insist};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};
use crate::tier::RECOVERY;

const CALLERS: u32 = 50;
/// What no call takes longer than while there is no tier.
const PATIENCE: Duration = Duration::from_secs(2);

#[coalesce(name = "far", ttl = "10m", key = "item", remote)]
async fn far(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(super) async fn killed(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("far");
    let origin = desk.origin().clone();
    let mut finding = Finding::new();
    let tier = || lab.store.stats().tier;
    let before = tier().outages;

    origin.set(Mood::Held);
    let callers = crowd(&desk, CALLERS, |origin, _| async move { far(&origin, 0).await });
    lab.until("the run", || origin.running() == 1).await?;
    lab.until_waiting(&desk, CALLERS).await?;
    lab.tier.kill()?;
    origin.set(Mood::Fine);
    let asked = callers.join_all().await;
    let (answers, runs) = (asked.iter().filter(|asked| asked.has(0)).count(), origin.queries());
    finding.check(runs == 1 && answers == CALLERS as usize, format!("mid-run: {runs} run for {answers} callers"));
    lab.is_at(1, 4);

    // With no tier, memory does. What is new is run for, once, and what is known is known.
    let call = |origin, number| async move { far(&origin, 1 + number / CALLERS % 100).await };
    let asked = insist(&desk, CALLERS, lab.spell(), Duration::from_millis(10), call).await?;
    let (answers, runs) = (asked.iter().filter(|asked| asked.has(0)).count(), origin.queries() - 1);
    let keys = (asked.len().div_ceil(CALLERS as usize)).min(100) as u64;
    finding.check(answers == asked.len(), format!("without it: {answers} of {} answered", asked.len()));
    finding.check(runs > 0 && runs <= keys + 1, format!("{runs} runs for {keys} keys"));
    let slowest = asked.iter().map(|asked| asked.took).max().unwrap_or_default();
    finding.check(slowest <= PATIENCE, format!("slowest {slowest:.1?}"));
    lab.until("it is seen to be lost", || tier().outages > before).await?;
    lab.is_at(2, 4);

    lab.tier.start_again()?;
    let returned = Instant::now();
    lab.until("it is used again", || tier().outages == tier().recoveries).await?;
    // Whether another server sees what is made here, and does not run itself.
    let mut item = 500;
    let shared = loop {
        desk.ask(far(&origin, item)).await;
        let (runs, there) = (origin.queries(), desk.clone());
        tokio::time::sleep(Duration::from_millis(10)).await;
        lab.other.call(async move { there.ask(far(there.origin(), item)).await }).await?;
        if origin.queries() == runs {
            break returned.elapsed();
        }
        if returned.elapsed() > 2 * RECOVERY {
            return Err("the servers do not share again".into());
        }
        tokio::time::sleep(Duration::from_millis(90)).await;
        item += 1;
    };
    finding.check(shared <= RECOVERY, format!("both servers share again {shared:.1?} after its return"));
    let (_, load_errors) = lab.load.desk.errors();
    finding.check(load_errors == 0, format!("{load_errors} errors of the load"));
    Ok(finding)
}
