//! The operations that models are made of. Each runs its fused kernel where there is one and its composed twin
//! elsewhere; both are differentiable.

use crate::fused::pointwise::PointwiseOperations;
use crate::fused::{self, FusedOperations};
use crate::head::{Grades, composed_grades};
use crate::{composed, device, precision};
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
use loam_kernels::activation::Activation;
use loam_kernels::dropout::Dropout;
use std::cell::Cell;

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with every operation of this thread composed of Burn operations, whatever the device: the oracle for
/// tests, and a way to tell a kernel's fault from a model's.
pub fn with_composed<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _restore = Restore(COMPOSED.replace(true));
    body()
}

pub(crate) fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    !COMPOSED.get() && device::has_kernels(&x.device())
}

/// `x · weight + bias`: x `[.., inputs]`, weight `[inputs, outputs]` (GPT-2's `Conv1D` layout), bias `[outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    if !fused(&x) {
        return composed::linear(x, weight, bias);
    }
    Tensor::from_dispatch(Dispatch::fused_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        precision::current(),
    ))
}

/// `residual + x · weight + bias`, the residual shaped as the output.
pub fn linear_residual<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    residual: Tensor<D>,
) -> Tensor<D> {
    if !fused(&x) {
        return composed::linear(x, weight, bias) + residual;
    }
    Tensor::from_dispatch(Dispatch::fused_linear_residual(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        residual.into_dispatch(),
        precision::current(),
    ))
}

/// `residual + f(x · w₁ + b₁) · w₂ + b₂`, the feed-forward of a Transformer (Vaswani et al. 2017, section 3.3): x
/// `[.., width]`, w₁ `[width, inner]`, w₂ `[inner, outputs]`, each layer given as its weight and its bias; the residual,
/// where there is one, shaped as the output. For the backward pass it keeps x and `x · w₁ + b₁`, not `f` of it.
pub fn feed_forward<const D: usize>(
    x: Tensor<D>,
    up: (Tensor<2>, Tensor<1>),
    down: (Tensor<2>, Tensor<1>),
    residual: Option<Tensor<D>>,
    activation: Activation,
) -> Tensor<D> {
    if !fused(&x) {
        let y = composed::linear(composed::activate(composed::linear(x, up.0, up.1), activation), down.0, down.1);
        return match residual {
            Some(residual) => y + residual,
            None => y,
        };
    }
    let (x, w1, b1) = (x.into_dispatch(), up.0.into_dispatch(), up.1.into_dispatch());
    let (w2, b2, precision) = (down.0.into_dispatch(), down.1.into_dispatch(), precision::current());
    Tensor::from_dispatch(match residual {
        None => Dispatch::fused_feed_forward(x, w1, b1, w2, b2, activation, precision),
        Some(residual) => {
            Dispatch::fused_feed_forward_residual(x, w1, b1, w2, b2, residual.into_dispatch(), activation, precision)
        }
    })
}

/// Layer normalization over the last dimension (Ba et al. 2016): x `[.., width]`, gamma and beta `[width]`.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    if !fused(&x) {
        return composed::layer_norm(x, gamma, beta, epsilon);
    }
    Tensor::from_dispatch(Dispatch::fused_layer_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
    ))
}

/// Causal self-attention of `heads` heads over packed `qkv` `[batch, time, 3 * width]`, scaled by the square root of
/// the head's width; `[batch, time, width]` out. `dropout` drops attention probabilities.
pub fn causal_attention(qkv: Tensor<3>, heads: usize, dropout: Option<Dropout>) -> Tensor<3> {
    if !fused(&qkv) {
        return composed::causal_attention(qkv, heads, dropout);
    }
    Tensor::from_dispatch(Dispatch::fused_attention(qkv.into_dispatch(), heads, dropout, precision::current()))
}

/// Token plus position embedding: tokens `[vocabulary, width]`, positions `[context, width]`, ids `[batch, time]`,
/// `[batch, time, width]` out; the first id of each row stands at position `first`.
pub fn embed(tokens: Tensor<2>, positions: Tensor<2>, ids: Tensor<2, Int>, first: usize) -> Tensor<3> {
    if !fused(&tokens) {
        return composed::embed(tokens, positions, ids, first);
    }
    Tensor::from_dispatch(Dispatch::fused_embed(
        tokens.into_dispatch(),
        positions.into_dispatch(),
        ids.into_dispatch(),
        first,
    ))
}

