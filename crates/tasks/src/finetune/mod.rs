//! Training a model for a task, from one that there is or from nothing: `loam finetune`.

mod adapters;
mod build;
mod recipe;
mod split;

pub use recipe::{DataRecipe, Dtype, Family, FineTuneRecipe, ModelRecipe, TaskKind, TokenizerRecipe, TrainRecipe};
pub(crate) use split::take_held_out;
pub use split::{held_out, split_rows};

use crate::answer::{AnswerTask, read_questions};
use crate::classify::{ClassifyTask, labels_of, read_labeled};
use crate::embed::{EmbedExamples, EmbedTask, PairFields, read_examples};
use crate::language_model::TaskError;
use crate::tag::{TagTask, read_tagged, tag_labels};
use burn::tensor::Device;
use loam_models::bert::SpanBert;
use loam_models::{Adaptable, Bert, Classifier, SequenceClassifier, Tagger};
use loam_nn::precision;
use loam_train::finetune::{FineTuned, RateSearch, Settings, Task, find_rate, fine_tune};
use loam_train::recipe::LoraRecipe;
use loam_train::{Observer, Run, Session, TrainError};
use std::fs;
use std::path::Path;

/// Lowest and highest learning rate that are tried, and in how many steps.
const RATES: ((f64, f64), u64) = ((1e-7, 1.0), 100);

/// Starts a run in `folder`.
///
/// # Errors
/// When the recipe, the data, the model or the folder does not allow it.
pub fn start(
    recipe: &FineTuneRecipe,
    folder: &Path,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<FineTuned, TaskError> {
    if folder.join("recipe.toml").exists() {
        let message = format!(
            "{0} already holds a run; go on with it by --resume -o {0}, or choose another folder",
            folder.display()
        );
        return Err(TaskError::Request(message));
    }
    with_precision(recipe, || {
        let job = Job::new(recipe, session, observer)?;
        let run = Run::create(folder)?;
        run.save_recipe(&recipe.to_toml())?;
        job.run(&run, session, observer, false)
    })
}

/// Goes on with the run in `folder` from its last whole checkpoint, or from its beginning.
///
/// # Errors
/// When there is no run of fine-tuning, or its data or model have changed.
pub fn resume(folder: &Path, session: &Session, observer: &mut dyn Observer) -> Result<FineTuned, TaskError> {
    let run = Run::open(folder)?;
    if !is_fine_tuning(folder) {
        let message =
            format!("{0} is no run of fine-tuning; go on with it by: loam train --resume -o {0}", folder.display());
        return Err(TaskError::Request(message));
    }
    let text = fs::read_to_string(run.recipe()).map_err(|source| TrainError::io(run.recipe(), source))?;
    let recipe = FineTuneRecipe::parse(&text, &[])
        .map_err(|error| TaskError::Request(format!("{}: {error}", run.recipe().display())))?;
    with_precision(&recipe, || Job::new(&recipe, session, observer)?.run(&run, session, observer, true))
}

/// Whether a run's recipe is one of fine-tuning.
pub fn is_fine_tuning(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join("recipe.toml")).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("task"))
}

/// Looks for a learning rate: see [`find_rate`]. Nothing is written.
///
/// # Errors
/// As [`start`], and when no rate is better than another.
pub fn search_rate(
    recipe: &FineTuneRecipe,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<RateSearch, TaskError> {
    with_precision(recipe, || Job::new(recipe, session, observer)?.find_rate(session))
}

fn with_precision<T>(recipe: &FineTuneRecipe, action: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    let asked = recipe.train.dtype.map_or_else(precision::current, Dtype::of_products);
    precision::with_precision(asked, action)
}

/// A model, what it is trained on, and how.
struct Job {
    prepared: Prepared,
    settings: Settings,
    lora: LoraRecipe,
}

/// A task's examples and its model.
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Prepared {
    Classify(ClassifyTask, Classifier),
    Tag(TagTask, Tagger),
    Answer(AnswerTask, SpanBert),
    Embed(EmbedTask, Bert),
}

impl Job {
    fn new(recipe: &FineTuneRecipe, session: &Session, observer: &mut dyn Observer) -> Result<Self, TaskError> {
        let settings = recipe.settings()?;
        if recipe.data.train.is_empty() {
            return Err(TaskError::Request("there is nothing to train on: name files with --train".to_owned()));
        }
        let prepared = match recipe.task {
            TaskKind::Classify => classify(recipe, &settings, session, observer)?,
            TaskKind::Tag => tag(recipe, &settings, session, observer)?,
            TaskKind::Answer => answer(recipe, &settings, session, observer)?,
            TaskKind::Embed => embed(recipe, &settings, session, observer)?,
        };
        Ok(Self { prepared, settings, lora: recipe.lora.clone() })
    }

    fn run(
        self,
        run: &Run,
        session: &Session,
        observer: &mut dyn Observer,
        resume: bool,
    ) -> Result<FineTuned, TaskError> {
        self.give(session, Training { run, observer, resume })
    }

    fn find_rate(self, session: &Session) -> Result<RateSearch, TaskError> {
        self.give(session, Searching)
    }

    fn give<E: Errand>(self, session: &Session, errand: E) -> Result<E::Outcome, TaskError> {
        let (settings, lora) = (&self.settings, &self.lora);
        match self.prepared {
            Prepared::Classify(task, model) => with_adapters(&task, model, lora, settings, session, errand),
            Prepared::Tag(task, model) => with_adapters(&task, model, lora, settings, session, errand),
            Prepared::Answer(task, model) => with_adapters(&task, model, lora, settings, session, errand),
            Prepared::Embed(task, model) => with_adapters(&task, model, lora, settings, session, errand),
        }
    }
}

/// What is done with a task and its model, whichever they are.
trait Errand {
    /// What comes of it.
    type Outcome;

    fn go<T: Task>(
        self,
        task: &T,
        model: T::Model,
        settings: &Settings,
        session: &Session,
    ) -> Result<Self::Outcome, TaskError>;
}

/// Training in a run's folder.
struct Training<'a> {
    run: &'a Run,
    observer: &'a mut dyn Observer,
    resume: bool,
}

