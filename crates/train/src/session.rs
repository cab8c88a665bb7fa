//! Starting a run and going on with one.

use crate::baseline;
use crate::checkpoint;
use crate::configuration::Configuration;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::learner::Learner;
use crate::ledger;
use crate::objective::Kind;
use crate::plan::{self, Portions};
use crate::recipe::{Length, ModelRecipe, Momentum, Recipe, TokenizerRecipe};
use crate::record::Event;
use crate::run::Run;
use crate::trainer::{Outcome, Trainer};
use burn::tensor::Device;
use loam_corpus::{ConversationWriter, Prepared, Tokenizer};
use loam_models::bert::PretrainingBert;
use loam_models::{Adaptable, Adapted, CausalModel, LoraConfig, MaskedBert, ModelError, SourceToTarget, weights};
use loam_nn::precision;
use std::fs;
use std::path::{Path, PathBuf};
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
    /// Makes what writes conversations, from the folder of the model that is gone on with, if any, and the template that
    /// the recipe names, if any.
    pub chat: Option<&'a ChatWriters>,
    /// Set to stop after the step at hand, with a checkpoint.
    pub stop: &'a AtomicBool,
}

impl Session<'_> {
    /// Writes down that a run begins, or goes on from a step, and says so where products cannot be as precise as was asked.
    pub(crate) fn begin(
        &self,
        run: &Run,
        observer: &mut dyn Observer,
        seed: u64,
        resumed_from: Option<u64>,
    ) -> Result<(), TrainError> {
        let asked = precision::current();
        let used = precision::on(&self.device, asked);
        if used != asked {
            observer.warning(&format!(
                "train.dtype = \"{}\": this processor has no products of that precision; computing in {}",
                asked.name(),
                used.name()
            ));
        }
        let event = Event::Start {
            loam: env!("CARGO_PKG_VERSION").to_owned(),
            machine: self.machine.clone(),
            device: self.device_name.clone(),
            threads: self.threads,
            precision: used.name().to_owned(),
            seed,
            resumed_from,
        };
        run.log(&event)?;
        observer.event(&event);
        Ok(())
    }
}

/// See [`Session::chat`]. It gives the template's source too, which goes with the trained model.
pub type ChatWriters = dyn Fn(Option<&Path>, Option<&str>) -> Result<(ConversationWriter, String), String>;

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
    /// Mean held-out accuracy then.
    pub accuracy: Option<f64>,
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
        fits(Configuration::of_size(shape, *vocab).parameters(), recipe, session)?;
    }
    let run = Run::create(folder)?;
    run.save_recipe(&recipe.to_toml())?;
    let result = go(&run, recipe.clone(), session, observer, None);
    if result.is_err() && !run.data().exists() && !run.documents().exists() {
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
    let found = checkpoint::last_whole(&run.checkpoints(), &mut |told| observer.warning(told))?;
    go(&run, recipe, session, observer, found)
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
    recipe: Recipe,
    session: &Session,
    observer: &mut dyn Observer,
    checkpoint_step: Option<u64>,
) -> Result<Outcome, TrainError> {
    let fresh = !run.events().exists();
    session.begin(run, observer, recipe.train.seed, (!fresh).then_some(checkpoint_step.unwrap_or(0)))?;
    let log = |observer: &mut dyn Observer, event: Event| -> Result<(), TrainError> {
        run.log(&event)?;
        observer.event(&event);
        Ok(())
    };
    let kind = plan::kind(&recipe)?;
    if recipe.objective.next_sentence && kind != Kind::Masked {
        return Err(TrainError::Request(format!(
            "objective.next_sentence = true goes with objective.kind = \"masked\", and this model learns \"{}\"",
            kind.name()
        )));
    }
    let chat = chat(&recipe, session)?;
    let (conversations, template) = chat.unzip();
    let prepared = prepare(run, &recipe, kind, conversations, observer)?;
    let tokenizer = prepared.tokenizer();
    let (tokenizer_kind, origin) = match (&recipe.model, &recipe.tokenizer) {
        _ if recipe.data.prepared.is_some() => ("loaded".to_owned(), tokenizer_of(&prepared)),
        (ModelRecipe::From { from, .. }, _) => ("loaded".to_owned(), from.display().to_string()),
        (_, TokenizerRecipe::Load { path }) => ("loaded".to_owned(), path.display().to_string()),
        (_, TokenizerRecipe::Train { kind, .. }) => (kind.name().to_owned(), "trained".to_owned()),
    };
    log(observer, Event::Tokenizer { kind: tokenizer_kind, vocabulary: tokenizer.vocabulary(), origin })?;
    log(
        observer,
        Event::Data {
            hash: prepared.hash().to_owned(),
            sources: prepared.sources().to_vec(),
            held_out: prepared.held_out().to_vec(),
        },
    )?;
    let job = Job { run, session, prepared: &prepared, kind, template, checkpoint_step };
    match kind {
        Kind::Causal => job.make(recipe, observer, CausalModel::load, Configuration::build_causal),
        Kind::Masked if recipe.objective.next_sentence => {
            job.make(recipe, observer, PretrainingBert::load, Configuration::build_pretraining)
        }
        Kind::Masked => job.make(recipe, observer, MaskedBert::load, Configuration::build_masked),
        Kind::Pairs | Kind::Spans => job.make(recipe, observer, SourceToTarget::load, Configuration::build_pairs),
    }
}

