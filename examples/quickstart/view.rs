//! What the terminal shows: a chart that grows while it is measured, and a table. No colours, 80 columns.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use crate::load::{CALLS_PER_SECOND, DURATION, IN_FLIGHT, PRODUCTS};
use crate::origin::{Query, Shop};
use crate::phase::Phase;

/// What one bar stands for.
const BUCKET: Duration = Duration::from_millis(250);
/// Room for a phase, and for the calls that are in flight when it ends.
const COLUMNS: usize = 44;
const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) fn preparing() {
    println!("\n  Filling an SQLite file ...");
}

pub(crate) fn introduce(shop: &Shop) {
    let (orders, cost) = (shop.orders(), shop.query_cost());
    println!("  It has {orders} orders now; the query reads them all and takes {cost:.0?}.\n");
    println!("  {CALLS_PER_SECOND} callers a second ask for {PRODUCTS} products in turn, for {DURATION:?}. They come");
    println!("  whether or not the earlier ones have their answer (an open loop), but");
    println!("  when {IN_FLIGHT} are in flight, the next is turned away.\n");
    println!("  Each bar: the queries that reached SQLite in {BUCKET:?}.\n");
}

pub(crate) fn title(title: &str) {
    println!("  {title}");
}

/// The rows share a scale: the tallest bar so far is full.
pub(crate) struct Chart {
    tallest: usize,
    live: bool,
}

impl Chart {
    pub(crate) fn new() -> Self {
        let live = stdout().is_terminal();
        Self { tallest: 1, live }
    }

    /// Draws the row of a phase that is still running over what it drew before. In a file that would be noise.
    pub(crate) fn progress(&mut self, started: Instant, queries: &[Query]) {
        if self.live {
            let columns = bucket(started.elapsed());
            let to_come = "░".repeat(bucket(DURATION).saturating_sub(columns));
            let row = self.row(started, columns, queries) + &to_come;
            print!("\r  {row:COLUMNS$} {:>6} queries", queries.len());
            let _ = stdout().flush(); // that progress cannot be shown is no reason to stop
        }
    }

    pub(crate) fn finish(&mut self, started: Instant, elapsed: Duration, queries: &[Query]) {
        let row = self.row(started, bucket(elapsed), queries);
        let over = if self.live { "\r" } else { "" };
        println!("{over}  {row:COLUMNS$} {:>6} queries", queries.len());
    }

    fn row(&mut self, started: Instant, columns: usize, queries: &[Query]) -> String {
        let mut counts = vec![0; columns.min(COLUMNS)];
        for query in queries {
            if let Some(count) = counts.get_mut(bucket(query.at - started)) {
                *count += 1;
            }
        }
        self.tallest = counts.iter().copied().fold(self.tallest, usize::max);
        let height = |count| BARS[usize::div_ceil(count * 8, self.tallest)];
        counts.into_iter().map(height).collect()
    }
}

/// The column of the chart in which something belongs that happened so long after the phase's start.
fn bucket(after: Duration) -> usize {
    usize::try_from(after.as_millis() / BUCKET.as_millis()).unwrap_or(usize::MAX)
}

/// The time axis, under the last row.
pub(crate) fn axis() {
    let seconds = (0..=DURATION.as_secs()).step_by(2);
    let marks: Vec<String> = seconds.map(|second| format!("{second} s")).collect();
    println!("  {}\n", marks.join("     "));
}

/// The phases side by side.
pub(crate) fn table(phases: &[Phase; 3]) {
    let line = |name: &str, cell: fn(&Phase) -> String| {
        let [plain, ttl, stale] = phases.each_ref().map(cell);
        println!("  {name:<34}{plain:>10}{ttl:>12}{stale:>16}");
    };
    println!("  {:<34}{:>10}{:>12}{:>16}", "", "without", "ttl", "ttl, stale");
    line("callers", |p| (p.outcome.answered() + p.outcome.turned_away).to_string());
    line("  turned away", |p| p.outcome.turned_away.to_string());
    line("  answered", |p| p.outcome.answered().to_string());
    line("    half of them within", |p| format!("{:.1?}", p.outcome.percentile(50)));
    line("    99 % of them within", |p| format!("{:.1?}", p.outcome.percentile(99)));
    line("queries that reached SQLite", |p| p.queries.len().to_string());
    line("  per second", |p| format!("{:.1}", p.queries_per_second()));
    line("runs saved (store.stats())", |p| p.stats.runs_saved().to_string());
    println!();
}
