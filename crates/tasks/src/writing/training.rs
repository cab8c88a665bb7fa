//! Training a model to write: examples become pairs for an encoder with a decoder, and conversations for a language model, of which
//! the answers alone are learned; then [`loam_train::session`] trains, and what it leaves is a run like any other.

use super::brief::{Brief, WritingTask, asked, check_prompt};
use super::pairs::{Pair, read_pairs};
use crate::finetune::{TokenizerRecipe, take_held_out};
use crate::language_model::TaskError;
use crate::model_folder::{json_beside, model_folder};
use crate::rows::Rows;
use loam_corpus::{Bytes, Tokenizer};
use loam_models::{SourceToTarget, weights};
use loam_train::recipe::Recipe;
use loam_train::{Observer, Outcome, Session, TrainError, session};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use toml::Table;

/// What is trained on what.
#[derive(Clone, Debug)]
pub struct WritingPlan {
    /// What is written.
    pub task: WritingTask,
    /// The model that is gone on with: a folder, a run, a GGUF file, or `hf:org/name`.
    pub from: Option<String>,
    /// The family of a new one.
    pub family: Option<String>,
    /// The tokenizer of a new one.
    pub tokenizer: Option<TokenizerRecipe>,
    /// Training examples.
    pub train: ExampleFiles,
    /// Examples that tell which weights are best; without them a tenth of the others is kept for it.
    pub valid: ExampleFiles,
    /// Fields of source and target, where they cannot be told.
    pub fields: Vec<String>,
    /// How the bytes of the files become text.
    pub bytes: Bytes,
    /// The words around a text; see [`Brief`].
    pub prompt: Option<String>,
    /// Rank of adapters that are trained in the place of the model.
    pub lora: Option<usize>,
    /// Longest example, in tokens.
    pub context: Option<u64>,
    /// Other values of the recipe, by their dotted keys, which win over all of these.
    pub sets: Vec<String>,
}

/// Files, folders and globs of examples.
#[derive(Clone, Debug, Default)]
pub struct ExampleFiles {
    /// Of rows, or of sources.
    pub paths: Vec<String>,
    /// Of targets, whose lines belong to those of the sources.
    pub targets: Vec<String>,
}

/// The part of the examples that is kept, where none are named.
const HELD_OUT: f64 = 0.1;

/// Tokens an optimizer step.
const BATCH_TOKENS: usize = 2048;

/// Tokens that a chat template writes around a question and its answer.
const AROUND: usize = 48;

/// Longest examples that are learned without being asked to: activations grow with them.
const LONGEST: usize = 2048;

