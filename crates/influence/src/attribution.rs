//! Attribution after training: which training documents made a model say this?
//!
//! Every method gives each training document a number for a question; they differ in what they ask of the model, and each
//! is compared with those that ask nothing of it (BM25, stretches that stand there as they are). Positive is helpful: with
//! more of the document the model would have said it sooner.
//!
//! Methods of gradients compare a question's gradient with every passage's. The passages' are projected to a few thousand
//! numbers ([`projection`]) and kept on disk ([`index`]), so that a question costs one backward pass and one product a passage.

pub mod curvature;
pub mod index;
pub mod method;
pub mod passages;
pub mod projection;
pub mod question;
pub mod spans;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use loam_corpus::Prepared;
use loam_nn::parameters;
use loam_tasks::embed::Bm25;
use loam_train::export::weights_hash;
use loam_train::learner::Learner;
use loam_train::objective::Example;
use loam_train::reopen::{Inquiry, Reopened};

use crate::InfluenceError;
use curvature::{Damped, Factored};
use index::{Description, FORMAT, Index, Rows};
pub use method::{Method, Settings};
use passages::Passages;
use projection::{Projection, Projector};
pub use question::Question;
use question::Read;
use spans::Automaton;

/// The largest matrix that is inverted: 800 MB while it is summed and solved.
const LARGEST_INVERSE: usize = 8192;

/// An index that is whole for the weights at hand.
struct Indexed {
    rows: Rows,
    index: Index,
    projector: Projector,
    /// Hash of these weights.
    weights: String,
}

/// What is told while an answer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many of so many passages have a gradient at this step.
    Gradients {
        /// Passages done.
        done: usize,
        /// Of so many.
        of: usize,
        /// Of the weights after so many steps.
        step: u64,
    },
    /// The same, for EK-FAC's factors.
    Factors {
        /// Gradients taken.
        done: usize,
        /// Of so many.
        of: usize,
    },
}

/// Questions, and the methods that are to answer them.
pub struct Attribution<'a> {
    /// The questions.
    pub questions: &'a [Question],
    /// The methods.
    pub methods: &'a [Method],
    /// How they work.
    pub settings: &'a Settings,
    /// Set to stop; what an index has so far stays.
    pub stop: &'a AtomicBool,
    /// Who is told how far it is.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// Every answer.
pub struct Answers {
    /// The run's tokens.
    pub prepared: Prepared,
    /// Its training documents.
    pub passages: Passages,
    /// Steps that the weights had been trained for.
    pub step: u64,
    /// The mean loss of every question, in nats a token, at these weights.
    pub losses: Vec<f64>,
    /// Of every method and question, what it says of every passage.
    pub scores: Vec<(Method, Vec<Vec<f64>>)>,
    /// What a reader has to know, in words.
    pub notes: Vec<String>,
}

/// A document as it answers a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its place among the documents.
    pub document: usize,
    /// What the method says of it.
    pub score: f64,
    /// Its best passage (its worst, where the score is negative).
    pub passage: usize,
}

impl Answers {
    /// What a method says of every document.
    pub fn by_document(&self, method: Method, question: usize) -> Vec<Hit> {
        let Some((_, scores)) = self.scores.iter().find(|(own, _)| *own == method) else { return Vec::new() };
        let scores = &scores[question];
        let documents = self.passages.documents.iter().enumerate();
        let hit = |(document, own): (usize, &passages::Document)| {
            let range = own.passages.clone();
            let best = |sign: f64| {
                range.clone().max_by(|a, b| (sign * scores[*a]).total_cmp(&(sign * scores[*b]))).unwrap_or(range.start)
            };
            let score = if method.adds_up() { range.clone().map(|at| scores[at]).sum() } else { scores[best(1.0)] };
            Hit { document, score, passage: best(if score < 0.0 { -1.0 } else { 1.0 }) }
        };
        documents.map(hit).collect()
    }

    /// The `most` documents of the highest scores, and the `least` of the lowest that are below 0; of equal ones the one that
    /// stands first. Scores of 0 are no answers.
    pub fn best_and_worst(&self, method: Method, question: usize, most: usize, least: usize) -> (Vec<Hit>, Vec<Hit>) {
        let mut hits = self.by_document(method, question);
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.document.cmp(&b.document)));
        let best = hits.iter().take(most).take_while(|hit| hit.score > 0.0).copied().collect();
        let worst = hits.iter().rev().take(least).take_while(|hit| hit.score < 0.0).copied().collect();
        (best, worst)
    }
}

