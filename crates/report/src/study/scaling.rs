//! The page of a law of size and tokens.

use std::path::{Path, PathBuf};

use loam_influence::laws::{Estimate, FrontierPoint, Point, ScalingFit, ScalingLaw};

use super::{Page, Picture, Section, Table, estimate_head, estimate_row, operations, spaced, with_interval};
use crate::svg::{Axis, Curve, CurveChart, Dot, Style};
use crate::{ReportError, numbers};

const FOOTER: &str = "The law is that of Hoffmann et al. (2022), fitted by the summed Huber loss of logarithms as \
                      Besiroglu et al. (2024) correct it. Bands and intervals hold 95 % of the laws of runs drawn anew \
                      with replacement: they say how much the law hangs on which runs were made, not whether it holds where \
                      none was.";

/// Curves of sizes that are drawn.
const GROUPS: usize = 5;
/// Places along a curve.
const PLACES: usize = 48;

/// What `report.html` of a law of size and tokens shows.
pub struct ScalingPage<'a> {
    /// The law.
    pub fit: &'a ScalingFit,
    /// The runs that it was fitted to.
    pub points: &'a [Point],
    /// Runs that were left out.
    pub dropped: &'a [Point],
    /// Best uses of compute.
    pub frontier: &'a [FrontierPoint],
    /// Parameters, tokens, and the loss that is forecast for them.
    pub forecasts: &'a [(f64, f64, Estimate)],
}

