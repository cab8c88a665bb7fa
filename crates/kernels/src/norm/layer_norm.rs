//! Layer normalization (Ba, Kiros & Hinton 2016).

use super::{AddedNorm, ROWS, add_row, row_count};
use crate::buffer::{Output, sum_in_order};
use crate::simd::{Arithmetic, LANES, sum_of_lanes, vectorized};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// What [`layer_norm_backward`] and [`add_layer_norm_backward`] return.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormGradients {
    /// Gradient of the input, `[rows, width]`.
    pub dx: Vec<f32>,
    /// Gradient of the gain, `[width]`.
    pub dgamma: Vec<f32>,
    /// Gradient of the shift, `[width]`.
    pub dbeta: Vec<f32>,
}

/// `y = (x - mean) / √(variance + epsilon) · gamma + beta` over each row of `x`, `[rows, width]`; `gamma` and `beta`
/// are `[width]`. The variance is the biased one.
///
/// Returns `y`, `[rows, width]`, and the statistics that the backward pass needs, `[rows, 2]`: mean and reciprocal
/// standard deviation.
pub fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    assert_eq!(beta.len(), width, "beta [{width}]");
    let rows = row_count(x, width);
    let (mut y, mut statistics) = (Output::new(rows * width), Output::new(rows * 2));
    if rows > 0 {
        let chunks = y.slots().par_chunks_mut(ROWS * width).zip(statistics.slots().par_chunks_mut(ROWS * 2));
        chunks.zip(x.par_chunks(ROWS * width)).for_each(|((y, statistics), x)| {
            forward_rows(x, gamma, beta, epsilon, y, statistics);
        });
    }
    // SAFETY: the chunks cover both outputs, and the kernel writes every row of both.
    unsafe { (y.written(), statistics.written()) }
}

/// The gradients of [`layer_norm`], from its input, its gain, its statistics and `dy`, `[rows, width]`.
///
/// With x̂ the normalized input and h = dy · gamma: `dx = (h - mean(h) - x̂ mean(h x̂)) / σ`, `dgamma = Σ dy x̂`,
/// `dbeta = Σ dy`.
pub fn layer_norm_backward(x: &[f32], gamma: &[f32], statistics: &[f32], dy: &[f32]) -> LayerNormGradients {
    backward(x, gamma, statistics, dy, None)
}

/// [`layer_norm`] of `x + residual`, both `[rows, width]`, in one pass: the end of one block and the start of the next.
pub fn add_layer_norm(x: &[f32], residual: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> AddedNorm {
    let width = gamma.len();
    assert_eq!(beta.len(), width, "beta [{width}]");
    let rows = row_count(x, width);
    assert_eq!(residual.len(), x.len(), "residual [{rows}, {width}]");
    let (mut sum, mut y, mut statistics) =
        (Output::new(rows * width), Output::new(rows * width), Output::new(rows * 2));
    if rows > 0 {
        let inputs = x.par_chunks(ROWS * width).zip(residual.par_chunks(ROWS * width));
        let outputs = y.slots().par_chunks_mut(ROWS * width).zip(statistics.slots().par_chunks_mut(ROWS * 2));
        let tasks = sum.slots().par_chunks_mut(ROWS * width).zip(outputs).zip(inputs);
        tasks.for_each(|((sum, (y, statistics)), (x, residual))| {
            let inputs = x.chunks_exact(width).zip(residual.chunks_exact(width));
            let outputs = y.chunks_exact_mut(width).zip(statistics.chunks_exact_mut(2));
            for ((sum, (y, statistics)), (x, residual)) in sum.chunks_exact_mut(width).zip(outputs).zip(inputs) {
                forward_rows(add_row(x, residual, sum), gamma, beta, epsilon, y, statistics);
            }
        });
    }
    // SAFETY: the tasks cover all three outputs, and the two kernels write every row of them.
    unsafe { AddedNorm { sum: sum.written(), normalized: y.written(), statistics: statistics.written() } }
}

/// The gradients of [`add_layer_norm`], from the `sum` that it returned, its gain, its statistics, `dnormalized` and
/// `dsum`, the gradient that arrives on the sum from elsewhere; both `[rows, width]`.
///
/// `dx` is the gradient of `x` and of the residual alike: that of the norm plus `dsum`.
pub fn add_layer_norm_backward(
    sum: &[f32],
    gamma: &[f32],
    statistics: &[f32],
    dnormalized: &[f32],
    dsum: &[f32],
) -> LayerNormGradients {
    assert_eq!(dsum.len(), sum.len(), "dsum of {} elements for a sum of {}", dsum.len(), sum.len());
    backward(sum, gamma, statistics, dnormalized, Some(dsum))
}

/// [`layer_norm_backward`], with `dsum` added to `dx`.
fn backward(x: &[f32], gamma: &[f32], statistics: &[f32], dy: &[f32], dsum: Option<&[f32]>) -> LayerNormGradients {
    let width = gamma.len();
    let rows = row_count(x, width);
    assert_eq!(statistics.len(), rows * 2, "statistics [{rows}, 2]");
    assert_eq!(dy.len(), x.len(), "dy [{rows}, {width}]");
    let mut dx = Output::new(rows * width);
    let mut partials = Vec::new();
    if rows > 0 {
        let inputs = x.par_chunks(ROWS * width).zip(dy.par_chunks(ROWS * width)).zip(statistics.par_chunks(ROWS * 2));
        let chunks = dx.slots().par_chunks_mut(ROWS * width).zip(inputs).enumerate();
        partials = chunks
            .map(|(chunk, (dx, ((x, dy), statistics)))| {
                // dgamma, then dbeta.
                let mut sums = vec![0.0; 2 * width];
                let (dgamma, dbeta) = sums.split_at_mut(width);
                let dsum = dsum.map(|dsum| &dsum[chunk * ROWS * width..][..dx.len()]);
                backward_rows(x, gamma, statistics, dy, dsum, dx, dgamma, dbeta);
                sums
            })
            .collect();
    }
    let mut dgamma = sum_in_order(partials, 2 * width);
    let dbeta = dgamma.split_off(width);
    // SAFETY: the chunks cover the output, and the kernel writes every row.
    LayerNormGradients { dx: unsafe { dx.written() }, dgamma, dbeta }
}

vectorized! {
    fn forward_rows<A>(
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        epsilon: f32,
        y: &mut [MaybeUninit<f32>],
        statistics: &mut [MaybeUninit<f32>],
    ) {
        let width = gamma.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics.chunks_exact_mut(2));
        for ((x, y), statistics) in rows {
            let (chunks, rest) = x.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                for j in 0..LANES {
                    lanes[j] += chunk[j];
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                *lane += value;
            }
            let mean = sum_of_lanes(lanes) / width as f32;
            // A second pass over a row in the first-level cache: E[x²] - mean² would cancel.
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                for j in 0..LANES {
                    let centered = chunk[j] - mean;
                    lanes[j] = A::mul_add(centered, centered, lanes[j]);
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                let centered = value - mean;
                *lane = A::mul_add(centered, centered, *lane);
            }
            let reciprocal = 1.0 / (sum_of_lanes(lanes) / width as f32 + epsilon).sqrt();
            for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                y.write(A::mul_add((x - mean) * reciprocal, *gamma, *beta));
            }
            statistics[0].write(mean);
            statistics[1].write(reciprocal);
        }
    }
}

