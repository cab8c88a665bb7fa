//! The loop of fine-tuning.

use super::gradient::gradient;
use super::{Measured, Settings, Standing, Task, batches_of};
use crate::checkpoint::{self, Checkpoint};
use crate::error::TrainError;
use crate::export;
use crate::measurements::{Measurements, Place};
use crate::optimizer::{Constants, Optimizer, StepGradients};
use crate::record::Event;
use crate::run::Run;
use crate::session::{Observer, Session, StepProgress};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_models::weights;
use loam_nn::parameters::{self, Parameter};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What tells the dropout of training from that of other passes.
const KEY: u64 = 0xd80b;

/// How fine-tuning ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTuned {
    /// `done`, `early_stop` or `interrupted`.
    pub reason: String,
    /// Optimizer steps done.
    pub step: u64,
    /// The measurement of the weights that were kept, and the step that they are of.
    pub best: Option<(u64, Measured)>,
    /// Hash of the weights that were kept.
    pub weights_hash: String,
}

/// Trains `model`, whose parameters are differentiable, in the folder of a run. With `resume` it goes on from the last whole
/// checkpoint there.
///
/// # Errors
/// When the settings are impossible, the run's checkpoint is of other data or another model, the loss is no longer a number,
/// or a file cannot be written.
pub fn fine_tune<T: Task>(
    task: &T,
    model: T::Model,
    run: &Run,
    settings: &Settings,
    session: &Session,
    observer: &mut dyn Observer,
    resume: bool,
) -> Result<FineTuned, TrainError> {
    settings.check()?;
    if task.lengths().is_empty() {
        return Err(TrainError::Request("there is no example to train on".to_owned()));
    }
    let told = &mut |told: &str| observer.warning(told);
    let checkpoint = if resume { checkpoint::last_whole(&run.checkpoints(), told)? } else { None };
    session.begin(run, observer, settings.seed, resume.then_some(checkpoint.unwrap_or(0)))?;
    Trainer::new(task, model, run, settings, session, observer, checkpoint)?.train()
}

struct Trainer<'a, T: Task> {
    task: &'a T,
    run: &'a Run,
    settings: &'a Settings,
    session: &'a Session<'a>,
    observer: &'a mut dyn Observer,
    device: Device,
    /// None only while the optimizer holds it.
    model: Option<T::Model>,
    names: Vec<Parameter>,
    optimizer: Optimizer,
    /// The batches of the epoch under way, and its number.
    batches: (u64, Vec<Vec<usize>>),
    standing: Standing,
    measurements: Measurements,
    last: Option<Measured>,
}

impl<'a, T: Task> Trainer<'a, T> {
    fn new(
        task: &'a T,
        model: T::Model,
        run: &'a Run,
        settings: &'a Settings,
        session: &'a Session<'a>,
        observer: &'a mut dyn Observer,
        checkpoint_step: Option<u64>,
    ) -> Result<Self, TrainError> {
        let names = parameters::list(&model);
        let examples = task.lengths().len();
        let mut trainer = Self {
            optimizer: Optimizer::new(Constants::from(settings), &names, &session.device),
            measurements: Measurements::open(run, checkpoint_step)?,
            standing: Standing {
                step: 0,
                steps: settings.steps(examples),
                tokens: 0,
                seconds: 0.0,
                data_hash: task.hash().to_owned(),
                best: None,
                without_better: 0,
                loam: env!("CARGO_PKG_VERSION").to_owned(),
            },
            batches: (0, batches_of(task, settings, 0)),
            device: session.device.clone().autodiff(),
            model: Some(model),
            last: None,
            names,
            task,
            run,
            settings,
            session,
            observer,
        };
        if let Some(step) = checkpoint_step {
            trainer.restore(step)?;
        }
        Ok(trainer)
    }

    fn model(&self) -> &T::Model {
        self.model.as_ref().expect("the optimizer gave the model back")
    }

    fn restore(&mut self, step: u64) -> Result<(), TrainError> {
        let folder = checkpoint::folder(&self.run.checkpoints(), step);
        // Before the weights: those of a tokenizer of other examples have another shape.
        let stands: Standing = checkpoint::read_state(&folder)?;
        if stands.data_hash != self.standing.data_hash {
            return Err(TrainError::Request(format!(
                "{} was trained on other examples than its recipe finds now; start a new run for new data",
                folder.display()
            )));
        }
        let saved: Checkpoint<Standing> = checkpoint::read(&folder, &self.names, &[], &self.session.device)?;
        self.put(saved.weights);
        self.optimizer.moments = saved.moments;
        self.last = saved.state.best.as_ref().map(|(_, best)| best.clone());
        self.standing = saved.state;
        Ok(())
    }

    fn put(&mut self, values: Vec<Tensor<1>>) {
        let mut values = values.into_iter();
        let model = self.model.take().expect("the optimizer gave the model back");
        self.model = Some(parameters::update(model, |_, _| values.next().expect("a value for every parameter")));
    }

