//! Runs per second at the origin of a hot key that expires, without stampede and with it. The example `expiry` measures.

use serde_json::Value;

use super::svg::{Align, Axes, Picture, Point, duration, number, round};
use crate::process;

/// What a bar stands for, in seconds.
const BUCKET: f64 = 0.1;

pub(crate) fn picture() -> Result<String, String> {
    let line = "cargo run --release -p stampede-rs --all-features --example expiry -- --json";
    println!("$ {line}");
    let measured = serde_json::from_str(&process::output(line)?).map_err(|error| format!("`{line}`: {error}"))?;
    draw(&measured).ok_or_else(|| format!("`{line}` says something else: {measured}"))
}

fn draw(measured: &Value) -> Option<String> {
    let seconds = |of: &Value, name: &str| of[name].as_f64();
    let (without, with) = (&measured["without"], &measured["with"]);
    let (duration_s, ttl) = (seconds(measured, "duration_s")?, seconds(measured, "ttl_s")?);
    let sides = [("a cache that keeps values for their TTL", without), ("#[coalesce(ttl = \"2s\")]", with)];
    let sides: Option<Vec<_>> = sides
        .into_iter()
        .map(|(name, side)| {
            let runs: Option<Vec<f64>> = side["runs_s"].as_array()?.iter().map(Value::as_f64).collect();
            Some((name, runs?, seconds(side, "p99_s")?, seconds(side, "max_s")?))
        })
        .collect();
    let sides = sides?;
    let most = sides.iter().flat_map(|(_, runs, ..)| bars(runs)).map(|(_, rate)| rate).fold(1.0, f64::max);

    let head = "A hot key expires: how often does the query run?";
    let setting = format!(
        "{} calls per second for one key, a query of {}, a TTL of {}",
        measured["calls_per_second"].as_u64()?,
        duration(seconds(measured, "query_s")?),
        duration(ttl)
    );
    let totals: Vec<_> = sides.iter().map(|(name, runs, ..)| format!("{name}: {} runs", runs.len())).collect();
    let mut picture = Picture::new(860.0, 452.0, head, &format!("{setting}. {}.", totals.join("; ")));
    picture.text((20.0, 30.0), Align::Start, "head", head);
    picture.text((20.0, 50.0), Align::Start, "faint", &setting);
    for (n, (name, runs, p99, slowest)) in sides.iter().enumerate() {
        let top = if n == 0 { 64.0 } else { 250.0 };
        picture.panel(12.0, top, 836.0, 176.0);
        picture.text((26.0, top + 22.0), Align::Start, "title", name);
        let sum =
            format!("{} runs; 99 % of calls within {}, the slowest {}", runs.len(), duration(*p99), duration(*slowest));
        picture.text((834.0, top + 22.0), Align::End, "", &sum);
        let to = round(most);
        let axes = Axes { left: 70.0, top: top + 54.0, width: 752.0, height: 88.0, seconds: duration_s, most: to };
        let ticks = [0.0, to / 2.0, to].map(|tick| (tick, number(tick)));
        picture.text((26.0, top + 41.0), Align::Start, "faint", "runs per second");
        axes.draw(&mut picture, &ticks, 1);
        let bars = bars(runs);
        axes.bars(&mut picture, &bars, BUCKET);
        for (end, rate, runs) in bursts(&bars) {
            let label = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
            let y = (axes.y(rate) + 11.0).min(axes.y(0.0) - 5.0);
            let (x, align) = if end < duration_s * 0.95 {
                (axes.x(end) + 4.0, Align::Start)
            } else {
                (axes.x(end - BUCKET) - 4.0, Align::End)
            };
            picture.text((x, y), align, "", &label);
        }
    }
    picture.text((20.0, 443.0), Align::Start, "faint", "Measured by `cargo xtask pictures`; a bar is 100 ms.");
    Some(picture.finish())
}

/// How many runs began in each bucket, per second.
fn bars(runs: &[f64]) -> Vec<Point> {
    let mut bars: Vec<Point> = Vec::new();
    for run in runs {
        let second = (run / BUCKET).floor() * BUCKET;
        match bars.last_mut() {
            Some((there, rate)) if (*there - second).abs() < BUCKET / 2.0 => *rate += 1.0 / BUCKET,
            _ => bars.push((second, 1.0 / BUCKET)),
        }
    }
    bars
}

/// Bars that are neighbours: the second at which they end, the highest rate, and the runs of all.
fn bursts(bars: &[Point]) -> Vec<(f64, f64, u32)> {
    let neighbours = |one: &Point, other: &Point| other.0 - one.0 < 1.5 * BUCKET;
    bars.chunk_by(neighbours)
        .map(|burst| {
            let end = burst.last().map_or(0.0, |(second, _)| second + BUCKET);
            let highest = burst.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of counts")]
            let runs = burst.iter().map(|(_, rate)| (rate * BUCKET).round() as u32).sum();
            (end, highest, runs)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bars, bursts, draw};

    #[test]
    fn runs_are_counted_by_bucket_and_burst() {
        let bars = bars(&[0.01, 0.02, 0.09, 0.11, 2.05]);
        assert_eq!(bars.iter().map(|(_, rate)| rate.round()).collect::<Vec<_>>(), [30.0, 10.0, 10.0]);
        let bursts: Vec<_> =
            bursts(&bars).iter().map(|(end, rate, runs)| (format!("{end:.1}"), format!("{rate:.0}"), *runs)).collect();
        assert_eq!(bursts, [("0.2".to_owned(), "30".to_owned(), 4), ("2.1".to_owned(), "10".to_owned(), 1)]);
    }

    #[test]
    fn the_picture_shows_what_was_measured() {
        let side = |runs: &[f64]| json!({ "runs_s": runs, "p99_s": 0.1, "max_s": 0.25 });
        let measured = json!({
            "duration_s": 5.0, "ttl_s": 2.0, "query_s": 0.021, "calls_per_second": 1000,
            "without": side(&[0.01, 0.02, 0.03, 2.01]), "with": side(&[0.01]),
        });
        let svg = draw(&measured).expect("complete");
        for text in
            ["1000 calls per second", "a query of 21 ms", ">3 runs<", ">1 run<", "4 runs; 99 % of calls within 100 ms"]
        {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(draw(&json!({})).is_none());
    }
}