impl Inquiry for Attribution<'_> {
    type Finding = Answers;
    type Error = InfluenceError;

    fn ask<M: Learner>(mut self, mut run: Reopened<M>) -> Result<Answers, InfluenceError> {
        let passages = Passages::of(&run)?;
        if passages.passages.is_empty() {
            return Err(InfluenceError::Attribution {
                what: format!("{} names no training document", run.documents.display()),
                hint: "prepare the data again".into(),
            });
        }
        if self.methods.contains(&Method::Trak) && self.settings.dimensions > LARGEST_INVERSE {
            return Err(InfluenceError::Attribution {
                what: format!(
                    "trak inverts a matrix of {0} by {0} numbers, and {LARGEST_INVERSE} is the most",
                    self.settings.dimensions
                ),
                hint: "give fewer --dimensions, or leave trak out of --method".into(),
            });
        }
        let mut notes = Vec::new();
        let read: Vec<Read> = self
            .questions
            .iter()
            .map(|question| Read::of(&run, question, self.settings.domain_sequences, &mut notes))
            .collect::<Result<_, _>>()?;
        let last = run.step();
        let losses = read
            .iter()
            .map(|question| {
                let losses = run.token_losses(&question.examples);
                losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64
            })
            .collect();
        let mut scores = Vec::new();
        for &method in self.methods {
            let found = match method {
                Method::Bm25 => words_in_common(&run.prepared, &passages, &read),
                Method::Spans => self.spans(&run.prepared, &passages, &read),
                Method::Representation => self.states(&run, &passages, &read)?,
                Method::TracIn => self.tracin(&mut run, &passages, &read, &mut notes)?,
                _ => {
                    let index = self.indexed(&run, &passages, method)?;
                    self.gradients(&run, &passages, &read, method, &index)?
                }
            };
            run.go_to(last)?;
            scores.push((method, found));
        }
        Ok(Answers { prepared: run.prepared, passages, step: last, losses, scores, notes })
    }
}

