//! Differentiation of the fused operations. [`record`] hides Burn's `Backward` machinery, so that each operation is a
//! forward closure beside a backward one that turns the saved state and the output's gradient into its parents'.

use super::{FusedOperations, Kernels};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata};
use loam_kernels::activation::Activation;
use loam_kernels::dropout::Dropout;
use loam_kernels::matrix::Precision;
use std::fmt::{self, Debug};

/// From the state, the output's gradient, and which parents want theirs. What is not wanted may be any tensor.
type BackwardFunction<B, S, const N: usize> = fn(S, FloatTensor<B>, [bool; N]) -> [FloatTensor<B>; N];

struct Step<B: Backend, S, const N: usize>(BackwardFunction<B, S, N>);

impl<B: Backend, S, const N: usize> Debug for Step<B, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fused operation")
    }
}

impl<B: Backend, S: Clone + Send + Debug + 'static, const N: usize> Backward<B, N> for Step<B, S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let wanted = std::array::from_fn(|parent| ops.parents[parent].is_some());
        for (parent, gradient) in ops.parents.into_iter().zip((self.0)(ops.state, dy, wanted)) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Runs `forward(tracked)`; where some parent wants a gradient, `backward` is recorded with the state that it returned.
pub(super) fn record<B: Backend, C: CheckpointStrategy, S: Clone + Send + Debug + 'static, const N: usize>(
    parents: [NodeGuard; N],
    backward: BackwardFunction<B, S, N>,
    forward: impl FnOnce(bool) -> (FloatTensor<B>, Option<S>),
) -> FloatTensor<Autodiff<B, C>> {
    match Step::<B, S, N>(backward).prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (y, state) = forward(true);
            prepared.finish(state.expect("a tracked operation saves its state"), y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(forward(false).0),
    }
}

/// The gradients of a dense layer: of a layer that is not trained, of its input alone.
fn linear_gradients<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    dy: FloatTensor<B>,
    precision: Precision,
    trained: bool,
) -> [FloatTensor<B>; 3] {
    if trained {
        return B::kernel_linear_backward(x, weight, dy, precision);
    }
    let dx = B::kernel_linear_input_gradient(weight, dy.clone(), precision);
    [dx, dy.clone(), dy]
}

impl<B: Kernels + FusedOperations, C: CheckpointStrategy> FusedOperations for Autodiff<B, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (w, nw), (b, nb)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        record::<B, C, _, 3>(
            [nx, nw, nb],
            |(x, w, precision), dy, wanted| linear_gradients::<B>(x, w, dy, precision, wanted[1] || wanted[2]),
            |_| (B::kernel_linear(x.clone(), w.clone(), b, None, precision), Some((x, w, precision))),
        )
    }

    fn fused_linear_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (w, nw), (b, nb)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (residual, nr) = residual.into_parts();
        record::<B, C, _, 4>(
            [nx, nw, nb, nr],
            |(x, w, precision), dy, wanted| {
                let [dx, dw, db] = linear_gradients::<B>(x, w, dy.clone(), precision, wanted[1] || wanted[2]);
                [dx, dw, db, dy]
            },
            |_| (B::kernel_linear(x.clone(), w.clone(), b, Some(residual), precision), Some((x, w, precision))),
        )
    }

    fn fused_feed_forward(
        x: FloatTensor<Self>,
        up_weight: FloatTensor<Self>,
        up_bias: FloatTensor<Self>,
        down_weight: FloatTensor<Self>,
        down_bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (w1, n1), (b1, n2)) = (x.into_parts(), up_weight.into_parts(), up_bias.into_parts());
        let ((w2, n3), (b2, n4)) = (down_weight.into_parts(), down_bias.into_parts());
        let layers = [w1, b1, w2, b2];
        record::<B, C, _, 5>(
            [nx, n1, n2, n3, n4],
            |(x, layers, inner, activation, precision), dy, _| {
                B::kernel_feed_forward_backward(x, layers, inner, dy, activation, precision)
            },
            |_| {
                let [y, inner] = B::kernel_feed_forward(x.clone(), layers.clone(), None, activation, precision);
                (y, Some((x, layers, inner, activation, precision)))
            },
        )
    }

    fn fused_feed_forward_residual(
        x: FloatTensor<Self>,
        up_weight: FloatTensor<Self>,
        up_bias: FloatTensor<Self>,
        down_weight: FloatTensor<Self>,
        down_bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (w1, n1), (b1, n2)) = (x.into_parts(), up_weight.into_parts(), up_bias.into_parts());
        let ((w2, n3), (b2, n4)) = (down_weight.into_parts(), down_bias.into_parts());
        let (residual, nr) = residual.into_parts();
        let layers = [w1, b1, w2, b2];
        record::<B, C, _, 6>(
            [nx, n1, n2, n3, n4, nr],
            |(x, layers, inner, activation, precision), dy, _| {
                let [dx, d1, d2, d3, d4] =
                    B::kernel_feed_forward_backward(x, layers, inner, dy.clone(), activation, precision);
                [dx, d1, d2, d3, d4, dy]
            },
            |_| {
                let (x2, layers2) = (x.clone(), layers.clone());
                let [y, inner] = B::kernel_feed_forward(x2, layers2, Some(residual), activation, precision);
                (y, Some((x, layers, inner, activation, precision)))
            },
        )
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let ((x, nx), (g, ng), (b, nb)) = (x.into_parts(), gamma.into_parts(), beta.into_parts());
        record::<B, C, _, 3>(
            [nx, ng, nb],
            |(x, g, statistics), dy, _| B::kernel_layer_norm_backward(x, g, statistics, dy),
            |_| {
                let [y, statistics] = B::kernel_layer_norm(x.clone(), g.clone(), b, epsilon);
                (y, Some((x, g, statistics)))
            },
        )
    }

    fn fused_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (qkv, node) = qkv.into_parts();
        record::<B, C, _, 1>(
            [node],
            |(qkv, out, lse, heads, dropout, precision), dy, _| {
                [B::kernel_attention_backward(qkv, out, lse, dy, heads, dropout, precision)]
            },
            |_| {
                let [out, lse] = B::kernel_attention(qkv.clone(), heads, dropout, precision);
                (out.clone(), Some((qkv, out, lse, heads, dropout, precision)))
            },
        )
    }

    fn fused_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        record::<B, C, _, 1>(
            [node],
            |dropout, dy, _| [B::kernel_dropout(dy, dropout)],
            |_| (B::kernel_dropout(x, dropout), Some(dropout)),
        )
    }

    fn fused_head_loss(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f32,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (w, nw)) = (x.into_parts(), weight.into_parts());
        record::<B, C, _, 2>(
            [nx, nw],
            |[dx, dw]: [FloatTensor<B>; 2], dy, _| [B::kernel_scale(dx, dy.clone()), B::kernel_scale(dw, dy)],
            |tracked| B::kernel_head_loss(x, w, targets, scale, tracked, precision),
        )
    }

    fn fused_embed(
        tokens: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        ids: IntTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self> {
        let ((tokens, nt), (positions, np)) = (tokens.into_parts(), positions.into_parts());
        let (vocabulary, context) = (tokens.shape()[0], positions.shape()[0]);
        record::<B, C, _, 2>(
            [nt, np],
            |(ids, vocabulary, context, first): (IntTensor<B>, usize, usize, usize), dy, _| {
                B::kernel_embed_backward(dy, ids, vocabulary, context, first)
            },
            |_| (B::kernel_embed(tokens, positions, ids.clone(), first), Some((ids, vocabulary, context, first))),
        )
    }
}
