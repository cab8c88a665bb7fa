//! The output layer with a bias and its loss as a backend extension.

use super::Kernels;
use super::autodiff::record;
use super::flex::{Dense, flat, ids, output, slice};
use crate::head::{Grades, Loss};
use crate::precision::{self, Precision};
use crate::profile::timer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::{Int, Tensor};
use loam_kernels::cross_entropy::{self, Options};

type Float = FloatTensor<Flex>;
type Integer = IntTensor<Flex>;

/// What `Dispatch` routes; the public face is [`crate::head`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait HeadOperations: Backend {
    fn fused_biased_head_loss(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        loss: Loss,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

/// Forward and backward on tensors of a concrete backend. Operands are `[x, weight, bias]`.
pub(crate) trait HeadKernels: Backend {
    /// The loss, and the gradients of the operands where they are wanted.
    fn kernel_biased_head_loss(
        operands: [FloatTensor<Self>; 3],
        targets: IntTensor<Self>,
        loss: &Loss,
        gradients: bool,
        precision: Precision,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 3]>);
}

/// See [`crate::head::token_grades`].
pub(crate) fn token_grades(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, targets: Tensor<1, Int>) -> Grades {
    let targets = ids(&targets.try_into_primitive::<Flex>().expect("targets on the CPU"));
    let (width, bias) = (weight.dims()[1], slice(bias));
    let options = Options { bias: Some(bias.values()), precision: precision::current(), ..Options::default() };
    let (x, weight) = (slice(x), slice(weight));
    let rows = cross_entropy::with_options(x.values(), weight.values(), &targets, width, options, false);
    grades(rows.losses, &rows.hits)
}

/// What the kernel found, as tensors.
pub(crate) fn grades(losses: Vec<f32>, hits: &[bool]) -> Grades {
    Grades { losses: flat(losses), hits: flat(hits.iter().map(|&hit| f32::from(u8::from(hit))).collect()) }
}

impl HeadKernels for Flex {
    fn kernel_biased_head_loss(
        operands: [Float; 3],
        targets: Integer,
        loss: &Loss,
        gradients: bool,
        precision: Precision,
    ) -> (Float, Option<[Float; 3]>) {
        let _timer = timer("head and loss, both ways");
        let [x, weight, bias] = operands.map(Dense::new);
        let options = Options {
            bias: Some(bias.values()),
            row_weights: loss.row_weights.as_deref(),
            smoothing: loss.smoothing,
            scale: loss.scale,
            precision,
            ..Options::default()
        };
        let width = weight.shape()[1];
        let result =
            cross_entropy::with_options(x.values(), weight.values(), &ids(&targets), width, options, gradients);
        let gradients = result.gradients.map(|gradients| {
            let dbias = gradients.dbias.expect("a gradient of the bias that was given");
            [output(gradients.dx, x.shape()), output(gradients.dweight, weight.shape()), output(dbias, bias.shape())]
        });
        (output(vec![result.loss_sum], [1]), gradients)
    }
}

/// Without differentiation: the forward kernel alone.
impl HeadOperations for Flex {
    fn fused_biased_head_loss(
        x: Float,
        weight: Float,
        bias: Float,
        targets: Integer,
        loss: Loss,
        precision: Precision,
    ) -> Float {
        Self::kernel_biased_head_loss([x, weight, bias], targets, &loss, false, precision).0
    }
}

impl<B: Kernels + HeadKernels + HeadOperations, C: CheckpointStrategy> HeadOperations for Autodiff<B, C> {
    fn fused_biased_head_loss(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        loss: Loss,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, nx), (weight, nw), (bias, nb)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        record::<B, C, _, 3>(
            [nx, nw, nb],
            |gradients: [FloatTensor<B>; 3], dy, _| gradients.map(|gradient| B::kernel_scale(gradient, dy.clone())),
            |tracked| B::kernel_biased_head_loss([x, weight, bias], targets, &loss, tracked, precision),
        )
    }
}
