//! What a language model knows without being trained for it, by the probabilities that it gives: pairs of sentences of which one is
//! right (BLiMP), choices (PIQA, MMLU and the like), last words (LAMBADA), and plain text.
//!
//! Prompts and counting are those of lm-evaluation-harness: a continuation is scored after its context; without a context, after the
//! token that begins a text, or else ends one. Of choices, `accuracy` takes the most probable one as a whole, `accuracy_norm` the most
//! probable one for each of its characters.

use crate::evaluation::{Compared, Evaluation, compared};
use crate::language_model::{LoadedModel, TaskError};
use crate::metrics::Bootstrap;
use crate::metrics::interval::{Mean, Statistic};
use crate::rows::{Row, Rows};
use loam_corpus::{Bytes, Documents, FileKind, ReadOptions, find_files, read_lines};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One thing that is asked of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Which of several continuations follows.
    Choice {
        /// What stands before each of them; may be empty.
        prompt: String,
        /// They, each with the space before it.
        choices: Vec<String>,
        /// The right one's number.
        answer: usize,
        /// What it belongs to: BLiMP's paradigm, MMLU's subject.
        group: Option<String>,
    },
    /// The last word of a text.
    LastWord {
        /// The text without it.
        context: String,
        /// It, with the space before it.
        word: String,
    },
    /// A text, of which every token is told.
    Text(String),
}

/// Reads what is asked. Rows with `sentence_good` and `sentence_bad`, with `goal`, `sol1` and `sol2`, or with `question`, `choices`
/// and `answer` are choices; `labels` is a file with an answer a line, for rows without one. Rows with `text`, and text files, are texts,
/// or, where `last_words`, last words.
///
/// # Errors
/// When files are missing or broken, or a row is nothing of this.
pub fn read_asked(
    paths: &[String],
    labels: Option<&Path>,
    last_words: bool,
    bytes: Bytes,
) -> Result<Vec<Asked>, TaskError> {
    let labels = labels.map(|path| read_lines(path, &bytes)).transpose()?;
    let (records, texts): (Vec<String>, Vec<String>) = find_files(paths)?
        .files
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .partition(|path| FileKind::of(Path::new(path)).is_some_and(|kind| kind.format.holds_records()));
    let mut asked = Vec::new();
    if !records.is_empty() {
        let rows = Rows::read(&records, bytes, &[])?;
        for (number, row) in rows.rows.iter().enumerate() {
            let label = labels.as_ref().and_then(|labels| labels.get(number)).map(|label| label.trim().to_owned());
            asked.push(of_row(row, label, last_words)?);
        }
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != rows.rows.len()) {
            let message = format!("{} labels do not belong to {} rows", labels.len(), rows.rows.len());
            return Err(TaskError::Request(message));
        }
    }
    if !texts.is_empty() {
        let texts = texts.into_iter().map(PathBuf::from).collect();
        for document in Documents::new(texts, ReadOptions { bytes, ..ReadOptions::default() }) {
            asked.push(of_text(document?.text, last_words)?);
        }
    }
    if asked.is_empty() {
        return Err(TaskError::Request(format!("{}: there is nothing to ask in it", paths.join(", "))));
    }
    Ok(asked)
}

fn of_text(text: String, last_words: bool) -> Result<Asked, TaskError> {
    if !last_words {
        return Ok(Asked::Text(text));
    }
    let trimmed = text.trim_end();
    let (context, word) = trimmed
        .rsplit_once(' ')
        .ok_or_else(|| TaskError::Request(format!("a text has no word before its last: {trimmed:.40}")))?;
    Ok(Asked::LastWord { context: context.to_owned(), word: format!(" {word}") })
}

