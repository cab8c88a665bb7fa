//! `loam eval chat`.

use super::Report;
use crate::arguments::{EvalChatArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::chat::evaluation::{AnswersTold, ChatJudge, compare, evaluate, read_conversations};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &EvalChatArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let conversations = read_conversations(&measure.data, measure.reading.bytes())?;
    let all = count(conversations.len() as u64);
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<Vec<AnswersTold>> {
        let judge = ChatJudge::open(path, arguments.chat_template.as_deref(), &device)?;
        let told = judge.told(&conversations, &mut |done| {
            watcher.doing(&format!("{} of {all} conversations", count(done as u64)));
        })?;
        watcher.done();
        Ok(told)
    };
    let told = ask(&arguments.model)?;
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let bootstrap = measure.bootstrap();
    let evaluation = evaluate(&told, other.as_deref(), &bootstrap);
    let how = format!(" with {} tokens of answers", count(evaluation.details.answer_tokens));
    let against = other.map(|other| (evaluate(&other, None, &bootstrap), compare(&other, &told, &bootstrap)));
    let report = Report { task: "chat", examples: "conversations", evaluation, against, mcnemar: None, how };
    report.print(measure, terminal, |details| {
        if details.without_answer > 0 {
            terminal
                .say(format_args!("{} conversations without an answer are left out", count(details.without_answer)));
        }
        if let (Some(rate), Some(p_value)) = (&details.win_rate, details.win_p_value) {
            terminal.result(format_args!(
                "\nwin rate: {:.4} ({:.4} to {:.4}), sign test p = {p_value:.4}",
                rate.value, rate.low, rate.high
            ))?;
        }
        Ok(())
    })
}
