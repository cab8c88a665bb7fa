//! `loam eval`: what every evaluation prints, and a file a task.

pub mod answer;
pub mod chat;
pub mod classify;
pub mod embed;
pub mod language_model;
mod pairs;
pub mod summarize;
pub mod tag;
pub mod translate;

use crate::arguments::MeasureArguments;
use crate::terminal::{Terminal, count};
use loam_tasks::evaluation::{Compared, Evaluation};
use loam_tasks::metrics::{Interval, PrecisionRecall};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// An evaluation, with that of another model on the same examples and how this one differs from it.
struct Report<'a, D> {
    task: &'static str,
    /// What examples are called, many of them.
    examples: &'a str,
    evaluation: Evaluation<D>,
    against: Option<(Evaluation<D>, Compared)>,
    /// McNemar's p-value, where there is one.
    mcnemar: Option<f64>,
    /// How was counted, in words behind the number of examples.
    how: String,
}

impl<D: Serialize> Report<'_, D> {
    /// Prints it; `details` tells what the task tells beside its metrics.
    fn print(
        &self,
        arguments: &MeasureArguments,
        terminal: Terminal,
        details: impl FnOnce(&D) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let bootstrap = arguments.bootstrap();
        if terminal.json() {
            let mut value = serde_json::to_value(&self.evaluation)?;
            value["task"] = json!(self.task);
            let (resamples, confidence, seed) = (bootstrap.resamples, bootstrap.confidence, bootstrap.seed);
            value["bootstrap"] = json!({ "resamples": resamples, "confidence": confidence, "seed": seed });
            if let Some((against, compared)) = &self.against {
                value["against"] = serde_json::to_value(against)?;
                value["compared"] = serde_json::to_value(compared)?;
            }
            if let Some(p_value) = self.mcnemar {
                value["mcnemar_p_value"] = json!(p_value);
            }
            terminal.result(value)?;
            return Ok(ExitCode::SUCCESS);
        }
        let metrics = &self.evaluation.metrics;
        let width = metrics.keys().map(String::len).max().unwrap_or(0).max(6);
        terminal.result(format_args!("{:<width$}   value    95 % interval", "metric"))?;
        for (name, interval) in metrics {
            let (name, value) = (name.replace('_', " "), interval.value);
            terminal
                .result(format_args!("{name:<width$}  {value:>7.4}   {:.4} to {:.4}", interval.low, interval.high))?;
        }
        details(&self.evaluation.details)?;
        if let Some((against, compared)) = &self.against {
            terminal.result(format_args!("\nagainst the other model, on the same {}", self.examples))?;
            tell_compared(compared, &against.metrics, terminal)?;
        }
        if let Some(p_value) = self.mcnemar {
            terminal.result(format_args!("McNemar's exact test: p = {p_value:.4}"))?;
        }
        terminal.say(format_args!(
            "{} {}{}; intervals of {} resamples of them, seed {}",
            count(self.evaluation.examples),
            self.examples,
            self.how,
            count(bootstrap.resamples as u64),
            bootstrap.seed
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints by how much metrics are above others.
fn tell_compared(compared: &Compared, others: &BTreeMap<String, Interval>, terminal: Terminal) -> anyhow::Result<()> {
    for (name, comparison) in compared {
        let other = others.get(name).map_or(f64::NAN, |interval| interval.value);
        let difference = &comparison.difference;
        terminal.result(format_args!(
            "{}: {:+.4} ({:+.4} to {:+.4}) over {other:.4}, p = {:.4}",
            name.replace('_', " "),
            difference.value,
            difference.low,
            difference.high,
            comparison.p_value
        ))?;
    }
    Ok(())
}

/// A table of labels with their scores.
fn tell_scores<'a>(
    rows: impl Iterator<Item = (&'a str, &'a PrecisionRecall)> + Clone,
    of: &str,
    terminal: Terminal,
) -> anyhow::Result<()> {
    if rows.clone().next().is_none() {
        return Ok(());
    }
    let width = rows.clone().map(|row| console::measure_text_width(row.0)).max().unwrap_or(0).max(5);
    let pad = |text: &str| " ".repeat(width.saturating_sub(console::measure_text_width(text)));
    terminal.result("")?;
    terminal.result(format_args!("label{}  precision  recall      F1  {of:>8}", pad("label")))?;
    for (label, scores) in rows {
        let (precision, recall, f1) = (scores.precision, scores.recall, scores.f1);
        terminal.result(format_args!(
            "{label}{}  {precision:>9.4}  {recall:>6.4}  {f1:>6.4}  {:>8}",
            pad(label),
            count(scores.support)
        ))?;
    }
    Ok(())
}

/// Writes a file aside and renames it, so that nobody reads half of it, and a full disk leaves what was there.
fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let aside = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        fs::write(&aside, content)?;
        fs::File::open(&aside)?.sync_all()?;
        fs::rename(&aside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside))).with_context(|| path.display().to_string())
}

/// Records as JSON lines.
fn json_lines(records: impl Iterator<Item = Value>) -> Vec<u8> {
    records.flat_map(|record| (record.to_string() + "\n").into_bytes()).collect()
}
