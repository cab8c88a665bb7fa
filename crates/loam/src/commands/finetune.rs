//! `loam finetune`.

mod writing;

use super::Misuse;
use crate::arguments::{ClassWeightsName, FamilyName, FineTuneArguments, Global, SimilarityLossName};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::finetune::{self, FineTuneRecipe, TaskKind};
use loam_tasks::writing::WritingTask;
use loam_train::finetune::FineTuned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &FineTuneArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let resumed = arguments.resume.then(|| folder_to_resume(arguments, global)).transpose()?;
    if let Some(folder) = resumed.as_ref().filter(|folder| writing::is_one(folder)) {
        return writing::resume(folder, global, terminal);
    }
    let named = |task: &WritingTask| arguments.what.as_deref() == Some(task.name());
    if let Some(task) = WritingTask::ALL.into_iter().find(named).filter(|_| resumed.is_none()) {
        return writing::run(task, arguments, global, terminal);
    }
    let session = machine::session(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    machine::stop_on_interrupt();
    if let Some(folder) = resumed {
        watcher.name_folder(&folder);
        let outcome = finetune::resume(&folder, &session, &mut watcher)?;
        return finish(&folder, &outcome, terminal);
    }
    let (mut recipe, name) = recipe(arguments, global)?;
    if arguments.lr.as_deref() == Some("find") {
        watcher.doing("looking for a learning rate");
        let found = finetune::search_rate(&recipe, &session, &mut watcher)?;
        watcher.done();
        terminal.say(format_args!(
            "learning rate: {:.2e}, found in {} steps",
            found.rate,
            count(found.points.len() as u64)
        ));
        let text = recipe.to_toml();
        // Rounded, so that the recipe says what the terminal said.
        recipe = FineTuneRecipe::parse(&text, &[format!("train.lr={:.2e}", found.rate)])?;
    }
    let folder = arguments.out.clone().unwrap_or_else(|| super::free_run(&name));
    watcher.name_folder(&folder);
    let outcome = finetune::start(&recipe, &folder, &session, &mut watcher)?;
    finish(&folder, &outcome, terminal)
}

fn finish(folder: &Path, outcome: &FineTuned, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if outcome.reason == "interrupted" {
        terminal.say(format_args!("go on with: loam finetune --resume -o {}", folder.display()));
        return Ok(ExitCode::from(machine::INTERRUPTED));
    }
    if let Some((step, best)) = &outcome.best {
        terminal.say(format_args!(
            "kept: step {}, {} {:.4} on {} validation examples",
            count(*step),
            best.deciding.replace('_', " "),
            best.score(),
            count(best.examples)
        ));
    }
    super::train::draw(folder, terminal);
    terminal.say(format_args!("model: {}", folder.join("model").display()));
    Ok(ExitCode::SUCCESS)
}

fn folder_to_resume(arguments: &FineTuneArguments, global: &Global) -> anyhow::Result<PathBuf> {
    let changes = arguments.model.is_some()
        || arguments.family.is_some()
        || !arguments.train.is_empty()
        || !arguments.sets.is_empty()
        || arguments.seed.is_some()
        || global.dtype.is_some();
    if changes {
        let message = "--resume goes on with the run's own recipe; start a new run to change values";
        return Err(Misuse(message.into()).into());
    }
    match (&arguments.out, &arguments.what) {
        (Some(folder), _) => Ok(folder.clone()),
        (None, Some(folder)) if Path::new(folder).join("recipe.toml").exists() => Ok(PathBuf::from(folder)),
        _ => Err(Misuse("--resume needs the run's folder: loam finetune --resume -o runs/NAME".into()).into()),
    }
}

