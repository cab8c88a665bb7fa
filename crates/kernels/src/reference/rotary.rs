//! Rotary positions, one pair of channels after the other.

use crate::rotary::Pairing;

/// [`crate::rotary::forward`] for `x` `[tokens, heads, head_width]` and the position of each token; with negated
/// frequencies, [`crate::rotary::backward`].
pub fn rotary(
    x: &[f64],
    positions: &[u32],
    heads: usize,
    head_width: usize,
    frequencies: &[f64],
    pairing: Pairing,
) -> Vec<f64> {
    let mut y = x.to_vec();
    for (token, position) in positions.iter().enumerate() {
        for head in 0..heads {
            let start = (token * heads + head) * head_width;
            for (i, frequency) in frequencies.iter().enumerate() {
                let (first, second) = match pairing {
                    Pairing::HalfSplit => (start + i, start + i + frequencies.len()),
                    Pairing::Interleaved => (start + 2 * i, start + 2 * i + 1),
                };
                let (sine, cosine) = (f64::from(*position) * frequency).sin_cos();
                y[first] = x[first] * cosine - x[second] * sine;
                y[second] = x[second] * cosine + x[first] * sine;
            }
        }
    }
    y
}
