//! `loam inspect`.

use crate::arguments::InspectModelArguments;
use crate::terminal::{Terminal, count, short};
use loam_models::exchange::{self, Inspection};
use std::io;
use std::process::ExitCode;

/// Lines of the chat template that are shown.
const TEMPLATE_LINES: usize = 6;

pub fn run(arguments: &InspectModelArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let source = loam_tasks::model_source(&arguments.model)?;
    let found = exchange::inspect(&source)?;
    if terminal.json() {
        terminal.result(serde_json::to_string(&found)?)?;
    } else {
        tell(&found, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(found: &Inspection, terminal: Terminal) -> io::Result<()> {
    let known = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), count);
    let classes =
        if found.architectures.is_empty() { String::new() } else { format!(" ({})", found.architectures.join(", ")) };
    let dtypes: Vec<String> = found.dtypes.iter().map(|(dtype, n)| format!("{dtype} × {}", count(*n))).collect();
    let memory: Vec<String> = found
        .memory
        .iter()
        .rev()
        .map(|(dtype, bytes)| format!("{} MB in {dtype}", count(bytes.div_ceil(1_000_000))))
        .collect();
    for (what, value) in [
        ("model", found.path.clone()),
        ("family", format!("{}{classes}", found.family)),
        (
            "parameters",
            format!(
                "{} ({}) in {} tensors",
                count(found.parameters),
                short(found.parameters as f64),
                count(found.tensors as u64)
            ),
        ),
        ("stored as", dtypes.join(", ")),
        ("memory", memory.join(", ")),
        ("vocabulary", known(found.vocabulary)),
        ("context", known(found.context)),
    ] {
        terminal.result(format_args!("{what:<12} {value}"))?;
    }
    if !found.special_tokens.is_empty() {
        let tokens: Vec<String> = found
            .special_tokens
            .iter()
            .map(|special| {
                let token = special.token.as_ref().map(|token| format!(" {token}")).unwrap_or_default();
                let id = special.id.map(|id| format!(" ({id})")).unwrap_or_default();
                format!("{}{token}{id}", special.role)
            })
            .collect();
        terminal.result(format_args!("{:<12} {}", "special", tokens.join(", ")))?;
    }
    let width = found.modules.iter().map(|line| line.module.chars().count()).max().unwrap_or(0).max(6);
    terminal.result(format_args!(
        "\n{:<width$}  {:>5}  {:>16}  {:>7}  stored as",
        "module", "count", "parameters", "share"
    ))?;
    for line in &found.modules {
        terminal.result(format_args!(
            "{:<width$}  {:>5}  {:>16}  {:>5.1} %  {}",
            line.module,
            line.count,
            count(line.parameters),
            100.0 * line.parameters as f64 / found.parameters.max(1) as f64,
            line.dtypes.join(", ")
        ))?;
    }
    match &found.chat_template {
        None => terminal.result("\nno chat template")?,
        Some(template) => {
            terminal.result(format_args!("\nchat template, {} characters:", count(template.chars().count() as u64)))?;
            for line in template.lines().take(TEMPLATE_LINES) {
                let cut: String = line.chars().take(100).collect();
                terminal.result(format_args!("  {cut}"))?;
            }
        }
    }
    terminal.result("\nfiles")?;
    for file in &found.files {
        terminal.result(format_args!("  {:>16}  {}", count(file.bytes), file.name))?;
    }
    Ok(())
}