/// What a run needs beside its recipe and its model.
struct Job<'a> {
    run: &'a Run,
    session: &'a Session<'a>,
    prepared: &'a Prepared,
    kind: Kind,
    /// How conversations were written.
    template: Option<String>,
    checkpoint_step: Option<u64>,
}

impl Job<'_> {
    /// Makes the model, or adapters for one, and trains it.
    fn make<M: Learner + Adaptable>(
        &self,
        recipe: Recipe,
        observer: &mut dyn Observer,
        load: impl Fn(&Path, &Device) -> Result<M, ModelError>,
        build: impl Fn(Configuration, u64, &Device) -> Result<M, ModelError>,
    ) -> Result<Outcome, TrainError> {
        let Job { session, prepared, .. } = *self;
        let tokenizer = prepared.tokenizer();
        let device = session.device.clone().autodiff();
        let model = match &recipe.model {
            ModelRecipe::From { from, .. } => {
                let from = &loam_hub::model(&from.to_string_lossy())?.unwrap_or_else(|| from.clone());
                let adapted = recipe.lora.rank.is_some();
                let model = load(from, if adapted { &session.device } else { &device })?;
                if model.ids() < tokenizer.vocabulary() {
                    return Err(TrainError::Request(format!(
                        "the tokenizer in {} has {} ids and the model {}; they do not belong together",
                        from.display(),
                        tokenizer.vocabulary(),
                        model.ids()
                    )));
                }
                model
            }
            ModelRecipe::New(shape) => {
                let config = Configuration::new(shape, tokenizer)?;
                fits(config.parameters(), &recipe, session)?;
                build(config, recipe.train.seed, &device)?
            }
        };
        let (Some(rank), ModelRecipe::From { from, .. }) = (recipe.lora.rank, &recipe.model) else {
            return self.learn(recipe, observer, model);
        };
        let alpha = recipe.lora.alpha.unwrap_or(2.0 * rank as f64);
        let config = LoraConfig { rank, alpha, targets: recipe.lora.targets.clone() };
        let model = Adapted::new(model, &from.to_string_lossy(), config, recipe.train.seed, &device)?;
        self.learn(recipe, observer, model)
    }

    /// Settles what the recipe left open, and trains.
    fn learn<M: Learner>(
        &self,
        mut recipe: Recipe,
        observer: &mut dyn Observer,
        model: M,
    ) -> Result<Outcome, TrainError> {
        let Job { run, session, prepared, kind, checkpoint_step, .. } = *self;
        let log = |observer: &mut dyn Observer, event: Event| -> Result<(), TrainError> {
            run.log(&event)?;
            observer.event(&event);
            Ok(())
        };
        let mut shape = model.describe();
        if let ModelRecipe::From { context: Some(context), .. } = &recipe.model {
            shape.context = model.limit().map_or(*context, |most| most.min(*context));
        }
        log(
            observer,
            Event::Model {
                family: shape.family.to_owned(),
                parameters: model.num_params() as u64,
                frozen_parameters: model.frozen_parameters(),
                non_embedding_parameters: model.inner_parameters(),
                width: shape.width,
                layers: shape.layers,
                heads: shape.heads,
                context: shape.context,
            },
        )?;
        let portions = Portions::new(&recipe.train, shape.context, prepared.sources().len());
        let feed = || Feed::new(prepared, kind, &plan::objective(&recipe), &portions);
        let first = feed()?;
        if first.left_out() > 0 {
            observer.warning(&format!(
                "{} pairs or conversations are longer than the context of {} tokens and are left out; model.context can be longer",
                first.left_out(),
                shape.context
            ));
        }
        if checkpoint_step.is_none() && recipe.baseline.enabled {
            for event in baseline::events(&recipe, prepared, kind, &first, feed()?) {
                log(observer, event)?;
            }
        }
        let steps = match plan::steps(recipe.train.length, &portions, prepared, &first) {
            Some(steps) => steps,
            None => steps_in_time(run, &recipe, session, prepared, model.clone(), feed()?, kind, portions)?,
        };
        recipe.train.length = Length::Steps(steps);
        recipe.train.batch_tokens = portions.batch_tokens();
        recipe.train.micro_batch_tokens = Some(portions.micro_batch_tokens());
        let domains = prepared.held_out().len();
        recipe.ledger.tokens = Some(plan::ledger_tokens(&recipe, &portions, domains, steps) as u64);
        recipe.ledger.documents_rate = Some(plan::documents_rate(&recipe, domains));
        run.save_recipe(&recipe.to_toml())?;
        log(
            observer,
            Event::Plan {
                steps,
                batch_tokens: portions.batch_tokens(),
                micro_batch_tokens: portions.micro_batch_tokens(),
                objective: kind.name().to_owned(),
            },
        )?;
        let outcome = Trainer::new(
            run,
            &recipe,
            session,
            observer,
            prepared,
            model,
            first,
            kind,
            portions,
            steps,
            checkpoint_step,
        )?
        .train()?;
        if let Some(template) = self.template.as_ref().filter(|_| outcome.reason != "interrupted") {
            weights::write_synced(&run.model().join("chat_template.jinja"), template.as_bytes())?;
        }
        Ok(outcome)
    }
}

