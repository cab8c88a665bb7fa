//! Drawing: which words stay, how far windows reach, and what the negative samples are.

use super::text::END;
use super::{Vocabulary, Word2VecConfig};
use loam_kernels::word2vec::Window;
use loam_nn::initialize::mix;

/// A stream of random numbers (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    /// The stream of these three numbers.
    pub(super) fn new(seed: u64, epoch: u64, piece: u64) -> Self {
        Self(mix(seed ^ mix(epoch ^ mix(piece))))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// From 0 to below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws from a distribution in constant time (Walker 1977, in Vose's form of 1991).
struct AliasTable(Vec<(u32, u32)>);

impl AliasTable {
    fn new(chances: &[f64]) -> Self {
        let count = chances.len();
        let mut scaled: Vec<f64> = chances.iter().map(|chance| chance * count as f64).collect();
        let mut table: Vec<(u32, u32)> = (0..count).map(|row| (u32::MAX, row as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..count).partition(|row| scaled[*row] < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            table[poor] = ((scaled[poor] * 2_f64.powi(32)) as u32, rich as u32);
            scaled[rich] -= 1.0 - scaled[poor];
            if scaled[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self(table)
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let bits = random.bits();
        let row = (((bits >> 32) * self.0.len() as u64) >> 32) as u32;
        let (threshold, other) = self.0[row as usize];
        if bits as u32 <= threshold { row } else { other }
    }
}

/// What a stretch of text gives to learn from.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// The rows of the words that stayed.
    pub(super) words: Vec<u32>,
    pub(super) windows: Vec<Window>,
    /// `[windows, negative]`.
    pub(super) negatives: Vec<u32>,
    /// Words of the text, before any was left out.
    pub(super) read: u64,
}

/// Draws what is learned of every stretch of text.
pub(super) struct Sampler {
    /// Words stay where a number of 32 bits is below theirs; `None` keeps all.
    kept: Vec<u64>,
    table: AliasTable,
    window: u32,
    negative: usize,
    seed: u64,
}

impl Sampler {
    pub(super) fn new(vocabulary: &Vocabulary, config: &Word2VecConfig) -> Self {
        let kept = vocabulary.kept(config.sample).iter().map(|chance| (chance * 2_f64.powi(32)) as u64).collect();
        Self {
            kept,
            table: AliasTable::new(&vocabulary.drawn()),
            window: config.window as u32,
            negative: config.negative,
            seed: config.seed,
        }
    }

    /// Draws for a piece of an epoch, from its sentences, each followed by [`END`].
    pub(super) fn piece(&self, epoch: u64, number: u64, rows: &[u32]) -> Piece {
        let mut random = Random::new(self.seed, epoch + 1, number);
        let mut piece = Piece::default();
        for sentence in rows.split(|row| *row == END) {
            piece.read += sentence.len() as u64;
            let start = piece.words.len() as u32;
            for row in sentence {
                if random.bits() >> 32 < self.kept[*row as usize] {
                    piece.words.push(*row);
                }
            }
            let end = piece.words.len() as u32;
            if end - start < 2 {
                piece.words.truncate(start as usize);
                continue;
            }
            for center in start..end {
                let reach = 1 + random.below(self.window);
                let window = Window {
                    center,
                    first: center.saturating_sub(reach).max(start),
                    end: (center + reach + 1).min(end),
                };
                piece.windows.push(window);
                piece.negatives.extend((0..self.negative).map(|_| self.table.draw(&mut random)));
            }
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(counts: &[u64]) -> Vocabulary {
        Vocabulary::new(counts.iter().enumerate().map(|(row, count)| (format!("{row:02}"), *count)), 1, None).unwrap()
    }

    #[test]
    fn draws_have_their_chances() {
        let vocabulary = vocabulary(&[1000, 300, 300, 40, 5, 1]);
        let chances = vocabulary.drawn();
        let table = AliasTable::new(&chances);
        let mut random = Random::new(1, 2, 3);
        let draws = 2_000_000;
        let mut seen = [0_u32; 6];
        for _ in 0..draws {
            seen[table.draw(&mut random) as usize] += 1;
        }
        for (seen, chance) in seen.iter().zip(&chances) {
            let expected = chance * f64::from(draws);
            assert!((f64::from(*seen) - expected).abs() < 5.0 * expected.sqrt(), "{seen} of {expected}");
        }
        let power = |count: f64| count.powf(0.75);
        assert!((chances[0] / chances[4] - power(1000.0) / power(5.0)).abs() < 1e-9);
    }

    #[test]
    fn windows_stay_in_sentences_and_frequent_words_leave() {
        let vocabulary = vocabulary(&[900, 90, 9, 1]);
        let config = Word2VecConfig { sample: 0.1, window: 3, negative: 2, ..Word2VecConfig::default() };
        let kept = vocabulary.kept(config.sample);
        assert_eq!(kept[1..], [1.0, 1.0, 1.0]);
        assert!((kept[0] - ((0.1_f64 / 0.9).sqrt() + 0.1 / 0.9)).abs() < 1e-12);
        let sentence = [0, 0, 1, 0, 2, 0, 3, 0, 0, 1, END];
        let rows = sentence.repeat(1000);
        let piece = Sampler::new(&vocabulary, &config).piece(0, 0, &rows);
        assert_eq!(piece.read, 10_000);
        let stayed = piece.words.iter().filter(|row| **row == 0).count() as f64 / 6000.0;
        assert!((stayed - kept[0]).abs() < 0.03, "{stayed} of {}", kept[0]);
        assert_eq!(piece.negatives.len(), piece.windows.len() * 2);
        let mut reaches = [0; 4];
        for window in &piece.windows {
            assert!(window.first <= window.center && window.center < window.end && window.end - window.first > 1);
            assert!(window.end as usize <= piece.words.len());
            // Between two sentences stands 1 before 0 or 1, and nothing else begins with what is kept of 0, 0, 1.
            reaches[(window.center - window.first).max(window.end - window.center - 1) as usize] += 1;
        }
        assert!(reaches[0] == 0 && reaches[1..].iter().all(|count| *count > 1000), "{reaches:?}");
        // Another piece, or epoch, draws anew; the same draws the same.
        let sampler = Sampler::new(&vocabulary, &config);
        assert_eq!(sampler.piece(0, 0, &rows).negatives, piece.negatives);
        assert_ne!(sampler.piece(1, 0, &rows).negatives, piece.negatives);
        assert_ne!(sampler.piece(0, 1, &rows).negatives, piece.negatives);
    }

    #[test]
    fn windows_do_not_reach_over_the_end_of_a_sentence() {
        let vocabulary = vocabulary(&[5, 5, 5, 5]);
        let config = Word2VecConfig { sample: 0.0, window: 5, ..Word2VecConfig::default() };
        let piece = Sampler::new(&vocabulary, &config).piece(0, 0, &[0, 1, END, 2, END, 2, 3, 2, END]);
        assert_eq!(piece.words, [0, 1, 2, 3, 2]);
        for window in &piece.windows {
            let sentence = if window.center < 2 { 0..2 } else { 2..5 };
            assert!(window.first >= sentence.start && window.end <= sentence.end, "{window:?}");
        }
    }
}