impl ScalingPage<'_> {
    /// Draws the page into `folder` and gives its path.
    ///
    /// # Errors
    /// [`ReportError::Write`] where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        self.page().write(folder)
    }

    fn page(&self) -> Page {
        let (fit, law) = (self.fit, self.fit.law);
        let left_out = match self.dropped.len() {
            0 => String::new(),
            count => format!(", {count} of highest loss left out"),
        };
        let subtitle = format!("{} runs{left_out}", numbers::grouped(fit.points as u64));
        let mut page = Page::new("How the loss falls with size and tokens", subtitle, FOOTER);
        let exponents = |value: fn(&ScalingLaw) -> f64| fit.estimate(value);
        page.answer(format!(
            "A model of N parameters comes to <strong>{} + {} / N<sup>{}</sup> + {} / D<sup>{}</sup></strong> nats a token \
             after D new tokens. Half the runs are missed by less than {} of their loss.",
            numbers::fixed(law.floor, 3),
            super::significant(law.size_scale),
            numbers::fixed(law.size_exponent, 3),
            super::significant(law.data_scale),
            numbers::fixed(law.data_exponent, 3),
            numbers::percent(fit.median_miss),
        ));
        self.answer_use(&mut page);
        for (parameters, tokens, loss) in self.forecasts {
            page.answer(format!(
                "Forecast for {} parameters and {} tokens: <strong>{} nats a token</strong>, between {} and {} by the runs at \
                 hand. It is not graded before somebody trains it.",
                numbers::compact(*parameters),
                numbers::compact(*tokens),
                numbers::fixed(loss.value, 3),
                numbers::fixed(loss.low, 3),
                numbers::fixed(loss.high, 3),
            ));
        }
        let places = |number| numbers::fixed(number, 3);
        let power = exponents(ScalingLaw::size_power);
        page.figure(
            "floor E",
            numbers::fixed(law.floor, 3),
            format!("{} nats", with_interval(&exponents(|law| law.floor), places)),
        );
        page.figure(
            "α, size",
            numbers::fixed(law.size_exponent, 3),
            with_interval(&exponents(|law| law.size_exponent), places),
        );
        page.figure(
            "β, tokens",
            numbers::fixed(law.data_exponent, 3),
            with_interval(&exponents(|law| law.data_exponent), places),
        );
        page.figure("a, best size ~ C^a", numbers::fixed(power.value, 3), with_interval(&power, places));
        let pictures = [self.losses(), self.best_sizes(), self.misses()].into_iter().flatten().collect();
        page.sections.push(Section { title: "The law and the runs".into(), pictures, ..Section::default() });
        page.sections.push(Section { title: "Numbers".into(), tables: self.tables(), ..Section::default() });
        page
    }

    /// How compute is best used, at the largest of what was asked for.
    fn answer_use(&self, page: &mut Page) {
        if !self.fit.law.is_usable() {
            page.problems.push(
                "By this law more size or more data would not help; it says nothing of how to spend compute.".into(),
            );
            return;
        }
        let Some(point) = self.frontier.last() else { return };
        page.answer(format!(
            "For {} floating-point operations it advises <strong>{} parameters and {} tokens</strong>, {} tokens a parameter \
             (between {} and {}), which come to {} nats a token.",
            operations(point.compute),
            numbers::compact(point.parameters.value),
            numbers::compact(point.tokens.value),
            numbers::rough(point.tokens_per_parameter.value),
            numbers::rough(point.tokens_per_parameter.low),
            numbers::rough(point.tokens_per_parameter.high),
            numbers::fixed(point.loss.value, 3),
        ));
    }

    /// Loss over tokens, a curve a group of sizes.
    fn losses(&self) -> Option<Picture> {
        let groups = grouped(self.points.iter().map(|point| point.parameters).collect());
        let place =
            |parameters: f64| groups.iter().position(|group| parameters <= group.highest * 1.000_001).unwrap_or(0);
        let dot = |point: &Point, hollow: bool| Dot {
            at: (point.tokens, point.loss),
            style: Style::Color(place(point.parameters)),
            title: format!(
                "{} parameters, {} tokens: {} nats",
                numbers::compact(point.parameters),
                numbers::compact(point.tokens),
                numbers::fixed(point.loss, 3)
            ),
            hollow,
            whisker: None,
        };
        let mut dots: Vec<Dot> = self.points.iter().map(|point| dot(point, false)).collect();
        dots.extend(self.dropped.iter().map(|point| dot(point, true)));
        dots.extend(self.forecasts.iter().map(|(parameters, tokens, loss)| Dot {
            style: Style::Quiet,
            whisker: Some((loss.low, loss.high)),
            title: format!("forecast: {}", numbers::fixed(loss.value, 3)),
            ..dot(&Point::new(*parameters, *tokens, loss.value), true)
        }));
        let curves = groups
            .iter()
            .enumerate()
            .map(|(index, group)| {
                let own = self.points.iter().filter(|point| place(point.parameters) == index);
                let (low, high) = range(own.map(|point| point.tokens));
                let (points, band) = self.curve(low, high, |law, tokens| law.loss(group.middle, tokens));
                Curve { name: numbers::compact(group.middle), style: Style::Color(index), points, band }
            })
            .collect();
        let chart = CurveChart {
            id: "losses".into(),
            label: "Loss over training tokens by size, the law's curves among the runs".into(),
            height: 330.0,
            x: Axis { logarithmic: true, words: numbers::compact },
            y: Axis { logarithmic: true, words: |loss| numbers::fixed(loss, 2) },
            curves,
            dots,
        };
        Picture::new(
            "Loss in nats a token over training tokens; curves of the law at sizes among the runs",
            chart.draw(),
        )
    }

    /// The best size over compute.
    fn best_sizes(&self) -> Option<Picture> {
        if !self.fit.law.is_usable() {
            return None;
        }
        let compute = |point: &Point| 6.0 * point.parameters * point.tokens;
        let ends = self.points.iter().map(compute).chain(self.frontier.iter().map(|point| point.compute));
        let (low, high) = range(ends);
        let (points, band) = self.curve(low, high, |law, compute| law.optimum(compute).parameters);
        let chart = CurveChart {
            id: "best-sizes".into(),
            label: "The best number of parameters over compute, with the sizes of the runs".into(),
            height: 330.0,
            x: Axis { logarithmic: true, words: operations },
            y: Axis { logarithmic: true, words: numbers::compact },
            curves: vec![Curve { name: "best".into(), style: Style::Color(0), points, band }],
            dots: self
                .points
                .iter()
                .map(|point| Dot {
                    at: (compute(point), point.parameters),
                    style: Style::Quiet,
                    title: format!(
                        "{} parameters: {} nats",
                        numbers::compact(point.parameters),
                        numbers::fixed(point.loss, 3)
                    ),
                    hollow: false,
                    whisker: None,
                })
                .collect(),
        };
        Picture::new("Parameters over compute: the best size with its band, and the runs", chart.draw())
    }

    /// How far the law misses each run.
    fn misses(&self) -> Option<Picture> {
        let miss = |point: &Point| 100.0 * (self.fit.law.loss(point.parameters, point.tokens) / point.loss).ln();
        let (low, high) = range(self.points.iter().map(|point| point.loss));
        let chart = CurveChart {
            id: "misses".into(),
            label: "How far the law lies above or below each run, in percent of its loss".into(),
            height: 240.0,
            x: Axis { logarithmic: true, words: |loss| numbers::fixed(loss, 2) },
            y: Axis { logarithmic: false, words: |percent| numbers::fixed(percent, 1) },
            curves: vec![Curve {
                name: String::new(),
                style: Style::Quiet,
                points: vec![(low, 0.0), (high, 0.0)],
                band: Vec::new(),
            }],
            dots: self
                .points
                .iter()
                .map(|point| Dot {
                    at: (point.loss, miss(point)),
                    style: Style::Color(0),
                    title: format!(
                        "{} parameters, {} tokens: {} %",
                        numbers::compact(point.parameters),
                        numbers::compact(point.tokens),
                        numbers::fixed(miss(point), 2)
                    ),
                    hollow: false,
                    whisker: None,
                })
                .collect(),
        };
        Picture::new(
            "How far the law lies above (+) or below (−) each run, in percent, over the run’s loss",
            chart.draw(),
        )
    }

    fn tables(&self) -> Vec<Table> {
        let fit = self.fit;
        let rows = [
            ("E", "nats that no size and no data go below", fit.estimate(|law| law.floor)),
            ("A", "", fit.estimate(|law| law.size_scale)),
            ("B", "", fit.estimate(|law| law.data_scale)),
            ("α", "the loss above E falls with N^−α", fit.estimate(|law| law.size_exponent)),
            ("β", "and with D^−β", fit.estimate(|law| law.data_exponent)),
            ("a", "the best size grows with C^a", fit.estimate(ScalingLaw::size_power)),
            ("b", "the best number of tokens with C^b", fit.estimate(|law| 1.0 - law.size_power())),
        ];
        let law = Table {
            head: estimate_head(),
            rows: rows.iter().map(|(name, meaning, estimate)| estimate_row(name, estimate, meaning)).collect(),
            note: format!(
                "{} of {} starts of the search ended at this law; intervals over {} resamples.",
                numbers::grouped(fit.agreeing_starts as u64),
                numbers::grouped(fit.starts as u64),
                numbers::grouped(fit.resampled.len() as u64)
            ),
        };
        let frontier = Table {
            head: ["compute", "parameters", "tokens", "tokens a parameter", "loss"].map(str::to_owned).to_vec(),
            rows: self
                .frontier
                .iter()
                .map(|point| {
                    vec![
                        operations(point.compute),
                        with_interval(&point.parameters, numbers::compact),
                        with_interval(&point.tokens, numbers::compact),
                        with_interval(&point.tokens_per_parameter, numbers::rough),
                        with_interval(&point.loss, |loss| numbers::fixed(loss, 3)),
                    ]
                })
                .collect(),
            note: "Floating-point operations C = 6 N D, and the size and tokens that bring the loss lowest for them."
                .into(),
        };
        [law, frontier].into_iter().filter(|table| !table.rows.is_empty()).collect()
    }

    /// A quantity of the law along a logarithmic axis, with the middle 95 % of what resamples say.
    fn curve(
        &self,
        low: f64,
        high: f64,
        value: impl Fn(&ScalingLaw, f64) -> f64,
    ) -> (Vec<(f64, f64)>, Vec<(f64, f64)>) {
        let at = spaced(low, high, PLACES);
        let estimates: Vec<Estimate> = at.iter().map(|at| self.fit.estimate(|law| value(law, *at))).collect();
        let points = at.iter().zip(&estimates).map(|(at, estimate)| (*at, estimate.value)).collect();
        (points, estimates.iter().map(|estimate| (estimate.low, estimate.high)).collect())
    }
}

