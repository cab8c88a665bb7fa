//! `loam eval`.

use super::Misuse;
use crate::arguments::{
    EvalAnswerArguments, EvalClassifyArguments, EvalLanguageModelArguments, EvalTagArguments, Global,
};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::answer::read_questions;
use loam_tasks::classify::{Answers, Compared, Evaluation, FieldNames, LabeledText, Told, read_labeled};
use loam_tasks::metrics::{Bootstrap, Interval, PrecisionRecall};
use loam_tasks::multiple_choice::{self, read_asked};
use loam_tasks::tag::read_tagged;
use loam_tasks::{Answerer, LoadedModel, TextClassifier, TextTagger};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
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

pub fn tag(arguments: &EvalTagArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let sentences = read_tagged(&arguments.data, &arguments.label_names)?;
    let bootstrap = Bootstrap { resamples: arguments.resamples as usize, seed: arguments.seed, ..Bootstrap::default() };
    let ask = |path: &Path| -> anyhow::Result<_> {
        let tagger = TextTagger::open(path, &device)?;
        let unknown: BTreeSet<&String> =
            sentences.iter().flat_map(|one| &one.tags).filter(|tag| !tagger.labels().contains(tag)).collect();
        for tag in unknown {
            terminal.warning(format_args!("words have the tag {tag:?}, which {} does not", path.display()));
        }
        let mut watcher = Watcher::new(terminal);
        watcher.doing(&format!("{} sentences", count(sentences.len() as u64)));
        let found = loam_tasks::tag::evaluate(&tagger, &sentences, &bootstrap);
        watcher.done();
        Ok(found)
    };
    let (evaluation, counts, said) = ask(&arguments.model)?;
    let compared = match &arguments.against {
        None => None,
        Some(other) => {
            let (against, others, _) = ask(other)?;
            loam_tasks::tag::compare(&others, &counts, &bootstrap).map(|compared| (against, compared))
        }
    };
    if let Some(path) = &arguments.predictions {
        let mut lines = String::new();
        for (sentence, said) in sentences.iter().zip(&said) {
            for ((word, tag), said) in sentence.words.iter().zip(&sentence.tags).zip(said) {
                lines.push_str(&format!("{word}\t{tag}\t{said}\n"));
            }
            lines.push('\n');
        }
        fs::write(path, lines).with_context(|| path.display().to_string())?;
    }
    if terminal.json() {
        let mut value = serde_json::to_value(&evaluation)?;
        value["task"] = json!("tag");
        if let Some((against, compared)) = &compared {
            value["against"] = serde_json::to_value(against)?;
            value["compared"] = json!({ "f1": compared });
        }
        terminal.result(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell_metrics(&evaluation.metrics, terminal)?;
    tell_scores(evaluation.types.iter().map(|one| (one.label.as_str(), &one.scores)).collect(), "entities", terminal)?;
    if let Some((against, compared)) = &compared {
        let (other, difference) = (against.metrics.get("f1").map_or(f64::NAN, |f1| f1.value), &compared.difference);
        terminal.result(format_args!(
            "\nagainst the other model, on the same sentences\nf1: {:+.4} ({:+.4} to {:+.4}) over {other:.4}, p = {:.4}",
            difference.value, difference.low, difference.high, compared.p_value
        ))?;
    }
    terminal.say(format_args!(
        "{} sentences, counted {}; intervals of {} resamples of them, seed {}",
        count(evaluation.examples),
        evaluation.scheme.as_ref().map_or("leniently".to_owned(), |scheme| format!("strictly as {scheme}")),
        count(bootstrap.resamples as u64),
        bootstrap.seed
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn answer(arguments: &EvalAnswerArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let questions = read_questions(&arguments.data, arguments.reading.bytes())?;
    let bootstrap = Bootstrap { resamples: arguments.resamples as usize, seed: arguments.seed, ..Bootstrap::default() };
    let ask = |path: &Path| -> anyhow::Result<_> {
        let answerer = Answerer::open(path, &device)?;
        let options = super::answer::options(&arguments.spans, &answerer);
        let mut watcher = Watcher::new(terminal);
        watcher.doing(&format!("{} questions", count(questions.len() as u64)));
        let found = loam_tasks::answer::evaluate(&answerer, &questions, &options, &bootstrap);
        watcher.done();
        Ok(found)
    };
    let (evaluation, scores, answers) = ask(&arguments.model)?;
    let compared = match &arguments.against {
        None => None,
        Some(other) => {
            let (against, others, _) = ask(other)?;
            loam_tasks::answer::compare(&others, &scores, &bootstrap).map(|compared| (against, compared))
        }
    };
    if let Some(path) = &arguments.predictions {
        let said: serde_json::Map<String, Value> =
            questions.iter().zip(&answers).map(|(one, answer)| (one.id.clone(), json!(answer.answer))).collect();
        fs::write(path, serde_json::to_vec_pretty(&said)?).with_context(|| path.display().to_string())?;
    }
    if terminal.json() {
        let mut value = serde_json::to_value(&evaluation)?;
        value["task"] = json!("answer");
        if let Some((against, compared)) = &compared {
            value["against"] = serde_json::to_value(against)?;
            value["compared"] = json!({ "f1": compared });
        }
        terminal.result(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell_metrics(&evaluation.metrics, terminal)?;
    if let Some((against, compared)) = &compared {
        let (other, difference) = (against.metrics.get("f1").map_or(f64::NAN, |f1| f1.value), &compared.difference);
        terminal.result(format_args!(
            "\nagainst the other model, on the same questions\nf1: {:+.4} ({:+.4} to {:+.4}) over {other:.4}, p = {:.4}",
            difference.value, difference.low, difference.high, compared.p_value
        ))?;
    }
    terminal.say(format_args!(
        "{} questions, judged as {} does; intervals of {} resamples of them, seed {}",
        count(evaluation.examples),
        evaluation.measure.name(),
        count(bootstrap.resamples as u64),
        bootstrap.seed
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn language_model(
    arguments: &EvalLanguageModelArguments,
    global: &Global,
    terminal: Terminal,
) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let bytes = arguments.reading.bytes();
    let mut asked = read_asked(&arguments.data, arguments.labels.as_deref(), arguments.last_words, bytes)?;
    if let Some(limit) = arguments.limit.map(|limit| limit as usize).filter(|limit| *limit < asked.len()) {
        let all = asked.len();
        asked = (0..limit).map(|number| asked[number * all / limit].clone()).collect();
        terminal.say(format_args!("{} of {} are asked", count(limit as u64), count(all as u64)));
    }
    let bootstrap = Bootstrap { resamples: arguments.resamples as usize, seed: arguments.seed, ..Bootstrap::default() };
    let ask = |path: &Path| -> anyhow::Result<_> {
        let model = LoadedModel::open(path, &device)?;
        let mut watcher = Watcher::new(terminal);
        let told = multiple_choice::ask(&model, &asked, &mut |done| {
            watcher.doing(&format!("{} of {}", count(done as u64), count(asked.len() as u64)));
        })?;
        watcher.done();
        Ok((multiple_choice::evaluate(&asked, &told, &bootstrap), told))
    };
    let (evaluation, told) = ask(&arguments.model)?;
    let compared = match &arguments.against {
        None => None,
        Some(other) => {
            let (against, others) = ask(other)?;
            Some((against, multiple_choice::compare(&asked, &others, &told, &bootstrap)))
        }
    };
    if terminal.json() {
        let mut value = serde_json::to_value(&evaluation)?;
        value["task"] = json!("lm");
        if let Some((against, compared)) = &compared {
            value["against"] = serde_json::to_value(against)?;
            value["compared"] = serde_json::to_value(compared)?;
        }
        terminal.result(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell_metrics(&evaluation.metrics, terminal)?;
    if !evaluation.groups.is_empty() {
        let width = evaluation.groups.keys().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
        terminal.result("")?;
        for (name, accuracy) in &evaluation.groups {
            let gap = " ".repeat(width.saturating_sub(console::measure_text_width(name)));
            terminal.result(format_args!("{name}{gap}  {accuracy:>7.4}"))?;
        }
    }
    if let Some((against, compared)) = &compared {
        terminal.result("\nagainst the other model, on the same")?;
        for (name, comparison) in compared {
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
    }
    terminal.say(format_args!(
        "{} asked; intervals of {} resamples of them, seed {}",
        count(evaluation.examples),
        count(bootstrap.resamples as u64),
        bootstrap.seed
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn tell_metrics(metrics: &BTreeMap<String, Interval>, terminal: Terminal) -> anyhow::Result<()> {
    let width = metrics.keys().map(String::len).max().unwrap_or(0).max(6);
    terminal.result(format_args!("{:<width$}   value    95 % interval", "metric"))?;
    for (name, interval) in metrics {
        let name = name.replace('_', " ");
        terminal.result(format_args!(
            "{name:<width$}  {:>7.4}   {:.4} to {:.4}",
            interval.value, interval.low, interval.high
        ))?;
    }
    Ok(())
}

fn tell_scores(rows: Vec<(&str, &PrecisionRecall)>, of: &str, terminal: Terminal) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let width = rows.iter().map(|row| console::measure_text_width(row.0)).max().unwrap_or(0).max(5);
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

fn tell(evaluation: &Evaluation, bootstrap: &Bootstrap, terminal: Terminal) -> anyhow::Result<()> {
    tell_metrics(&evaluation.metrics, terminal)?;
    tell_scores(evaluation.labels.iter().map(|one| (one.label.as_str(), &one.scores)).collect(), "examples", terminal)?;
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
