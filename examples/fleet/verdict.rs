//! What came of it: the table, and what must hold on every machine.

use std::time::Duration;

use crate::fleet::{Chapter, Story};
use crate::origin::{ITEMS, REPORT};
use crate::view::percentiles;
use crate::{BoxError, LEASE, PATIENCE, PHASES, Phase, RECOVERY, TTL};

/// How much earlier than its TTL says a copy of a value may be renewed: a trip to Redis, and its rounding.
const EARLY: Duration = Duration::from_millis(100);

impl Story {
    /// When a phase begins and ends. What Redis's return brings about does not count as quiet.
    fn span(&self, phase: Phase) -> (Duration, Duration) {
        let at = self.chapters.iter().position(|chapter| chapter.phase == phase).unwrap_or_default();
        let settling = if phase == Phase::Back { TTL } else { Duration::ZERO };
        (self.chapters[at].began + settling, self.chapters.get(at + 1).map_or(self.ended, |next| next.began))
    }

    /// When the runs of a key began in a phase.
    fn runs(&self, phase: Phase, key: u32) -> Vec<Duration> {
        let (from, to) = self.span(phase);
        let runs = self.runs.iter().filter(|run| run.key == key);
        runs.map(|run| run.at).filter(|at| (from..to).contains(at)).collect()
    }

    /// Of the items: how many runs there were for each in the time of a TTL.
    fn per_key_and_ttl(&self, phase: Phase) -> f64 {
        let (from, to) = self.span(phase);
        let runs: usize = (1..=ITEMS).map(|item| self.runs(phase, item).len()).sum();
        let runs = f64::from(u32::try_from(runs).unwrap_or(u32::MAX));
        runs / f64::from(ITEMS) / to.saturating_sub(from).div_duration_f64(TTL)
    }

    /// The times between two runs of one key in a phase.
    fn gaps(&self, phase: Phase) -> Vec<Duration> {
        let runs = (REPORT..=ITEMS).map(|key| self.runs(phase, key));
        // They are in order.
        let gaps = |runs: Vec<Duration>| runs.windows(2).map(|pair| pair[1].abs_diff(pair[0])).collect::<Vec<_>>();
        runs.flat_map(gaps).collect()
    }
}

/// The phases side by side.
pub(crate) fn table(story: &Story) {
    let line = |name: &str, cells: Vec<String>| {
        print!("  {name:<22}");
        for cell in cells {
            print!("{cell:>13}");
        }
        println!();
    };
    let chapters = &story.chapters;
    let each = |cell: &dyn Fn(&Chapter) -> String| chapters.iter().map(cell).collect::<Vec<_>>();
    let titles = ["Redis up", "Redis down", "Redis back", "worker lost", "all"];
    line("", titles.map(str::to_owned).to_vec());
    let calls: Vec<usize> = chapters.iter().map(|chapter| chapter.latencies.len()).collect();
    let mut with_sum = calls.clone();
    with_sum.push(calls.iter().sum());
    line("calls answered", with_sum.iter().map(usize::to_string).collect());
    // Of all that happened, settling included.
    let runs = |at: usize| {
        let to = chapters.get(at + 1).map_or(Duration::MAX, |next| next.began);
        let from = if at == 0 { Duration::ZERO } else { chapters[at].began };
        story.runs.iter().filter(|run| (from..to).contains(&run.at)).count()
    };
    let mut runs: Vec<usize> = (0..chapters.len()).map(runs).collect();
    runs.push(story.runs.len());
    line("runs", runs.iter().map(usize::to_string).collect());
    line(
        "runs saved",
        with_sum.iter().zip(&runs).map(|(calls, runs)| calls.saturating_sub(*runs).to_string()).collect(),
    );
    let mut errors = each(&|chapter| chapter.errors.to_string());
    errors.push(story.errors().to_string());
    line("errors", errors);
    line("runs per key and TTL", PHASES.map(|phase| format!("{:.2}", story.per_key_and_ttl(phase))).to_vec());
    for (at, name) in ["half of them within", "99 % of them within", "all of them within"].into_iter().enumerate() {
        line(name, each(&|chapter| format!("{:.2?}", percentiles(&mut chapter.latencies.clone())[at])));
    }
    println!();
}

impl Story {
    fn errors(&self) -> u64 {
        self.chapters.iter().map(|chapter| chapter.errors).sum()
    }
}

/// What must hold on every machine.
pub(crate) fn judge(story: &Story, recovery: Option<Duration>, takeover: Option<Duration>) -> Result<(), BoxError> {
    let mut all_hold = true;
    let mut claim = |holds: bool, what: &str| {
        println!("  {} {what}", if holds { "[holds] " } else { "[BROKEN]" });
        all_hold &= holds;
    };
    claim(story.errors() == 0, "no call got an error");

    // On a machine so busy that Redis does not answer in time, a worker runs on its own.
    let quiet = || story.chapters.iter().filter(|chapter| [Phase::Up, Phase::Back].contains(&chapter.phase));
    let failures: u64 = quiet().map(|chapter| chapter.failures).sum();
    let gaps = [Phase::Up, Phase::Back].map(|phase| story.gaps(phase)).concat();
    let closest = gaps.iter().min().copied().unwrap_or_default();
    let doubles = gaps.iter().filter(|gap| **gap + EARLY < TTL).count() as u64;
    claim(
        !gaps.is_empty() && doubles <= failures,
        &format!("while Redis was up, no key ran twice within its TTL of {TTL:?} (closest: {closest:.2?})"),
    );
    if failures > 0 {
        println!("           but for {doubles}, as {failures} answers of Redis came too late");
    }
    claim(
        recovery.is_some_and(|took| took <= RECOVERY),
        &format!("every worker used Redis again within {RECOVERY:?} of its return ({})", or_not(recovery)),
    );
    let limit = LEASE + Duration::from_millis(500);
    claim(
        takeover.is_some_and(|took| took <= limit),
        &format!("the dead worker's run was taken over within {limit:?} ({})", or_not(takeover)),
    );
    let slowest = story.chapters.iter().flat_map(|chapter| &chapter.latencies).max().copied().unwrap_or_default();
    let slowest = Duration::from_micros(slowest);
    claim(slowest <= PATIENCE, &format!("every call was answered within {PATIENCE:?} (slowest: {slowest:.2?})"));
    println!();
    if all_hold { Ok(()) } else { Err("a claim is broken".into()) }
}

fn or_not(took: Option<Duration>) -> String {
    took.map_or_else(|| "it was not".to_owned(), |took| format!("{took:.2?}"))
}
