//! The events of a run, sorted by what they tell. A resumed run tells some things again: the later word counts.

use loam_corpus::{HeldOutSummary, SourceSummary};
use loam_train::finetune::Measured;
use loam_train::record::{Event, EventLine, MetricRow};

/// How a session began.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub time: String,
    pub loam: String,
    pub machine: String,
    pub device: String,
    pub threads: usize,
    pub precision: String,
    pub seed: u64,
    pub resumed_from: Option<u64>,
}

/// The model's shape.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub family: String,
    pub parameters: u64,
    pub non_embedding_parameters: u64,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub context: usize,
}

/// A held-out evaluation. Loss in nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evaluation {
    pub step: u64,
    pub loss: f64,
    /// None where only the loss was recorded.
    pub bits_per_byte: Option<f64>,
    /// Share of the tokens that were the most probable ones; none where it was not recorded.
    pub accuracy: Option<f64>,
    /// Tokens scored; 0 where it was not recorded.
    pub tokens: u64,
}

/// All evaluations of one held-out domain, by step.
#[derive(Clone, Debug)]
pub(crate) struct DomainLoss {
    pub domain: String,
    pub evaluations: Vec<Evaluation>,
}

/// A simple model's held-out loss in nats a token.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub domain: String,
    pub name: String,
    pub loss: f64,
    pub bits_per_byte: f64,
    pub accuracy: Option<f64>,
}

/// Text that the model wrote.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub prompt: String,
    pub text: String,
    pub temperature: f64,
}

/// What a run of fine-tuning is for, and how well the model does it.
#[derive(Clone, Debug)]
pub(crate) struct TaskRun {
    pub name: String,
    pub examples: u64,
    pub epochs: f64,
    /// Examples an optimizer step.
    pub batch: usize,
    /// By step.
    pub measurements: Vec<(u64, Measured)>,
}

impl TaskRun {
    /// The measurement of the weights that were kept: the best one, the first of equals.
    pub fn kept(&self) -> Option<&(u64, Measured)> {
        let better = |best: Option<_>, one| match best {
            Some(best) => {
                let (a, b): (&(u64, Measured), &(u64, Measured)) = (best, one);
                Some(if b.1.score() > a.1.score() { b } else { a })
            }
            None => Some(one),
        };
        self.measurements.iter().fold(None, better)
    }
}

/// What the ledger cost.
#[derive(Clone, Debug)]
pub(crate) struct LedgerCost {
    pub seconds: f64,
    pub overhead: f64,
    pub refreshes: u64,
    pub tokens_per_domain: usize,
    pub momentum: String,
    pub memory_bytes: u64,
}

/// What the ledger by document cost.
#[derive(Clone, Debug)]
pub(crate) struct DocumentCost {
    pub overhead: f64,
    pub tokens_scored: u64,
    pub documents: u64,
}

/// How a session ended.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub time: String,
    pub reason: String,
    pub step: u64,
    pub seconds: f64,
    pub tokens_per_second: f64,
    pub weights_hash: String,
}

/// Everything that a run's events tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub sessions: Vec<Session>,
    /// Kind, vocabulary and origin.
    pub tokenizer: Option<(String, usize, String)>,
    pub data_hash: Option<String>,
    pub sources: Vec<SourceSummary>,
    pub held_out: Vec<HeldOutSummary>,
    pub model: Option<Model>,
    /// Planned optimizer steps, tokens a step and tokens a micro-batch.
    pub plan: Option<(u64, usize, usize)>,
    pub baselines: Vec<Baseline>,
    pub losses: Vec<DomainLoss>,
    /// Step and path of the checkpoint with the lowest held-out loss.
    pub best_checkpoint: Option<(u64, String)>,
    pub samples: Vec<Sample>,
    pub ledger_cost: Option<LedgerCost>,
    pub document_cost: Option<DocumentCost>,
    /// Of a run of fine-tuning.
    pub task: Option<TaskRun>,
    /// How the last session ended; none while it goes on, and none after a kill.
    pub finish: Option<Finish>,
    /// Last step, and training tokens where known, that anything tells of.
    pub step: u64,
    pub tokens: u64,
    /// Seconds of training, over all sessions where the metrics say so.
    pub seconds: Option<f64>,
}

impl Facts {
    /// Sorts `events` and completes them from `metrics`.
    pub fn gather(events: &[EventLine], metrics: &[MetricRow]) -> Self {
        let mut facts = Self::default();
        for line in events {
            facts.take(&line.time, &line.event);
        }
        facts.complete(metrics);
        facts
    }

