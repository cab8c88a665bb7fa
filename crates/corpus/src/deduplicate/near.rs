//! Near duplicates: keys of documents, clusters of those that share one.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::cluster::{Clusters, Grouping, Keep};
use super::external_sort::Scratch;
use super::minhash::{MinHashOptions, MinHashWorker, MinHasher};
use crate::error::CorpusError;

/// How near duplicates are found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NearOptions {
    /// How texts are compared.
    pub minhash: MinHashOptions,
    /// Which document of a cluster stays.
    pub keep: Keep,
    /// The estimated similarity below which two documents that share a key are not united; `None` unites all that share one.
    /// It takes a byte an order (112 by default) for each document number.
    pub verify: Option<f64>,
    /// Where keys go that do not fit in memory.
    pub scratch: Scratch,
}

/// Finds near duplicates among documents that are added one after the other.
///
/// ```
/// use loam_corpus::deduplicate::{NearDuplicates, NearOptions};
///
/// let mut near = NearDuplicates::new(&NearOptions::default())?;
/// near.add_all(&[(0, "The same few words, once."), (1, "Other words that nobody said."), (2, "the same few words - once")])?;
/// let clusters = near.finish()?;
/// assert_eq!(clusters.verdict(2).cluster, Some(0));
/// assert!(clusters.verdict(1).kept && !clusters.verdict(2).kept);
/// # Ok::<(), loam_corpus::CorpusError>(())
/// ```
#[derive(Debug)]
pub struct NearDuplicates {
    hasher: NearHasher,
    grouping: Grouping<2>,
    verify: Option<f64>,
    /// The lowest byte of every order's least shingle, document by document.
    sketches: Vec<u8>,
}

impl NearDuplicates {
    /// Nothing added yet.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] as [`MinHasher::new`], or where a threshold is no similarity.
    pub fn new(options: &NearOptions) -> Result<Self, CorpusError> {
        if let Some(threshold) = options.verify.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
            return Err(CorpusError::invalid(
                format!("similarity of at least {threshold}"),
                "a similarity is a number from 0 to 1",
            ));
        }
        Ok(Self {
            hasher: NearHasher::new(options)?,
            grouping: Grouping::new(options.keep, &options.scratch),
            verify: options.verify,
            sketches: Vec::new(),
        })
    }

    /// Adds a document. Numbers below 2³² − 1, in any order; memory grows with the highest.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for a number out of range, [`CorpusError::Io`] where keys cannot be written.
    pub fn add(&mut self, document: u64, text: &str) -> Result<(), CorpusError> {
        self.add_all(&[(document, text)])
    }

    /// Adds documents, hashing them on all threads of rayon's pool. The outcome does not hang on how many these are.
    ///
    /// # Errors
    /// As [`NearDuplicates::add`].
    pub fn add_all<T: AsRef<str> + Sync>(&mut self, documents: &[(u64, T)]) -> Result<(), CorpusError> {
        let keys: Vec<Vec<u8>> = documents
            .par_iter()
            .map_init(|| self.hasher.minima.worker(), |worker, (_, text)| self.hasher.key_by(worker, text.as_ref()))
            .collect();
        for ((number, text), key) in documents.iter().zip(keys) {
            self.add_key(*number, text.as_ref().len(), &key)?;
        }
        Ok(())
    }

    /// Adds a document of so many bytes by the key that a [`NearHasher`] of the same options made of it.
    ///
    /// # Errors
    /// As [`NearDuplicates::add`], and [`CorpusError::Invalid`] where the key is of other options.
    pub fn add_key(&mut self, document: u64, bytes: usize, key: &[u8]) -> Result<(), CorpusError> {
        let options = self.hasher.minima.options();
        let (bands, sketch) = (8 * options.bands, if self.verify.is_some() { options.bands * options.rows } else { 0 });
        if key.len() != bands + sketch {
            return Err(CorpusError::invalid(
                format!("a key of {} bytes where {} are expected", key.len(), bands + sketch),
                "keys are made with the options that they are compared with",
            ));
        }
        self.grouping.document(document, bytes)?;
        let (bands, sketch) = key.split_at(bands);
        for band in bands.as_chunks::<8>().0 {
            self.grouping.push([u64::from_le_bytes(*band), document])?;
        }
        if !sketch.is_empty() {
            let begin = document as usize * sketch.len();
            if self.sketches.len() < begin + sketch.len() {
                self.sketches.resize(begin + sketch.len(), 0);
            }
            self.sketches[begin..begin + sketch.len()].copy_from_slice(sketch);
        }
        Ok(())
    }

    /// Gives a document the score that [`Keep::Best`] goes by.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for a number out of range.
    pub fn set_score(&mut self, document: u64, score: f64) -> Result<(), CorpusError> {
        self.grouping.set_score(document, score)
    }

    /// The clusters.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where keys cannot be written or read.
    pub fn finish(self) -> Result<Clusters, CorpusError> {
        let options = self.hasher.minima.options();
        let orders = options.bands * options.rows;
        let sketches = self.sketches;
        let sketch = |number: u64| &sketches[number as usize * orders..(number as usize + 1) * orders];
        let verify = self.verify;
        self.grouping.finish(|one, other| {
            verify.is_none_or(|threshold| {
                let same = sketch(one).iter().zip(sketch(other)).filter(|(one, other)| one == other).count();
                // One byte in 256 is the same by chance (Li and König 2010, b-bit minwise hashing).
                let similarity = (same as f64 / orders as f64 - 1.0 / 256.0) / (1.0 - 1.0 / 256.0);
                similarity >= threshold
            })
        })
    }
}

