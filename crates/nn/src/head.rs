//! The output layer of a vocabulary with its loss, where it has a bias, smooths its labels or weighs its rows. The plain
//! head of a tied decoder is [`crate::ops::head_loss`].

use crate::fused::head::{self, HeadOperations};
use crate::ops;
use crate::precision;
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor, TensorData, activation};
use std::sync::Arc;

/// How the losses of rows become one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Multiplies the sum over rows: one over the number of rows that count makes the mean.
    pub scale: f32,
    /// Label smoothing ε of Szegedy et al. 2016, section 7: the target distribution is `(1 − ε) δ + ε / vocabulary`.
    pub smoothing: f32,
    /// What each row counts for, `[rows]`; 1 without.
    pub row_weights: Option<Arc<[f32]>>,
}

impl Loss {
    /// `scale` times the plain sum.
    pub fn scaled(scale: f32) -> Self {
        Self { scale, smoothing: 0.0, row_weights: None }
    }
}

/// The sum over rows of the cross-entropy of `softmax(x · weightᵀ + bias)` against `targets`, in nats, as `loss` says:
/// x `[batch, time, width]`, weight `[vocabulary, width]`, bias `[vocabulary]`, targets `[batch * time]`, of which −1
/// counts for nothing. `[1]` out. The fused kernel never holds the logits whole.
pub fn loss(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, targets: Tensor<1, Int>, loss: Loss) -> Tensor<1> {
    if !ops::fused(&x) {
        return composed_loss(x, weight, bias, targets, &loss);
    }
    Tensor::from_dispatch(Dispatch::fused_biased_head_loss(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        targets.into_dispatch(),
        loss,
        precision::current(),
    ))
}

/// The cross-entropy of every row, `[batch * time]` nats without smoothing, 0 where the target is −1. Operands as in
/// [`loss`]. Not differentiable: evaluation and scoring.
pub fn token_losses(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, targets: Tensor<1, Int>) -> Tensor<1> {
    let (x, weight, bias, targets) = (x.inner(), weight.inner(), bias.inner(), targets.inner());
    if !ops::fused(&x) {
        return composed_losses(x, weight, bias, targets, 0.0);
    }
    head::token_losses(x, weight, bias, targets)
}

/// `x · weightᵀ + bias`, `[batch, time, vocabulary]`. Operands as in [`loss`].
pub fn logits(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    ops::logits(x, weight) + bias.unsqueeze()
}

/// The twin of [`loss`].
pub fn composed_loss(
    x: Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    targets: Tensor<1, Int>,
    loss: &Loss,
) -> Tensor<1> {
    let mut losses = composed_losses(x, weight, bias, targets, loss.smoothing);
    if let Some(weights) = &loss.row_weights {
        let weights = TensorData::new(weights.to_vec(), [weights.len()]);
        losses = losses.clone() * Tensor::from_data(weights, &losses.device());
    }
    losses.sum() * loss.scale
}

/// The smoothed loss of every row.
fn composed_losses(
    x: Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    targets: Tensor<1, Int>,
    smoothing: f32,
) -> Tensor<1> {
    let rows = targets.dims()[0];
    let vocabulary = weight.dims()[0];
    let counted = targets.clone().greater_equal_elem(0).float();
    let picked = targets.clamp_min(0).reshape([rows, 1]);
    let logits = logits(x, weight, bias).reshape([rows, vocabulary]);
    let log_probabilities = activation::log_softmax(logits, 1);
    let target = log_probabilities.clone().gather(1, picked).reshape([rows]);
    let mean = log_probabilities.mean_dim(1).reshape([rows]);
    (target * (smoothing - 1.0) - mean * smoothing) * counted
}