    fn take(&mut self, time: &str, event: &Event) {
        match event.clone() {
            Event::Start { loam, machine, device, threads, precision, seed, resumed_from } => {
                let time = time.to_owned();
                self.sessions.push(Session { time, loam, machine, device, threads, precision, seed, resumed_from });
                self.samples.clear();
                self.finish = None;
                if let Some(step) = resumed_from {
                    self.forget_after(step);
                } else {
                    self.losses.clear();
                    self.task = None;
                }
            }
            Event::Tokenizer { kind, vocabulary, origin } => self.tokenizer = Some((kind, vocabulary, origin)),
            Event::Data { hash, sources, held_out } => {
                (self.data_hash, self.sources, self.held_out) = (Some(hash), sources, held_out);
            }
            Event::Model { family, parameters, non_embedding_parameters, width, layers, heads, context, .. } => {
                self.model =
                    Some(Model { family, parameters, non_embedding_parameters, width, layers, heads, context });
            }
            Event::Plan { steps, batch_tokens, micro_batch_tokens, .. } => {
                self.plan = Some((steps, batch_tokens, micro_batch_tokens));
            }
            Event::Baseline { domain, name, loss, bits_per_byte, accuracy } => {
                self.baselines.retain(|baseline| (&baseline.domain, &baseline.name) != (&domain, &name));
                self.baselines.push(Baseline { domain, name, loss, bits_per_byte, accuracy });
            }
            Event::Evaluation { step, domain, loss, bits_per_byte, accuracy, tokens } => {
                let bits_per_byte = Some(bits_per_byte);
                self.evaluation(&domain, Evaluation { step, loss, bits_per_byte, accuracy, tokens });
            }
            Event::FineTuning { task: name, steps, epochs, examples, tokens, batch } => {
                let batch_tokens = (tokens as f64 * epochs / steps.max(1) as f64).round() as usize;
                self.plan = Some((steps, batch_tokens, batch_tokens));
                let measurements = self.task.take().map(|task| task.measurements).unwrap_or_default();
                self.task = Some(TaskRun { name, examples, epochs, batch, measurements });
            }
            Event::Measurement { step, measured, .. } => {
                let (loss, accuracy) = (measured.loss, measured.metrics.get("accuracy").copied());
                let tokens = measured.examples;
                if let Some(task) = &mut self.task {
                    task.measurements.retain(|(other, _)| *other != step);
                    task.measurements.push((step, measured));
                }
                self.evaluation("validation", Evaluation { step, loss, bits_per_byte: None, accuracy, tokens });
            }
            Event::Checkpoint { step, path, best } => {
                self.step = self.step.max(step);
                if best {
                    self.best_checkpoint = Some((step, path));
                }
            }
            Event::Sample { prompt, text, temperature } => self.samples.push(Sample { prompt, text, temperature }),
            Event::LedgerCost { seconds, overhead, refreshes, tokens_per_domain, momentum, memory_bytes } => {
                self.ledger_cost =
                    Some(LedgerCost { seconds, overhead, refreshes, tokens_per_domain, momentum, memory_bytes });
            }
            Event::DocumentCost { overhead, tokens_scored, documents, .. } => {
                self.document_cost = Some(DocumentCost { overhead, tokens_scored, documents });
            }
            Event::Finish { reason, step, tokens, seconds, tokens_per_second, weights_hash } => {
                let time = time.to_owned();
                self.step = self.step.max(step);
                self.tokens = self.tokens.max(tokens);
                self.finish = Some(Finish { time, reason, step, seconds, tokens_per_second, weights_hash });
            }
        }
    }

    /// The run goes on from `step`: what it evaluated later, it will evaluate again.
    fn forget_after(&mut self, step: u64) {
        for domain in &mut self.losses {
            domain.evaluations.retain(|evaluation| evaluation.step <= step);
        }
        if let Some(task) = &mut self.task {
            task.measurements.retain(|(measured, _)| *measured <= step);
        }
        self.step = step;
    }

    fn evaluation(&mut self, domain: &str, evaluation: Evaluation) {
        self.step = self.step.max(evaluation.step);
        let index = self.losses.iter().position(|loss| loss.domain == domain).unwrap_or_else(|| {
            self.losses.push(DomainLoss { domain: domain.to_owned(), evaluations: Vec::new() });
            self.losses.len() - 1
        });
        let evaluations = &mut self.losses[index].evaluations;
        evaluations.retain(|other| other.step != evaluation.step);
        evaluations.push(evaluation);
    }

    fn complete(&mut self, metrics: &[MetricRow]) {
        let known: Vec<String> = self.losses.iter().map(|loss| loss.domain.clone()).collect();
        for row in metrics {
            if row.metric == "held_out_loss" && !known.contains(&row.domain) {
                let (step, loss) = (row.step, row.value);
                let evaluation = Evaluation { step, loss, bits_per_byte: None, accuracy: None, tokens: 0 };
                self.evaluation(&row.domain, evaluation);
            }
        }
        for domain in &mut self.losses {
            domain.evaluations.retain(|evaluation| evaluation.loss.is_finite());
            domain.evaluations.sort_by_key(|evaluation| evaluation.step);
        }
        self.losses.retain(|domain| !domain.evaluations.is_empty());
        if let Some(last) = metrics.iter().max_by_key(|row| row.step) {
            self.step = self.step.max(last.step);
            self.tokens = self.tokens.max(last.tokens);
            self.seconds = Some(last.seconds).filter(|seconds| seconds.is_finite());
        }
        if let Some(finish) = &self.finish {
            let earlier = self.seconds.unwrap_or(0.0);
            self.seconds = Some(if self.sessions.len() > 1 { earlier.max(finish.seconds) } else { finish.seconds });
        }
        if self.tokens == 0
            && let Some((_, batch_tokens, _)) = self.plan
        {
            self.tokens = self.step * batch_tokens as u64;
        }
    }

    /// Names of the held-out domains, as evaluated, or as prepared where nothing was evaluated yet.
    pub fn last_losses(&self) -> impl Iterator<Item = (&str, Evaluation)> {
        self.losses.iter().filter_map(|loss| Some((loss.domain.as_str(), *loss.evaluations.last()?)))
    }

    /// The baselines of one domain, the worst first.
    pub fn baselines_of(&self, domain: &str) -> Vec<&Baseline> {
        let mut baselines: Vec<&Baseline> = self.baselines.iter().filter(|b| b.domain == domain).collect();
        baselines.sort_by(|left, right| right.loss.total_cmp(&left.loss));
        baselines
    }
}
