//! Curves with bands over logarithmic or plain axes, and the runs that they were fitted to as dots.

use std::fmt::Write;

use super::line_chart::{Style, horizontal_axis};
use super::scale::{Scale, extent};
use super::{Drawing, WIDTH, coordinate, escape, shortened, spread, text_width};

/// A curve.
pub(crate) struct Curve {
    /// Shown at its end; empty for none.
    pub name: String,
    pub style: Style,
    /// By rising first coordinate.
    pub points: Vec<(f64, f64)>,
    /// Lowest and highest value around each point, drawn as a pale band; empty for none.
    pub band: Vec<(f64, f64)>,
}

/// A run.
pub(crate) struct Dot {
    pub at: (f64, f64),
    pub style: Style,
    /// What it is, told where a reader points at it.
    pub title: String,
    /// Drawn as a ring: what was not fitted to, or does not exist yet.
    pub hollow: bool,
    /// The interval that it lies in, drawn as a whisker; none for none.
    pub whisker: Option<(f64, f64)>,
}

/// How an axis counts.
pub(crate) struct Axis {
    pub logarithmic: bool,
    /// Words a number on it.
    pub words: fn(f64) -> String,
}

/// A chart of curves and dots.
pub(crate) struct CurveChart {
    /// Unique on the page; letters, digits and hyphens.
    pub id: String,
    /// What it shows, in words.
    pub label: String,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
    pub curves: Vec<Curve>,
    pub dots: Vec<Dot>,
}

const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const LABEL_GAP: f64 = 14.5;

impl Axis {
    /// Where a number stands on it, before scaling; not a number where it cannot.
    fn place(&self, number: f64) -> f64 {
        if !self.logarithmic {
            number
        } else if number > 0.0 {
            number.log10()
        } else {
            f64::NAN
        }
    }

    /// Places and words of its ticks: on a logarithmic axis whole powers of ten, with 2 and 5 between where there is room.
    fn ticks(&self, scale: &Scale, count: usize) -> Vec<(f64, String)> {
        if !self.logarithmic {
            return scale.ticks(count).into_iter().map(|tick| (tick, (self.words)(tick))).collect();
        }
        let (first, last) = (scale.low.floor() as i32, scale.high.ceil() as i32);
        let decades = scale.high - scale.low;
        let within = |steps: &[f64], every: usize| -> Vec<(f64, String)> {
            (first..=last)
                .step_by(every)
                .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
                .filter(|number| (scale.low - 1e-9..=scale.high + 1e-9).contains(&number.log10()))
                .map(|number| (number.log10(), (self.words)(number)))
                .collect()
        };
        if decades > 1.0 * count as f64 {
            return within(&[1.0], (decades / count as f64).ceil() as usize);
        }
        let ways: [&[f64]; 4] =
            [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]];
        let found = ways.iter().map(|steps| within(steps, 1)).find(|ticks| ticks.len() > count / 2);
        // Within less than that, powers of ten say nothing; equal steps do.
        found.unwrap_or_else(|| {
            let plain = Scale::new(10_f64.powf(scale.low), 10_f64.powf(scale.high), 0.0, 1.0);
            plain.ticks(count).into_iter().map(|tick| (tick.log10(), (self.words)(tick))).collect()
        })
    }
}

