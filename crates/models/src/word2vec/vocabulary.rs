//! The words that get a vector.

use crate::error::ModelError;
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Words, the most frequent first, with how often each stands in the text.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    words: Vec<String>,
    counts: Vec<u64>,
    rows: HashMap<String, u32>,
}

impl Vocabulary {
    /// The words that occur at least `min_count` times, of these at most `most`, the most frequent; words of equal counts
    /// in the order of their characters.
    ///
    /// # Errors
    /// When fewer than two words are left, since there is nothing to tell apart.
    pub fn new(
        counts: impl IntoIterator<Item = (String, u64)>,
        min_count: u64,
        most: Option<usize>,
    ) -> Result<Self, ModelError> {
        let mut all = 0;
        let mut kept: Vec<(String, u64)> = counts
            .into_iter()
            .inspect(|_| all += 1)
            .filter(|(word, count)| *count >= min_count.max(1) && !word.is_empty())
            .collect();
        kept.sort_unstable_by(|(word, count), (other, other_count)| other_count.cmp(count).then(word.cmp(other)));
        kept.truncate(most.unwrap_or(usize::MAX).min(u32::MAX as usize - 1));
        if kept.len() < 2 {
            return Err(ModelError::Request(format!(
                "{} of the text's {all} words occur at least {min_count} times; give more text, or a smaller minimum",
                kept.len()
            )));
        }
        let rows = kept.iter().enumerate().map(|(row, (word, _))| (word.clone(), row as u32)).collect();
        let (words, counts) = kept.into_iter().unzip();
        Ok(Self { words, counts, rows })
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none, which only the default has.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, the most frequent first.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How often each occurs.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The row of a word, if it has one.
    pub fn row(&self, word: &str) -> Option<u32> {
        self.rows.get(word).copied()
    }

    /// Writes the words with their counts, one a line, as word2vec.c's `-save-vocab` and for gensim's `fvocab`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        super::format::replace(path, |file| {
            let mut writer = BufWriter::new(file);
            for (word, count) in self.words.iter().zip(&self.counts) {
                writeln!(writer, "{word} {count}")?;
            }
            writer.flush()
        })
    }

    /// Words of the text that have a row.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The chance of each word to stay in the text, as word2vec.c has it: √(t/f) + t/f, at most 1, for a share f of the
    /// text and the threshold t = `sample`.
    pub fn kept(&self, sample: f64) -> Vec<f64> {
        let threshold = sample * self.total() as f64;
        let chance = |count: &u64| {
            let ratio = threshold / *count as f64;
            if sample == 0.0 { 1.0 } else { (ratio.sqrt() + ratio).min(1.0) }
        };
        self.counts.iter().map(chance).collect()
    }

    /// The chance of each word to be drawn as a negative sample: its count to the power 0.75, over the sum of these.
    pub fn drawn(&self) -> Vec<f64> {
        let powers: Vec<f64> = self.counts.iter().map(|count| (*count as f64).powf(0.75)).collect();
        let total: f64 = powers.iter().sum();
        powers.iter().map(|power| power / total).collect()
    }
}
