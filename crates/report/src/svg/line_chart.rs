//! Lines over training tokens, each labeled at its end, with reference levels.

use std::fmt::Write;

use super::scale::{Scale, extent};
use super::{Drawing, WIDTH, coordinate, escape, shortened, spread, text_width};
use crate::numbers;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// One of the style sheet's colors and dashes, by index.
    Color(usize),
    /// Gray, for what is there to compare with.
    Quiet,
    /// Broad and pale, to lie under another line.
    Broad,
}

impl Style {
    pub(super) fn class(self) -> String {
        match self {
            Self::Color(index) => format!("c{}", index % super::COLORS),
            Self::Quiet => "quiet".to_owned(),
            Self::Broad => "broad".to_owned(),
        }
    }
}

/// One line.
pub(crate) struct Line {
    /// Shown at the line's end.
    pub name: String,
    pub style: Style,
    /// By rising first coordinate.
    pub points: Vec<(f64, f64)>,
    /// Lowest and highest value around each point, drawn as a pale band; empty for none.
    pub band: Vec<(f64, f64)>,
    /// Whether each point gets a dot that tells its value.
    pub dots: bool,
    /// Whether the label shows the last value too.
    pub value: bool,
}

/// A level to compare with, drawn as a dotted line across.
pub(crate) struct Reference {
    pub name: String,
    pub value: f64,
}

/// A chart of lines.
pub(crate) struct LineChart {
    /// Unique on the page; letters, digits and hyphens.
    pub id: String,
    /// What it shows, in words.
    pub label: String,
    pub height: f64,
    pub lines: Vec<Line>,
    pub references: Vec<Reference>,
    /// Values above are cut off, to show what is below in detail.
    pub ceiling: Option<f64>,
    /// Whether 0 belongs to the picture.
    pub zero: bool,
}

const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const LABEL_GAP: f64 = 14.5;

struct Label {
    text: String,
    class: String,
    at: f64,
}

impl LineChart {
    /// The chart as SVG; none without a point to draw. `x_format` words the ticks of the horizontal axis.
    pub fn draw(&self, x_format: impl Fn(f64) -> String) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let (x_low, x_high) = extent(points().map(|point| point.0))?;
        let cut = |value: &f64| self.ceiling.is_none_or(|ceiling| *value <= ceiling);
        let bands = self.lines.iter().flat_map(|line| &line.band).flat_map(|band| [band.0, band.1]);
        let values = points().map(|point| point.1).chain(bands).filter(cut);
        let levels = self.references.iter().map(|reference| reference.value).chain(self.zero.then_some(0.0));
        let (y_low, y_high) = extent(values.chain(levels))?;

        let labels_text: Vec<String> = self.lines.iter().map(label_text).collect();
        let references_text: Vec<String> = self
            .references
            .iter()
            .map(|r| format!("{} {}", shortened(&r.name, 90.0), numbers::nats(r.value)))
            .collect();
        let widest = labels_text.iter().chain(&references_text).map(|text| text_width(text)).fold(30.0, f64::max);
        let ticks = if self.height < 150.0 { 2 } else { 5 };
        let bottom = self.height - BOTTOM;
        let y = Scale::new(y_low, y_high, bottom, TOP).padded();
        let y_words = |value: f64| numbers::fixed(value, y.tick_decimals(ticks));
        let left = y.ticks(ticks).into_iter().map(|tick| text_width(&y_words(tick))).fold(20.0, f64::max) + 8.0;
        let right = WIDTH - (widest + 14.0).min(WIDTH * 0.4);
        let x = Scale::new(x_low.min(0.0), x_high, left, right);

        let mut drawing = Drawing::new(self.height, &self.label);
        drawing.push(format_args!(
            "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>",
            coordinate(left),
            coordinate(TOP - 4.0),
            coordinate(right - left + 4.0),
            coordinate(bottom - TOP + 8.0),
            id = self.id
        ));
        for tick in y.ticks(ticks) {
            let class = if tick == 0.0 && self.zero { "axis" } else { "grid" };
            drawing.line((left, y.at(tick)), (right, y.at(tick)), class);
            drawing.text(left - 6.0, y.at(tick) + 4.0, "tick end", &y_words(tick));
        }
        horizontal_axis(&mut drawing, &x, (left, right), bottom, x_format);

        let mut labels = Vec::new();
        for (reference, text) in self.references.iter().zip(references_text) {
            let at = y.at(reference.value);
            drawing.line((left, at), (right, at), "reference");
            labels.push(Label { text, class: "quiet".into(), at });
        }
        drawing.push(format_args!("<g clip-path=\"url(#{})\">", self.id));
        for (line, text) in self.lines.iter().zip(labels_text) {
            draw_line(&mut drawing, line, &x, &y);
            if let Some(last) = line.points.iter().rev().find(|point| point.1.is_finite()) {
                let at = y.at(last.1).clamp(TOP, bottom);
                labels.push(Label { text, class: line.style.class(), at });
            }
        }
        drawing.push(format_args!("</g>"));
        draw_labels(&mut drawing, &labels, right, bottom);
        Some(drawing.finish())
    }
}

