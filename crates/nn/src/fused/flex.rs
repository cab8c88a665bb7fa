//! The kernels bound to Flex, Burn's CPU backend.

use super::{FusedOperations, Kernels};
use crate::head::Grades;
use crate::precision::{self, Precision};
use crate::profile::timer;
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{TensorMetadata, ops::FloatTensorOps};
use burn::tensor::{DType, Int, Tensor, TensorData};
use loam_kernels::activation::Activation;
use loam_kernels::attention::{self, AttentionShape};
use loam_kernels::dropout::{self, Dropout};
use loam_kernels::feed_forward::FeedForward;
use loam_kernels::matrix::{self, MatrixRef};
use loam_kernels::{cross_entropy, embedding, linear, norm};

type Float = FloatTensor<Flex>;
type Integer = IntTensor<Flex>;

/// A tensor whose elements lie in order; copies only where they did not.
pub(crate) struct Dense(FlexTensor);

impl Dense {
    pub(crate) fn new(tensor: Float) -> Self {
        assert_eq!(tensor.dtype(), DType::F32, "the CPU kernels compute in f32");
        Self(if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() })
    }

    pub(crate) fn values(&self) -> &[f32] {
        self.0.as_slice::<f32>().expect("a dense tensor")
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }
}

/// The elements of a CPU tensor, in order.
pub(crate) fn slice<const D: usize>(tensor: Tensor<D>) -> Dense {
    Dense::new(tensor.inner().try_into_primitive::<Flex>().expect("a tensor on the CPU"))
}

/// A CPU tensor of these elements.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(output(values, shape))
}

pub(crate) fn output(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> Float {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// Ids as the kernels take them; −1 becomes `cross_entropy::IGNORE`.
pub(crate) fn ids(tensor: &Integer) -> Vec<u32> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::I64 => tensor.as_slice::<i64>().expect("dense").iter().map(|&id| id as u32).collect(),
        DType::I32 => tensor.as_slice::<i32>().expect("dense").iter().map(|&id| id as u32).collect(),
        other => panic!("token ids are i32 or i64, not {other:?}"),
    }
}

pub(crate) fn with_last(mut shape: Vec<usize>, last: usize) -> Vec<usize> {
    *shape.last_mut().expect("at least one dimension") = last;
    shape
}

/// `x · weight` without differentiation: x `[rows, inputs]`, weight `[inputs, outputs]`, lying either way around.
pub(crate) fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let _timer = timer("logits");
    let x = slice(x);
    let weight = Weight::new(weight.inner().try_into_primitive::<Flex>().expect("a tensor on the CPU"));
    let (rows, matrix) = (x.shape()[0], weight.matrix());
    let mut y = vec![0.0; rows * matrix.columns];
    let x = MatrixRef::new(x.values(), rows, matrix.rows);
    matrix::product(x, matrix, &mut y, false, precision::current());
    tensor(y, [rows, weight.columns()])
}

fn attention_shape(qkv: &Dense, heads: usize) -> AttentionShape {
    let shape = qkv.shape();
    AttentionShape { batch: shape[0], time: shape[1], heads, head_width: shape[2] / 3 / heads }
}

/// A layer's weight, `[inputs, outputs]`, where it lies: in order, or as the transpose of what lies in order (PyTorch's
/// `[outputs, inputs]`), which is not copied.
struct Weight {
    data: Dense,
    transposed: bool,
}

impl Weight {
    fn new(tensor: Float) -> Self {
        if tensor.as_slice::<f32>().is_none() {
            let turned = Flex::float_swap_dims(tensor.clone(), 0, 1);
            if turned.as_slice::<f32>().is_some() {
                return Self { data: Dense::new(turned), transposed: true };
            }
        }
        Self { data: Dense::new(tensor), transposed: false }
    }

    fn columns(&self) -> usize {
        self.matrix().columns
    }

    fn matrix(&self) -> MatrixRef<'_> {
        let shape = self.data.shape();
        let matrix = MatrixRef::new(self.data.values(), shape[0], shape[1]);
        if self.transposed { matrix.transposed() } else { matrix }
    }

    /// The gradient that lies as the weight does, shaped as the weight.
    fn gradient(&self, values: Vec<f32>) -> Float {
        let gradient = output(values, self.data.shape());
        if self.transposed { Flex::float_swap_dims(gradient, 0, 1) } else { gradient }
    }
}

/// The parameters of a feed-forward.
struct Layers {
    up: Weight,
    up_bias: Dense,
    down: Weight,
    down_bias: Dense,
}

impl Layers {
    fn new([up, up_bias, down, down_bias]: [Float; 4]) -> Self {
        Self {
            up: Weight::new(up),
            up_bias: Dense::new(up_bias),
            down: Weight::new(down),
            down_bias: Dense::new(down_bias),
        }
    }

    fn operation(&self, activation: Activation, precision: Precision) -> FeedForward<'_> {
        FeedForward {
            up_weight: self.up.matrix(),
            up_bias: self.up_bias.values(),
            down_weight: self.down.matrix(),
            down_bias: self.down_bias.values(),
            activation,
            precision,
        }
    }
}

