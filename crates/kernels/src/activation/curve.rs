//! The curves of the activations, each with its slope, for loops that vectorize.
#![allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]

use crate::elementary::{erf, exp, sigmoid, tanh};
use crate::simd::Arithmetic;
use std::f32::consts::FRAC_1_SQRT_2;

/// A function of one value and its derivative.
pub(crate) trait Curve {
    /// f(x).
    fn value<A: Arithmetic>(x: f32) -> f32;

    /// f(x) and f'(x), which share most of their work.
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32);
}

/// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
pub(crate) struct GeluTanh;

/// `x Φ(x)`.
pub(crate) struct Gelu;

/// `x sigmoid(x)`.
pub(crate) struct Silu;

/// `max(x, 0)`.
pub(crate) struct Relu;

/// `1 / (1 + e⁻ˣ)`.
pub(crate) struct Sigmoid;

/// The hyperbolic tangent.
pub(crate) struct Tanh;

/// 2 √(2/π): tanh(u) + 1 = 2 sigmoid(2u) saves the tanh, so the factor of `u` is doubled once and for all.
const SLOPE: f32 = 1.595_769;
/// The cubic coefficient of the tanh form.
const CUBIC: f32 = 0.044_715;
/// 1 / √(2π).
const DENSITY_AT_ZERO: f32 = 0.398_942_3;

/// `sigmoid(2u)`, with `u` the argument of the tanh.
#[inline(always)]
fn gate<A: Arithmetic>(x: f32) -> f32 {
    sigmoid::<A>(SLOPE * x * A::mul_add(CUBIC, x * x, 1.0))
}

/// sigmoid(x) and its slope s (1 - s) = e / (1 + e)² with e = e^-|x|, in which nothing cancels.
#[inline(always)]
fn sigmoid_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
    let e = exp::<A>(-x.abs());
    let reciprocal = 1.0 / (1.0 + e);
    let smaller = e * reciprocal;
    (if x < 0.0 { smaller } else { reciprocal }, smaller * reciprocal)
}

impl Curve for GeluTanh {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        x * gate::<A>(x)
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        let gate = gate::<A>(x);
        let slope = SLOPE * A::mul_add(3.0 * CUBIC, x * x, 1.0);
        // Far from zero the gate is saturated and the square of x may be infinite: the product is then 0, not NaN.
        let bend = gate * (1.0 - gate) * x;
        let bend = if bend == 0.0 { 0.0 } else { bend * slope };
        (x * gate, gate + bend)
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        let half = 0.5 * x;
        A::mul_add(half, erf::<A>(x * FRAC_1_SQRT_2), half)
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        let (half, erf) = (0.5 * x, erf::<A>(x * FRAC_1_SQRT_2));
        let distribution = A::mul_add(0.5, erf, 0.5);
        let density = DENSITY_AT_ZERO * exp::<A>(-0.5 * x * x);
        (A::mul_add(half, erf, half), A::mul_add(x, density, distribution))
    }
}

impl Curve for Silu {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        x * sigmoid::<A>(x)
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        let (sigmoid, slope) = sigmoid_and_slope::<A>(x);
        (x * sigmoid, A::mul_add(x, slope, sigmoid))
    }
}

impl Curve for Relu {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        // This way around, NaN stays.
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        (Self::value::<A>(x), if x > 0.0 { 1.0 } else { 0.0 })
    }
}

impl Curve for Sigmoid {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        sigmoid::<A>(x)
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        sigmoid_and_slope::<A>(x)
    }
}

impl Curve for Tanh {
    #[inline(always)]
    fn value<A: Arithmetic>(x: f32) -> f32 {
        tanh::<A>(x)
    }

    #[inline(always)]
    fn value_and_slope<A: Arithmetic>(x: f32) -> (f32, f32) {
        // tanh(x) = 2 sigmoid(2x) - 1; 1 - tanh² would lose its digits where tanh is almost 1.
        (tanh::<A>(x), 4.0 * sigmoid_and_slope::<A>(2.0 * x).1)
    }
}
