//! Decontamination: text that a model will be measured with must not be in what it learns from.
//!
//! As for GPT-3 (Brown et al. 2020, appendix C), a document is contaminated where 13 words in a row stand in an evaluation
//! set. Words are runs of letters and digits in lower case, so capitals, punctuation and white space make no difference; in
//! scripts without spaces (Chinese, Japanese, Thai, …) and in Hangul every letter is a word, so a run is 13 characters there.
//! A question of fewer words matches as a whole; one of very few, which would be found everywhere, only where a document is
//! nothing else.
//!
//! Runs are known by 64 bits. A trillion words beside a million runs make 0.05 false matches.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::arithmetic::scramble;
use super::words::{Cut, each_word};
use crate::error::CorpusError;

/// Evaluation sets that one index can tell apart.
pub const MOST_SETS: usize = 64;
/// Most words of a run.
const LONGEST_RUN: usize = 1 << 10;
/// The seed of words' hashes and the base of runs', odd as it must be; any other would do.
const SEED: u64 = 0x6C6F_616D_2D64_6563;
const BASE: u64 = 0xD134_2543_DE82_EF95 | 3;

/// How evaluation text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContaminationOptions {
    /// Words in a row that give a document away.
    pub words: usize,
    /// Words of the shortest question that is looked for within documents; shorter ones must be the whole document.
    pub shortest: usize,
}

impl Default for ContaminationOptions {
    /// 13 words as for GPT-3, and 8 for shorter questions, which was the least there.
    fn default() -> Self {
        Self { words: 13, shortest: 8 }
    }
}

/// Hashes that are scrambled already are not hashed again.
#[derive(Clone, Copy, Debug, Default)]
struct Scrambled(u64);

impl Hasher for Scrambled {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = scramble(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// What stands in the evaluation sets.
///
/// ```
/// use loam_corpus::deduplicate::{ContaminationIndex, ContaminationOptions};
///
/// let mut index = ContaminationIndex::new(ContaminationOptions { words: 5, shortest: 3 })?;
/// let trivia = index.set("trivia")?;
/// index.add(trivia, "Which river flows through the city of Vienna?");
/// let found = index.check("They asked: which river flows through the CITY of Prague?");
/// assert_eq!(found.sets().collect::<Vec<_>>(), [trivia]);
/// assert_eq!(found.matches[0].text, "which river flows through the CITY of");
/// # Ok::<(), loam_corpus::CorpusError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContaminationIndex {
    options: ContaminationOptions,
    names: Vec<String>,
    runs: HashMap<u64, u64, BuildHasherDefault<Scrambled>>,
    /// Lengths of runs that are looked for within documents, with the base to that power, ascending.
    lengths: Vec<(usize, u64)>,
}

impl ContaminationIndex {
    /// An index without text.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] where a length is nought or too large.
    pub fn new(options: ContaminationOptions) -> Result<Self, CorpusError> {
        if !(1..=LONGEST_RUN).contains(&options.words) || options.shortest == 0 {
            return Err(CorpusError::invalid(
                format!("runs of {} words, questions of {} and more", options.words, options.shortest),
                format!("runs have 1 to {LONGEST_RUN} words, and the shortest question has one; 13 and 8 are usual"),
            ));
        }
        Ok(Self { options, names: Vec::new(), runs: HashMap::default(), lengths: Vec::new() })
    }

    /// The number of the set of this name, which is made where it is new.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for more than [`MOST_SETS`].
    pub fn set(&mut self, name: &str) -> Result<usize, CorpusError> {
        if let Some(number) = self.names.iter().position(|known| known == name) {
            return Ok(number);
        }
        if self.names.len() == MOST_SETS {
            return Err(CorpusError::invalid(
                format!("evaluation set \"{name}\": more than {MOST_SETS} sets"),
                "put several under one name, or look for them one after the other",
            ));
        }
        self.names.push(name.to_owned());
        Ok(self.names.len() - 1)
    }

    /// The names of the sets, by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Runs known.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Adds a text of a set: a question, an answer, a passage.
    ///
    /// # Panics
    /// Where `set` did not come from [`ContaminationIndex::set`].
    pub fn add(&mut self, set: usize, text: &str) {
        assert!(set < self.names.len(), "no set of number {set}");
        let set = 1_u64 << set;
        let mut words = Vec::new();
        each_word(text, Cut::Mixed, SEED, |word, _| words.push(word));
        if words.is_empty() {
            return;
        }
        *self.runs.entry(whole(&words)).or_default() |= set;
        let length = words.len().min(self.options.words);
        if length < self.options.words && length < self.options.shortest {
            return;
        }
        if let Err(place) = self.lengths.binary_search_by_key(&length, |(length, _)| *length) {
            self.lengths.insert(place, (length, BASE.wrapping_pow(length as u32)));
        }
        for run in words.windows(length) {
            *self.runs.entry(run_key(polynomial(run), length)).or_default() |= set;
        }
    }

