//! MinHash: near duplicates without comparing every document with every other.
//!
//! Two texts are as alike as the Jaccard similarity of their *shingles*, the short runs of words that stand in them: shared
//! over all. Under a random order of all shingles, the chance that two sets have the same least one is their similarity
//! (Broder 1997). So `bands × rows` orders are drawn, a text keeps the least shingle under each, and the `rows` of a band are
//! hashed to one key. Two texts of similarity s share a key with probability 1 − (1 − s^rows)^bands: with 14 bands of 8 rows
//! 0.57 at 0.7, 0.92 at 0.8 and 0.9996 at 0.9.
//!
//! A shingle is hashed once to 64 bits; the orders are h ↦ a·h + b modulo 2⁶⁴ with odd a, which is a bijection, so no two
//! shingles are confused, and whose high bits, which decide the least, are 2-independent (multiply-shift, Dietzfelbinger
//! 1996). `near_duplicates`, an example of this crate, measures what is found beside the formula.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::arithmetic::{Draws, fold, scramble};
use super::words::{Cut, each_word, is_mostly_spaceless};
use crate::duplicates::content_hash;
use crate::error::CorpusError;

/// Orders taken together: two registers of AVX-512.
const LANES: usize = 16;
/// Shingles taken together; their hashes stay in the nearest cache.
const BLOCK: usize = 1024;
/// Most orders that can be asked for.
const MOST_ORDERS: usize = 1 << 16;
/// Most words of a shingle.
const LONGEST_SHINGLE: usize = 1 << 10;

/// What a shingle is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Characters where more than half of a text's letters are of scripts without spaces or Hangul, else words.
    #[default]
    Automatic,
    /// Runs of letters and digits ([`char::is_alphanumeric`]), in lower case.
    Words,
    /// Letters and digits, in lower case; what stands between them is passed over.
    Characters,
}

/// How texts are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinHashOptions {
    /// What a shingle is made of.
    pub unit: Unit,
    /// Words of a shingle.
    pub words: usize,
    /// Characters of a shingle, where it is made of characters.
    pub characters: usize,
    /// Keys of a text. More find more.
    pub bands: usize,
    /// Orders of a key. More ask for more likeness.
    pub rows: usize,
    /// What the orders follow from.
    pub seed: u64,
}

impl Default for MinHashOptions {
    /// 14 bands of 8 rows over shingles of 5 words, as FineWeb was deduplicated, or of 5 characters.
    fn default() -> Self {
        Self { unit: Unit::Automatic, words: 5, characters: 5, bands: 14, rows: 8, seed: 1 }
    }
}

impl MinHashOptions {
    /// The probability that two texts of this similarity (0 to 1) share a key: 1 − (1 − s^rows)^bands.
    pub fn probability(&self, similarity: f64) -> f64 {
        1.0 - (1.0 - similarity.powf(self.rows as f64)).powf(self.bands as f64)
    }
}

/// Makes signatures and keys of texts.
#[derive(Clone, Debug)]
pub struct MinHasher {
    options: MinHashOptions,
    seed: u64,
    orders: Vec<Orders>,
    band_seeds: Vec<u64>,
}

/// Some orders: h ↦ `multiply` · h + `add`.
#[derive(Clone, Debug)]
struct Orders {
    multiply: [u64; LANES],
    add: [u64; LANES],
}

impl MinHasher {
    /// Draws the orders.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] where a number is nought or too large.
    pub fn new(options: &MinHashOptions) -> Result<Self, CorpusError> {
        let orders = options.bands.saturating_mul(options.rows);
        if !(1..=MOST_ORDERS).contains(&orders) {
            return Err(CorpusError::invalid(
                format!("{} bands of {} rows", options.bands, options.rows),
                format!("their product must be 1 to {MOST_ORDERS}; 14 bands of 8 rows are usual"),
            ));
        }
        if ![options.words, options.characters].iter().all(|length| (1..=LONGEST_SHINGLE).contains(length)) {
            return Err(CorpusError::invalid(
                format!("shingles of {} words or {} characters", options.words, options.characters),
                format!("a shingle has 1 to {LONGEST_SHINGLE}; 5 are usual"),
            ));
        }
        let mut draws = Draws::new(options.seed);
        let seed = draws.draw();
        let band_seeds = (0..options.bands).map(|_| draws.draw()).collect();
        let orders = (0..orders.div_ceil(LANES))
            .map(|_| Orders {
                multiply: std::array::from_fn(|_| draws.draw() | 1),
                add: std::array::from_fn(|_| draws.draw()),
            })
            .collect();
        Ok(Self { options: options.clone(), seed, orders, band_seeds })
    }

