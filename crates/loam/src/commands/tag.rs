//! `loam tag`.

use super::texts::{Given, Texts, each};
use crate::arguments::{Global, TagArguments};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::{Span, TextTagger};
use serde_json::json;
use std::process::ExitCode;

pub fn run(arguments: &TagArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let texts = Texts::given(&arguments.given)?;
    let tagger = TextTagger::open(&arguments.model, &device)?;
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let read: Vec<&str> = given.iter().map(|one| one.text.as_str()).collect();
        done(read.len());
        Ok(tagger.spans(&read).into_iter().map(Ok).collect())
    };
    each(texts, "texts", terminal, ask, |given, spans: &Vec<Span>, many| tell(&given.text, spans, many, terminal))
}

/// A line a span; the text before them where there are several texts.
fn tell(text: &str, spans: &[Span], many: bool, terminal: Terminal) -> anyhow::Result<()> {
    if terminal.json() {
        return Ok(terminal.result(json!({ "spans": spans }))?);
    }
    if many {
        terminal.result(text)?;
    }
    for span in spans {
        let Span { start, end, text, label, score } = span;
        terminal.result(format_args!("  {start:>5} to {end:<5}  {label:<12}  {:>5.1} %  {text}", 100.0 * score))?;
    }
    if spans.is_empty() && !many {
        terminal.say("no span found");
    }
    Ok(())
}