/// `h - mean(h) - x̂ mean(h x̂)` of one element.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn gradient<A: Arithmetic>(normalized: f32, dy: f32, gamma: f32, mean_h: f32, mean_product: f32) -> f32 {
    A::mul_add(-normalized, mean_product, A::mul_add(dy, gamma, -mean_h))
}

vectorized! {
    fn backward_rows<A>(
        x: &[f32],
        gamma: &[f32],
        statistics: &[f32],
        dy: &[f32],
        dsum: Option<&[f32]>,
        dx: &mut [MaybeUninit<f32>],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let width = gamma.len();
        let inputs = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(statistics.chunks_exact(2));
        for (row, (((x, dy), statistics), dx)) in inputs.zip(dx.chunks_exact_mut(width)).enumerate() {
            let (mean, reciprocal) = (statistics[0], statistics[1]);
            for (((dgamma, dbeta), x), dy) in dgamma.iter_mut().zip(dbeta.iter_mut()).zip(x).zip(dy) {
                *dgamma = A::mul_add(*dy, (x - mean) * reciprocal, *dgamma);
                *dbeta += dy;
            }
            let ((x_chunks, x_rest), (dy_chunks, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            let (gamma_chunks, gamma_rest) = gamma.as_chunks::<LANES>();
            let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
            for ((x, dy), gamma) in x_chunks.iter().zip(dy_chunks).zip(gamma_chunks) {
                for j in 0..LANES {
                    let h = dy[j] * gamma[j];
                    sums[j] += h;
                    products[j] = A::mul_add(h, (x[j] - mean) * reciprocal, products[j]);
                }
            }
            for j in 0..x_rest.len() {
                let h = dy_rest[j] * gamma_rest[j];
                sums[j] += h;
                products[j] = A::mul_add(h, (x_rest[j] - mean) * reciprocal, products[j]);
            }
            let mean_h = sum_of_lanes(sums) / width as f32;
            let mean_product = sum_of_lanes(products) / width as f32;
            let elements = dx.iter_mut().zip(x).zip(dy).zip(gamma);
            if let Some(dsum) = dsum {
                for ((((dx, x), dy), gamma), dsum) in elements.zip(&dsum[row * width..][..width]) {
                    dx.write(A::mul_add(gradient::<A>((x - mean) * reciprocal, *dy, *gamma, mean_h, mean_product), reciprocal, *dsum));
                }
            } else {
                for (((dx, x), dy), gamma) in elements {
                    dx.write(gradient::<A>((x - mean) * reciprocal, *dy, *gamma, mean_h, mean_product) * reciprocal);
                }
            }
        }
    }
}
