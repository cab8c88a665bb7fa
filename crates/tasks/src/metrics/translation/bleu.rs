//! BLEU (Papineni et al., 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation").

use std::collections::HashMap;

use super::super::interval::{Statistic, sum};
use super::super::spaces::{is_space, words};
use super::tokenize::BleuTokenizer;
use super::{SACREBLEU_VERSION, reference_count};

/// The longest n-grams that are counted, in words.
pub const MAX_ORDER: usize = 4;

/// What is done about an order of n-grams of which none matches, without which the score would be 0 (Chen and Cherry,
/// 2014, "A Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU").
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Smoothing {
    /// Half a match for the first such order, a quarter for the next, and so on (NIST's, their method 3).
    #[default]
    Exponential,
    /// This many matches (their method 1; sacreBLEU's default is 0.1).
    Floor(f64),
    /// So much is added to matches and totals of all orders above the first (their method 2; sacreBLEU's default is 1).
    AddK(f64),
    /// Nothing.
    None,
}

/// BLEU with its options; the default ones are sacreBLEU's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bleu {
    /// Where words end.
    pub tokenizer: BleuTokenizer,
    /// What is done where nothing matches.
    pub smoothing: Smoothing,
    /// Whether text is made lower-case first.
    pub lowercase: bool,
    /// Whether orders longer than the translation are left out; for single sentences.
    pub effective_order: bool,
}

/// What a translation contributes, and what translations add up to. Words are the tokenizer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BleuCounts {
    /// The translations' words.
    pub length: u64,
    /// The words of the references nearest in length, the shorter of two as near.
    pub reference_length: u64,
    /// For 1 to 4 words, the n-grams that a reference has too, each at most as often as it has it.
    pub correct: [u64; MAX_ORDER],
    /// For 1 to 4 words, the n-grams.
    pub total: [u64; MAX_ORDER],
}

impl Statistic for BleuCounts {
    type Sum = Self;

    fn add_to(&self, sum: &mut Self, times: u64) {
        sum.length += self.length * times;
        sum.reference_length += self.reference_length * times;
        for order in 0..MAX_ORDER {
            sum.correct[order] += self.correct[order] * times;
            sum.total[order] += self.total[order] * times;
        }
    }
}

/// A score with what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BleuScore {
    /// BLEU, from 0 to 100. 0 where no word matches, and without translations.
    pub score: f64,
    /// The precisions of 1 to 4 words, from 0 to 100, smoothed.
    pub precisions: [f64; MAX_ORDER],
    /// By what factor too short translations are worth less, from 0 to 1.
    pub brevity_penalty: f64,
}

