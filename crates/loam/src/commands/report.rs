//! `loam report`.

use crate::arguments::{Global, ReportArguments};
use crate::terminal::Terminal;
use std::process::ExitCode;

pub fn run(arguments: &ReportArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let page = loam_report::write(&arguments.run)?;
    if terminal.json() {
        terminal.result(serde_json::json!({ "report": page.display().to_string() }))?;
    } else {
        terminal.result(page.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