fn of_row(row: &Row, label: Option<String>, last_words: bool) -> Result<Asked, TaskError> {
    let told = |message: String| TaskError::Request(format!("{}: {message}", row.place()));
    let text = |name: &str| row.fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let group = || text("UID").or_else(|| text("subject")).or_else(|| text("category"));
    if let (Some(good), Some(bad)) = (text("sentence_good"), text("sentence_bad")) {
        return Ok(Asked::Choice {
            prompt: String::new(),
            choices: vec![format!(" {good}"), format!(" {bad}")],
            answer: 0,
            group: group(),
        });
    }
    let number =
        |value: &Value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()).map(|number| number as usize);
    let answer = |choices: usize| -> Result<usize, TaskError> {
        let said = label.clone().map(Value::String);
        let fields = ["answer", "label", "answerKey", "gold"];
        let said = said.or_else(|| fields.iter().find_map(|name| row.fields.get(*name).cloned()));
        let said =
            said.ok_or_else(|| told("has no answer; give one as answer, or a file of them with --labels".to_owned()))?;
        let letter = said.as_str().map(str::trim).filter(|text| text.len() == 1).and_then(|text| {
            let letter = text.chars().next()?.to_ascii_uppercase();
            letter.is_ascii_uppercase().then(|| letter as usize - 'A' as usize)
        });
        let found = letter.or_else(|| number(&said)).filter(|answer| *answer < choices);
        found.ok_or_else(|| told(format!("the answer {said} is none of its {choices} choices")))
    };
    if let (Some(goal), Some(one), Some(other)) = (text("goal"), text("sol1"), text("sol2")) {
        let choices = vec![format!(" {one}"), format!(" {other}")];
        return Ok(Asked::Choice {
            prompt: format!("Question: {goal}\nAnswer:"),
            choices,
            answer: answer(2)?,
            group: group(),
        });
    }
    let choices =
        row.fields.get("choices").map(|choices| choices.get("text").unwrap_or(choices)).and_then(Value::as_array);
    if let (Some(question), Some(choices)) = (text("question"), choices) {
        let choices: Option<Vec<&str>> = choices.iter().map(Value::as_str).collect();
        let choices = choices.filter(|choices| (2..=26).contains(&choices.len()));
        let choices = choices.ok_or_else(|| told("its choices are no list of 2 to 26 texts".to_owned()))?;
        let letters = || ('A'..='Z').take(choices.len());
        let listed: Vec<String> =
            letters().zip(&choices).map(|(letter, choice)| format!("{letter}. {choice}")).collect();
        return Ok(Asked::Choice {
            prompt: format!("{}\n{}\nAnswer:", question.trim(), listed.join("\n")),
            answer: answer(choices.len())?,
            choices: letters().map(|letter| format!(" {letter}")).collect(),
            group: group(),
        });
    }
    if let Some(text) = text("text") {
        return of_text(text, last_words);
    }
    let names: Vec<&str> = row.fields.keys().map(String::as_str).take(20).collect();
    Err(told(format!(
        "is no pair (sentence_good, sentence_bad), no choice (question, choices, answer; goal, sol1, sol2), and no text; its fields \
         are {}",
        names.join(", ")
    )))
}

/// What a model answers to one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Of a choice and of a last word, whether it is right.
    right: Option<bool>,
    /// Of a choice, whether it is right by characters.
    right_norm: Option<bool>,
    /// What is told: the negative logarithm of its probability, in nats, with its tokens and bytes; of a choice none.
    nats: Option<(f64, u64, u64)>,
    /// What it belongs to.
    group: Option<String>,
}

/// What answers add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ToldSum {
    right: Mean,
    right_norm: Mean,
    nats: f64,
    tokens: u64,
    bytes: u64,
    texts: u64,
}

impl Statistic for Told {
    type Sum = ToldSum;

