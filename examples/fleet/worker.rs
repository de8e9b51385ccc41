//! A process of the fleet: two functions, callers, and a line about them ten times a second.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use stampede::redis::Redis;
use stampede::{Store, coalesce};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::origin::{ITEMS, Shop};
use crate::{BoxError, LEASE, PATIENCE, TTL};

const CALLS_PER_SECOND: u32 = 300;
/// What worker and director tell each other, by stdout.
pub(crate) const READY: &str = "ready";
pub(crate) const BEGUN: &str = "begun";

/// One query per item and second, in the whole fleet. If it fails, the price of a minute ago will do.
#[coalesce(ttl = TTL, stale_if_error = "1m", timeout = PATIENCE, key = "item", remote)]
async fn price(shop: &Shop, item: u32) -> Result<u64, BoxError> {
    shop.price(item, Duration::from_millis(25)).await
}

/// Takes longer, so nobody waits for it who has an old one.
#[coalesce(ttl = TTL, stale_while_revalidate = "1m", timeout = PATIENCE, skip(shop), remote)]
async fn report(shop: &Shop) -> Result<u64, BoxError> {
    say(BEGUN);
    shop.total(Duration::from_millis(400)).await
}

pub(crate) async fn main(redis: &str, shop: &Path, number: u32) -> Result<(), BoxError> {
    let shop = Shop::open(shop)?;
    let redis = Redis::connect(redis).prefix("fleet").lease(LEASE).await?;
    let store = Store::builder().remote(redis).build();
    store.clone().install()?;
    say(READY);
    let mut stdin = tokio::io::stdin();
    tokio::select! {
        result = serve(&shop, &store, number) => result,
        _ = stdin.read_u8() => Ok(()), // closed: the director is done, or gone
    }
}

/// Calls come when they come (an open loop), for one item after the other, and for the report now and then.
async fn serve(shop: &Shop, store: &Store, number: u32) -> Result<(), BoxError> {
    let mut callers = JoinSet::new();
    let mut arrivals = tokio::time::interval(Duration::from_secs(1) / CALLS_PER_SECOND);
    let mut reports = tokio::time::interval(Duration::from_millis(100));
    let mut latencies = Vec::new();
    let mut errors = 0;
    // The workers do not march in step.
    let mut call = number * 7;
    loop {
        tokio::select! {
            _ = arrivals.tick() => {
                call += 1;
                let (shop, called) = (shop.clone(), Instant::now());
                callers.spawn(async move {
                    let answer = if call.is_multiple_of(10) {
                        report(&shop).await
                    } else {
                        price(&shop, (call - call / 10) % ITEMS + 1).await
                    };
                    (answer, called.elapsed())
                });
            }
            Some(answered) = callers.join_next() => {
                let (answer, latency) = answered?;
                if let Err(error) = answer {
                    errors += 1;
                    eprintln!("worker {number}: {error}");
                }
                latencies.push(latency.as_micros().to_string());
            }
            _ = reports.tick() => {
                let tier = store.stats().tier;
                let is_well = u8::from(tier.outages == tier.recoveries);
                let latencies = std::mem::take(&mut latencies);
                say(&format!("{is_well} {errors} {} {}", tier.failures, latencies.join(" ")));
            }
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush()); // the director may be gone
}
