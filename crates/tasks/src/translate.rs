//! How near translations come to references, by BLEU and chrF as sacreBLEU counts them.

use crate::evaluation::{Compared, Evaluation, compared};
use crate::metrics::Bootstrap;
use crate::metrics::interval::sum;
use crate::metrics::translation::{Bleu, BleuCounts, BleuTokenizer, Chrf, ChrfCounts};
use crate::writing::Pair;
use serde::Serialize;
use std::collections::BTreeMap;

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
pub fn tokenizer_for(pairs: &[Pair]) -> BleuTokenizer {
    let chinese = |pair: &&Pair| {
        let mut characters = pair.targets.iter().flat_map(|target| target.chars());
        characters.any(|c| matches!(c as u32, 0x3400..=0x9fff))
    };
    if 2 * pairs.iter().filter(chinese).count() > pairs.len() { BleuTokenizer::Chinese } else { BleuTokenizer::V13a }
}

fn references(pair: &Pair) -> Vec<&str> {
    pair.targets.iter().map(String::as_str).collect()
}

/// Counts translations against the targets of their pairs.
pub fn evaluate(
    translations: &[String],
    pairs: &[Pair],
    tokenizer: BleuTokenizer,
    lowercase: bool,
    bootstrap: &Bootstrap,
) -> (Evaluation<TranslationDetails>, TranslationCounts) {
    let bleu = Bleu { tokenizer, lowercase, ..Bleu::default() };
    let chrf = Chrf { lowercase, ..Chrf::default() };
    let said = || translations.iter().zip(pairs);
    let counts = TranslationCounts {
        bleu: said().map(|(said, pair)| bleu.counts(said, &references(pair))).collect(),
        chrf: said().map(|(said, pair)| chrf.counts(said, &references(pair))).collect(),
    };
    let metrics = [
        ("bleu", bootstrap.interval(&counts.bleu, |sum: &BleuCounts| bleu.score(sum).score)),
        ("chrf", bootstrap.interval(&counts.chrf, |sum: &ChrfCounts| chrf.score(sum))),
    ];
    let whole = bleu.score(&sum(&counts.bleu));
    let each = || pairs.iter().map(|pair| pair.targets.len());
    let signatures =
        BTreeMap::from([("bleu".to_owned(), bleu.signature(each())), ("chrf".to_owned(), chrf.signature(each()))]);
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

    fn pair(target: &str) -> Pair {
        Pair { source: String::new(), targets: vec![target.to_owned()] }
    }

    #[test]
    fn equal_texts_have_the_highest_scores() {
        let said = vec!["a cat sits on the mat .".to_owned(), "the dog runs home now .".to_owned()];
        let pairs: Vec<Pair> = said.iter().map(|text| pair(text)).collect();
        let (evaluation, counts) = evaluate(&said, &pairs, tokenizer_for(&pairs), false, &Bootstrap::default());
        assert!((evaluation.metrics["bleu"].value - 100.0).abs() < 1e-9);
        assert!(evaluation.details.signatures["bleu"].contains("tok:13a"), "{}", evaluation.details.signatures["bleu"]);
        let compared = compare(&counts, &counts, BleuTokenizer::V13a, false, &Bootstrap::default());
        assert_eq!(compared["bleu"].difference.value, 0.0);
        assert_eq!(tokenizer_for(&[pair("我在家")]), BleuTokenizer::Chinese);
    }
}
