//! `loam answer`.

use super::Misuse;
use super::texts::{Given, Texts, each};
use crate::arguments::{AnswerArguments, Global, SpanArguments};
use crate::machine;
use crate::terminal::Terminal;
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
    let rows = Texts::open(&arguments.question, arguments.file.as_deref(), true, "question", asked)?.with_pairs(pair);
    let answerer = Answerer::open(&arguments.model, &device)?;
    let options = options(&arguments.spans, &answerer);
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let about = |one: &Given| one.pair.clone().or_else(|| context.clone()).unwrap_or_default();
        let contexts: Vec<String> = given.iter().map(|one| about(one)).collect();
        done(given.len());
        let pairs = given.iter().zip(&contexts).map(|(one, context)| (one.text.as_str(), context.as_str()));
        Ok(answerer.answers(pairs, &options).into_iter().map(Ok).collect())
    };
    let top = arguments.top_k as usize;
    each(rows, "questions", terminal, ask, |_, answers: &Vec<Answer>, _| tell(answers, top, terminal))
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
