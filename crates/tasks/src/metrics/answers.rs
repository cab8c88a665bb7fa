//! Answers out of a text, as the scripts of SQuAD and CMRC 2018 judge them.
//!
//! A question has one gold answer or several, and the best agreement with any of them counts. SQuAD 2.0's questions may
//! have no answer; no gold answers, or empty ones, say so, and an empty prediction is right then.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::interval::Statistic;
use super::spaces::{is_space, words};
use super::treebank::treebank_words;

/// How well one question was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswerScore {
    /// 1 if the prediction is a gold answer, else 0.
    pub exact: f64,
    /// The overlap with the gold answer that it has most in common with, from 0 to 1.
    pub f1: f64,
    /// Whether there is an answer.
    pub answerable: bool,
}

/// What [`AnswerScore`]s add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswerCounts {
    /// Sums over the questions that have an answer.
    answerable: Sums,
    /// Sums over the others.
    unanswerable: Sums,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    questions: u64,
    exact: f64,
    f1: f64,
}

impl Statistic for AnswerScore {
    type Sum = AnswerCounts;

    fn add_to(&self, sum: &mut AnswerCounts, times: u64) {
        let sums = if self.answerable { &mut sum.answerable } else { &mut sum.unanswerable };
        sums.questions += times;
        sums.exact += self.exact * times as f64;
        sums.f1 += self.f1 * times as f64;
    }
}

impl AnswerCounts {
    /// The share of questions whose answer is exactly right; none without questions.
    pub fn exact(&self) -> Option<f64> {
        share(self.answerable.exact + self.unanswerable.exact, self.questions())
    }

    /// The mean F1 of all questions; none without questions.
    pub fn f1(&self) -> Option<f64> {
        share(self.answerable.f1 + self.unanswerable.f1, self.questions())
    }

    /// Exact match and F1 of the questions that have an answer; none without such.
    pub fn of_answerable(&self) -> Option<(f64, f64)> {
        self.answerable.means()
    }

    /// Exact match and F1 of the questions without an answer: the share that was left unanswered; none without such.
    pub fn of_unanswerable(&self) -> Option<(f64, f64)> {
        self.unanswerable.means()
    }

    /// How many questions.
    pub fn questions(&self) -> u64 {
        self.answerable.questions + self.unanswerable.questions
    }
}

impl Sums {
    fn means(self) -> Option<(f64, f64)> {
        Some((share(self.exact, self.questions)?, share(self.f1, self.questions)?))
    }
}

