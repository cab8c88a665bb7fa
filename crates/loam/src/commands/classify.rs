//! `loam classify`.

use super::Misuse;
use super::texts::{CHUNK, Given, Texts};
use crate::arguments::{ClassifyArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_models::Problem;
use loam_tasks::TextClassifier;
use loam_tasks::classify::chosen;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

pub fn run(arguments: &ClassifyArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let asked = "the text is missing: give it as an argument, with --file, or on standard input";
    let mut texts =
        Texts::open(&arguments.text, arguments.file.as_deref(), arguments.jsonl, &arguments.text_field, asked)?
            .with_pairs(arguments.pair_field.clone());
    let classifier = TextClassifier::open(&arguments.model, &device)?;
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut failed) = (0_u64, 0_u64);
    loop {
        let chunk = texts.next_records()?;
        if chunk.is_empty() {
            break;
        }
        let read: Vec<&Given> = chunk.iter().filter_map(|record| record.as_ref().ok()).collect();
        let pair = |given: &'_ Given| given.pair.clone().or_else(|| arguments.pair.clone());
        let pairs: Vec<Option<String>> = read.iter().map(|given| pair(given)).collect();
        let inputs = read.iter().zip(&pairs).map(|(given, pair)| (given.text.as_str(), pair.as_deref()));
        let mut scores = classifier.classify(inputs).into_iter();
        let many = done > 0 || chunk.len() > 1;
        for record in &chunk {
            match record {
                Ok(given) => {
                    let scores = scores.next().expect("scores for every text");
                    tell(&classifier, given, &scores, arguments.top_k, many, terminal)?;
                }
                Err(message) => {
                    failed += 1;
                    terminal.error(message);
                    let line = if terminal.json() { json!({ "error": message }).to_string() } else { String::new() };
                    terminal.result(line)?;
                }
            }
        }
        done += chunk.len() as u64;
        if chunk.len() == CHUNK {
            watcher.doing(&format!("{} texts", count(done)));
        }
    }
    watcher.done();
    if done == 0 {
        return Err(Misuse("there is no text to classify".into()).into());
    }
    if failed > 0 {
        terminal.error(format_args!("{} of {} lines could not be read", count(failed), count(done)));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(
    classifier: &TextClassifier,
    given: &Given,
    scores: &[f32],
    top: Option<u32>,
    many: bool,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let labels = classifier.labels();
    let names = labels.names();
    let said = chosen(scores, labels.problem());
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let shown = |all: usize| &order[..top.map_or(all, |top| top as usize).min(order.len())];
    if terminal.json() {
        let listed: Map<String, Value> =
            shown(scores.len()).iter().map(|&label| (names[label].clone(), json!(scores[label]))).collect();
        let line = match labels.problem() {
            Problem::SingleLabel => json!({ "label": said.first().map(|&label| &names[label]), "scores": listed }),
            Problem::MultiLabel => {
                let chosen: Vec<&String> = said.iter().map(|&label| &names[label]).collect();
                json!({ "labels": chosen, "scores": listed })
            }
            Problem::Regression if names.len() == 1 => json!({ "score": scores[0] }),
            Problem::Regression => json!({ "scores": listed }),
        };
        return Ok(terminal.result(line)?);
    }
    let percent = |label: usize| format!("{} {:.1} %", names[label], 100.0 * scores[label]);
    let words: Vec<String> = match (labels.problem(), top) {
        (Problem::Regression, _) if names.len() == 1 => vec![format!("{:.4}", scores[0])],
        (Problem::Regression, _) => {
            (0..names.len()).map(|label| format!("{} {:.4}", names[label], scores[label])).collect()
        }
        (_, Some(_)) => shown(scores.len()).iter().map(|&label| percent(label)).collect(),
        (_, None) if said.is_empty() => vec!["none".to_owned()],
        (_, None) => said.iter().map(|&label| percent(label)).collect(),
    };
    let short: String = given.text.chars().take(60).collect::<String>().replace(['\n', '\t'], " ");
    let more = if given.text.chars().nth(60).is_some() { "…" } else { "" };
    let words = words.join(", ");
    if many {
        terminal.result(format_args!("{words}\t{short}{more}"))?;
    } else {
        terminal.result(words)?;
    }
    Ok(())
}