impl Attribution<'_> {
    fn stopped(&self) -> Result<(), InfluenceError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(InfluenceError::Interrupted);
        }
        Ok(())
    }

    fn folder<M: Learner>(&self, run: &Reopened<M>) -> PathBuf {
        self.settings.folder.clone().unwrap_or_else(|| run.run.folder().join("influence"))
    }

    /// The rows of the method's index at the run's weights, made where they are not there.
    fn indexed<M: Learner>(
        &mut self,
        run: &Reopened<M>,
        passages: &Passages,
        method: Method,
    ) -> Result<Indexed, InfluenceError> {
        let projection = method.projection(self.settings).expect("a method of gradients");
        let projector = Projector::new(projection, &run.parameters, self.settings.seed);
        let name = match projection {
            Projection::Hashed { dimensions } => format!("hashed-{dimensions}"),
            Projection::TwoSided { rank } => format!("two-sided-{rank}"),
        };
        let wanted = Description {
            format: FORMAT,
            data: run.prepared.hash().to_owned(),
            passages: passages.hash(),
            count: passages.passages.len(),
            projection,
            seed: self.settings.seed,
            dimensions: projector.dimensions(),
            weights: Vec::new(),
        };
        let mut index = Index::open(&self.folder(run).join(name), wanted)?;
        let (step, hash) = (run.step(), weights_hash(run.model()));
        if !index.has(step, &hash) {
            let count = passages.passages.len();
            index.write(step, &hash, &mut |passage| {
                self.stopped()?;
                let gradient = summed_gradient(run, &[passages.example(run, passage)])?;
                (self.progress)(Progress::Gradients { done: passage + 1, of: count, step });
                Ok(projector.project(&slices(&gradient)))
            })?;
        }
        Ok(Indexed { rows: index.rows(step)?, index, projector, weights: hash })
    }

    /// What a method of gradients says of every passage.
    fn gradients<M: Learner>(
        &mut self,
        run: &Reopened<M>,
        passages: &Passages,
        questions: &[Read],
        method: Method,
        indexed: &Indexed,
    ) -> Result<Vec<Vec<f64>>, InfluenceError> {
        let Indexed { rows, projector, index, weights } = indexed;
        let damping = self.settings.damping;
        let mut asked: Vec<Vec<Vec<f32>>> = Vec::new();
        for question in questions {
            asked.push(mean_gradient(run, question)?);
        }
        match method {
            Method::AdamDot => {
                let preconditioner = run.preconditioner();
                for gradient in &mut asked {
                    for (values, factors) in gradient.iter_mut().zip(&preconditioner) {
                        values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
                    }
                }
            }
            Method::EkFac => {
                let mut factored = Factored::new(&run.parameters);
                let what = format!("factors-{}", self.settings.factor_passages);
                let values = index
                    .kept(&what, weights, factored.numbers(), &mut || Ok(self.factored(run, passages)?.values()))?;
                factored.restore(&values);
                for gradient in &mut asked {
                    *gradient = factored.solve(&slices(gradient), damping);
                }
            }
            _ => {}
        }
        let mut vectors: Vec<Vec<f32>> = asked.iter().map(|gradient| projector.project(&slices(gradient))).collect();
        if matches!(method, Method::Trak | Method::LoGra) {
            let blocks = projector.blocks();
            let values = index.kept(&format!("inverse-{damping}"), weights, Damped::numbers(blocks), &mut || {
                Ok(Damped::of(rows, blocks, damping).values().to_vec())
            })?;
            let damped = Damped::from_values(blocks, values);
            vectors = vectors.iter().map(|vector| damped.solve(vector)).collect();
        }
        let mut scores = rows.products(&vectors);
        if method == Method::GradientCosine {
            let norms = rows.norms();
            for (scores, vector) in scores.iter_mut().zip(&vectors) {
                let length = loam_kernels::vector::sum_of_squares(vector).sqrt();
                for (score, norm) in scores.iter_mut().zip(&norms) {
                    let both = norm * length;
                    *score = if both > 0.0 { *score / both } else { 0.0 };
                }
            }
        }
        Ok(scores)
    }

    fn tracin<M: Learner>(
        &mut self,
        run: &mut Reopened<M>,
        passages: &Passages,
        questions: &[Read],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Vec<f64>>, InfluenceError> {
        let skipped = run.steps.len().saturating_sub(self.settings.checkpoints.max(1));
        let steps: Vec<u64> = run.steps[skipped..].to_vec();
        if steps.len() == 1 {
            notes.push(
                "tracin sums over the checkpoints that are there, and there is one; a run with a larger \
                 train.keep_checkpoints keeps more"
                    .to_owned(),
            );
        }
        let mut sums = vec![vec![0.0; passages.passages.len()]; questions.len()];
        for step in steps {
            run.go_to(step)?;
            let index = self.indexed(run, passages, Method::TracIn)?;
            let scores = self.gradients(run, passages, questions, Method::TracIn, &index)?;
            // A rate that has fallen to nothing at the end would leave the last weights out.
            let rate = run.learning_rate().max(1e-3 * run.recipe.train.lr);
            for (sums, scores) in sums.iter_mut().zip(scores) {
                for (sum, score) in sums.iter_mut().zip(scores) {
                    *sum += rate * score;
                }
            }
        }
        Ok(sums)
    }

    /// EK-FAC's factors, measured on passages that are spread over all.
    fn factored<M: Learner>(&mut self, run: &Reopened<M>, passages: &Passages) -> Result<Factored, InfluenceError> {
        let count = passages.passages.len();
        let taken = self.settings.factor_passages.clamp(1, count);
        let mut factored = Factored::new(&run.parameters);
        for pass in 0..2 {
            for sample in 0..taken {
                self.stopped()?;
                let passage = sample * count / taken;
                let gradient = summed_gradient(run, &[passages.example(run, passage)])?;
                if pass == 0 {
                    factored.add_to_factors(&slices(&gradient));
                } else {
                    factored.add_to_squares(&slices(&gradient));
                }
                (self.progress)(Progress::Factors { done: pass * taken + sample + 1, of: 2 * taken });
            }
            if pass == 0 {
                factored.turn();
            }
        }
        Ok(factored)
    }

    /// Cosines of mean last hidden states.
    fn states<M: Learner>(
        &mut self,
        run: &Reopened<M>,
        passages: &Passages,
        questions: &[Read],
    ) -> Result<Vec<Vec<f64>>, InfluenceError> {
        let of = |examples: &[Example]| -> Option<Vec<f32>> {
            let mut sum: Option<Vec<f32>> = None;
            for example in examples {
                let state = run.state(example)?;
                sum = Some(match sum {
                    None => state,
                    Some(sum) => sum.iter().zip(state).map(|(a, b)| a + b).collect(),
                });
            }
            let sum = sum?;
            let length = loam_kernels::vector::sum_of_squares(&sum).sqrt().max(f64::MIN_POSITIVE) as f32;
            Some(sum.into_iter().map(|value| value / length).collect())
        };
        let asked: Option<Vec<Vec<f32>>> = questions.iter().map(|question| of(&question.examples)).collect();
        let Some(asked) = asked else {
            return Err(InfluenceError::Attribution {
                what: "a model of pairs has no one state of a text".into(),
                hint: "ask with another --method".into(),
            });
        };
        let mut scores = vec![Vec::with_capacity(passages.passages.len()); questions.len()];
        for passage in 0..passages.passages.len() {
            self.stopped()?;
            let state = of(&[passages.example(run, passage)]).unwrap_or_default();
            for (scores, asked) in scores.iter_mut().zip(&asked) {
                scores.push(if state.is_empty() { 0.0 } else { loam_kernels::vector::dot(&state, asked) });
            }
        }
        Ok(scores)
    }

    /// Tokens of the questions that stand in passages as they are.
    fn spans(&self, prepared: &Prepared, passages: &Passages, questions: &[Read]) -> Vec<Vec<f64>> {
        let count = |question: &Read| {
            let automaton = Automaton::new(&question.tokens);
            let of = |passage: &passages::Passage| {
                let source = passages.documents[passage.document].source;
                let mut ids = Vec::with_capacity(passage.tokens.len());
                prepared.train_stream(source).append(passage.tokens.clone(), &mut ids);
                let found = automaton.matches(ids, self.settings.shortest_span);
                found.iter().map(|found| found.text.len() as f64).sum()
            };
            passages.passages.iter().map(of).collect()
        };
        questions.iter().map(count).collect()
    }
}