    /// Looks for evaluation text in a document.
    pub fn check<'t>(&self, text: &'t str) -> Contamination<'t> {
        let longest = self.lengths.last().map_or(1, |(length, _)| *length);
        let mut window = vec![(0_u64, 0_usize); longest];
        let mut sums = vec![0_u64; self.lengths.len()];
        let mut found: Vec<(u64, Range<usize>)> = Vec::new();
        let (mut runs, mut place, mut count, mut all) = (0, 0, 0_usize, 0_u64);
        let mut extent: Option<Range<usize>> = None;
        each_word(text, Cut::Mixed, SEED, |word, bytes| {
            for (&(length, past), sum) in self.lengths.iter().zip(&mut sums) {
                let leaves = (place + longest - length) % longest;
                let left = if count >= length { window[leaves].0 } else { 0 };
                *sum = sum.wrapping_mul(BASE).wrapping_add(word).wrapping_sub(left.wrapping_mul(past));
                if count + 1 < length {
                    continue;
                }
                let Some(&sets) = self.runs.get(&run_key(*sum, length)) else { continue };
                runs += 1;
                let begin = if length == 1 { bytes.start } else { window[(leaves + 1) % longest].1 };
                match found.last_mut() {
                    Some((known, place)) if *known == sets && begin <= place.end => {
                        place.start = place.start.min(begin);
                        place.end = bytes.end;
                    }
                    _ => found.push((sets, begin..bytes.end)),
                }
            }
            window[place] = (word, bytes.start);
            place = if place + 1 == longest { 0 } else { place + 1 };
            count += 1;
            all = all.wrapping_mul(BASE).wrapping_add(word);
            let begin = extent.as_ref().map_or(bytes.start, |extent| extent.start);
            extent = Some(begin..bytes.end);
        });
        let exact = if count == 0 { 0 } else { self.runs.get(&whole_key(all, count)).copied().unwrap_or(0) };
        // A text too short to be looked for within others.
        if let Some(extent) = extent.filter(|_| exact != 0 && runs == 0) {
            runs = 1;
            found.push((exact, extent));
        }
        let matches =
            found.into_iter().map(|(sets, bytes)| Match { sets, text: &text[bytes.clone()], bytes }).collect();
        Contamination { matches, runs, exact }
    }
}

fn polynomial(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_mul(BASE).wrapping_add(*word))
}

fn run_key(sum: u64, length: usize) -> u64 {
    scramble(sum ^ (length as u64).wrapping_mul(SEED | 1))
}

/// The key of all words of a text, told from that of a run of as many.
fn whole(words: &[u64]) -> u64 {
    whole_key(polynomial(words), words.len())
}

fn whole_key(sum: u64, words: usize) -> u64 {
    run_key(!sum, words)
}

/// The numbers of the sets in a mask.
fn numbers(mask: u64) -> impl Iterator<Item = usize> {
    (0..MOST_SETS).filter(move |number| mask >> number & 1 == 1)
}

/// What a document has in common with evaluation sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contamination<'t> {
    /// Places where it stands, in the order of their ends; runs of the same sets that overlap are one.
    pub matches: Vec<Match<'t>>,
    /// Runs found.
    pub runs: u64,
    exact: u64,
}

impl Contamination<'_> {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.matches.is_empty()
    }

    /// The sets of which something was found, ascending.
    pub fn sets(&self) -> impl Iterator<Item = usize> {
        numbers(self.matches.iter().fold(0, |mask, found| mask | found.sets))
    }

    /// The sets that have a text with the same words as the whole document.
    pub fn exact(&self) -> impl Iterator<Item = usize> {
        numbers(self.exact)
    }
}

/// A place where evaluation text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'t> {
    sets: u64,
    /// The text of the document there.
    pub text: &'t str,
    /// Where in the document, in bytes.
    pub bytes: Range<usize>,
}

impl Match<'_> {
    /// The sets that have it, ascending.
    pub fn sets(&self) -> impl Iterator<Item = usize> {
        numbers(self.sets)
    }
}

/// What was found in a corpus, set by set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContaminationCounts {
    /// Documents looked at.
    pub documents: u64,
    /// Documents with text of any set.
    pub contaminated: u64,
    /// By number of set.
    pub sets: Vec<SetCounts>,
}

/// What was found of one set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetCounts {
    /// Documents with text of it.
    pub documents: u64,
    /// Documents that are a text of it as a whole.
    pub exact: u64,
    /// Places in documents.
    pub matches: u64,
    /// Bytes of documents in these places.
    pub bytes: u64,
}

impl ContaminationCounts {
    /// Counts a document.
    pub fn add(&mut self, found: &Contamination<'_>) {
        self.documents += 1;
        self.contaminated += u64::from(!found.is_clean());
        for set in found.sets() {
            self.of(set).documents += 1;
        }
        for set in found.exact() {
            self.of(set).exact += 1;
        }
        for place in &found.matches {
            for set in place.sets() {
                let counts = self.of(set);
                counts.matches += 1;
                counts.bytes += place.text.len() as u64;
            }
        }
    }

    /// Adds what another counted, as when threads count apart.
    pub fn merge(&mut self, other: &Self) {
        self.documents += other.documents;
        self.contaminated += other.contaminated;
        for (set, other) in other.sets.iter().enumerate() {
            let counts = self.of(set);
            counts.documents += other.documents;
            counts.exact += other.exact;
            counts.matches += other.matches;
            counts.bytes += other.bytes;
        }
    }

    fn of(&mut self, set: usize) -> &mut SetCounts {
        if self.sets.len() <= set {
            self.sets.resize(set + 1, SetCounts::default());
        }
        &mut self.sets[set]
    }
}

#[cfg(test)]
mod tests;
