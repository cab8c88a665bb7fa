//! Dropout (Srivastava et al. 2014), inverted: kept values are scaled by 1 / (1 - p) while training.
//!
//! The mask is never stored. Whether an element is kept is a pure hash of the seed and the element's position, so the
//! backward pass, a resumed run and any number of threads all see the same mask.

use crate::attention::AttentionShape;
use crate::buffer::map;
use crate::simd::vectorized;
use std::mem::MaybeUninit;

/// Which elements are zeroed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that an element is zeroed, in `0 ..= 1`.
    pub probability: f32,
    /// Decides which: give every operation and every step a seed of its own.
    pub seed: u64,
}

impl Dropout {
    /// Elements whose hash is below this are dropped: the probability in units of 2⁻³².
    pub(crate) fn threshold(self) -> u32 {
        assert!((0.0..=1.0).contains(&self.probability), "a dropout probability of {}", self.probability);
        // The cast saturates: a probability of 1 keeps one element in 2³², which `factor` then multiplies by zero.
        (f64::from(self.probability) * 4_294_967_296.0) as u32
    }

    /// What a kept element is multiplied by.
    pub(crate) fn factor(self) -> f32 {
        if self.probability < 1.0 { 1.0 / (1.0 - self.probability) } else { 0.0 }
    }
}

/// The two 32-bit keys of one stream of hashes: `SplitMix64` (Steele et al. 2014) of the seed and the stream's number.
///
/// Streams are blocks of 2³² elements in [`apply`], and rows of attention probabilities in [`attention_mask`].
pub fn keys(seed: u64, stream: u64) -> [u32; 2] {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let z = mix(mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    [z as u32, (z >> 32) as u32]
}

/// The hash of a position in a stream, uniform over `u32`: two rounds of multiply and xor-shift with the constants of
/// `lowbias32` (Wellons 2018), a key before each.
///
/// With one key only, two seeds would give the same hashes in another order.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
pub fn hash(keys: [u32; 2], position: u32) -> u32 {
    let mut x = position ^ keys[0];
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_add(keys[1]).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// `x` with dropped elements zeroed and the others scaled. The backward pass is `apply` on `dy` with the same
/// `dropout`.
pub fn apply(x: &[f32], dropout: Dropout) -> Vec<f32> {
    let (threshold, factor) = (dropout.threshold(), dropout.factor());
    // SAFETY: the kernel writes one element for each of `x`.
    unsafe {
        map(x, |start, x, y| {
            // Chunks divide 2³², so a chunk lies in one stream.
            apply_chunk(x, keys(dropout.seed, (start as u64) >> 32), start as u32, threshold, factor, y);
        })
    }
}

/// What [`apply`] multiplies each of `count` elements by: 0 or `1 / (1 - probability)`.
pub fn mask(count: usize, dropout: Dropout) -> Vec<f32> {
    apply(&vec![1.0; count], dropout)
}

/// [`probability_mask`] of causal self-attention, `[batch, heads, time, time]`.
pub fn attention_mask(shape: AttentionShape, dropout: Dropout) -> Vec<f32> {
    let AttentionShape { batch, time, heads, .. } = shape;
    probability_mask(batch, heads, time, time, dropout)
}

/// What attention multiplies its probabilities by, `[batch, heads, queries, keys]`: 0 or `1 / (1 - probability)`.
/// Queries × keys for all heads: for tests and small shapes.
pub fn probability_mask(batch: usize, heads: usize, queries: usize, keys: usize, dropout: Dropout) -> Vec<f32> {
    let mut mask = vec![1.0; batch * heads * queries * keys];
    for (row, values) in mask.chunks_exact_mut(keys.max(1)).enumerate() {
        let hashes = row_keys(dropout, row / queries, row % queries);
        scale_row(values, hashes, 0, dropout.threshold(), dropout.factor());
    }
    mask
}

/// The keys of one row of attention probabilities; `head` counts over batch and heads.
pub(crate) fn row_keys(dropout: Dropout, head: usize, query: usize) -> [u32; 2] {
    keys(dropout.seed, ((head as u64) << 32) | query as u64)
}

vectorized! {
    fn apply_chunk<A>(
        x: &[f32],
        keys: [u32; 2],
        start: u32,
        threshold: u32,
        factor: f32,
        y: &mut [MaybeUninit<f32>],
    ) {
        for (j, (y, x)) in y.iter_mut().zip(x).enumerate() {
            let kept = hash(keys, start.wrapping_add(j as u32)) >= threshold;
            y.write(if kept { x * factor } else { 0.0 });
        }
    }
}

vectorized! {
    /// Dropout in place on a piece of a row of attention probabilities that starts at key `start`.
    pub(crate) fn scale_row<A>(row: &mut [f32], keys: [u32; 2], start: u32, threshold: u32, factor: f32) {
        for (j, value) in row.iter_mut().enumerate() {
            let kept = hash(keys, start.wrapping_add(j as u32)) >= threshold;
            *value = if kept { *value * factor } else { 0.0 };
        }
    }
}