impl Errand for Training<'_> {
    type Outcome = FineTuned;

    fn go<T: Task>(
        self,
        task: &T,
        model: T::Model,
        settings: &Settings,
        session: &Session,
    ) -> Result<FineTuned, TaskError> {
        Ok(fine_tune(task, model, self.run, settings, session, self.observer, self.resume)?)
    }
}

/// Looking for a learning rate.
struct Searching;

impl Errand for Searching {
    type Outcome = RateSearch;

    fn go<T: Task>(
        self,
        task: &T,
        model: T::Model,
        settings: &Settings,
        session: &Session,
    ) -> Result<RateSearch, TaskError> {
        Ok(find_rate(task, model, settings, RATES.0, RATES.1, &session.device, session.stop)?)
    }
}

/// The errand with the model, or with adapters for it.
fn with_adapters<T: Task, E: Errand>(
    task: &T,
    model: T::Model,
    lora: &LoraRecipe,
    settings: &Settings,
    session: &Session,
    errand: E,
) -> Result<E::Outcome, TaskError>
where
    T::Model: Adaptable,
{
    let Some(rank) = lora.rank else { return errand.go(task, model, settings, session) };
    let model = adapters::adapted(model, lora, rank, settings.seed, &session.device.clone().autodiff())?;
    errand.go(&adapters::WithAdapters(task), model, settings, session)
}

/// Where the model is made: a base of adapters is not differentiated.
fn device_of_model(recipe: &FineTuneRecipe, session: &Session) -> Device {
    let device = session.device.clone();
    if recipe.lora.rank.is_some() { device } else { device.autodiff() }
}

/// Tells how many training examples are kept to tell which weights are best.
fn tell_held_out(valid: usize, train: usize, observer: &mut dyn Observer) {
    observer
        .warning(&format!("no --valid: {valid} of {} examples are kept to tell which weights are best", train + valid));
}