/// What writes the recipe's conversations, and its template.
fn chat(recipe: &Recipe, session: &Session) -> Result<Option<(ConversationWriter, String)>, TrainError> {
    if !plan::has_conversations(recipe) {
        return Ok(None);
    }
    let from = match &recipe.model {
        ModelRecipe::From { from, .. } => {
            Some(loam_hub::model(&from.to_string_lossy())?.unwrap_or_else(|| from.clone()))
        }
        ModelRecipe::New(_) => None,
    };
    let writers = session.chat.ok_or_else(|| {
        TrainError::Request("conversations cannot be written here: the session has no chat templates".to_owned())
    })?;
    let made = writers(from.as_deref(), recipe.objective.chat_template.as_deref());
    made.map(Some).map_err(TrainError::Request)
}

/// Prepares a recipe's text in `folder`, as `loam data prepare` lays it out (`tokens/` and `documents.parquet`), so that
/// several runs can train on it by `data.prepared`. What is there already is opened, and what a recipe names as prepared is
/// opened where it is; the second value is the folder.
///
/// # Errors
/// When the recipe or the text does not allow it.
pub fn prepare_tokens(
    recipe: &Recipe,
    folder: &Path,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<(Prepared, PathBuf), TrainError> {
    if let Some(made) = &recipe.data.prepared {
        return Ok((open_prepared(made, recipe)?, made.clone()));
    }
    let (tokens, documents) = (folder.join("tokens"), folder.join("documents.parquet"));
    let prepared = if tokens.exists() {
        Prepared::open(&tokens)?
    } else {
        let kind = plan::kind(recipe)?;
        let conversations = chat(recipe, session)?.map(|(writer, _)| writer);
        loam_corpus::prepare(&plan::prepare_plan(recipe, kind, conversations), &tokens, &mut |progress| {
            observer.preparing(progress)
        })?
    };
    if !documents.exists() {
        let (from, aside) = (tokens.join("documents.parquet"), folder.join(".documents.partial"));
        fs::copy(&from, &aside).map_err(|source| TrainError::io(&from, source))?;
        fs::rename(&aside, &documents).map_err(|source| TrainError::io(&documents, source))?;
    }
    Ok((prepared, folder.to_owned()))
}

/// Parameters of the recipe's new model with a vocabulary of so many ids; none where it goes on with a model, and where they
/// are more than can be counted.
pub fn parameters(recipe: &Recipe, vocabulary: usize) -> Option<u64> {
    match &recipe.model {
        ModelRecipe::New(shape) => Configuration::of_size(shape, vocabulary).parameters(),
        ModelRecipe::From { .. } => None,
    }
}

/// Where the tokenizer of prepared data lies.
fn tokenizer_of(prepared: &Prepared) -> String {
    prepared.directory().join("tokenizer").display().to_string()
}

/// The tokenized text, made now or left by an earlier session. What is there is whole: preparing renames last.
fn prepare(
    run: &Run,
    recipe: &Recipe,
    kind: Kind,
    conversations: Option<ConversationWriter>,
    observer: &mut dyn Observer,
) -> Result<Prepared, TrainError> {
    let folder = run.data();
    let prepared = if let Some(made) = &recipe.data.prepared {
        open_prepared(made, recipe)?
    } else if folder.exists() {
        Prepared::open(&folder)?
    } else {
        loam_corpus::prepare(&plan::prepare_plan(recipe, kind, conversations), &folder, &mut |progress| {
            observer.preparing(progress)
        })?
    };
    if !run.documents().exists() {
        let from = recipe.data.prepared.as_ref().unwrap_or(&folder).join("documents.parquet");
        let aside = run.folder().join(".documents.partial");
        fs::copy(&from, &aside).map_err(|source| TrainError::io(&from, source))?;
        fs::rename(&aside, run.documents()).map_err(|source| TrainError::io(run.documents(), source))?;
    }
    Ok(prepared)
}

/// What `loam data prepare` made.
fn open_prepared(folder: &Path, recipe: &Recipe) -> Result<Prepared, TrainError> {
    let tokens = folder.join("tokens");
    if !tokens.is_dir() {
        return Err(TrainError::Request(format!(
            "data.prepared = \"{}\" has no tokens; make them with: loam data prepare … --tokenizer bpe:8192 --held-out 0.02",
            folder.display()
        )));
    }
    let prepared = Prepared::open(&tokens)?;
    if prepared.held_out().is_empty() {
        return Err(TrainError::Request(format!(
            "nothing of data.prepared = \"{}\" is held out to measure the model on; prepare it with --held-out 0.02, or \
             with a source that has held_out = true",
            folder.display()
        )));
    }
    if let ModelRecipe::From { from, .. } = &recipe.model {
        let own = loam_hub::model(&from.to_string_lossy())?.unwrap_or_else(|| from.clone());
        if Tokenizer::open(&own)?.hash() != prepared.tokenizer().hash() {
            return Err(TrainError::Request(format!(
                "the tokens of data.prepared = \"{}\" were not made with the tokenizer of model.from = \"{}\"; prepare \
                 them with --tokenizer {1}",
                folder.display(),
                from.display()
            )));
        }
    }
    Ok(prepared)
}

/// Steps that fit the recipe's minutes at the speed of this machine, measured on a few steps whose results are thrown
/// away. From then on the run is one of so many steps, so that it can be resumed and repeated.
fn steps_in_time<M: Learner>(
    run: &Run,
    recipe: &Recipe,
    session: &Session,
    prepared: &Prepared,
    model: M,
    feed: Feed,
    kind: Kind,
    portions: Portions,
) -> Result<u64, TrainError> {
    let Length::Minutes(minutes) = recipe.train.length else { return Ok(1) };
    let mut nobody = ();
    let mut trainer = Trainer::new(run, recipe, session, &mut nobody, prepared, model, feed, kind, portions, 1, None)?;
    trainer.time_a_step()?;
    let mut times = Vec::new();
    while times.len() < 3 || times.iter().sum::<f64>() < 1.5 {
        times.push(trainer.time_a_step()?);
    }
    times.sort_by(f64::total_cmp);
    // Beside forward and backward: the optimizer, the ledger, evaluations.
    let ledger = match (recipe.ledger.enabled, recipe.ledger.documents) {
        (true, true) => 0.06 + recipe.ledger.documents_budget,
        (true, false) => 0.06,
        (false, _) => 0.0,
    };
    let evaluation = {
        let tokens: u64 = prepared.held_out().iter().map(|domain| domain.tokens.min(recipe.train.eval_tokens)).sum();
        tokens as f64 / 3.0 / (recipe.train.eval_every as f64 * portions.batch_tokens() as f64)
    };
    let step = times[times.len() / 2] * (1.03 + ledger + evaluation);
    Ok(((minutes * 60.0 / step) as u64).max(1))
}
