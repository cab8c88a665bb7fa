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

/// How a model did on every row: `[rows]` each.
#[derive(Clone, Debug)]
pub struct Grades {
    /// Cross-entropy in nats, 0 where nothing is to be told.
    pub losses: Tensor<1>,
    /// 1 where the target is the most probable token (the first of them, where several are equally probable), else 0.
    pub hits: Tensor<1>,
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

/// The cross-entropy of every row without smoothing, and whether its target is the most probable token: `[batch * time]`
/// each. Operands as in [`loss`]. Not differentiable: evaluation and scoring.
pub fn token_grades(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, targets: Tensor<1, Int>) -> Grades {
    let (x, weight, bias, targets) = (x.inner(), weight.inner(), bias.inner(), targets.inner());
    if !ops::fused(&x) {
        return composed_grades(logits(x, weight, bias), targets);
    }
    head::token_grades(x, weight, bias, targets)
}

/// The twin of [`token_grades`], from logits `[batch, time, vocabulary]` that stand whole.
pub fn composed_grades(logits: Tensor<3>, targets: Tensor<1, Int>) -> Grades {
    let rows = targets.dims()[0];
    let vocabulary = logits.dims()[2];
    let logits = logits.reshape([rows, vocabulary]);
    let counted = targets.clone().greater_equal_elem(0).float();
    let first = first_of_largest(logits.clone());
    let hits = first.equal(targets.clone()).float();
    let picked = targets.clamp_min(0).reshape([rows, 1]);
    let losses = activation::log_softmax(logits, 1).gather(1, picked).reshape([rows]).neg();
    // Adding 0 turns the −0 of rows that do not count into 0.
    Grades { losses: losses * counted + 0.0, hits }
}

/// The first column of the largest value of each row. Backends differ in which of equal ones their `argmax` gives.
fn first_of_largest(x: Tensor<2>) -> Tensor<1, Int> {
    let [rows, columns] = x.dims();
    let largest = x.clone().max_dim(1);
    let numbers = Tensor::<1, Int>::arange(0..columns as i64, &x.device()).reshape([1, columns]);
    let at = numbers.repeat_dim(0, rows).mask_fill(x.lower(largest.repeat_dim(1, columns)), columns as i64);
    at.min_dim(1).reshape([rows])
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
