//! Translations: what an encoder with a decoder makes of texts, and how near it comes to references, by BLEU and chrF as
//! sacreBLEU counts them.

use crate::evaluation::{Compared, Evaluation, compared};
use crate::from_source::{Beams, SourceModel};
use crate::language_model::{Found, TaskError, TextOptions};
use crate::metrics::Bootstrap;
use crate::metrics::interval::sum;
use crate::metrics::translation::{Bleu, BleuCounts, BleuTokenizer, Chrf, ChrfCounts};
use crate::rows::Rows;
use burn::tensor::Device;
use loam_corpus::{Bytes, read_lines};
use loam_models::sampling::SamplingOptions;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Usual names of the fields of a pair.
const PAIRS: [(&str, &str); 5] =
    [("source", "target"), ("src", "tgt"), ("input", "target"), ("input", "output"), ("text", "translation")];

/// A text with what it should become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The text.
    pub source: String,
    /// Its translation.
    pub target: String,
}

/// How translations are looked for.
#[derive(Clone, Copy, Debug)]
pub struct TranslateOptions {
    /// Texts that are kept at every step.
    pub beams: usize,
    /// Scores are divided by the length to this power.
    pub length_penalty: f64,
    /// Tokens of a translation at most.
    pub most: usize,
    /// Texts that are translated side by side.
    pub batch: usize,
}

/// A translator: an encoder with a decoder.
pub struct Translator(SourceModel);

impl Translator {
    /// Opens one: a folder, a run's folder, or `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken, or the model is of another kind.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let model = SourceModel::open_adapted(path, None, device)?;
        model.map(Self).ok_or_else(|| {
            TaskError::Request(format!(
                "{} is no encoder with a decoder, which reads a text and writes its translation; loam generate lets other \
                 models write",
                path.display()
            ))
        })
    }

    /// A translation of every text, in their order; why there is none, of one that is longer than the model reads. `done` hears
    /// how many there are.
    ///
    /// # Errors
    /// When the options are impossible.
    pub fn translate(
        &self,
        texts: &[String],
        options: &TranslateOptions,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<String, String>>, TaskError> {
        let text_options = TextOptions {
            max_new_tokens: options.most,
            sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
            no_repeat_ngram: 0,
            stop: Vec::new(),
        };
        let beams = Beams { beams: options.beams, n_best: 1, length_penalty: options.length_penalty };
        // Texts of like length are translated together.
        let mut order: Vec<usize> = (0..texts.len()).filter(|&text| !texts[text].trim().is_empty()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut translations: Vec<Result<String, String>> = vec![Ok(String::new()); texts.len()];
        let mut count = 0;
        let best =
            |found: Vec<Found>| found.into_iter().next().map(|best| best.text.trim().to_owned()).unwrap_or_default();
        for batch in order.chunks(options.batch.max(1)) {
            let sources: Vec<String> = batch.iter().map(|&text| texts[text].clone()).collect();
            if let Ok(found) = self.0.write(&sources, &text_options, beams) {
                for (&text, found) in batch.iter().zip(found) {
                    translations[text] = Ok(best(found));
                }
            } else {
                // One of them is too long: which, is found one by one.
                for (&text, source) in batch.iter().zip(sources) {
                    let found = self.0.write(&[source], &text_options, beams);
                    translations[text] = found
                        .map(|found| found.into_iter().next().map(best).unwrap_or_default())
                        .map_err(|error| error.to_string());
                }
            }
            count += batch.len();
            done(count);
        }
        Ok(translations)
    }
}

/// Reads pairs: rows with a source and a target, or the lines of two files.
///
/// # Errors
/// When files are missing or broken, have not as many lines, or fields cannot be told.
pub fn read_pairs(
    paths: &[String],
    targets: &[String],
    fields: Option<(&str, &str)>,
    bytes: Bytes,
) -> Result<Vec<Pair>, TaskError> {
    if !targets.is_empty() {
        let lines = |paths: &[String]| -> Result<Vec<String>, TaskError> {
            let mut lines = Vec::new();
            for path in paths {
                lines.extend(read_lines(Path::new(path), &bytes)?);
            }
            Ok(lines)
        };
        let (sources, targets) = (lines(paths)?, lines(targets)?);
        if sources.len() != targets.len() {
            let message =
                format!("{} lines of sources and {} of targets do not belong together", sources.len(), targets.len());
            return Err(TaskError::Request(message));
        }
        return Ok(sources.into_iter().zip(targets).map(|(source, target)| Pair { source, target }).collect());
    }
    let asked: Vec<String> =
        fields.iter().flat_map(|(source, target)| [(*source).to_owned(), (*target).to_owned()]).collect();
    let rows = Rows::read(paths, bytes, &asked)?;
    let has = |name: &str| rows.names.iter().any(|known| known == name);
    let found = match fields {
        Some(fields) => Some(fields),
        None => PAIRS.into_iter().find(|(source, target)| has(source) && has(target)),
    };
    let names = match (found, &rows.names[..]) {
        (Some((source, target)), _) => (source.to_owned(), target.to_owned()),
        (None, [source, target]) => (source.clone(), target.clone()),
        _ => {
            let message = format!(
                "which field is the source and which the target? Name them with --fields SOURCE,TARGET:{}",
                rows.shown()
            );
            return Err(TaskError::Request(message));
        }
    };
    rows.rows
        .iter()
        .map(|row| {
            let text = |name: &String| {
                row.text(name)?.ok_or_else(|| TaskError::Request(format!("{}: has no \"{name}\"", row.place())))
            };
            Ok(Pair { source: text(&names.0)?, target: text(&names.1)? })
        })
        .collect()
}

/// What is told beside BLEU and chrF.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TranslationDetails {
    /// What was counted, as sacreBLEU writes it.
    pub signatures: BTreeMap<String, String>,
    /// The share of n-grams of 1 to 4 words that a reference has, in percent.
    pub precisions: Vec<f64>,
    /// What short translations are multiplied with.
    pub brevity_penalty: f64,
}

