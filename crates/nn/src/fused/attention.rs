//! Attention under any mask and rotary positions as backend extensions.

use super::autodiff::record;
use super::flex::{Dense, output};
use crate::attention::{Attention, Positions};
use crate::precision::Precision;
use crate::profile::timer;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::DType;
use loam_kernels::attention as kernel;
use loam_kernels::heads::{HeadLayout, HeadView};
use loam_kernels::rotary::{self, Pairing, RotaryTable};
use std::sync::Arc;

type Float = FloatTensor<Flex>;

/// What `Dispatch` routes; the public face is [`crate::attention`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait AttentionOperations: Backend {
    fn fused_attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        attention: Attention,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_attend_biased(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        attention: Attention,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_rotate(
        x: FloatTensor<Self>,
        table: Arc<RotaryTable>,
        positions: Positions,
        pairing: Pairing,
    ) -> FloatTensor<Self>;
}

/// Forward and backward on tensors of a concrete backend. Operands are `[q, k, v]`.
pub(crate) trait AttentionKernels: Backend {
    /// The output, and the logarithm of every query's sum of exponentials.
    fn kernel_attend(
        operands: [FloatTensor<Self>; 3],
        bias: Option<FloatTensor<Self>>,
        attention: &Attention,
        precision: Precision,
    ) -> [FloatTensor<Self>; 2];
    /// The gradients of the operands, and of the bias where there is one.
    fn kernel_attend_backward(
        operands: [FloatTensor<Self>; 3],
        bias: Option<FloatTensor<Self>>,
        saved: [FloatTensor<Self>; 2],
        dy: FloatTensor<Self>,
        attention: &Attention,
        precision: Precision,
    ) -> ([FloatTensor<Self>; 3], Option<FloatTensor<Self>>);
    /// Turns forth, or back where `back`.
    fn kernel_rotate(
        x: FloatTensor<Self>,
        table: &RotaryTable,
        positions: &Positions,
        pairing: Pairing,
        back: bool,
    ) -> FloatTensor<Self>;
}

/// A tensor `[batch, time, heads, head_width]` where it lies: a cache's tokens are a part of a larger buffer.
struct Heads(FlexTensor);

impl Heads {
    /// Copies only where the channels of a head do not lie side by side.
    fn new(tensor: Float) -> Self {
        assert_eq!(tensor.dtype(), DType::F32, "the CPU kernels compute in f32");
        let strides = tensor.layout().strides();
        let in_place = strides.iter().all(|&stride| stride >= 0) && (strides[3] == 1 || tensor.shape()[3] == 1);
        Self(if in_place { tensor } else { tensor.to_contiguous() })
    }

    fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    fn view(&self) -> HeadView<'_> {
        let shape = self.shape();
        let layout = self.0.layout();
        let stride = |dimension: usize| layout.strides()[dimension] as usize;
        let heads = HeadLayout {
            start: layout.start_offset(),
            batch_stride: stride(0),
            time_stride: stride(1),
            head_stride: stride(2),
            ..HeadLayout::tokens_first(shape[0], shape[1], shape[2], shape[3])
        };
        HeadView::new(self.0.storage::<f32>(), heads)
    }
}

fn view(tensor: &Dense) -> HeadView<'_> {
    let shape = tensor.shape();
    HeadView::new(tensor.values(), HeadLayout::tokens_first(shape[0], shape[1], shape[2], shape[3]))
}

impl AttentionKernels for Flex {
    fn kernel_attend(
        operands: [Float; 3],
        bias: Option<Float>,
        attention: &Attention,
        precision: Precision,
    ) -> [Float; 2] {
        let _timer = timer("attention");
        let [q, k, v] = operands.map(Heads::new);
        let bias = bias.map(Dense::new);
        let attention = attention.kernel(bias.as_ref().map(Dense::values), precision);
        let (out, log_sum_exp) = kernel::attend(q.view(), k.view(), v.view(), &attention);
        let length = log_sum_exp.len();
        [output(out, q.shape()), output(log_sum_exp, [length])]
    }