/// Starts a run in `folder`. Examples are written into it as they are learned, so that it goes on without the files that they came
/// from.
///
/// # Errors
/// When the files, the model or the folder does not allow it.
pub fn start(
    plan: &WritingPlan,
    folder: &Path,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<Outcome, TaskError> {
    if folder.join("recipe.toml").exists() {
        let message = format!(
            "{0} already holds a run; go on with it by --resume -o {0}, or choose another folder",
            folder.display()
        );
        return Err(TaskError::Request(message));
    }
    if let Some(prompt) = &plan.prompt {
        check_prompt(prompt)?;
    }
    let base = Base::of(plan)?;
    let (train, valid, kept) = examples(plan, &base)?;
    if kept {
        observer.warning(&format!(
            "no --valid: {} of {} examples are kept to tell which weights are best",
            valid.len(),
            train.len() + valid.len()
        ));
    }
    let sizes = Sizes::of(train.iter().chain(&valid), base.tokenizer.as_ref());
    let recipe = recipe(plan, &base, &sizes, folder)?;
    write_examples(folder, &train, &valid)?;
    Brief { task: plan.task, prompt: plan.prompt.clone() }.save(folder)?;
    Ok(session::start(&recipe, folder, session, observer)?)
}

/// Puts what the model was trained to write beside it, so that the model is enough to know.
///
/// # Errors
/// When the file cannot be written.
pub fn finish(folder: &Path) -> Result<(), TaskError> {
    let model = folder.join("model");
    match Brief::beside(folder)? {
        Some(brief) if model.is_dir() => brief.save(&model),
        _ => Ok(()),
    }
}

/// What is known of the model before it is made.
struct Base {
    /// Where it is, as a recipe names it.
    from: Option<String>,
    /// Whether it reads with an encoder and writes with a decoder.
    source_to_target: bool,
    tokenizer: Option<Tokenizer>,
}

impl Base {
    fn of(plan: &WritingPlan) -> Result<Self, TaskError> {
        let families = SourceToTarget::model_types();
        let Some(from) = &plan.from else {
            let family = plan.family.as_deref().ok_or_else(|| {
                let message = "say what is trained: a model that there is with --model, or a new one with --family";
                TaskError::Request(message.to_owned())
            })?;
            if plan.lora.is_some() {
                let message = "adapters are trained on a model that there is: name it with --model";
                return Err(TaskError::Request(message.to_owned()));
            }
            return Ok(Self { from: None, source_to_target: matches!(family, "seq2seq" | "t5"), tokenizer: None });
        };
        let folder = model_folder(Path::new(from))?;
        let config = if folder.is_dir() { json_beside(&folder.join("config.json"))? } else { None };
        let family = config.as_ref().and_then(|config| config["model_type"].as_str()).unwrap_or_default();
        let source_to_target = families.contains(&family);
        if source_to_target && plan.task == WritingTask::Chat {
            let message = format!("{from} is an encoder with a decoder; conversations are learned by language models");
            return Err(TaskError::Request(message));
        }
        // A run's folder is not the model's, and what the Hub has is fetched wherever the run goes on.
        let named = if loam_hub::is_reference(from) { from.clone() } else { folder.to_string_lossy().into_owned() };
        Ok(Self { from: Some(named), source_to_target, tokenizer: Some(Tokenizer::open(&folder)?) })
    }
}

/// Examples as records, and whether some of them were kept aside here.
type Examples = (Vec<Value>, Vec<Value>, bool);

fn examples(plan: &WritingPlan, base: &Base) -> Result<Examples, TaskError> {
    let read = |files: &ExampleFiles| -> Result<Vec<Value>, TaskError> {
        if plan.task == WritingTask::Chat {
            let rows = Rows::read(&files.paths, plan.bytes, &[])?;
            return Ok(rows.rows.into_iter().map(|row| Value::Object(row.fields)).collect());
        }
        let pairs = read_pairs(plan.task, &files.paths, &files.targets, &plan.fields, plan.bytes)?;
        Ok(pairs.into_iter().map(|pair| record(plan, base, pair)).collect())
    };
    let mut train = read(&plan.train)?;
    let given = !plan.valid.paths.is_empty();
    let valid = if given { read(&plan.valid)? } else { take_held_out(&mut train, HELD_OUT, ToString::to_string) };
    if train.is_empty() || valid.is_empty() {
        let message = format!(
            "{} examples are too few to learn from some and to measure on others; bring more, or name --valid",
            train.len() + valid.len()
        );
        return Err(TaskError::Request(message));
    }
    Ok((train, valid, !given))
}

/// A pair as it is learned.
fn record(plan: &WritingPlan, base: &Base, pair: Pair) -> Value {
    let Pair { source, mut targets } = pair;
    let target = if targets.is_empty() { String::new() } else { targets.swap_remove(0) };
    let prompt = plan.prompt.as_deref();
    if base.source_to_target {
        let source = prompt.map_or_else(|| source.clone(), |prompt| asked(prompt, &source));
        return json!({ "source": source, "target": target });
    }
    let question = asked(prompt.unwrap_or_else(|| plan.task.usual_prompt(&source)), &source);
    json!({ "messages": [{ "role": "user", "content": question }, { "role": "assistant", "content": target }] })
}

/// How long examples are, in tokens, or about so many where there is no tokenizer yet.
struct Sizes {
    total: usize,
    longest: usize,
}

impl Sizes {
    fn of<'a>(examples: impl Iterator<Item = &'a Value>, tokenizer: Option<&Tokenizer>) -> Self {
        let mut sizes = Self { total: 0, longest: 0 };
        for example in examples {
            let mut texts = String::new();
            texts_of(example, &mut texts);
            // About four bytes a token of English, and three of Chinese.
            let tokens = tokenizer.map_or(texts.len() / 3, |tokenizer| tokenizer.encode(&texts).len()) + AROUND;
            sizes.total += tokens;
            sizes.longest = sizes.longest.max(tokens);
        }
        sizes
    }
}