    fn train(mut self) -> Result<FineTuned, TrainError> {
        let (steps, an_epoch) = (self.standing.steps, self.settings.steps_an_epoch(self.task.lengths().len()));
        self.tell_plan()?;
        let every = self.settings.eval_every.unwrap_or(an_epoch).max(1);
        let (mut seconds, mut tokens, mut done) = (0.0, 0, 0_u64);
        let mut reason = "done";
        while self.standing.step < steps {
            if self.session.stop.load(Ordering::Relaxed) {
                reason = "interrupted";
                break;
            }
            let start = Instant::now();
            let (loss, norm, rate, seen) = match self.step() {
                Ok(measured) => measured,
                Err(error) => {
                    self.log_failure(seconds)?;
                    return Err(error);
                }
            };
            let elapsed = start.elapsed().as_secs_f64();
            seconds += elapsed;
            tokens += seen;
            done += 1;
            self.standing.seconds += elapsed;
            self.record(loss, norm, rate, seen as f64 / elapsed);
            self.observer.step(&StepProgress {
                step: self.standing.step,
                steps,
                loss,
                held_out: self.last.as_ref().map(|measured| measured.loss),
                accuracy: self.last.as_ref().map(Measured::score),
                tokens_per_second: tokens as f64 / seconds,
                seconds_left: (steps - self.standing.step) as f64 * seconds / done as f64,
            });
            if self.standing.step.is_multiple_of(every) || self.standing.step == steps {
                self.measure()?;
                self.checkpoint()?;
                let patience = self.settings.patience;
                if self.standing.step < steps && patience.is_some_and(|most| self.standing.without_better >= most) {
                    reason = "early_stop";
                    break;
                }
            }
        }
        self.finish(reason, seconds, tokens)
    }

    fn tell_plan(&mut self) -> Result<(), TrainError> {
        let shape = self.task.describe(self.model());
        let parameters = self.model().num_params() as u64;
        self.log(&Event::Model {
            family: shape.family.to_owned(),
            parameters,
            frozen_parameters: self.task.frozen(self.model()),
            non_embedding_parameters: parameters,
            width: shape.width,
            layers: shape.layers,
            heads: shape.heads,
            context: shape.context,
        })?;
        let examples = self.task.lengths().len() as u64;
        let tokens: u64 = self.task.lengths().iter().map(|length| *length as u64).sum();
        self.log(&Event::FineTuning {
            task: self.task.name().to_owned(),
            steps: self.standing.steps,
            epochs: self.settings.epochs,
            examples,
            tokens,
            batch: self.settings.batch,
        })
    }

    /// The batch of the step at hand.
    fn batch(&mut self) -> Vec<usize> {
        let an_epoch = self.settings.steps_an_epoch(self.task.lengths().len());
        let (number, place) = (self.standing.step / an_epoch, self.standing.step % an_epoch);
        if self.batches.0 != number {
            self.batches = (number, batches_of(self.task, self.settings, number));
        }
        self.batches.1[place as usize].clone()
    }

    /// One optimizer step: its loss, the norm of its gradient, its learning rate, and the tokens that it saw.
    fn step(&mut self) -> Result<(f64, f64, f64, u64), TrainError> {
        let batch = self.batch();
        let place = (KEY, self.standing.step);
        let found = gradient(self.task, self.model(), &batch, self.settings, place, &self.device);
        let (loss, gradients) = found.ok_or_else(|| self.non_finite("loss"))?;
        let norm = Optimizer::norm(&gradients);
        if !norm.is_finite() {
            return Err(self.non_finite("gradient"));
        }
        let Settings { lr, schedule, warmup, .. } = *self.settings;
        let (step, steps) = (self.standing.step, self.standing.steps);
        let rate = lr * schedule.factor(step, steps, (warmup * steps as f64).round() as u64, 0.0);
        let clip = self.optimizer.clip_factor(norm);
        let gradients = StepGradients { total: gradients, by_source: Vec::new() };
        let model = self.model.take().expect("the optimizer gave the model back");
        self.model = Some(self.optimizer.step(model, gradients, clip, rate as f32, step + 1, None));
        let seen = batch.iter().map(|example| self.task.lengths()[*example] as u64).sum();
        self.standing.step += 1;
        self.standing.tokens += seen;
        Ok((loss, norm, rate, seen))
    }

    fn non_finite(&self, what: &'static str) -> TrainError {
        checkpoint::non_finite(&self.run.checkpoints(), self.standing.step, what)
    }

    fn measure(&mut self) -> Result<(), TrainError> {
        let model = self.model().valid();
        let Some(measured) = self.task.measure(&model, &self.session.device)? else { return Ok(()) };
        drop(model);
        self.metric("valid_loss", measured.loss);
        for (name, value) in &measured.metrics {
            self.metric(&format!("valid_{name}"), *value);
        }
        if self.standing.best.as_ref().is_none_or(|(_, best)| measured.score() > best.score()) {
            self.standing.best = Some((self.standing.step, measured.clone()));
            self.standing.without_better = 0;
        } else {
            self.standing.without_better += 1;
        }
        self.last = Some(measured.clone());
        let an_epoch = self.settings.steps_an_epoch(self.task.lengths().len());
        let epoch = self.standing.step as f64 / an_epoch as f64;
        self.log(&Event::Measurement { step: self.standing.step, epoch, measured })
    }

