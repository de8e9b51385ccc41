//! Rounds, and what remains of them.

/// What is measured, of whom, and how often.
pub(crate) struct Measure<'m> {
    pub(crate) title: &'static str,
    pub(crate) figures: Vec<Figure>,
    /// Whom the ratios refer to.
    pub(crate) peer: &'static str,
    pub(crate) rounds: usize,
    pub(crate) contenders: Vec<Contender<'m>>,
    pub(crate) targets: Vec<Target>,
}

/// What one of the contenders, ours, is to reach.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) label: &'static str,
    pub(crate) whose: &'static str,
    /// The column.
    pub(crate) figure: usize,
    pub(crate) limit: Limit,
}

/// How good a figure is to be, at least. Ratios are ours to the peer's.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Ratio(&'static str, f64),
    Value(f64),
    /// This far from the peer's, on the side that is worse.
    Within(&'static str, f64),
}

impl Target {
    pub(crate) const fn new(label: &'static str, whose: &'static str, figure: usize, limit: Limit) -> Self {
        Self { label, whose, figure, limit }
    }
}

/// A column of figures.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) better: Better,
    typical: Typical,
}

/// Which of the samples stands for all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typical {
    Median,
    /// The quartile on the better side.
    Undisturbed,
}

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Figure {
    pub(crate) const fn lower(name: &'static str) -> Self {
        Self { name, better: Better::Lower, typical: Typical::Median }
    }

    pub(crate) const fn higher(name: &'static str) -> Self {
        Self { name, better: Better::Higher, typical: Typical::Median }
    }

    /// By the quartile on the better side, for what the machine can only make worse. A virtual machine may stand still for
    /// milliseconds; whoever has the turn pays for it, and in percentiles near the top all of it shows. Where that happens
    /// in about half of the rounds, the median is a matter of luck. A quarter of them is undisturbed more often than not,
    /// and so is the quartile; and unlike the best round, it is not the luck of one.
    pub(crate) const fn undisturbed(self) -> Self {
        Self { typical: Typical::Undisturbed, ..self }
    }
}

/// One who is measured.
pub(crate) struct Contender<'c> {
    name: &'static str,
    /// Takes part in a round: gives one sample for each figure.
    round: Box<dyn FnMut() -> Vec<f64> + 'c>,
}

impl<'c> Contender<'c> {
    pub(crate) fn new(name: &'static str, round: impl FnMut() -> Vec<f64> + 'c) -> Self {
        Self { name, round: Box::new(round) }
    }
}

/// What a measure came to.
pub(crate) struct Results {
    pub(crate) title: &'static str,
    pub(crate) figures: Vec<Figure>,
    pub(crate) peer: &'static str,
    /// One for each contender, with a summary for each figure.
    pub(crate) rows: Vec<(&'static str, Vec<Summary>)>,
    pub(crate) targets: Vec<Target>,
}

/// The samples of one figure in brief.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) typical: f64,
    pub(crate) max: f64,
}

impl Summary {
    fn of(mut samples: Vec<f64>, figure: Figure) -> Self {
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        let typical = match (figure.typical, figure.better) {
            (Typical::Median, _) => samples.len() / 2,
            (Typical::Undisturbed, Better::Lower) => last / 4,
            (Typical::Undisturbed, Better::Higher) => last - last / 4,
        };
        Self { min: samples[0], typical: samples[typical], max: samples[last] }
    }
}

impl Measure<'_> {
    /// Takes the rounds.
    pub(crate) fn run(mut self) -> Results {
        let turns = self.contenders.len();
        let mut samples = vec![vec![Vec::with_capacity(self.rounds); self.figures.len()]; turns];
        for round in 0..self.rounds {
            for turn in 0..turns {
                let turn = (round + turn) % turns;
                let figures = (self.contenders[turn].round)();
                for (samples, sample) in samples[turn].iter_mut().zip(figures) {
                    samples.push(sample);
                }
            }
        }
        let names = self.contenders.iter().map(|contender| contender.name);
        let Self { title, figures, peer, targets, .. } = self;
        let summary = |samples: Vec<_>| samples.into_iter().zip(&figures).map(|(of, figure)| Summary::of(of, *figure));
        let summaries: Vec<_> = samples.into_iter().map(|samples| summary(samples).collect()).collect();
        Results { title, figures, peer, rows: names.zip(summaries).collect(), targets }
    }
}