impl CurveChart {
    /// The chart as SVG; none without anything to draw.
    pub fn draw(&self) -> Option<String> {
        let place = |point: &(f64, f64)| (self.x.place(point.0), self.y.place(point.1));
        let all = || {
            let curves = self.curves.iter().flat_map(|curve| curve.points.iter().map(place));
            curves.chain(self.dots.iter().map(|dot| place(&dot.at)))
        };
        let (x_low, x_high) = extent(all().map(|point| point.0))?;
        let whiskers = self.dots.iter().filter_map(|dot| dot.whisker).flat_map(|(low, high)| [low, high]);
        let (y_low, y_high) = extent(all().map(|point| point.1).chain(whiskers.map(|value| self.y.place(value))))?;
        let labels: Vec<String> = self.curves.iter().map(|curve| shortened(&curve.name, 130.0)).collect();
        let widest = labels.iter().map(|text| text_width(text)).fold(12.0, f64::max);
        let bottom = self.height - BOTTOM;
        let y = Scale::new(y_low, y_high, bottom, TOP).padded();
        let y_ticks = self.y.ticks(&y, 5);
        let left = y_ticks.iter().map(|(_, words)| text_width(words)).fold(20.0, f64::max) + 8.0;
        let right = WIDTH - (widest + 14.0).min(WIDTH * 0.4);
        let x = Scale::new(x_low, x_high, left, right);

        let mut drawing = Drawing::new(self.height, &self.label);
        drawing.push(format_args!(
            "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>",
            coordinate(left - 3.0),
            coordinate(TOP - 4.0),
            coordinate(right - left + 7.0),
            coordinate(bottom - TOP + 8.0),
            id = self.id
        ));
        for (at, words) in &y_ticks {
            drawing.line((left, y.at(*at)), (right, y.at(*at)), "grid");
            drawing.text(left - 6.0, y.at(*at) + 4.0, "tick end", words);
        }
        let count = if right - left > 260.0 { 5 } else { 3 };
        if self.x.logarithmic {
            drawing.line((left, bottom + 2.0), (right, bottom + 2.0), "axis");
            for (tick, words) in self.x.ticks(&x, count) {
                let at = x.at(tick);
                drawing.line((at, bottom + 2.0), (at, bottom + 6.0), "axis");
                drawing.text(at, bottom + 19.0, if at - left < 14.0 { "tick" } else { "tick middle" }, &words);
            }
        } else {
            horizontal_axis(&mut drawing, &x, (left, right), bottom, self.x.words);
        }
        drawing.push(format_args!("<g clip-path=\"url(#{})\">", self.id));
        for curve in &self.curves {
            self.draw_curve(&mut drawing, curve, &x, &y);
        }
        for dot in &self.dots {
            self.draw_dot(&mut drawing, dot, &x, &y);
        }
        drawing.push(format_args!("</g>"));
        let ends: Vec<(usize, f64)> = self
            .curves
            .iter()
            .enumerate()
            .filter(|(index, _)| !labels[*index].is_empty())
            .filter_map(|(index, curve)| {
                let last = curve.points.iter().rev().find(|point| self.y.place(point.1).is_finite())?;
                Some((index, y.at(self.y.place(last.1)).clamp(TOP, bottom)))
            })
            .collect();
        let mut positions: Vec<f64> = ends.iter().map(|end| end.1).collect();
        spread(&mut positions, LABEL_GAP, TOP, bottom);
        for ((index, from), at) in ends.into_iter().zip(positions) {
            if (at - from).abs() > 3.0 {
                drawing.line((right + 1.0, from), (right + 8.0, at), "leader");
            }
            let class = format!("label {}", self.curves[index].style.class());
            drawing.text(right + 10.0, at + 4.0, &class, &labels[index]);
        }
        Some(drawing.finish())
    }

    fn draw_curve(&self, drawing: &mut Drawing, curve: &Curve, x: &Scale, y: &Scale) {
        let class = curve.style.class();
        if curve.band.len() == curve.points.len() && !curve.band.is_empty() {
            let upper = curve.points.iter().zip(&curve.band).map(|(point, band)| (point.0, band.1));
            let lower = curve.points.iter().zip(&curve.band).rev().map(|(point, band)| (point.0, band.0));
            let outline = self.path(upper.chain(lower), x, y);
            drawing.push(format_args!("<path class=\"band {class}\" d=\"{outline}Z\"/>"));
        }
        let trace = self.path(curve.points.iter().copied(), x, y);
        let name = escape(&curve.name);
        drawing.push(format_args!("<path class=\"line {class}\" d=\"{trace}\"><title>{name}</title></path>"));
    }

