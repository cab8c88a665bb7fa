//! RMS normalization (Zhang & Sennrich 2019).

use super::{AddedNorm, ROWS, add_row, row_count};
use crate::buffer::{Output, sum_in_order};
use crate::simd::{Arithmetic, LANES, sum_of_lanes, vectorized};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// What [`rms_norm_backward`] and [`add_rms_norm_backward`] return.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNormGradients {
    /// Gradient of the input, `[rows, width]`.
    pub dx: Vec<f32>,
    /// Gradient of the gain, `[width]`.
    pub dgamma: Vec<f32>,
}

/// `y = x / √(mean(x²) + epsilon) · (offset + gamma)` over each row of `x`, `[rows, width]`; `gamma` is `[width]`.
///
/// `offset` is 0, or 1 where the model stores its gains less one (Gemma). Returns `y`, `[rows, width]`, and the
/// statistics that the backward pass needs, `[rows]`: the reciprocal root of the mean square.
pub fn rms_norm(x: &[f32], gamma: &[f32], offset: f32, epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let rows = row_count(x, width);
    let (mut y, mut statistics) = (Output::new(rows * width), Output::new(rows));
    if rows > 0 {
        let chunks = y.slots().par_chunks_mut(ROWS * width).zip(statistics.slots().par_chunks_mut(ROWS));
        chunks.zip(x.par_chunks(ROWS * width)).for_each(|((y, statistics), x)| {
            forward_rows(x, gamma, offset, epsilon, y, statistics);
        });
    }
    // SAFETY: the chunks cover both outputs, and the kernel writes every row of both.
    unsafe { (y.written(), statistics.written()) }
}

/// The gradients of [`rms_norm`], from its input, its gain and offset, its statistics and `dy`, `[rows, width]`.
///
/// With r the statistic, x̂ = x r and h = dy · (offset + gamma): `dx = (h - x̂ mean(h x̂)) r`, `dgamma = Σ dy x̂`.
pub fn rms_norm_backward(x: &[f32], gamma: &[f32], offset: f32, statistics: &[f32], dy: &[f32]) -> RmsNormGradients {
    backward(x, gamma, offset, statistics, dy, None)
}

/// [`rms_norm`] of `x + residual`, both `[rows, width]`, in one pass: the end of one block and the start of the next.
pub fn add_rms_norm(x: &[f32], residual: &[f32], gamma: &[f32], offset: f32, epsilon: f32) -> AddedNorm {
    let width = gamma.len();
    let rows = row_count(x, width);
    assert_eq!(residual.len(), x.len(), "residual [{rows}, {width}]");
    let (mut sum, mut y, mut statistics) = (Output::new(rows * width), Output::new(rows * width), Output::new(rows));
    if rows > 0 {
        let inputs = x.par_chunks(ROWS * width).zip(residual.par_chunks(ROWS * width));
        let outputs = y.slots().par_chunks_mut(ROWS * width).zip(statistics.slots().par_chunks_mut(ROWS));
        let tasks = sum.slots().par_chunks_mut(ROWS * width).zip(outputs).zip(inputs);
        tasks.for_each(|((sum, (y, statistics)), (x, residual))| {
            let inputs = x.chunks_exact(width).zip(residual.chunks_exact(width));
            let outputs = y.chunks_exact_mut(width).zip(statistics.chunks_exact_mut(1));
            for ((sum, (y, statistics)), (x, residual)) in sum.chunks_exact_mut(width).zip(outputs).zip(inputs) {
                forward_rows(add_row(x, residual, sum), gamma, offset, epsilon, y, statistics);
            }
        });
    }
    // SAFETY: the tasks cover all three outputs, and the two kernels write every row of them.
    unsafe { AddedNorm { sum: sum.written(), normalized: y.written(), statistics: statistics.written() } }
}

/// The gradients of [`add_rms_norm`], from the `sum` that it returned, its gain and offset, its statistics,
/// `dnormalized` and `dsum`, the gradient that arrives on the sum from elsewhere; both `[rows, width]`.
///
/// `dx` is the gradient of `x` and of the residual alike: that of the norm plus `dsum`.
pub fn add_rms_norm_backward(
    sum: &[f32],
    gamma: &[f32],
    offset: f32,
    statistics: &[f32],
    dnormalized: &[f32],
    dsum: &[f32],
) -> RmsNormGradients {
    assert_eq!(dsum.len(), sum.len(), "dsum of {} elements for a sum of {}", dsum.len(), sum.len());
    backward(sum, gamma, offset, statistics, dnormalized, Some(dsum))
}

