//! A run opened again after training, for whoever asks its model about its data: the weights of any checkpoint that is
//! still there, Adam's moments, the tokens, and the examples that text becomes.

use crate::checkpoint::{self, Checkpoint, State};
use crate::configuration::Configuration;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::learner::{Learner, Regularization};
use crate::ledger;
use crate::objective::{Example, Kind};
use crate::plan::{self, Portions};
use crate::recipe::{ModelRecipe, Recipe};
use crate::run::Run;
use burn::tensor::{Device, Tensor};
use loam_corpus::Prepared;
use loam_models::bert::{MaskedBert, PretrainingBert};
use loam_models::source_to_target::SourceToTarget;
use loam_models::{Adaptable, Adapted, CausalModel, LoraConfig, ModelError};
use loam_nn::parameters::{self, Parameter};
use loam_nn::update::Moments;
use std::path::{Path, PathBuf};

/// What is done with a run that is open again, whatever its model.
pub trait Inquiry {
    /// What it finds.
    type Finding;
    /// What may go wrong.
    type Error: From<TrainError>;

    /// Asks.
    ///
    /// # Errors
    /// Its own.
    fn ask<M: Learner>(self, run: Reopened<M>) -> Result<Self::Finding, Self::Error>;
}

/// A run and its model, with the weights of its newest checkpoint.
pub struct Reopened<M: Learner> {
    /// The run.
    pub run: Run,
    /// Its resolved recipe.
    pub recipe: Recipe,
    /// Its tokens.
    pub prepared: Prepared,
    /// Its `documents.parquet`.
    pub documents: PathBuf,
    /// What it learns.
    pub kind: Kind,
    /// Longest example in tokens.
    pub context: usize,
    /// Names and shapes of what was trained.
    pub parameters: Vec<Parameter>,
    /// Steps of the checkpoints that are there, oldest first.
    pub steps: Vec<u64>,
    feed: Feed,
    device: Device,
    model: M,
    moments: Vec<Moments>,
    state: State,
}

/// Opens the run in `folder` and asks.
///
/// # Errors
/// Where there is no run or no whole checkpoint, where its data are not those it was trained on, and what the inquiry says.
pub fn reopen<I: Inquiry>(folder: &Path, device: &Device, inquiry: I) -> Result<I::Finding, I::Error> {
    let run = Run::open(folder)?;
    let recipe = Recipe::load(&run.recipe(), &[]).map_err(TrainError::from)?;
    match plan::kind(&recipe)? {
        Kind::Causal => go(run, recipe, device, CausalModel::load, Configuration::build_causal, inquiry),
        Kind::Masked if recipe.objective.next_sentence => {
            go(run, recipe, device, PretrainingBert::load, Configuration::build_pretraining, inquiry)
        }
        Kind::Masked => go(run, recipe, device, MaskedBert::load, Configuration::build_masked, inquiry),
        Kind::Pairs | Kind::Spans => go(run, recipe, device, SourceToTarget::load, Configuration::build_pairs, inquiry),
    }
}

/// The folder with a run's `tokens/`, and its table of documents.
fn data_of(run: &Run, recipe: &Recipe) -> (PathBuf, PathBuf) {
    let folder = recipe.data.prepared.clone().unwrap_or_else(|| run.data());
    let tokens = if folder.join("tokens").is_dir() { folder.join("tokens") } else { folder.clone() };
    // The run's own copy stays what it was, whatever becomes of data that others prepared.
    let documents = [run.documents(), folder.join("documents.parquet")];
    let documents = documents.iter().find(|path| path.is_file()).unwrap_or(&documents[0]).clone();
    (tokens, documents)
}

