//! Gated linear units (Shazeer 2020): `y = f(gate) · up`, element by element.
//!
//! With [`Activation::Silu`] this is SwiGLU, with the two GELUs GEGLU, with [`Activation::Relu`] ReGLU, with
//! [`Activation::Sigmoid`] the GLU of Dauphin et al. (2017). Gate and up come from one product, packed side by side, or
//! from two.

use super::{Activation, curve::Curve, with_curve};
use crate::buffer::{CHUNK, Output};
use crate::simd::vectorized;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Gate, up, result.
type Kernel = fn(&[f32], &[f32], &mut [MaybeUninit<f32>]);
/// Gate, up, gradient of the result, gradients of gate and up.
type BackwardKernel = fn(&[f32], &[f32], &[f32], &mut [MaybeUninit<f32>], &mut [MaybeUninit<f32>]);

/// `f(gate) · up` of `packed`, `[rows, 2 * width]`, each row the gate and then the up part; the result is
/// `[rows, width]`.
pub fn gated(activation: Activation, packed: &[f32], width: usize) -> Vec<f32> {
    let rows = row_count(packed, width);
    let mut y = Output::new(rows * width);
    if rows > 0 {
        let task = task_rows(width);
        let tasks = y.slots().par_chunks_mut(task * width).zip(packed.par_chunks(task * 2 * width));
        let kernel: Kernel = with_curve!(activation, C => gated_chunk::<C>);
        tasks.for_each(|(y, packed)| {
            for (y, packed) in y.chunks_exact_mut(width).zip(packed.chunks_exact(2 * width)) {
                let (gate, up) = packed.split_at(width);
                kernel(gate, up, y);
            }
        });
    }
    // SAFETY: the tasks cover every row, and the kernel writes each whole.
    unsafe { y.written() }
}

/// The gradient of [`gated`] given `dy`, `[rows, width]`: `[rows, 2 * width]`, packed as its input.
///
/// `dgate = dy · up · f'(gate)`, `dup = dy · f(gate)`.
pub fn gated_backward(activation: Activation, packed: &[f32], dy: &[f32], width: usize) -> Vec<f32> {
    let rows = row_count(packed, width);
    assert_eq!(dy.len(), rows * width, "dy [{rows}, {width}]");
    let mut dpacked = Output::new(packed.len());
    if rows > 0 {
        let task = task_rows(width);
        let inputs = packed.par_chunks(task * 2 * width).zip(dy.par_chunks(task * width));
        let tasks = dpacked.slots().par_chunks_mut(task * 2 * width).zip(inputs);
        let kernel: BackwardKernel = with_curve!(activation, C => gated_backward_chunk::<C>);
        tasks.for_each(|(dpacked, (packed, dy))| {
            let inputs = packed.chunks_exact(2 * width).zip(dy.chunks_exact(width));
            for (dpacked, (packed, dy)) in dpacked.chunks_exact_mut(2 * width).zip(inputs) {
                let ((gate, up), (dgate, dup)) = (packed.split_at(width), dpacked.split_at_mut(width));
                kernel(gate, up, dy, dgate, dup);
            }
        });
    }
    // SAFETY: the tasks cover every row, and the kernel writes both halves of each.
    unsafe { dpacked.written() }
}

/// `f(gate) · up` of two slices of one shape.
pub fn gated_pair(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "a gate of {} elements over {}", gate.len(), up.len());
    let mut y = Output::new(gate.len());
    let tasks = y.slots().par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
    let kernel: Kernel = with_curve!(activation, C => gated_chunk::<C>);
    tasks.for_each(|((y, gate), up)| kernel(gate, up, y));
    // SAFETY: the chunks cover the output, and the kernel writes each whole.
    unsafe { y.written() }
}

/// The gradients of [`gated_pair`] given `dy`: of the gate and of the up part.
pub fn gated_pair_backward(activation: Activation, gate: &[f32], up: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(gate.len(), up.len(), "a gate of {} elements over {}", gate.len(), up.len());
    assert_eq!(gate.len(), dy.len(), "{} gradients of {} elements", dy.len(), gate.len());
    let (mut dgate, mut dup) = (Output::new(gate.len()), Output::new(gate.len()));
    let inputs = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK));
    let tasks = dgate.slots().par_chunks_mut(CHUNK).zip(dup.slots().par_chunks_mut(CHUNK)).zip(inputs);
    let kernel: BackwardKernel = with_curve!(activation, C => gated_backward_chunk::<C>);
    tasks.for_each(|((dgate, dup), ((gate, up), dy))| kernel(gate, up, dy, dgate, dup));
    // SAFETY: the chunks cover both outputs, and the kernel writes both.
    unsafe { (dgate.written(), dup.written()) }
}

fn row_count(packed: &[f32], width: usize) -> usize {
    let rows = packed.len().checked_div(2 * width).unwrap_or(0);
    assert_eq!(packed.len(), rows * 2 * width, "packed [{rows}, 2 * {width}]");
    rows
}

/// Rows that one task handles: about a chunk of elements.
fn task_rows(width: usize) -> usize {
    (CHUNK / width).max(1)
}

vectorized! {
    fn gated_chunk<A, C: Curve>(gate: &[f32], up: &[f32], y: &mut [MaybeUninit<f32>]) {
        for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
            y.write(C::value::<A>(*gate) * up);
        }
    }
}

vectorized! {
    fn gated_backward_chunk<A, C: Curve>(
        gate: &[f32],
        up: &[f32],
        dy: &[f32],
        dgate: &mut [MaybeUninit<f32>],
        dup: &mut [MaybeUninit<f32>],
    ) {
        for ((((dgate, dup), gate), up), dy) in dgate.iter_mut().zip(dup).zip(gate).zip(up).zip(dy) {
            let (value, slope) = C::value_and_slope::<A>(*gate);
            dgate.write(dy * up * slope);
            dup.write(dy * value);
        }
    }
}