    fn log(&mut self, event: &Event) -> Result<(), TrainError> {
        self.run.log(event)?;
        self.observer.event(event);
        Ok(())
    }

    fn metric(&mut self, metric: &str, value: f64) {
        let Standing { step, tokens, seconds, .. } = self.standing;
        self.measurements.push(Place { step, tokens, seconds }, metric, "", value);
    }

    fn record(&mut self, loss: f64, norm: f64, rate: f64, tokens_per_second: f64) {
        if Measurements::keeps(self.standing.step, self.standing.steps) {
            self.metric("train_loss", loss);
            self.metric("gradient_norm", norm);
            self.metric("learning_rate", rate);
            self.metric("tokens_per_second", tokens_per_second);
        }
    }

    fn write_tables(&self) -> Result<(), TrainError> {
        self.run.write_tables(self.measurements.rows(), None)
    }

    fn log_failure(&mut self, seconds: f64) -> Result<(), TrainError> {
        self.measurements.flush();
        self.write_tables()?;
        let (step, tokens) = (self.standing.step, self.standing.tokens);
        self.log(&Event::Finish {
            reason: "non_finite".to_owned(),
            step,
            tokens,
            seconds,
            tokens_per_second: 0.0,
            weights_hash: String::new(),
        })
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.measurements.flush();
        self.write_tables()?;
        let step = self.standing.step;
        let best = self.standing.best.as_ref().map(|(step, _)| *step);
        let saved = Checkpoint {
            documents: Vec::new(),
            weights: parameters::values(self.model()),
            moments: self.optimizer.moments.clone(),
            momenta: Vec::new(),
            sources: Vec::new(),
            state: self.standing.clone(),
        };
        let folder = checkpoint::write(&self.run.checkpoints(), &self.names, &saved)?;
        drop(saved);
        checkpoint::prune(&self.run.checkpoints(), 1, best.as_slice())?;
        let path = folder.strip_prefix(self.run.folder()).unwrap_or(&folder).display().to_string();
        self.log(&Event::Checkpoint { step, path, best: best == Some(step) })
    }

    fn finish(mut self, reason: &str, seconds: f64, tokens: u64) -> Result<FineTuned, TrainError> {
        let done = reason != "interrupted";
        if done {
            self.keep_best()?;
            self.export()?;
        } else {
            self.checkpoint()?;
        }
        self.write_tables()?;
        let weights_hash = export::weights_hash(self.model());
        let step = self.standing.step;
        self.log(&Event::Finish {
            reason: reason.to_owned(),
            step,
            tokens: self.standing.tokens,
            seconds,
            tokens_per_second: if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 },
            weights_hash: weights_hash.clone(),
        })?;
        Ok(FineTuned { reason: reason.to_owned(), step, best: self.standing.best.clone(), weights_hash })
    }

    /// Puts the weights of the best measurement back, where later ones were worse.
    fn keep_best(&mut self) -> Result<(), TrainError> {
        let Some((best, _)) = self.standing.best.clone().filter(|(step, _)| *step != self.standing.step) else {
            return Ok(());
        };
        let folder = checkpoint::folder(&self.run.checkpoints(), best);
        let saved: Checkpoint<Standing> = checkpoint::read(&folder, &self.names, &[], &self.session.device)?;
        self.put(saved.weights);
        Ok(())
    }

    fn export(&self) -> Result<(), TrainError> {
        self.run.replace_model(|folder| {
            self.task.export(&self.model().valid(), folder)?;
            Ok(weights::write_synced(&folder.join("README.md"), self.card().as_bytes())?)
        })
    }

    /// The model card: what it was trained on, how well it does, how it is used.
    fn card(&self) -> String {
        use std::fmt::Write as _;
        let name = self.run.folder().file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
        let mut card = format!(
            "---\nlibrary_name: transformers\ntags:\n- loam\n---\n\n# {name}\n\nTrained with Loam {} for the task `{}` on {} \
             examples ({} epochs, seed {}).\n",
            env!("CARGO_PKG_VERSION"),
            self.task.name(),
            self.task.lengths().len(),
            self.settings.epochs,
            self.settings.seed,
        );
        if let Some((step, measured)) = &self.standing.best {
            let _ = write!(card, "\nOn {} examples that were kept aside, at step {step}:\n\n", measured.examples);
            card.push_str("| metric | value |\n|-|-:|\n");
            let _ = writeln!(card, "| loss, nats | {:.4} |", measured.loss);
            for (name, value) in &measured.metrics {
                let _ = writeln!(card, "| {} | {value:.4} |", name.replace('_', " "));
            }
        }
        let _ = write!(
            card,
            "\n`loam eval {0}` and `loam {0}` use this folder. Data hash `{1}`.\n",
            self.task.name(),
            self.task.hash()
        );
        card
    }
}