fn go<M: Learner + Adaptable, I: Inquiry>(
    run: Run,
    recipe: Recipe,
    device: &Device,
    load: impl Fn(&Path, &Device) -> Result<M, ModelError>,
    build: impl Fn(Configuration, u64, &Device) -> Result<M, ModelError>,
    inquiry: I,
) -> Result<I::Finding, I::Error> {
    let (tokens, documents) = data_of(&run, &recipe);
    let prepared = Prepared::open(&tokens).map_err(TrainError::from)?;
    let differentiated = device.clone().autodiff();
    let adapted = recipe.lora.rank.is_some();
    let model = match &recipe.model {
        ModelRecipe::From { from, .. } => {
            let found = loam_hub::model(&from.to_string_lossy()).map_err(TrainError::from)?;
            let from = found.unwrap_or_else(|| from.clone());
            load(&from, if adapted { device } else { &differentiated }).map_err(TrainError::from)?
        }
        ModelRecipe::New(shape) => {
            let configuration = Configuration::new(shape, prepared.tokenizer())?;
            build(configuration, recipe.train.seed, &differentiated).map_err(TrainError::from)?
        }
    };
    let (Some(rank), ModelRecipe::From { from, .. }) = (recipe.lora.rank, &recipe.model) else {
        return inquiry.ask(finish(run, recipe, prepared, documents, device, model)?);
    };
    let alpha = recipe.lora.alpha.unwrap_or(2.0 * rank as f64);
    let config = LoraConfig { rank, alpha, targets: recipe.lora.targets.clone() };
    let model = Adapted::new(model, &from.to_string_lossy(), config, recipe.train.seed, &differentiated)
        .map_err(TrainError::from)?;
    inquiry.ask(finish(run, recipe, prepared, documents, device, model)?)
}

fn finish<M: Learner>(
    run: Run,
    recipe: Recipe,
    prepared: Prepared,
    documents: PathBuf,
    device: &Device,
    model: M,
) -> Result<Reopened<M>, TrainError> {
    let kind = plan::kind(&recipe)?;
    let mut context = model.describe().context;
    if let ModelRecipe::From { context: Some(asked), .. } = &recipe.model {
        context = model.limit().map_or(*asked, |most| most.min(*asked));
    }
    let portions = Portions::new(&recipe.train, context, prepared.sources().len());
    let feed = Feed::new(&prepared, kind, &plan::objective(&recipe), &portions)?;
    let mut steps = Vec::new();
    for step in checkpoint::steps(&run.checkpoints())? {
        if checkpoint::verify(&checkpoint::folder(&run.checkpoints(), step)).is_ok() {
            steps.push(step);
        }
    }
    steps.sort_unstable();
    let Some(last) = steps.last().copied() else {
        return Err(TrainError::Request(format!(
            "{} has no whole checkpoint; `loam train --resume -o {}` goes on with it to one",
            run.folder().display(),
            run.folder().display()
        )));
    };
    let parameters = parameters::list(&model);
    let frozen = model.frozen_hash();
    let at = checkpoint::folder(&run.checkpoints(), last);
    let state: State = checkpoint::read_state(&at)?;
    if state.data_hash != prepared.hash() {
        return Err(TrainError::Request(format!(
            "{} was trained on other data (hash {} then, {} now); its data have changed since, and nothing can be said \
             of what they did: train again, or bring the old ones back",
            run.folder().display(),
            state.data_hash,
            prepared.hash()
        )));
    }
    let read: Checkpoint = checkpoint::read(&at, &parameters, &[], device)?;
    if read.state.frozen != frozen {
        return Err(TrainError::Request(format!(
            "{} holds adapters of another base: the model of model.from has changed since",
            run.folder().display()
        )));
    }
    let mut weights = read.weights.into_iter();
    let model = parameters::update(model, |_, _| weights.next().expect("a value for every parameter"));
    Ok(Reopened {
        run,
        recipe,
        prepared,
        documents,
        kind,
        context,
        parameters,
        steps,
        feed,
        device: device.clone(),
        model,
        moments: read.moments,
        state: read.state,
    })
}