/// Makes of a text what [`NearDuplicates`] compares, so that it can be made where the text is and compared elsewhere.
#[derive(Debug)]
pub struct NearHasher {
    minima: MinHasher,
    sketch: bool,
}

impl NearHasher {
    /// For these options.
    ///
    /// # Errors
    /// As [`MinHasher::new`].
    pub fn new(options: &NearOptions) -> Result<Self, CorpusError> {
        Ok(Self { minima: MinHasher::new(&options.minhash)?, sketch: options.verify.is_some() })
    }

    /// The keys of its bands, eight bytes each, and, where similarities are verified, the lowest byte of every order's least
    /// shingle.
    pub fn key(&self, text: &str) -> Vec<u8> {
        self.key_by(&mut self.minima.worker(), text)
    }

    fn key_by(&self, worker: &mut MinHashWorker<'_>, text: &str) -> Vec<u8> {
        let mut key: Vec<u8> = worker.band_keys(text).iter().flat_map(|band| band.to_le_bytes()).collect();
        if self.sketch {
            key.extend(worker.minima().map(|least| least as u8));
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::super::arithmetic::Draws;
    use super::super::minhash::{Unit, jaccard};
    use super::*;

    /// Documents of which every third repeats an earlier one with a few words changed.
    fn documents(count: usize) -> Vec<(u64, String)> {
        let mut draws = Draws::new(11);
        let mut all: Vec<Vec<u64>> = Vec::new();
        for number in 0..count {
            let mut words: Vec<u64> = (0..80 + draws.draw() % 100).map(|_| draws.draw() % 50_000).collect();
            if number % 3 == 2 {
                words.clone_from(&all[(draws.draw() % number as u64) as usize]);
                for _ in 0..draws.draw() % 8 {
                    let place = (draws.draw() % words.len() as u64) as usize;
                    words[place] = draws.draw();
                }
            }
            all.push(words);
        }
        let text = |words: &Vec<u64>| words.iter().map(|word| format!("w{word} ")).collect::<Vec<_>>().concat();
        all.iter().enumerate().map(|(number, words)| (number as u64, text(words))).collect()
    }

    fn clusters(options: &NearOptions, documents: &[(u64, String)], batch: usize) -> Clusters {
        let mut near = NearDuplicates::new(options).unwrap();
        for batch in documents.chunks(batch) {
            near.add_all(batch).unwrap();
        }
        near.finish().unwrap()
    }

    #[test]
    fn threads_batches_and_spilling_change_nothing() {
        let documents = documents(3000);
        let options = NearOptions { keep: Keep::Longest, ..NearOptions::default() };
        let expected = clusters(&options, &documents, 1000);
        assert!(expected.removed() > 500, "{}", expected.removed());
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let small = Scratch { memory: 50_000, ..Scratch::default() };
            let options = NearOptions { scratch: small, ..options.clone() };
            assert_eq!(pool.install(|| clusters(&options, &documents, 77)), expected);
        }
        let backward: Vec<_> = documents.into_iter().rev().collect();
        assert_eq!(clusters(&options, &backward, 500), expected);
    }

    #[test]
    fn all_pairs_by_force_agree() {
        let documents = documents(300);
        let options = NearOptions::default();
        let hasher = MinHasher::new(&options.minhash).unwrap();
        let found = clusters(&options, &documents, 100);
        let keys: Vec<_> = documents.iter().map(|(_, text)| hasher.worker().band_keys(text).to_vec()).collect();
        let shingles: Vec<_> = documents.iter().map(|(_, text)| hasher.shingles(text)).collect();
        for one in 0..300 {
            for other in 0..one {
                let share = keys[one].iter().zip(&keys[other]).any(|(one, other)| one == other);
                let (cluster, other_cluster) = (found.verdict(one as u64).cluster, found.verdict(other as u64).cluster);
                if share {
                    assert!(cluster.is_some() && cluster == other_cluster);
                }
                // Far below the threshold nothing is found, near one everything is.
                let similarity = jaccard(&shingles[one], &shingles[other]);
                assert!(similarity > 0.3 || !share, "{similarity}");
                assert!(similarity < 0.95 || share, "{similarity}");
            }
        }
    }

    #[test]
    fn a_million_equal_documents_are_one_cluster_in_linear_time() {
        let batch: Vec<(u64, &str)> = (0..1_000_000).map(|number| (number, "the same to the letter")).collect();
        let options =
            NearOptions { minhash: MinHashOptions { bands: 4, ..MinHashOptions::default() }, ..NearOptions::default() };
        let mut near = NearDuplicates::new(&options).unwrap();
        near.add_all(&batch).unwrap();
        let clusters = near.finish().unwrap();
        assert_eq!((clusters.count(), clusters.removed()), (1, 999_999));
        assert_eq!(clusters.list().next().unwrap().members.len(), 1_000_000);
    }

    #[test]
    fn one_long_line_is_a_document_like_any_other() {
        let line = "never a line end but words ".repeat(50_000_000 / 27);
        let spaceless = "天地玄黄宇宙洪荒".repeat(10_000_000 / 24);
        let other = format!("{line} and more");
        let mut near = NearDuplicates::new(&NearOptions::default()).unwrap();
        near.add_all(&[(0, line.as_str()), (1, &other), (2, &spaceless)]).unwrap();
        let clusters = near.finish().unwrap();
        assert_eq!(clusters.verdict(2).cluster, None);
    }

    #[test]
    fn chinese_near_duplicates() {
        let one = "满纸荒唐言,一把辛酸泪!都云作者痴,谁解其中味?".repeat(2)
            + "此开卷第一回也作者自云因曾历过一番梦幻之后故将真事隐去而借通灵之说撰此石头记一书也";
        let other = one.replace(',', ", ").replace("一书也", "一書也");
        let third = "列位看官你道此书从何而来说起根由虽近荒唐细按则深有趣味待在下将此来历注明方使阅者了然不惑";
        let mut near = NearDuplicates::new(&NearOptions::default()).unwrap();
        near.add_all(&[(0, one.as_str()), (1, third), (2, &other)]).unwrap();
        let clusters = near.finish().unwrap();
        assert_eq!((clusters.verdict(2).cluster, clusters.verdict(1).cluster), (Some(0), None));
        // As words, the few long runs have nothing in common but those without a change.
        let words = MinHashOptions { unit: Unit::Words, ..MinHashOptions::default() };
        assert!(MinHasher::new(&words).unwrap().shingles(&one).len() < 10);
    }

    #[test]
    fn verified_pairs_are_alike() {
        // Two rows make keys of little meaning, which verification puts right.
        let documents = documents(600);
        let loose = NearOptions {
            minhash: MinHashOptions { bands: 56, rows: 2, ..MinHashOptions::default() },
            ..NearOptions::default()
        };
        let strict = NearOptions { verify: Some(0.8), ..loose.clone() };
        let hasher = MinHasher::new(&loose.minhash).unwrap();
        let found = clusters(&strict, &documents, 100);
        assert!(found.removed() > 20 && found.removed() < clusters(&loose, &documents, 100).removed());
        for cluster in found.list().filter(|cluster| cluster.members.len() == 2) {
            let [one, other] = [0, 1].map(|place| hasher.shingles(&documents[cluster.members[place] as usize].1));
            assert!(jaccard(&one, &other) > 0.6);
        }
        assert!(NearDuplicates::new(&NearOptions { verify: Some(1.5), ..loose }).is_err());
    }

    #[test]
    fn empty_and_tiny_texts() {
        let mut near = NearDuplicates::new(&NearOptions::default()).unwrap();
        near.add_all(&[(0, ""), (1, "a"), (2, ""), (3, "b"), (4, "A!"), (5, "…")]).unwrap();
        let listed: Vec<_> = near.finish().unwrap().list().map(|cluster| cluster.members).collect();
        assert_eq!(listed, [vec![0, 2], vec![1, 4]]);
        assert_eq!(NearDuplicates::new(&NearOptions::default()).unwrap().finish().unwrap().count(), 0);
    }
}
