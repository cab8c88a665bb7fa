//! How well a tagger does on sentences that it has not seen: entities, as seqeval counts them.

use super::{TaggedSentence, TextTagger};
use crate::evaluation::{Compared, Evaluation, compared};
use crate::metrics::interval::sum;
use crate::metrics::tags::{TagCounts, TagReading, TagScheme};
use crate::metrics::{Average, Bootstrap, PrecisionRecall};
use serde::Serialize;

/// A type's precision, recall and F1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypeScores {
    /// Its name.
    pub label: String,
    /// They.
    #[serde(flatten)]
    pub scores: PrecisionRecall,
}

/// What is told of a tagger beside its metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TagDetails {
    /// The scheme by which entities are counted strictly; none where tags follow none, and all counting is lenient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Every type by itself, strictly.
    pub types: Vec<TypeScores>,
}

/// The counts of every sentence, strict by the scheme of the gold tags where they follow one.
pub(super) fn counts(sentences: &[TaggedSentence], said: &[Vec<&str>]) -> (TagReading, Vec<TagCounts>) {
    let gold: Vec<Vec<&str>> =
        sentences.iter().map(|sentence| sentence.tags.iter().map(String::as_str).collect()).collect();
    let reading = TagScheme::detect_in(&gold).map_or(TagReading::Lenient, TagReading::Strict);
    (reading, gold.iter().zip(said).map(|(gold, said)| TagCounts::of(gold, said, reading)).collect())
}

/// Asks a tagger and counts.
pub fn evaluate(
    tagger: &TextTagger,
    sentences: &[TaggedSentence],
    bootstrap: &Bootstrap,
) -> (Evaluation<TagDetails>, Vec<TagCounts>, Vec<Vec<String>>) {
    let words: Vec<Vec<&str>> =
        sentences.iter().map(|sentence| sentence.words.iter().map(String::as_str).collect()).collect();
    let tags = tagger.tags(&words);
    let said: Vec<Vec<&str>> = tags.iter().map(|row| row.iter().map(|(tag, _)| *tag).collect()).collect();
    let (reading, strict) = counts(sentences, &said);
    let lenient: Vec<TagCounts> = sentences
        .iter()
        .zip(&said)
        .map(|(sentence, said)| TagCounts::of(&sentence.tags, said, TagReading::Lenient))
        .collect();
    let metrics = [
        ("f1", bootstrap.interval(&strict, |sum| sum.scores(Average::Micro).f1)),
        ("precision", bootstrap.interval(&strict, |sum| sum.scores(Average::Micro).precision)),
        ("recall", bootstrap.interval(&strict, |sum| sum.scores(Average::Micro).recall)),
        ("macro_f1", bootstrap.interval(&strict, |sum| sum.scores(Average::Macro).f1)),
        ("lenient_f1", bootstrap.interval(&lenient, |sum| sum.scores(Average::Micro).f1)),
        ("accuracy", bootstrap.interval(&strict, TagCounts::accuracy)),
    ];
    let types = sum(&strict).by_type().map(|(label, scores)| TypeScores { label: label.to_owned(), scores }).collect();
    let scheme = match reading {
        TagReading::Strict(scheme) => Some(format!("{scheme:?}").to_uppercase()),
        TagReading::Lenient => None,
    };
    let said = said.into_iter().map(|row| row.into_iter().map(str::to_owned).collect()).collect();
    (Evaluation::new(metrics, sentences.len(), TagDetails { scheme, types }), strict, said)
}

/// The second tagger's F1 less the first's, on the same sentences.
pub fn compare(first: &[TagCounts], second: &[TagCounts], bootstrap: &Bootstrap) -> Compared {
    compared([("f1", bootstrap.compare(first, second, |sum| sum.scores(Average::Micro).f1))])
}