    /// What it was made of.
    pub fn options(&self) -> &MinHashOptions {
        &self.options
    }

    /// One that keeps its buffers from text to text; one a thread.
    pub fn worker(&self) -> MinHashWorker<'_> {
        let longest = self.options.words.max(self.options.characters);
        MinHashWorker {
            hasher: self,
            block: Vec::with_capacity(BLOCK),
            window: vec![0; longest],
            minima: vec![[u64::MAX; LANES]; self.orders.len()],
            keys: Vec::with_capacity(self.options.bands),
        }
    }

    /// The least shingles of a text.
    pub fn signature(&self, text: &str) -> Signature {
        let mut worker = self.worker();
        worker.minimize(text);
        Signature(worker.minima().collect())
    }

    /// The hashes of a text's shingles, sorted, each once.
    pub fn shingles(&self, text: &str) -> Vec<u64> {
        let mut shingles = HashSet::new();
        let mut window = vec![0; self.options.words.max(self.options.characters)];
        self.each_shingle(text, &mut window, |shingle| {
            shingles.insert(shingle);
        });
        let mut shingles: Vec<_> = shingles.into_iter().collect();
        shingles.sort_unstable();
        shingles
    }

    /// Hands the hash of every shingle to `each`, in order.
    ///
    /// A text of fewer words than a shingle has is one shingle, and so is one without any word: such texts are equal or have
    /// nothing in common.
    #[inline]
    fn each_shingle(&self, text: &str, window: &mut [u64], mut each: impl FnMut(u64)) {
        let characters = match self.options.unit {
            Unit::Automatic => is_mostly_spaceless(text),
            Unit::Words => false,
            Unit::Characters => true,
        };
        let (length, cut) =
            if characters { (self.options.characters, Cut::Characters) } else { (self.options.words, Cut::Runs) };
        // A polynomial in an odd base modulo 2⁶⁴; base − 1 has one factor of two, so exchanged words keep all but a bit or two
        // of their difference.
        let base = (self.seed & !3) | 3;
        let past = base.wrapping_pow(length as u32);
        let window = &mut window[..length];
        let (mut sum, mut place, mut count) = (0_u64, 0, 0_u64);
        each_word(text, cut, self.seed, |word, _| {
            // What is left of an earlier text is not in the sum.
            let left = if count >= length as u64 { window[place] } else { 0 };
            sum = sum.wrapping_mul(base).wrapping_add(word).wrapping_sub(left.wrapping_mul(past));
            window[place] = word;
            place = if place + 1 == length { 0 } else { place + 1 };
            count += 1;
            if count >= length as u64 {
                each(scramble(sum));
            }
        });
        if count == 0 {
            let hash = content_hash(text);
            let half = |half: &[u8]| half.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
            each(scramble(half(&hash[..8]) ^ self.seed));
        } else if count < length as u64 {
            each(scramble(sum ^ scramble(count)));
        }
    }
}

/// A [`MinHasher`] with buffers.
#[derive(Debug)]
pub struct MinHashWorker<'h> {
    hasher: &'h MinHasher,
    block: Vec<u64>,
    window: Vec<u64>,
    minima: Vec<[u64; LANES]>,
    keys: Vec<u64>,
}

impl MinHashWorker<'_> {
    /// The keys of a text, one a band. Keys of different bands differ, but for the chance of 2⁻⁶⁴ that any two do not.
    pub fn band_keys(&mut self, text: &str) -> &[u64] {
        self.minimize(text);
        let rows = self.hasher.options.rows;
        self.keys.clear();
        let mut minima = self.minima.iter().flatten();
        for &seed in &self.hasher.band_seeds {
            let key = minima.by_ref().take(rows).fold(seed, |key, &least| fold(key ^ least, MULTIPLIER));
            self.keys.push(scramble(key));
        }
        &self.keys
    }

    pub(super) fn minima(&self) -> impl Iterator<Item = u64> {
        self.minima.iter().flatten().copied().take(self.hasher.options.bands * self.hasher.options.rows)
    }

    fn minimize(&mut self, text: &str) {
        let Self { hasher, block, window, minima, .. } = self;
        minima.fill([u64::MAX; LANES]);
        block.clear();
        // The widest registers that this machine has.
        let arch = pulp::Arch::new();
        hasher.each_shingle(text, window, |shingle| {
            block.push(shingle);
            if block.len() == BLOCK {
                arch.dispatch(Lower { orders: &hasher.orders, minima, shingles: block });
                block.clear();
            }
        });
        arch.dispatch(Lower { orders: &hasher.orders, minima, shingles: block });
    }
}

