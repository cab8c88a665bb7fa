//! Normalization of rows: layer norm and RMS norm, alone and fused with the residual addition before them.

mod layer_norm;
mod rms_norm;

use crate::simd::vectorized;
use std::mem::MaybeUninit;

pub use layer_norm::{LayerNormGradients, add_layer_norm, add_layer_norm_backward, layer_norm, layer_norm_backward};
pub use rms_norm::{RmsNormGradients, add_rms_norm, add_rms_norm_backward, rms_norm, rms_norm_backward};

/// Rows that one task handles. Fixed, so that the sums over rows do not depend on the number of threads.
const ROWS: usize = 32;

/// What [`add_layer_norm`] and [`add_rms_norm`] return.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedNorm {
    /// `x + residual`, `[rows, width]`: the residual stream from here on, and what the backward pass needs.
    pub sum: Vec<f32>,
    /// The norm of the sum, `[rows, width]`.
    pub normalized: Vec<f32>,
    /// The norm's statistics: `[rows, 2]` of a layer norm, `[rows]` of an RMS norm.
    pub statistics: Vec<f32>,
}

fn row_count(x: &[f32], width: usize) -> usize {
    let rows = x.len().checked_div(width).unwrap_or(0);
    assert_eq!(x.len(), rows * width, "x [{rows}, {width}]");
    rows
}

/// Writes `x + residual` of one row; returns it.
fn add_row<'a>(x: &[f32], residual: &[f32], sum: &'a mut [MaybeUninit<f32>]) -> &'a [f32] {
    write_sum(x, residual, sum);
    // SAFETY: the three are rows of one width, so the kernel wrote every element.
    unsafe { sum.assume_init_ref() }
}

vectorized! {
    fn write_sum<A>(x: &[f32], residual: &[f32], sum: &mut [MaybeUninit<f32>]) {
        for ((sum, x), residual) in sum.iter_mut().zip(x).zip(residual) {
            sum.write(x + residual);
        }
    }
}
