//! Layers whose fields carry the names of the checkpoints that they are stored in.

use crate::initialize::Initializer;
use crate::ops;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use loam_kernels::activation::Activation;
use loam_kernels::dropout::Dropout;

/// A dense layer with its weight as `[inputs, outputs]`, GPT-2's `Conv1D`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Weights from N(0, `deviation`²), bias 0.
    pub fn new(inputs: usize, outputs: usize, deviation: f64, draw: &mut Initializer) -> Self {
        Self { weight: draw.normal([inputs, outputs], deviation), bias: draw.constant([outputs], 0.0) }
    }

    /// `x · weight + bias`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::linear(x, self.weight.val(), self.bias.val())
    }

    /// `residual + x · weight + bias`.
    pub fn forward_residual(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        ops::linear_residual(x, self.weight.val(), self.bias.val(), residual)
    }

    /// `residual + down(activation(self(x)))`: the feed-forward of a Transformer.
    pub fn feed_forward(
        &self,
        down: &Self,
        x: Tensor<3>,
        residual: Option<Tensor<3>>,
        activation: Activation,
    ) -> Tensor<3> {
        let layer = |layer: &Self| (layer.weight.val(), layer.bias.val());
        ops::feed_forward(x, layer(self), layer(down), residual, activation)
    }
}

/// A dense layer with its weight as `[outputs, inputs]`, PyTorch's `Linear`.
#[derive(Module, Debug)]
pub struct Dense {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Dense {
    /// Weights from N(0, `deviation`²), bias 0.
    pub fn new(inputs: usize, outputs: usize, deviation: f64, draw: &mut Initializer) -> Self {
        Self { weight: draw.normal([outputs, inputs], deviation), bias: draw.constant([outputs], 0.0) }
    }

    /// `x · weightᵀ + bias`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::linear(x, self.weight.val().transpose(), self.bias.val())
    }

    /// `residual + x · weightᵀ + bias`.
    pub fn forward_residual(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        ops::linear_residual(x, self.weight.val().transpose(), self.bias.val(), residual)
    }

    /// `x + dropout(down(activation(self(x))))`: the feed-forward of a Transformer on its residual stream.
    pub fn feed_forward_dropped(
        &self,
        down: &Self,
        x: Tensor<3>,
        dropout: Option<Dropout>,
        activation: Activation,
    ) -> Tensor<3> {
        let layer = |layer: &Self| (layer.weight.val().transpose(), layer.bias.val());
        match dropout {
            None => ops::feed_forward(x.clone(), layer(self), layer(down), Some(x), activation),
            Some(dropout) => {
                ops::dropout(ops::feed_forward(x.clone(), layer(self), layer(down), None, activation), dropout) + x
            }
        }
    }

    /// `kind(x · weightᵀ + bias)`.
    pub fn forward_activated(&self, x: Tensor<3>, kind: Activation) -> Tensor<3> {
        ops::activate(self.forward(x), kind)
    }
}

/// A dense layer with its weight as `[outputs, inputs]` and a bias or none.
#[derive(Module, Debug)]
pub struct Projection {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Projection {
    /// Weights from N(0, `deviation`²), bias 0 where there is one.
    pub fn new(inputs: usize, outputs: usize, bias: bool, deviation: f64, draw: &mut Initializer) -> Self {
        let weight = draw.normal([outputs, inputs], deviation);
        Self { weight, bias: bias.then(|| draw.constant([outputs], 0.0)) }
    }

    /// The kernels add a bias always; one of zeros costs nothing beside their product.
    fn bias(&self, x: &Tensor<3>) -> Tensor<1> {
        let outputs = self.weight.lazy_shape()[0];
        self.bias.as_ref().map_or_else(|| Tensor::zeros([outputs], &x.device()), Param::val)
    }

    /// `x · weightᵀ + bias`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let bias = self.bias(&x);
        ops::linear(x, self.weight.val().transpose(), bias)
    }

    /// `residual + x · weightᵀ + bias`.
    pub fn forward_residual(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let bias = self.bias(&x);
        ops::linear_residual(x, self.weight.val().transpose(), bias, residual)
    }
}

/// RMS normalization with a gain (`weight`), stored less `offset`.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Gain less the offset, `[width]`.
    pub weight: Param<Tensor<1>>,
    offset: f64,
    epsilon: f64,
}

impl RmsNorm {
    /// A gain of 1. The offset is 0, or 1 in Gemma's weights.
    pub fn new(width: usize, offset: f64, epsilon: f64, draw: &mut Initializer) -> Self {
        Self { weight: draw.constant([width], (1.0 - offset) as f32), offset, epsilon }
    }

    /// Normalizes every row of `x` `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.offset as f32, self.epsilon as f32)
    }
}

/// Layer normalization with scale (`weight`) and shift (`bias`).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[width]`.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// Scale 1, shift 0.
    pub fn new(width: usize, epsilon: f64, draw: &mut Initializer) -> Self {
        Self { weight: draw.constant([width], 1.0), bias: draw.constant([width], 0.0), epsilon }
    }

    /// Normalizes every row of `x` `[.., width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon as f32)
    }
}

/// A table of vectors, one a row.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[rows, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// Rows from N(0, `deviation`²).
    pub fn new(rows: usize, width: usize, deviation: f64, draw: &mut Initializer) -> Self {
        Self { weight: draw.normal([rows, width], deviation) }
    }
}
