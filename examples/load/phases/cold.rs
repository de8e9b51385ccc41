//! Stampedes: many callers of a key that has no value, or none any more.

use std::sync::Arc;
use std::time::Duration;

use stampede::coalesce;

use crate::BoxError;
use crate::callers::{Desk, crowd};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin, Price};

#[coalesce(name = "cold", ttl = "10m", key = "item", remote)]
async fn cold(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

#[coalesce(name = "three", ttl = "10m", key = "item", remote)]
async fn three_of(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

#[coalesce(name = "expiring", ttl = "200ms", key = "item", remote)]
async fn expiring(origin: &Origin, item: u32) -> Result<Price, Fault> {
    origin.price(item).await
}

/// Whether this many are what the books say.
pub(super) fn is_same(counted: usize, books: i64) -> bool {
    i64::try_from(counted) == Ok(books)
}

/// What a number of rounds came to, each with a stampede of so many callers.
struct Rounds {
    callers: u32,
    runs: u64,
    answers: usize,
    number: u32,
}

impl Rounds {
    /// Checks that there were so many runs in each.
    fn finding(self, lab: &Lab, desk: &Desk, runs: u32) -> Finding {
        let mut finding = Finding::new();
        let Self { callers, number: rounds, answers, .. } = self;
        let all = (callers * rounds) as usize;
        finding.check(answers == all, format!("{answers} of {all} callers had the answer"));
        finding.check(self.runs == u64::from(runs * rounds), format!("{} runs in {rounds} rounds", self.runs));
        let shared = lab.books.calls_that(desk.origin().cache(), "coalesced");
        finding.check(is_same(all - (runs * rounds) as usize, shared), format!("{shared} shared one"));
        finding
    }
}

/// Lets so many callers wait, and then the origin answer.
async fn stampede<F>(
    lab: &Lab,
    desk: &Desk,
    callers: u32,
    call: impl Fn(Origin, u32) -> F,
) -> Result<(u64, usize), BoxError>
where
    F: Future<Output = Result<Price, Fault>> + Send + 'static,
{
    let before = desk.origin().queries();
    desk.origin().set(Mood::Held);
    let crowd = crowd(desk, callers, call);
    lab.until_waiting(desk, callers).await?;
    desk.origin().set(Mood::Fine);
    let asked = crowd.join_all().await;
    let answers = asked.iter().filter(|asked| asked.has(0)).count();
    Ok((desk.origin().queries() - before, answers))
}

pub(super) async fn one(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("cold");
    let mut sum = Rounds { callers: 50, runs: 0, answers: 0, number: lab.rounds() };
    for round in 0..sum.number {
        let call = move |origin, _| async move { cold(&origin, round).await };
        let (runs, answers) = stampede(&lab, &desk, sum.callers, call).await?;
        sum.runs += runs;
        sum.answers += answers;
        lab.round_is_over(round).await;
    }
    Ok(sum.finding(&lab, &desk, 1))
}

pub(super) async fn three(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("three");
    let mut sum = Rounds { callers: 120, runs: 0, answers: 0, number: lab.rounds() };
    for round in 0..sum.number {
        let call = move |origin, number| async move { three_of(&origin, round * 3 + number % 3).await };
        let (runs, answers) = stampede(&lab, &desk, sum.callers, call).await?;
        sum.runs += runs;
        sum.answers += answers;
        lab.round_is_over(round).await;
    }
    Ok(sum.finding(&lab, &desk, 3))
}

pub(super) async fn at_expiry(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let desk = lab.desk("expiring");
    let mut sum = Rounds { callers: 10_000, runs: 0, answers: 0, number: lab.rounds() };
    let call = |origin, _| async move { expiring(&origin, 0).await };
    // So that there is something to expire, which is one run more.
    desk.ask(call(desk.origin().clone(), 0)).await;
    let mut bytes = 0;
    for round in 0..sum.number {
        while expiring_entry(0).get().await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (runs, answers) = stampede(&lab, &desk, sum.callers, call).await?;
        sum.runs += runs;
        sum.answers += answers;
        bytes = bytes.max(crate::watch::memory());
        lab.round_is_over(round).await;
    }
    let mut finding = sum.finding(&lab, &desk, 1);
    finding.note(format!("{} MiB in memory then", bytes >> 20));
    Ok(finding)
}
