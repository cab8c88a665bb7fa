//! `loam answer`.

use super::Misuse;
use super::texts::{CHUNK, Given, Texts};
use crate::arguments::{AnswerArguments, Global, SpanArguments};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::Answerer;
use loam_tasks::answer::{Answer, AnswerOptions};
use serde_json::json;
use std::process::ExitCode;

/// How spans are chosen, with what the model was taught where nothing is said.
pub fn options(arguments: &SpanArguments, answerer: &Answerer) -> AnswerOptions {
    AnswerOptions {
        longest: arguments.longest_answer as usize,
        no_answer: arguments.no_answer.unwrap_or(answerer.knows_no_answer()),
        threshold: arguments.no_answer_threshold,
    }
}

pub fn run(arguments: &AnswerArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let context = match (&arguments.context, &arguments.context_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(super::text_file(path)?),
        (None, None) => None,
    };
    if !arguments.question.is_empty() && context.is_none() {
        return Err(Misuse("a question is about a text: give it with --context or --context-file".into()).into());
    }
    let asked =
        "the question is missing: give it as an argument with --context, or rows with --file or on standard input";
    // Of rows, the context is the second text, where none is given for all.
    let pair = context.is_none().then(|| "context".to_owned());
    let mut rows =
        Texts::open(&arguments.question, arguments.file.as_deref(), true, "question", asked)?.with_pairs(pair);
    let answerer = Answerer::open(&arguments.model, &device)?;
    let options = options(&arguments.spans, &answerer);
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut failed) = (0_u64, 0_u64);
    loop {
        let chunk = rows.next_records()?;
        if chunk.is_empty() {
            break;
        }
        let read: Vec<&Given> = chunk.iter().filter_map(|record| record.as_ref().ok()).collect();
        let about =
            |given: &&'_ Given| -> String { given.pair.clone().or_else(|| context.clone()).unwrap_or_default() };
        let contexts: Vec<String> = read.iter().map(about).collect();
        let pairs = read.iter().zip(&contexts).map(|(given, context)| (given.text.as_str(), context.as_str()));
        let mut answers = answerer.answers(pairs, &options).into_iter();
        for record in &chunk {
            match record {
                Ok(_) => tell(&answers.next().unwrap_or_default(), arguments.top_k as usize, terminal)?,
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
            watcher.doing(&format!("{} questions", count(done)));
        }
    }
    watcher.done();
    if done == 0 {
        return Err(Misuse("there is no question to answer".into()).into());
    }
    if failed > 0 {
        terminal.error(format_args!("{} of {} lines could not be read", count(failed), count(done)));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(answers: &[Answer], top: usize, terminal: Terminal) -> anyhow::Result<()> {
    let told = &answers[..top.min(answers.len())];
    let Some((best, others)) = told.split_first() else { return Ok(terminal.result("")?) };
    if terminal.json() {
        let mut line = serde_json::to_value(best)?;
        if top > 1 {
            line["others"] = json!(others);
        }
        return Ok(terminal.result(line)?);
    }
    for answer in told {
        let text = if answer.answer.is_empty() { "(nothing in the text answers)" } else { &answer.answer };
        let text = text.replace('\n', " ");
        match top {
            1 => terminal.result(text)?,
            _ => terminal.result(format_args!("{:>6.2} %  {text}", 100.0 * answer.score))?,
        }
    }
    Ok(())
}