fn label_text(line: &Line) -> String {
    let name = shortened(&line.name, 110.0);
    match line.points.iter().rev().find(|point| point.1.is_finite()) {
        Some(last) if line.value && name.is_empty() => numbers::nats(last.1),
        Some(last) if line.value => format!("{name} {}", numbers::nats(last.1)),
        _ => name,
    }
}

/// Ticks and their words under a chart whose plot ends at `bottom`.
pub(super) fn horizontal_axis(
    drawing: &mut Drawing,
    x: &Scale,
    (left, right): (f64, f64),
    bottom: f64,
    format: impl Fn(f64) -> String,
) {
    drawing.line((left, bottom + 2.0), (right, bottom + 2.0), "axis");
    let ticks = x.ticks(if right - left > 260.0 { 5 } else { 3 });
    for tick in &ticks {
        let at = x.at(*tick);
        drawing.line((at, bottom + 2.0), (at, bottom + 6.0), "axis");
        let class = if at - left < 14.0 { "tick" } else { "tick middle" };
        let shift = if at - left < 14.0 { -2.0 } else { 0.0 };
        drawing.text(at + shift, bottom + 19.0, class, &format(*tick));
    }
}

fn draw_line(drawing: &mut Drawing, line: &Line, x: &Scale, y: &Scale) {
    let class = line.style.class();
    if line.band.len() == line.points.len() && !line.band.is_empty() {
        let upper = line.points.iter().zip(&line.band).map(|(point, band)| (point.0, band.1));
        let lower = line.points.iter().zip(&line.band).rev().map(|(point, band)| (point.0, band.0));
        let outline = path(upper.chain(lower), x, y);
        drawing.push(format_args!("<path class=\"band {class}\" d=\"{outline}Z\"/>"));
    }
    let trace = path(line.points.iter().copied(), x, y);
    drawing
        .push(format_args!("<path class=\"line {class}\" d=\"{trace}\"><title>{}</title></path>", escape(&line.name)));
    if line.dots {
        for point in line.points.iter().filter(|point| point.1.is_finite()) {
            drawing.push(format_args!(
                "<circle class=\"dot {class}\" cx=\"{}\" cy=\"{}\" r=\"2.4\"><title>{}: {} at {}</title></circle>",
                coordinate(x.at(point.0)),
                coordinate(y.at(point.1)),
                escape(&line.name),
                numbers::nats(point.1),
                numbers::compact(point.0)
            ));
        }
    }
}

/// Path commands through `points`, broken where a value is not finite.
fn path(points: impl Iterator<Item = (f64, f64)>, x: &Scale, y: &Scale) -> String {
    let mut commands = String::new();
    let mut pen_down = false;
    for (at, value) in points {
        if !at.is_finite() || !value.is_finite() {
            pen_down = false;
            continue;
        }
        let letter = if pen_down { 'L' } else { 'M' };
        let (at, value) = (coordinate(x.at(at)), coordinate(y.at(value).clamp(-2000.0, 4000.0)));
        write!(commands, "{letter}{at} {value}").expect("writing to a string succeeds");
        pen_down = true;
    }
    commands
}

fn draw_labels(drawing: &mut Drawing, labels: &[Label], right: f64, bottom: f64) {
    let mut positions: Vec<f64> = labels.iter().map(|label| label.at).collect();
    spread(&mut positions, LABEL_GAP, TOP, bottom);
    for (label, at) in labels.iter().zip(positions) {
        if (at - label.at).abs() > 3.0 {
            drawing.line((right + 1.0, label.at), (right + 8.0, at), "leader");
        }
        drawing.text(right + 10.0, at + 4.0, &format!("label {}", label.class), &label.text);
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineChart, Reference, Style};

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            id: "test".into(),
            label: "a <chart>".into(),
            height: 200.0,
            lines: vec![Line {
                name: "<prose>".into(),
                style: Style::Color(9),
                points,
                band: Vec::new(),
                dots: true,
                value: true,
            }],
            references: vec![Reference { name: "unigram".into(), value: 6.5 }],
            ceiling: None,
            zero: false,
        }
    }

    #[test]
    fn draws_what_is_finite_and_escapes_names() {
        let svg = chart(vec![(0.0, 8.0), (1.0, f64::NAN), (2.0, 4.0)]).draw(|x| format!("{x}")).unwrap();
        assert!(svg.contains("&lt;prose&gt; 4.000") && svg.contains("a &lt;chart&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("<prose>"));
        assert!(svg.contains("unigram 6.500"));
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(Vec::new()).draw(|x| format!("{x}")).is_none());
        assert!(chart(vec![(f64::NAN, f64::NAN)]).draw(|x| format!("{x}")).is_none());
        assert!(chart(vec![(5.0, 1.0)]).draw(|x| format!("{x}")).is_some(), "one point draws");
    }
}