    fn kernel_attend_backward(
        operands: [Float; 3],
        bias: Option<Float>,
        saved: [Float; 2],
        dy: Float,
        attention: &Attention,
        precision: Precision,
    ) -> ([Float; 3], Option<Float>) {
        let _timer = timer("attention, backward");
        let [q, k, v] = operands.map(Dense::new);
        let ([out, log_sum_exp], dy) = (saved.map(Dense::new), Dense::new(dy));
        let bias = bias.map(Dense::new);
        let g = kernel::attend_backward(
            view(&q),
            view(&k),
            view(&v),
            out.values(),
            log_sum_exp.values(),
            dy.values(),
            &attention.kernel(bias.as_ref().map(Dense::values), precision),
        );
        let dbias = bias.zip(g.dbias).map(|(bias, gradient)| output(gradient, bias.shape()));
        ([output(g.dq, q.shape()), output(g.dk, k.shape()), output(g.dv, v.shape())], dbias)
    }

    fn kernel_rotate(x: Float, table: &RotaryTable, positions: &Positions, pairing: Pairing, back: bool) -> Float {
        let _timer = timer("rotary positions");
        let x = Dense::new(x);
        let turn = if back { rotary::backward } else { rotary::forward };
        output(turn(view(&x), table, positions.kernel(), pairing), x.shape())
    }
}

/// Without differentiation: the forward kernels alone.
impl AttentionOperations for Flex {
    fn fused_attend(q: Float, k: Float, v: Float, attention: Attention, precision: Precision) -> Float {
        let [out, _] = Self::kernel_attend([q, k, v], None, &attention, precision);
        out
    }

    fn fused_attend_biased(
        q: Float,
        k: Float,
        v: Float,
        bias: Float,
        attention: Attention,
        precision: Precision,
    ) -> Float {
        let [out, _] = Self::kernel_attend([q, k, v], Some(bias), &attention, precision);
        out
    }

    fn fused_rotate(x: Float, table: Arc<RotaryTable>, positions: Positions, pairing: Pairing) -> Float {
        Self::kernel_rotate(x, &table, &positions, pairing, false)
    }
}

impl<B: AttentionKernels + AttentionOperations, C: CheckpointStrategy> AttentionOperations for Autodiff<B, C> {
    fn fused_attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        attention: Attention,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((q, nq), (k, nk), (v, nv)) = (q.into_parts(), k.into_parts(), v.into_parts());
        record::<B, C, _, 3>(
            [nq, nk, nv],
            |(operands, saved, attention, precision), dy, _| {
                B::kernel_attend_backward(operands, None, saved, dy, &attention, precision).0
            },
            |_| {
                let operands = [q, k, v];
                let [out, log_sum_exp] = B::kernel_attend(operands.clone(), None, &attention, precision);
                (out.clone(), Some((operands, [out, log_sum_exp], attention, precision)))
            },
        )
    }

    fn fused_attend_biased(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        attention: Attention,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((q, nq), (k, nk), (v, nv)) = (q.into_parts(), k.into_parts(), v.into_parts());
        let (bias, nb) = bias.into_parts();
        record::<B, C, _, 4>(
            [nq, nk, nv, nb],
            |(operands, bias, saved, attention, precision), dy, _| {
                let bias: FloatTensor<B> = bias;
                let ([dq, dk, dv], dbias) =
                    B::kernel_attend_backward(operands, Some(bias), saved, dy, &attention, precision);
                [dq, dk, dv, dbias.expect("the gradient of a bias that is there")]
            },
            |_| {
                let operands = [q, k, v];
                let [out, log_sum_exp] = B::kernel_attend(operands.clone(), Some(bias.clone()), &attention, precision);
                (out.clone(), Some((operands, bias, [out, log_sum_exp], attention, precision)))
            },
        )
    }

    fn fused_rotate(
        x: FloatTensor<Self>,
        table: Arc<RotaryTable>,
        positions: Positions,
        pairing: Pairing,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        record::<B, C, _, 1>(
            [node],
            |(table, positions, pairing): (Arc<RotaryTable>, Positions, Pairing), dy, _| {
                [B::kernel_rotate(dy, &table, &positions, pairing, true)]
            },
            |_| (B::kernel_rotate(x, &table, &positions, pairing, false), Some((table, positions, pairing))),
        )
    }
}
