//! The panels of the dashboard, drawn from what a real Prometheus answers to their queries while it scrapes the load test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::prometheus::Prometheus;
use super::svg::{Align, Axes, Picture, Point, STYLES, duration, number, round};
use crate::process;

const LOAD: &str = "cargo run --release -p stampede-rs --all-features --example load -- --redis --serve 127.0.0.1:0";
/// What Grafana would put there: four times the interval at which targets are scraped.
const RATE_INTERVAL: &str = "4s";
const COLUMNS: usize = 3;
const WIDTH: f64 = 296.0;
const HEIGHT: f64 = 214.0;

/// What a panel shows.
struct Shown {
    title: String,
    unit: String,
    /// What values mean, where they are states.
    states: Vec<(f64, String)>,
    /// The highest first.
    series: Vec<(String, Vec<Point>)>,
}

pub(crate) fn picture() -> Result<String, String> {
    let observability = process::root().join("observability");
    let file = observability.join("grafana/dashboards/stampede.json");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let dashboard: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;

    println!("$ {LOAD}");
    let mut load = process::command(LOAD)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{LOAD}` does not start: {error}"))?;
    let mut lines = BufReader::new(load.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let target = lines.find_map(|line| line.split_once("http://")?.1.trim_end_matches('/').parse::<SocketAddr>().ok());
    let target = target.ok_or_else(|| format!("`{LOAD}` does not say where its page is"))?;
    thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
    let prometheus = Prometheus::start(&observability, target, "1s", str::to_owned)
        .map_err(|error| format!("`prometheus` does not start: {error}"))?;
    let start = now();
    let ended = load.wait().map_err(|error| format!("`{LOAD}`: {error}"))?;
    let end = now();
    if !ended.success() {
        // On a busy machine, say. What Prometheus has seen is true all the same.
        println!("`{LOAD}` ended with {ended}");
    }

    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Result<Vec<_>, _> = panels.iter().map(|panel| ask(&prometheus, panel, start, end)).collect();
    Ok(draw(&shown?, end - start))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn ask(prometheus: &Prometheus, panel: &Value, start: f64, end: f64) -> Result<Shown, String> {
    let defaults = &panel["fieldConfig"]["defaults"];
    let title = panel["title"].as_str().unwrap_or_default().to_owned();
    let mut series = Vec::new();
    for target in panel["targets"].as_array().into_iter().flatten() {
        let query = target["expr"].as_str().unwrap_or_default();
        let query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$cache", ".*");
        let (from, to) = (start.to_string(), end.to_string());
        let range = [("query", query.as_str()), ("start", &from), ("end", &to), ("step", "1")];
        let answer = prometheus.ask("query_range", &range).unwrap_or_default();
        let Some(found) = answer["data"]["result"].as_array() else {
            return Err(format!("{title}: Prometheus answers {answer} to {query}\n{}", prometheus.log()));
        };
        for one in found {
            let points = one["values"].as_array().into_iter().flatten();
            let point = |point: &Value| Some((point[0].as_f64()? - start, point[1].as_str()?.parse().ok()?));
            let points: Vec<Point> = points.filter_map(point).filter(|(_, value): &Point| value.is_finite()).collect();
            if !points.is_empty() {
                series.push((legend(target["legendFormat"].as_str().unwrap_or_default(), &one["metric"]), points));
            }
        }
    }
    if series.is_empty() {
        return Err(format!("{title}: no data"));
    }
    // Many counters are there before anything is counted.
    if series.iter().any(|(_, points)| highest(points) > 0.0) {
        series.retain(|(_, points)| highest(points) > 0.0);
    }
    series.sort_by(|one, other| highest(&other.1).total_cmp(&highest(&one.1)));
    let states = defaults["mappings"][0]["options"].as_object().into_iter().flatten();
    let states = states.filter_map(|(value, state)| Some((value.parse().ok()?, state["text"].as_str()?.to_owned())));
    let unit = defaults["unit"].as_str().unwrap_or_default().to_owned();
    Ok(Shown { title, unit, states: states.collect(), series })
}

/// What Grafana calls a series: the labels' values in their places.
fn legend(format: &str, labels: &Value) -> String {
    let mut name = format.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    name
}

fn highest(points: &[Point]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn draw(panels: &[Shown], seconds: f64) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let head = "The dashboard's panels, drawn from Prometheus's answers to the dashboard's queries";
    let what = format!(
        "A run of the load test, scraped each second; rates over four seconds. \
         Of a panel, the {STYLES} highest series; those that stay 0 are left out."
    );
    let width = span(COLUMNS) * (WIDTH + 8.0) + 16.0;
    let mut picture = Picture::new(width, 70.0 + span(rows) * (HEIGHT + 8.0), head, &what);
    picture.text((16.0, 30.0), Align::Start, "head", head);
    picture.text((16.0, 50.0), Align::Start, "faint", &what);
    for (n, panel) in panels.iter().enumerate() {
        let left = 12.0 + span(n % COLUMNS) * (WIDTH + 8.0);
        let top = 64.0 + span(n / COLUMNS) * (HEIGHT + 8.0);
        draw_panel(&mut picture, panel, (left, top), seconds);
    }
    picture.finish()
}

fn draw_panel(picture: &mut Picture, panel: &Shown, (left, top): (f64, f64), seconds: f64) {
    let unit = match panel.unit.as_str() {
        "reqps" => "calls/s",
        "ops" => "per second",
        _ => "",
    };
    picture.panel(left, top, WIDTH, HEIGHT);
    picture.text((left + 12.0, top + 21.0), Align::Start, "title", &panel.title);
    picture.text((left + WIDTH - 12.0, top + 21.0), Align::End, "faint", unit);
    let (shown, more) = panel.series.split_at(panel.series.len().min(STYLES));
    let most = shown.iter().map(|(_, points)| highest(points)).fold(0.0, f64::max);
    let most = panel.states.iter().map(|(value, _)| *value).fold(if most > 0.0 { round(most) } else { 1.0 }, f64::max);
    let axes = Axes { left: left + 70.0, top: top + 36.0, width: WIDTH - 92.0, height: 84.0, seconds, most };
    let label = |value| if panel.unit == "s" { duration(value) } else { number(value) };
    let numbers = || [0.0, most / 2.0, most].map(|value| (value, label(value))).to_vec();
    let ticks = if panel.states.is_empty() { numbers() } else { panel.states.clone() };
    axes.draw(picture, &ticks, 30);
    let columns = if shown.len() > 3 { 2 } else { 1 };
    let room = (WIDTH - 24.0) / span(columns);
    for (style, (name, points)) in shown.iter().enumerate() {
        axes.line(picture, style, points, 1.5);
        let at = (left + 12.0 + room * span(style % columns), top + 158.0 + 17.0 * span(style / columns));
        picture.key((at.0, at.1 - 4.0), style);
        let is_last = style + 1 == STYLES && !more.is_empty();
        let more = if is_last { format!(", {} more", more.len()) } else { String::new() };
        let letters = if columns == 1 { 38 } else { 17 };
        picture.text((at.0 + 28.0, at.1), Align::Start, "", &(shortened(name, letters - more.len()) + &more));
    }
}

fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    name.chars().take(letters - 1).chain(['…']).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a handful of panels")]
fn span(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Shown, draw, legend};

    #[test]
    fn legends_are_grafanas() {
        let labels = json!({ "cache": "users", "result": "ok" });
        assert_eq!(legend("{{cache}} {{result}}/s", &labels), "users ok/s");
    }

    #[test]
    fn panels_have_title_unit_and_legend() {
        let series = (0..8).map(|n| (format!("cache number {n}"), vec![(0.0, 1.0), (1.0, 0.02)])).collect();
        let panel = Shown { title: "Run duration".into(), unit: "s".into(), states: Vec::new(), series };
        let states = vec![(0.0, "closed".into()), (2.0, "open".into())];
        let state =
            Shown { states, unit: String::new(), series: vec![("a".into(), vec![(0.0, 2.0)])], title: "B".into() };
        let svg = draw(&[panel, state], 60.0);
        for text in [">Run duration<", ">500 ms<", ">cache number 0<", ">cache nu…, 2 more<", ">open<", ">60 s<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
