//! Elementary functions and reductions over slices, in parallel.
//!
//! Errors are in units in the last place (ulp) of the correctly rounded result, over all of `f32`, at every SIMD level;
//! `tests/elementary.rs` measures them against `f64`.

use crate::buffer::{CHUNK, map};
use crate::elementary;
use crate::simd::{LANES, sum_of_lanes, vectorized};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Elements summed in `f32` lanes before the sum moves to `f64`.
const BLOCK: usize = 4096;

macro_rules! elementwise {
    ($(#[$meta:meta])* $name:ident, $kernel:ident) => {
        vectorized! {
            fn $kernel<A>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
                for (y, x) in y.iter_mut().zip(x) {
                    y.write(elementary::$name::<A>(*x));
                }
            }
        }

        $(#[$meta])*
        pub fn $name(x: &[f32]) -> Vec<f32> {
            // SAFETY: the kernel writes one element for each of `x`.
            unsafe { map(x, |_, x, y| $kernel(x, y)) }
        }
    };
}

elementwise! {
    /// eˣ of every element, within 1.5 ulp, subnormal results included; e^-∞ = 0, e^∞ = ∞, NaN stays.
    exp, exp_chunk
}
elementwise! {
    /// The hyperbolic tangent of every element, within 2 ulp; ±∞ gives ±1, NaN stays, -0 stays.
    tanh, tanh_chunk
}
elementwise! {
    /// The error function of every element, within 2 ulp; ±∞ gives ±1, NaN stays, -0 stays.
    erf, erf_chunk
}
elementwise! {
    /// 1 / (1 + e⁻ˣ) of every element, within 3 ulp, subnormal results included; -∞ gives 0, ∞ gives 1, NaN stays.
    sigmoid, sigmoid_chunk
}

/// Σ aᵢ bᵢ: `f32` lanes over blocks, `f64` over blocks. The order is fixed by the length alone.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    dots(a, &[b])[0]
}

/// [`dot`] with each of several slices, bit for bit, in one pass over `a`.
pub fn dots(a: &[f32], slices: &[&[f32]]) -> Vec<f64> {
    for b in slices {
        assert_eq!(a.len(), b.len(), "a dot product of {} and {} elements", a.len(), b.len());
    }
    let partials = |(task, a): (usize, &[f32])| -> Vec<f64> {
        let mut sums = vec![0.0; slices.len()];
        for (block, a) in a.chunks(BLOCK).enumerate() {
            let start = task * 8 * CHUNK + block * BLOCK;
            for (sum, b) in sums.iter_mut().zip(slices) {
                *sum += f64::from(dot_block(a, &b[start..][..a.len()]));
            }
        }
        sums
    };
    // Collected before they are summed: rayon's own sum would follow the threads.
    let partials: Vec<Vec<f64>> = a.par_chunks(8 * CHUNK).enumerate().map(partials).collect();
    (0..slices.len()).map(|index| partials.iter().map(|sums| sums[index]).sum()).collect()
}

/// Σ aᵢ², as [`dot`].
pub fn sum_of_squares(a: &[f32]) -> f64 {
    dot(a, a)
}

/// `accumulator += x`, element by element.
pub fn add_assign(accumulator: &mut [f32], x: &[f32]) {
    assert_eq!(accumulator.len(), x.len(), "adding {} elements to {}", x.len(), accumulator.len());
    accumulator.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(accumulator, x)| add_chunk(accumulator, x));
}

/// Σ factor · x over several slices of one length, in one pass.
pub fn combination(terms: &[(&[f32], f32)]) -> Vec<f32> {
    let Some(((first, factor), rest)) = terms.split_first() else { return Vec::new() };
    for (x, _) in rest {
        assert_eq!(x.len(), first.len(), "a combination of {} and {} elements", first.len(), x.len());
    }
    let combine = |start: usize, x: &[f32], y: &mut [MaybeUninit<f32>]| {
        let y = y.write_copy_of_slice(x);
        scale_chunk(y, *factor);
        for (x, factor) in rest {
            add_multiple_chunk(y, &x[start..][..y.len()], *factor);
        }
    };
    // SAFETY: the copy writes one element for each of `first`.
    unsafe { map(first, combine) }
}

/// `x *= factor`, element by element.
pub fn scale_assign(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| scale_chunk(x, factor));
}

vectorized! {
    /// Σ aᵢ bᵢ of slices of equal length, in `f32` lanes.
    pub(crate) fn dot_block<A>(a: &[f32], b: &[f32]) -> f32 {
        let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        // Four sets of lanes, since each addition waits for the one before it.
        let mut lanes = [[0.0_f32; LANES]; 4];
        let ((a_groups, a_left), (b_groups, b_left)) = (a_chunks.as_chunks::<4>(), b_chunks.as_chunks::<4>());
        for (a, b) in a_groups.iter().zip(b_groups) {
            for k in 0..4 {
                for j in 0..LANES {
                    lanes[k][j] = A::mul_add(a[k][j], b[k][j], lanes[k][j]);
                }
            }
        }
        for (a, b) in a_left.iter().zip(b_left) {
            for j in 0..LANES {
                lanes[0][j] = A::mul_add(a[j], b[j], lanes[0][j]);
            }
        }
        for (lane, (a, b)) in lanes[1].iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *lane = A::mul_add(*a, *b, *lane);
        }
        let mut total = [0.0; LANES];
        for j in 0..LANES {
            total[j] = (lanes[0][j] + lanes[1][j]) + (lanes[2][j] + lanes[3][j]);
        }
        sum_of_lanes(total)
    }
}

vectorized! {
    /// `accumulator += x` on one thread.
    pub(crate) fn add_chunk<A>(accumulator: &mut [f32], x: &[f32]) {
        for (accumulator, x) in accumulator.iter_mut().zip(x) {
            *accumulator += x;
        }
    }
}

vectorized! {
    /// `x *= factor` on one thread.
    pub(crate) fn scale_chunk<A>(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

vectorized! {
    /// `x *= factors`, element by element, on one thread.
    pub(crate) fn multiply_chunk<A>(x: &mut [f32], factors: &[f32]) {
        for (x, factor) in x.iter_mut().zip(factors) {
            *x *= factor;
        }
    }
}

vectorized! {
    /// `sum += factor · x`, on one thread.
    pub(crate) fn add_multiple_chunk<A>(sum: &mut [f32], x: &[f32], factor: f32) {
        for (sum, value) in sum.iter_mut().zip(x) {
            *sum = A::mul_add(factor, *value, *sum);
        }
    }
}
