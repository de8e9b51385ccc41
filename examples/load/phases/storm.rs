//! Values are voided as fast as it goes, while they are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stampede::{Store, coalesce};
use tokio::task::JoinSet;

use crate::BoxError;
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Origin, Price};

const KEYS: u32 = 4;
const CALLERS: u32 = 10;
/// Each such time, it is by the tag that all of them bear.
const BY_TAG: u64 = 10;

#[coalesce(name = "stock", ttl = "10m", tags = "\"stock\"", key = "item", remote)]
async fn stock(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(super) async fn storm(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    // An answer is on its way for so long: what it says may have been voided by then.
    let desk = lab.slow_desk("stock", Duration::from_millis(3));
    let started = Instant::now();
    let until = started + lab.spell();
    // Which edition no call that begins now may be behind, by item.
    let floors: Arc<[AtomicU64; KEYS as usize]> = Arc::default();
    let mut voiders = JoinSet::new();
    let mut callers = JoinSet::new();
    for item in 0..KEYS {
        let (origin, floors) = (desk.origin().clone(), Arc::clone(&floors));
        voiders.spawn(async move {
            let mut edition = 0;
            while Instant::now() < until {
                edition = origin.publish(item).await?;
                if edition.is_multiple_of(BY_TAG) {
                    Store::current().invalidate_tag("stock").await;
                } else {
                    stock_entry(item).invalidate().await;
                }
                floors[item as usize].store(edition, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok::<u64, Fault>(edition)
        });
    }
    for item in (0..KEYS).cycle().take((KEYS * CALLERS) as usize) {
        let (desk, floors) = (desk.clone(), Arc::clone(&floors));
        callers.spawn(async move {
            let (mut calls, mut old) = (0_u64, 0_u64);
            while Instant::now() < until {
                let floor = floors[item as usize].load(Ordering::SeqCst);
                let asked = desk.ask(stock(desk.origin(), item)).await;
                old += u64::from(asked.answer.is_ok_and(|price| price.edition < floor));
                calls += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (calls, old)
        });
    }
    lab.takes(lab.spell());
    let (mut calls, mut old, mut voided) = (0, 0, 0);
    while let Some(caller) = callers.join_next().await {
        let (some, too_old) = caller?;
        calls += some;
        old += too_old;
    }
    while let Some(voider) = voiders.join_next().await {
        voided += voider??;
    }
    let (runs, per_second) = (desk.origin().queries(), f64::from(u32::try_from(voided)?) / lab.spell().as_secs_f64());
    // By tag, all keys are voided.
    let most = u64::from(KEYS) + voided + voided / BY_TAG * u64::from(KEYS);
    let mut finding = Finding::new();
    finding.check(old == 0 && calls > 100, format!("{old} of {calls} answers too old"));
    finding.check(voided > 20, format!("{voided} times voided, {per_second:.0} per second"));
    finding.check(runs > voided / 10 && runs <= most, format!("{runs} runs"));
    Ok(finding)
}