/// All texts of a record but the names of its fields.
fn texts_of(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(list) => list.iter().for_each(|one| texts_of(one, into)),
        Value::Object(fields) => fields.values().for_each(|one| texts_of(one, into)),
        _ => {}
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join("examples").join(name)
}

fn write_examples(folder: &Path, train: &[Value], valid: &[Value]) -> Result<(), TaskError> {
    let examples = folder.join("examples");
    fs::create_dir_all(&examples).map_err(|source| TrainError::io(&examples, source))?;
    for (name, records) in [("train.jsonl", train), ("valid.jsonl", valid)] {
        let lines: String = records.iter().flat_map(|record| [record.to_string(), "\n".to_owned()]).collect();
        weights::write_synced(&file(folder, name), lines.as_bytes())?;
    }
    Ok(())
}

/// The recipe of the run.
fn recipe(plan: &WritingPlan, base: &Base, sizes: &Sizes, folder: &Path) -> Result<Recipe, TaskError> {
    let (train, valid) = (file(folder, "train.jsonl"), file(folder, "valid.jsonl"));
    let path = |path: &Path| toml::Value::Array(vec![path.to_string_lossy().into_owned().into()]);
    let mut source = Table::new();
    source.insert("name".to_owned(), "examples".into());
    source.insert("path".to_owned(), path(&train));
    if base.source_to_target {
        source.insert("input_field".to_owned(), "source".into());
        source.insert("target_field".to_owned(), "target".into());
    } else {
        source.insert("format".to_owned(), "conversations".into());
    }
    let is_new = base.from.is_none();
    let new = |name: &str| is_new && base.source_to_target && plan.family.as_deref() == Some(name);
    let mut model = Table::new();
    let context = plan.context.map(|context| context as i64);
    if let Some(from) = &base.from {
        model.insert("from".to_owned(), from.clone().into());
        let longest = sizes.longest.next_multiple_of(64).min(LONGEST);
        model.insert("context".to_owned(), context.unwrap_or(longest as i64).into());
    } else {
        let usual = if plan.task == WritingTask::Translate { 128 } else { 512 };
        model.insert("family".to_owned(), plan.family.clone().unwrap_or_default().into());
        model.insert("width".to_owned(), 256.into());
        model.insert("layers".to_owned(), 3.into());
        model.insert("heads".to_owned(), 4.into());
        // So few examples are seen many times.
        model.insert("dropout".to_owned(), if sizes.total < 5_000_000 { 0.3 } else { 0.1 }.into());
        model.insert("context".to_owned(), context.unwrap_or(usual).into());
    }
    let (epochs, lr) = match (is_new, plan.lora) {
        (true, _) if base.source_to_target => (12.0, 1e-3),
        (true, _) => (6.0, 6e-4),
        (false, Some(_)) => (3.0, 2e-4),
        (false, None) => (3.0, 5e-5),
    };
    // Ten looks at the held-out examples.
    let steps = epochs * sizes.total as f64 / BATCH_TOKENS as f64;
    let every = (steps / 10.0).clamp(10.0, 1000.0) as i64;
    let mut how = Table::new();
    how.insert("epochs".to_owned(), epochs.into());
    how.insert("batch_tokens".to_owned(), (BATCH_TOKENS as i64).into());
    how.insert("lr".to_owned(), lr.into());
    how.insert("min_lr".to_owned(), 0.0.into());
    how.insert("schedule".to_owned(), "linear".into());
    how.insert("warmup".to_owned(), 0.1.into());
    how.insert("beta2".to_owned(), if new("seq2seq") || new("t5") { 0.98 } else { 0.999 }.into());
    how.insert("weight_decay".to_owned(), if plan.lora.is_some() { 0.0 } else { 0.01 }.into());
    how.insert("eval_every".to_owned(), every.into());
    how.insert("checkpoint_every".to_owned(), every.into());
    how.insert("patience".to_owned(), 5.into());
    let mut objective = Table::new();
    objective.insert("kind".to_owned(), if base.source_to_target { "pairs" } else { "causal" }.into());
    if base.source_to_target && is_new {
        objective.insert("label_smoothing".to_owned(), 0.1.into());
    }
    let mut held_out = Table::new();
    held_out.insert("valid".to_owned(), path(&valid));
    let mut data = Table::new();
    data.insert("source".to_owned(), toml::Value::Array(vec![source.into()]));
    data.insert("held_out".to_owned(), held_out.into());
    let off = || Table::from_iter([("enabled".to_owned(), false.into())]);
    let mut table = Table::new();
    let sections = [("data", data), ("model", model), ("train", how), ("objective", objective)];
    for (name, section) in sections.into_iter().chain([("ledger", off()), ("baseline", off())]) {
        table.insert(name.to_owned(), section.into());
    }
    if let Some(rank) = plan.lora {
        table.insert("lora".to_owned(), Table::from_iter([("rank".to_owned(), (rank as i64).into())]).into());
    }
    if let Some(tokenizer) = tokenizer(plan) {
        table.insert("tokenizer".to_owned(), tokenizer.into());
    }
    let recipe: Recipe = table.to_string().parse().map_err(TrainError::from)?;
    Ok(recipe.with(&plan.sets).map_err(TrainError::from)?)
}

