//! Searching by words: BM25 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework", equation 3.15), with Lucene's inverse
//! document frequency, which is never negative. What vectors have to beat.

use loam_corpus::WordSplit;
use std::collections::HashMap;

/// How fast a word that comes again counts less.
const K1: f64 = 1.2;
/// How much long documents count less.
const B: f64 = 0.75;

/// Documents by their words. Words are lower-case; of Chinese, pairs of characters side by side are words, as no spaces are.
#[derive(Clone, Debug, Default)]
pub struct Bm25 {
    /// Of every word the documents that have it, and how often.
    postings: HashMap<String, Vec<(u32, u32)>>,
    /// Words of every document.
    lengths: Vec<u32>,
}

impl Bm25 {
    /// Of these documents.
    pub fn new<S: AsRef<str>>(documents: &[S]) -> Self {
        let mut index = Self::default();
        for (number, document) in documents.iter().enumerate() {
            let words = words(document.as_ref());
            index.lengths.push(words.len() as u32);
            let mut counts: HashMap<String, u32> = HashMap::new();
            for word in words {
                *counts.entry(word).or_default() += 1;
            }
            for (word, count) in counts {
                index.postings.entry(word).or_default().push((number as u32, count));
            }
        }
        index
    }

    /// The documents that have a word of the query, with their scores, the best first, at most so many; of equal ones the one that
    /// stands first.
    pub fn nearest(&self, query: &str, most: usize) -> Vec<(usize, f64)> {
        let count = self.lengths.len() as f64;
        let mean = self.lengths.iter().map(|length| f64::from(*length)).sum::<f64>() / count.max(1.0);
        let mut scores = vec![0.0; self.lengths.len()];
        for word in words(query) {
            let Some(documents) = self.postings.get(&word) else { continue };
            let having = documents.len() as f64;
            let idf = (1.0 + (count - having + 0.5) / (having + 0.5)).ln();
            for &(document, times) in documents {
                let (times, length) = (f64::from(times), f64::from(self.lengths[document as usize]));
                scores[document as usize] += idf * times / (times + K1 * (1.0 - B + B * length / mean));
            }
        }
        let mut found: Vec<(usize, f64)> = scores.into_iter().enumerate().filter(|(_, score)| *score > 0.0).collect();
        found.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        found.truncate(most);
        found
    }
}

/// The words of a text.
fn words(text: &str) -> Vec<String> {
    let split = WordSplit { lowercase: true, spaces: false };
    let prepared = split.prepare(text);
    let found: Vec<&str> = split.words(&prepared).collect();
    let unspaced = |word: &&str| {
        word.chars()
            .all(|character| matches!(character as u32, 0x3040..=0x30ff | 0x3400..=0x9fff | 0x2_0000..=0x3_ffff))
    };
    let mut words = Vec::new();
    for run in found.chunk_by(|one, other| unspaced(one) == unspaced(other)) {
        if unspaced(&run[0]) && run.len() > 1 {
            words.extend(run.windows(2).map(<[&str]>::concat));
        } else {
            words.extend(run.iter().map(|word| (*word).to_owned()));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        let index = Bm25::new(&["Ada lives in Rome.", "Alan lives; Alan works in Paris", "rain"]);
        let found = index.nearest("Alan in?", 9);
        let mean = (4.0 + 6.0 + 1.0) / 3.0;
        let part = |times: f64, length: f64, having: f64| {
            (1.0 + (3.0 - having + 0.5) / (having + 0.5_f64)).ln() * times
                / (times + 1.2 * (0.25 + 0.75 * length / mean))
        };
        assert_eq!(found.iter().map(|hit| hit.0).collect::<Vec<_>>(), [1, 0]);
        assert!((found[0].1 - part(2.0, 6.0, 1.0) - part(1.0, 6.0, 2.0)).abs() < 1e-12, "{found:?}");
        assert!((found[1].1 - part(1.0, 4.0, 2.0)).abs() < 1e-12);
        assert_eq!(index.nearest("Alan in?", 1).len(), 1);
        assert!(index.nearest("", 3).is_empty() && Bm25::default().nearest("a", 3).is_empty());
    }

    #[test]
    fn chinese_words_are_pairs_of_characters() {
        assert_eq!(words("我住在北京, Beijing 好"), ["我住", "住在", "在北", "北京", "beijing", "好"]);
        let index = Bm25::new(&["他住在北京。", "京北大道", "שלום 🎬"]);
        assert_eq!(index.nearest("北京", 3)[0].0, 0);
        assert_eq!(index.nearest("שלום", 3)[0].0, 2);
    }
}
