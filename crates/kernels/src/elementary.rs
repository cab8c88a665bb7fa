//! Elementary functions of one `f32`, without branches, so that a loop over them vectorizes.
//!
//! Each is generic over [`Arithmetic`] and always inlined: it takes the instructions of the loop around it. Bounds on
//! the errors are stated on the slice functions of [`crate::vector`].
#![allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#![allow(clippy::excessive_precision, clippy::unreadable_literal, reason = "coefficients as published")]

use crate::simd::Arithmetic;

/// Adding and subtracting 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
const ROUNDING: f32 = 12_582_912.0;

/// `p(x)` by Horner's rule, from the highest coefficient down.
#[inline(always)]
fn polynomial<A: Arithmetic, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[0];
    for coefficient in &coefficients[1..] {
        value = A::mul_add(value, x, *coefficient);
    }
    value
}

/// `2^exponent` for exponents in -126 ..= 127.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) as u32) << 23)
}

/// exp(x) = 2ⁿ exp(r) with |r| ≤ ln 2 / 2; the polynomial and the split of ln 2 are those of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<A: Arithmetic>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite; the comparisons let NaN through.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = A::mul_add(x, std::f32::consts::LOG2_E, ROUNDING);
    let n = shifted - ROUNDING;
    let r = A::mul_add(n, -0.693359375, x);
    let r = A::mul_add(n, 2.12194440e-4, r);
    let p = polynomial::<A, 6>(
        r,
        [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
    );
    let p = A::mul_add(p, r * r, r) + 1.0;
    // Two factors, since 2ⁿ alone leaves the range of normal numbers before the result does.
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUNDING.to_bits() as i32);
    let half = exponent >> 1;
    p * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// tanh(x): an odd polynomial near zero (Cephes' `tanhf`), 1 - 2 / (exp(2 |x|) + 1) elsewhere.
#[inline(always)]
pub(crate) fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let p = polynomial::<A, 5>(
        square,
        [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
    );
    let near = A::mul_add(p * square, x, x);
    let far = 1.0 - 2.0 / (exp::<A>(2.0 * magnitude) + 1.0);
    // The sign last: it also turns the polynomial's 0 back into -0.
    if magnitude < 0.625 { near.abs() } else { far }.copysign(x)
}

/// 1 / (1 + exp(-x)), from exp(-|x|), which never overflows.
#[inline(always)]
pub(crate) fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    let e = exp::<A>(-x.abs());
    let reciprocal = 1.0 / (1.0 + e);
    if x < 0.0 { e * reciprocal } else { reciprocal }
}

/// erf(x): polynomials by N. Juffa, an odd one near zero and 1 - exp(p(|x|)) elsewhere.
#[inline(always)]
pub(crate) fn erf<A: Arithmetic>(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let near = polynomial::<A, 6>(
        square,
        [-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1],
    );
    let near = A::mul_add(near, x, x);
    // From 4 on, erf is 1 in f32; the limit keeps the polynomial from turning. The comparison lets NaN through.
    let t = if magnitude > 4.0 { 4.0 } else { magnitude };
    let high = A::mul_add(-1.72853470e-5, t, 3.83197126e-4);
    let low = A::mul_add(-3.88396438e-3, t, 2.42546219e-2);
    let far = A::mul_add(high, t * t, low);
    let far = A::mul_add(far, t, -1.06777877e-1);
    let far = A::mul_add(far, t, -6.34846687e-1);
    let far = A::mul_add(far, t, -1.28717512e-1);
    let far = A::mul_add(far, t, -t);
    let far = (1.0 - exp::<A>(far)).copysign(x);
    if magnitude > 0.927734375 { far } else { near }
}
