//! `study subsets`: the grade of attribution by document. Models are trained on random parts of the documents, and what each method
//! says of the documents, added up over a part, is compared with how well the model of that part does.
//!
//! That is the linear datamodeling score (LDS, Park et al. 2023, definition 3): for a question q (a held-out sequence), parts S₁ … S_m and
//! scores τ(q, i), Spearman's correlation over parts of Σ_{i ∈ S} τ(q, i) with −loss(q; S); then the mean over questions. Losses are the
//! mean over seeds.
//!
//! **The ceiling.** Losses carry the noise of seeds, and no method can tell that. The correlation r of one half of the seeds
//! with the other gives the reliability of the mean of both, 2r / (1 + r) (Spearman–Brown), and its square root is what a method would
//! reach that knew the expected losses.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use loam_tasks::metrics::regression::spearman_of_draws;
use loam_tasks::metrics::{Bootstrap, Interval};
use loam_train::Recipe;
use loam_train::learner::Learner;
use loam_train::reopen::{Inquiry, Reopened, reopen};
use serde::Serialize;

use super::arm::{Arm, Change};
use super::conduct::{BaseData, Study, check};
use super::folder::{RunResult, StudyFolder, write_whole};
use crate::attribution::{Attribution, Method, Progress, Question, Settings};
use crate::{InfluenceError, columns};

/// Fewest documents of which parts are worth drawing.
const FEWEST_DOCUMENTS: usize = 20;
/// Checkpoints that the base runs keep, for methods that look at several.
const CHECKPOINTS: usize = 5;

/// The parts to train on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubsetSettings {
    /// How many.
    pub subsets: usize,
    /// The part of every source's documents in each.
    pub part: f64,
    /// From which the draws follow.
    pub seed: u64,
}

/// Plans the study.
///
/// # Errors
/// [`InfluenceError::Study`] for too few documents or parts.
pub fn plan(
    recipe: &Recipe,
    base: &BaseData,
    seeds: &[u64],
    settings: &SubsetSettings,
) -> Result<Study, InfluenceError> {
    let refuse = |what: String, hint: &str| Err(InfluenceError::Study { what, hint: hint.into() });
    if settings.subsets < 4 {
        return refuse(format!("{} parts show no correlation", settings.subsets), "give --subsets 32 or more");
    }
    if !(settings.part > 0.0 && settings.part < 1.0) {
        return refuse(format!("a part of {} of the documents", settings.part), "give --part a number between 0 and 1");
    }
    let documents = training_documents(&base.folder.join("documents.parquet"))?.len();
    if documents < FEWEST_DOCUMENTS {
        return refuse(
            format!("the recipe's sources have {documents} training documents, too few to draw parts of"),
            "split texts into documents (split = \"paragraph\" or \"line\" of a source), or bring more",
        );
    }
    let change = Change { checkpoints: Some(CHECKPOINTS), ..Change::default() };
    let mut arms = vec![Arm { change, ..Arm::base(false) }];
    arms.extend((0..settings.subsets).map(|number| Arm {
        name: format!("part-{:03}", number + 1),
        words: format!("{} % of the documents, draw {}", 100.0 * settings.part, number + 1),
        change: Change {
            part: Some(settings.part),
            draw: Some(settings.seed.wrapping_mul(1_000_003).wrapping_add(number as u64 + 1) & 0xffff_ffff),
            ..Change::default()
        },
    }));
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Ids of the documents that are trained on.
fn training_documents(path: &Path) -> Result<HashSet<String>, InfluenceError> {
    let mut ids = HashSet::new();
    columns::read(path, |rows| {
        let split = rows.texts("split")?;
        for (id, split) in rows.texts("id")?.into_iter().zip(split) {
            if split == "train" {
                ids.insert(id);
            }
        }
        Ok(())
    })?;
    Ok(ids)
}

/// How well a method tells which part makes the better model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The method.
    pub method: &'static str,
    /// The linear datamodeling score, with an interval by bootstrap over parts.
    pub lds: Option<Interval>,
    /// Of each held-out domain alone.
    pub by_domain: Vec<(String, Option<f64>)>,
    /// The score as a part of the ceiling.
    pub of_ceiling: Option<f64>,
}

