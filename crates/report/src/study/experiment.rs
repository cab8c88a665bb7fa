//! The page of a study that compares arms with a base.

use std::path::{Path, PathBuf};

use loam_influence::studies::{Arm, Effect, Grade, MEAN, RunResult, domains};
use loam_tasks::metrics::Interval;

use super::{Page, Picture, Section, Table};
use crate::svg::{Axis, Curve, CurveChart, Dot, ForestRow, Style, escape, forest};
use crate::{ReportError, numbers};

const FOOTER: &str = "Differences are of runs with the same seed, arm less base: below zero the arm is better. Intervals are of Student’s t \
                      over these pairs; the test of signs needs no normal distribution. Domains and arms are many, and at 5 % one in \
                      twenty differences looks real that is none.";

/// What `report.html` of a study shows.
pub struct ExperimentPage<'a> {
    /// Its heading.
    pub title: &'a str,
    /// The arms, the base first.
    pub arms: &'a [Arm],
    /// What they did.
    pub effects: &'a [Effect],
    /// What every run came to.
    pub results: &'a [RunResult],
    /// How well that was predicted.
    pub grades: &'a [Grade],
    /// What so many seeds can see, in words.
    pub power: &'a str,
}

impl ExperimentPage<'_> {
    /// Draws the page into `folder` and gives its path.
    ///
    /// # Errors
    /// [`ReportError::Write`] where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let failed = self.results.iter().filter(|run| run.failed.is_some());
        let subtitle = format!(
            "{}, {}{}",
            numbers::counted(self.arms.len() as u64, "arm", "arms"),
            numbers::counted(self.results.len() as u64, "run", "runs"),
            match failed.clone().count() {
                0 => String::new(),
                count => format!(", {count} failed"),
            }
        );
        let mut page = Page::new(self.title, subtitle, FOOTER);
        self.answer(&mut page);
        for run in failed {
            let why = run.failed.as_deref().unwrap_or_default();
            page.problems
                .push(format!("{}, seed {}, failed and is left out of the differences: {why}", run.arm, run.seed));
        }
        let mut pictures = Vec::new();
        for domain in std::iter::once(MEAN.to_owned()).chain(domains(self.results)) {
            let rows: Vec<ForestRow> = self
                .effects
                .iter()
                .filter(|effect| effect.domain == domain)
                .map(|effect| ForestRow {
                    name: effect.arm.clone(),
                    value: effect.difference.mean,
                    interval: effect.difference.low.zip(effect.difference.high),
                    predicted: effect.predicted,
                })
                .collect();
            let of = if domain == MEAN { "the mean of all domains".to_owned() } else { domain.clone() };
            let rings = if rows.iter().any(|row| row.predicted.is_some()) {
                "; rings are the ledger’s prediction"
            } else {
                ""
            };
            let caption = format!("Difference of the loss on {of}, in nats a token, with 95 % intervals{rings}");
            pictures.extend(Picture::new(caption.clone(), forest(&caption, &rows)));
        }
        page.sections.push(Section { title: "What each arm did".into(), pictures, ..Section::default() });
        if !self.grades.is_empty() {
            page.sections.push(self.graded());
        }
        let tables = vec![self.differences(), self.runs()];
        page.sections.push(Section { title: "Numbers".into(), tables, ..Section::default() });
        page.write(folder)
    }

    /// The clear differences of the mean, in words, and what could not be seen.
    fn answer(&self, page: &mut Page) {
        let words = |name: &str| {
            let arm = self.arms.iter().find(|arm| arm.name == name);
            escape(arm.map_or(name, |arm| arm.words.as_str()))
        };
        let mut clear: Vec<&Effect> = self
            .effects
            .iter()
            .filter(|effect| effect.domain == MEAN && matches!(effect.verdict(), "better" | "worse"))
            .collect();
        clear.sort_by(|one, other| one.difference.mean.total_cmp(&other.difference.mean));
        for effect in &clear {
            page.answer(format!(
                "<strong>{}</strong>: {} by {} nats a token over all domains (between {} and {}).",
                words(&effect.arm),
                effect.verdict(),
                numbers::rough(effect.difference.mean.abs()),
                numbers::rough(effect.difference.low.unwrap_or(f64::NAN)),
                numbers::rough(effect.difference.high.unwrap_or(f64::NAN)),
            ));
        }
        if clear.is_empty() {
            page.answer("No arm differs from the base by more than chance explains, over all domains together.");
        }
        page.answer(escape(&format!("{}{}.", self.power[..1].to_uppercase(), &self.power[1..])));
    }

    /// Predictions beside retraining.
    fn graded(&self) -> Section {
        let pairs: Vec<(&Effect, f64)> = self
            .effects
            .iter()
            .filter(|effect| effect.domain != MEAN)
            .filter_map(|effect| Some((effect, effect.predicted?)))
            .collect();
        let domains = domains(self.results);
        let low = pairs.iter().map(|(effect, predicted)| predicted.min(effect.difference.mean)).fold(0.0, f64::min);
        let high = pairs.iter().map(|(effect, predicted)| predicted.max(effect.difference.mean)).fold(0.0, f64::max);
        let words = |nats: f64| numbers::fixed(nats, 3);
        let chart = CurveChart {
            id: "predicted".into(),
            label: "Differences of retraining over those that the ledger predicted".into(),
            height: 330.0,
            x: Axis { logarithmic: false, words },
            y: Axis { logarithmic: false, words },
            curves: vec![Curve {
                name: "equal".into(),
                style: Style::Quiet,
                points: vec![(low, low), (high, high)],
                band: Vec::new(),
            }],
            dots: pairs
                .iter()
                .map(|(effect, predicted)| Dot {
                    at: (*predicted, effect.difference.mean),
                    style: Style::Color(domains.iter().position(|domain| *domain == effect.domain).unwrap_or(0)),
                    title: format!(
                        "{} on {}: predicted {}, retrained {}",
                        effect.arm,
                        effect.domain,
                        numbers::nats(*predicted),
                        numbers::nats(effect.difference.mean)
                    ),
                    hollow: false,
                    whisker: effect.difference.low.zip(effect.difference.high),
                })
                .collect(),
        };
        let interval = |interval: &Option<Interval>| {
            interval.map_or_else(
                || "–".to_owned(),
                |own| {
                    let [value, low, high] = [own.value, own.low, own.high].map(|number| numbers::fixed(number, 2));
                    format!("{value} [{low}, {high}]")
                },
            )
        };
        let table = Table {
            head: ["predicted by", "pairs", "slope", "R²", "Spearman", "sign accuracy", "of clear ones"]
                .map(str::to_owned)
                .to_vec(),
            rows: self
                .grades
                .iter()
                .map(|grade| {
                    vec![
                        if grade.method == "tokens" {
                            "the count of tokens".into()
                        } else {
                            format!("the {}", grade.method)
                        },
                        numbers::grouped(grade.pairs as u64),
                        interval(&grade.slope),
                        interval(&grade.explained),
                        interval(&grade.spearman),
                        interval(&grade.sign_accuracy),
                        format!(
                            "{}, {}",
                            interval(&grade.clear_sign_accuracy),
                            numbers::counted(grade.clear_pairs as u64, "pair", "pairs")
                        ),
                    ]
                })
                .collect(),
            note: "Pairs of arm and domain; intervals by bootstrap over them. A slope of 1 is calibrated; clear are \
                   the pairs that retraining told from chance."
                .into(),
        };
        let caption = "Differences of retraining over predicted ones, in nats; a color a domain";
        Section {
            title: "Predicted, retrained, graded".into(),
            pictures: Picture::new(caption, chart.draw()).into_iter().collect(),
            tables: vec![table],
            ..Section::default()
        }
    }

    fn differences(&self) -> Table {
        let nats = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |number| numbers::fixed(number, 4));
        let head = [
            "arm",
            "domain",
            "base",
            "difference",
            "95 % interval",
            "p",
            "p of signs",
            "pairs",
            "visible from",
            "ledger",
            "later half",
            "tokens",
        ];
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: self
                .effects
                .iter()
                .map(|effect| {
                    let own = &effect.difference;
                    vec![
                        effect.arm.clone(),
                        effect.domain.clone(),
                        numbers::fixed(effect.base_loss, 4),
                        numbers::fixed(own.mean, 4),
                        own.low.zip(own.high).map_or_else(
                            || "–".to_owned(),
                            |(low, high)| format!("{} to {}", numbers::fixed(low, 4), numbers::fixed(high, 4)),
                        ),
                        nats(own.p_value),
                        nats(own.p_value_of_signs),
                        own.pairs.to_string(),
                        nats(effect.smallest_visible),
                        nats(effect.predicted),
                        nats(effect.predicted_late),
                        nats(effect.predicted_by_tokens),
                    ]
                })
                .collect(),
            note: "In nats a token. “Visible from” is the smallest difference that these pairs find in four of five studies.".into(),
        }
    }

    fn runs(&self) -> Table {
        Table {
            head: ["run", "seed", "status", "loss", "parameters", "tokens"].map(str::to_owned).to_vec(),
            rows: self
                .results
                .iter()
                .map(|run| {
                    vec![
                        run.arm.clone(),
                        run.seed.to_string(),
                        if run.failed.is_some() { "failed".into() } else { "done".into() },
                        run.loss(MEAN).map_or_else(|| "–".to_owned(), |loss| numbers::fixed(loss, 4)),
                        numbers::grouped(run.parameters),
                        numbers::grouped(run.tokens),
                    ]
                })
                .collect(),
            note: "The loss is the mean over the held-out domains, in nats a token.".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExperimentPage;
    use loam_influence::studies::{Arm, DomainLoss, RunResult, Study, effects, grades};

    fn run(arm: &str, seed: u64, loss: f64) -> RunResult {
        RunResult {
            arm: arm.into(),
            seed,
            fingerprint: String::new(),
            failed: (loss.is_nan()).then(|| "step 7: the loss is not a finite number".into()),
            losses: if loss.is_nan() { Vec::new() } else { vec![DomainLoss { domain: "wiki".into(), loss }] },
            steps: 1,
            tokens: 100,
            unique_tokens: 100,
            parameters: 10,
            seconds: 1.0,
            tokens_per_second: 100.0,
            weights_hash: String::new(),
        }
    }

    #[test]
    fn the_page_says_what_differs_and_what_failed() {
        let other = Arm { name: "drop-web".into(), words: "without <web>".into(), ..Arm::base(false) };
        let study = Study {
            recipe: loam_train::Recipe::default(),
            arms: vec![Arm::base(true), other],
            seeds: vec![1, 2, 3, 4],
        };
        let results: Vec<RunResult> = [("base", [4.0, 4.1, 4.05, 4.0]), ("drop-web", [4.2, 4.31, 4.24, f64::NAN])]
            .iter()
            .flat_map(|(arm, losses)| (1..).zip(losses).map(|(seed, loss)| run(arm, seed, *loss)).collect::<Vec<_>>())
            .collect();
        let mut effects = effects(&study, &results);
        assert_eq!((effects[0].difference.pairs, effects[0].failed, effects[0].verdict()), (3, 1, "worse"));
        for effect in &mut effects {
            effect.predicted = Some(0.15);
            effect.predicted_late = Some(0.1);
            effect.predicted_by_tokens = Some(0.0);
        }
        let grades = grades(&effects, &loam_tasks::metrics::Bootstrap::default());
        let page = ExperimentPage {
            title: "What each source does",
            arms: &study.arms,
            effects: &effects,
            results: &results,
            grades: &grades,
            power: "4 seeds cannot see effects below 0.02 nats",
        };
        let folder = tempfile::tempdir().unwrap();
        let html = std::fs::read_to_string(page.write(folder.path()).unwrap()).unwrap();
        assert!(html.contains("<strong>without &lt;web&gt;</strong>: worse by 0.200"), "{html}");
        assert!(
            html.contains("drop-web, seed 4, failed") && html.contains("4 seeds cannot see effects below 0.02 nats")
        );
        assert!(!html.contains("NaN") && !html.contains("http") && html.contains("Predicted, retrained, graded"));
    }
}
