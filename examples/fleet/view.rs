//! What the terminal shows while it goes on: bars that grow, redrawn in place. Elsewhere, a plain line each second. No colours.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use crate::fleet::State;

const COLUMNS: usize = 72;
/// The bars of a second.
const PER_LINE: usize = 2;
const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) struct View {
    is_live: bool,
    started: Instant,
    /// The runs of each tick.
    bars: Vec<u64>,
    runs: u64,
    /// Of the calls since the last line, in microseconds.
    latencies: Vec<u64>,
    /// Lines that are drawn over the next time.
    drawn: usize,
}

impl View {
    pub(crate) fn new() -> Self {
        let is_live = stdout().is_terminal();
        Self { is_live, started: Instant::now(), bars: Vec::new(), runs: 0, latencies: Vec::new(), drawn: 0 }
    }

    pub(crate) fn note(&mut self, latencies: &[u64]) {
        self.latencies.extend(latencies);
    }

    /// Something has happened: this stays above what is redrawn.
    pub(crate) fn say(&mut self, what: &str) {
        self.wipe();
        println!("  {:>5.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// A tick has passed.
    pub(crate) fn draw(&mut self, runs: u64, states: &[State]) {
        self.bars.push(runs - self.runs);
        self.runs = runs;
        let is_full = self.bars.len().is_multiple_of(PER_LINE);
        if !is_full && !self.is_live {
            return;
        }
        let rate: u64 = self.bars.iter().rev().take(PER_LINE).sum();
        let states: Vec<String> = states.iter().map(|state| format!("{:<9}", word(*state))).collect();
        let states = states.concat();
        let [half, most, all] = percentiles(&mut self.latencies);
        let calls = self.latencies.len();
        let latency = format!("half within {half:.2?}, 99 % within {most:.2?}, all within {all:.2?}");
        if self.is_live {
            self.wipe();
            let tallest = self.bars.iter().copied().max().unwrap_or(1).max(1);
            let shown = &self.bars[self.bars.len().saturating_sub(COLUMNS)..];
            let bars: String = shown.iter().map(|&runs| bar(runs, tallest)).collect();
            println!("\n  {bars}\n");
            println!("  runs/s   {rate}\n  tiers    {states}\n  {calls} calls: {latency}");
            self.drawn = 6;
            let _ = stdout().flush(); // that progress cannot be shown is no reason to stop
        } else {
            let at = self.started.elapsed().as_secs_f64();
            println!("  {at:>5.1} s  {rate:>4} runs/s | tiers: {states}| {calls} calls: {latency}");
        }
        if is_full {
            self.latencies.clear();
        }
    }

    pub(crate) fn end(&mut self) {
        self.drawn = 0;
        println!();
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

fn bar(runs: u64, tallest: u64) -> char {
    BARS[usize::try_from((runs * 8).div_ceil(tallest)).unwrap_or(8).min(8)]
}

fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Well => "well",
        State::Sick => "sick",
        State::Dead => "dead",
    }
}

/// The latency of half of the calls, of 99 %, and of all.
pub(crate) fn percentiles(latencies: &mut [u64]) -> [Duration; 3] {
    latencies.sort_unstable();
    [50, 99, 100].map(|percent| {
        let at = (latencies.len() * percent / 100).saturating_sub(1);
        Duration::from_micros(latencies.get(at).copied().unwrap_or_default())
    })
}