    fn add_to(&self, sum: &mut ToldSum, times: u64) {
        let one = |right: bool| f64::from(u8::from(right));
        if let Some(right) = self.right {
            one(right).add_to(&mut sum.right, times);
        }
        if let Some(right) = self.right_norm {
            one(right).add_to(&mut sum.right_norm, times);
        }
        if let Some((nats, tokens, bytes)) = self.nats {
            sum.nats += nats * times as f64;
            sum.tokens += tokens * times;
            sum.bytes += bytes * times;
            sum.texts += times;
        }
    }
}

/// What is told beside the metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LanguageDetails {
    /// The accuracy of every group, where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, f64>,
}

/// Asks a model. `done` hears how many things have been asked.
///
/// # Errors
/// When the tokenizer and the model do not belong together.
pub fn ask(model: &LoadedModel, asked: &[Asked], done: &mut dyn FnMut(usize)) -> Result<Vec<Told>, TaskError> {
    /// Things whose continuations go through the model together.
    const CHUNK: usize = 256;
    let mut told = Vec::with_capacity(asked.len());
    for chunk in asked.chunks(CHUNK) {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for one in chunk {
            match one {
                Asked::Choice { prompt, choices, .. } => {
                    pairs.extend(choices.iter().map(|choice| (prompt.as_str(), choice.as_str())));
                }
                Asked::LastWord { context, word } => pairs.push((context, word)),
                Asked::Text(_) => {}
            }
        }
        let mut found = model.likelihoods(&pairs)?.into_iter();
        for one in chunk {
            told.push(match one {
                Asked::Choice { choices, answer, group, .. } => {
                    let nats: Vec<f64> = found.by_ref().take(choices.len()).map(|one| one.logarithm).collect();
                    let best = |score: &dyn Fn(usize) -> f64| {
                        (0..choices.len()).max_by(|a, b| score(*a).total_cmp(&score(*b)).then(b.cmp(a)))
                    };
                    // The space before a choice is none of its characters.
                    let characters = |choice: usize| (choices[choice].chars().count() - 1).max(1) as f64;
                    Told {
                        right: Some(best(&|choice| nats[choice]) == Some(*answer)),
                        right_norm: Some(best(&|choice| nats[choice] / characters(choice)) == Some(*answer)),
                        nats: None,
                        group: group.clone(),
                    }
                }
                Asked::LastWord { word, .. } => {
                    let one = found.next().unwrap_or_default();
                    let bytes = word.len() as u64;
                    Told {
                        right: Some(one.greedy),
                        nats: Some((-one.logarithm, one.tokens as u64, bytes)),
                        ..Told::default()
                    }
                }
                Asked::Text(text) => {
                    let score = model.score(text)?;
                    let scored = score.scored as u64;
                    let nats = score.loss.unwrap_or(0.0) * scored as f64;
                    let bits = score.bits_per_byte.filter(|bits| *bits > 0.0);
                    let bytes = bits.map_or(0, |bits| (nats / std::f64::consts::LN_2 / bits).round() as u64);
                    Told { nats: Some((nats, scored, bytes)), ..Told::default() }
                }
            });
        }
        done(told.len());
    }
    Ok(told)
}