impl Bleu {
    /// What one translation contributes. Without references nothing matches, and their length is 0.
    pub fn counts<S: AsRef<str>>(&self, translation: &str, references: &[S]) -> BleuCounts {
        let translation = self.prepared(translation);
        let translation: Vec<&str> = words(&translation).collect();
        let references: Vec<String> = references.iter().map(|reference| self.prepared(reference.as_ref())).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|reference| words(reference).collect()).collect();
        let length = translation.len();
        let nearest = references.iter().map(Vec::len).min_by_key(|&other| (other.abs_diff(length), other));
        let mut counts = BleuCounts {
            length: length as u64,
            reference_length: nearest.unwrap_or(0) as u64,
            ..BleuCounts::default()
        };
        for order in 1..=MAX_ORDER {
            let mut most: HashMap<&[&str], u64> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = most.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&translation, order) {
                counts.total[order - 1] += count;
                counts.correct[order - 1] += most.get(ngram).map_or(0, |&most| count.min(most));
            }
        }
        counts
    }

    /// The score of a sum of counts.
    pub fn score(&self, counts: &BleuCounts) -> BleuScore {
        let (length, reference_length) = (counts.length as f64, counts.reference_length as f64);
        let brevity_penalty = match counts.length {
            0 if counts.reference_length > 0 => 0.0,
            _ if counts.length < counts.reference_length => (1.0 - reference_length / length).exp(),
            _ => 1.0,
        };
        let mut precisions = [0.0; MAX_ORDER];
        if counts.correct == [0; MAX_ORDER] {
            return BleuScore { score: 0.0, precisions, brevity_penalty };
        }
        let mut orders = MAX_ORDER;
        let mut halved = 1.0;
        for (order, precision) in precisions.iter_mut().enumerate() {
            let added = match self.smoothing {
                Smoothing::AddK(k) if order > 0 => k,
                _ => 0.0,
            };
            let correct = counts.correct[order] as f64 + added;
            let total = counts.total[order] as f64 + added;
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                orders = order + 1;
            }
            *precision = if correct == 0.0 {
                match self.smoothing {
                    Smoothing::Exponential => {
                        halved *= 2.0;
                        100.0 / (halved * total)
                    }
                    Smoothing::Floor(matches) => 100.0 * matches / total,
                    Smoothing::AddK(_) | Smoothing::None => 0.0,
                }
            } else {
                100.0 * correct / total
            };
        }
        let logarithms: f64 = precisions[..orders].iter().map(|precision| precision.ln()).sum();
        BleuScore { score: brevity_penalty * (logarithms / orders as f64).exp(), precisions, brevity_penalty }
    }

    /// The score of translations with their references.
    pub fn corpus<T: AsRef<str>, R: AsRef<str>>(&self, translations: &[(T, Vec<R>)]) -> BleuScore {
        let counts: Vec<BleuCounts> = translations
            .iter()
            .map(|(translation, references)| self.counts(translation.as_ref(), references))
            .collect();
        self.score(&sum(&counts))
    }

    /// How scores are made, as sacreBLEU prints it: `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0`.
    /// `references` are the numbers of references of every translation.
    pub fn signature(&self, references: impl IntoIterator<Item = usize>) -> String {
        let smoothing = match self.smoothing {
            Smoothing::Exponential => "exp".to_owned(),
            Smoothing::Floor(matches) => format!("floor[{matches:.2}]"),
            Smoothing::AddK(k) => format!("add-k[{k:.2}]"),
            Smoothing::None => "none".to_owned(),
        };
        format!(
            "nrefs:{}|case:{}|eff:{}|tok:{}|smooth:{smoothing}|version:{SACREBLEU_VERSION}",
            reference_count(references),
            if self.lowercase { "lc" } else { "mixed" },
            if self.effective_order { "yes" } else { "no" },
            self.tokenizer.name(),
        )
    }

    fn prepared(&self, sentence: &str) -> String {
        if self.lowercase {
            let sentence = sentence.to_lowercase();
            self.tokenizer.tokenize(sentence.trim_end_matches(is_space)).into_owned()
        } else {
            self.tokenizer.tokenize(sentence.trim_end_matches(is_space)).into_owned()
        }
    }
}

fn ngrams<'w, 't>(words: &'w [&'t str], order: usize) -> HashMap<&'w [&'t str], u64> {
    let mut counts = HashMap::new();
    for ngram in words.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::super::interval::Bootstrap;
    use super::*;

    #[test]
    fn nothing_scores_nothing() {
        let bleu = Bleu::default();
        let none: [(&str, Vec<&str>); 0] = [];
        assert_eq!(bleu.corpus(&none).score, 0.0);
        for (translation, references) in
            [("", vec![]), ("", vec![""]), ("", vec!["a"]), ("a", vec![""]), ("a", vec![]), ("🙂", vec!["🙃", ""])]
        {
            assert_eq!(bleu.score(&bleu.counts(translation, &references)).score, 0.0, "{translation:?}");
        }
        assert_eq!(bleu.signature([]), "nrefs:0|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
    }

    #[test]
    fn a_translation_equal_to_its_reference_is_perfect() {
        let sentence = "שלום עולם , how are you 🙂 ?";
        let score = Bleu::default().corpus(&[(sentence, vec!["x", sentence])]);
        assert!((score.score - 100.0).abs() < 1e-9 && score.brevity_penalty == 1.0, "{score:?}");
    }

    #[test]
    fn the_interval_holds_the_score() {
        let bleu = Bleu::default();
        let counts: Vec<BleuCounts> = (0..40)
            .map(|place| {
                let reference: Vec<String> = (0..12).map(|word| format!("w{}", (place * 5 + word * 7) % 31)).collect();
                let mut translation = reference.clone();
                translation[place % 12] = "x".to_owned();
                translation.truncate(12 - place % 4);
                bleu.counts(&translation.join(" "), &[reference.join(" ")])
            })
            .collect();
        let interval = Bootstrap::default().interval(&counts, |sum| bleu.score(sum).score).unwrap();
        assert!(interval.low < interval.value && interval.value < interval.high, "{interval:?}");
        assert!(interval.high - interval.low < 15.0, "{interval:?}");
    }
}
