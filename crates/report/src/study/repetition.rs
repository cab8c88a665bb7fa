//! The page of a law of repeated tokens.

use std::path::{Path, PathBuf};

use loam_influence::laws::{Estimate, Point, RepetitionFit, RepetitionLaw};

use super::scaling::range;
use super::{Page, Picture, Section, Table, estimate_head, estimate_row, spaced, with_interval};
use crate::svg::{Axis, Curve, CurveChart, Dot, Style};
use crate::{ReportError, numbers};

const FOOTER: &str = "The law is that of Muennighoff et al. (2023). Bands and intervals hold 95 % of the laws of runs drawn anew \
                      with replacement.";

/// Numbers of different tokens with a curve of their own.
const CURVES: usize = 6;
const PLACES: usize = 48;
/// Shares of a new token that a repeated one is worth, to ask when.
const SHARES: [f64; 3] = [0.9, 0.5, 0.1];

/// What `report.html` of a law of repeated tokens shows.
pub struct RepetitionPage<'a> {
    /// The law.
    pub fit: &'a RepetitionFit,
    /// The runs that it was fitted to.
    pub points: &'a [Point],
    /// Parameters, tokens and different tokens, and the loss that is forecast for them.
    pub forecasts: &'a [([f64; 3], Estimate)],
}

