//! `loam eval translate`.

use super::Report;
use super::pairs::{Answered, answered};
use crate::arguments::{EvalTranslateArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::WritingTask;
use loam_tasks::metrics::translation::BleuTokenizer;
use loam_tasks::translate::{compare, evaluate, tokenizer_for};
use std::process::ExitCode;

pub fn run(arguments: &EvalTranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let Answered { pairs, written, other } = answered(WritingTask::Translate, &arguments.pairs, &device, terminal)?;
    let tokenizer = match arguments.tokenize.as_deref() {
        Some("13a") => BleuTokenizer::V13a,
        Some("zh") => BleuTokenizer::Chinese,
        Some("char") => BleuTokenizer::Character,
        Some("intl") => BleuTokenizer::International,
        Some(_) => BleuTokenizer::None,
        None => tokenizer_for(&pairs),
    };
    let measure = &arguments.pairs.measure;
    let (bootstrap, lowercase) = (measure.bootstrap(), arguments.lowercase);
    let evaluated = |said: &[String]| evaluate(said, &pairs, tokenizer, lowercase, &bootstrap);
    let (evaluation, counts) = evaluated(&written);
    let against = other.map(|other| {
        let (against, others) = evaluated(&other);
        (against, compare(&others, &counts, tokenizer, lowercase, &bootstrap))
    });
    let report =
        Report { task: "translate", examples: "sentences", evaluation, against, mcnemar: None, how: String::new() };
    report.print(measure, terminal, |details| {
        for (name, signature) in &details.signatures {
            terminal.say(format_args!("{name}: {signature}"));
        }
        Ok(())
    })
}