fn share(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

/// An answer as SQuAD compares it: lower case, without ASCII punctuation, without `a`, `an` and `the`, its words one
/// space apart.
pub fn normalized_answer(answer: &str) -> String {
    // Python's `\b`: between what is a letter, a number or an underscore, and what is not. Marks are not, other than in
    // Rust's.
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a regular expression"));
    let mut text = answer.to_lowercase();
    text.retain(|character| !character.is_ascii_punctuation());
    let text = WORD.replace_all(&text, |word: &Captures| match &word[0] {
        "a" | "an" | "the" => " ".to_owned(),
        other => other.to_owned(),
    });
    words(&text).collect::<Vec<_>>().join(" ")
}

/// SQuAD 1.1 (Rajpurkar et al., 2016). An answer that normalizes to nothing shares no word with any, itself included.
/// Without gold answers, the question is judged as by [`squad_v2`].
pub fn squad_v1<S: AsRef<str>>(prediction: &str, gold: &[S]) -> AnswerScore {
    if gold.is_empty() {
        return squad_v2(prediction, gold);
    }
    let prediction = normalized_answer(prediction);
    let gold: Vec<String> = gold.iter().map(|answer| normalized_answer(answer.as_ref())).collect();
    AnswerScore {
        exact: f64::from(gold.contains(&prediction)),
        f1: gold.iter().map(|gold| word_f1(&prediction, gold)).fold(0.0, f64::max),
        answerable: true,
    }
}

/// SQuAD 2.0 (Rajpurkar et al., 2018). Gold answers that normalize to nothing are left out; where none is left, the
/// question has no answer, and a prediction that normalizes to nothing is right, for exact match and F1 alike.
pub fn squad_v2<S: AsRef<str>>(prediction: &str, gold: &[S]) -> AnswerScore {
    let prediction = normalized_answer(prediction);
    let gold: Vec<String> =
        gold.iter().map(|answer| normalized_answer(answer.as_ref())).filter(|answer| !answer.is_empty()).collect();
    if gold.is_empty() {
        let right = f64::from(prediction.is_empty());
        return AnswerScore { exact: right, f1: right, answerable: false };
    }
    AnswerScore {
        exact: f64::from(gold.contains(&prediction)),
        f1: gold.iter().map(|gold| word_f1(&prediction, gold)).fold(0.0, f64::max),
        answerable: true,
    }
}

/// The F1 of two bags of words; 0 where they share none.
fn word_f1(prediction: &str, gold: &str) -> f64 {
    let mut left: HashMap<&str, usize> = HashMap::new();
    let mut gold_words = 0;
    for word in words(gold) {
        *left.entry(word).or_default() += 1;
        gold_words += 1;
    }
    let (mut shared, mut predicted_words) = (0, 0);
    for word in words(prediction) {
        predicted_words += 1;
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    f1(shared, predicted_words, gold_words)
}

fn f1(shared: usize, predicted: usize, gold: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) = (shared as f64 / predicted as f64, shared as f64 / gold as f64);
    2.0 * precision * recall / (precision + recall)
}

/// CMRC 2018 (Cui et al., 2019, "A Span-Extraction Dataset for Chinese Machine Reading Comprehension"). Exact match
/// compares lower-case text without the punctuation of the script's list. F1 rests on the longest run of segments that
/// both have; a segment is a Chinese character, or a word of what stands between them ([`cmrc_segments`]).
///
/// Without gold answers, only an empty prediction is right.
pub fn cmrc<S: AsRef<str>>(prediction: &str, gold: &[S]) -> AnswerScore {
    let bare = cmrc_bare(prediction);
    if gold.is_empty() {
        let right = f64::from(bare.is_empty());
        return AnswerScore { exact: right, f1: right, answerable: false };
    }
    let segments = cmrc_segments(prediction);
    let overlap = |gold: &S| {
        let gold = cmrc_segments(gold.as_ref());
        f1(longest_common_run(&segments, &gold), segments.len(), gold.len())
    };
    AnswerScore {
        exact: f64::from(gold.iter().any(|gold| cmrc_bare(gold.as_ref()) == bare)),
        f1: gold.iter().map(overlap).fold(0.0, f64::max),
        answerable: true,
    }
}

/// The punctuation that CMRC's script leaves out. Its list also has an ellipsis of two characters, which no single
/// character equals, so `…` stays.
fn is_cmrc_punctuation(character: char) -> bool {
    "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』".contains(character)
}

fn cmrc_bare(text: &str) -> String {
    let text = text.to_lowercase();
    text.trim_matches(is_space).chars().filter(|&character| !is_cmrc_punctuation(character)).collect()
}

/// The segments of a text by CMRC's script: every character from U+4E00 to U+9FA5, and the words of the text between
/// them, in lower case, without the punctuation of the script's list.
///
/// The script leaves cutting words to NLTK, which follows the Penn Treebank: `don't` is `do` and `n't`, `5%` is `5` and
/// `%`. So it is here, except that NLTK first looks for sentences with a trained model and parts a period from its word
/// at the end of each; here that is done at the end of the text between Chinese characters only.
pub fn cmrc_segments(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let (mut segments, mut between) = (Vec::new(), String::new());
    for character in text.trim_matches(is_space).chars() {
        match character {
            _ if is_cmrc_punctuation(character) => {}
            '\u{4E00}'..='\u{9FA5}' => {
                segments.append(&mut treebank_words(&std::mem::take(&mut between)));
                segments.push(character.to_string());
            }
            _ => between.push(character),
        }
    }
    segments.append(&mut treebank_words(&between));
    segments
}

/// The length of the longest run of segments that both have.
fn longest_common_run(one: &[String], other: &[String]) -> usize {
    let mut longest = 0;
    let mut ending_here = vec![0_usize; other.len() + 1];
    for segment in one {
        // From the right, so that the length before it is still the one of the segment before.
        for place in (0..other.len()).rev() {
            ending_here[place + 1] = if *segment == other[place] { ending_here[place] + 1 } else { 0 };
            longest = longest.max(ending_here[place + 1]);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::super::interval::sum;
    use super::*;

    #[test]
    fn answers_are_normalized_as_squad_does() {
        assert_eq!(normalized_answer("  The Eiffel-Tower, a\tTOWER. "), "eiffeltower tower");
        assert_eq!(normalized_answer("an A—the b"), "— b");
        assert_eq!(normalized_answer("🙂 العربية, a"), "🙂 العربية");
        assert_eq!(normalized_answer("The..."), "");
    }

    #[test]
    fn no_answer_is_an_answer() {
        let none: [&str; 0] = [];
        for gold in [&none[..], &[""], &["the"]] {
            assert_eq!(squad_v2("", gold), AnswerScore { exact: 1.0, f1: 1.0, answerable: false });
            assert_eq!(squad_v2("x", gold), AnswerScore { exact: 0.0, f1: 0.0, answerable: false });
        }
        assert_eq!(squad_v1("the", &["a"]), AnswerScore { exact: 1.0, f1: 0.0, answerable: true });
        assert_eq!(squad_v2("", &["x", ""]), AnswerScore { exact: 0.0, f1: 0.0, answerable: true });
        assert_eq!(cmrc("", &none).exact, 1.0);
        assert_eq!(cmrc("。", &["，"]), AnswerScore { exact: 1.0, f1: 0.0, answerable: true });
    }

    #[test]
    fn questions_with_and_without_answer_are_told_apart() {
        let none: [&str; 0] = [];
        let counts = sum(&[squad_v2("red fox", &["red dog", "fox"]), squad_v2("x", &none), squad_v2("", &none)]);
        let f1 = 2.0 / 3.0;
        assert_eq!(counts.of_answerable(), Some((0.0, f1)));
        assert_eq!(counts.of_unanswerable(), Some((0.5, 0.5)));
        assert_eq!((counts.exact(), counts.questions()), (Some(1.0 / 3.0), 3));
        assert_eq!(sum::<AnswerScore>(&[]).f1(), None);
    }

    #[test]
    fn chinese_is_cut_by_character() {
        assert_eq!(cmrc_segments("《GPT-3》由OpenAI 训练。"), ["gpt3", "由", "openai", "训", "练"]);
        let score = cmrc("北京大学", &["北京的大学"]);
        assert_eq!((score.exact, score.f1), (0.0, 2.0 * 0.5 * 0.4 / 0.9));
    }
}
