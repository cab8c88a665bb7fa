//! `loam data why`.

use crate::arguments::WhyArguments;
use crate::terminal::Terminal;
use loam_corpus::find_documents;
use serde_json::{Map, Value};
use std::process::ExitCode;

pub fn run(arguments: &WhyArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let file = arguments.folder.join("documents.parquet");
    let found = find_documents(&file, &arguments.document, arguments.rows)?;
    if found.is_empty() {
        anyhow::bail!(
            "no document \"{}\" in {}\n  hint: an id, the beginning of one, or a part of a path",
            arguments.document,
            file.display()
        );
    }
    for (number, document) in found.iter().enumerate() {
        if terminal.json() {
            terminal.result(serde_json::to_string(document)?)?;
            continue;
        }
        if number > 0 {
            terminal.result("")?;
        }
        terminal.result(verdict(document))?;
        for (name, value) in document {
            if matches!(name.as_str(), "rule" | "detail") {
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            terminal.result(format_args!("  {name:<34} {value}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// In words, what became of a document.
fn verdict(document: &Map<String, Value>) -> String {
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let id = text("id").unwrap_or_default();
    match (text("rule"), text("detail")) {
        (Some(reason), Some(detail)) => format!("{id} went: {reason} ({detail})"),
        (Some(reason), None) => format!("{id} went: {reason}"),
        (None, _) => format!("{id} stayed"),
    }
}
