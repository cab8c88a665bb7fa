//! A run from its recipe to its exported model, resumable at every checkpoint to the bit.

use crate::batch::{self, HeldOutLoss};
use crate::checkpoint::{self, Checkpoint, State};
use crate::document_records;
use crate::error::TrainError;
use crate::export;
use crate::feed::{Batch, Feed};
use crate::learner::{Learner, Regularization};
use crate::ledger::{self, DocumentBooks, Domain, Ledger};
use crate::measurements::{Measurements, Place};
use crate::objective::{self, Example, Kind};
use crate::optimizer::{Constants, Optimizer, StepGradients};
use crate::plan::{self, Portions};
use crate::recipe::{Momentum, Recipe};
use crate::record::Event;
use crate::run::Run;
use crate::session::{Observer, Session, StepProgress};
use burn::tensor::{Device, Tensor};
use loam_corpus::Prepared;
use loam_models::lora;
use loam_nn::initialize::mix;
use loam_nn::parameters::{self, Parameter};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Sequences of a held-out domain that the ledger draws from at most.
const LEDGER_SEQUENCES: usize = 4096;

/// Steps between measurements of what masked tokens cost, where that decides which are masked: a forward pass in eight
/// steps, a twentieth of the time or less.
const ADAPT_EVERY: u64 = 8;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// `done`, `early_stop` or `interrupted`.
    pub reason: String,
    /// Optimizer steps done.
    pub step: u64,
    /// Held-out loss of each domain at the end, over all of it where the run was done.
    pub held_out: Vec<(String, HeldOutLoss)>,
    /// Hash of the final weights.
    pub weights_hash: String,
}

struct HeldOut {
    name: String,
    all: Vec<Example>,
    /// Every so-many-th of `all` is read while the run goes on.
    stride: usize,
}

impl HeldOut {
    fn some(&self) -> Vec<Example> {
        self.all.iter().step_by(self.stride).cloned().collect()
    }
}

/// Everything that a step needs.
pub(crate) struct Trainer<'a, M: Learner> {
    run: &'a Run,
    recipe: &'a Recipe,
    session: &'a Session<'a>,
    observer: &'a mut dyn Observer,
    prepared: &'a Prepared,
    kind: Kind,
    portions: Portions,
    steps: u64,
    device: Device,
    /// None only while the optimizer holds it.
    model: Option<M>,
    names: Vec<Parameter>,
    optimizer: Optimizer,
    ledger: Option<Ledger>,
    feed: Feed,
    held_out: Vec<HeldOut>,
    token_bytes: Vec<u32>,
    state: State,
    measurements: Measurements,
    /// Mean loss and accuracy over the held-out domains when last measured.
    last_held_out: Option<(f64, f64)>,
}

/// What a step measured.
struct StepOutcome {
    loss: f64,
    norm: f64,
    rate: f64,
    tokens: u64,
    source_losses: Vec<Option<(f64, u64)>>,
}