impl RepetitionPage<'_> {
    /// Draws the page into `folder` and gives its path.
    ///
    /// # Errors
    /// [`ReportError::Write`] where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let fit = self.fit;
        let subtitle = format!(
            "{} runs, {} of which saw a token more than once",
            numbers::grouped(fit.points as u64),
            numbers::grouped(fit.repeated as u64)
        );
        let mut page = Page::new("What repeated tokens are worth", subtitle, FOOTER);
        let decay = fit.estimate(|law| law.data_decay);
        let half = fit.estimate(|law| law.epochs_until(0.5));
        page.answer(format!(
            "One more token of the same text is worth half a new one after <strong>{} epochs</strong> (between {} and {}). All \
             repetitions together are never worth more than {} times the text.",
            numbers::rough(half.value),
            numbers::rough(half.low),
            numbers::rough(half.high),
            numbers::rough(decay.value),
        ));
        let four = fit.estimate(|law| law.worth(4.0, 1.0) / 4.0);
        page.answer(format!(
            "Four epochs do what {} of four times as much new text would.",
            numbers::percent(four.value)
        ));
        for ([parameters, tokens, unique], loss) in self.forecasts {
            page.answer(format!(
                "Forecast for {} parameters and {} tokens, {} of them different: <strong>{} nats a token</strong>, between {} and \
                 {}.",
                numbers::compact(*parameters),
                numbers::compact(*tokens),
                numbers::compact(*unique),
                numbers::fixed(loss.value, 3),
                numbers::fixed(loss.low, 3),
                numbers::fixed(loss.high, 3),
            ));
        }
        page.figure("R, decay of repetition", numbers::rough(decay.value), with_interval(&decay, numbers::rough));
        page.figure(
            "worth half after",
            format!("{} epochs", numbers::rough(half.value)),
            with_interval(&half, numbers::rough),
        );
        let floor = fit.estimate(|law| law.floor);
        page.figure("floor E", numbers::fixed(floor.value, 3), with_interval(&floor, |floor| numbers::fixed(floor, 3)));
        let pictures = [self.losses(), self.worth()].into_iter().flatten().collect();
        page.sections.push(Section { title: "The law and the runs".into(), pictures, ..Section::default() });
        page.sections.push(Section { title: "Numbers".into(), tables: self.tables(), ..Section::default() });
        page.write(folder)
    }

    /// Loss over epochs, a curve a number of different tokens, for the size that most runs have.
    fn losses(&self) -> Option<Picture> {
        let mut sizes: Vec<f64> = self.points.iter().map(|point| point.parameters).collect();
        sizes.sort_by(f64::total_cmp);
        let size = *sizes.get(sizes.len() / 2)?;
        let shown: Vec<&Point> = self.points.iter().filter(|point| point.parameters == size).collect();
        let mut uniques: Vec<f64> = shown.iter().map(|point| point.unique_tokens).collect();
        uniques.sort_by(f64::total_cmp);
        uniques.dedup();
        let most = range(shown.iter().map(|point| point.epochs())).1.max(2.0);
        let step = uniques.len().div_ceil(CURVES);
        let curves = uniques
            .iter()
            .enumerate()
            .filter(|(index, _)| index % step == 0)
            .map(|(index, unique)| {
                let (points, band) = self.curve(1.0, most, |law, epochs| law.loss(size, epochs * unique, *unique));
                Curve { name: numbers::compact(*unique), style: Style::Color(index / step), points, band }
            })
            .collect();
        let dots = shown
            .iter()
            .map(|point| Dot {
                at: (point.epochs(), point.loss),
                style: Style::Color(uniques.iter().position(|own| *own == point.unique_tokens).unwrap_or(0) / step),
                title: format!(
                    "{} different tokens, {} epochs: {} nats",
                    numbers::compact(point.unique_tokens),
                    numbers::rough(point.epochs()),
                    numbers::fixed(point.loss, 3)
                ),
                hollow: false,
                whisker: None,
            })
            .collect();
        let chart = CurveChart {
            id: "losses".into(),
            label: "Loss over epochs by the number of different tokens, the law's curves among the runs".into(),
            height: 330.0,
            x: Axis { logarithmic: true, words: numbers::rough },
            y: Axis { logarithmic: true, words: |loss| numbers::fixed(loss, 2) },
            curves,
            dots,
        };
        let caption = format!(
            "Loss in nats a token over epochs, a curve a number of different tokens; runs of {} parameters",
            numbers::compact(size)
        );
        Picture::new(caption, chart.draw())
    }

    /// What so many epochs are worth, in epochs of new text.
    fn worth(&self) -> Option<Picture> {
        let most = range(self.points.iter().map(Point::epochs)).1.max(8.0);
        let (points, band) = self.curve(1.0, most, |law, epochs| law.worth(epochs, 1.0));
        let new = spaced(1.0, most, PLACES).into_iter().map(|epochs| (epochs, epochs)).collect();
        let curves = vec![
            Curve { name: "all new".into(), style: Style::Quiet, points: new, band: Vec::new() },
            Curve { name: "repeated".into(), style: Style::Color(0), points, band },
        ];
        let chart = CurveChart {
            id: "worth".into(),
            label: "What epochs of the same text are worth, beside as much new text".into(),
            height: 330.0,
            x: Axis { logarithmic: true, words: numbers::rough },
            y: Axis { logarithmic: true, words: numbers::rough },
            curves,
            dots: Vec::new(),
        };
        Picture::new("What epochs of the same text are worth (D′/U), beside as much new text", chart.draw())
    }

    fn tables(&self) -> Vec<Table> {
        let fit = self.fit;
        let mut rows = vec![
            estimate_row("E", &fit.estimate(|law| law.floor), "nats that no data goes below"),
            estimate_row("B", &fit.estimate(|law| law.data_scale), ""),
            estimate_row("β", &fit.estimate(|law| law.data_exponent), "the loss above E falls with D′^−β"),
            estimate_row("R", &fit.estimate(|law| law.data_decay), "repetitions are worth R times the text at most"),
        ];
        if fit.law.size.is_some() {
            let exponent = fit.estimate(|law| law.size.map_or(f64::NAN, |size| size.exponent));
            rows.push(estimate_row("α", &exponent, "and with N^−α"));
        }
        rows.extend(SHARES.map(|share| {
            let name = format!("epochs until {}", numbers::percent(share));
            let meaning = format!("then one more token is worth {} of a new one", numbers::percent(share));
            estimate_row(&name, &fit.estimate(|law| law.epochs_until(share)), &meaning)
        }));
        let note = format!("Intervals over {} resamples.", numbers::grouped(fit.resampled.len() as u64));
        vec![Table { head: estimate_head(), rows, note }]
    }

    fn curve(
        &self,
        low: f64,
        high: f64,
        value: impl Fn(&RepetitionLaw, f64) -> f64,
    ) -> (Vec<(f64, f64)>, Vec<(f64, f64)>) {
        let at = spaced(low, high, PLACES);
        let estimates: Vec<Estimate> = at.iter().map(|at| self.fit.estimate(|law| value(law, *at))).collect();
        let points = at.iter().zip(&estimates).map(|(at, estimate)| (*at, estimate.value)).collect();
        (points, estimates.iter().map(|estimate| (estimate.low, estimate.high)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::RepetitionPage;
    use loam_influence::laws::{Point, RepetitionFit, RepetitionLaw};

    #[test]
    fn the_page_has_a_curve_a_text_and_no_network() {
        let law = RepetitionLaw { floor: 2.0, size: None, data_scale: 900.0, data_exponent: 0.35, data_decay: 12.0 };
        let mut points = Vec::new();
        for unique_tokens in [1e6, 4e6, 1.6e7] {
            for epochs in [1.0, 4.0, 16.0, 40.0] {
                let tokens = unique_tokens * epochs;
                points.push(Point {
                    parameters: 1e6,
                    tokens,
                    unique_tokens,
                    loss: law.loss(1e6, tokens, unique_tokens),
                });
            }
        }
        let bootstrap = loam_tasks::metrics::Bootstrap { resamples: 20, ..Default::default() };
        let fit = RepetitionFit::new(&points, bootstrap).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let page = RepetitionPage { fit: &fit, points: &points, forecasts: &[] };
        let html = std::fs::read_to_string(page.write(folder.path()).unwrap()).unwrap();
        assert!(!html.contains("http") && !html.contains("NaN") && !html.contains("{{"), "self-contained and whole");
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("worth half a new one after"), "{html}");
    }
}
