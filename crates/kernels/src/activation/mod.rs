//! Activations, forward and backward, alone and as gates of linear units.
//!
//! The backward passes take the input `x`, never the output: whoever fused what comes before still has it, and the
//! curve costs less than the memory that an output kept for the backward pass would take.

mod curve;
mod gated;

use crate::buffer::{CHUNK, Output, SharedPointer, map};
use crate::simd::vectorized;
use curve::Curve;
use rayon::prelude::*;
use std::mem::MaybeUninit;

pub use gated::{gated, gated_backward, gated_pair, gated_pair_backward};

/// An activation by name, for configurations and gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x) = ½ x (1 + erf(x / √2))` (Hendrycks & Gimpel 2016).
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))` (Hendrycks & Gimpel 2016): GPT-2's `gelu_new`.
    GeluTanh,
    /// `x sigmoid(x)` (Elfwing, Uchibe & Doya 2018), also called Swish.
    Silu,
    /// `max(x, 0)` (Nair & Hinton 2010); its slope at 0 is 0.
    Relu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 6] = [Self::Gelu, Self::GeluTanh, Self::Silu, Self::Relu, Self::Sigmoid, Self::Tanh];
}

/// Evaluates an expression, usually a kernel, with `$curve` as the type of the activation's curve.
///
/// Kernels go into loops as function pointers: a parallel loop compiled for every curve is many times the kernels.
macro_rules! with_curve {
    ($activation:expr, $curve:ident => $expression:expr) => {
        with_curve!(@ $activation, $curve, $expression, Gelu, GeluTanh, Silu, Relu, Sigmoid, Tanh)
    };
    (@ $activation:expr, $curve:ident, $expression:expr, $($name:ident),*) => {
        match $activation {
            $($crate::activation::Activation::$name => {
                type $curve = $crate::activation::curve::$name;
                $expression
            })*
        }
    };
}
use with_curve;

/// The activation of every element; the result has the shape of `x`.
pub fn forward(activation: Activation, x: &[f32]) -> Vec<f32> {
    let kernel: fn(&[f32], &mut [MaybeUninit<f32>]) = with_curve!(activation, C => values_chunk::<C>);
    // SAFETY: the kernels write one element for each of `x`.
    unsafe { map(x, |_, x, y| kernel(x, y)) }
}

/// `dy · f'(x)`, from the input `x` of [`forward`] and `dy` of the same shape.
pub fn backward(activation: Activation, x: &[f32], dy: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "{} gradients of {} elements", dy.len(), x.len());
    let kernel: fn(&[f32], &[f32], &mut [MaybeUninit<f32>]) = with_curve!(activation, C => gradients_chunk::<C>);
    let mut dx = Output::new(x.len());
    let chunks = dx.slots().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK));
    chunks.for_each(|((dx, x), dy)| kernel(x, dy, dx));
    // SAFETY: the chunks cover the output, and the kernels write one element for each of `x`.
    unsafe { dx.written() }
}

/// [`forward`] on this thread, into `y` of the length of `x`.
pub(crate) fn forward_into(activation: Activation, x: &[f32], y: &mut [f32]) {
    let kernel: fn(&[f32], &mut [MaybeUninit<f32>]) = with_curve!(activation, C => values_chunk::<C>);
    // SAFETY: initialized elements may be written as if they were not.
    kernel(x, unsafe { SharedPointer::new(y).slots(0, y.len()) });
}

/// [`value_and_backward`] on this thread, the value into `y` of the length of `x`.
pub(crate) fn value_and_backward_into(activation: Activation, x: &[f32], dy: &mut [f32], y: &mut [MaybeUninit<f32>]) {
    let kernel: fn(&[f32], &mut [f32], &mut [MaybeUninit<f32>]) = with_curve!(activation, C => both_chunk::<C>);
    kernel(x, dy, y);
}

/// [`forward`] of `x`, and [`backward`] in place of `dy`: for a backward pass that needs both, one pass over `x`.
pub fn value_and_backward(activation: Activation, x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "{} gradients of {} elements", dy.len(), x.len());
    let kernel: fn(&[f32], &mut [f32], &mut [MaybeUninit<f32>]) = with_curve!(activation, C => both_chunk::<C>);
    let mut y = Output::new(x.len());
    let chunks = y.slots().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(dy.par_chunks_mut(CHUNK));
    chunks.for_each(|((y, x), dy)| kernel(x, dy, y));
    // SAFETY: the chunks cover the output, and the kernels write one element for each of `x`.
    unsafe { y.written() }
}

macro_rules! named {
    ($name:ident, $forward:ident, $backward:ident) => {
        #[doc = concat!("[`forward`] of [`Activation::", stringify!($name), "`].")]
        pub fn $forward(x: &[f32]) -> Vec<f32> {
            forward(Activation::$name, x)
        }

        #[doc = concat!("[`backward`] of [`Activation::", stringify!($name), "`].")]
        pub fn $backward(x: &[f32], dy: &[f32]) -> Vec<f32> {
            backward(Activation::$name, x, dy)
        }
    };
}
named!(Gelu, gelu, gelu_backward);
named!(GeluTanh, gelu_tanh, gelu_tanh_backward);
named!(Silu, silu, silu_backward);
named!(Relu, relu, relu_backward);
named!(Sigmoid, sigmoid, sigmoid_backward);
named!(Tanh, tanh, tanh_backward);

vectorized! {
    fn values_chunk<A, C: Curve>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, x) in y.iter_mut().zip(x) {
            y.write(C::value::<A>(*x));
        }
    }
}

vectorized! {
    fn both_chunk<A, C: Curve>(x: &[f32], dy: &mut [f32], y: &mut [MaybeUninit<f32>]) {
        for ((y, x), dy) in y.iter_mut().zip(x).zip(dy) {
            let (value, slope) = C::value_and_slope::<A>(*x);
            y.write(value);
            *dy *= slope;
        }
    }
}

vectorized! {
    fn gradients_chunk<A, C: Curve>(x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            dx.write(dy * C::value_and_slope::<A>(*x).1);
        }
    }
}