/// [`rms_norm_backward`], with `dsum` added to `dx`.
fn backward(
    x: &[f32],
    gamma: &[f32],
    offset: f32,
    statistics: &[f32],
    dy: &[f32],
    dsum: Option<&[f32]>,
) -> RmsNormGradients {
    let width = gamma.len();
    let rows = row_count(x, width);
    assert_eq!(statistics.len(), rows, "statistics [{rows}]");
    assert_eq!(dy.len(), x.len(), "dy [{rows}, {width}]");
    let mut dx = Output::new(rows * width);
    let mut partials = Vec::new();
    if rows > 0 {
        let inputs = x.par_chunks(ROWS * width).zip(dy.par_chunks(ROWS * width)).zip(statistics.par_chunks(ROWS));
        let chunks = dx.slots().par_chunks_mut(ROWS * width).zip(inputs).enumerate();
        partials = chunks
            .map(|(chunk, (dx, ((x, dy), statistics)))| {
                let mut dgamma = vec![0.0; width];
                let dsum = dsum.map(|dsum| &dsum[chunk * ROWS * width..][..dx.len()]);
                backward_rows(x, gamma, offset, statistics, dy, dsum, dx, &mut dgamma);
                dgamma
            })
            .collect();
    }
    let dgamma = sum_in_order(partials, width);
    // SAFETY: the chunks cover the output, and the kernel writes every row.
    RmsNormGradients { dx: unsafe { dx.written() }, dgamma }
}

vectorized! {
    fn forward_rows<A>(
        x: &[f32],
        gamma: &[f32],
        offset: f32,
        epsilon: f32,
        y: &mut [MaybeUninit<f32>],
        statistics: &mut [MaybeUninit<f32>],
    ) {
        let width = gamma.len();
        for ((x, y), statistic) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics) {
            let (chunks, rest) = x.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                for j in 0..LANES {
                    lanes[j] = A::mul_add(chunk[j], chunk[j], lanes[j]);
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                *lane = A::mul_add(*value, *value, *lane);
            }
            let reciprocal = 1.0 / (sum_of_lanes(lanes) / width as f32 + epsilon).sqrt();
            for ((y, x), gamma) in y.iter_mut().zip(x).zip(gamma) {
                y.write(x * reciprocal * (offset + gamma));
            }
            statistic.write(reciprocal);
        }
    }
}

/// `h - x̂ mean(h x̂)` of one element.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn gradient<A: Arithmetic>(normalized: f32, h: f32, mean_product: f32) -> f32 {
    A::mul_add(-normalized, mean_product, h)
}

vectorized! {
    fn backward_rows<A>(
        x: &[f32],
        gamma: &[f32],
        offset: f32,
        statistics: &[f32],
        dy: &[f32],
        dsum: Option<&[f32]>,
        dx: &mut [MaybeUninit<f32>],
        dgamma: &mut [f32],
    ) {
        let width = gamma.len();
        let inputs = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(statistics);
        for (row, (((x, dy), reciprocal), dx)) in inputs.zip(dx.chunks_exact_mut(width)).enumerate() {
            let reciprocal = *reciprocal;
            for ((dgamma, x), dy) in dgamma.iter_mut().zip(x).zip(dy) {
                *dgamma = A::mul_add(*dy, x * reciprocal, *dgamma);
            }
            let ((x_chunks, x_rest), (dy_chunks, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            let (gamma_chunks, gamma_rest) = gamma.as_chunks::<LANES>();
            let mut products = [0.0; LANES];
            for ((x, dy), gamma) in x_chunks.iter().zip(dy_chunks).zip(gamma_chunks) {
                for j in 0..LANES {
                    products[j] = A::mul_add(dy[j] * (offset + gamma[j]), x[j] * reciprocal, products[j]);
                }
            }
            for j in 0..x_rest.len() {
                products[j] = A::mul_add(dy_rest[j] * (offset + gamma_rest[j]), x_rest[j] * reciprocal, products[j]);
            }
            let mean_product = sum_of_lanes(products) / width as f32;
            let elements = dx.iter_mut().zip(x).zip(dy).zip(gamma);
            if let Some(dsum) = dsum {
                for ((((dx, x), dy), gamma), dsum) in elements.zip(&dsum[row * width..][..width]) {
                    dx.write(A::mul_add(gradient::<A>(x * reciprocal, dy * (offset + gamma), mean_product), reciprocal, *dsum));
                }
            } else {
                for (((dx, x), dy), gamma) in elements {
                    dx.write(gradient::<A>(x * reciprocal, dy * (offset + gamma), mean_product) * reciprocal);
                }
            }
        }
    }
}
