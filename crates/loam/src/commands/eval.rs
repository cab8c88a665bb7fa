//! `loam eval`.

use super::Misuse;
use crate::arguments::{EvalClassifyArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::TextClassifier;
use loam_tasks::classify::{Answers, Compared, Evaluation, FieldNames, LabeledText, Told, read_labeled};
use loam_tasks::metrics::Bootstrap;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// A matrix of more labels than this is not drawn.
const LARGEST_MATRIX: usize = 12;

pub fn classify(arguments: &EvalClassifyArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let fields = FieldNames {
        text_field: arguments.text_field.clone(),
        pair_field: arguments.pair_field.clone(),
        label_field: arguments.label_field.clone(),
        label_separator: arguments.label_separator.clone(),
    };
    let mut examples = read_labeled(&arguments.data, arguments.reading.bytes(), &fields)?;
    let bootstrap = Bootstrap { resamples: arguments.resamples as usize, seed: arguments.seed, ..Bootstrap::default() };
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path, examples: &mut [LabeledText]| -> anyhow::Result<Answers> {
        let classifier = TextClassifier::open(path, &device)?;
        named(examples, classifier.labels().names());
        watcher.doing(&format!("{} texts", count(examples.len() as u64)));
        let answers = Answers::of(&classifier, examples)?;
        watcher.done();
        for (label, examples) in &answers.unknown {
            let told = format!("{examples} examples have the label {label:?}, which {} does not", path.display());
            terminal.warning(told);
        }
        Ok(answers)
    };
    let answers = ask(&arguments.model, &mut examples)?;
    let evaluation = answers.evaluate(&bootstrap);
    let compared = match &arguments.against {
        None => None,
        Some(other) => {
            let other = ask(other, &mut examples)?;
            Some((
                other.evaluate(&bootstrap),
                other.compare(&answers, &bootstrap).map_err(|error| Misuse(error.to_string()))?,
            ))
        }
    };
    if let Some(path) = &arguments.predictions {
        write_predictions(path, &answers, &examples).with_context(|| path.display().to_string())?;
    }
    if terminal.json() {
        let mut value = serde_json::to_value(&evaluation)?;
        value["task"] = json!("classify");
        value["bootstrap"] =
            json!({ "resamples": bootstrap.resamples, "confidence": bootstrap.confidence, "seed": bootstrap.seed });
        if let Some((against, compared)) = &compared {
            value["against"] = serde_json::to_value(against)?;
            value["compared"] = serde_json::to_value(compared)?;
        }
        terminal.result(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&evaluation, &bootstrap, terminal)?;
    if let Some((against, compared)) = &compared {
        tell_compared(against, compared, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives labels that are numbers the names that the model has for them.
fn named(examples: &mut [LabeledText], names: &[String]) {
    let rename = |label: &mut String| {
        if !names.contains(label)
            && let Some(name) = label.parse::<usize>().ok().and_then(|number| names.get(number))
        {
            label.clone_from(name);
        }
    };
    for example in examples {
        match &mut example.told {
            Told::One(label) => rename(label),
            Told::Many(labels) => labels.iter_mut().for_each(rename),
            Told::Number(_) => {}
        }
    }
}

fn tell(evaluation: &Evaluation, bootstrap: &Bootstrap, terminal: Terminal) -> anyhow::Result<()> {
    let width = evaluation.metrics.keys().map(String::len).max().unwrap_or(0).max(6);
    terminal.result(format_args!("{:<width$}   value    95 % interval", "metric"))?;
    for (name, interval) in &evaluation.metrics {
        let name = name.replace('_', " ");
        terminal.result(format_args!(
            "{name:<width$}  {:>7.4}   {:.4} to {:.4}",
            interval.value, interval.low, interval.high
        ))?;
    }
    if !evaluation.labels.is_empty() {
        let width =
            evaluation.labels.iter().map(|one| console::measure_text_width(&one.label)).max().unwrap_or(0).max(5);
        let pad = |text: &str| " ".repeat(width.saturating_sub(console::measure_text_width(text)));
        terminal.result("")?;
        terminal.result(format_args!("label{}  precision  recall      F1  examples", pad("label")))?;
        for one in &evaluation.labels {
            let (label, scores) = (&one.label, &one.scores);
            let (precision, recall, f1) = (scores.precision, scores.recall, scores.f1);
            terminal.result(format_args!(
                "{label}{}  {precision:>9.4}  {recall:>6.4}  {f1:>6.4}  {:>8}",
                pad(label),
                count(scores.support)
            ))?;
        }
    }
    if (2..=LARGEST_MATRIX).contains(&evaluation.confusion.len()) {
        let names: Vec<String> = evaluation.labels.iter().map(|one| one.label.chars().take(12).collect()).collect();
        let width = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0).max(6);
        let left =
            |text: &str| format!("{}{text}", " ".repeat(width.saturating_sub(console::measure_text_width(text))));
        terminal.result("\nof the row's label, said to be of the column's")?;
        let head: Vec<String> = names.iter().map(|name| left(name)).collect();
        terminal.result(format_args!("{}  {}", left(""), head.join("  ")))?;
        for (name, row) in names.iter().zip(&evaluation.confusion) {
            let cells: Vec<String> = row.iter().map(|cell| left(&count(*cell))).collect();
            terminal.result(format_args!("{}  {}", left(name), cells.join("  ")))?;
        }
    }
    terminal.say(format_args!(
        "{} examples; intervals of {} resamples of them, seed {}",
        count(evaluation.examples),
        count(bootstrap.resamples as u64),
        bootstrap.seed
    ));
    Ok(())
}

fn tell_compared(against: &Evaluation, compared: &Compared, terminal: Terminal) -> anyhow::Result<()> {
    terminal.result("\nagainst the other model, on the same examples")?;
    for (name, comparison) in &compared.metrics {
        let other = against.metrics.get(name).map_or(f64::NAN, |interval| interval.value);
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
    if let Some(p_value) = compared.mcnemar_p_value {
        terminal.result(format_args!("McNemar's exact test: p = {p_value:.4}"))?;
    }
    Ok(())
}

fn write_predictions(path: &Path, answers: &Answers, examples: &[LabeledText]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let aside = path.with_file_name(name);
    let mut file = BufWriter::new(fs::File::create(&aside)?);
    for (number, (example, row)) in examples.iter().zip(answers.scores()).enumerate() {
        let names = answers.labels().names();
        let scores: serde_json::Map<String, Value> =
            names.iter().zip(row).map(|(name, score)| (name.clone(), json!(score))).collect();
        let told = match &example.told {
            Told::One(label) => json!(label),
            Told::Many(labels) => json!(labels),
            Told::Number(number) => json!(number),
        };
        let line = json!({ "text": example.text, "pair": example.pair, "told": told, "said": answers.said(number), "scores": scores });
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?.sync_all()?;
    fs::rename(&aside, path)
}
