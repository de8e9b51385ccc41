//! Callers that leave before they have an answer.

use std::sync::Arc;

use stampede::coalesce;

use crate::BoxError;
use crate::callers::crowd;
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};

const LEAVE: u32 = 990;
const STAY: u32 = 10;

#[coalesce(name = "left", ttl = "10m", key = "item", remote)]
async fn left(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

/// Nothing is stored, so what nobody waits for is of no use.
#[coalesce(name = "unkept", key = "item")]
async fn unkept(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

pub(super) async fn hang_up(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let (desk, other) = (lab.desk("left"), lab.desk("unkept"));
    let (origin, unkept_origin) = (desk.origin().clone(), other.origin().clone());
    let (mut answers, mut finished) = (0, 0);
    for round in 0..lab.rounds() {
        // The first of these began the run.
        let call = move |origin, _| async move { left(&origin, 2 * round).await };
        origin.set(Mood::Held);
        let mut leave = crowd(&desk, LEAVE, call);
        lab.until_waiting(&desk, LEAVE).await?;
        let stay = crowd(&desk, STAY, call);
        lab.until_waiting(&desk, LEAVE + STAY).await?;
        leave.shutdown().await;
        lab.until_waiting(&desk, STAY).await?;
        origin.set(Mood::Fine);
        answers += stay.join_all().await.iter().filter(|asked| asked.has(0)).count();

        // All leave, and the run is finished for those who come later.
        let call = move |origin, _| async move { left(&origin, 2 * round + 1).await };
        origin.set(Mood::Held);
        let mut leave = crowd(&desk, LEAVE, call);
        lab.until_waiting(&desk, LEAVE).await?;
        lab.until("the run", || origin.running() == 1).await?;
        leave.shutdown().await;
        lab.until_waiting(&desk, 0).await?;
        origin.set(Mood::Fine);
        finished += usize::from(desk.ask(call(origin.clone(), 0)).await.has(0));

        // All leave, and nobody could use what the run makes.
        unkept_origin.set(Mood::Held);
        let mut leave = crowd(&other, LEAVE, move |origin, _| async move { unkept(&origin, round).await });
        lab.until_waiting(&other, LEAVE).await?;
        lab.until("the run", || unkept_origin.running() == 1).await?;
        leave.shutdown().await;
        lab.until("the run is cancelled", || unkept_origin.running() == 0).await?;
        unkept_origin.set(Mood::Fine);
        lab.round_is_over(round).await;
    }
    let (rounds, runs) = (lab.rounds(), origin.queries());
    let cancelled = lab.books.runs_by("unkept", "result", "cancelled");
    let mut finding = Finding::new();
    let all = (STAY * rounds) as usize;
    finding.check(answers == all, format!("{answers} of {all} that stayed had the answer"));
    finding.check(finished == rounds as usize, format!("{finished} of {rounds} runs that all had left were of use"));
    finding.check(runs == u64::from(2 * rounds), format!("{runs} runs for {} keys", 2 * rounds));
    let all = cancelled == i64::from(rounds) && unkept_origin.queries() == u64::from(rounds);
    finding.check(all, format!("{cancelled} of {} runs for nobody cancelled", unkept_origin.queries()));
    Ok(finding)
}
