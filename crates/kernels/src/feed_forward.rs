//! The feed-forward of a Transformer (Vaswani et al. 2017, section 3.3), `f(x w₁ + b₁) w₂ + b₂`, as one operation.
//!
//! Of its two inner activations, four times as wide as the model, only `h = x w₁ + b₁` is kept for the backward pass,
//! which computes `f(h)` again beside the slope that it needs anyway. That is a fourth of what a block keeps.

use crate::activation::{self, Activation};
use crate::buffer::Output;
use crate::linear::{self, LinearGradients};
use crate::matrix::{Beginning, MatrixRef, Precision, chained_products};

/// The parameters of a feed-forward, and how it computes.
#[derive(Clone, Copy, Debug)]
pub struct FeedForward<'a> {
    /// w₁, `[width, inner]`, in memory either way around.
    pub up_weight: MatrixRef<'a>,
    /// b₁, `[inner]`.
    pub up_bias: &'a [f32],
    /// w₂, `[inner, outputs]`, in memory either way around.
    pub down_weight: MatrixRef<'a>,
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
    /// Gradient of w₂, which lies in memory as w₂ does.
    pub down_weight: Vec<f32>,
    /// Gradient of b₂, `[outputs]`.
    pub down_bias: Vec<f32>,
}

impl FeedForward<'_> {
    /// Width of the input, of the inner layer, and of the output.
    fn sizes(&self) -> [usize; 3] {
        [self.up_weight.rows, self.up_weight.columns, self.down_weight.columns]
    }

    /// The output, `[rows, outputs]`, with `residual` of that shape added, and h, `[rows, inner]`, for
    /// [`FeedForward::backward`]; x is `[rows, width]`.
    pub fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
        let [width, inner, outputs] = self.sizes();
        let rows = x.len().checked_div(width).unwrap_or(0);
        if rows > 0 && inner > 0 && outputs > 0 {
            let (mut y, mut h) = (Output::new(rows * outputs), Output::new(rows * inner));
            let beginning = linear::beginning(self.down_bias, residual);
            // SAFETY: the outputs have the sizes of the results, and where it is true every element was written.
            unsafe {
                let done = chained_products(
                    MatrixRef::new(x, rows, width),
                    (self.up_weight, Beginning::Bias(self.up_bias), h.pointer()),
                    &|_, h, value| {
                        activation::forward_into(self.activation, h, value);
                        true
                    },
                    (self.down_weight, beginning, y.pointer()),
                    self.precision,
                );
                if done {
                    return (y.written(), h.written());
                }
            }
        }
        let h = linear::forward(x, self.up_weight, self.up_bias, None, self.precision);
        let value = activation::forward(self.activation, &h);
        let y = linear::forward(&value, self.down_weight, self.down_bias, residual, self.precision);
        (y, h)
    }

    /// The gradients, from the input, from h and from `dy`, `[rows, outputs]`. The residual's is `dy`.
    pub fn backward(&self, x: &[f32], h: &[f32], dy: &[f32]) -> FeedForwardGradients {
        let [width, inner, outputs] = self.sizes();
        let rows = x.len().checked_div(width).unwrap_or(0);
        let [value, dh, dx] = self.inner_gradients(x, h, dy).unwrap_or_else(|| {
            let mut dh = linear::backward_input(self.down_weight, dy, rows, self.precision);
            let value = activation::value_and_backward(self.activation, h, &mut dh);
            let dx = linear::backward_input(self.up_weight, &dh, rows, self.precision);
            [value, dh, dx]
        });
        let down_weight = linear::backward_weight(&value, self.down_weight, dy, rows, self.precision);
        drop(value);
        let dweight = linear::backward_weight(x, self.up_weight, &dh, rows, self.precision);
        FeedForwardGradients {
            up: LinearGradients { dx, dweight, dbias: linear::column_sums(&dh, inner) },
            down_weight,
            down_bias: linear::column_sums(dy, outputs),
        }
    }

    /// f(h), and the gradients of h and of the input, where both products can be made by tiles.
    fn inner_gradients(&self, x: &[f32], h: &[f32], dy: &[f32]) -> Option<[Vec<f32>; 3]> {
        let [width, inner, outputs] = self.sizes();
        if x.is_empty() || h.is_empty() || dy.is_empty() {
            return None;
        }
        let rows = x.len() / width;
        let (mut value, mut dh, mut dx) =
            (Output::new(rows * inner), Output::new(rows * inner), Output::new(rows * width));
        let values = value.pointer();
        // SAFETY: the outputs have the sizes of the results, and where it is true every element was written.
        unsafe {
            let done = chained_products(
                MatrixRef::new(dy, rows, outputs),
                (self.down_weight.transposed(), Beginning::Nothing, dh.pointer()),
                &|rows, dh, _| {
                    let (start, count) = (rows.start * inner, rows.len() * inner);
                    let h = &h[start..][..count];
                    activation::value_and_backward_into(self.activation, h, dh, values.slots(start, count));
                    false
                },
                (self.up_weight.transposed(), Beginning::Nothing, dx.pointer()),
                self.precision,
            );
            done.then(|| [value.written(), dh.written(), dx.written()])
        }
    }
}
