//! FineWeb's measures: whether lines are sentences, or the items of lists.

use memchr::memchr_iter;

use super::characters::{is_blank, is_terminal, length};
use super::hashing::Counts;
use super::lines::{feed_lines, repeats};
use super::rules::Measure;

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Measures a text of so many words. Lines up to `short` code points have few of them.
pub(super) fn measure(text: &str, words: usize, short: usize, counts: &mut Counts, values: &mut Vec<(Measure, f64)>) {
    let (mut punctuated, mut few) = (0, 0);
    let lines = feed_lines(text).filter(|line| !is_blank(line)).inspect(|line| {
        punctuated += usize::from(line.ends_with(is_terminal));
        // A code point has at most four bytes.
        few += usize::from(line.len() <= 4 * short && (line.len() <= short || length(line) <= short));
    });
    let repeated = repeats(lines, &mut Vec::new(), counts);
    let feeds = memchr_iter(b'\n', text.as_bytes()).count();
    values.extend([
        (Measure::Lines, repeated.parts as f64),
        (Measure::PunctuatedLines, ratio(punctuated, repeated.parts)),
        (Measure::FewCharacterLines, ratio(few, repeated.parts)),
        (Measure::RepeatedLineCharacters, ratio(repeated.characters, length(text) - feeds)),
        (Measure::NewLines, ratio(feeds, words)),
    ]);
}
