//! `loam query`.

use super::Misuse;
use crate::arguments::{Format, Global, QueryArguments};
use crate::terminal::Terminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &QueryArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let runs: Vec<PathBuf> = if arguments.runs.is_empty() {
        let found = loam_report::runs::list(Path::new("runs"))?;
        if found.is_empty() {
            return Err(Misuse("no runs in runs/; name the runs to ask, or make one with `loam demo`".into()).into());
        }
        found.into_iter().map(|run| run.path).collect()
    } else {
        arguments.runs.clone()
    };
    let result = loam_report::query::query(&arguments.sql, &runs)?;
    for warning in &result.warnings {
        terminal.warning(warning);
    }
    let format = if terminal.json() { Format::Json } else { arguments.format };
    let text = match format {
        Format::Table => result.to_table(width()),
        Format::Json => result.to_json_lines(),
        Format::Csv => result.to_csv(),
    };
    terminal.part(&text)?;
    if !text.is_empty() && !text.ends_with('\n') {
        terminal.part("\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of the terminal; none where the table goes to a file or another program, which gets it whole.
fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}
