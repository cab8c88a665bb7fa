//! The operations of [`crate::ops`] composed of Burn's: the path of devices without kernels of ours, and the oracle of
//! the fused ones.

use crate::precision::matmul;
use burn::tensor::{Bool, Int, Tensor, TensorData, activation};
use loam_kernels::activation::Activation;
use loam_kernels::attention::AttentionShape;
use loam_kernels::dropout::{self, Dropout};

/// See [`crate::ops::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let mut shape = x.dims();
    let [inputs, outputs] = weight.dims();
    let rows = shape.iter().product::<usize>() / inputs.max(1);
    shape[D - 1] = outputs;
    (matmul(x.reshape([rows, inputs]), weight) + bias.unsqueeze()).reshape(shape)
}

/// The tanh form of GELU.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu_approximate(x)
}

/// See [`crate::ops::layer_norm`].
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let centered = x.clone() - x.mean_dim(D - 1);
    let variance = (centered.clone() * centered.clone()).mean_dim(D - 1);
    centered / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

/// See [`crate::ops::causal_attention`].
pub fn causal_attention(qkv: Tensor<3>, heads: usize, dropout: Option<Dropout>) -> Tensor<3> {
    let [batch, time, packed] = qkv.dims();
    let width = packed / 3;
    let split = |index: usize| -> Tensor<4> {
        qkv.clone()
            .slice([0..batch, 0..time, index * width..(index + 1) * width])
            .reshape([batch, time, heads, width / heads])
            .swap_dims(1, 2)
    };
    let (q, k, v) = (split(0), split(1), split(2));
    let mask: Tensor<4, Bool> = Tensor::<2, Bool>::tril_mask([time, time], 0, &qkv.device()).unsqueeze();
    let scores = matmul(q, k.transpose()) * (1.0 / ((width / heads) as f32).sqrt());
    let mut probabilities = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
    if let Some(dropout) = dropout.filter(|d| d.probability > 0.0) {
        let shape = AttentionShape { batch, time, heads, head_width: width / heads };
        let mask = loam_kernels::attention::attention_mask(shape, dropout);
        let mask = Tensor::<4>::from_data(TensorData::new(mask, [batch, heads, time, time]), &qkv.device());
        probabilities = probabilities * mask;
    }
    matmul(probabilities, v).swap_dims(1, 2).reshape([batch, time, width])
}

/// See [`crate::ops::embed`].
pub fn embed(tokens: Tensor<2>, positions: Tensor<2>, ids: Tensor<2, Int>, first: usize) -> Tensor<3> {
    let [batch, time] = ids.dims();
    let width = tokens.dims()[1];
    let tokens = tokens.select(0, ids.reshape([batch * time])).reshape([batch, time, width]);
    tokens + positions.slice([first..first + time, 0..width]).unsqueeze()
}

/// See [`crate::ops::dropout`].
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Tensor<D> {
    let shape = x.dims();
    let mask = dropout::mask(shape.iter().product(), dropout);
    let mask = Tensor::<D>::from_data(TensorData::new(mask, shape), &x.device());
    x * mask
}

/// The cross-entropy of every token, `[batch * time]` nats, 0 where the target is −1; differentiable. Its sum is
/// [`crate::ops::head_loss`].
pub fn token_losses(x: Tensor<3>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [batch, time, width] = x.dims();
    let rows = batch * time;
    let logits = matmul(x.reshape([rows, width]), weight.transpose());
    let counted = targets.clone().greater_equal_elem(0).float();
    let picked = targets.clamp_min(0).reshape([rows, 1]);
    activation::log_softmax(logits, 1).gather(1, picked).reshape([rows]).neg() * counted
}

/// See [`crate::ops::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, offset: f32, epsilon: f32) -> Tensor<D> {
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + epsilon).sqrt() * (gamma + offset).unsqueeze()
}

/// See [`crate::ops::activate`].
pub fn activate<const D: usize>(x: Tensor<D>, kind: Activation) -> Tensor<D> {
    match kind {
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Silu => x.clone() * activation::sigmoid(x),
        Activation::Relu => activation::relu(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// See [`crate::ops::gated`].
pub fn gated<const D: usize>(packed: Tensor<D>, kind: Activation) -> Tensor<D> {
    let width = packed.dims()[D - 1] / 2;
    let (gate, up) = (packed.clone().narrow(D - 1, 0, width), packed.narrow(D - 1, width, width));
    activate(gate, kind) * up
}

/// See [`crate::ops::embed_tokens`].
pub fn embed_tokens(table: Tensor<2>, ids: Tensor<2, Int>, scale: f32) -> Tensor<3> {
    let [batch, time] = ids.dims();
    let width = table.dims()[1];
    table.select(0, ids.reshape([batch * time])).reshape([batch, time, width]) * scale
}
