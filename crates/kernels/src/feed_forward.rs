//! The feed-forward of a Transformer (Vaswani et al. 2017, section 3.3), `f(x w₁ + b₁) w₂ + b₂`, as one operation.
//!
//! Of its two inner activations, four times as wide as the model, only `h = x w₁ + b₁` is kept for the backward pass,
//! which computes `f(h)` again beside the slope that it needs anyway. That is a fourth of what a block keeps.

use crate::activation::{self, Activation};
use crate::linear::{self, LinearGradients};
use crate::matrix::Precision;

/// The parameters of a feed-forward, and how it computes.
#[derive(Clone, Copy, Debug)]
pub struct FeedForward<'a> {
    /// w₁, `[width, inner]`.
    pub up_weight: &'a [f32],
    /// b₁, `[inner]`.
    pub up_bias: &'a [f32],
    /// w₂, `[inner, outputs]`.
    pub down_weight: &'a [f32],
    /// b₂, `[outputs]`.
    pub down_bias: &'a [f32],
    /// f.
    pub activation: Activation,
    /// Of the products.
    pub precision: Precision,
}

/// What [`FeedForward::backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardGradients {
    /// Of the first layer and the input.
    pub up: LinearGradients,
    /// Gradient of w₂, `[inner, outputs]`.
    pub down_weight: Vec<f32>,
    /// Gradient of b₂, `[outputs]`.
    pub down_bias: Vec<f32>,
}

impl FeedForward<'_> {
    /// Width of the input.
    fn width(&self) -> usize {
        self.up_weight.len().checked_div(self.up_bias.len()).unwrap_or(0)
    }

    /// The output, `[rows, outputs]`, with `residual` of that shape added, and h, `[rows, inner]`, for
    /// [`FeedForward::backward`]; x is `[rows, width]`.
    pub fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
        let (inner, outputs) = (self.up_bias.len(), self.down_bias.len());
        let h = linear::forward(x, self.up_weight, self.up_bias, None, self.width(), inner, self.precision);
        let value = activation::forward(self.activation, &h);
        let y = linear::forward(&value, self.down_weight, self.down_bias, residual, inner, outputs, self.precision);
        (y, h)
    }

    /// The gradients, from the input, from h and from `dy`, `[rows, outputs]`. The residual's is `dy`.
    pub fn backward(&self, x: &[f32], h: &[f32], dy: &[f32]) -> FeedForwardGradients {
        let (inner, outputs) = (self.up_bias.len(), self.down_bias.len());
        let mut dh = linear::backward_input(self.down_weight, dy, inner, outputs, self.precision);
        let value = activation::value_and_backward(self.activation, h, &mut dh);
        let down_weight = linear::backward_weight(&value, dy, inner, outputs, self.precision);
        drop(value);
        FeedForwardGradients {
            up: linear::backward(x, self.up_weight, &dh, self.width(), inner, self.precision),
            down_weight,
            down_bias: linear::column_sums(dy, outputs),
        }
    }
}
