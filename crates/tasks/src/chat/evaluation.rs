//! How well a model tells the answers of conversations that it has not seen: the loss on answers alone, written by the model's own
//! chat template, and the share of conversations whose answers it holds for more probable than another model does.

use super::template::{CHATML, ChatTemplate, Message};
use crate::evaluation::{Compared, Evaluation, compared};
use crate::language_model::{LoadedModel, TaskError};
use crate::metrics::interval::mcnemar_exact;
use crate::metrics::{Bootstrap, Interval, Mean, Statistic};
use burn::tensor::Device;
use loam_corpus::{Bytes, Documents, Marked, ReadOptions, Records, Turn, find_files, learned_tokens};
use serde::Serialize;
use std::path::Path;

/// What is told beside the metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChatDetails {
    /// Tokens of answers.
    pub answer_tokens: u64,
    /// Conversations without an answer, left out.
    pub without_answer: u64,
    /// Against another model: the share of conversations whose answers are more probable under this one, ties counting half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub win_rate: Option<Interval>,
    /// How probable such a count of wins would be of two models that are equal: an exact sign test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub win_p_value: Option<f64>,
}

/// The answers of a conversation, as a model tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswersTold {
    nats: f64,
    right: u64,
    tokens: u64,
    bytes: u64,
}

impl Statistic for AnswersTold {
    type Sum = Self;

    fn add_to(&self, sum: &mut Self, times: u64) {
        sum.nats += self.nats * times as f64;
        sum.right += self.right * times;
        sum.tokens += self.tokens * times;
        sum.bytes += self.bytes * times;
    }
}

impl AnswersTold {
    fn over_tokens(&self, value: f64) -> Option<f64> {
        (self.tokens > 0).then(|| value / self.tokens as f64)
    }

    fn loss(&self) -> Option<f64> {
        self.over_tokens(self.nats)
    }

    fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.nats / std::f64::consts::LN_2 / self.bytes as f64)
    }
}

/// Reads conversations: `messages`, ShareGPT's `conversations`, Alpaca's `instruction` and `output`, or questions and answers.
///
/// # Errors
/// When files are missing or broken, or hold no conversations.
pub fn read_conversations(paths: &[String], bytes: Bytes) -> Result<Vec<Vec<Turn>>, TaskError> {
    let options = ReadOptions { records: Records::Conversations, bytes, ..ReadOptions::default() };
    let mut conversations = Vec::new();
    for document in Documents::new(find_files(paths)?.files, options) {
        conversations.push(document?.turns);
    }
    if conversations.is_empty() {
        return Err(TaskError::Request(format!("{}: there is no conversation in it", paths.join(", "))));
    }
    Ok(conversations)
}

/// A model that is measured, and the template by which it reads conversations.
pub struct ChatJudge {
    model: LoadedModel,
    template: ChatTemplate,
}

impl ChatJudge {
    /// Opens a language model: a folder, a run's folder, a GGUF file, or `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken.
    pub fn open(path: &Path, template: Option<&str>, device: &Device) -> Result<Self, TaskError> {
        let model = LoadedModel::open(path, device)?;
        let folder = model.folder().unwrap_or(Path::new("")).to_owned();
        let own = match template {
            Some(name) => Some(ChatTemplate::named(name, &folder)?),
            None => ChatTemplate::of_folder(&folder)?,
        };
        let template = match own {
            Some(template) => template,
            None => ChatTemplate::new(CHATML.to_owned(), Vec::new(), "chatml".to_owned())?,
        };
        Ok(Self { model, template })
    }