fn classify(
    recipe: &FineTuneRecipe,
    settings: &Settings,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Prepared, TaskError> {
    let data = &recipe.data;
    let read = |paths: &[String]| read_labeled(paths, data.reading, &data.fields);
    let mut train = read(&data.train)?;
    let mut valid = if data.valid.is_empty() { Vec::new() } else { read(&data.valid)? };
    if valid.is_empty() && data.held_out > 0.0 {
        valid = split::take_held_out(&mut train, data.held_out, |example| example.text.clone());
        tell_held_out(valid.len(), train.len(), observer);
    }
    // Labels of the validation set count too, so that they have names.
    let count = train.len();
    train.append(&mut valid);
    let labels = labels_of(&mut train, &data.label_names)?;
    let valid = train.split_off(count);
    let (model, tokenizer) =
        build::classifier(recipe, &train, labels, settings.seed, &device_of_model(recipe, session))?;
    let longest = recipe.model.context.map_or(model.context(), |most| most.min(model.context()));
    let labels = model.labels().clone();
    let padding = model.padding();
    let task = ClassifyTask::new(&train, &valid, labels, tokenizer, longest, padding, data.class_weights)?;
    let (long, cut) = task.long();
    if long > 0 {
        observer.warning(&format!("{long} texts are longer than {longest} tokens and are read in windows"));
    }
    if cut > 0 {
        observer.warning(&format!("of {cut} pairs the first text is longer than half of {longest} tokens and is cut"));
    }
    if task.unknown() > 0 {
        observer.warning(&format!("{} validation texts have labels that the model does not have", task.unknown()));
    }
    Ok(Prepared::Classify(task, model))
}

fn tag(
    recipe: &FineTuneRecipe,
    settings: &Settings,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Prepared, TaskError> {
    let data = &recipe.data;
    let mut train = read_tagged(&data.train, &data.label_names, data.reading)?;
    let mut valid =
        if data.valid.is_empty() { Vec::new() } else { read_tagged(&data.valid, &data.label_names, data.reading)? };
    if valid.is_empty() && data.held_out > 0.0 {
        valid = split::take_held_out(&mut train, data.held_out, |sentence| sentence.words.join(" "));
        tell_held_out(valid.len(), train.len(), observer);
    }
    let all: Vec<_> = train.iter().chain(&valid).cloned().collect();
    let labels = tag_labels(&all)?;
    drop(all);
    let (model, tokenizer) = build::tagger(recipe, &train, labels, settings.seed, &device_of_model(recipe, session))?;
    let longest = recipe.model.context.map_or(model.context(), |most| most.min(model.context()));
    let (labels, padding) = (model.labels().clone(), model.padding());
    let task = TagTask::new(train, valid, labels, tokenizer, longest, padding)?;
    if task.long() > 0 {
        observer.warning(&format!("sentences longer than {longest} tokens are read in {} more windows", task.long()));
    }
    Ok(Prepared::Tag(task, model))
}

fn answer(
    recipe: &FineTuneRecipe,
    settings: &Settings,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Prepared, TaskError> {
    let data = &recipe.data;
    let mut train = read_questions(&data.train, data.reading)?;
    let mut valid = if data.valid.is_empty() { Vec::new() } else { read_questions(&data.valid, data.reading)? };
    if valid.is_empty() && data.held_out > 0.0 {
        // Questions about one text stay on one side.
        valid = split::take_held_out(&mut train, data.held_out, |question| question.context.to_string());
        tell_held_out(valid.len(), train.len(), observer);
    }
    let (model, tokenizer) = build::answerer(recipe, &train, settings.seed, &device_of_model(recipe, session))?;
    let context = model.config().context();
    let longest = recipe.model.context.map_or(context, |most| most.min(context));
    let task = AnswerTask::new(&train, valid, tokenizer, longest)?;
    if let [first, ..] = task.left_out() {
        observer.warning(&format!(
            "{} training questions have an answer that is not in their text and are left out; the first is {first}",
            task.left_out().len()
        ));
    }
    Ok(Prepared::Answer(task, model))
}

fn embed(
    recipe: &FineTuneRecipe,
    settings: &Settings,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Prepared, TaskError> {
    let data = &recipe.data;
    let single = |fields: &[String], flag: &str| match fields {
        [] => Ok(None),
        [field] => Ok(Some(field.clone())),
        _ => Err(TaskError::Request(format!("{flag} names one field of pairs, not several"))),
    };
    let fields = PairFields {
        anchor: single(&data.fields.text_field, "--text-field")?,
        positive: data.fields.pair_field.clone(),
        negatives: recipe.embed.negative_fields.clone(),
        score: single(&data.fields.label_field, "--label-field")?,
    };
    let mut train = read_examples(&data.train, data.reading, &fields)?;
    let mut valid = if data.valid.is_empty() { None } else { Some(read_examples(&data.valid, data.reading, &fields)?) };
    if valid.is_none() && data.held_out > 0.0 {
        // What several texts are paired with stays on one side.
        let kept = match &mut train {
            EmbedExamples::Pairs(pairs) => {
                let kept = split::take_held_out(pairs, data.held_out, |pair| pair.positive.to_string());
                EmbedExamples::Pairs(kept)
            }
            EmbedExamples::Scored(pairs) => {
                EmbedExamples::Scored(split::take_held_out(pairs, data.held_out, |pair| pair.first.to_string()))
            }
        };
        tell_held_out(kept.len(), train.len(), observer);
        valid = Some(kept);
    }
    if train.is_empty() {
        return Err(TaskError::Request("no example is left to train on; give more, or --valid".to_owned()));
    }
    let texts = train.texts();
    let (model, tokenizer, encoder) =
        build::embedder(recipe, &texts, settings.seed, &device_of_model(recipe, session))?;
    let task = EmbedTask::new(&train, valid, tokenizer, encoder, recipe.embed.clone(), settings.batch)?;
    if task.cut() > 0 {
        observer.warning(&format!(
            "{} of {} texts are longer than {} tokens; training reads their beginnings",
            task.cut(),
            texts.len(),
            encoder.longest
        ));
    }
    Ok(Prepared::Embed(task, model))
}