/// Token embedding: table `[vocabulary, width]`, ids `[batch, time]`, `[batch, time, width]` out, times `scale` (the
/// square root of the width in Vaswani et al. 2017; 1 for none).
pub fn embed_tokens(table: Tensor<2>, ids: Tensor<2, Int>, scale: f32) -> Tensor<3> {
    if !fused(&table) {
        return composed::embed_tokens(table, ids, scale);
    }
    Tensor::from_dispatch(Dispatch::fused_embed_tokens(table.into_dispatch(), ids.into_dispatch(), scale))
}

/// An activation, element by element.
pub fn activate<const D: usize>(x: Tensor<D>, kind: Activation) -> Tensor<D> {
    if !fused(&x) {
        return composed::activate(x, kind);
    }
    Tensor::from_dispatch(Dispatch::fused_activate(x.into_dispatch(), kind))
}

/// A gated linear unit (Shazeer 2020): packed `[.., 2 * width]`, the gate first, gives `kind(gate) · up`,
/// `[.., width]`. SwiGLU with `Silu`, GEGLU with `Gelu`.
pub fn gated<const D: usize>(packed: Tensor<D>, kind: Activation) -> Tensor<D> {
    if !fused(&packed) {
        return composed::gated(packed, kind);
    }
    Tensor::from_dispatch(Dispatch::fused_gated(packed.into_dispatch(), kind))
}

/// [`gated`] of gate and up part in tensors of their own, of one shape.
pub fn gated_pair<const D: usize>(gate: Tensor<D>, up: Tensor<D>, kind: Activation) -> Tensor<D> {
    if !fused(&gate) {
        return composed::activate(gate, kind) * up;
    }
    Tensor::from_dispatch(Dispatch::fused_gated_pair(gate.into_dispatch(), up.into_dispatch(), kind))
}

/// RMS normalization over the last dimension (Zhang & Sennrich 2019): `x / √(mean x² + ε) · (offset + gamma)`, x
/// `[.., width]`, gamma `[width]`; the offset is 0, or 1 in Gemma's weights.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, offset: f32, epsilon: f32) -> Tensor<D> {
    if !fused(&x) {
        return composed::rms_norm(x, gamma, offset, epsilon);
    }
    Tensor::from_dispatch(Dispatch::fused_rms_norm(x.into_dispatch(), gamma.into_dispatch(), offset, epsilon))
}

/// Inverted dropout (Srivastava et al. 2014). The mask is a function of the seed and the element's index alone, the
/// same on every device.
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Tensor<D> {
    if dropout.probability == 0.0 {
        return x;
    }
    if !fused(&x) {
        return composed::dropout(x, dropout);
    }
    Tensor::from_dispatch(Dispatch::fused_dropout(x.into_dispatch(), dropout))
}

/// `x · weightᵀ`: x `[batch, time, width]`, weight `[vocabulary, width]`, `[batch, time, vocabulary]` out.
pub fn logits(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [batch, time, width] = x.dims();
    let vocabulary = weight.dims()[0];
    let x = x.reshape([batch * time, width]);
    // Decoding never differentiates, and its single rows want the kernel.
    let logits = if fused(&x) && !x.is_autodiff() && !weight.is_autodiff() {
        fused::product(x, weight.transpose())
    } else {
        precision::matmul(x, weight.transpose())
    };
    logits.reshape([batch, time, vocabulary])
}

/// `scale` times the sum over tokens of the cross-entropy of `softmax(x · weightᵀ)` against `targets`, in nats:
/// x `[batch, time, width]`, weight `[vocabulary, width]`, targets `[batch * time]`, of which −1 counts for nothing.
/// `[1]` out. The fused kernel never holds the logits whole.
pub fn head_loss(x: Tensor<3>, weight: Tensor<2>, targets: Tensor<1, Int>, scale: f32) -> Tensor<1> {
    if !fused(&x) {
        return composed::token_losses(x, weight, targets).sum() * scale;
    }
    Tensor::from_dispatch(Dispatch::fused_head_loss(
        x.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
        scale,
        precision::current(),
    ))
}

/// The cross-entropy of every token, and whether it was the most probable one: `[batch * time]` each. Operands as in
/// [`head_loss`]. Not differentiable: evaluation and scoring.
pub fn token_grades(x: Tensor<3>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Grades {
    let (x, weight, targets) = (x.inner(), weight.inner(), targets.inner());
    if !fused(&x) {
        return composed_grades(logits(x, weight), targets);
    }
    fused::token_grades(x, weight, targets)
}
