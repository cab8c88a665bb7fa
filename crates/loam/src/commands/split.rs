//! `loam data split`.

use super::Misuse;
use crate::arguments::SplitArguments;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::answer::flattened;
use loam_tasks::finetune::split_rows;
use loam_tasks::rows::Rows;
use std::fs;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

pub fn run(arguments: &SplitArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let mut parts: Vec<(String, f64)> = Vec::new();
    for part in &arguments.parts {
        let wrong = || Misuse(format!("--part {part}: give NAME=SHARE, as train=0.8"));
        let (name, share) = part.split_once('=').ok_or_else(wrong)?;
        let share: f64 = share.parse().map_err(|_| wrong())?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !plain || name.starts_with('.') || !(share > 0.0 && share <= 1.0) {
            return Err(wrong().into());
        }
        if parts.iter().any(|(other, _)| other == name) {
            return Err(Misuse(format!("the part {name} is named twice")).into());
        }
        parts.push((name.to_owned(), share));
    }
    let sum: f64 = parts.iter().map(|(_, share)| share).sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(Misuse(format!("the shares sum to {sum:.4} and not to 1")).into());
    }
    let rows = flattened(Rows::read(&arguments.paths, arguments.reading.bytes(), &arguments.by)?)?;
    if let Some(missing) = arguments.by.iter().find(|name| !rows.names.contains(name)) {
        return Err(Misuse(format!("no row has a field \"{missing}\"; there are {}", rows.names.join(", "))).into());
    }
    let keys: Vec<String> = rows
        .rows
        .iter()
        .map(|row| {
            let named = |name: &String| row.fields.get(name).unwrap_or(&serde_json::Value::Null).to_string();
            let names = if arguments.by.is_empty() { &rows.names } else { &arguments.by };
            names.iter().map(named).collect::<Vec<_>>().join("\u{1f}")
        })
        .collect();
    let shares: Vec<f64> = parts.iter().map(|(_, share)| *share).collect();
    let sides = split_rows(&keys, &shares, arguments.seed);
    fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    for (number, (name, _)) in parts.iter().enumerate() {
        let path = arguments.out.join(format!("{name}.jsonl"));
        let aside = arguments.out.join(format!(".{name}.jsonl.partial"));
        let mut written = 0_u64;
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(fs::File::create(&aside)?);
            for (row, _) in rows.rows.iter().zip(&sides).filter(|(_, side)| **side == number) {
                serde_json::to_writer(&mut file, &row.fields)?;
                file.write_all(b"\n")?;
                written += 1;
            }
            file.into_inner()?.sync_all()?;
            fs::rename(&aside, &path)
        };
        let mut write = write;
        write().with_context(|| path.display().to_string())?;
        if terminal.json() {
            terminal.result(serde_json::json!({ "part": name, "path": path, "rows": written }))?;
        } else {
            terminal.say(format_args!("{}: {} rows", path.display(), count(written)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
