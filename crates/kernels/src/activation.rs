//! GELU (Hendrycks & Gimpel 2016), exact and in its tanh form, with their derivatives.

use crate::buffer::{CHUNK, Output, map};
use crate::elementary::{erf, exp, sigmoid};
use crate::simd::{Arithmetic, vectorized};
use rayon::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;
use std::mem::MaybeUninit;

/// 2 √(2/π): tanh(u) + 1 = 2 sigmoid(2u) saves the tanh, so the factor of `u` is doubled once and for all.
const SLOPE: f32 = 1.595_769;
/// The cubic coefficient of the tanh form.
const CUBIC: f32 = 0.044_715;
/// 1 / √(2π).
const DENSITY_AT_ZERO: f32 = 0.398_942_3;

/// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))` of every element: GPT-2's `gelu_new`.
pub fn gelu_tanh(x: &[f32]) -> Vec<f32> {
    // SAFETY: the kernel writes one element for each of `x`.
    unsafe { map(x, |_, x, y| gelu_tanh_chunk(x, y)) }
}

/// `dy · gelu_tanh'(x)`.
pub fn gelu_tanh_backward(x: &[f32], dy: &[f32]) -> Vec<f32> {
    backward(x, dy, gelu_tanh_backward_chunk)
}

/// `x Φ(x) = ½ x (1 + erf(x / √2))` of every element.
pub fn gelu(x: &[f32]) -> Vec<f32> {
    // SAFETY: the kernel writes one element for each of `x`.
    unsafe { map(x, |_, x, y| gelu_chunk(x, y)) }
}

/// `dy · gelu'(x)`.
pub fn gelu_backward(x: &[f32], dy: &[f32]) -> Vec<f32> {
    backward(x, dy, gelu_backward_chunk)
}

fn backward(x: &[f32], dy: &[f32], kernel: fn(&[f32], &[f32], &mut [MaybeUninit<f32>])) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "{} gradients of {} elements", dy.len(), x.len());
    let mut dx = Output::new(x.len());
    let chunks = dx.slots().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK));
    chunks.for_each(|((dx, x), dy)| kernel(x, dy, dx));
    // SAFETY: the chunks cover the output, and both kernels write one element for each of `x`.
    unsafe { dx.written() }
}

/// `sigmoid(2u)`, with `u` the argument of the tanh.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn gate<A: Arithmetic>(x: f32) -> f32 {
    sigmoid::<A>(SLOPE * x * A::mul_add(CUBIC, x * x, 1.0))
}

vectorized! {
    fn gelu_tanh_chunk<A>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, x) in y.iter_mut().zip(x) {
            y.write(x * gate::<A>(*x));
        }
    }
}

vectorized! {
    fn gelu_tanh_backward_chunk<A>(x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let gate = gate::<A>(*x);
            let slope = SLOPE * A::mul_add(3.0 * CUBIC, x * x, 1.0);
            // Far from zero the gate is saturated and the square of x may be infinite: the product is then 0, not NaN.
            let bend = gate * (1.0 - gate) * x;
            let bend = if bend == 0.0 { 0.0 } else { bend * slope };
            dx.write(dy * (gate + bend));
        }
    }
}

vectorized! {
    fn gelu_chunk<A>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, x) in y.iter_mut().zip(x) {
            let half = 0.5 * x;
            y.write(A::mul_add(half, erf::<A>(x * FRAC_1_SQRT_2), half));
        }
    }
}

vectorized! {
    fn gelu_backward_chunk<A>(x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let distribution = A::mul_add(0.5, erf::<A>(x * FRAC_1_SQRT_2), 0.5);
            let density = DENSITY_AT_ZERO * exp::<A>(-0.5 * x * x);
            dx.write(dy * A::mul_add(*x, density, distribution));
        }
    }
}