impl<M: Learner> Reopened<M> {
    /// The model, differentiable.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The device, without differentiation.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Steps that the weights have been trained for.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Goes to the weights and moments of another checkpoint.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn go_to(&mut self, step: u64) -> Result<(), TrainError> {
        if step == self.state.step {
            return Ok(());
        }
        let folder = checkpoint::folder(&self.run.checkpoints(), step);
        let read: Checkpoint = checkpoint::read(&folder, &self.parameters, &[], &self.device)?;
        self.set(&read.weights);
        (self.moments, self.state) = (read.moments, read.state);
        Ok(())
    }

    /// Puts these weights, flat and in the order of the parameters, in the place of the model's.
    pub fn set(&mut self, weights: &[Tensor<1>]) {
        let mut weights = weights.iter().cloned();
        let model = self.model.clone();
        self.model = parameters::update(model, |_, _| weights.next().expect("a value for every parameter"));
    }

    /// The weights, flat.
    pub fn weights(&self) -> Vec<Tensor<1>> {
        parameters::values(&self.model)
    }

    /// The learning rate of the step that led to these weights.
    pub fn learning_rate(&self) -> f64 {
        let train = &self.recipe.train;
        let (steps, step) = (self.state.steps, self.state.step.saturating_sub(1));
        train.lr * train.schedule.factor(step, steps, train.warmup_steps(steps), train.min_lr)
    }

    /// 1 / (√v̂ + ε) of every weight: what Adam multiplies a gradient by, but for the rate (Kingma & Ba 2015, algorithm 1).
    pub fn preconditioner(&self) -> Vec<Vec<f32>> {
        let train = &self.recipe.train;
        let correction = 1.0 - train.beta2.powf(self.state.step.max(1) as f64);
        let of = |moments: &Moments| {
            let second = parameters::to_host(moments.second.clone());
            let factor = |v: f32| (1.0 / ((f64::from(v) / correction).sqrt() + train.epsilon)) as f32;
            second.into_iter().map(factor).collect()
        };
        self.moments.iter().map(of).collect()
    }

    /// The gradient of the summed loss of these examples, in nats, without dropout; a tensor a parameter, and the loss.
    ///
    /// # Errors
    /// When it is not finite.
    pub fn gradient(&self, examples: &[Example]) -> Result<(Vec<Tensor<1>>, f64), TrainError> {
        let loss = self.model.loss(examples, 1.0, None::<Regularization>, &self.device);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if !value.is_finite() {
            return Err(TrainError::Request(format!(
                "{}: the loss at step {} is not finite; nothing can be said of what its data did",
                self.run.folder().display(),
                self.state.step
            )));
        }
        let gradients = parameters::gradients(&self.model, loss.backward());
        Ok((ledger::present(&self.model, gradients, &self.device), value))
    }

    /// The loss of every target that counts, in nats, without dropout.
    pub fn token_losses(&self, examples: &[Example]) -> Vec<f32> {
        self.model.clone().valid().token_losses(examples, &self.device)
    }

    /// The mean last hidden state of an example; none of models that have no one state of a text.
    pub fn state(&self, example: &Example) -> Option<Vec<f32>> {
        self.model.clone().valid().state(example, &self.device)
    }

    /// Tokens of text in a window of a passage.
    pub fn window(&self) -> usize {
        self.feed.window()
    }

    /// The example of a window of a source's text: what is told, and the token before it where the model continues text.
    pub fn passage(&self, before: Option<u32>, tokens: &[u32], source: usize, start: usize) -> Example {
        self.feed.passage(before, tokens, source, start)
    }

    /// The example of the `index`-th pair or conversation of a source that has such.
    pub fn pair(&self, source: usize, index: usize) -> Option<Example> {
        let stream = self.prepared.train_examples(source)?;
        (index < stream.len()).then(|| self.feed.pair(stream, index))
    }

    /// Examples of a held-out domain, at most so many, spread over it.
    pub fn held_out(&self, domain: usize, most: usize) -> Vec<Example> {
        self.feed.held_out(&self.prepared, domain, Some(most))
    }
}
