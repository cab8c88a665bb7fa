//! `loam eval summarize`.

use super::pairs::{Answered, answered};
use super::{Report, tell_compared};
use crate::arguments::{EvalSummarizeArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::WritingTask;
use loam_tasks::metrics::summaries::RougeTokens;
use loam_tasks::summarize::{compare, evaluate, tokens_for};
use std::process::ExitCode;

pub fn run(arguments: &EvalSummarizeArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let Answered { pairs, written, other } = answered(WritingTask::Summarize, &arguments.pairs, &device, terminal)?;
    let tokens = match arguments.tokens.as_deref() {
        Some("characters") => RougeTokens::Characters,
        Some("words") => RougeTokens::Words,
        Some(_) => RougeTokens::Stems,
        None => tokens_for(&pairs),
    };
    let measure = &arguments.pairs.measure;
    let bootstrap = measure.bootstrap();
    let lead = usize::from(arguments.lead);
    let evaluated = |said: &[String]| evaluate(said, &pairs, tokens, lead, &bootstrap);
    let (evaluation, scores) = evaluated(&written);
    let against = other.map(|other| {
        let (against, others) = evaluated(&other);
        (against, compare(&others, &scores, &bootstrap))
    });
    let how = format!(", ROUGE over {}", evaluation.details.tokens);
    let report = Report { task: "summarize", examples: "texts", evaluation, against, mcnemar: None, how };
    report.print(measure, terminal, |details| {
        terminal.result(format_args!(
            "\n{:.1} {} a summary, {:.1} a reference",
            details.mean_length, details.tokens, details.mean_reference_length
        ))?;
        let lead = &details.lead;
        let sentences = if lead.sentences == 1 { "sentence" } else { "sentences" };
        terminal.result(format_args!("\nover the first {} {sentences} of each text", lead.sentences))?;
        tell_compared(&lead.compared, &lead.metrics, terminal)
    })
}
