//! Starting a run and going on with one.

use crate::checkpoint;
use crate::error::TrainError;
use crate::ledger;
use crate::plan::{self, Portions};
use crate::recipe::{Length, ModelFamily, ModelRecipe, ModelShape, Momentum, Recipe, TokenizerRecipe};
use crate::record::Event;
use crate::run::Run;
use crate::trainer::{Outcome, Trainer};
use burn::module::Module;
use burn::tensor::Device;
use loam_corpus::{Prepared, TokenStream};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::ngram::NGram;
use loam_models::{CausalModel, Gpt, GptConfig, LanguageModel, Llama, LlamaConfig, ModelError, weights};
use loam_nn::precision;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Where and how a run computes.
pub struct Session<'a> {
    /// The device, without differentiation.
    pub device: Device,
    /// Its name, for the record.
    pub device_name: String,
    /// Threads that compute, for the record.
    pub threads: usize,
    /// The processor's name, for the record.
    pub machine: String,
    /// Memory of the device in bytes, where it is known: a model that cannot fit is refused before it is made.
    pub memory_bytes: Option<u64>,
    /// Set to stop after the step at hand, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// One step done.
#[derive(Clone, Copy, Debug)]
pub struct StepProgress {
    /// Steps done.
    pub step: u64,
    /// Steps planned.
    pub steps: u64,
    /// Training loss of the step, in nats a token.
    pub loss: f64,
    /// Mean held-out loss when last measured, in nats a token.
    pub held_out: Option<f64>,
    /// Training tokens a second in this session.
    pub tokens_per_second: f64,
    /// Seconds of training that are left.
    pub seconds_left: f64,
}

/// Who watches a run.
pub trait Observer {
    /// The text is being prepared.
    fn preparing(&mut self, _progress: &loam_corpus::Progress) {}
    /// Something worth recording happened; it is in the log already.
    fn event(&mut self, _event: &Event) {}
    /// A step was done.
    fn step(&mut self, _progress: &StepProgress) {}
    /// Something is not as it should be, but the run goes on.
    fn warning(&mut self, _message: &str) {}
}

/// Nobody watches.
impl Observer for () {}

