//! Results on paper: a row for each contender, and no line longer than a hundred columns.

use crate::harness::{Better, Figure, Results, Summary};

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

fn cell(results: &Results, column: usize, Summary { min, median, max }: Summary) -> String {
    #[expect(clippy::float_cmp, reason = "whether the samples are the same number throughout")]
    let spread = if min == max { String::new() } else { format!("({}–{})", digits(min), digits(max)) };
    let peer = results.rows.iter().find(|(name, _)| *name == results.peer);
    let ratio = peer.map(|(_, summaries)| ratio(results.figures[column], median, summaries[column].median));
    format!("{:>7} {spread:>11} {:>6}", digits(median), ratio.unwrap_or_default())
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
