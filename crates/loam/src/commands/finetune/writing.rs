//! `loam finetune translate | summarize | chat`.

use crate::arguments::{FineTuneArguments, Global};
use crate::commands::{Misuse, free_run, train};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::Terminal;
use loam_corpus::Bytes;
use loam_tasks::writing::training::{ExampleFiles, WritingPlan, finish, start};
use loam_tasks::writing::{Brief, WritingTask};
use loam_train::session;
use std::path::Path;
use std::process::ExitCode;

/// Starts a run.
pub fn run(
    task: WritingTask,
    arguments: &FineTuneArguments,
    global: &Global,
    terminal: Terminal,
) -> anyhow::Result<ExitCode> {
    let plan = plan(task, arguments, global)?;
    let session = machine::session(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    machine::stop_on_interrupt();
    let folder = arguments.out.clone().unwrap_or_else(|| free_run(task.name()));
    watcher.name_folder(&folder);
    let outcome = start(&plan, &folder, &session, &mut watcher)?;
    end(&folder, &outcome, terminal)
}

/// Whether a run is one of writing.
pub fn is_one(folder: &Path) -> bool {
    matches!(Brief::beside(folder), Ok(Some(_))) && !loam_tasks::finetune::is_fine_tuning(folder)
}

/// Goes on with one.
pub fn resume(folder: &Path, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let session = machine::session(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    machine::stop_on_interrupt();
    watcher.name_folder(folder);
    let outcome = session::resume(folder, &session, &mut watcher)?;
    end(folder, &outcome, terminal)
}

fn end(folder: &Path, outcome: &loam_train::Outcome, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if outcome.reason == "interrupted" {
        terminal.say(format_args!("go on with: loam finetune --resume -o {}", folder.display()));
        return Ok(ExitCode::from(machine::INTERRUPTED));
    }
    finish(folder)?;
    train::finish(folder, outcome, terminal)
}

fn plan(task: WritingTask, arguments: &FineTuneArguments, global: &Global) -> anyhow::Result<WritingPlan> {
    let writing = &arguments.writing;
    let refused = |flag: &str, why: &str| Err(Misuse(format!("{flag} is not for {task}: {why}")).into());
    if arguments.batch.is_some() {
        return refused("--batch", "batches are counted in tokens; change them with --set train.batch_tokens=N");
    }
    if arguments.lr.as_deref() == Some("find") {
        return refused("--lr find", "give a rate");
    }
    if arguments.class_weights.is_some() || !arguments.label_names.is_empty() {
        return refused("--class-weights and --label-names", "it has no labels");
    }
    let fields = &arguments.fields;
    if !(fields.text_field.is_empty() && fields.label_field.is_empty() && fields.pair_field.is_none()) {
        return refused("--text-field, --pair-field, and --label-field", "name its fields with --fields SOURCE,TARGET");
    }
    if task == WritingTask::Chat {
        if !writing.pair_fields.is_empty() || !writing.targets.is_empty() {
            return refused("--fields and --targets", "its records are conversations, whose fields are known");
        }
        if writing.prompt.is_some() {
            return refused(
                "--prompt",
                "conversations hold what is asked; objective.chat_template says how they are written",
            );
        }
    }
    if writing.targets.is_empty() != writing.valid_targets.is_empty() && !arguments.valid.is_empty() {
        return Err(Misuse("--targets and --valid-targets go together where --valid is given".into()).into());
    }
    if arguments.train.is_empty() {
        return Err(Misuse("there is nothing to train on: name files with --train".into()).into());
    }
    if arguments.model.is_none() && arguments.family.is_none() {
        let message = "say what is trained: a model that there is with --model, or a new one with --family";
        return Err(Misuse(message.into()).into());
    }
    let mut sets = Vec::new();
    let mut set = |key: &str, value: Option<String>| sets.extend(value.map(|value| format!("{key}={value}")));
    set("train.epochs", arguments.epochs.map(|epochs| format!("{epochs:?}")));
    if let Some(rate) = &arguments.lr {
        let number: f64 = rate.parse().map_err(|_| Misuse(format!("--lr {rate}: give a number")))?;
        set("train.lr", Some(format!("{number:?}")));
    }
    set("train.patience", arguments.patience.map(|patience| patience.to_string()));
    set("train.seed", arguments.seed.map(|seed| seed.to_string()));
    set("train.dtype", global.dtype.as_ref().map(|dtype| format!("\"{dtype}\"")));
    sets.extend(arguments.sets.iter().cloned());
    let tokenizer = arguments.tokenizer.as_ref().map(|tokenizer| tokenizer.parse().map_err(Misuse)).transpose()?;
    Ok(WritingPlan {
        task,
        from: arguments.model.clone(),
        family: arguments.family.map(|family| super::family_name(family).to_owned()),
        tokenizer,
        train: ExampleFiles { paths: arguments.train.clone(), targets: writing.targets.clone() },
        valid: ExampleFiles { paths: arguments.valid.clone(), targets: writing.valid_targets.clone() },
        fields: writing.pair_fields.clone(),
        bytes: Bytes::default(),
        prompt: writing.prompt.clone(),
        lora: writing.lora.map(usize::from),
        context: arguments.context,
        sets,
    })
}
