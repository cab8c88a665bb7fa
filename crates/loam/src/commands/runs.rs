//! `loam runs`.

use crate::arguments::{Global, RunsArguments};
use crate::terminal::{Terminal, count, short};
use std::process::ExitCode;

pub fn run(arguments: &RunsArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let runs = loam_report::runs::list(&arguments.folder)?;
    if terminal.json() {
        for run in &runs {
            terminal.result(serde_json::to_string(run)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        terminal.say(format_args!("no runs in {}; `loam demo` makes one", arguments.folder.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let width = runs.iter().map(|run| run.name.chars().count()).max().unwrap_or(0).max(4);
    terminal.result(format_args!(
        "{:<width$}  {:<20}  {:<12}  {:>10}  {:>15}  {:>9}  held-out loss",
        "run", "started", "status", "parameters", "steps", "tokens"
    ))?;
    for run in &runs {
        let steps = match run.planned_steps {
            Some(planned) => format!("{}/{}", count(run.steps), count(planned)),
            None => count(run.steps),
        };
        let held_out: Vec<String> =
            run.held_out.iter().map(|domain| format!("{} {:.4}", domain.domain, domain.loss)).collect();
        let started = run.started.as_deref().unwrap_or("–");
        terminal.result(format_args!(
            "{:<width$}  {:<20}  {:<12}  {:>10}  {steps:>15}  {:>9}  {}",
            run.name,
            started.get(..19).unwrap_or(started),
            run.status.words(),
            run.parameters.map_or_else(|| "–".to_owned(), |n| short(n as f64)),
            short(run.tokens as f64),
            held_out.join(", ")
        ))?;
        for problem in &run.problems {
            terminal.warning(format_args!("{}: {problem}", run.path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
