//! LSTM, GRU and the plain layer as backend extensions.

use super::autodiff::record;
use super::flex::{Dense, output};
use crate::precision::{self, Precision};
use crate::profile::timer;
use crate::recurrent::{Steps, Weights};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::Flex;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::Tensor;
use loam_kernels::recurrent::{RecurrentShape, RecurrentWeights, gru, lstm, rnn};

type Float = FloatTensor<Flex>;

/// What `Dispatch` routes; the public face is [`crate::recurrent`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RecurrentOperations: Backend {
    fn fused_lstm(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        cell: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_gru(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self>;
    fn fused_rnn(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

/// Forward and backward on tensors of a concrete backend. Operands stand in the order of the operations above.
pub(crate) trait RecurrentKernels: Backend {
    /// The output, and the gates and cells that the backward pass reads.
    fn kernel_lstm(operands: [FloatTensor<Self>; 7], steps: &Steps, precision: Precision) -> [FloatTensor<Self>; 3];
    fn kernel_lstm_backward(
        operands: [FloatTensor<Self>; 7],
        saved: [FloatTensor<Self>; 2],
        dy: FloatTensor<Self>,
        steps: &Steps,
        precision: Precision,
    ) -> [FloatTensor<Self>; 7];
    /// The output, and the gates and recurrent parts that the backward pass reads.
    fn kernel_gru(operands: [FloatTensor<Self>; 6], steps: &Steps, precision: Precision) -> [FloatTensor<Self>; 3];
    fn kernel_gru_backward(
        operands: [FloatTensor<Self>; 6],
        saved: [FloatTensor<Self>; 2],
        dy: FloatTensor<Self>,
        steps: &Steps,
        precision: Precision,
    ) -> [FloatTensor<Self>; 6];
    /// The output, and the states that the backward pass reads.
    fn kernel_rnn(operands: [FloatTensor<Self>; 6], steps: &Steps, precision: Precision) -> [FloatTensor<Self>; 2];
    fn kernel_rnn_backward(
        operands: [FloatTensor<Self>; 6],
        states: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        steps: &Steps,
        precision: Precision,
    ) -> [FloatTensor<Self>; 6];
}

fn shape<'a>(x: &Dense, weight_hh: &Dense, steps: &'a Steps, precision: Precision) -> RecurrentShape<'a> {
    let (x, weight) = (x.shape(), weight_hh.shape());
    RecurrentShape {
        batch: x[0],
        time: x[1],
        inputs: x[2],
        hidden: weight[1],
        lengths: steps.lengths.as_deref(),
        reverse: steps.reverse,
        precision,
    }
}

fn weights<'a>(ih: &'a Dense, hh: &'a Dense, bias_ih: &'a Dense, bias_hh: &'a Dense) -> RecurrentWeights<'a> {
    RecurrentWeights {
        weight_ih: ih.values(),
        weight_hh: hh.values(),
        bias_ih: bias_ih.values(),
        bias_hh: bias_hh.values(),
    }
}

fn run_lstm(operands: [Float; 7], steps: &Steps, precision: Precision) -> (lstm::LstmOutput, [usize; 3]) {
    let [x, ih, hh, bias_ih, bias_hh, hidden, cell] = operands.map(Dense::new);
    let shape = shape(&x, &hh, steps, precision);
    let weights = weights(&ih, &hh, &bias_ih, &bias_hh);
    let result = lstm::forward(x.values(), weights, Some(hidden.values()), Some(cell.values()), shape);
    (result, [shape.batch, shape.time, shape.hidden])
}

fn run_gru(operands: [Float; 6], steps: &Steps, precision: Precision) -> (gru::GruOutput, [usize; 3]) {
    let [x, ih, hh, bias_ih, bias_hh, hidden] = operands.map(Dense::new);
    let shape = shape(&x, &hh, steps, precision);
    let result = gru::forward(x.values(), weights(&ih, &hh, &bias_ih, &bias_hh), Some(hidden.values()), shape);
    (result, [shape.batch, shape.time, shape.hidden])
}

fn run_rnn(operands: [Float; 6], steps: &Steps, precision: Precision) -> (rnn::RnnOutput, [usize; 3]) {
    let [x, ih, hh, bias_ih, bias_hh, hidden] = operands.map(Dense::new);
    let shape = shape(&x, &hh, steps, precision);
    let result = rnn::forward(x.values(), weights(&ih, &hh, &bias_ih, &bias_hh), Some(hidden.values()), shape);
    (result, [shape.batch, shape.time, shape.hidden])
}

fn flat(values: Vec<f32>) -> Float {
    let length = values.len();
    output(values, [length])
}

impl RecurrentKernels for Flex {
    fn kernel_lstm(operands: [Float; 7], steps: &Steps, precision: Precision) -> [Float; 3] {
        let _timer = timer("lstm");
        let (result, shape) = run_lstm(operands, steps, precision);
        [output(result.y, shape), flat(result.gates), flat(result.cells)]
    }

    fn kernel_lstm_backward(
        operands: [Float; 7],
        saved: [Float; 2],
        dy: Float,
        steps: &Steps,
        precision: Precision,
    ) -> [Float; 7] {
        let _timer = timer("lstm, backward");
        let [x, ih, hh, bias_ih, bias_hh, hidden, cell] = operands.map(Dense::new);
        let ([gates, cells], dy) = (saved.map(Dense::new), Dense::new(dy));
        let g = lstm::backward(
            x.values(),
            weights(&ih, &hh, &bias_ih, &bias_hh),
            Some(hidden.values()),
            Some(cell.values()),
            gates.values(),
            cells.values(),
            dy.values(),
            None,
            None,
            shape(&x, &hh, steps, precision),
        );
        let dbias = output(g.dbias, bias_ih.shape());
        [
            output(g.dx, x.shape()),
            output(g.dweight_ih, ih.shape()),
            output(g.dweight_hh, hh.shape()),
            dbias.clone(),
            dbias,
            output(g.dinitial_hidden, hidden.shape()),
            output(g.dinitial_cell, cell.shape()),
        ]
    }

    fn kernel_gru(operands: [Float; 6], steps: &Steps, precision: Precision) -> [Float; 3] {
        let _timer = timer("gru");
        let (result, shape) = run_gru(operands, steps, precision);
        [output(result.y, shape), flat(result.gates), flat(result.recurrent)]
    }

    fn kernel_gru_backward(
        operands: [Float; 6],
        saved: [Float; 2],
        dy: Float,
        steps: &Steps,
        precision: Precision,
    ) -> [Float; 6] {
        let _timer = timer("gru, backward");
        let [x, ih, hh, bias_ih, bias_hh, hidden] = operands.map(Dense::new);
        let ([gates, recurrent], dy) = (saved.map(Dense::new), Dense::new(dy));
        let g = gru::backward(
            x.values(),
            weights(&ih, &hh, &bias_ih, &bias_hh),
            Some(hidden.values()),
            gates.values(),
            recurrent.values(),
            dy.values(),
            None,
            shape(&x, &hh, steps, precision),
        );
        [
            output(g.dx, x.shape()),
            output(g.dweight_ih, ih.shape()),
            output(g.dweight_hh, hh.shape()),
            output(g.dbias_ih, bias_ih.shape()),
            output(g.dbias_hh, bias_hh.shape()),
            output(g.dinitial_hidden, hidden.shape()),
        ]
    }

    fn kernel_rnn(operands: [Float; 6], steps: &Steps, precision: Precision) -> [Float; 2] {
        let _timer = timer("rnn");
        let (result, shape) = run_rnn(operands, steps, precision);
        [output(result.y, shape), flat(result.states)]
    }

    fn kernel_rnn_backward(
        operands: [Float; 6],
        states: Float,
        dy: Float,
        steps: &Steps,
        precision: Precision,
    ) -> [Float; 6] {
        let _timer = timer("rnn, backward");
        let [x, ih, hh, bias_ih, bias_hh, hidden] = operands.map(Dense::new);
        let (states, dy) = (Dense::new(states), Dense::new(dy));
        let g = rnn::backward(
            x.values(),
            weights(&ih, &hh, &bias_ih, &bias_hh),
            Some(hidden.values()),
            states.values(),
            dy.values(),
            None,
            shape(&x, &hh, steps, precision),
        );
        let dbias = output(g.dbias, bias_ih.shape());
        [
            output(g.dx, x.shape()),
            output(g.dweight_ih, ih.shape()),
            output(g.dweight_hh, hh.shape()),
            dbias.clone(),
            dbias,
            output(g.dinitial_hidden, hidden.shape()),
        ]
    }
}

/// Without differentiation: the forward kernels alone.
impl RecurrentOperations for Flex {
    fn fused_lstm(
        x: Float,
        weight_ih: Float,
        weight_hh: Float,
        bias_ih: Float,
        bias_hh: Float,
        hidden: Float,
        cell: Float,
        steps: Steps,
        precision: Precision,
    ) -> Float {
        let [y, ..] = Self::kernel_lstm([x, weight_ih, weight_hh, bias_ih, bias_hh, hidden, cell], &steps, precision);
        y
    }

    fn fused_gru(
        x: Float,
        weight_ih: Float,
        weight_hh: Float,
        bias_ih: Float,
        bias_hh: Float,
        hidden: Float,
        steps: Steps,
        precision: Precision,
    ) -> Float {
        let [y, ..] = Self::kernel_gru([x, weight_ih, weight_hh, bias_ih, bias_hh, hidden], &steps, precision);
        y
    }

    fn fused_rnn(
        x: Float,
        weight_ih: Float,
        weight_hh: Float,
        bias_ih: Float,
        bias_hh: Float,
        hidden: Float,
        steps: Steps,
        precision: Precision,
    ) -> Float {
        let [y, ..] = Self::kernel_rnn([x, weight_ih, weight_hh, bias_ih, bias_hh, hidden], &steps, precision);
        y
    }
}

impl<B: RecurrentKernels + RecurrentOperations, C: CheckpointStrategy> RecurrentOperations for Autodiff<B, C> {
    fn fused_lstm(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        cell: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, n0), (ih, n1), (hh, n2)) = (x.into_parts(), weight_ih.into_parts(), weight_hh.into_parts());
        let ((bi, n3), (bh, n4)) = (bias_ih.into_parts(), bias_hh.into_parts());
        let ((hidden, n5), (cell, n6)) = (hidden.into_parts(), cell.into_parts());
        let operands = [x, ih, hh, bi, bh, hidden, cell];
        record::<B, C, _, 7>(
            [n0, n1, n2, n3, n4, n5, n6],
            |(operands, saved, steps, precision), dy, _| {
                B::kernel_lstm_backward(operands, saved, dy, &steps, precision)
            },
            |_| {
                let [y, gates, cells] = B::kernel_lstm(operands.clone(), &steps, precision);
                (y, Some((operands, [gates, cells], steps, precision)))
            },
        )
    }

    fn fused_gru(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, n0), (ih, n1), (hh, n2)) = (x.into_parts(), weight_ih.into_parts(), weight_hh.into_parts());
        let ((bi, n3), (bh, n4), (hidden, n5)) = (bias_ih.into_parts(), bias_hh.into_parts(), hidden.into_parts());
        let operands = [x, ih, hh, bi, bh, hidden];
        record::<B, C, _, 6>(
            [n0, n1, n2, n3, n4, n5],
            |(operands, saved, steps, precision), dy, _| B::kernel_gru_backward(operands, saved, dy, &steps, precision),
            |_| {
                let [y, gates, parts] = B::kernel_gru(operands.clone(), &steps, precision);
                (y, Some((operands, [gates, parts], steps, precision)))
            },
        )
    }

    fn fused_rnn(
        x: FloatTensor<Self>,
        weight_ih: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        bias_ih: FloatTensor<Self>,
        bias_hh: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        steps: Steps,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, n0), (ih, n1), (hh, n2)) = (x.into_parts(), weight_ih.into_parts(), weight_hh.into_parts());
        let ((bi, n3), (bh, n4), (hidden, n5)) = (bias_ih.into_parts(), bias_hh.into_parts(), hidden.into_parts());
        let operands = [x, ih, hh, bi, bh, hidden];
        record::<B, C, _, 6>(
            [n0, n1, n2, n3, n4, n5],
            |(operands, states, steps, precision), dy, _| {
                B::kernel_rnn_backward(operands, states, dy, &steps, precision)
            },
            |_| {
                let [y, states] = B::kernel_rnn(operands.clone(), &steps, precision);
                (y, Some((operands, states, steps, precision)))
            },
        )
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> Float {
    tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU")
}

