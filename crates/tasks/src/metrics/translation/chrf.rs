//! chrF (Popović, 2015, "chrF: character n-gram F-score for automatic MT evaluation") and chrF++ (Popović, 2017).

use std::collections::HashMap;
use std::hash::Hash;

use super::super::interval::{Statistic, sum};
use super::super::spaces::{is_space, words};
use super::{SACREBLEU_VERSION, reference_count};

/// chrF with its options; the default ones are sacreBLEU's (chrF2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chrf {
    /// The longest n-grams of characters.
    pub character_order: usize,
    /// The longest n-grams of words: 0 for chrF, 2 for chrF++.
    pub word_order: usize,
    /// How many times recall matters as much as precision.
    pub beta: u32,
    /// Whether text is made lower-case first.
    pub lowercase: bool,
    /// Whether white space counts among the characters.
    pub whitespace: bool,
    /// Whether orders without n-grams count as almost 0, as in Popović's program, instead of being left out.
    pub epsilon_smoothing: bool,
}

impl Default for Chrf {
    fn default() -> Self {
        Self {
            character_order: 6,
            word_order: 0,
            beta: 2,
            lowercase: false,
            whitespace: false,
            epsilon_smoothing: false,
        }
    }
}

/// What a translation contributes, and what translations add up to: for every order, of characters and then of words, how
/// many n-grams the translation has, the reference has, and both have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChrfCounts {
    orders: Vec<[u64; 3]>,
}

impl Statistic for ChrfCounts {
    type Sum = Self;

    fn add_to(&self, sum: &mut Self, times: u64) {
        if sum.orders.len() < self.orders.len() {
            sum.orders.resize(self.orders.len(), [0; 3]);
        }
        for (sum, own) in sum.orders.iter_mut().zip(&self.orders) {
            for (sum, own) in sum.iter_mut().zip(own) {
                *sum += own * times;
            }
        }
    }
}

impl Chrf {
    /// chrF++: words and pairs of words too.
    pub fn plus_plus() -> Self {
        Self { word_order: 2, ..Self::default() }
    }

    /// What one translation contributes: its counts with the reference of the highest score, the first of such. Without
    /// references, nothing.
    pub fn counts<S: AsRef<str>>(&self, translation: &str, references: &[S]) -> ChrfCounts {
        let translation = Parts::of(translation, self);
        let mut best: Option<(f64, ChrfCounts)> = None;
        for reference in references {
            let reference = Parts::of(reference.as_ref(), self);
            let orders = (1..=self.character_order)
                .map(|order| matches(&translation.characters, &reference.characters, order))
                .chain((1..=self.word_order).map(|order| matches(&translation.words, &reference.words, order)));
            let counts = ChrfCounts { orders: orders.collect() };
            let score = self.score(&counts);
            if best.as_ref().is_none_or(|best| score > best.0) {
                best = Some((score, counts));
            }
        }
        best.map(|best| best.1).unwrap_or_default()
    }

    /// The score of a sum of counts, from 0 to 100. 0 where nothing is in both, and without translations.
    pub fn score(&self, counts: &ChrfCounts) -> f64 {
        const ALMOST_ZERO: f64 = 1e-16;
        let factor = f64::from(self.beta).powi(2);
        let (mut precision, mut recall, mut of_orders, mut orders) = (0.0, 0.0, 0.0, 0.0);
        for &[of_translation, of_reference, of_both] in &counts.orders {
            let share = |whole: u64| if whole > 0 { of_both as f64 / whole as f64 } else { ALMOST_ZERO };
            let (own_precision, own_recall) = (share(of_translation), share(of_reference));
            let denominator = factor * own_precision + own_recall;
            of_orders +=
                if denominator > 0.0 { (1.0 + factor) * own_precision * own_recall / denominator } else { ALMOST_ZERO };
            if of_translation > 0 && of_reference > 0 {
                precision += own_precision;
                recall += own_recall;
                orders += 1.0;
            }
        }
        if self.epsilon_smoothing {
            let all = (self.character_order + self.word_order) as f64;
            return if counts.orders.is_empty() { 0.0 } else { 100.0 * of_orders / all };
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / orders, recall / orders);
        // In the order of sacreBLEU, so that rounding does not choose another of two references that are as good.
        let score = (1.0 + factor) * precision * recall;
        100.0 * (score / (factor * precision + recall))
    }

