//! `loam translate` and `loam eval translate`.

use super::Misuse;
use super::eval::tell_metrics;
use super::texts::Texts;
use crate::arguments::{BeamArguments, EvalTranslateArguments, Global, TranslateArguments};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::Translator;
use loam_tasks::metrics::Bootstrap;
use loam_tasks::metrics::translation::BleuTokenizer;
use loam_tasks::translate::{self, TranslateOptions, read_pairs};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn options(arguments: &BeamArguments) -> TranslateOptions {
    TranslateOptions {
        beams: usize::from(arguments.beams),
        length_penalty: arguments.length_penalty,
        most: arguments.max_tokens as usize,
        batch: usize::from(arguments.batch),
    }
}

pub fn run(arguments: &TranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let asked = "the text is missing: give it as an argument, with --file, or on standard input";
    let field = &arguments.text_field;
    let mut texts = Texts::open(&arguments.text, arguments.file.as_deref(), arguments.jsonl, field, asked)?;
    let translator = Translator::open(&arguments.model, &device)?;
    let options = options(&arguments.search);
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut failed) = (0_u64, 0_u64);
    loop {
        let chunk = texts.next_records()?;
        if chunk.is_empty() {
            break;
        }
        let read: Vec<String> =
            chunk.iter().filter_map(|record| record.as_ref().ok()).map(|given| given.text.clone()).collect();
        let mut translations = translator
            .translate(&read, &options, &mut |count_done| {
                watcher.doing(&format!("{} texts", count(done + count_done as u64)))
            })?
            .into_iter();
        watcher.done();
        for record in &chunk {
            let translated = match record {
                Ok(_) => translations.next().expect("a translation of every text"),
                Err(message) => Err(message.clone()),
            };
            match translated {
                Ok(text) if terminal.json() => terminal.result(json!({ "translation": text }))?,
                // A translation a line.
                Ok(text) => terminal.result(text.replace(['\n', '\r'], " "))?,
                Err(message) => {
                    failed += 1;
                    terminal.error(&message);
                    let line = if terminal.json() { json!({ "error": message }).to_string() } else { String::new() };
                    terminal.result(line)?;
                }
            }
        }
        done += chunk.len() as u64;
    }
    if done == 0 {
        return Err(Misuse("there is no text to translate".into()).into());
    }
    if failed > 0 {
        terminal.error(format_args!("{} of {} texts have no translation", count(failed), count(done)));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn evaluate(arguments: &EvalTranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let fields = match &arguments.fields[..] {
        [source, target] => Some((source.as_str(), target.as_str())),
        _ => None,
    };
    let pairs = read_pairs(&arguments.data, &arguments.targets, fields, arguments.reading.bytes())?;
    let references: Vec<&str> = pairs.iter().map(|pair| pair.target.as_str()).collect();
    let tokenizer = match arguments.tokenize.as_deref() {
        Some("13a") => BleuTokenizer::V13a,
        Some("zh") => BleuTokenizer::Chinese,
        Some("char") => BleuTokenizer::Character,
        Some("intl") => BleuTokenizer::International,
        Some(_) => BleuTokenizer::None,
        None => translate::tokenizer_for(&references),
    };
    let bootstrap = Bootstrap { resamples: arguments.resamples as usize, seed: arguments.seed, ..Bootstrap::default() };
    let options = options(&arguments.search);
    let ask = |path: &Path| -> anyhow::Result<Vec<String>> {
        let translator = Translator::open(path, &device)?;
        let mut watcher = Watcher::new(terminal);
        let sources: Vec<String> = pairs.iter().map(|pair| pair.source.clone()).collect();
        let said = translator.translate(&sources, &options, &mut |done| {
            watcher.doing(&format!("{} of {} sentences", count(done as u64), count(sources.len() as u64)));
        })?;
        watcher.done();
        let told = |(number, one): (usize, Result<String, String>)| {
            one.unwrap_or_else(|message| {
                terminal.warning(format_args!("sentence {}: {message}; it counts as not translated", number + 1));
                String::new()
            })
        };
        Ok(said.into_iter().enumerate().map(told).collect())
    };
    let said = match (&arguments.translations, &arguments.model) {
        (Some(path), _) => {
            let lines: Vec<String> = super::text_file(path)?.lines().map(str::to_owned).collect();
            if lines.len() != pairs.len() {
                let message =
                    format!("{} has {} lines, and there are {} references", path.display(), lines.len(), pairs.len());
                return Err(Misuse(message).into());
            }
            lines
        }
        (None, Some(model)) => ask(model)?,
        (None, None) => return Err(Misuse("give --model, or --translations".into()).into()),
    };
    let lowercase = arguments.lowercase;
    let (evaluation, counts) = translate::evaluate(&said, &references, tokenizer, lowercase, &bootstrap);
    let compared = match &arguments.against {
        None => None,
        Some(other) => {
            let (against, others) = translate::evaluate(&ask(other)?, &references, tokenizer, lowercase, &bootstrap);
            Some((against, translate::compare(&others, &counts, tokenizer, lowercase, &bootstrap)))
        }
    };
    if let Some(path) = &arguments.predictions {
        let lines: String = said.iter().map(|text| text.replace(['\n', '\r'], " ") + "\n").collect();
        fs::write(path, lines).with_context(|| path.display().to_string())?;
    }
    if terminal.json() {
        let mut value = serde_json::to_value(&evaluation)?;
        value["task"] = json!("translate");
        if let Some((against, compared)) = &compared {
            value["against"] = serde_json::to_value(against)?;
            value["compared"] = serde_json::to_value(compared)?;
        }
        terminal.result(value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell_metrics(&evaluation.metrics, terminal)?;
    if let Some((against, compared)) = &compared {
        terminal.result("\nagainst the other model, on the same sentences")?;
        for (name, comparison) in compared {
            let other = against.metrics.get(name).map_or(f64::NAN, |interval| interval.value);
            let difference = &comparison.difference;
            terminal.result(format_args!(
                "{name}: {:+.2} ({:+.2} to {:+.2}) over {other:.2}, p = {:.4}",
                difference.value, difference.low, difference.high, comparison.p_value
            ))?;
        }
    }
    for (name, signature) in &evaluation.signatures {
        terminal.say(format_args!("{name}: {signature}"));
    }
    terminal.say(format_args!(
        "{} sentences; intervals of {} resamples of them, seed {}",
        count(evaluation.examples),
        count(bootstrap.resamples as u64),
        bootstrap.seed
    ));
    Ok(ExitCode::SUCCESS)
}
