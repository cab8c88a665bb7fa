//! `loam tag`.

use super::Misuse;
use super::texts::{CHUNK, Texts};
use crate::arguments::{Global, TagArguments};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::{Span, TextTagger};
use serde_json::json;
use std::process::ExitCode;

pub fn run(arguments: &TagArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let asked = "the text is missing: give it as an argument, with --file, or on standard input";
    let field = &arguments.text_field;
    let mut texts = Texts::open(&arguments.text, arguments.file.as_deref(), arguments.jsonl, field, asked)?;
    let tagger = TextTagger::open(&arguments.model, &device)?;
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut failed) = (0_u64, 0_u64);
    loop {
        let chunk = texts.next_records()?;
        if chunk.is_empty() {
            break;
        }
        let read: Vec<&str> =
            chunk.iter().filter_map(|record| record.as_ref().ok()).map(|given| given.text.as_str()).collect();
        let mut spans = tagger.spans(&read).into_iter();
        let many = done > 0 || chunk.len() > 1;
        for record in &chunk {
            match record {
                Ok(given) => tell(&given.text, &spans.next().expect("spans of every text"), many, terminal)?,
                Err(message) => {
                    failed += 1;
                    terminal.error(message);
                    let line = if terminal.json() { json!({ "error": message }).to_string() } else { String::new() };
                    terminal.result(line)?;
                }
            }
        }
        done += chunk.len() as u64;
        if chunk.len() == CHUNK {
            watcher.doing(&format!("{} texts", count(done)));
        }
    }
    watcher.done();
    if done == 0 {
        return Err(Misuse("there is no text to tag".into()).into());
    }
    if failed > 0 {
        terminal.error(format_args!("{} of {} lines could not be read", count(failed), count(done)));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
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
