//! Charts as SVG: time to the right, quantities upwards. As little as the pictures need: no library draws text that follows
//! the reader's colours, and dashes that tell lines apart without them.

use std::fmt::Write;

/// The patterns of lines, by the number of their series; there is a colour for each, too.
pub(crate) const STYLES: usize = 6;

const CSS: &str = "
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1b1f24 }
.head { font-size: 16px; font-weight: 600 } .title { font-size: 13px; font-weight: 600 } .faint { fill: #57606a }
.back { fill: #fff } .panel { fill: #f6f8fa; stroke: #d0d7de } .rule { stroke: #d0d7de }
.line { fill: none; stroke-width: 1.75; stroke-linejoin: round }
.s0 { stroke: #0550ae } .s1 { stroke: #bc4c00; stroke-dasharray: 7 3 } .s2 { stroke: #6639ba; stroke-dasharray: 2 3 }
.s3 { stroke: #116329; stroke-dasharray: 10 3 2 3 } .s4 { stroke: #a40e26; stroke-dasharray: 4 2 } .s5 { stroke: #57606a; stroke-dasharray: 1 2 }
.bars { fill: #0550ae }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint { fill: #9da7b1 } .back { fill: #0d1117 } .panel { fill: #161b22; stroke: #30363d } .rule { stroke: #30363d }
.s0 { stroke: #79c0ff } .s1 { stroke: #ffa657 } .s2 { stroke: #d2a8ff } .s3 { stroke: #7ee787 } .s4 { stroke: #ffa198 } .s5 { stroke: #9da7b1 }
.bars { fill: #79c0ff }
}
";

/// A point in time, in seconds, and what was there.
pub(crate) type Point = (f64, f64);

/// A picture with a background of its own, so that it can be read on any page.
pub(crate) struct Picture {
    body: String,
    width: f64,
    height: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Align {
    Start,
    Middle,
    End,
}

impl Picture {
    /// `title` and `description` are for those who cannot see it.
    pub(crate) fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let (title, description) = (escaped(title), escaped(description));
        let body = format!(
            "<title>{title}</title>\n<desc>{description}</desc>\n<style>{CSS}</style>\n\
             <rect class=\"back\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
        );
        Self { body, width, height }
    }

    pub(crate) fn text(&mut self, at: (f64, f64), align: Align, class: &str, text: &str) {
        let anchor = match align {
            Align::Start => "",
            Align::Middle => " text-anchor=\"middle\"",
            Align::End => " text-anchor=\"end\"",
        };
        let text = escaped(text);
        self.write(format_args!("<text x=\"{:.1}\" y=\"{:.1}\"{anchor} class=\"{class}\">{text}</text>", at.0, at.1));
    }

    pub(crate) fn panel(&mut self, x: f64, y: f64, width: f64, height: f64) {
        self.write(format_args!(
            "<rect class=\"panel\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        ));
    }

    /// A short piece of a series' line, for the legend.
    pub(crate) fn key(&mut self, at: (f64, f64), style: usize) {
        self.write(format_args!("<path class=\"line s{style}\" d=\"M{:.1} {:.1}h22\"/>", at.0, at.1));
    }

    pub(crate) fn finish(self) -> String {
        let Self { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\">\n{body}</svg>\n"
        )
    }

    fn write(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes all");
    }
}

/// Where a chart is drawn: the corner at the left and top, and what the ends of its axes stand for.
pub(crate) struct Axes {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) seconds: f64,
    pub(crate) most: f64,
}

impl Axes {
    pub(crate) fn x(&self, second: f64) -> f64 {
        self.left + self.width * second / self.seconds
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - value / self.most)
    }

    /// Rules and their labels, and the seconds below.
    pub(crate) fn draw(&self, picture: &mut Picture, ticks: &[(f64, String)], every: u32) {
        for (value, label) in ticks {
            let (y, right) = (self.y(*value), self.left + self.width);
            picture.write(format_args!("<path class=\"rule\" d=\"M{:.1} {y:.1}H{right:.1}\"/>", self.left));
            picture.text((self.left - 6.0, y + 4.0), Align::End, "faint", label);
        }
        let ends = (0..).map(|n| n * every).take_while(|second| f64::from(*second) <= self.seconds);
        for second in ends {
            let at = (self.x(second.into()), self.top + self.height + 16.0);
            picture.text(at, Align::Middle, "faint", &format!("{second} s"));
        }
    }

    /// A line, broken where nothing is known for longer than `gap`.
    pub(crate) fn line(&self, picture: &mut Picture, style: usize, points: &[Point], gap: f64) {
        let mut path = String::new();
        let mut last = f64::NEG_INFINITY;
        for (second, value) in points {
            let how = if second - last > gap { 'M' } else { 'L' };
            write!(path, "{how}{:.1} {:.1}", self.x(*second), self.y(*value)).expect("a string takes all");
            last = *second;
        }
        picture.write(format_args!("<path class=\"line s{style}\" d=\"{path}\"/>"));
    }

    /// A bar for each point, from its second on.
    pub(crate) fn bars(&self, picture: &mut Picture, points: &[Point], seconds: f64) {
        let mut path = String::new();
        for (second, value) in points.iter().filter(|(_, value)| *value > 0.0) {
            let (x, width, y) = (self.x(*second), self.width * seconds / self.seconds, self.y(*value));
            let height = self.top + self.height - y;
            write!(path, "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z").expect("a string takes all");
        }
        picture.write(format_args!("<path class=\"bars\" d=\"{path}\"/>"));
    }
}

/// The next round number from `most` on.
pub(crate) fn round(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|top| *top >= most * 0.999).unwrap_or(most)
}

/// A number in few digits.
pub(crate) fn number(value: f64) -> String {
    match value {
        1e6.. => format!("{:.3}M", value / 1e6),
        1e4.. => format!("{:.1}k", value / 1e3),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
    .replace(".000M", "M")
    .replace(".0k", "k")
    .replace(".00", "")
}

/// A time, given in seconds, in few digits.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        1.0.. => format!("{} s", number(seconds)),
        1e-3.. => format!("{} ms", number(seconds * 1e3)),
        _ => format!("{} µs", number(seconds * 1e6)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Axes, Picture, duration, number, round};

    #[test]
    fn lines_go_where_the_numbers_say() {
        let axes = Axes { left: 100.0, top: 10.0, width: 200.0, height: 50.0, seconds: 10.0, most: 5.0 };
        let mut picture = Picture::new(400.0, 100.0, "a < b", "");
        axes.line(&mut picture, 1, &[(0.0, 0.0), (1.0, 5.0), (5.0, 2.5), (6.0, 2.5)], 1.5);
        axes.bars(&mut picture, &[(0.0, 2.5), (1.0, 0.0)], 1.0);
        let svg = picture.finish();
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
        assert!(svg.contains(r#"<path class="line s1" d="M100.0 60.0L120.0 10.0M200.0 35.0L220.0 35.0"/>"#), "{svg}");
        assert!(svg.contains(r#"<path class="bars" d="M100.0 35.0h20.0v25.0h-20.0z"/>"#), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.25, 5.0, 998.7, 12_345.0, 2e6].map(number), ["0", "0.25", "5", "999", "12.3k", "2M"]);
        assert_eq!([0.0, 2.5e-6, 0.02, 1.5].map(duration), ["0", "2.50 µs", "20 ms", "1.50 s"]);
        assert_eq!([0.03, 1.0, 1.1, 41.0, 998.0].map(|most| number(round(most))), ["0.04", "1", "2", "50", "1000"]);
    }
}