/// A metric's name, and how it follows from sums.
type Metric = (&'static str, fn(&ToldSum) -> Option<f64>);

/// The metrics of what was told: those that it has.
fn metrics(asked: &[Asked]) -> Vec<Metric> {
    let has = |kind: fn(&Asked) -> bool| asked.iter().any(kind);
    let mut metrics: Vec<Metric> = Vec::new();
    if has(|one| !matches!(one, Asked::Text(_))) {
        metrics.push(("accuracy", |sum| sum.right.value()));
    }
    if has(|one| matches!(one, Asked::Choice { .. })) {
        metrics.push(("accuracy_norm", |sum| sum.right_norm.value()));
    }
    if has(|one| matches!(one, Asked::LastWord { .. })) {
        // LAMBADA's perplexity is one of words.
        metrics.push(("word_perplexity", |sum| (sum.texts > 0).then(|| (sum.nats / sum.texts as f64).exp())));
    }
    if has(|one| matches!(one, Asked::Text(_))) {
        metrics.push(("perplexity", |sum| (sum.tokens > 0).then(|| (sum.nats / sum.tokens as f64).exp())));
        metrics.push(("loss", |sum| (sum.tokens > 0).then(|| sum.nats / sum.tokens as f64)));
        metrics.push(("bits_per_byte", |sum| {
            (sum.bytes > 0).then(|| sum.nats / std::f64::consts::LN_2 / sum.bytes as f64)
        }));
    }
    metrics
}

/// Metrics with intervals.
pub fn evaluate(asked: &[Asked], told: &[Told], bootstrap: &Bootstrap) -> Evaluation<LanguageDetails> {
    let mut groups: BTreeMap<&str, Mean> = BTreeMap::new();
    for one in told {
        if let (Some(group), Some(right)) = (&one.group, one.right) {
            f64::from(u8::from(right)).add_to(groups.entry(group).or_default(), 1);
        }
    }
    let mut details = LanguageDetails::default();
    if groups.len() > 1 {
        let named = groups.into_iter().filter_map(|(name, mean)| Some((name.to_owned(), mean.value()?)));
        details.groups = named.collect();
    }
    let metrics = metrics(asked).into_iter().map(|(name, value)| (name, bootstrap.interval(told, value)));
    Evaluation::new(metrics, told.len(), details)
}

/// The second model's metrics less the first's, on the same things.
pub fn compare(asked: &[Asked], first: &[Told], second: &[Told], bootstrap: &Bootstrap) -> Compared {
    compared(metrics(asked).into_iter().map(|(name, value)| (name, bootstrap.compare(first, second, value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, last_words: bool) -> Result<Vec<Asked>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let paths = [path.to_string_lossy().into_owned()];
        read_asked(&paths, None, last_words, Bytes::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_is_recognized() {
        let pair = "{\"sentence_good\":\"He runs.\",\"sentence_bad\":\"He run.\",\"UID\":\"agreement\"}\n";
        let Asked::Choice { prompt, choices, answer, group } = &read("a.jsonl", pair, false).unwrap()[0] else {
            panic!()
        };
        assert_eq!((prompt.as_str(), choices.len(), *answer, group.as_deref()), ("", 2, 0, Some("agreement")));
        let question = "{\"question\":\"2+2?\",\"choices\":[\"3\",\"4\"],\"answer\":\"B\"}\n";
        let Asked::Choice { prompt, choices, answer, .. } = &read("a.jsonl", question, false).unwrap()[0] else {
            panic!()
        };
        assert_eq!((prompt.as_str(), choices[1].as_str(), *answer), ("2+2?\nA. 3\nB. 4\nAnswer:", " B", 1));
        let physical = "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":1}\n";
        assert!(matches!(&read("a.jsonl", physical, false).unwrap()[0], Asked::Choice { answer: 1, .. }));
        let last = &read("a.jsonl", "{\"text\":\"I see signs\"}\n", true).unwrap()[0];
        assert_eq!(*last, Asked::LastWord { context: "I see".into(), word: " signs".into() });
        assert_eq!(read("a.txt", "One text.\n", false).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (content, words) in [
            ("{\"question\":\"2+2?\",\"choices\":[\"3\",\"4\"],\"answer\":5}\n", "none of its 2 choices"),
            ("{\"question\":\"2+2?\",\"choices\":[\"3\"],\"answer\":0}\n", "2 to 26"),
            ("{\"question\":\"2+2?\",\"choices\":[\"3\",\"4\"]}\n", "--labels"),
            ("{\"title\":\"a\"}\n", "its fields are title"),
        ] {
            let error = read("a.jsonl", content, false).unwrap_err();
            assert!(error.contains(words), "{content}: {error}");
        }
        assert!(read("a.jsonl", "{\"text\":\"one\"}\n", true).unwrap_err().contains("no word before"));
    }
}
