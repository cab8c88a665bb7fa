//! A pseudo-random order of any number of things that is computed rather than stored.
//!
//! A Feistel network is a permutation of all 2ᵇ numbers of b bits whatever its round function does. With the
//! smallest even b that covers n, and by walking on from results that are not below n (Black and Rogaway,
//! 2002, "Ciphers with arbitrary finite domains"), it becomes a permutation of 0..n; fewer than four steps
//! are expected.

/// Mixes 64 bits (the finalizer of `SplitMix64`, Steele et al., 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const ROUNDS: u64 = 6;

/// A permutation of `0..count`, chosen by a key.
pub(crate) struct Permutation {
    count: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    pub(crate) fn new(count: u64, key: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half_bits: bits.div_ceil(2).max(1), key }
    }

    /// Where `index` goes.
    pub(crate) fn of(&self, index: u64) -> u64 {
        debug_assert!(index < self.count);
        let mut value = index;
        loop {
            value = self.shuffle(value);
            if value < self.count {
                return value;
            }
        }
    }

    fn shuffle(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let next = left ^ (mix(mix(self.key ^ round) ^ right) & mask);
            (left, right) = (right, next);
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_permutation_of_any_count() {
        for count in (1..70).chain([255, 256, 257, 1000, 4097]) {
            for key in 0..3 {
                let permutation = Permutation::new(count, key);
                let mut seen: Vec<u64> = (0..count).map(|index| permutation.of(index)).collect();
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..count), "{count} things, key {key}");
            }
        }
    }

    #[test]
    fn keys_give_different_orders_without_a_trend() {
        let count = 4000;
        let (a, b) = (Permutation::new(count, 1), Permutation::new(count, 2));
        let same = (0..count).filter(|&index| a.of(index) == b.of(index)).count();
        assert!(same < 12, "{same} of {count} at the same place");
        let first_half: u64 = (0..count / 2).map(|index| a.of(index)).sum();
        let mean = first_half as f64 / (count / 2) as f64;
        assert!((mean - 2000.0).abs() < 100.0, "mean place of the first half: {mean}");
    }
}