/// The grade of every method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Graded {
    /// Parts that were trained on with every seed.
    pub subsets: usize,
    /// Parts that were left out because a run of theirs failed.
    pub failed: usize,
    /// Questions: held-out sequences.
    pub questions: usize,
    /// Seeds.
    pub seeds: usize,
    /// The correlation of the two halves of the seeds, the mean over questions; none with one seed.
    pub halves: Option<f64>,
    /// What a method would reach that knew the expected losses; none with one seed or where the halves do not agree.
    pub ceiling: Option<f64>,
    /// The methods, the best first.
    pub scores: Vec<Score>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

impl Graded {
    /// Writes `subsets.json` into a study's folder, whole or not at all.
    ///
    /// # Errors
    /// [`InfluenceError::Write`] where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, InfluenceError> {
        let path = folder.join("subsets.json");
        write_whole(&path, serde_json::to_string_pretty(self).unwrap_or_default().as_bytes())?;
        Ok(path)
    }
}

/// Who is asked, and how.
pub struct Judge<'a> {
    /// The methods.
    pub methods: &'a [Method],
    /// How they work.
    pub settings: &'a Settings,
    /// Held-out sequences a domain.
    pub sequences: usize,
    /// The bootstrap over parts.
    pub bootstrap: &'a Bootstrap,
    /// Set to stop.
    pub stop: &'a AtomicBool,
    /// Told how far it is.
    pub progress: &'a mut dyn FnMut(Told),
}

/// What is told while methods are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A method works.
    Attribution(Progress),
    /// So many of so many models have been measured.
    Measured {
        /// Models.
        done: usize,
        /// Of so many.
        of: usize,
    },
}

impl Judge<'_> {
    /// Grades the methods on a study whose runs are made.
    ///
    /// # Errors
    /// Where a run cannot be opened, or somebody stops.
    pub fn judge(
        self,
        study: &Study,
        base: &BaseData,
        folder: &StudyFolder,
        results: &[RunResult],
        device: &Device,
    ) -> Result<Graded, InfluenceError> {
        let Self { methods, settings, sequences, bootstrap, stop, progress } = self;
        let done = |arm: &Arm, seed: u64| {
            results.iter().any(|run| run.arm == arm.name && run.seed == seed && run.failed.is_none())
        };
        let Some(first) = study.base() else { return Err(nothing()) };
        // Losses of every model on every sequence: `[part][seed][question]`.
        let of = (study.arms.len() - 1) * study.seeds.len();
        let mut measured = 0;
        let (mut parts, mut losses, mut failed) = (Vec::new(), Vec::new(), 0);
        for arm in &study.arms[1..] {
            if !study.seeds.iter().all(|seed| done(arm, *seed)) {
                failed += 1;
                continue;
            }
            let mut by_seed = Vec::new();
            for seed in &study.seeds {
                by_seed.push(reopen(&folder.run(&arm.name, *seed), device, Sequences { of: sequences })?);
                measured += 1;
                progress(Told::Measured { done: measured, of });
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(InfluenceError::Interrupted);
                }
            }
            parts.push(training_documents(&folder.data(&arm.name).join("documents.parquet"))?);
            losses.push(by_seed);
        }
        if parts.len() < 4 {
            return Err(nothing());
        }
        // What every method says, added up over each part: the mean over the base's seeds.
        let domains: Vec<String> = base.prepared.held_out().iter().map(|domain| domain.name.clone()).collect();
        let counts = losses[0][0].iter().map(Vec::len).collect::<Vec<usize>>();
        let questions: Vec<Question> = counts
            .iter()
            .enumerate()
            .flat_map(|(domain, count)| {
                (0..*count).map(move |number| Question::Sequence { domain, number, of: sequences })
            })
            .collect();
        let mut predictions: HashMap<Method, Vec<Vec<f64>>> = HashMap::new();
        let mut notes: Vec<String> = Vec::new();
        let seeds: Vec<u64> = study.seeds.iter().copied().filter(|seed| done(first, *seed)).collect();
        for seed in &seeds {
            let attribution = Attribution {
                questions: &questions,
                methods,
                settings,
                stop,
                progress: &mut |told| progress(Told::Attribution(told)),
            };
            let answers = reopen(&folder.run(&first.name, *seed), device, attribution)?;
            for &method in methods {
                let sums = predictions.entry(method).or_insert_with(|| vec![vec![0.0; parts.len()]; questions.len()]);
                for (number, sums) in sums.iter_mut().enumerate() {
                    for hit in answers.by_document(method, number) {
                        let id = &answers.passages.documents[hit.document].id;
                        for (sum, part) in sums.iter_mut().zip(&parts) {
                            if part.contains(id) {
                                *sum += hit.score;
                            }
                        }
                    }
                }
            }
            for note in answers.notes {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        if seeds.is_empty() {
            return Err(nothing());
        }
        let flat: Vec<Vec<Vec<f64>>> =
            losses.iter().map(|by_seed| by_seed.iter().map(|domains| domains.concat()).collect()).collect();
        let domain_of: Vec<usize> =
            counts.iter().enumerate().flat_map(|(domain, count)| std::iter::repeat_n(domain, *count)).collect();
        Ok(grade(&flat, &predictions, methods, &domains, &domain_of, failed, bootstrap, notes))
    }
}

