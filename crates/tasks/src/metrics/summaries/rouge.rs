//! ROUGE (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"), equal to rouge-score 0.1.2.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::super::interval::Statistic;
use super::super::precision_recall::{PrecisionRecall, ratio};
use super::porter::stem;

/// What a summary is compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RougeTokens {
    /// Runs of the letters a to z and digits, in lower case: rouge-score's default. Text in other scripts has no such
    /// words, and its scores are 0.
    #[default]
    Words,
    /// The same, and of words of more than three letters their stem: rouge-score's `use_stemmer`.
    Stems,
    /// Every character of Chinese, Japanese and Korean, and runs of all other letters and digits, in lower case: how
    /// summaries in Chinese are compared (Hu et al., 2015, "LCSTS"), which rouge-score leaves to a tokenizer that one
    /// brings.
    Characters,
}

impl RougeTokens {
    /// The tokens of a text.
    pub fn tokens(self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        if self == Self::Characters {
            return characters(&text);
        }
        text.split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| if self == Self::Stems && word.len() > 3 { stem(word) } else { word.to_owned() })
            .collect()
    }
}

fn characters(text: &str) -> Vec<String> {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        // Ideographs, kana, and syllables of Hangul; letters, marks and numbers of all other scripts.
        let alone = [
            r"\u3005-\u3007\u3041-\u3096\u30A1-\u30FA\u30FC",
            r"\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U000323AF",
            r"\uAC00-\uD7A3",
        ]
        .concat();
        let pattern = format!(r"[{alone}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{alone}]]+");
        Regex::new(&pattern).expect("a regular expression")
    });
    TOKEN.find_iter(text).map(|token| token.as_str().to_owned()).collect()
}

/// ROUGE with its option; the default one is rouge-score's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rouge {
    /// What is compared.
    pub tokens: RougeTokens,
}

/// The scores of one summary. Precision is the share of the summary's n-grams (or tokens) that the reference has too,
/// recall the share of the reference's that the summary has; `support` is how many the reference has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RougeScores {
    /// Single tokens.
    pub rouge1: PrecisionRecall,
    /// Pairs of tokens.
    pub rouge2: PrecisionRecall,
    /// The longest common subsequence of the texts as one.
    pub rouge_l: PrecisionRecall,
    /// For every sentence of the reference, what it has in common with any sentence of the summary. Sentences are lines.
    pub rouge_lsum: PrecisionRecall,
}

/// What the scores of summaries add up to: their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RougeSum {
    sums: RougeScores,
    count: u64,
}

impl Statistic for RougeScores {
    type Sum = RougeSum;

    fn add_to(&self, sum: &mut RougeSum, times: u64) {
        sum.count += times;
        for (sum, own) in sum.sums.each_mut().into_iter().zip(self.each()) {
            sum.precision += own.precision * times as f64;
            sum.recall += own.recall * times as f64;
            sum.f1 += own.f1 * times as f64;
            sum.support += own.support * times;
        }
    }
}

impl RougeSum {
    /// The means over summaries, which is how ROUGE is told; none without summaries.
    pub fn mean(&self) -> Option<RougeScores> {
        let mut means = self.sums;
        for own in means.each_mut() {
            own.precision /= self.count as f64;
            own.recall /= self.count as f64;
            own.f1 /= self.count as f64;
        }
        (self.count > 0).then_some(means)
    }
}

impl RougeScores {
    fn each(&self) -> [&PrecisionRecall; 4] {
        [&self.rouge1, &self.rouge2, &self.rouge_l, &self.rouge_lsum]
    }

    fn each_mut(&mut self) -> [&mut PrecisionRecall; 4] {
        [&mut self.rouge1, &mut self.rouge2, &mut self.rouge_l, &mut self.rouge_lsum]
    }
}

impl Rouge {
    /// The scores of a summary. What has no tokens scores 0, also if both have none.
    pub fn scores(&self, summary: &str, reference: &str) -> RougeScores {
        let (own, other) = (self.tokens.tokens(summary), self.tokens.tokens(reference));
        let sentences = |text: &str| -> Vec<Vec<String>> {
            text.split('\n').filter(|line| !line.is_empty()).map(|line| self.tokens.tokens(line)).collect()
        };
        // Longest common subsequences compare tokens often, and numbers are compared faster.
        let mut numbers = HashMap::new();
        let mut numbered = |tokens: Vec<String>| -> Vec<u32> {
            tokens
                .into_iter()
                .map(|token| {
                    let next = numbers.len() as u32;
                    *numbers.entry(token).or_insert(next)
                })
                .collect()
        };
        let (own, other) = (numbered(own), numbered(other));
        let own_sentences: Vec<Vec<u32>> = sentences(summary).into_iter().map(&mut numbered).collect();
        let other_sentences: Vec<Vec<u32>> = sentences(reference).into_iter().map(&mut numbered).collect();
        RougeScores {
            rouge1: of_ngrams(&own, &other, 1),
            rouge2: of_ngrams(&own, &other, 2),
            rouge_l: scores(subsequence_length(&own, &other), own.len(), other.len()),
            rouge_lsum: of_sentences(&own_sentences, &other_sentences),
        }
    }

