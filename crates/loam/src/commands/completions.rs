//! `loam completions`.

use crate::arguments::{Arguments, CompletionsArguments};
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "loam", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
