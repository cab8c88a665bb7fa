//! Layer normalization (Ba, Kiros & Hinton 2016).

use crate::buffer::{Output, sum_in_order};
use crate::simd::{LANES, sum_of_lanes, vectorized};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Rows that one task handles. Fixed, so that the sums over rows do not depend on the number of threads.
const ROWS: usize = 32;

/// What [`layer_norm_backward`] returns.
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
    let width = gamma.len();
    let rows = row_count(x, width);
    assert_eq!(statistics.len(), rows * 2, "statistics [{rows}, 2]");
    assert_eq!(dy.len(), x.len(), "dy [{rows}, {width}]");
    let mut dx = Output::new(rows * width);
    let mut partials = Vec::new();
    if rows > 0 {
        let inputs = x.par_chunks(ROWS * width).zip(dy.par_chunks(ROWS * width)).zip(statistics.par_chunks(ROWS * 2));
        let chunks = dx.slots().par_chunks_mut(ROWS * width).zip(inputs);
        partials = chunks
            .map(|(dx, ((x, dy), statistics))| {
                // dgamma, then dbeta.
                let mut sums = vec![0.0; 2 * width];
                let (dgamma, dbeta) = sums.split_at_mut(width);
                backward_rows(x, gamma, statistics, dy, dx, dgamma, dbeta);
                sums
            })
            .collect();
    }
    let mut dgamma = sum_in_order(partials, 2 * width);
    let dbeta = dgamma.split_off(width);
    // SAFETY: the chunks cover the output, and the kernel writes every row.
    LayerNormGradients { dx: unsafe { dx.written() }, dgamma, dbeta }
}

fn row_count(x: &[f32], width: usize) -> usize {
    let rows = x.len().checked_div(width).unwrap_or(0);
    assert_eq!(x.len(), rows * width, "x [{rows}, {width}]");
    rows
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

vectorized! {
    fn backward_rows<A>(
        x: &[f32],
        gamma: &[f32],
        statistics: &[f32],
        dy: &[f32],
        dx: &mut [MaybeUninit<f32>],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let width = gamma.len();
        let inputs = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(statistics.chunks_exact(2));
        for (((x, dy), statistics), dx) in inputs.zip(dx.chunks_exact_mut(width)) {
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
            for (((dx, x), dy), gamma) in dx.iter_mut().zip(x).zip(dy).zip(gamma) {
                let normalized = (x - mean) * reciprocal;
                dx.write(A::mul_add(-normalized, mean_product, A::mul_add(*dy, *gamma, -mean_h)) * reciprocal);
            }
        }
    }
}