/// An odd constant with bits everywhere.
const MULTIPLIER: u64 = 0x8EBC_6AF0_9C88_C6E3;

/// Lowers the minima to those of `shingles` where these are less.
struct Lower<'a> {
    orders: &'a [Orders],
    minima: &'a mut [[u64; LANES]],
    shingles: &'a [u64],
}

impl pulp::WithSimd for Lower<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for the registers of the caller; a closure would not be")]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (orders, minima) in self.orders.iter().zip(self.minima) {
            let mut least = *minima;
            for &shingle in self.shingles {
                let lanes = orders.multiply.iter().zip(&orders.add);
                for (least, (multiply, add)) in least.iter_mut().zip(lanes) {
                    *least = (*least).min(multiply.wrapping_mul(shingle).wrapping_add(*add));
                }
            }
            *minima = least;
        }
    }
}

/// The least shingle of a text under every order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u64>);

impl Signature {
    /// The share of orders in which both have the same least shingle: an unbiased estimate of the Jaccard similarity s, with
    /// variance s (1 − s) / orders.
    pub fn similarity(&self, other: &Self) -> f64 {
        let same = self.0.iter().zip(&other.0).filter(|(one, other)| one == other).count();
        same as f64 / self.0.len().max(1) as f64
    }
}

/// The Jaccard similarity of two sorted sets of shingles ([`MinHasher::shingles`]): shared over all.
pub fn jaccard(one: &[u64], other: &[u64]) -> f64 {
    let (mut at, mut shared) = (0, 0_usize);
    for shingle in one {
        while other.get(at).is_some_and(|candidate| candidate < shingle) {
            at += 1;
        }
        shared += usize::from(other.get(at) == Some(shingle));
    }
    let all = one.len() + other.len() - shared;
    if all == 0 { 1.0 } else { shared as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(bands: usize, rows: usize, seed: u64) -> MinHasher {
        MinHasher::new(&MinHashOptions { bands, rows, seed, ..MinHashOptions::default() }).unwrap()
    }

    fn words(numbers: impl Iterator<Item = u64>) -> String {
        numbers.map(|number| format!("w{number} ")).collect::<Vec<_>>().concat()
    }

    /// Two texts of single-word shingles that share `shared` and have `own` each.
    fn pair(first: u64, shared: u64, own: u64) -> (String, String) {
        let one = words(first..first + shared + own);
        let other = words((first..first + shared).chain(first + shared + own..first + shared + 2 * own));
        (one, other)
    }

    #[test]
    fn estimates_have_the_mean_and_the_variance_of_theory() {
        let options = MinHashOptions { words: 1, ..MinHashOptions::default() };
        let hasher = MinHasher::new(&options).unwrap();
        let pairs = 1500;
        for (shared, own) in [(100, 50), (160, 20), (190, 5), (5, 5), (20, 200)] {
            let truth = shared as f64 / (shared + 2 * own) as f64;
            let (mut sum, mut squares) = (0.0, 0.0);
            for number in 0..pairs {
                let (one, other) = pair(number * 1000, shared, own);
                assert!((jaccard(&hasher.shingles(&one), &hasher.shingles(&other)) - truth).abs() < 1e-12);
                let error = hasher.signature(&one).similarity(&hasher.signature(&other)) - truth;
                sum += error;
                squares += error * error;
            }
            let (mean, variance) = (sum / pairs as f64, squares / pairs as f64);
            let theory = truth * (1.0 - truth) / 112.0;
            let standard = (theory / pairs as f64).sqrt();
            println!(
                "{truth:.3}: bias {:.2} standard errors, variance {:.3} of theory's",
                mean / standard,
                variance / theory
            );
            assert!(mean.abs() < 4.0 * standard, "at {truth} off by {mean}");
            assert!((variance / theory - 1.0).abs() < 0.2, "at {truth} variance {variance}, theory {theory}");
        }
    }

    #[test]
    fn pairs_share_a_key_as_often_as_theory_says() {
        let options = MinHashOptions { words: 1, ..MinHashOptions::default() };
        let pairs = 3000;
        let hasher = MinHasher::new(&options).unwrap();
        let mut worker = hasher.worker();
        for (shared, own) in [(100, 50), (140, 30), (160, 20), (180, 10)] {
            let truth = shared as f64 / (shared + 2 * own) as f64;
            let found = (0..pairs)
                .filter(|number| {
                    let (one, other) = pair(number * 1000, shared, own);
                    let keys = worker.band_keys(&one).to_vec();
                    worker.band_keys(&other).iter().zip(&keys).any(|(one, other)| one == other)
                })
                .count();
            let (recall, theory) = (found as f64 / pairs as f64, options.probability(truth));
            println!("{truth:.3}: recall {recall:.3}, theory {theory:.3}");
            assert!((recall - theory).abs() < 4.0 * (theory * (1.0 - theory) / pairs as f64).sqrt());
        }
    }

    #[test]
    fn capitals_and_punctuation_do_not_count_but_order_does() {
        let hasher = hasher(14, 8, 1);
        let text = "One sentence of words, and one more: six, seven, eight.";
        assert_eq!(hasher.signature(text), hasher.signature("one  SENTENCE of words and one more six seven eight"));
        assert_eq!(
            jaccard(&hasher.shingles(text), &hasher.shingles("words of sentence one and more one six eight")),
            0.0
        );
    }

    #[test]
    fn short_texts_are_alike_when_equal() {
        let hasher = hasher(4, 3, 7);
        let texts =
            ["", "…", "!", "a", "a b", "b a", "a b c d", "a b c d e", "水", "水火", "水 火 木 金", "水火木金土"];
        for (number, one) in texts.iter().enumerate() {
            for (place, other) in texts.iter().enumerate() {
                let estimate = hasher.signature(one).similarity(&hasher.signature(other));
                assert_eq!(estimate, f64::from(number == place), "{one:?} {other:?}");
            }
        }
        assert_eq!(hasher.signature("A b!"), hasher.signature("a B"));
        assert_eq!(hasher.signature(" \n"), hasher.signature(""));
    }

    #[test]
    fn chinese_is_compared_by_characters() {
        let hasher = hasher(14, 8, 1);
        let one = "此开卷第一回也。作者自云:因曾历过一番梦幻之后,故将真事隐去。";
        let other = one.replace('。', "!").replace("梦幻", "夢幻");
        let (one, other) = (hasher.shingles(one), hasher.shingles(&other));
        // 27 characters have 23 shingles, of which 5 hold the one that was changed.
        assert_eq!((one.len(), other.len()), (23, 23));
        assert!((jaccard(&one, &other) - 18.0 / 28.0).abs() < 1e-12);
    }

    #[test]
    fn buffers_carry_nothing_from_text_to_text() {
        let hasher = hasher(14, 8, 1);
        let mut worker = hasher.worker();
        let long = words(0..10_000);
        for text in ["a b c d e f", long.as_str(), "", "红楼梦红楼梦红楼梦", "a b", long.as_str()] {
            let fresh = hasher.worker().band_keys(text).to_vec();
            assert_eq!(worker.band_keys(text), fresh);
            assert_eq!(fresh.iter().collect::<HashSet<_>>().len(), 14);
        }
    }

    #[test]
    fn seeds_draw_other_orders_and_numbers_out_of_range_are_refused() {
        let text = words(0..50);
        assert_ne!(hasher(2, 2, 1).signature(&text), hasher(2, 2, 2).signature(&text));
        for (bands, rows, words) in [(0, 8, 5), (8, 0, 5), (usize::MAX, 2, 5), (1, 1, 0), (1, 1, 1 << 20)] {
            let options = MinHashOptions { words, bands, rows, ..MinHashOptions::default() };
            assert!(matches!(MinHasher::new(&options), Err(CorpusError::Invalid { .. })));
        }
    }
}