fn nothing() -> InfluenceError {
    InfluenceError::Study {
        what: "too few runs of the study have come to an end to grade anything".into(),
        hint: "--retry-failed makes those that failed once more".into(),
    }
}

/// `losses` is `[part][seed][question]`, `predictions` `[question][part]`.
fn grade(
    losses: &[Vec<Vec<f64>>],
    predictions: &HashMap<Method, Vec<Vec<f64>>>,
    methods: &[Method],
    domains: &[String],
    domain_of: &[usize],
    failed: usize,
    bootstrap: &Bootstrap,
    notes: Vec<String>,
) -> Graded {
    let (parts, seeds) = (losses.len(), losses[0].len());
    let mean_of = |part: usize, question: usize, of: &dyn Fn(usize) -> bool| {
        let taken: Vec<f64> = (0..seeds).filter(|seed| of(*seed)).map(|seed| losses[part][seed][question]).collect();
        taken.iter().sum::<f64>() / taken.len().max(1) as f64
    };
    let once = vec![1; parts];
    let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let questions = domain_of.len();
    let halves = (seeds >= 2)
        .then(|| {
            let of = |question: usize| {
                let pair = |part: usize| {
                    (mean_of(part, question, &|seed| seed % 2 == 0), mean_of(part, question, &|seed| seed % 2 == 1))
                };
                spearman_of_draws(&(0..parts).map(pair).collect::<Vec<_>>(), &once)
            };
            mean((0..questions).filter_map(of).collect())
        })
        .flatten();
    // 2r / (1 + r) is the reliability of both halves together; with unequal halves a little more.
    let ceiling = halves.filter(|r| *r > 0.0).map(|r| (2.0 * r / (1.0 + r)).sqrt());
    let mut scores: Vec<Score> = methods
        .iter()
        .filter_map(|method| {
            let predicted = predictions.get(method)?;
            let pairs: Vec<Vec<(f64, f64)>> = (0..questions)
                .map(|question| {
                    (0..parts).map(|part| (predicted[question][part], -mean_of(part, question, &|_| true))).collect()
                })
                .collect();
            let over = |draws: &[u32], of: &dyn Fn(usize) -> bool| {
                // A method that says the same of every part tells nothing: 0.
                mean(
                    (0..questions)
                        .filter(|question| of(domain_of[*question]))
                        .map(|question| spearman_of_draws(&pairs[question], draws).unwrap_or(0.0))
                        .collect(),
                )
            };
            let lds = bootstrap.interval_of_draws(parts, |draws| over(draws, &|_| true));
            let by_domain =
                domains.iter().enumerate().map(|(place, name)| (name.clone(), over(&once, &|own| own == place)));
            Some(Score {
                method: method.name(),
                lds,
                by_domain: by_domain.collect(),
                of_ceiling: lds.zip(ceiling).map(|(lds, ceiling)| lds.value / ceiling),
            })
        })
        .collect();
    let value = |score: &Score| score.lds.map_or(f64::NEG_INFINITY, |lds| lds.value);
    scores.sort_by(|a, b| value(b).total_cmp(&value(a)));
    Graded { subsets: parts, failed, questions, seeds, halves, ceiling, scores, notes }
}

