//! `loam eval lm`.

use super::Report;
use crate::arguments::{EvalLanguageModelArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::LoadedModel;
use loam_tasks::multiple_choice::{self, compare, evaluate, read_asked};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &EvalLanguageModelArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let bytes = measure.reading.bytes();
    let mut asked = read_asked(&measure.data, arguments.labels.as_deref(), arguments.last_words, bytes)?;
    if let Some(limit) = arguments.limit.map(|limit| limit as usize).filter(|limit| *limit < asked.len()) {
        let all = asked.len();
        asked = (0..limit).map(|number| asked[number * all / limit].clone()).collect();
        terminal.say(format_args!("{} of {} are asked", count(limit as u64), count(all as u64)));
    }
    let bootstrap = measure.bootstrap();
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<_> {
        let model = LoadedModel::open(path, &device)?;
        let told = multiple_choice::ask(&model, &asked, &mut |done| {
            watcher.doing(&format!("{} of {}", count(done as u64), count(asked.len() as u64)));
        })?;
        watcher.done();
        Ok(told)
    };
    let told = ask(&arguments.model)?;
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let against = other.map(|other| {
        let compared = compare(&asked, &other, &told, &bootstrap);
        (evaluate(&asked, &other, &bootstrap), compared)
    });
    let evaluation = evaluate(&asked, &told, &bootstrap);
    let report = Report { task: "lm", examples: "examples", evaluation, against, mcnemar: None, how: String::new() };
    report.print(measure, terminal, |details| {
        let width = details.groups.keys().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
        if !details.groups.is_empty() {
            terminal.result("")?;
        }
        for (name, accuracy) in &details.groups {
            let gap = " ".repeat(width.saturating_sub(console::measure_text_width(name)));
            terminal.result(format_args!("{name}{gap}  {accuracy:>7.4}"))?;
        }
        Ok(())
    })
}
