//! Results on paper: a row for each contender, and no line longer than a hundred columns.

use crate::harness::{Better, Figure, Limit, Results, Summary, Target};

/// How many figures stand side by side.
const COLUMNS: usize = 3;

/// Prints a table, or several if there are many figures.
pub(crate) fn print(results: &Results) {
    println!("\n{} (ratios to {})", results.title, results.peer);
    for first in (0..results.figures.len()).step_by(COLUMNS) {
        let columns = first..results.figures.len().min(first + COLUMNS);
        let names = results.figures[columns.clone()].iter().map(|figure| format!("{:>26}", figure.name));
        println!("{:22}{}", "", names.collect::<String>());
        for (name, summaries) in &results.rows {
            let cells = columns.clone().map(|column| cell(results, column, summaries[column]));
            println!("{name:22}{}", cells.collect::<String>());
        }
    }
}

/// Prints what was to be reached, and whether it was.
pub(crate) fn print_targets(all: &[Results]) {
    println!(
        "\n{:5}{:48}{:>8} {:>15}{:>8}{:>7}  {:10}",
        "", "target", "figure", "(min–max)", "peer", "ratio", "wanted"
    );
    for results in all {
        for target in &results.targets {
            println!("{}", verdict(results, *target).unwrap_or_default());
        }
    }
}

fn verdict(results: &Results, Target { label, whose, figure, limit }: Target) -> Option<String> {
    let of = |whose| results.rows.iter().find(|(name, _)| *name == whose).map(|(_, summaries)| summaries[figure]);
    let Summary { min, typical, max } = of(whose)?;
    let Figure { name, better, .. } = results.figures[figure];
    let (peer, own, wanted) = match limit {
        Limit::Ratio(peer, wanted) => (Some(of(peer)?.typical), typical / of(peer)?.typical, wanted),
        Limit::Value(wanted) => (None, typical, wanted),
        Limit::Within(peer, points) => {
            let (peer, sign) = (of(peer)?.typical, if better == Better::Lower { 1.0 } else { -1.0 });
            (Some(peer), typical, peer + sign * points)
        }
    };
    let (sign, is_met) = match better {
        Better::Lower => ("≤", own <= wanted),
        Better::Higher => ("≥", own >= wanted),
    };
    let ratio = peer.map_or(String::new(), |peer| format!("{:.2}×", typical / peer));
    let title = results.title.split(':').next().unwrap_or_default();
    Some(format!(
        "{label:5}{:48}{:>8} {:>15}{:>8}{ratio:>7}  {sign} {:6} {}",
        format!("{title}, {name}"),
        digits(typical),
        format!("({}–{})", digits(min), digits(max)),
        peer.map_or(String::new(), digits),
        digits(wanted),
        if is_met { "pass" } else { "FAIL" },
    ))
}

fn cell(results: &Results, column: usize, Summary { min, typical, max }: Summary) -> String {
    #[expect(clippy::float_cmp, reason = "whether the samples are the same number throughout")]
    let spread = if min == max { String::new() } else { format!("({}–{})", digits(min), digits(max)) };
    let peer = results.rows.iter().find(|(name, _)| *name == results.peer);
    let ratio = peer.map(|(_, summaries)| ratio(results.figures[column], typical, summaries[column].typical));
    format!("{:>7} {spread:>11} {:>6}", digits(typical), ratio.unwrap_or_default())
}

fn ratio(figure: Figure, own: f64, peer: f64) -> String {
    let ratio = match figure.better {
        Better::Lower => own / peer,
        Better::Higher => peer / own,
    };
    if ratio.is_finite() { format!("{}×", digits(ratio)) } else { "–".to_owned() }
}

/// Three significant digits, or four.
fn digits(figure: f64) -> String {
    match figure {
        0.0 => "0".to_owned(),
        ..9.995 => format!("{figure:.2}"),
        ..99.95 => format!("{figure:.1}"),
        ..9999.5 => format!("{figure:.0}"),
        _ => format!("{:.0}k", figure / 1e3),
    }
}