/// The mean loss of every held-out sequence: `[domain][sequence]`.
struct Sequences {
    of: usize,
}

impl Inquiry for Sequences {
    type Finding = Vec<Vec<f64>>;
    type Error = InfluenceError;

    fn ask<M: Learner>(self, run: Reopened<M>) -> Result<Self::Finding, InfluenceError> {
        let domain = |domain: usize| {
            let examples = run.held_out(domain, self.of);
            let losses = examples.iter().map(|example| {
                let losses = run.token_losses(std::slice::from_ref(example));
                losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64
            });
            losses.collect()
        };
        Ok((0..run.prepared.held_out().len()).map(domain).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses that follow from which documents a part holds, with noise; a method that knows reaches the ceiling, one that says
    /// the same of all reaches nothing.
    #[test]
    fn a_method_that_knows_reaches_the_ceiling() {
        let draw = |a: u64, b: u64| {
            (0..12_u64)
                .map(|at| loam_nn::initialize::mix((a << 40) | (b << 8) | at) as f64 / u64::MAX as f64)
                .sum::<f64>()
                - 6.0
        };
        let (parts, questions, seeds) = (200, 8, 2);
        let signal: Vec<Vec<f64>> =
            (0..questions).map(|question| (0..parts).map(|part| draw(question, part)).collect()).collect();
        let losses: Vec<Vec<Vec<f64>>> = (0..parts)
            .map(|part| {
                (0..seeds)
                    .map(|seed| {
                        (0..questions)
                            .map(|question| {
                                3.0 - signal[question as usize][part as usize]
                                    + draw(1000 + seed, 977 * part + question)
                            })
                            .collect()
                    })
                    .collect()
            })
            .collect();
        let flat = vec![vec![0.0; parts as usize]; questions as usize];
        let against: Vec<Vec<f64>> = signal.iter().map(|row| row.iter().map(|value| -value).collect()).collect();
        let predictions =
            HashMap::from([(Method::EkFac, signal.clone()), (Method::Bm25, flat), (Method::Spans, against)]);
        let methods = [Method::Spans, Method::Bm25, Method::EkFac];
        let domain_of = vec![0, 0, 0, 0, 1, 1, 1, 1];
        let domains = ["a".to_owned(), "b".to_owned()];
        let graded = grade(&losses, &predictions, &methods, &domains, &domain_of, 0, &Bootstrap::default(), vec![]);
        // Signal and noise of a seed have one variance: r = 1/2, reliability 2/3.
        assert!((graded.halves.unwrap() - 0.48).abs() < 0.08, "{graded:?}");
        assert!((graded.ceiling.unwrap() - (2.0_f64 / 3.0).sqrt()).abs() < 0.05, "{graded:?}");
        let names: Vec<&str> = graded.scores.iter().map(|score| score.method).collect();
        assert_eq!(names, ["ek-fac", "bm25", "spans"]);
        assert!((graded.scores[0].of_ceiling.unwrap() - 1.0).abs() < 0.08, "{graded:?}");
        assert_eq!(graded.scores[1].lds.unwrap().value, 0.0);
        assert!(graded.scores[0].by_domain.iter().all(|(_, value)| value.unwrap() > 0.6));
    }
}
