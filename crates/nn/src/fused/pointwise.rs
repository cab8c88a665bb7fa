//! Activations, gated units, RMS norm and plain embeddings as backend extensions.

use super::autodiff::record;
use super::flex::{Dense, ids, output, with_last};
use crate::profile::timer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};
use loam_kernels::activation::{self, Activation};
use loam_kernels::{embedding, norm};

type Float = FloatTensor<Flex>;
type Integer = IntTensor<Flex>;

/// What `Dispatch` routes; the public face is [`crate::ops`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait PointwiseOperations: Backend {
    fn fused_activate(x: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn fused_gated(packed: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn fused_gated_pair(gate: FloatTensor<Self>, up: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, offset: f32, epsilon: f32) -> FloatTensor<Self>;
    fn fused_embed_tokens(table: FloatTensor<Self>, ids: IntTensor<Self>, scale: f32) -> FloatTensor<Self>;
}

/// Forward and backward on tensors of a concrete backend.
pub(crate) trait PointwiseKernels: Backend {
    fn kernel_activate(x: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn kernel_activate_backward(x: FloatTensor<Self>, dy: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn kernel_gated(packed: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn kernel_gated_backward(packed: FloatTensor<Self>, dy: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    fn kernel_gated_pair(gate: FloatTensor<Self>, up: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self>;
    /// Gradients of gate and up.
    fn kernel_gated_pair_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        kind: Activation,
    ) -> [FloatTensor<Self>; 2];
    /// The output, and the statistics of every row.
    fn kernel_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        offset: f32,
        epsilon: f32,
    ) -> [FloatTensor<Self>; 2];
    /// Gradients of x and gamma.
    fn kernel_rms_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        offset: f32,
    ) -> [FloatTensor<Self>; 2];
    fn kernel_embed_tokens(table: FloatTensor<Self>, ids: IntTensor<Self>, scale: f32) -> FloatTensor<Self>;
    fn kernel_embed_tokens_backward(
        dy: FloatTensor<Self>,
        ids: IntTensor<Self>,
        vocabulary: usize,
        scale: f32,
    ) -> FloatTensor<Self>;
}

impl PointwiseKernels for Flex {
    fn kernel_activate(x: Float, kind: Activation) -> Float {
        let _timer = timer("activation");
        let x = Dense::new(x);
        output(activation::forward(kind, x.values()), x.shape())
    }

    fn kernel_activate_backward(x: Float, dy: Float, kind: Activation) -> Float {
        let _timer = timer("activation, backward");
        let (x, dy) = (Dense::new(x), Dense::new(dy));
        output(activation::backward(kind, x.values(), dy.values()), x.shape())
    }

    fn kernel_gated(packed: Float, kind: Activation) -> Float {
        let _timer = timer("gated unit");
        let packed = Dense::new(packed);
        let width = packed.shape().last().copied().unwrap_or(0) / 2;
        output(activation::gated(kind, packed.values(), width), with_last(packed.shape(), width))
    }

    fn kernel_gated_backward(packed: Float, dy: Float, kind: Activation) -> Float {
        let _timer = timer("gated unit, backward");
        let (packed, dy) = (Dense::new(packed), Dense::new(dy));
        let width = packed.shape().last().copied().unwrap_or(0) / 2;
        output(activation::gated_backward(kind, packed.values(), dy.values(), width), packed.shape())
    }

    fn kernel_gated_pair(gate: Float, up: Float, kind: Activation) -> Float {
        let _timer = timer("gated unit");
        let (gate, up) = (Dense::new(gate), Dense::new(up));
        output(activation::gated_pair(kind, gate.values(), up.values()), gate.shape())
    }

    fn kernel_gated_pair_backward(gate: Float, up: Float, dy: Float, kind: Activation) -> [Float; 2] {
        let _timer = timer("gated unit, backward");
        let (gate, up, dy) = (Dense::new(gate), Dense::new(up), Dense::new(dy));
        let (dgate, dup) = activation::gated_pair_backward(kind, gate.values(), up.values(), dy.values());
        [output(dgate, gate.shape()), output(dup, up.shape())]
    }

    fn kernel_rms_norm(x: Float, gamma: Float, offset: f32, epsilon: f32) -> [Float; 2] {
        let _timer = timer("rms norm");
        let (x, gamma) = (Dense::new(x), Dense::new(gamma));
        let (y, statistics) = norm::rms_norm(x.values(), gamma.values(), offset, epsilon);
        let length = statistics.len();
        [output(y, x.shape()), output(statistics, [length])]
    }

    fn kernel_rms_norm_backward(x: Float, gamma: Float, statistics: Float, dy: Float, offset: f32) -> [Float; 2] {
        let _timer = timer("rms norm, backward");
        let (x, gamma, statistics, dy) = (Dense::new(x), Dense::new(gamma), Dense::new(statistics), Dense::new(dy));
        let g = norm::rms_norm_backward(x.values(), gamma.values(), offset, statistics.values(), dy.values());
        [output(g.dx, x.shape()), output(g.dgamma, gamma.shape())]
    }

    fn kernel_embed_tokens(table: Float, tokens: Integer, scale: f32) -> Float {
        let _timer = timer("embedding");
        let table = Dense::new(table);
        let (shape, width) = (tokens.shape().to_vec(), table.shape()[1]);
        output(embedding::gather_tokens(table.values(), &ids(&tokens), width, scale), [shape[0], shape[1], width])
    }

    fn kernel_embed_tokens_backward(dy: Float, tokens: Integer, vocabulary: usize, scale: f32) -> Float {
        let _timer = timer("embedding, backward");
        let dy = Dense::new(dy);
        let width = dy.shape()[2];
        let table = embedding::scatter_tokens(dy.values(), &ids(&tokens), vocabulary, width, scale, None);
        output(table, [vocabulary, width])
    }
}

/// Without differentiation: the forward kernels alone.
impl PointwiseOperations for Flex {
    fn fused_activate(x: Float, kind: Activation) -> Float {
        Self::kernel_activate(x, kind)
    }

    fn fused_gated(packed: Float, kind: Activation) -> Float {
        Self::kernel_gated(packed, kind)
    }

    fn fused_gated_pair(gate: Float, up: Float, kind: Activation) -> Float {
        Self::kernel_gated_pair(gate, up, kind)
    }

    fn fused_rms_norm(x: Float, gamma: Float, offset: f32, epsilon: f32) -> Float {
        let [y, _] = Self::kernel_rms_norm(x, gamma, offset, epsilon);
        y
    }

    fn fused_embed_tokens(table: Float, ids: Integer, scale: f32) -> Float {
        Self::kernel_embed_tokens(table, ids, scale)
    }
}

impl<B: PointwiseKernels + PointwiseOperations, C: CheckpointStrategy> PointwiseOperations for Autodiff<B, C> {
    fn fused_activate(x: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        record::<B, C, _, 1>(
            [node],
            |(x, kind), dy, _| [B::kernel_activate_backward(x, dy, kind)],
            |_| (B::kernel_activate(x.clone(), kind), Some((x, kind))),
        )
    }

    fn fused_gated(packed: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self> {
        let (packed, node) = packed.into_parts();
        record::<B, C, _, 1>(
            [node],
            |(packed, kind), dy, _| [B::kernel_gated_backward(packed, dy, kind)],
            |_| (B::kernel_gated(packed.clone(), kind), Some((packed, kind))),
        )
    }

    fn fused_gated_pair(gate: FloatTensor<Self>, up: FloatTensor<Self>, kind: Activation) -> FloatTensor<Self> {
        let ((gate, ng), (up, nu)) = (gate.into_parts(), up.into_parts());
        record::<B, C, _, 2>(
            [ng, nu],
            |(gate, up, kind), dy, _| B::kernel_gated_pair_backward(gate, up, dy, kind),
            |_| (B::kernel_gated_pair(gate.clone(), up.clone(), kind), Some((gate, up, kind))),
        )
    }

    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, offset: f32, epsilon: f32) -> FloatTensor<Self> {
        let ((x, nx), (gamma, ng)) = (x.into_parts(), gamma.into_parts());
        record::<B, C, _, 2>(
            [nx, ng],
            |(x, gamma, statistics, offset), dy, _| B::kernel_rms_norm_backward(x, gamma, statistics, dy, offset),
            |_| {
                let [y, statistics] = B::kernel_rms_norm(x.clone(), gamma.clone(), offset, epsilon);
                (y, Some((x, gamma, statistics, offset)))
            },
        )
    }

    fn fused_embed_tokens(table: FloatTensor<Self>, ids: IntTensor<Self>, scale: f32) -> FloatTensor<Self> {
        let (table, node) = table.into_parts();
        let vocabulary = table.shape()[0];
        record::<B, C, _, 1>(
            [node],
            |(ids, vocabulary, scale): (IntTensor<B>, usize, f32), dy, _| {
                [B::kernel_embed_tokens_backward(dy, ids, vocabulary, scale)]
            },
            |_| (B::kernel_embed_tokens(table, ids.clone(), scale), Some((ids, vocabulary, scale))),
        )
    }
}