impl<'a, M: Learner> Trainer<'a, M> {
    pub(crate) fn new(
        run: &'a Run,
        recipe: &'a Recipe,
        session: &'a Session<'a>,
        observer: &'a mut dyn Observer,
        prepared: &'a Prepared,
        model: M,
        feed: Feed,
        kind: Kind,
        portions: Portions,
        steps: u64,
        checkpoint_step: Option<u64>,
    ) -> Result<Self, TrainError> {
        let device = session.device.clone().autodiff();
        let names = parameters::list(&model);
        let plain = session.device.clone();
        let train = &recipe.train;
        let constants = Constants {
            beta1: train.beta1 as f32,
            beta2: train.beta2 as f32,
            epsilon: train.epsilon as f32,
            weight_decay: train.weight_decay as f32,
            clip: train.clip as f32,
        };
        let mut held_out = Vec::new();
        for (index, summary) in prepared.held_out().iter().enumerate() {
            let mut all = feed.held_out(prepared, index, None);
            // Of like lengths together, so that little of a batch is padding.
            all.sort_by_key(Example::length);
            let tokens: usize = all.iter().map(Example::tokens).sum();
            let stride = tokens.div_ceil((train.eval_tokens as usize).max(1)).max(1);
            held_out.push(HeldOut { name: summary.name.clone(), stride, all });
        }
        let sources: Vec<String> = prepared.sources().iter().map(|source| source.name.clone()).collect();
        let ledger = recipe.ledger.enabled.then(|| {
            let tokens = plan::ledger_tokens(recipe, &portions, held_out.len(), steps);
            let domains = prepared.held_out().iter().enumerate().map(|(index, summary)| Domain {
                name: summary.name.clone(),
                sequences: ledger_sequences(&feed, prepared, index),
            });
            let credited = recipe.ledger.momentum == Momentum::Sources;
            let settings = ledger::Settings {
                heaviest: heaviest(prepared),
                sources,
                credit: credited.then_some(constants.beta1),
                refresh_every: recipe.ledger.refresh_every,
                growth: plan::ledger_growth(recipe, &portions, held_out.len(), tokens, steps),
                sequences: tokens / portions.context,
                micro_batch_tokens: portions.micro_batch_tokens(),
            };
            let mut ledger = Ledger::new(settings, domains.collect(), &names, &plain);
            let rate = plan::documents_rate(recipe, held_out.len());
            let mut warn = |message: &str| observer.warning(message);
            ledger.documents = document_records::open(run, recipe, prepared, rate, &mut warn);
            ledger
        });
        let mut trainer = Self {
            state: State {
                step: 0,
                steps,
                tokens: 0,
                seconds: 0.0,
                seed: train.seed,
                position: feed.position(),
                data_hash: prepared.hash().to_owned(),
                best: None,
                evaluations_without_improvement: 0,
                ledger_scales: Vec::new(),
                document_steps: Vec::new(),
                masking: Vec::new(),
                frozen: model.frozen_hash(),
                loam: env!("CARGO_PKG_VERSION").to_owned(),
            },
            optimizer: Optimizer::new(constants, &names, &plain),
            measurements: Measurements::open(run, checkpoint_step)?,
            token_bytes: batch::token_bytes(prepared.tokenizer()),
            model: Some(model),
            last_held_out: None,
            run,
            recipe,
            session,
            observer,
            prepared,
            kind,
            portions,
            steps,
            device,
            names,
            ledger,
            feed,
            held_out,
        };
        if let Some(step) = checkpoint_step {
            trainer.restore(step)?;
        }
        Ok(trainer)
    }

    fn model(&self) -> &M {
        self.model.as_ref().expect("the optimizer gave the model back")
    }

    fn restore(&mut self, step: u64) -> Result<(), TrainError> {
        let folder = checkpoint::folder(&self.run.checkpoints(), step);
        let credited = self.recipe.ledger.momentum == Momentum::Sources;
        let lines = self.ledger.as_ref().filter(|_| credited).map(Ledger::lined_sources).unwrap_or_default();
        let saved: Checkpoint = checkpoint::read(&folder, &self.names, &lines, &self.session.device)?;
        if saved.state.data_hash != self.prepared.hash() {
            return Err(TrainError::Request(format!(
                "{} was trained on other data (hash {} then, {} now); start a new run for new data",
                folder.display(),
                saved.state.data_hash,
                self.prepared.hash()
            )));
        }
        if saved.state.frozen != self.state.frozen {
            return Err(TrainError::Request(format!(
                "{} holds adapters of another base: the model of model.from has changed since; start a new run",
                folder.display()
            )));
        }
        let mut weights = saved.weights.into_iter();
        let model = self.model.take().expect("the optimizer gave the model back");
        self.model = Some(parameters::update(model, |_, _| weights.next().expect("a value for every parameter")));
        self.optimizer.moments = saved.moments;
        if let Some(ledger) = &mut self.ledger {
            ledger.restore_momenta(saved.momenta);
            ledger.scales.clone_from(&saved.state.ledger_scales);
            ledger.scales.resize(self.held_out.len(), 0.0);
            if let Some(documents) = &mut ledger.documents {
                documents.restore(&saved.documents);
                if saved.state.document_steps.len() == documents.steps.len() {
                    documents.steps.clone_from(&saved.state.document_steps);
                }
            }
            if self.run.ledger().exists() {
                ledger.restore_rows(crate::table::read(&self.run.ledger(), step)?);
            }
        }
        self.feed.seek(&saved.state.position, &saved.state.masking);
        self.state = saved.state;
        Ok(())
    }

