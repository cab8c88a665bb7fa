//! `loam eval classify`.

use super::{Report, json_lines, tell_scores, write_whole};
use crate::arguments::{EvalClassifyArguments, Global};
use crate::commands::Misuse;
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::TextClassifier;
use loam_tasks::classify::{Answers, ClassifyDetails, LabeledText, Told, read_labeled};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;

/// A matrix of more labels than this is not drawn.
const LARGEST_MATRIX: usize = 12;

pub fn run(arguments: &EvalClassifyArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let mut examples = read_labeled(&measure.data, measure.reading.bytes(), &arguments.fields.names())?;
    let bootstrap = measure.bootstrap();
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path, examples: &mut [LabeledText]| -> anyhow::Result<Answers> {
        let classifier = TextClassifier::open(path, &device)?;
        named(examples, classifier.labels().names());
        watcher.doing(&format!("{} texts", count(examples.len() as u64)));
        let answers = Answers::of(&classifier, examples)?;
        watcher.done();
        for (label, examples) in &answers.unknown {
            terminal.warning(format_args!(
                "{examples} examples have the label {label:?}, which {} does not",
                path.display()
            ));
        }
        Ok(answers)
    };
    let answers = ask(&arguments.model, &mut examples)?;
    let other = measure.against.as_ref().map(|other| ask(other, &mut examples)).transpose()?;
    let against = match &other {
        None => None,
        Some(other) => {
            let compared = other.compare(&answers, &bootstrap).map_err(|error| Misuse(error.to_string()))?;
            Some((other.evaluate(&bootstrap), compared))
        }
    };
    if let Some(path) = &arguments.predictions {
        write_whole(path, &json_lines(predictions(&answers, &examples)))?;
    }
    let report = Report {
        task: "classify",
        examples: "examples",
        evaluation: answers.evaluate(&bootstrap),
        against,
        mcnemar: other.and_then(|other| other.mcnemar(&answers)),
        how: String::new(),
    };
    report.print(measure, terminal, |details| tell(details, terminal))
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

fn tell(details: &ClassifyDetails, terminal: Terminal) -> anyhow::Result<()> {
    tell_scores(details.labels.iter().map(|one| (one.label.as_str(), &one.scores)), "examples", terminal)?;
    if !(2..=LARGEST_MATRIX).contains(&details.confusion.len()) {
        return Ok(());
    }
    let names: Vec<String> = details.labels.iter().map(|one| one.label.chars().take(12).collect()).collect();
    let width = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0).max(6);
    let left = |text: &str| format!("{}{text}", " ".repeat(width.saturating_sub(console::measure_text_width(text))));
    terminal.result("\nof the row's label, said to be of the column's")?;
    let head: Vec<String> = names.iter().map(|name| left(name)).collect();
    terminal.result(format_args!("{}  {}", left(""), head.join("  ")))?;
    for (name, row) in names.iter().zip(&details.confusion) {
        let cells: Vec<String> = row.iter().map(|cell| left(&count(*cell))).collect();
        terminal.result(format_args!("{}  {}", left(name), cells.join("  ")))?;
    }
    Ok(())
}

fn predictions<'a>(answers: &'a Answers, examples: &'a [LabeledText]) -> impl Iterator<Item = Value> + 'a {
    examples.iter().zip(answers.scores()).enumerate().map(|(number, (example, row))| {
        let names = answers.labels().names().iter().cloned();
        let scores: Map<String, Value> = names.zip(row.iter().map(|score| json!(score))).collect();
        let told = match &example.told {
            Told::One(label) => json!(label),
            Told::Many(labels) => json!(labels),
            Told::Number(number) => json!(number),
        };
        json!({ "text": example.text, "pair": example.pair, "told": told, "said": answers.said(number), "scores": scores })
    })
}