    /// The scores of a summary against several references: each measure's with the reference for which its F1 is highest,
    /// the first of such. All 0 without references.
    pub fn best_scores<S: AsRef<str>>(&self, summary: &str, references: &[S]) -> RougeScores {
        let mut best = RougeScores::default();
        for (place, reference) in references.iter().enumerate() {
            let scores = self.scores(summary, reference.as_ref());
            for (best, own) in best.each_mut().into_iter().zip(scores.each()) {
                if place == 0 || own.f1 > best.f1 {
                    *best = *own;
                }
            }
        }
        best
    }
}

fn scores(common: usize, own: usize, other: usize) -> PrecisionRecall {
    let (precision, recall) = (ratio(common as u64, own as u64), ratio(common as u64, other as u64));
    let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    PrecisionRecall { precision, recall, f1, support: other as u64 }
}

fn counts<T: Eq + Hash>(things: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for thing in things {
        *counts.entry(thing).or_default() += 1;
    }
    counts
}

fn of_ngrams(own: &[u32], other: &[u32], order: usize) -> PrecisionRecall {
    let mut left = counts(other.windows(order));
    let mut common = 0;
    for ngram in own.windows(order) {
        if let Some(count) = left.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    scores(common, own.windows(order).len(), other.windows(order).len())
}

/// How long the longest common subsequence is.
fn subsequence_length(own: &[u32], other: &[u32]) -> usize {
    let mut row = vec![0; other.len() + 1];
    for token in own {
        let mut diagonal = 0;
        for (place, other) in other.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if token == other { diagonal + 1 } else { above.max(row[place]) };
            diagonal = above;
        }
    }
    row[other.len()]
}

/// Section 3.2 of the paper, with what ROUGE 1.5.5 added to it: no token counts more often than either text has it.
fn of_sentences(own: &[Vec<u32>], other: &[Vec<u32>]) -> PrecisionRecall {
    let mut own_left = counts(own.iter().flatten());
    let mut other_left = counts(other.iter().flatten());
    let mut common = 0;
    for sentence in other {
        let mut covered = vec![false; sentence.len()];
        for own in own {
            cover_subsequence(sentence, own, &mut covered);
        }
        for (token, _) in sentence.iter().zip(covered).filter(|(_, covered)| *covered) {
            if let (Some(own), Some(other)) = (own_left.get_mut(token), other_left.get_mut(token))
                && *own > 0
                && *other > 0
            {
                *own -= 1;
                *other -= 1;
                common += 1;
            }
        }
    }
    scores(common, own.iter().map(Vec::len).sum(), other.iter().map(Vec::len).sum())
}

/// Marks the tokens of a sentence that stand in a longest common subsequence with another. There may be several; it is
/// the one that is found from the end, stepping back in the other sentence only where that loses less.
fn cover_subsequence(sentence: &[u32], other: &[u32], covered: &mut [bool]) {
    let width = other.len() + 1;
    let mut table = vec![0_u32; (sentence.len() + 1) * width];
    for (row, token) in sentence.iter().enumerate() {
        for (column, other) in other.iter().enumerate() {
            let here = (row + 1) * width + column + 1;
            table[here] =
                if token == other { table[row * width + column] + 1 } else { table[here - width].max(table[here - 1]) };
        }
    }
    let (mut row, mut column) = (sentence.len(), other.len());
    while row > 0 && column > 0 {
        let here = row * width + column;
        if sentence[row - 1] == other[column - 1] {
            covered[row - 1] = true;
            row -= 1;
            column -= 1;
        } else if table[here - 1] > table[here - width] {
            column -= 1;
        } else {
            row -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::interval::sum;
    use super::*;

    #[test]
    fn nothing_scores_nothing() {
        for tokens in [RougeTokens::Words, RougeTokens::Stems, RougeTokens::Characters] {
            let rouge = Rouge { tokens };
            for (summary, reference) in [("", ""), ("a", ""), ("", "a"), ("\n\n", "a\n"), ("🙂", "🙂"), ("...", "。")]
            {
                let scores = rouge.scores(summary, reference);
                assert!(scores.each().iter().all(|scores| scores.f1 == 0.0), "{summary:?} {reference:?}: {scores:?}");
            }
        }
        assert_eq!(Rouge::default().best_scores::<&str>("a", &[]), RougeScores::default());
        assert_eq!(sum::<RougeScores>(&[]).mean(), None);
    }

    #[test]
    fn chinese_is_compared_by_character() {
        let tokens = |text| RougeTokens::Characters.tokens(text).join(" ");
        assert_eq!(tokens("GPT-3由OpenAI训练，3.5分。"), "gpt 3 由 openai 训 练 3 5 分");
        assert_eq!(tokens("かなカナー한글 שָׁלוֹם हिन्दी"), "か な カ ナ ー 한 글 שָׁלוֹם हिन्दी");
        let rouge = Rouge { tokens: RougeTokens::Characters };
        assert_eq!(rouge.scores("北京大学", "北京的大学").rouge_l.recall, 0.8);
        assert_eq!(Rouge::default().scores("北京大学", "北京大学").rouge1.f1, 0.0);
    }

    #[test]
    fn lines_are_sentences_of_lsum_only() {
        let scores = Rouge::default().scores("b c\na", "a\nb c");
        assert_eq!(scores.rouge_lsum.f1, 1.0);
        assert!((scores.rouge_l.f1 - 2.0 / 3.0).abs() < 1e-12);
    }
}
