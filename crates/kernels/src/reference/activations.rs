//! [`mod@crate::activation`], element by element.

use super::{gelu, gelu_derivative, gelu_tanh, gelu_tanh_derivative, sigmoid};
use crate::activation::Activation;

/// [`crate::activation::forward`] of one value.
pub fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Silu => x * sigmoid(x),
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// The derivative of [`value`].
pub fn derivative(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => gelu_derivative(x),
        Activation::GeluTanh => gelu_tanh_derivative(x),
        Activation::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Activation::Relu => f64::from(u8::from(x > 0.0)),
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::Tanh => 1.0 / x.cosh().powi(2),
    }
}

/// [`crate::activation::gated`].
pub fn gated(activation: Activation, packed: &[f64], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in packed.chunks_exact(2 * width) {
        y.extend((0..width).map(|j| value(activation, row[j]) * row[width + j]));
    }
    y
}

/// [`crate::activation::gated_backward`].
pub fn gated_backward(activation: Activation, packed: &[f64], dy: &[f64], width: usize) -> Vec<f64> {
    let mut dpacked = Vec::new();
    for (row, dy) in packed.chunks_exact(2 * width).zip(dy.chunks_exact(width)) {
        dpacked.extend((0..width).map(|j| dy[j] * row[width + j] * derivative(activation, row[j])));
        dpacked.extend((0..width).map(|j| dy[j] * value(activation, row[j])));
    }
    dpacked
}
