//! The fused kernels as a Burn backend extension, in three layers: [`loam_kernels`] works on slices;
//! `Kernels` traits lift each forward and backward to tensors of one backend; [`FusedOperations`] is what Burn's dispatch
//! routes, with the differentiation written once in `autodiff`.

pub(crate) mod attention;
mod autodiff;
mod flex;
pub(crate) mod head;
pub(crate) mod pointwise;
pub(crate) mod recurrent;

pub(crate) use flex::{Dense, flat, product, slice, token_grades};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use loam_kernels::activation::Activation;
use loam_kernels::dropout::Dropout;
use loam_kernels::matrix::Precision;

/// Forward and backward of each operation on tensors of a concrete backend.
pub(crate) trait Kernels: Backend {
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: Option<FloatTensor<Self>>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// The gradient of x alone, for a layer that is not trained.
    fn kernel_linear_input_gradient(
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// Gradients of x, weight and bias.
    fn kernel_linear_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        precision: Precision,
    ) -> [FloatTensor<Self>; 3];
    /// The output, and what the inner layer passes to its activation.
    fn kernel_feed_forward(
        x: FloatTensor<Self>,
        layers: [FloatTensor<Self>; 4],
        residual: Option<FloatTensor<Self>>,
        activation: Activation,
        precision: Precision,
    ) -> [FloatTensor<Self>; 2];
    /// Gradients of x and of the layers' parameters, in the order of the operands.
    fn kernel_feed_forward_backward(
        x: FloatTensor<Self>,
        layers: [FloatTensor<Self>; 4],
        inner: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> [FloatTensor<Self>; 5];
    /// The output, and mean and reciprocal deviation of every row.
    fn kernel_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> [FloatTensor<Self>; 2];
    /// Gradients of x, gamma and beta.
    fn kernel_layer_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
    /// The output, and the logarithm of every row's sum of exponentials.
    fn kernel_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> [FloatTensor<Self>; 2];
    fn kernel_attention_backward(
        qkv: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        dout: FloatTensor<Self>,
        heads: usize,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn kernel_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;
    /// The scaled sum of losses, and the gradients of x and weight where they are wanted.
    fn kernel_head_loss(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f32,
        gradients: bool,
        precision: Precision,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 2]>);
    /// `x` times the only element of `factor`.
    fn kernel_scale(x: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self>;
    fn kernel_embed(
        tokens: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        ids: IntTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self>;
    /// Gradients of tokens and positions.
    fn kernel_embed_backward(
        dy: FloatTensor<Self>,
        ids: IntTensor<Self>,
        vocabulary: usize,
        context: usize,
        first: usize,
    ) -> [FloatTensor<Self>; 2];
}

/// What `Dispatch` routes; the public face is [`crate::ops`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait FusedOperations: Backend {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_linear_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_feed_forward(
        x: FloatTensor<Self>,
        up_weight: FloatTensor<Self>,
        up_bias: FloatTensor<Self>,
        down_weight: FloatTensor<Self>,
        down_bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_feed_forward_residual(
        x: FloatTensor<Self>,
        up_weight: FloatTensor<Self>,
        up_bias: FloatTensor<Self>,
        down_weight: FloatTensor<Self>,
        down_bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    fn fused_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;
    fn fused_head_loss(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f32,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_embed(
        tokens: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        ids: IntTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self>;
}
