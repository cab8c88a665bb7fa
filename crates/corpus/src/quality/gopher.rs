//! Gopher's measures of quality: how many words, how long, how many symbols, and whether they make sentences.

use memchr::memchr_iter;
use memchr::memmem::Finder;

use super::characters::is_space;
use super::lines::any_lines;
use super::rules::Measure;
use super::words::{Word, listed};

/// Of these words, running English text has at least two.
pub(super) const ENGLISH_STOP_WORDS: &[&str] = &["the", "be", "to", "of", "and", "that", "have", "with"];
/// The same for Chinese, where nothing is published: the most frequent words of the modern language.
pub(super) const CHINESE_STOP_WORDS: &[&str] = &["的", "了", "是", "在", "和", "不", "有", "我", "他", "这"];

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn occurrences(text: &str, what: &str) -> usize {
    Finder::new(what).find_iter(text.as_bytes()).count()
}

/// Measures a text, given its words and the hashes of the stop words.
pub(super) fn measure(text: &str, words: &[Word], stop_words: &[u64], values: &mut Vec<(Measure, f64)>) {
    let (mut spoken, mut length, mut lettered) = (0, 0, 0);
    for word in words {
        if !word.is_symbols() {
            spoken += 1;
            length += word.length as usize;
        }
        lettered += usize::from(word.has_letter());
    }
    let (mut lines, mut bullets, mut ellipses) = (0, 0, 0);
    for line in any_lines(text) {
        lines += 1;
        bullets += usize::from(line.trim_start_matches(is_space).starts_with(['•', '-']));
        let end = line.trim_end_matches(is_space);
        ellipses += usize::from(end.ends_with("...") || end.ends_with('…'));
    }
    let hashes = memchr_iter(b'#', text.as_bytes()).count();
    let dots = occurrences(text, "...") + if text.is_ascii() { 0 } else { occurrences(text, "…") };
    values.extend([
        (Measure::Words, spoken as f64),
        (Measure::MeanWordLength, ratio(length, spoken)),
        (Measure::Hashes, ratio(hashes, words.len())),
        (Measure::Ellipses, ratio(dots, words.len())),
        (Measure::BulletLines, ratio(bullets, lines)),
        (Measure::EllipsisLines, ratio(ellipses, lines)),
        (Measure::AlphabeticWords, ratio(lettered, words.len())),
        (Measure::StopWords, listed(words, stop_words) as f64),
    ]);
}