/// Starts a run of `recipe` in `folder`.
///
/// # Errors
/// When the recipe, the text or the folder does not allow it.
pub fn start(
    recipe: &Recipe,
    folder: &Path,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    recipe.check()?;
    if let (ModelRecipe::New(shape), TokenizerRecipe::Train { vocab, .. }) = (&recipe.model, &recipe.tokenizer) {
        fits(Configuration::new(shape, *vocab).parameters(), recipe, session)?;
    }
    let run = Run::create(folder)?;
    save_recipe(&run, recipe)?;
    let result = go(&run, recipe.clone(), session, observer, None);
    if result.is_err() && !run.data().exists() {
        // Nothing was made yet that would be worth going on with: the same command, mended, should find no run here.
        for file in [run.recipe(), run.events()] {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_dir(run.folder());
    }
    result
}

/// Goes on with the run in `folder` from its last whole checkpoint, or from its beginning when it has none.
///
/// # Errors
/// When there is no run, or its files are damaged beyond the last whole checkpoint.
pub fn resume(folder: &Path, session: &Session, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
    let run = Run::open(folder)?;
    let recipe = Recipe::load(&run.recipe(), &[])?;
    let mut found = None;
    for step in checkpoint::steps(&run.checkpoints())?.into_iter().rev() {
        match checkpoint::verify(&checkpoint::folder(&run.checkpoints(), step)) {
            Ok(()) => {
                found = Some(step);
                break;
            }
            Err(error) => observer.warning(&format!("{error}; trying the checkpoint before it")),
        }
    }
    go(&run, recipe, session, observer, found)
}

/// The configuration of a new model.
enum Configuration {
    Gpt(GptConfig),
    Recurrent(RecurrentConfig),
    Llama(Box<LlamaConfig>),
}

impl Configuration {
    fn new(shape: &ModelShape, vocabulary: usize) -> Self {
        let ModelShape { family, width, layers, heads, context, dropout } = *shape;
        let recurrent = |cell| RecurrentConfig::new(cell, vocabulary, context, width, layers, dropout);
        match family {
            ModelFamily::Gpt => Self::Gpt(GptConfig::new(vocabulary, context, width, layers, heads, dropout)),
            ModelFamily::Llama => {
                Self::Llama(Box::new(LlamaConfig::new(vocabulary, context, width, layers, heads, dropout)))
            }
            ModelFamily::Rnn => Self::Recurrent(recurrent(Cell::Rnn)),
            ModelFamily::Lstm => Self::Recurrent(recurrent(Cell::Lstm)),
            ModelFamily::Gru => Self::Recurrent(recurrent(Cell::Gru)),
        }
    }

    fn parameters(&self) -> Option<u64> {
        match self {
            Self::Gpt(config) => config.parameters(),
            Self::Recurrent(config) => config.parameters(),
            Self::Llama(config) => config.parameters(),
        }
    }

    fn build(self, seed: u64, device: &Device) -> Result<CausalModel, ModelError> {
        Ok(match self {
            Self::Gpt(config) => Gpt::new(config, seed, device)?.into(),
            Self::Recurrent(config) => Recurrent::new(config, seed, device)?.into(),
            Self::Llama(config) => Llama::new(*config, seed, device)?.into(),
        })
    }
}

/// Refuses a model whose weights, gradients, moments and ledger alone would not fit the memory.
fn fits(parameters: Option<u64>, recipe: &Recipe, session: &Session) -> Result<(), TrainError> {
    let Some(memory) = session.memory_bytes else { return Ok(()) };
    // Weights, two moments, the step's gradient and a micro-batch's.
    let plain = 5;
    let credited = recipe.ledger.momentum == Momentum::Sources;
    let books = if recipe.ledger.enabled { ledger::vectors(recipe.data.sources.len(), credited) as u64 } else { 0 };
    let bytes = |vectors: u64| parameters.and_then(|count| count.checked_mul(4 * vectors));
    if bytes(plain + books).is_some_and(|needed| needed <= memory) {
        return Ok(());
    }
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let count = parameters.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
    let needed = |vectors| bytes(vectors).map_or_else(|| "far more".to_owned(), |b| format!("{:.1} GiB", gibibytes(b)));
    let mut message = format!(
        "a model of {count} parameters does not fit: training it takes {} before activations, and this machine has \
         {:.1} GiB; lower model.width, model.layers or tokenizer.vocab",
        needed(plain + books),
        gibibytes(memory)
    );
    if bytes(plain).is_some_and(|needed| needed <= memory) {
        message.push_str(&format!(", or set ledger.enabled = false, which takes {}", needed(plain)));
    }
    Err(TrainError::Request(message))
}

fn save_recipe(run: &Run, recipe: &Recipe) -> Result<(), TrainError> {
    let (path, aside) = (run.recipe(), run.folder().join(".recipe.partial"));
    weights::write_synced(&aside, recipe.to_toml().as_bytes())?;
    fs::rename(&aside, &path).map_err(|source| TrainError::io(&path, source))
}

/// Trains, with products in the precision that the recipe asks for.
fn go(
    run: &Run,
    recipe: Recipe,
    session: &Session,
    observer: &mut dyn Observer,
    checkpoint_step: Option<u64>,
) -> Result<Outcome, TrainError> {
    let precision = recipe.train.dtype.of_products();
    precision::with_precision(precision, || advance(run, recipe, session, observer, checkpoint_step))
}

fn advance(
    run: &Run,
    mut recipe: Recipe,
    session: &Session,
    observer: &mut dyn Observer,
    checkpoint_step: Option<u64>,
) -> Result<Outcome, TrainError> {
    let fresh = !run.events().exists();
    let asked = precision::current();
    let used = precision::on(&session.device, asked);
    if used != asked {
        observer.warning(&format!(
            "train.dtype = \"{}\": this processor has no products of that precision; computing in {}",
            asked.name(),
            used.name()
        ));
    }
    let log = |observer: &mut dyn Observer, event: Event| -> Result<(), TrainError> {
        run.log(&event)?;
        observer.event(&event);
        Ok(())
    };
    log(
        observer,
        Event::Start {
            loam: env!("CARGO_PKG_VERSION").to_owned(),
            machine: session.machine.clone(),
            device: session.device_name.clone(),
            threads: session.threads,
            precision: used.name().to_owned(),
            seed: recipe.train.seed,
            resumed_from: (!fresh).then_some(checkpoint_step.unwrap_or(0)),
        },
    )?;
    let prepared = prepare(run, &recipe, observer)?;
    let tokenizer = prepared.tokenizer();
    let (kind, origin) = match (&recipe.model, &recipe.tokenizer) {
        (ModelRecipe::From { from }, _) => ("loaded".to_owned(), from.display().to_string()),
        (_, TokenizerRecipe::Load { path }) => ("loaded".to_owned(), path.display().to_string()),
        (_, TokenizerRecipe::Train { kind, .. }) => (kind.name().to_owned(), "trained".to_owned()),
    };
    log(observer, Event::Tokenizer { kind, vocabulary: tokenizer.vocabulary(), origin })?;
    log(
        observer,
        Event::Data {
            hash: prepared.hash().to_owned(),
            sources: prepared.sources().to_vec(),
            held_out: prepared.held_out().to_vec(),
        },
    )?;
    let device = session.device.clone().autodiff();
    let model = match &recipe.model {
        ModelRecipe::From { from } => {
            let from = &loam_hub::model(&from.to_string_lossy())?.unwrap_or_else(|| from.clone());
            let model = CausalModel::load(from, &device)?;
            if model.vocabulary() < tokenizer.vocabulary() {
                return Err(TrainError::Request(format!(
                    "the tokenizer in {} has {} ids and the model {}; they do not belong together",
                    from.display(),
                    tokenizer.vocabulary(),
                    model.vocabulary()
                )));
            }
            model
        }
        ModelRecipe::New(shape) => {
            let config = Configuration::new(shape, tokenizer.vocabulary());
            fits(config.parameters(), &recipe, session)?;
            config.build(recipe.train.seed, &device)?
        }
    };
    let shape = model.shape();
    log(
        observer,
        Event::Model {
            family: shape.family.to_owned(),
            parameters: model.num_params() as u64,
            non_embedding_parameters: model.non_embedding_parameters(),
            width: shape.width,
            layers: shape.layers,
            heads: shape.heads,
            context: shape.context,
        },
    )?;
    let portions = Portions::new(&recipe.train, model.context(), prepared.sources().len());
    if checkpoint_step.is_none() && recipe.baseline.enabled {
        for event in baselines(&recipe, &prepared, tokenizer.vocabulary()) {
            log(observer, event)?;
        }
    }
    let steps = match plan::steps(recipe.train.length, &portions, &prepared) {
        Some(steps) => steps,
        None => steps_in_time(run, &recipe, session, &prepared, model.clone(), portions)?,
    };
    recipe.train.length = Length::Steps(steps);
    recipe.train.batch_tokens = portions.batch_tokens();
    recipe.train.micro_batch_tokens = Some(portions.micro_batch_tokens());
    let domains = prepared.held_out().len();
    recipe.ledger.tokens = Some(plan::ledger_tokens(&recipe, &portions, domains, steps) as u64);
    save_recipe(run, &recipe)?;
    log(
        observer,
        Event::Plan { steps, batch_tokens: portions.batch_tokens(), micro_batch_tokens: portions.micro_batch_tokens() },
    )?;
    Trainer::new(run, &recipe, session, observer, &prepared, model, portions, steps, checkpoint_step)?.train()
}

/// The tokenized text, made now or left by an earlier session. What is there is whole: preparing renames last.
fn prepare(run: &Run, recipe: &Recipe, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let folder = run.data();
    let prepared = if folder.exists() {
        Prepared::open(&folder)?
    } else {
        loam_corpus::prepare(&plan::prepare_plan(recipe), &folder, &mut |progress| observer.preparing(progress))?
    };
    if !run.documents().exists() {
        let (from, aside) = (folder.join("documents.parquet"), run.folder().join(".documents.partial"));
        fs::copy(&from, &aside).map_err(|source| TrainError::io(&from, source))?;
        fs::rename(&aside, run.documents()).map_err(|source| TrainError::io(run.documents(), source))?;
    }
    Ok(prepared)
}

/// N-gram models on the training tokens, scored on the tokens that the neural model is scored on.
fn baselines(recipe: &Recipe, prepared: &Prepared, vocabulary: usize) -> Vec<Event> {
    let total: u64 = prepared.sources().iter().map(|source| source.tokens).sum();
    let share = (recipe.baseline.tokens as f64 / total.max(1) as f64).min(1.0);
    let streams = prepared.sources().iter().enumerate().filter(|(_, source)| source.share > 0.0).map(|(index, _)| {
        let stream = prepared.train_stream(index);
        let count = (stream.len() as f64 * share).ceil() as usize;
        tokens(stream, count)
    });
    let models = NGram::train_all(vocabulary, streams);
    let token_bytes = crate::batch::token_bytes(prepared.tokenizer());
    let mut events = Vec::new();
    for (index, domain) in prepared.held_out().iter().enumerate() {
        let stream = prepared.held_out_stream(index);
        let bytes: u64 = tokens(stream, stream.len())
            .filter_map(|id| token_bytes.get(id as usize))
            .map(|&bytes| u64::from(bytes))
            .sum();
        if bytes == 0 {
            continue;
        }
        for (model, name) in models.iter().zip(["unigram", "bigram", "trigram"]) {
            let (nats, count) = model.loss(tokens(stream, stream.len()));
            events.push(Event::Baseline {
                domain: domain.name.clone(),
                name: name.to_owned(),
                loss: nats / count as f64,
                bits_per_byte: nats / std::f64::consts::LN_2 / bytes as f64,
            });
        }
    }
    events
}

fn tokens(stream: &TokenStream, count: usize) -> impl Iterator<Item = u32> {
    stream.iter().take(count)
}

/// Steps that fit the recipe's minutes at the speed of this machine, measured on a few steps whose results are thrown
/// away. From then on the run is one of so many steps, so that it can be resumed and repeated.
fn steps_in_time(
    run: &Run,
    recipe: &Recipe,
    session: &Session,
    prepared: &Prepared,
    model: CausalModel,
    portions: Portions,
) -> Result<u64, TrainError> {
    let Length::Minutes(minutes) = recipe.train.length else { return Ok(1) };
    let mut nobody = ();
    let mut trainer = Trainer::new(run, recipe, session, &mut nobody, prepared, model, portions, 1, None)?;
    trainer.time_a_step()?;
    let mut times = Vec::new();
    while times.len() < 3 || times.iter().sum::<f64>() < 1.5 {
        times.push(trainer.time_a_step()?);
    }
    times.sort_by(f64::total_cmp);
    // Beside forward and backward: the optimizer, the ledger, evaluations.
    let ledger = if recipe.ledger.enabled { 0.06 } else { 0.0 };
    let evaluation = {
        let tokens: u64 = prepared.held_out().iter().map(|domain| domain.tokens.min(recipe.train.eval_tokens)).sum();
        tokens as f64 / 3.0 / (recipe.train.eval_every as f64 * portions.batch_tokens() as f64)
    };
    let step = times[times.len() / 2] * (1.03 + ledger + evaluation);
    Ok(((minutes * 60.0 / step) as u64).max(1))
}