/// The counts of every sentence.
pub struct TranslationCounts {
    bleu: Vec<BleuCounts>,
    chrf: Vec<ChrfCounts>,
}

/// Which words BLEU counts where nobody says: Chinese ones where most references are Chinese.
pub fn tokenizer_for(references: &[&str]) -> BleuTokenizer {
    let chinese = |text: &&&str| text.chars().any(|c| matches!(c as u32, 0x3400..=0x9fff));
    if 2 * references.iter().filter(chinese).count() > references.len() {
        BleuTokenizer::Chinese
    } else {
        BleuTokenizer::V13a
    }
}

/// Counts translations against references.
pub fn evaluate(
    translations: &[String],
    references: &[&str],
    tokenizer: BleuTokenizer,
    lowercase: bool,
    bootstrap: &Bootstrap,
) -> (Evaluation<TranslationDetails>, TranslationCounts) {
    let bleu = Bleu { tokenizer, lowercase, ..Bleu::default() };
    let chrf = Chrf { lowercase, ..Chrf::default() };
    let pairs = || translations.iter().zip(references);
    let counts = TranslationCounts {
        bleu: pairs().map(|(said, reference)| bleu.counts(said, &[reference])).collect(),
        chrf: pairs().map(|(said, reference)| chrf.counts(said, &[reference])).collect(),
    };
    let metrics = [
        ("bleu", bootstrap.interval(&counts.bleu, |sum: &BleuCounts| bleu.score(sum).score)),
        ("chrf", bootstrap.interval(&counts.chrf, |sum: &ChrfCounts| chrf.score(sum))),
    ];
    let whole = bleu.score(&sum(&counts.bleu));
    let one = || std::iter::repeat_n(1, references.len());
    let signatures =
        BTreeMap::from([("bleu".to_owned(), bleu.signature(one())), ("chrf".to_owned(), chrf.signature(one()))]);
    let (precisions, brevity_penalty) = (whole.precisions.to_vec(), whole.brevity_penalty);
    let details = TranslationDetails { signatures, precisions, brevity_penalty };
    let evaluation = Evaluation::new(metrics, translations.len(), details);
    (evaluation, counts)
}

/// The second's BLEU and chrF less the first's, on the same sentences.
pub fn compare(
    first: &TranslationCounts,
    second: &TranslationCounts,
    tokenizer: BleuTokenizer,
    lowercase: bool,
    bootstrap: &Bootstrap,
) -> Compared {
    let bleu = Bleu { tokenizer, lowercase, ..Bleu::default() };
    let chrf = Chrf { lowercase, ..Chrf::default() };
    compared([
        ("bleu", bootstrap.compare(&first.bleu, &second.bleu, |sum: &BleuCounts| bleu.score(sum).score)),
        ("chrf", bootstrap.compare(&first.chrf, &second.chrf, |sum: &ChrfCounts| chrf.score(sum))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_from_rows_and_from_lines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_string_lossy().into_owned()
        };
        let read = |paths: &[String], targets: &[String], fields| {
            read_pairs(paths, targets, fields, Bytes::default()).map_err(|error| error.to_string())
        };
        let rows = write("a.jsonl", "{\"source\":\"a\",\"target\":\"b\",\"id\":1}\n");
        assert_eq!(read(&[rows], &[], None).unwrap(), [Pair { source: "a".into(), target: "b".into() }]);
        let columns = write("a.tsv", "Hi.\t嗨。\nRun.\t跑。\n");
        assert_eq!(read(&[columns], &[], None).unwrap()[1].target, "跑。");
        let three = write("b.tsv", "Hi.\t嗨。\tx\n");
        assert!(read(std::slice::from_ref(&three), &[], None).unwrap_err().contains("--fields"));
        assert_eq!(read(&[three], &[], Some(("3", "1"))).unwrap()[0].target, "Hi.");
        let (sources, targets) = (write("a.en", "Hi.\nRun.\n"), write("a.de", "Hallo.\nLauf.\n"));
        assert_eq!(read(std::slice::from_ref(&sources), &[targets], None).unwrap()[0].target, "Hallo.");
        let short = write("b.de", "Hallo.\n");
        assert!(read(&[sources], &[short], None).unwrap_err().contains("2 lines of sources and 1"));
    }

    #[test]
    fn equal_texts_have_the_highest_scores() {
        let said = vec!["a cat sits on the mat .".to_owned(), "the dog runs home now .".to_owned()];
        let references: Vec<&str> = said.iter().map(String::as_str).collect();
        let (evaluation, counts) =
            evaluate(&said, &references, tokenizer_for(&references), false, &Bootstrap::default());
        assert!((evaluation.metrics["bleu"].value - 100.0).abs() < 1e-9);
        assert!(evaluation.details.signatures["bleu"].contains("tok:13a"), "{}", evaluation.details.signatures["bleu"]);
        let compared = compare(&counts, &counts, BleuTokenizer::V13a, false, &Bootstrap::default());
        assert_eq!(compared["bleu"].difference.value, 0.0);
        assert_eq!(tokenizer_for(&["我在家"]), BleuTokenizer::Chinese);
    }
}
