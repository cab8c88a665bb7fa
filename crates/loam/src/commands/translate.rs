//! `loam translate`.

use super::texts::{Given, Texts, each};
use crate::arguments::{Global, TranslateArguments, WritingArguments};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::writing::{Writer, WritingOptions, WritingTask, Written};
use serde_json::json;
use std::process::ExitCode;

pub fn options(arguments: &WritingArguments) -> WritingOptions {
    WritingOptions {
        beams: arguments.beams.map(usize::from),
        length_penalty: arguments.length_penalty,
        most: arguments.max_tokens as usize,
        no_repeat_ngram: usize::from(arguments.no_repeat),
        batch: usize::from(arguments.batch),
    }
}

pub fn run(arguments: &TranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let texts = Texts::given(&arguments.given)?;
    let writing = &arguments.writing;
    let writer = Writer::open(&arguments.model, WritingTask::Translate, writing.prompt.as_deref(), &device)?;
    let options = options(writing);
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let read: Vec<String> = given.iter().map(|one| one.text.clone()).collect();
        Ok(writer.write(&read, &options, done)?)
    };
    each(texts, "texts", terminal, ask, |_, written: &Written, _| {
        Ok(if terminal.json() {
            terminal.result(json!({ "translation": written.text }))
        } else {
            terminal.result(in_a_line(&written.text))
        }?)
    })
}

/// A text without the ends of its lines.
pub fn in_a_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