    /// How the model tells the answers of every conversation. One without an answer has no tokens. `done` hears how many are told.
    ///
    /// # Errors
    /// When the template cannot write a conversation, or answers cannot be found in what it writes.
    pub fn told(
        &self,
        conversations: &[Vec<Turn>],
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<AnswersTold>, TaskError> {
        let mut all = Vec::with_capacity(conversations.len());
        for chunk in conversations.chunks(256) {
            let mut sequences = Vec::with_capacity(chunk.len());
            let mut bytes = Vec::with_capacity(chunk.len());
            for (number, turns) in (all.len() + 1..).zip(chunk) {
                let messages: Vec<Message> =
                    turns.iter().map(|turn| Message::new(turn.role.as_str(), turn.content.trim())).collect();
                if !turns.iter().any(|turn| turn.role == "assistant" && !turn.content.trim().is_empty()) {
                    sequences.push((Vec::new(), Vec::new()));
                    bytes.push(0);
                    continue;
                }
                let rendered = self
                    .template
                    .render_marked(&messages)
                    .map_err(|error| TaskError::Request(format!("conversation {number}: {error}")))?;
                bytes.push(rendered.answers.iter().map(|answer| answer.len() as u64).sum());
                let written = Marked { text: rendered.text, answers: rendered.answers };
                sequences.push(learned_tokens(&written, &self.model.tokenizer));
            }
            loam_models::generate::check_ids(
                &self.model.model,
                &sequences.iter().flat_map(|one| one.0.clone()).collect::<Vec<_>>(),
            )?;
            for (told, bytes) in self.model.told(&sequences).into_iter().zip(bytes) {
                all.push(AnswersTold {
                    nats: told.iter().map(|told| told.nats).sum(),
                    right: told.iter().filter(|told| told.most_probable).count() as u64,
                    tokens: told.len() as u64,
                    bytes,
                });
            }
            done(all.len());
        }
        Ok(all)
    }
}

/// Sums up what a model told; `other` is what another one told of the same conversations.
pub fn evaluate(told: &[AnswersTold], other: Option<&[AnswersTold]>, bootstrap: &Bootstrap) -> Evaluation<ChatDetails> {
    let answered: Vec<AnswersTold> = told.iter().filter(|one| one.tokens > 0).copied().collect();
    let metrics = [
        ("loss", bootstrap.interval(&answered, AnswersTold::loss)),
        ("perplexity", bootstrap.interval(&answered, |sum: &AnswersTold| sum.loss().map(f64::exp))),
        ("bits_per_byte", bootstrap.interval(&answered, AnswersTold::bits_per_byte)),
        ("accuracy", bootstrap.interval(&answered, |sum: &AnswersTold| sum.over_tokens(sum.right as f64))),
    ];
    let wins: Option<Vec<f64>> = other.map(|other| {
        let pairs = told.iter().zip(other).filter(|(own, other)| own.tokens > 0 && other.tokens > 0);
        // Other templates may write other tokens, so that answers are compared whole.
        pairs
            .map(
                |(own, other)| {
                    if own.nats < other.nats { 1.0 } else { f64::from(u8::from(own.nats == other.nats)) / 2.0 }
                },
            )
            .collect()
    });
    let details = ChatDetails {
        answer_tokens: told.iter().map(|one| one.tokens).sum(),
        without_answer: (told.len() - answered.len()) as u64,
        win_rate: wins.as_ref().and_then(|wins| bootstrap.interval(wins, Mean::value)),
        win_p_value: wins.map(|wins| {
            let count = |value: f64| wins.iter().filter(|win| **win == value).count() as u64;
            mcnemar_exact(count(1.0), count(0.0))
        }),
    };
    Evaluation::new(metrics, answered.len(), details)
}

/// The second's metrics less the first's, on the same conversations.
pub fn compare(first: &[AnswersTold], second: &[AnswersTold], bootstrap: &Bootstrap) -> Compared {
    let both = || first.iter().zip(second).filter(|(one, other)| one.tokens > 0 && other.tokens > 0);
    let (first, second): (Vec<AnswersTold>, Vec<AnswersTold>) = both().map(|(one, other)| (*one, *other)).unzip();
    compared([
        ("loss", bootstrap.compare(&first, &second, AnswersTold::loss)),
        ("bits_per_byte", bootstrap.compare(&first, &second, AnswersTold::bits_per_byte)),
        ("accuracy", bootstrap.compare(&first, &second, |sum: &AnswersTold| sum.over_tokens(sum.right as f64))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(nats: f64, right: u64, tokens: u64) -> AnswersTold {
        AnswersTold { nats, right, tokens, bytes: 4 * tokens }
    }

    #[test]
    fn answers_are_weighed_by_their_tokens_and_won_one_by_one() {
        let own = [told(2.0, 1, 4), told(1.0, 1, 1), AnswersTold::default(), told(6.0, 0, 3)];
        let base = [told(4.0, 1, 4), told(2.0, 0, 1), AnswersTold::default(), told(5.0, 0, 3)];
        let evaluation = evaluate(&own, Some(&base), &Bootstrap::default());
        assert!((evaluation.metrics["loss"].value - 9.0 / 8.0).abs() < 1e-12);
        assert!((evaluation.metrics["accuracy"].value - 0.25).abs() < 1e-12);
        assert!((evaluation.metrics["bits_per_byte"].value - 9.0 / 8.0 / 4.0 / std::f64::consts::LN_2).abs() < 1e-12);
        let details = evaluation.details;
        assert_eq!((details.answer_tokens, details.without_answer), (8, 1));
        assert!((details.win_rate.unwrap().value - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(details.win_p_value, Some(1.0));
        let compared = compare(&base, &own, &Bootstrap::default());
        assert!((compared["loss"].difference.value + 2.0 / 8.0).abs() < 1e-12);
        assert_eq!(evaluate(&own, Some(&own), &Bootstrap::default()).details.win_rate.unwrap().value, 0.5);
    }
}