fn tokenizer(plan: &WritingPlan) -> Option<Table> {
    let asked = plan.tokenizer.as_ref()?;
    let mut table = Table::new();
    if let Some(path) = &asked.path {
        table.insert("path".to_owned(), path.to_string_lossy().into_owned().into());
    }
    if let Some(kind) = asked.kind {
        table.insert("kind".to_owned(), kind.to_string().into());
    }
    if let Some(vocab) = asked.vocab {
        table.insert("vocab".to_owned(), (vocab as i64).into());
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(task: WritingTask) -> WritingPlan {
        WritingPlan {
            task,
            from: None,
            family: Some("seq2seq".to_owned()),
            tokenizer: None,
            train: ExampleFiles::default(),
            valid: ExampleFiles::default(),
            fields: Vec::new(),
            bytes: Bytes::default(),
            prompt: None,
            lora: None,
            context: None,
            sets: vec!["train.lr=0.002".to_owned()],
        }
    }

    #[test]
    fn a_pair_is_learned_as_its_model_reads_it() {
        let pair = Pair { source: "a {text}".to_owned(), targets: vec!["b".to_owned(), "c".to_owned()] };
        let mut plan = plan(WritingTask::Summarize);
        let base = |source_to_target| Base { from: None, source_to_target, tokenizer: None };
        let (encoder, language_model) = (base(true), base(false));
        assert_eq!(record(&plan, &encoder, pair.clone()), json!({ "source": "a {text}", "target": "b" }));
        plan.prompt = Some("In short: {text}".to_owned());
        assert_eq!(record(&plan, &encoder, pair.clone())["source"], "In short: a {text}");
        plan.prompt = None;
        let asked = record(&plan, &language_model, pair)["messages"][0]["content"].clone();
        assert_eq!(asked, "Summarize the following text.\n\na {text}");
    }

    #[test]
    fn the_recipe_is_one_and_takes_what_is_set() {
        let base = Base { from: None, source_to_target: true, tokenizer: None };
        let sizes = Sizes { total: 900_000, longest: 70 };
        let made = recipe(&plan(WritingTask::Translate), &base, &sizes, Path::new("run")).unwrap();
        assert_eq!((made.train.lr, made.objective.label_smoothing), (0.002, 0.1));
        assert!(!made.ledger.enabled && made.check().is_ok());
        let mut other = plan(WritingTask::Chat);
        (other.family, other.lora) = (None, Some(8));
        let base = Base { from: Some("model".to_owned()), source_to_target: false, tokenizer: None };
        let made = recipe(&other, &base, &sizes, Path::new("run")).unwrap();
        assert_eq!(made.lora.rank, Some(8));
        assert!(made.to_toml().contains("context = 128"), "{}", made.to_toml());
        other.sets = vec!["train.rate=1".to_owned()];
        assert!(recipe(&other, &base, &sizes, Path::new("run")).unwrap_err().to_string().contains("train.rate"));
    }

    #[test]
    fn lengths_are_of_texts_and_not_of_names() {
        let example = json!({ "messages": [{ "role": "user", "content": "abc" }], "number": 3 });
        let mut texts = String::new();
        texts_of(&example, &mut texts);
        assert_eq!(texts.split('\n').filter(|text| !text.is_empty()).collect::<Vec<_>>(), ["abc", "user"]);
    }
}
