//! When each line of the books helped or hurt: one strip a line, time to the right, color by sign and size. Cells that
//! hurt carry a stroke besides their color, so that the picture survives gray paper and every kind of eye.

use super::line_chart::horizontal_axis;
use super::scale::Scale;
use super::{Drawing, WIDTH, coordinate, escape, shortened, text_width};
use crate::numbers;

/// One strip.
pub(crate) struct StripRow {
    /// Shown at the left.
    pub name: String,
    /// One a bin; those that are not finite stay empty.
    pub values: Vec<f64>,
}

/// Strips under each other over common bins.
pub(crate) struct Strip {
    /// What it shows, in words.
    pub label: String,
    /// Where bins begin and end on the horizontal axis: one more than there are bins.
    pub edges: Vec<f64>,
    pub rows: Vec<StripRow>,
    /// Unit of the values, for tooltips and the key.
    pub unit: String,
}

const TOP: f64 = 4.0;
const ROW: f64 = 22.0;
const BAR: f64 = 18.0;
const RIGHT: f64 = 16.0;
const KEY: f64 = 38.0;

/// Small values stay visible: opacity grows with this power of the share of the largest.
const COMPRESSION: f64 = 0.36;
/// Opacity of the smallest value that is not zero.
const FAINTEST: f64 = 0.08;

impl Strip {
    /// The picture as SVG; none without a cell.
    pub fn draw(&self, x_format: impl Fn(f64) -> String) -> Option<String> {
        let (first, last) = (*self.edges.first()?, *self.edges.last()?);
        if self.edges.len() < 2 || self.rows.is_empty() {
            return None;
        }
        let finite = self.rows.iter().flat_map(|row| row.values.iter().copied()).filter(|value| value.is_finite());
        let largest = finite.fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let names: Vec<String> = self.rows.iter().map(|row| shortened(&row.name, 116.0)).collect();
        let left = names.iter().map(|name| text_width(name)).fold(30.0, f64::max) + 10.0;
        let right = WIDTH - RIGHT;
        let bottom = TOP + ROW * self.rows.len() as f64;
        let x = Scale::new(first, last, left, right);
        let mut drawing = Drawing::new(bottom + 26.0 + KEY, &self.label);
        for (index, (row, name)) in self.rows.iter().zip(&names).enumerate() {
            let y = TOP + ROW * index as f64;
            drawing.text(left - 8.0, y + 14.0, "name end", name);
            drawing.push(format_args!(
                "<rect class=\"bed\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{BAR}\"/>",
                coordinate(left),
                coordinate(y),
                coordinate(right - left)
            ));
            self.cells(&mut drawing, row, &x, y, largest);
        }
        horizontal_axis(&mut drawing, &x, (left, right), bottom, x_format);
        self.key(&mut drawing, (left, right), bottom + 34.0, largest);
        Some(drawing.finish())
    }

    fn cells(&self, drawing: &mut Drawing, row: &StripRow, x: &Scale, y: f64, largest: f64) {
        let mut strokes = String::new();
        for (value, edges) in row.values.iter().zip(self.edges.windows(2)) {
            if !value.is_finite() {
                continue;
            }
            let (from, to) = (x.at(edges[0]), x.at(edges[1]));
            cell(drawing, (from, y, to - from, BAR), *value, largest, |drawing| {
                drawing.push(format_args!(
                    "<title>{}, {} to {}: {} {}</title>",
                    escape(&row.name),
                    numbers::compact(edges[0]),
                    numbers::compact(edges[1]),
                    numbers::nats(*value),
                    escape(&self.unit)
                ));
            });
            if *value < 0.0 {
                stroke(&mut strokes, from, to, y + BAR / 2.0);
            }
        }
        if !strokes.is_empty() {
            drawing.push(format_args!("<path class=\"hurt\" d=\"{strokes}\"/>"));
        }
    }

    /// What the colors mean, from the largest harm to the largest help.
    fn key(&self, drawing: &mut Drawing, (left, right): (f64, f64), y: f64, largest: f64) {
        const SHARES: [f64; 7] = [-1.0, -0.25, -0.03, 0.0, 0.03, 0.25, 1.0];
        let width = ((right - left) * 0.5 / SHARES.len() as f64).min(26.0);
        let start = left + text_width("hurt") + 8.0;
        drawing.text(start - 6.0, y + 9.5, "tick end", "hurt");
        let mut strokes = String::new();
        for (index, share) in SHARES.iter().enumerate() {
            let from = start + width * index as f64;
            let value = share * largest.max(f64::MIN_POSITIVE);
            cell(drawing, (from, y, width, 12.0), value, largest, |drawing| {
                drawing.push(format_args!("<title>{} {}</title>", numbers::nats(value), escape(&self.unit)));
            });
            if *share < 0.0 {
                stroke(&mut strokes, from, from + width, y + 6.0);
            }
        }
        drawing.push(format_args!("<path class=\"hurt\" d=\"{strokes}\"/>"));
        let end = start + width * SHARES.len() as f64;
        drawing.text(end + 6.0, y + 9.5, "tick", &format!("helped; deepest at {}", numbers::rough(largest)));
    }
}

fn opacity(value: f64, largest: f64) -> f64 {
    if largest > 0.0 && value != 0.0 {
        FAINTEST + (1.0 - FAINTEST) * (value.abs() / largest).min(1.0).powf(COMPRESSION)
    } else {
        0.0
    }
}

fn cell(
    drawing: &mut Drawing,
    (x, y, width, height): (f64, f64, f64, f64),
    value: f64,
    largest: f64,
    title: impl FnOnce(&mut Drawing),
) {
    let class = if value < 0.0 { "negative" } else { "positive" };
    drawing.push(format_args!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\" fill-opacity=\"{:.2}\">",
        coordinate(x),
        coordinate(y),
        coordinate(width.max(0.3)),
        opacity(value, largest)
    ));
    title(drawing);
    drawing.push(format_args!("</rect>"));
}

/// Adds a short level stroke in the middle of a cell.
fn stroke(strokes: &mut String, from: f64, to: f64, y: f64) {
    use std::fmt::Write;
    let inset = ((to - from) * 0.25).min(3.0);
    write!(strokes, "M{} {}H{}", coordinate(from + inset), coordinate(y), coordinate(to - inset))
        .expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::{Strip, StripRow};

    #[test]
    fn negative_cells_are_marked_and_missing_ones_left_out() {
        let strip = Strip {
            label: "value over time".into(),
            edges: vec![0.0, 1.0, 2.0, 3.0],
            rows: vec![StripRow { name: "<i>".into(), values: vec![1.0, -0.5, f64::NAN] }],
            unit: "nats".into(),
        };
        let svg = strip.draw(|x| format!("{x}")).unwrap();
        assert_eq!(svg.matches("&lt;i&gt;,").count(), 2);
        assert!(svg.contains("class=\"hurt\"") && !svg.contains("NaN") && !svg.contains("<i>"));
    }

    #[test]
    fn all_zero_and_empty_strips() {
        let strip = |edges: Vec<f64>, values: Vec<f64>| Strip {
            label: String::new(),
            edges,
            rows: vec![StripRow { name: "a".into(), values }],
            unit: "nats".into(),
        };
        assert!(strip(vec![], vec![]).draw(|x| format!("{x}")).is_none());
        assert!(!strip(vec![0.0, 1.0], vec![0.0]).draw(|x| format!("{x}")).unwrap().contains("NaN"));
    }
}