    /// The score of translations with their references, from 0 to 100.
    pub fn corpus<T: AsRef<str>, R: AsRef<str>>(&self, translations: &[(T, Vec<R>)]) -> f64 {
        let counts: Vec<ChrfCounts> = translations
            .iter()
            .map(|(translation, references)| self.counts(translation.as_ref(), references))
            .collect();
        self.score(&sum(&counts))
    }

    /// Its name with sacreBLEU: `chrF2`, `chrF2++`.
    pub fn name(&self) -> String {
        format!("chrF{}{}", self.beta, "+".repeat(self.word_order))
    }

    /// How scores are made, as sacreBLEU prints it: `nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0`.
    /// `references` are the numbers of references of every translation.
    pub fn signature(&self, references: impl IntoIterator<Item = usize>) -> String {
        format!(
            "nrefs:{}|case:{}|eff:{}|nc:{}|nw:{}|space:{}|version:{SACREBLEU_VERSION}",
            reference_count(references),
            if self.lowercase { "lc" } else { "mixed" },
            if self.epsilon_smoothing { "no" } else { "yes" },
            self.character_order,
            self.word_order,
            if self.whitespace { "yes" } else { "no" },
        )
    }
}

/// A sentence's characters and words.
struct Parts {
    characters: Vec<char>,
    words: Vec<String>,
}

impl Parts {
    fn of(sentence: &str, chrf: &Chrf) -> Self {
        let lowered = chrf.lowercase.then(|| sentence.to_lowercase());
        let sentence = lowered.as_deref().unwrap_or(sentence);
        let characters = sentence.chars().filter(|&character| chrf.whitespace || !is_space(character)).collect();
        let mut parts = Self { characters, words: Vec::new() };
        if chrf.word_order > 0 {
            for word in words(sentence) {
                let (first, last) = split_mark(word);
                parts.words.extend([first, last].into_iter().filter(|part| !part.is_empty()).map(str::to_owned));
            }
        }
        parts
    }
}

/// A word and the one mark of ASCII punctuation that ends it, or else begins it. A bracketed word keeps its first
/// bracket, as in Popović's program.
fn split_mark(word: &str) -> (&str, &str) {
    if word.len() > 1 && word.ends_with(|last: char| last.is_ascii_punctuation()) {
        word.split_at(word.len() - 1)
    } else if word.len() > 1 && word.starts_with(|first: char| first.is_ascii_punctuation()) {
        word.split_at(1)
    } else {
        (word, "")
    }
}

/// How many n-grams the translation has, the reference has, and both have. Where the reference has none, the
/// translation's do not count.
fn matches<T: Eq + Hash>(translation: &[T], reference: &[T], order: usize) -> [u64; 3] {
    let mut left: HashMap<&[T], u64> = HashMap::new();
    for ngram in reference.windows(order) {
        *left.entry(ngram).or_default() += 1;
    }
    let mut both = 0;
    for ngram in translation.windows(order) {
        if let Some(count) = left.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            both += 1;
        }
    }
    let count = |length: usize| (length + 1).saturating_sub(order) as u64;
    let of_reference = count(reference.len());
    [if of_reference > 0 { count(translation.len()) } else { 0 }, of_reference, both]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_scores_nothing() {
        let none: [(&str, Vec<&str>); 0] = [];
        for chrf in [Chrf::default(), Chrf::plus_plus(), Chrf { epsilon_smoothing: true, ..Chrf::plus_plus() }] {
            assert_eq!(chrf.corpus(&none), 0.0);
            for (translation, references) in
                [("", vec![]), ("", vec![""]), ("", vec!["a"]), ("a", vec![""]), ("a", vec![]), ("🙂", vec!["🙃", ""])]
            {
                assert!(chrf.corpus(&[(translation, references)]) < 1e-12, "{translation:?}");
            }
        }
    }

    #[test]
    fn a_translation_equal_to_its_reference_is_perfect() {
        let score = Chrf::plus_plus().corpus(&[("שָׁלוֹם, (wörld) 🙂!", vec!["", "שָׁלוֹם, (wörld) 🙂!"])]);
        assert!((score - 100.0).abs() < 1e-9, "{score}");
        assert_eq!(Chrf::plus_plus().name(), "chrF2++");
    }

    #[test]
    fn one_mark_is_parted_from_a_word() {
        for (word, parts) in
            [("(hi)", ("(hi", ")")), ("(hi", ("(", "hi")), (".", (".", "")), ("é.", ("é", ".")), ("。", ("。", ""))]
        {
            assert_eq!(split_mark(word), parts);
        }
    }
}
