//! What the terminal shows while it goes on: bars and figures, redrawn in place. Elsewhere, a plain line each second. No
//! colours.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use crate::sample::{Latency, Sample, Verdict};

const COLUMNS: usize = 60;
/// What fits in a line that is drawn over.
const WIDTH: usize = 78;
const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Samples from one plain line to the next.
const PER_LINE: usize = 4;

pub(crate) struct View {
    is_live: bool,
    /// Calls and runs per second, of each sample.
    rates: Vec<(f64, f64)>,
    /// Verdicts that have been told.
    told: usize,
    /// Lines that are drawn over the next time.
    drawn: usize,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { is_live: stdout().is_terminal(), rates: Vec::new(), told: 0, drawn: 0 }
    }

    pub(crate) fn draw(&mut self, sample: &Sample) {
        self.rates.push((sample.calls_per_s, sample.runs_per_s));
        self.wipe();
        for (number, verdict) in (1..).zip(&sample.verdicts).skip(self.told) {
            tell(number, verdict);
        }
        self.told = sample.verdicts.len();
        if sample.done {
            println!();
        } else if self.is_live {
            self.draw_live(sample);
        } else if self.rates.len().is_multiple_of(PER_LINE) {
            println!("  {:>6.1} s  {} | {} | {}", sample.t, rates(sample), latency(&sample.latency_s), state(sample));
        }
        let _ = stdout().flush(); // that progress cannot be shown is no reason to stop
    }

    fn draw_live(&mut self, sample: &Sample) {
        let phase = &sample.phase;
        let shown = &self.rates[self.rates.len().saturating_sub(COLUMNS)..];
        // One scale for both, so that they can be compared.
        let tallest = shown.iter().map(|(calls, runs)| calls.max(*runs)).fold(1.0, f64::max);
        let row = |of: fn(&(f64, f64)) -> f64| shown.iter().map(|rates| bar(of(rates) / tallest)).collect::<String>();
        let lines = [
            String::new(),
            format!("  {:>2} of {}  {}", phase.number, phase.of, phase.name),
            format!("           {}", phase.claim),
            format!("           {} {:>3.0} %", gauge(phase.progress, 40), phase.progress * 100.0),
            String::new(),
            format!("  calls    {}", row(|rates| rates.0)),
            format!("  runs     {}", row(|rates| rates.1)),
            format!("           {}", rates(sample)),
            format!("  load     {}", latency(&sample.latency_s)),
            format!("  now      {}", state(sample)),
        ];
        for line in &lines {
            println!("{}", line.chars().take(WIDTH).collect::<String>());
        }
        self.drawn = lines.len();
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

fn tell(number: usize, verdict: &Verdict) {
    let word = if verdict.held { "[holds] " } else { "[BROKEN]" };
    println!("  {word} {number:>2}  {}: {}", verdict.name, verdict.claim);
    println!("               {}", verdict.measured);
}

fn rates(sample: &Sample) -> String {
    let (rate, calls, runs) = (sample.rate, sample.calls_per_s, sample.runs_per_s);
    let late = rate.late;
    format!("{calls:.0} calls/s, {runs:.0} runs/s; load {:.0} of {}/s, {late} late", rate.achieved, rate.asked)
}

fn latency(latency: &Latency) -> String {
    let Latency { p50, p99, p999, max } = *latency;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(Duration::from_secs_f64);
    format!("p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, max {max:.1?}")
}

fn state(sample: &Sample) -> String {
    let (now, memory) = (&sample.now, sample.memory_bytes >> 20);
    let (waiting, running) = (now.waiting, now.running);
    format!("{waiting} wait, {running} run; breaker {}; tier {}; {memory} MiB", now.breaker, now.tier)
}

/// A share of a full bar; what is not nothing can be seen.
fn bar(share: f64) -> char {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
    let height = (share * 8.0).ceil().clamp(0.0, 8.0) as usize;
    BARS[height]
}

fn gauge(share: f64, width: u32) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width")]
    let full = (share.clamp(0.0, 1.0) * f64::from(width)) as usize;
    "█".repeat(full) + &"░".repeat(width as usize - full)
}
