//! Gopher's measures of repetition: lines and paragraphs that stood before, and words in a row that did.
//!
//! Few places of a text begin something that is repeated, and only those are looked at. A run of three words is repeated
//! only where its first two are; longer runs, which datatrove compares by their characters without the spaces (`ab c` is
//! `a bc`), only where their first sixteen bytes are.

use super::characters::stripped;
use super::hashing::{Counts, hash, joined};
use super::lines::{Repeats, blocks, repeats};
use super::rules::Measure;
use super::words::{Word, total_length};

/// Buffers, used for one document after another.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) counts: Counts,
    /// Runs that may be repeated.
    runs: Vec<Run>,
    /// The text without white space, and where each word begins in it.
    dense: Vec<u8>,
    starts: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    hash: u64,
    first: u32,
    place: u32,
}

/// Most frequent runs are asked for up to so many words, repeated ones beyond.
const LONGEST_TOP: usize = 4;
const LONGEST: usize = 10;
/// Bytes that tell most runs apart.
const OPENING: usize = 16;

const RUNS: [Measure; 9] = [
    Measure::Top2Gram,
    Measure::Top3Gram,
    Measure::Top4Gram,
    Measure::Duplicate5Gram,
    Measure::Duplicate6Gram,
    Measure::Duplicate7Gram,
    Measure::Duplicate8Gram,
    Measure::Duplicate9Gram,
    Measure::Duplicate10Gram,
];

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Measures a text of so many code points, given its words.
pub(super) fn measure(
    text: &str,
    characters: usize,
    words: &[Word],
    buffers: &mut Buffers,
    values: &mut Vec<(Measure, f64)>,
) {
    let mut hashes = Vec::new();
    let paragraphs = repeats(blocks(stripped(text), 2), &mut hashes, &mut buffers.counts);
    let lines = repeats(blocks(text, 1), &mut hashes, &mut buffers.counts);
    let both = |of: Repeats| (share(of.repeated, of.parts), share(of.characters, characters));
    values.push((Measure::Characters, characters as f64));
    values.push((Measure::DuplicateParagraphs, both(paragraphs).0));
    values.push((Measure::DuplicateParagraphCharacters, both(paragraphs).1));
    values.push((Measure::DuplicateLines, both(lines).0));
    values.push((Measure::DuplicateLineCharacters, both(lines).1));
    let mut measured = |n: usize, repeated| values.push((RUNS[n - 2], share(repeated, characters)));
    frequent(words, buffers, &mut measured);
    repeated(text, words, buffers, &mut measured);
}

/// Code points of the most frequent run of two, three and four words, with the spaces between them, times its number.
fn frequent(words: &[Word], buffers: &mut Buffers, measured: &mut impl FnMut(usize, usize)) {
    let Buffers { counts, runs, .. } = buffers;
    runs.clear();
    runs.extend(words.iter().zip(0..).map(|(word, first)| Run { hash: word.hash, first, place: 0 }));
    for n in 2..=LONGEST_TOP {
        while runs.last().is_some_and(|run| run.first as usize + n > words.len()) {
            runs.pop();
        }
        counts.start(runs.len());
        let mut most = 0;
        for run in runs.iter_mut() {
            run.hash = joined(run.hash, words[run.first as usize + n - 1].hash);
            let count;
            (run.place, count) = counts.add(run.hash);
            most = most.max(count);
        }
        let length = |first: usize| total_length(&words[first..first + n]) + n - 1;
        let top = match most {
            _ if words.len() < n => 0,
            // Of runs that are equally frequent the first counts.
            0 | 1 => length(0),
            _ => {
                let top = runs.iter().find(|run| counts.at(run.place) == most);
                top.map_or(0, |run| length(run.first as usize) * most as usize)
            }
        };
        measured(n, top);
        runs.retain(|run| counts.at(run.place) > 1);
    }
}

/// Code points of the runs of five to ten words that stood before, none of which overlap.
fn repeated(text: &str, words: &[Word], buffers: &mut Buffers, measured: &mut impl FnMut(usize, usize)) {
    let Buffers { counts, runs, dense, starts } = buffers;
    dense.clear();
    starts.clear();
    for word in words {
        starts.push(dense.len() as u32);
        dense.extend_from_slice(&text.as_bytes()[word.start..word.start + word.bytes as usize]);
    }
    starts.push(dense.len() as u32);
    let shortest = LONGEST_TOP + 1;
    let begin = |word: u32| starts[word as usize] as usize;

    runs.clear();
    counts.start(words.len());
    for first in 0..(words.len() + 1).saturating_sub(shortest) as u32 {
        let start = begin(first);
        let hash = hash(&dense[start..dense.len().min(start + OPENING)]);
        runs.push(Run { hash, first, place: counts.add(hash).0 });
    }
    // Shorter runs are not told apart by their opening, which is longer.
    runs.retain(|run| counts.at(run.place) > 1 || begin(run.first + shortest as u32) - begin(run.first) < OPENING);

    for n in shortest..=LONGEST {
        while runs.last().is_some_and(|run| run.first as usize + n > words.len()) {
            runs.pop();
        }
        counts.start(runs.len());
        let (mut characters, mut next) = (0, 0);
        for run in runs.iter() {
            let first = run.first as usize;
            if first >= next && counts.add(hash(&dense[begin(run.first)..begin(run.first + n as u32)])).1 > 1 {
                characters += total_length(&words[first..first + n]);
                next = first + n;
            }
        }
        measured(n, characters);
    }
}
