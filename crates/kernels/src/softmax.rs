//! The row operations that attention and cross-entropy share: soft cap, maximum, exponentials with their sum, and the
//! gradient through a row of probabilities.

use crate::dropout::hash;
use crate::elementary::{exp, tanh};
use crate::simd::{LANES, sum_of_lanes, vectorized};

/// Elements whose exponentials are summed while they are still in the first-level cache.
const BLOCK: usize = 1024;

vectorized! {
    /// The largest element; NaN is passed over, an empty row gives -∞.
    pub(crate) fn maximum<A>(row: &[f32]) -> f32 {
        let (chunks, rest) = row.as_chunks::<LANES>();
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            for j in 0..LANES {
                lanes[j] = if chunk[j] > lanes[j] { chunk[j] } else { lanes[j] };
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane = if *value > *lane { *value } else { *lane };
        }
        lanes.iter().fold(f32::NEG_INFINITY, |most, lane| if *lane > most { *lane } else { most })
    }
}

vectorized! {
    /// `row = exp(row - shift)`; returns the sum.
    pub(crate) fn exponentials<A>(row: &mut [f32], shift: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        for block in row.chunks_mut(BLOCK) {
            for value in block.iter_mut() {
                *value = exp::<A>(*value - shift);
            }
            let (chunks, rest) = block.as_chunks::<LANES>();
            for chunk in chunks {
                for j in 0..LANES {
                    lanes[j] += chunk[j];
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                *lane += value;
            }
        }
        sum_of_lanes(lanes)
    }
}

vectorized! {
    /// `row = cap · tanh(row)`: scores, given in units of the cap, held below it.
    pub(crate) fn soft_cap<A>(row: &mut [f32], cap: f32) {
        for score in row {
            *score = cap * tanh::<A>(*score);
        }
    }
}

vectorized! {
    /// [`soft_cap`], and its derivative in units of the cap: `slopes = 1 - tanh²`.
    pub(crate) fn soft_cap_with_slopes<A>(row: &mut [f32], cap: f32, slopes: &mut [f32]) {
        for (score, slope) in row.iter_mut().zip(slopes) {
            let t = tanh::<A>(*score);
            *score = cap * t;
            *slope = 1.0 - t * t;
        }
    }
}

vectorized! {
    /// Turns scores into probabilities and the probabilities' gradients into the scores':
    /// `probability = exp(score - log_sum_exp)`, `gradient = probability (gradient - delta)`.
    pub(crate) fn backward_row<A>(scores: &mut [f32], gradients: &mut [f32], log_sum_exp: f32, delta: f32) {
        for (score, gradient) in scores.iter_mut().zip(gradients) {
            let probability = exp::<A>(*score - log_sum_exp);
            *gradient = probability * (*gradient - delta);
            *score = probability;
        }
    }
}

vectorized! {
    /// [`backward_row`] under dropout: `gradients` are those of the dropped probabilities, which `scores` become.
    pub(crate) fn backward_row_with_dropout<A>(
        scores: &mut [f32],
        gradients: &mut [f32],
        log_sum_exp: f32,
        delta: f32,
        keys: [u32; 2],
        start: u32,
        threshold: u32,
        factor: f32,
    ) {
        for (j, (score, gradient)) in scores.iter_mut().zip(gradients).enumerate() {
            let probability = exp::<A>(*score - log_sum_exp);
            let mask = if hash(keys, start.wrapping_add(j as u32)) >= threshold { factor } else { 0.0 };
            *gradient = probability * A::mul_add(*gradient, mask, -delta);
            *score = probability * mask;
        }
    }
}
