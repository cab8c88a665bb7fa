//! `loam translate`.

use super::texts::{Given, Texts, each};
use crate::arguments::{BeamArguments, Global, TranslateArguments};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::Translator;
use loam_tasks::translate::TranslateOptions;
use serde_json::json;
use std::process::ExitCode;

pub fn options(arguments: &BeamArguments) -> TranslateOptions {
    TranslateOptions {
        beams: usize::from(arguments.beams),
        length_penalty: arguments.length_penalty,
        most: arguments.max_tokens as usize,
        batch: usize::from(arguments.batch),
    }
}

pub fn run(arguments: &TranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let texts = Texts::given(&arguments.given)?;
    let translator = Translator::open(&arguments.model, &device)?;
    let options = options(&arguments.search);
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let read: Vec<String> = given.iter().map(|one| one.text.clone()).collect();
        Ok(translator.translate(&read, &options, done)?)
    };
    each(texts, "texts", terminal, ask, |_, text: &String, _| {
        Ok(if terminal.json() {
            terminal.result(json!({ "translation": text }))
        } else {
            terminal.result(in_a_line(text))
        }?)
    })
}

/// A text without the ends of its lines.
pub fn in_a_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