/// A CPU tensor of one dimension.
pub(crate) fn flat(values: Vec<f32>) -> Tensor<1> {
    let length = values.len();
    tensor(values, [length])
}

/// See [`crate::ops::token_grades`].
pub(crate) fn token_grades(x: Tensor<3>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Grades {
    let targets = ids(&targets.try_into_primitive::<Flex>().expect("targets on the CPU"));
    let width = weight.dims()[1];
    let found = cross_entropy::grades(slice(x).values(), slice(weight).values(), &targets, width, precision::current());
    super::head::grades(found.losses, &found.hits)
}

impl Kernels for Flex {
    fn kernel_linear(x: Float, weight: Float, bias: Float, residual: Option<Float>, precision: Precision) -> Float {
        let _timer = timer("linear");
        let (x, weight, bias, residual) =
            (Dense::new(x), Weight::new(weight), Dense::new(bias), residual.map(Dense::new));
        let residual = residual.as_ref().map(Dense::values);
        let y = linear::forward(x.values(), weight.matrix(), bias.values(), residual, precision);
        output(y, with_last(x.shape(), bias.values().len()))
    }

    fn kernel_linear_backward(x: Float, weight: Float, dy: Float, precision: Precision) -> [Float; 3] {
        let _timer = timer("linear, backward");
        let (x, weight, dy) = (Dense::new(x), Weight::new(weight), Dense::new(dy));
        let outputs = weight.matrix().columns;
        let g = linear::backward(x.values(), weight.matrix(), dy.values(), precision);
        [output(g.dx, x.shape()), weight.gradient(g.dweight), output(g.dbias, [outputs])]
    }

    fn kernel_linear_input_gradient(weight: Float, dy: Float, precision: Precision) -> Float {
        let _timer = timer("linear, backward");
        let (weight, dy) = (Weight::new(weight), Dense::new(dy));
        let (inputs, outputs) = (weight.matrix().rows, weight.matrix().columns);
        let rows = dy.values().len() / outputs.max(1);
        output(linear::backward_input(weight.matrix(), dy.values(), rows, precision), with_last(dy.shape(), inputs))
    }

    fn kernel_feed_forward(
        x: Float,
        layers: [Float; 4],
        residual: Option<Float>,
        activation: Activation,
        precision: Precision,
    ) -> [Float; 2] {
        let _timer = timer("feed-forward");
        let (x, layers, residual) = (Dense::new(x), Layers::new(layers), residual.map(Dense::new));
        let (inner, outputs) = (layers.up.matrix().columns, layers.down.matrix().columns);
        let (y, h) = layers.operation(activation, precision).forward(x.values(), residual.as_ref().map(Dense::values));
        [output(y, with_last(x.shape(), outputs)), output(h, with_last(x.shape(), inner))]
    }

    fn kernel_feed_forward_backward(
        x: Float,
        layers: [Float; 4],
        inner: Float,
        dy: Float,
        activation: Activation,
        precision: Precision,
    ) -> [Float; 5] {
        let _timer = timer("feed-forward, backward");
        let (x, layers, inner, dy) = (Dense::new(x), Layers::new(layers), Dense::new(inner), Dense::new(dy));
        let g = layers.operation(activation, precision).backward(x.values(), inner.values(), dy.values());
        [
            output(g.up.dx, x.shape()),
            layers.up.gradient(g.up.dweight),
            output(g.up.dbias, layers.up_bias.shape()),
            layers.down.gradient(g.down_weight),
            output(g.down_bias, layers.down_bias.shape()),
        ]
    }

    fn kernel_layer_norm(x: Float, gamma: Float, beta: Float, epsilon: f32) -> [Float; 2] {
        let _timer = timer("layer norm");
        let (x, gamma, beta) = (Dense::new(x), Dense::new(gamma), Dense::new(beta));
        let (y, statistics) = norm::layer_norm(x.values(), gamma.values(), beta.values(), epsilon);
        let length = statistics.len();
        [output(y, x.shape()), output(statistics, [length])]
    }

    fn kernel_layer_norm_backward(x: Float, gamma: Float, statistics: Float, dy: Float) -> [Float; 3] {
        let _timer = timer("layer norm, backward");
        let (x, gamma, statistics, dy) = (Dense::new(x), Dense::new(gamma), Dense::new(statistics), Dense::new(dy));
        let g = norm::layer_norm_backward(x.values(), gamma.values(), statistics.values(), dy.values());
        [output(g.dx, x.shape()), output(g.dgamma, gamma.shape()), output(g.dbeta, gamma.shape())]
    }

    fn kernel_attention(qkv: Float, heads: usize, dropout: Option<Dropout>, precision: Precision) -> [Float; 2] {
        let _timer = timer("attention");
        let qkv = Dense::new(qkv);
        let shape = attention_shape(&qkv, heads);
        let (out, log_sum_exp) = attention::forward(qkv.values(), shape, dropout, precision);
        [
            output(out, [shape.batch, shape.time, heads * shape.head_width]),
            output(log_sum_exp, [shape.batch, heads, shape.time]),
        ]
    }

    fn kernel_attention_backward(
        qkv: Float,
        out: Float,
        log_sum_exp: Float,
        dout: Float,
        heads: usize,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> Float {
        let _timer = timer("attention, backward");
        let (qkv, out, lse, dout) = (Dense::new(qkv), Dense::new(out), Dense::new(log_sum_exp), Dense::new(dout));
        let shape = attention_shape(&qkv, heads);
        let dqkv =
            attention::backward(qkv.values(), out.values(), lse.values(), dout.values(), shape, dropout, precision);
        output(dqkv, qkv.shape())
    }

    fn kernel_dropout(x: Float, dropout: Dropout) -> Float {
        let _timer = timer("dropout");
        let x = Dense::new(x);
        output(dropout::apply(x.values(), dropout), x.shape())
    }

    fn kernel_head_loss(
        x: Float,
        weight: Float,
        targets: Integer,
        scale: f32,
        gradients: bool,
        precision: Precision,
    ) -> (Float, Option<[Float; 2]>) {
        let _timer = timer("head and loss, both ways");
        let (x, weight) = (Dense::new(x), Dense::new(weight));
        let width = weight.shape()[1];
        let result =
            cross_entropy::forward(x.values(), weight.values(), &ids(&targets), width, scale, gradients, precision);
        let gradients = result.gradients.map(|(dx, dw)| [output(dx, x.shape()), output(dw, weight.shape())]);
        (output(vec![result.loss_sum], [1]), gradients)
    }

    fn kernel_scale(x: Float, factor: Float) -> Float {
        let factor = Dense::new(factor).values()[0];
        // The usual case: the loss is where the backward begins.
        if factor == 1.0 { x } else { Flex::float_mul_scalar(x, factor.into()) }
    }

    fn kernel_embed(tokens: Float, positions: Float, ids_: Integer, first: usize) -> Float {
        let _timer = timer("embedding");
        let (tokens, positions) = (Dense::new(tokens), Dense::new(positions));
        let (shape, width) = (ids_.shape().to_vec(), tokens.shape()[1]);
        let y = embedding::gather(tokens.values(), positions.values(), &ids(&ids_), shape[1], width, first);
        output(y, [shape[0], shape[1], width])
    }

    fn kernel_embed_backward(dy: Float, ids_: Integer, vocabulary: usize, context: usize, first: usize) -> [Float; 2] {
        let _timer = timer("embedding, backward");
        assert_eq!(first, 0, "training sequences start at position 0");
        let dy = Dense::new(dy);
        let (time, width) = (dy.shape()[1], dy.shape()[2]);
        let (tokens, positions) = embedding::scatter(dy.values(), &ids(&ids_), vocabulary, context, time, width);
        [output(tokens, [vocabulary, width]), output(positions, [context, width])]
    }
}

/// Without differentiation: the forward kernels alone.
impl FusedOperations for Flex {
    fn fused_linear(x: Float, weight: Float, bias: Float, precision: Precision) -> Float {
        Self::kernel_linear(x, weight, bias, None, precision)
    }

    fn fused_linear_residual(x: Float, weight: Float, bias: Float, residual: Float, precision: Precision) -> Float {
        Self::kernel_linear(x, weight, bias, Some(residual), precision)
    }

    fn fused_feed_forward(
        x: Float,
        up_weight: Float,
        up_bias: Float,
        down_weight: Float,
        down_bias: Float,
        activation: Activation,
        precision: Precision,
    ) -> Float {
        let layers = [up_weight, up_bias, down_weight, down_bias];
        let [y, _] = Self::kernel_feed_forward(x, layers, None, activation, precision);
        y
    }

    fn fused_feed_forward_residual(
        x: Float,
        up_weight: Float,
        up_bias: Float,
        down_weight: Float,
        down_bias: Float,
        residual: Float,
        activation: Activation,
        precision: Precision,
    ) -> Float {
        let layers = [up_weight, up_bias, down_weight, down_bias];
        let [y, _] = Self::kernel_feed_forward(x, layers, Some(residual), activation, precision);
        y
    }

    fn fused_layer_norm(x: Float, gamma: Float, beta: Float, epsilon: f32) -> Float {
        let [y, _] = Self::kernel_layer_norm(x, gamma, beta, epsilon);
        y
    }

    fn fused_attention(qkv: Float, heads: usize, dropout: Option<Dropout>, precision: Precision) -> Float {
        let [out, _] = Self::kernel_attention(qkv, heads, dropout, precision);
        out
    }

    fn fused_dropout(x: Float, dropout: Dropout) -> Float {
        Self::kernel_dropout(x, dropout)
    }

    fn fused_head_loss(x: Float, weight: Float, targets: Integer, scale: f32, precision: Precision) -> Float {
        Self::kernel_head_loss(x, weight, targets, scale, false, precision).0
    }

    fn fused_embed(tokens: Float, positions: Float, ids: Integer, first: usize) -> Float {
        Self::kernel_embed(tokens, positions, ids, first)
    }
}
