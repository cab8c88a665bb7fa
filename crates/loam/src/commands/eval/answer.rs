//! `loam eval answer`.

use super::{Report, write_whole};
use crate::arguments::{EvalAnswerArguments, Global};
use crate::commands::answer::options;
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::Answerer;
use loam_tasks::answer::{compare, evaluate, read_questions};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &EvalAnswerArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let questions = read_questions(&measure.data, measure.reading.bytes())?;
    let bootstrap = measure.bootstrap();
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<_> {
        let answerer = Answerer::open(path, &device)?;
        watcher.doing(&format!("{} questions", count(questions.len() as u64)));
        let found = evaluate(&answerer, &questions, &options(&arguments.spans, &answerer), &bootstrap);
        watcher.done();
        Ok(found)
    };
    let (evaluation, scores, answers) = ask(&arguments.model)?;
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let against = other.map(|(against, others, _)| (against, compare(&others, &scores, &bootstrap)));
    if let Some(path) = &arguments.predictions {
        let said: Map<String, Value> =
            questions.iter().zip(&answers).map(|(one, answer)| (one.id.clone(), json!(answer.answer))).collect();
        write_whole(path, &serde_json::to_vec_pretty(&said)?)?;
    }
    let how = format!(", judged as {} does", evaluation.details.measure.name());
    let report = Report { task: "answer", examples: "questions", evaluation, against, mcnemar: None, how };
    report.print(measure, terminal, |_| Ok(()))
}
