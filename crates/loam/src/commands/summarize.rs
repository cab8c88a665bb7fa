//! `loam summarize`.

use super::texts::{Given, Texts, each};
use super::translate::{in_a_line, options};
use crate::arguments::{Global, SummarizeArguments};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::writing::{Writer, WritingTask, Written};
use serde_json::json;
use std::process::ExitCode;

pub fn run(arguments: &SummarizeArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let texts =
        if arguments.whole { Texts::whole(arguments.given.file.as_deref())? } else { Texts::given(&arguments.given)? };
    let writing = &arguments.writing;
    let writer = Writer::open(&arguments.model, WritingTask::Summarize, writing.prompt.as_deref(), &device)?;
    let options = options(writing);
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let read: Vec<String> = given.iter().map(|one| one.text.clone()).collect();
        Ok(writer.write(&read, &options, done)?)
    };
    each(texts, "texts", terminal, ask, |_, written: &Written, many| {
        if written.parts > 1 {
            terminal.say(format_args!("the text was read in {} parts, whose summaries were summarized", written.parts));
        }
        let Written { text, parts } = written;
        Ok(if terminal.json() {
            terminal.result(json!({ "summary": text, "parts": parts }))
        } else if many {
            // A line each, so that lines belong together.
            terminal.result(in_a_line(text))
        } else {
            terminal.result(text)
        }?)
    })
}