/// BM25 of passages. Whole documents would favor the long ones less than sums over passages do, but a passage is what is shown.
fn words_in_common(prepared: &Prepared, passages: &Passages, questions: &[Read]) -> Vec<Vec<f64>> {
    let texts: Vec<String> = (0..passages.passages.len()).map(|passage| passages.text(prepared, passage)).collect();
    let index = Bm25::new(&texts);
    let scores = |question: &Read| {
        let mut scores = vec![0.0; texts.len()];
        for (passage, score) in index.nearest(&question.text, texts.len()) {
            scores[passage] = score;
        }
        scores
    };
    questions.iter().map(scores).collect()
}

/// The gradient of the summed loss of examples, on the host.
fn summed_gradient<M: Learner>(run: &Reopened<M>, examples: &[Example]) -> Result<Vec<Vec<f32>>, InfluenceError> {
    let (gradient, _) = run.gradient(examples)?;
    Ok(gradient.into_iter().map(parameters::to_host).collect())
}

/// The gradient of a question's mean loss.
fn mean_gradient<M: Learner>(run: &Reopened<M>, question: &Read) -> Result<Vec<Vec<f32>>, InfluenceError> {
    let mut sum: Option<Vec<Tensor<1>>> = None;
    for example in &question.examples {
        let (gradient, _) = run.gradient(std::slice::from_ref(example))?;
        sum = Some(match sum {
            None => gradient,
            Some(sum) => sum.into_iter().zip(gradient).map(|(a, b)| loam_nn::update::add(a, b)).collect(),
        });
    }
    let factor = 1.0 / question.counted().max(1) as f32;
    let scaled = |tensor: Tensor<1>| {
        let mut values = parameters::to_host(tensor);
        loam_kernels::vector::scale_assign(&mut values, factor);
        values
    };
    Ok(sum.unwrap_or_default().into_iter().map(scaled).collect())
}

fn slices(gradient: &[Vec<f32>]) -> Vec<&[f32]> {
    gradient.iter().map(Vec::as_slice).collect()
}
