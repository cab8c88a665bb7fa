//! One file a command.

pub mod answer;
pub mod bench;
pub mod chat;
pub mod classify;
#[cfg_attr(not(feature = "cluster"), path = "no_cluster.rs")]
pub mod cluster;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod embed;
pub mod eval;
pub mod exchange;
pub mod fill_mask;
pub mod finetune;
pub mod generate;
pub mod influence;
pub mod inspect;
pub mod inspect_model;
pub mod prepare;
pub mod query;
pub mod report;
pub mod runs;
pub mod score;
pub mod search;
pub mod split;
pub mod study;
pub mod summarize;
pub mod tag;
pub mod texts;
pub mod tokenizer;
pub mod train;
pub mod translate;
pub mod why;
pub mod word2vec;

use loam_influence::InfluenceError;
use loam_train::TrainError;
use std::fmt;
use std::path::{Path, PathBuf};

/// A command that was called in a way that cannot be served: exit code 2.
#[derive(Debug)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// 130 where somebody asked to stop, 2 where the call itself was wrong, 1 for everything else.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let misused = error.is::<Misuse>()
        || error.is::<loam_train::recipe::RecipeError>()
        || matches!(error.downcast_ref(), Some(InfluenceError::Study { .. } | InfluenceError::Attribution { .. }))
        || matches!(error.downcast_ref(), Some(InfluenceError::Train(TrainError::Recipe(_) | TrainError::Request(_))))
        || matches!(error.downcast_ref(), Some(TrainError::Recipe(_) | TrainError::Request(_)));
    let stopped = matches!(error.downcast_ref(), Some(InfluenceError::Interrupted));
    match (stopped, misused) {
        (true, _) => crate::machine::INTERRUPTED,
        (false, true) => 2,
        (false, false) => 1,
    }
}

/// Refuses a precision that this command does not compute in: f16 is one of files alone.
pub fn check_dtype(arguments: &crate::arguments::Arguments) -> Result<(), String> {
    use crate::arguments::Command;
    let writes = matches!(arguments.command, Some(Command::Import(_) | Command::Export(_)));
    if arguments.global.dtype.as_deref() == Some("f16") && !writes {
        return Err("--dtype f16 is for import and export; matrix products are in f32 or bf16".into());
    }
    Ok(())
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3`, … that is free.
pub fn free_run(name: &str) -> PathBuf {
    let runs = Path::new("runs");
    let mut folder = runs.join(name);
    let mut number = 2;
    while folder.exists() {
        folder = runs.join(format!("{name}-{number}"));
        number += 1;
    }
    folder
}

/// Standard input as text, for commands that read it where no argument was given.
pub fn standard_input(what: &str) -> anyhow::Result<String> {
    use std::io::{IsTerminal, Read};
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        return Err(Misuse(format!("{what} is missing: give it as an argument or on standard input")).into());
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    text(bytes, "standard input")
}

/// A text file, whole.
pub fn text_file(path: &Path) -> anyhow::Result<String> {
    use anyhow::Context;
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    text(bytes, &path.display().to_string())
}

fn text(bytes: Vec<u8>, origin: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{origin}: byte {} is not UTF-8 text; convert it first, as with iconv -t UTF-8",
            error.utf8_error().valid_up_to()
        )
    })
}
