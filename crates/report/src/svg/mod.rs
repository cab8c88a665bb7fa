//! Drawing: charts as inline SVG whose colors come from the page's style sheet, so that one drawing serves light, dark
//! and paper. A chart is drawn at [`WIDTH`] units and scaled by the page.

mod bars;
mod curve_chart;
mod forest;
mod line_chart;
mod scale;
mod strip;

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

pub(crate) use bars::{Bar, BarRow, bars};
pub(crate) use curve_chart::{Axis, Curve, CurveChart, Dot};
pub(crate) use forest::{ForestRow, forest};
pub(crate) use line_chart::{Line, LineChart, Reference, Style};
pub(crate) use strip::{Strip, StripRow};

/// Width of every drawing, in its own units.
pub(crate) const WIDTH: f64 = 480.0;

/// Distinct colors and dashes in the style sheet; series beyond share them.
pub(crate) const COLORS: usize = 8;

/// Text made safe for HTML and SVG, in element content and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A drawing under construction.
struct Drawing {
    markup: String,
}

impl Drawing {
    /// An empty drawing of `height` units; `label` says in words what it shows, for those who cannot see it.
    fn new(height: f64, label: &str) -> Self {
        let mut drawing = Self { markup: String::new() };
        drawing.push(format_args!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">",
            coordinate(height),
            escape(label)
        ));
        drawing
    }

    /// Adds markup as it is.
    fn push(&mut self, markup: std::fmt::Arguments<'_>) {
        self.markup.write_fmt(markup).expect("writing to a string succeeds");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let (x, y) = (coordinate(x), coordinate(y));
        self.push(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(text)));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.push(format_args!(
            "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>",
            coordinate(from.0),
            coordinate(from.1),
            coordinate(to.0),
            coordinate(to.1)
        ));
    }

    fn finish(mut self) -> String {
        self.markup.push_str("</svg>");
        self.markup
    }
}

/// A coordinate with one decimal at most.
fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Roughly how many units wide `text` is in a chart's type.
fn text_width(text: &str) -> f64 {
    text.chars().map(|c| if c.width().unwrap_or(1) > 1 { 13.0 } else { 7.4 }).sum()
}

/// `text`, cut with an ellipsis to about `units` units.
fn shortened(text: &str, units: f64) -> String {
    if text_width(text) <= units {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if text_width(&short) + 20.0 > units {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

/// Moves label positions apart to at least `gap`, in order, within `low..=high` where there is room.
fn spread(positions: &mut [f64], gap: f64, low: f64, high: f64) {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|left, right| positions[*left].total_cmp(&positions[*right]));
    let mut floor = low;
    for index in &order {
        positions[*index] = positions[*index].max(floor);
        floor = positions[*index] + gap;
    }
    let mut ceiling = high;
    for index in order.iter().rev() {
        positions[*index] = positions[*index].min(ceiling);
        ceiling = positions[*index] - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::{coordinate, escape, shortened, spread};

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b onclick='x'>\"&"), "&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;");
    }

    #[test]
    fn labels_keep_their_distance() {
        let mut positions = [100.0, 98.0, 99.0, 10.0];
        spread(&mut positions, 14.0, 0.0, 110.0);
        let mut sorted = positions;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 14.0 - 1e-9), "{positions:?}");
        assert!(sorted[3] <= 110.0);
        assert!(positions[1] < positions[2] && positions[2] < positions[0], "order is kept");
    }

    #[test]
    fn long_and_wide_names_are_cut() {
        assert_eq!(shortened("code", 60.0), "code");
        assert!(shortened("an-extraordinarily-long-source", 90.0).chars().count() < 13);
        assert!(shortened("很长的中文来源名称一二三四五", 90.0).ends_with('…'));
        assert_eq!(coordinate(12.0), "12");
        assert_eq!(coordinate(12.34), "12.3");
    }
}