    /// Runs a step for its time only: nothing is kept. Seconds.
    pub(crate) fn time_a_step(&mut self) -> Result<f64, TrainError> {
        let start = Instant::now();
        let batches = self.next_batches();
        self.accumulate(&batches, 0)?;
        self.feed.seek(&self.state.position, &self.state.masking);
        Ok(start.elapsed().as_secs_f64())
    }

    /// Trains to the end of the plan, or until told to stop.
    pub(crate) fn train(mut self) -> Result<Outcome, TrainError> {
        if self.state.step >= self.steps && self.has_exported() {
            self.observer.warning("this run has done all its steps; nothing was left to do");
            let weights_hash = export::weights_hash(self.model());
            let step = self.state.step;
            return Ok(Outcome { reason: "done".to_owned(), step, held_out: Vec::new(), weights_hash });
        }
        if let Some(ledger) = &mut self.ledger {
            let model = self.model.as_ref().expect("the optimizer gave the model back");
            ledger.open(model, self.state.step, &self.device);
        }
        if self.state.step == 0 {
            self.evaluate(false)?;
        }
        let mut session_seconds = 0.0;
        let mut session_tokens = 0;
        let mut session_steps = 0_u64;
        let mut reason = "done";
        while self.state.step < self.steps {
            if self.session.stop.load(Ordering::Relaxed) {
                reason = "interrupted";
                break;
            }
            let start = Instant::now();
            let outcome = match self.step() {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.log_failure(session_seconds)?;
                    return Err(error);
                }
            };
            let elapsed = start.elapsed().as_secs_f64();
            session_seconds += elapsed;
            session_steps += 1;
            session_tokens += outcome.tokens;
            self.state.seconds += elapsed;
            self.record(&outcome, elapsed);
            let rate = session_tokens as f64 / session_seconds;
            self.observer.step(&StepProgress {
                step: self.state.step,
                steps: self.steps,
                loss: outcome.loss,
                held_out: self.last_held_out.map(|(loss, _)| loss),
                accuracy: self.last_held_out.map(|(_, accuracy)| accuracy),
                tokens_per_second: rate,
                seconds_left: (self.steps - self.state.step) as f64 * session_seconds / session_steps as f64,
            });
            let (step, last) = (self.state.step, self.state.step == self.steps);
            let checkpoint = step.is_multiple_of(self.recipe.train.checkpoint_every.max(1)) && !last;
            if (step.is_multiple_of(self.recipe.train.eval_every.max(1)) && !last) || checkpoint {
                let patience = self.recipe.train.patience;
                self.evaluate(false)?;
                if patience.is_some_and(|patience| self.state.evaluations_without_improvement >= patience) {
                    reason = "early_stop";
                    break;
                }
            }
            if checkpoint {
                self.checkpoint()?;
            }
        }
        self.finish(reason, session_seconds, session_tokens)
    }

    fn has_exported(&self) -> bool {
        ["config.json", lora::CONFIGURATION].iter().any(|name| self.run.model().join(name).exists())
    }

    /// What led to a step that failed stays to be looked at.
    fn log_failure(&mut self, seconds: f64) -> Result<(), TrainError> {
        self.measurements.flush();
        self.write_tables()?;
        self.log(&Event::Finish {
            reason: "non_finite".to_owned(),
            step: self.state.step,
            tokens: self.state.tokens,
            seconds,
            tokens_per_second: 0.0,
            weights_hash: String::new(),
        })
    }

    fn next_batches(&mut self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = (0..self.portions.micro_batches).map(|_| self.feed.next()).collect();
        objective::balance(batches.iter_mut().flat_map(|batch| &mut batch.examples));
        batches
    }

    /// Gradients of a step: micro-batches are weighted by their tokens, so that many small ones equal a large one.
    fn accumulate(
        &mut self,
        batches: &[Batch],
        step: u64,
    ) -> Result<(StepGradients, f64, Vec<Option<(f64, u64)>>), TrainError> {
        let tokens: usize = batches.iter().map(|batch| batch.counted).sum();
        let scale = 1.0 / tokens.max(1) as f32;
        let sources = self.prepared.sources().len();
        let mut total: Option<Vec<Tensor<1>>> = None;
        let mut by_source: Vec<Option<Vec<Tensor<1>>>> = vec![None; sources];
        let mut losses: Vec<Option<(f64, u64)>> = vec![None; sources];
        let mut sum = 0.0;
        // Source by source, so that a source's gradient is one sum that both the step and its books can use.
        let mut order: Vec<usize> = (0..batches.len()).collect();
        order.sort_by_key(|index| batches[*index].source);
        for group in order.chunk_by(|a, b| batches[*a].source == batches[*b].source) {
            let mut part: Option<Vec<Tensor<1>>> = None;
            for &index in group {
                let (value, gradients) = self.micro_batch(&batches[index], scale, step, index)?;
                sum += value;
                let entry = losses[batches[index].source].get_or_insert((0.0, 0));
                *entry = (entry.0 + value / f64::from(scale), entry.1 + batches[index].counted as u64);
                part = Some(match part {
                    None => gradients,
                    Some(part) => ledger::add(part, gradients),
                });
            }
            let (source, part) = (batches[group[0]].source, part.expect("a group is not empty"));
            if self.ledger.as_ref().is_some_and(|ledger| ledger.has_line(source)) {
                by_source[source] = Some(part.clone());
            }
            total = Some(match total {
                None => part,
                Some(total) => ledger::add(total, part),
            });
        }
        let total = total.ok_or_else(|| TrainError::Request("a step without data".into()))?;
        Ok((StepGradients { total, by_source }, sum, losses))
    }

    /// Loss, times `scale`, and gradients of the `index`-th micro-batch of a step.
    fn micro_batch(
        &self,
        batch: &Batch,
        scale: f32,
        step: u64,
        index: usize,
    ) -> Result<(f64, Vec<Tensor<1>>), TrainError> {
        let number = step * self.portions.micro_batches as u64 + index as u64;
        let seed = mix(mix(self.recipe.train.seed ^ 0xd80b) ^ mix(number));
        let with = Regularization { dropout_seed: seed, smoothing: self.recipe.objective.label_smoothing as f32 };
        let loss = self.model().loss(&batch.examples, scale, Some(with), &self.session.device);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if !value.is_finite() {
            return Err(self.non_finite("loss"));
        }
        let gradients = parameters::gradients(self.model(), loss.backward());
        Ok((value, ledger::present(self.model(), gradients, &self.device)))
    }

    fn step(&mut self) -> Result<StepOutcome, TrainError> {
        let batches = self.next_batches();
        let (gradients, loss, source_losses) = self.accumulate(&batches, self.state.step)?;
        let norm = Optimizer::norm(&gradients.total);
        if !norm.is_finite() {
            return Err(self.non_finite("gradient"));
        }
        let train = &self.recipe.train;
        let warmup = train.warmup_steps(self.steps);
        let rate = train.lr * train.schedule.factor(self.state.step, self.steps, warmup, train.min_lr);
        let clip = self.optimizer.clip_factor(norm);
        let model = self.model.take().expect("the optimizer gave the model back");
        let present = gradients.by_source.iter().flatten().count();
        self.note_documents(&batches, f64::from(clip));
        let start = Instant::now();
        let number = self.state.step + 1;
        self.model = Some(self.optimizer.step(model, gradients, clip, rate as f32, number, self.ledger.as_mut()));
        let model = self.model.as_ref().expect("the optimizer gave the model back");
        if let Some(ledger) = &mut self.ledger {
            ledger.spent += start.elapsed().mul_f64(ledger.share_of_step(present));
            for batch in &batches {
                ledger.count(batch.source, batch.tokens);
            }
            // Booked at checkpoints too, so that a resumed run opens its books where this one did.
            let checkpoint = number.is_multiple_of(self.recipe.train.checkpoint_every.max(1));
            if ledger.due(number) || checkpoint || number == self.steps {
                let settled = checkpoint || number == self.steps;
                ledger.book(model, &self.optimizer, number, settled, &self.device);
            }
        }
        let tokens = batches.iter().map(|batch| batch.tokens as u64).sum();
        self.state.step = number;
        self.state.tokens += tokens;
        self.state.position = self.feed.position();
        self.adapt(&batches);
        Ok(StepOutcome { loss, norm, rate, tokens, source_losses })
    }

    fn documents(&self) -> Option<&DocumentBooks> {
        self.ledger.as_ref()?.documents.as_ref()
    }

    /// Has the books by document take note of the step at hand.
    fn note_documents(&mut self, batches: &[Batch], clip: f64) {
        let Some(documents) = self.ledger.as_mut().and_then(|ledger| ledger.documents.as_mut()) else { return };
        let start = Instant::now();
        let step = self.state.step;
        let tokens: usize = batches.iter().map(|batch| batch.counted).sum();
        let scale = clip / tokens.max(1) as f64;
        let first = step * self.portions.micro_batches as u64;
        for (number, batch) in (first..).zip(batches) {
            let places = self.feed.target_places(batch);
            let reached = || document_records::reached(self.recipe, self.steps, step, number);
            let reached = documents.is_drawn(number).then(reached);
            documents.trained_on(step, batch.source, &batch.examples, &places, reached, scale);
        }
        documents.spent += start.elapsed();
    }

    /// Has adaptive masking take note of what the model still gets wrong, on the first batch of every eighth step.
    fn adapt(&mut self, batches: &[Batch]) {
        if !self.feed.is_adaptive() || !self.state.step.is_multiple_of(ADAPT_EVERY) {
            return;
        }
        if let Some(batch) = batches.first() {
            let losses = self.model().clone().valid().token_losses(&batch.examples, &self.session.device);
            self.feed.learn(batch, &losses);
            self.state.masking = self.feed.memory();
        }
    }

    fn non_finite(&self, what: &'static str) -> TrainError {
        checkpoint::non_finite(&self.run.checkpoints(), self.state.step, what)
    }

    fn metric(&mut self, metric: &str, domain: &str, value: f64) {
        let State { step, tokens, seconds, .. } = self.state;
        self.measurements.push(Place { step, tokens, seconds }, metric, domain, value);
    }

    fn record(&mut self, outcome: &StepOutcome, elapsed: f64) {
        if !Measurements::keeps(self.state.step, self.steps) {
            return;
        }
        self.metric("train_loss", "", outcome.loss);
        if outcome.source_losses.len() > 1 {
            for (index, loss) in outcome.source_losses.iter().enumerate() {
                if let Some((sum, tokens)) = loss {
                    let name = self.prepared.sources()[index].name.clone();
                    self.metric("train_loss", &name, sum / *tokens as f64);
                }
            }
        }
        self.metric("learning_rate", "", outcome.rate);
        self.metric("gradient_norm", "", outcome.norm);
        self.metric("tokens_per_second", "", outcome.tokens as f64 / elapsed);
    }

    /// Held-out losses, over all of each domain or over the part that is read while training.
    fn losses(&self, whole: bool) -> Vec<(String, HeldOutLoss)> {
        let model = self.model().clone().valid();
        let mut losses = Vec::new();
        for domain in &self.held_out {
            let some;
            let sequences = if whole {
                &domain.all
            } else {
                some = domain.some();
                &some
            };
            let tokens = self.portions.micro_batch_tokens();
            let loss = batch::evaluate(&model, sequences, tokens, &self.token_bytes, &self.session.device);
            losses.push((domain.name.clone(), loss));
        }
        losses
    }

    /// [`Trainer::losses`], recorded, and compared with the best so far where they are of the part.
    fn evaluate(&mut self, whole: bool) -> Result<Vec<(String, HeldOutLoss)>, TrainError> {
        let losses = self.losses(whole);
        for (domain, loss) in &losses {
            self.metric("held_out_loss", domain, loss.per_token());
            if let Some(accuracy) = loss.accuracy() {
                self.metric("held_out_accuracy", domain, accuracy);
            }
            self.metric("bits_per_byte", domain, loss.bits_per_byte());
            if let Some(next) = &loss.next_sentences {
                self.metric("next_sentence_loss", domain, next.loss());
                self.metric("next_sentence_accuracy", domain, next.accuracy());
            }
            let event = Event::Evaluation {
                step: self.state.step,
                domain: domain.clone(),
                loss: loss.per_token(),
                bits_per_byte: loss.bits_per_byte(),
                accuracy: loss.accuracy(),
                tokens: loss.tokens,
            };
            self.log(&event)?;
        }
        let mean = mean_loss(&losses);
        let accuracy = losses.iter().filter_map(|(_, loss)| loss.accuracy()).sum::<f64>() / losses.len().max(1) as f64;
        self.last_held_out = mean.is_finite().then_some((mean, accuracy));
        if !whole && mean.is_finite() {
            if self.state.best.is_none_or(|(_, best)| mean < best) {
                self.state.best = Some((self.state.step, mean));
                self.state.evaluations_without_improvement = 0;
            } else {
                self.state.evaluations_without_improvement += 1;
            }
        }
        Ok(losses)
    }

    fn log(&mut self, event: &Event) -> Result<(), TrainError> {
        self.run.log(event)?;
        self.observer.event(event);
        Ok(())
    }

    fn write_tables(&self) -> Result<(), TrainError> {
        self.run.write_tables(self.measurements.rows(), self.ledger.as_ref().map(|ledger| ledger.rows.as_slice()))?;
        self.documents().map_or(Ok(()), |documents| document_records::write(self.run, documents))
    }

    /// Tables first: a kill between them and the checkpoint leaves rows that a resumed run passes over, never a gap.
    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.measurements.flush();
        self.write_tables()?;
        let best = self.state.best.is_some_and(|(step, _)| step == self.state.step);
        let saved = Checkpoint {
            weights: parameters::values(self.model()),
            moments: self.optimizer.moments.clone(),
            momenta: self.ledger.as_ref().map(Ledger::momenta).unwrap_or_default(),
            sources: self.ledger.as_ref().map(Ledger::lined_sources).unwrap_or_default(),
            documents: self.documents().map(DocumentBooks::tallies).unwrap_or_default(),
            state: State {
                ledger_scales: self.ledger.as_ref().map(|ledger| ledger.scales.clone()).unwrap_or_default(),
                document_steps: self.documents().map(|documents| documents.steps.clone()).unwrap_or_default(),
                masking: self.feed.memory(),
                ..self.state.clone()
            },
        };
        let folder = checkpoint::write(&self.run.checkpoints(), &self.names, &saved)?;
        drop(saved);
        // The best one so far is spared while newer ones push the old out.
        let spare: Vec<u64> = self.state.best.iter().map(|(step, _)| *step).collect();
        checkpoint::prune(&self.run.checkpoints(), self.recipe.train.keep_checkpoints, &spare)?;
        let path = folder.strip_prefix(self.run.folder()).unwrap_or(&folder).display().to_string();
        self.log(&Event::Checkpoint { step: self.state.step, path, best })
    }

    fn finish(mut self, reason: &str, seconds: f64, tokens: u64) -> Result<Outcome, TrainError> {
        if let Some(ledger) = &mut self.ledger {
            let model = self.model.as_ref().expect("the optimizer gave the model back");
            ledger.book(model, &self.optimizer, self.state.step, true, &self.device);
        }
        let done = reason != "interrupted";
        if reason == "done" && self.recipe.train.patience.is_some() {
            // The last weights are candidates too, by what the others were measured on.
            let mean = mean_loss(&self.losses(false));
            if mean.is_finite() && self.state.best.is_none_or(|(_, best)| mean < best) {
                self.state.best = Some((self.state.step, mean));
            }
        }
        // An interrupted run is stopped to be gone on with: what it needs is its checkpoint, quickly.
        let held_out = if done { self.evaluate(true)? } else { Vec::new() };
        self.checkpoint()?;
        let weights_hash = export::weights_hash(self.model());
        for cost in self.ledger_costs(seconds) {
            self.log(&cost)?;
        }
        if done {
            let best = self.best_weights(reason)?;
            let model = best.as_ref().unwrap_or(self.model());
            export::write(self.run, &model.clone().valid(), self.kind, self.recipe, self.prepared, &held_out)?;
        }
        self.write_tables()?;
        self.log(&Event::Finish {
            reason: reason.to_owned(),
            step: self.state.step,
            tokens: self.state.tokens,
            seconds,
            tokens_per_second: if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 },
            weights_hash: weights_hash.clone(),
        })?;
        Ok(Outcome { reason: reason.to_owned(), step: self.state.step, held_out, weights_hash })
    }

    /// Where training could have stopped early, the weights of the best checkpoint that is still there: who asks for patience asks
    /// for them, also when it lasted to the end.
    fn best_weights(&self, reason: &str) -> Result<Option<M>, TrainError> {
        let patient = self.recipe.train.patience.is_some();
        let Some((step, _)) = self.state.best.filter(|_| patient && reason != "interrupted") else { return Ok(None) };
        let folder = checkpoint::folder(&self.run.checkpoints(), step);
        if !folder.exists() {
            return Ok(None);
        }
        let saved: Checkpoint = checkpoint::read(&folder, &self.names, &[], &self.session.device)?;
        let mut weights = saved.weights.into_iter();
        Ok(Some(parameters::update(self.model().clone(), |_, _| weights.next().expect("a value for every parameter"))))
    }

    fn ledger_costs(&self, seconds: f64) -> Vec<Event> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let spent = ledger.spent.as_secs_f64();
        let documents = ledger.documents.as_ref();
        let training = seconds - spent - documents.map_or(0.0, |documents| documents.spent.as_secs_f64());
        let cost = Event::LedgerCost {
            seconds: spent,
            overhead: if training > 0.0 { spent / training } else { 0.0 },
            refreshes: ledger.refreshes,
            tokens_per_domain: ledger.tokens_per_domain(),
            momentum: self.recipe.ledger.momentum.name().to_owned(),
            memory_bytes: ledger.memory_bytes(),
        };
        let by_document = documents.map(|documents| document_records::cost(documents, seconds, spent));
        [cost].into_iter().chain(by_document).collect()
    }
}

/// Examples of a held-out domain that the ledger's intervals draw from, spread over it. A short one at the end of a text
/// is left out where there are others, since it would count as much as a whole one.
fn ledger_sequences(feed: &Feed, prepared: &Prepared, domain: usize) -> Vec<Example> {
    let mut examples = feed.held_out(prepared, domain, Some(LEDGER_SEQUENCES));
    let text = prepared.held_out_examples(domain).is_none();
    let longest = examples.first().map_or(0, Example::counted);
    if text && examples.len() > 1 && examples.last().is_some_and(|last| last.counted() < longest / 2) {
        examples.pop();
    }
    examples
}

/// The mean of the domains' losses, in nats a token.
fn mean_loss(losses: &[(String, HeldOutLoss)]) -> f64 {
    losses.iter().map(|(_, loss)| loss.per_token()).sum::<f64>() / losses.len().max(1) as f64
}

/// The source that the loader draws most often.
fn heaviest(prepared: &Prepared) -> usize {
    let shares = prepared.sources().iter().map(|source| source.share).enumerate();
    shares.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(source, _)| source)
}
