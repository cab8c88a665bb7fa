//! `loam classify`.

use super::texts::{Given, Texts, each};
use crate::arguments::{ClassifyArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_models::Problem;
use loam_tasks::TextClassifier;
use loam_tasks::classify::chosen;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

pub fn run(arguments: &ClassifyArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let texts = Texts::given(&arguments.given)?.with_pairs(arguments.pair_field.clone());
    let classifier = TextClassifier::open(&arguments.model, &device)?;
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        let inputs = given
            .iter()
            .map(|one| (one.text.as_str(), one.pair.as_ref().or(arguments.pair.as_ref()).map(String::as_str)));
        done(given.len());
        Ok(classifier.classify(inputs).into_iter().map(Ok).collect())
    };
    each(texts, "texts", terminal, ask, |given, scores: &Vec<f32>, many| {
        tell(&classifier, given, scores, arguments.top_k, many, terminal)
    })
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