fn recipe(arguments: &FineTuneArguments, global: &Global) -> anyhow::Result<(FineTuneRecipe, String)> {
    let tasks = || {
        let names = TaskKind::ALL.map(TaskKind::name).into_iter().chain(WritingTask::ALL.map(WritingTask::name));
        names.collect::<Vec<_>>().join(", ")
    };
    let what = arguments.what.as_deref().ok_or_else(|| {
        Misuse(format!("name the task ({}) or a recipe: loam finetune classify --model DIR --train FILE", tasks()))
    })?;
    let path = Path::new(what);
    let (text, name) = if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        (text, path.file_stem().map_or_else(|| what.to_owned(), |stem| stem.to_string_lossy().into_owned()))
    } else if let Some(task) = TaskKind::ALL.into_iter().find(|task| task.name() == what) {
        (format!("task = \"{task}\"\n[data]\nheld_out = 0.1\n"), what.to_owned())
    } else {
        return Err(Misuse(format!("\"{what}\" is no task; there are {}", tasks())).into());
    };
    let writing = &arguments.writing;
    if writing.prompt.is_some() || !writing.pair_fields.is_empty() || !writing.targets.is_empty() {
        let message = "--prompt, --fields, and --targets are for translate, summarize, and chat";
        return Err(Misuse(message.into()).into());
    }
    let mut sets = Vec::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            sets.push(format!("{key}={value}"));
        }
    };
    // JSON's texts and lists are TOML's.
    let quoted = |text: &String| serde_json::to_string(text).expect("a text is JSON");
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| serde_json::to_string(texts).expect("texts are JSON"));
    set("model.from", arguments.model.as_ref().map(quoted));
    set("model.family", arguments.family.map(|family| format!("\"{}\"", family_name(family))));
    set("lora.rank", writing.lora.map(|rank| rank.to_string()));
    set("model.context", arguments.context.map(|tokens| tokens.to_string()));
    set("data.train", listed(&arguments.train));
    set("data.valid", listed(&arguments.valid));
    set("data.fields.text_field", listed(&arguments.fields.text_field));
    set("data.fields.pair_field", arguments.fields.pair_field.as_ref().map(quoted));
    set("data.fields.label_field", listed(&arguments.fields.label_field));
    set("data.fields.label_separator", arguments.fields.label_separator.as_ref().map(quoted));
    set("data.label_names", listed(&label_names(&arguments.label_names)?));
    let weights = |weights| match weights {
        ClassWeightsName::None => "\"none\"".to_owned(),
        ClassWeightsName::Balanced => "\"balanced\"".to_owned(),
    };
    set("data.class_weights", arguments.class_weights.map(weights));
    let embed = &arguments.embed;
    set("embed.scale", embed.scale.map(|scale| format!("{scale:?}")));
    let loss = |loss| match loss {
        SimilarityLossName::Cosent => "\"cosent\"".to_owned(),
        SimilarityLossName::Cosine => "\"cosine\"".to_owned(),
    };
    set("embed.loss", embed.similarity_loss.map(loss));
    set("embed.negative_fields", listed(&embed.negative_field));
    set("embed.pooling", embed.pooling.map(|pooling| format!("\"{}\"", super::embed::pooling_name(pooling))));
    set("train.epochs", arguments.epochs.map(|epochs| format!("{epochs:?}")));
    set("train.batch", arguments.batch.map(|batch| batch.to_string()));
    if let Some(rate) = arguments.lr.as_ref().filter(|rate| *rate != "find") {
        let number: f64 = rate.parse().map_err(|_| Misuse(format!("--lr {rate}: give a number, or find")))?;
        set("train.lr", Some(format!("{number:?}")));
    }
    set("train.patience", arguments.patience.map(|patience| patience.to_string()));
    set("train.seed", arguments.seed.map(|seed| seed.to_string()));
    set("train.dtype", global.dtype.as_ref().map(quoted));
    if let Some(tokenizer) = &arguments.tokenizer {
        let tokenizer: finetune::TokenizerRecipe = tokenizer.parse().map_err(Misuse)?;
        set("tokenizer.path", tokenizer.path.map(|path| quoted(&path.to_string_lossy().into_owned())));
        set("tokenizer.kind", tokenizer.kind.map(|kind| format!("\"{kind}\"")));
        set("tokenizer.vocab", tokenizer.vocab.map(|vocab| vocab.to_string()));
    }
    sets.extend(arguments.sets.iter().cloned());
    let recipe = FineTuneRecipe::parse(&text, &sets).map_err(|error| Misuse(error.to_string()))?;
    if recipe.data.train.is_empty() {
        return Err(Misuse("there is nothing to train on: name files with --train".into()).into());
    }
    if recipe.model.from.is_none() && recipe.model.family.is_none() {
        let message = "say what is trained: a model that there is with --model, or a new one with --family";
        return Err(Misuse(message.into()).into());
    }
    Ok((recipe, name))
}

fn family_name(family: FamilyName) -> &'static str {
    match family {
        FamilyName::Textcnn => "textcnn",
        FamilyName::Lstm => "lstm",
        FamilyName::Gru => "gru",
        FamilyName::Rnn => "rnn",
        FamilyName::Bert => "bert",
        FamilyName::Seq2seq => "seq2seq",
        FamilyName::T5 => "t5",
        FamilyName::Gpt => "gpt",
        FamilyName::Llama => "llama",
    }
}

/// Names as they are given, or the lines of the one file that is.
fn label_names(given: &[String]) -> anyhow::Result<Vec<String>> {
    match given {
        [file] if Path::new(file).is_file() => {
            let text = super::text_file(Path::new(file))?;
            Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
        }
        names => Ok(names.to_vec()),
    }
}