/// Sizes that share a curve.
struct Group {
    /// Their geometric mean.
    middle: f64,
    highest: f64,
}

/// Sizes in at most [`GROUPS`] groups, by equal parts of the sorted different ones.
fn grouped(mut sizes: Vec<f64>) -> Vec<Group> {
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let count = sizes.len().min(GROUPS);
    (0..count)
        .map(|index| {
            let own = &sizes[index * sizes.len() / count..(index + 1) * sizes.len() / count];
            let logarithm = own.iter().map(|size| size.ln()).sum::<f64>() / own.len() as f64;
            Group { middle: logarithm.exp(), highest: own[own.len() - 1] }
        })
        .collect()
}

/// The lowest and the highest of some numbers.
pub(super) fn range(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| (low.min(number), high.max(number)))
}

#[cfg(test)]
mod tests {
    use super::ScalingPage;
    use loam_influence::laws::{Point, ScalingFit, ScalingLaw};

    fn points() -> Vec<Point> {
        let law =
            ScalingLaw { floor: 1.7, size_scale: 400.0, size_exponent: 0.34, data_scale: 1800.0, data_exponent: 0.37 };
        let sizes = [1e7, 3e7, 1e8, 3e8, 1e9, 3e9];
        sizes
            .iter()
            .flat_map(|n| {
                [1e9, 4e9, 2e10, 7e10].map(|d| Point::new(*n, d, law.loss(*n, d) * (1.0 + 1e-3 * (n / d).sin())))
            })
            .collect()
    }

    #[test]
    fn the_page_has_the_law_its_bands_and_no_network() {
        let folder = tempfile::tempdir().unwrap();
        let points = points();
        let bootstrap = loam_tasks::metrics::Bootstrap { resamples: 20, ..Default::default() };
        let fit = ScalingFit::new(&points, bootstrap).unwrap();
        let frontier = [fit.frontier(1e21)];
        let forecasts = [(1e10, 1e12, fit.forecast(1e10, 1e12))];
        let page = ScalingPage {
            fit: &fit,
            points: &points,
            dropped: &points[..1],
            frontier: &frontier,
            forecasts: &forecasts,
        };
        let path = page.write(&folder.path().join("deep/er")).unwrap();
        let html = std::fs::read_to_string(path).unwrap();
        assert!(!html.contains("http") && !html.contains("NaN") && !html.contains("{{"), "self-contained and whole");
        assert_eq!(html.matches("<svg").count(), 3);
        assert!(html.contains("class=\"band") && html.contains("class=\"ring") && html.contains("class=\"whisker"));
        assert!(html.contains("1 of highest loss left out") && html.contains("Forecast for"), "{html}");
    }
}
