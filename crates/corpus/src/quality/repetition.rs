//! Gopher's measures of repetition: lines and paragraphs that stood before, and words in a row that did.
//!
//! Runs of n words are found from those of n - 1: a run can only be repeated where the shorter one that it begins with is.
//! So pairs are counted at every word, and the longer the runs, the fewer places there are to look at.

use super::characters::stripped;
use super::hashing::{Counts, joined};
use super::lines::{Repeats, blocks, repeats};
use super::rules::Measure;
use super::words::{Word, total_length};

/// Buffers, used for one document after another.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) counts: Counts,
    /// The first word of each run that may be repeated, the hash of the run, its place in the table.
    runs: Vec<Run>,
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
    runs(words, buffers, |n, repeated| values.push((RUNS[n - 2], share(repeated, characters))));
}

/// Code points of the most frequent run of two, three and four words, with the spaces between them, times its number; and
/// of the runs of five to ten words that stood before, which do not overlap.
fn runs(words: &[Word], buffers: &mut Buffers, mut measured: impl FnMut(usize, usize)) {
    let Buffers { counts, runs } = buffers;
    runs.clear();
    runs.extend(words.iter().zip(0..).map(|(word, first)| Run { hash: word.hash, first, place: 0 }));
    let length = |first: u32, n: usize| total_length(&words[first as usize..first as usize + n]);
    for n in 2..=LONGEST {
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
        if n <= LONGEST_TOP {
            let top = match most {
                _ if words.len() < n => 0,
                // Of runs that are equally frequent the first counts.
                0 | 1 => length(0, n) + n - 1,
                _ => {
                    let top = runs.iter().find(|run| counts.at(run.place) == most);
                    top.map_or(0, |run| (length(run.first, n) + n - 1) * most as usize)
                }
            };
            measured(n, top);
        }
        runs.retain(|run| counts.at(run.place) > 1);
        if n > LONGEST_TOP {
            let mut repeated = 0;
            let mut next = 0;
            for run in runs.iter().filter(|_| most > 1) {
                if run.first as usize >= next && counts.mark(run.place) {
                    repeated += length(run.first, n);
                    next = run.first as usize + n;
                }
            }
            measured(n, repeated);
        }
    }
}