fn lifted<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(output(values, shape))
}

fn operands(weights: Weights) -> [Float; 4] {
    [primitive(weights.weight_ih), primitive(weights.weight_hh), primitive(weights.bias_ih), primitive(weights.bias_hh)]
}

/// See [`crate::recurrent::lstm_with_state`].
pub(crate) fn lstm_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Tensor<2>,
    cell: Tensor<2>,
    steps: &Steps,
) -> (Tensor<3>, Tensor<2>, Tensor<2>) {
    let [ih, hh, bi, bh] = operands(weights);
    let all = [primitive(x), ih, hh, bi, bh, primitive(hidden), primitive(cell)];
    let (result, shape) = run_lstm(all, steps, precision::current());
    let state = [shape[0], shape[2]];
    (lifted(result.y, shape), lifted(result.last_hidden, state), lifted(result.last_cell, state))
}

/// See [`crate::recurrent::gru_with_state`].
pub(crate) fn gru_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Tensor<2>,
    steps: &Steps,
) -> (Tensor<3>, Tensor<2>) {
    let [ih, hh, bi, bh] = operands(weights);
    let (result, shape) = run_gru([primitive(x), ih, hh, bi, bh, primitive(hidden)], steps, precision::current());
    (lifted(result.y, shape), lifted(result.last_hidden, [shape[0], shape[2]]))
}

/// See [`crate::recurrent::rnn_with_state`].
pub(crate) fn rnn_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Tensor<2>,
    steps: &Steps,
) -> (Tensor<3>, Tensor<2>) {
    let [ih, hh, bi, bh] = operands(weights);
    let (result, shape) = run_rnn([primitive(x), ih, hh, bi, bh, primitive(hidden)], steps, precision::current());
    (lifted(result.y, shape), lifted(result.last_hidden, [shape[0], shape[2]]))
}
