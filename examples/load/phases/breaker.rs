//! A circuit breaker: closed, open, half-open, closed, without anybody's help.

use std::sync::Arc;
use std::time::Duration;

use stampede::coalesce;
use stampede::event::BreakerState;

use crate::BoxError;
use crate::callers::{Asked, crowd};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};

const FAILURES: u32 = 5;
const RESET: Duration = Duration::from_secs(1);
const CALLERS: u32 = 50;

#[coalesce(name = "breaker", ttl = "10m", breaker(failures = FAILURES, reset_after = RESET), key = "item", remote)]
async fn guarded(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

fn left_alone(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.answer == Err(Fault::LeftAlone)).count()
}

pub(super) async fn round_trip(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("breaker");
    let origin = desk.origin().clone();
    let known = lab.breakers.changes().len();
    let mut finding = Finding::new();
    desk.mean_errors(true);

    // Each of another key.
    origin.set(Mood::Fails);
    for item in 0..FAILURES {
        desk.ask(guarded(&origin, item)).await;
    }
    lab.is_at(1, 4);
    let call = |from: u32| move |origin, number| async move { guarded(&origin, from + number).await };
    let refused = left_alone(&crowd(&desk, CALLERS, call(100)).join_all().await);
    let runs = origin.queries();
    finding.check(runs == u64::from(FAILURES), format!("open after {runs} runs"));
    finding.check(refused == CALLERS as usize, format!("{refused} of {CALLERS} callers refused"));

    // The origin is well again, and slow. When its time has come, one call is let through.
    origin.set(Mood::Held);
    let probing = desk.clone();
    let probe = tokio::spawn(async move {
        loop {
            let asked = probing.ask(guarded(probing.origin(), 200)).await;
            if asked.answer.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    lab.until("a probe", || origin.running() == 1).await?;
    lab.is_at(2, 4);
    let refused = left_alone(&crowd(&desk, CALLERS, call(300)).join_all().await);
    let probes = origin.queries() - runs;
    finding.check(probes == 1 && refused == CALLERS as usize, format!("half-open: {probes} run, {refused} refused"));
    origin.set(Mood::Fine);
    probe.await?;
    lab.is_at(3, 4);

    desk.mean_errors(false);
    let asked = crowd(&desk, CALLERS, call(400)).join_all().await;
    let answers = asked.iter().filter(|asked| asked.has(0)).count();
    finding.check(answers == CALLERS as usize, format!("closed: {answers} of {CALLERS} answered"));
    let changes = lab.breakers.changes().split_off(known);
    let states: Vec<BreakerState> = changes.iter().map(|(state, _)| *state).collect();
    let in_order = states == [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
    let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    finding.check(in_order, words.join(", "));
    if in_order {
        // Both are told of a moment after they happen.
        let open = changes[1].1 - changes[0].1;
        finding.check(open + Duration::from_millis(50) >= RESET, format!("open for {open:.2?} of {RESET:?}"));
    }
    Ok(finding)
}
