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
}

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Figure {
    pub(crate) const fn lower(name: &'static str) -> Self {
        Self { name, better: Better::Lower }
    }

    pub(crate) const fn higher(name: &'static str) -> Self {
        Self { name, better: Better::Higher }
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
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Summary {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { min: samples[0], median: samples[samples.len() / 2], max: samples[samples.len() - 1] }
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
        let summaries = samples.into_iter().map(|figures| figures.into_iter().map(Summary::of).collect());
        let Self { title, figures, peer, targets, .. } = self;
        Results { title, figures, peer, rows: names.zip(summaries).collect(), targets }
    }
}