    fn draw_dot(&self, drawing: &mut Drawing, dot: &Dot, x: &Scale, y: &Scale) {
        let (at_x, at_y) = (x.at(self.x.place(dot.at.0)), y.at(self.y.place(dot.at.1)));
        if !at_x.is_finite() || !at_y.is_finite() {
            return;
        }
        let class = dot.style.class();
        if let Some((low, high)) = dot.whisker {
            let (low, high) = (y.at(self.y.place(low)), y.at(self.y.place(high)));
            if low.is_finite() && high.is_finite() {
                drawing.push(format_args!(
                    "<path class=\"whisker {class}\" d=\"M{at} {}L{at} {}\"/>",
                    coordinate(low.clamp(-2000.0, 4000.0)),
                    coordinate(high.clamp(-2000.0, 4000.0)),
                    at = coordinate(at_x)
                ));
            }
        }
        drawing.push(format_args!(
            "<circle class=\"{} {class}\" cx=\"{}\" cy=\"{}\" r=\"2.6\"><title>{}</title></circle>",
            if dot.hollow { "ring" } else { "dot" },
            coordinate(at_x),
            coordinate(at_y),
            escape(&dot.title)
        ));
    }

    /// Path commands through `points`, broken where one has no place.
    fn path(&self, points: impl Iterator<Item = (f64, f64)>, x: &Scale, y: &Scale) -> String {
        let mut commands = String::new();
        let mut pen_down = false;
        for point in points {
            let (at, value) = (x.at(self.x.place(point.0)), y.at(self.y.place(point.1)));
            if !at.is_finite() || !value.is_finite() {
                pen_down = false;
                continue;
            }
            let letter = if pen_down { 'L' } else { 'M' };
            let value = coordinate(value.clamp(-2000.0, 4000.0));
            write!(commands, "{letter}{} {value}", coordinate(at)).expect("writing to a string succeeds");
            pen_down = true;
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Curve, CurveChart, Dot, Style};
    use crate::numbers;

    fn chart(points: Vec<(f64, f64)>) -> CurveChart {
        let axis = || Axis { logarithmic: true, words: numbers::compact };
        CurveChart {
            id: "test".into(),
            label: "a <law>".into(),
            height: 200.0,
            x: axis(),
            y: axis(),
            curves: vec![Curve {
                name: "<1 B>".into(),
                style: Style::Color(0),
                band: Vec::new(),
                points: points.clone(),
            }],
            dots: points
                .into_iter()
                .map(|at| Dot { at, style: Style::Color(0), title: "<run>".into(), hollow: false, whisker: None })
                .collect(),
        }
    }

    #[test]
    fn draws_what_has_a_logarithm_and_escapes_names() {
        let svg = chart(vec![(1e6, 4.0), (1e7, f64::NAN), (-1.0, 3.0), (1e9, 2.5)]).draw().unwrap();
        assert!(svg.contains("&lt;1 B&gt;") && svg.contains("a &lt;law&gt;") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(svg.contains(">1\u{202f}M<") && svg.contains(">1\u{202f}B<"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(Vec::new()).draw().is_none());
        assert!(chart(vec![(0.0, 0.0)]).draw().is_none());
        assert!(chart(vec![(5.0, 1.0)]).draw().is_some(), "one point draws");
    }

    #[test]
    fn every_axis_has_ticks() {
        for (low, high) in [(1e18, 1e24), (1e6, 2e9), (1.0, 60.0), (2.1, 2.3), (2.0, 4.5), (1e-3, 1e12)] {
            let svg = chart(vec![(low, low), (high, high)]).draw().unwrap();
            let ticks = svg.matches("class=\"tick end\"").count();
            assert!((2..=12).contains(&ticks), "{low} {high}: {ticks}");
        }
    }
}
