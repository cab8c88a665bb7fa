//! Attention under any mask and rotary positions as backend extensions.

use super::autodiff::record;
use super::flex::{Dense, output};
use crate::attention::{Attention, Positions};
use crate::precision::Precision;
use crate::profile::timer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::Flex;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
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
        attention: &Attention,
        precision: Precision,
    ) -> [FloatTensor<Self>; 2];
    fn kernel_attend_backward(
        operands: [FloatTensor<Self>; 3],
        saved: [FloatTensor<Self>; 2],
        dy: FloatTensor<Self>,
        attention: &Attention,
        precision: Precision,
    ) -> [FloatTensor<Self>; 3];
    /// Turns forth, or back where `back`.
    fn kernel_rotate(
        x: FloatTensor<Self>,
        table: &RotaryTable,
        positions: &Positions,
        pairing: Pairing,
        back: bool,
    ) -> FloatTensor<Self>;
}

fn view(tensor: &Dense) -> HeadView<'_> {
    let shape = tensor.shape();
    HeadView::new(tensor.values(), HeadLayout::tokens_first(shape[0], shape[1], shape[2], shape[3]))
}

impl AttentionKernels for Flex {
    fn kernel_attend(operands: [Float; 3], attention: &Attention, precision: Precision) -> [Float; 2] {
        let _timer = timer("attention");
        let [q, k, v] = operands.map(Dense::new);
        let (out, log_sum_exp) = kernel::attend(view(&q), view(&k), view(&v), &attention.kernel(precision));
        let length = log_sum_exp.len();
        [output(out, q.shape()), output(log_sum_exp, [length])]
    }

    fn kernel_attend_backward(
        operands: [Float; 3],
        saved: [Float; 2],
        dy: Float,
        attention: &Attention,
        precision: Precision,
    ) -> [Float; 3] {
        let _timer = timer("attention, backward");
        let [q, k, v] = operands.map(Dense::new);
        let ([out, log_sum_exp], dy) = (saved.map(Dense::new), Dense::new(dy));
        let g = kernel::attend_backward(
            view(&q),
            view(&k),
            view(&v),
            out.values(),
            log_sum_exp.values(),
            dy.values(),
            &attention.kernel(precision),
        );
        [output(g.dq, q.shape()), output(g.dk, k.shape()), output(g.dv, v.shape())]
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
        let [out, _] = Self::kernel_attend([q, k, v], &attention, precision);
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
            |(operands, saved, attention, precision), dy| {
                B::kernel_attend_backward(operands, saved, dy, &attention, precision)
            },
            |_| {
                let operands = [q, k, v];
                let [out, log_sum_exp] = B::kernel_attend(operands.clone(), &attention, precision);
                (out.clone(), Some((operands, [out, log_sum_exp], attention, precision)))
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
            |(table, positions, pairing): (Arc<RotaryTable>, Positions, Pairing), dy| {
                [B::kernel_rotate(dy, &table, &positions, pairing, true)]
            },
            |_| (B::kernel_rotate(x, &table, &positions, pairing, false), Some((table, positions, pairing))),
        )
    }
}
