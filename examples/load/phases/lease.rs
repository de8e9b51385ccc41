//! Two servers and one key: the other one has the lease to make its value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{crowd, insist, percentile};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};
use crate::tier::LEASE;

#[coalesce(name = "shared", ttl = "1s", stale_while_revalidate = "10m", key = "item", remote)]
async fn shared(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

#[coalesce(name = "taken_over", ttl = "10m", key = "item", remote)]
async fn guarded(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

/// The other server refreshes a value, and takes its time.
pub(super) async fn held_elsewhere(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("shared");
    let origin = desk.origin().clone();
    let (mut asked, mut old) = (Vec::new(), 0);
    let rounds = lab.rounds().min(5);
    for round in 0..rounds {
        desk.ask(shared(&origin, round)).await;
        while shared_entry(round).get().await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        origin.publish(round).await?;
        origin.set(Mood::Held);
        let over_there = desk.clone();
        let there = lab.other.call(async move { over_there.ask(shared(over_there.origin(), round)).await });
        lab.until("the other server runs", || origin.running() == 1).await?;
        let call = move |origin, _| async move { shared(&origin, round).await };
        asked.extend(insist(&desk, 50, lab.spell() / rounds, Duration::from_millis(10), call).await?);
        origin.set(Mood::Fine);
        old += usize::from(there.await?.has(0));
        // This runs nothing.
        let ended = Instant::now();
        while shared_entry(round).get().await.is_none_or(|price| price.edition != 1) {
            if ended.elapsed() > Duration::from_secs(5) {
                return Err("the other server's value does not arrive".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        lab.is_at(round + 1, rounds);
    }
    let (runs, rounds) = (origin.queries(), u64::from(rounds));
    let stale = asked.iter().filter(|asked| asked.has(0)).count();
    let p99 = percentile(&asked, 99);
    let mut finding = Finding::new();
    finding.check(stale == asked.len() && stale > 100, format!("{stale} of {} answers were the old one", asked.len()));
    finding.check(p99 <= Duration::from_millis(1), format!("p99 {p99:.1?}"));
    let all = old as u64 == rounds && runs == 2 * rounds;
    finding.check(all, format!("{} runs for {rounds} first values, {rounds} elsewhere", runs.saturating_sub(rounds)));
    Ok(finding)
}

/// The other server stops in the middle of a run.
pub(super) async fn taken_over(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    const CALLERS: u32 = 50;
    let desk = lab.desk("taken_over");
    let origin = desk.origin().clone();
    let rounds = if lab.is_short { 1 } else { 3 };
    let (mut answers, mut slowest) = (0, Duration::ZERO);
    let refused = || lab.other.store.stats().tier.refused;
    let refused_before = refused();
    for round in 0..rounds {
        origin.set(Mood::Held);
        let over_there = desk.clone();
        let there = lab.other.call(async move { over_there.ask(guarded(over_there.origin(), round)).await });
        lab.until("the other server runs", || origin.running() == 1).await?;
        let stopped = lab.other.stop().await?;
        let at = Instant::now();
        let callers = crowd(&desk, CALLERS, move |origin, _| async move { guarded(&origin, round).await });
        lab.until_waiting(&desk, CALLERS + 1).await?; // the caller over there waits, too
        origin.set(Mood::Fine); // of which the other server knows nothing
        let asked = callers.join_all().await;
        slowest = slowest.max(at.elapsed());
        answers += asked.iter().filter(|asked| asked.has(0)).count();
        // It wakes, ends its run, and would store what it has.
        drop(stopped);
        there.await?;
        let late = u64::from(round) + 1;
        lab.until("the late value is refused", || refused() - refused_before == late).await?;
        lab.is_at(round + 1, rounds);
    }
    let (runs, expected) = (origin.queries(), u64::from(rounds) * 2);
    let (all, late) = ((CALLERS * rounds) as usize, refused() - refused_before);
    let mut finding = Finding::new();
    finding.check(answers == all, format!("{answers} of {all} callers had the answer"));
    finding.check(runs == expected, format!("{} of ours beside {rounds} that stood still", runs - u64::from(rounds)));
    let in_time = slowest <= LEASE + Duration::from_secs(1);
    finding.check(in_time, format!("within {slowest:.2?}, the lease being {LEASE:?}"));
    finding.check(late == u64::from(rounds), format!("{late} late values refused"));
    Ok(finding)
}
