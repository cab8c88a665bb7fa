//! Training a model for a task, from one that there is or from nothing: `loam finetune`.

mod build;
mod recipe;
mod split;

pub use recipe::{DataRecipe, Dtype, Family, FineTuneRecipe, ModelRecipe, TaskKind, TokenizerRecipe, TrainRecipe};
pub use split::{held_out, split_rows};

use crate::classify::{ClassifyTask, labels_of, read_labeled};
use crate::language_model::TaskError;
use loam_models::weights;
use loam_models::{Classifier, SequenceClassifier};
use loam_nn::precision;
use loam_train::finetune::{FineTuned, RateSearch, Settings, Task, find_rate, fine_tune};
use loam_train::record::Event;
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
    with_precision(recipe, session, observer, |observer| {
        let job = Job::new(recipe, session, observer)?;
        let run = Run::create(folder)?;
        save(&run, recipe)?;
        job.run(&run, session, observer, false)
    })
}

/// Goes on with the run in `folder` from its last whole checkpoint, or from its beginning.
///
/// # Errors
/// When there is no run of fine-tuning, or its data or model have changed.
pub fn resume(folder: &Path, session: &Session, observer: &mut dyn Observer) -> Result<FineTuned, TaskError> {
    let run = Run::open(folder)?;
    let text = fs::read_to_string(run.recipe()).map_err(|source| TrainError::io(run.recipe(), source))?;
    let recipe = FineTuneRecipe::parse(&text, &[])
        .map_err(|error| TaskError::Request(format!("{}: {error}", run.recipe().display())))?;
    with_precision(&recipe, session, observer, |observer| {
        Job::new(&recipe, session, observer)?.run(&run, session, observer, true)
    })
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
    with_precision(recipe, session, observer, |observer| {
        let Job { task, model, settings } = Job::new(recipe, session, observer)?;
        Ok(find_rate(&task, model, &settings, RATES.0, RATES.1, &session.device, session.stop)?)
    })
}

fn with_precision<T>(
    recipe: &FineTuneRecipe,
    session: &Session,
    observer: &mut dyn Observer,
    action: impl FnOnce(&mut dyn Observer) -> Result<T, TaskError>,
) -> Result<T, TaskError> {
    let asked = recipe.train.dtype.map_or_else(precision::current, Dtype::of_products);
    let used = precision::on(&session.device, asked);
    if used != asked {
        observer.warning(&format!(
            "{}: this processor has no products of that precision; computing in {}",
            asked.name(),
            used.name()
        ));
    }
    precision::with_precision(asked, || action(observer))
}

fn save(run: &Run, recipe: &FineTuneRecipe) -> Result<(), TaskError> {
    let (path, aside) = (run.recipe(), run.folder().join(".recipe.partial"));
    weights::write_synced(&aside, recipe.to_toml().as_bytes())?;
    fs::rename(&aside, &path).map_err(|source| TrainError::io(&path, source))?;
    Ok(())
}

/// A model, what it is trained on, and how.
struct Job {
    task: ClassifyTask,
    model: Classifier,
    settings: Settings,
}

impl Job {
    fn new(recipe: &FineTuneRecipe, session: &Session, observer: &mut dyn Observer) -> Result<Self, TaskError> {
        let settings = recipe.settings()?;
        let data = &recipe.data;
        if data.train.is_empty() {
            return Err(TaskError::Request("there is nothing to train on: name files with --train".to_owned()));
        }
        let read = |paths: &[String]| read_labeled(paths, data.reading, &data.fields);
        let mut train = read(&data.train)?;
        let mut valid = if data.valid.is_empty() { Vec::new() } else { read(&data.valid)? };
        if valid.is_empty() && data.held_out > 0.0 {
            valid = split::take_held_out(&mut train, data.held_out);
            observer.warning(&format!(
                "no --valid: {} of {} examples are kept to tell which weights are best",
                valid.len(),
                train.len() + valid.len()
            ));
        }
        // Labels of the validation set count too, so that they have names.
        let count = train.len();
        train.append(&mut valid);
        let labels = labels_of(&mut train, &data.label_names)?;
        let valid = train.split_off(count);
        let (model, tokenizer) = build::classifier(recipe, &train, labels, &settings, session)?;
        let longest = recipe.model.context.map_or(model.context(), |most| most.min(model.context()));
        let labels = model.labels().clone();
        let padding = model.padding();
        let task = ClassifyTask::new(&train, &valid, labels, tokenizer, longest, padding, data.class_weights)?;
        let (long, cut) = task.long();
        if long > 0 {
            observer.warning(&format!("{long} texts are longer than {longest} tokens and are read in windows"));
        }
        if cut > 0 {
            observer
                .warning(&format!("of {cut} pairs the first text is longer than half of {longest} tokens and is cut"));
        }
        if task.unknown() > 0 {
            observer.warning(&format!("{} validation texts have labels that the model does not have", task.unknown()));
        }
        Ok(Self { task, model, settings })
    }

    fn run(
        self,
        run: &Run,
        session: &Session,
        observer: &mut dyn Observer,
        resume: bool,
    ) -> Result<FineTuned, TaskError> {
        let event = Event::Start {
            loam: env!("CARGO_PKG_VERSION").to_owned(),
            machine: session.machine.clone(),
            device: session.device_name.clone(),
            threads: session.threads,
            precision: precision::on(&session.device, precision::current()).name().to_owned(),
            seed: self.settings.seed,
            resumed_from: None,
        };
        run.log(&event)?;
        observer.event(&event);
        debug_assert!(!self.task.lengths().is_empty());
        Ok(fine_tune(&self.task, self.model, None, run, &self.settings, session, observer, resume)?)
    }
}
