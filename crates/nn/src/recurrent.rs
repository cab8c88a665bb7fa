//! Recurrent layers over whole sequences, as one operation each: PyTorch's equations, gate order and weight layout.
//!
//! The fused kernels run on CPUs; [`composed_lstm`], [`composed_gru`] and [`composed_rnn`], up to a dozen Burn operations a step, run elsewhere
//! and are the oracle.

use crate::fused::recurrent::{self, RecurrentOperations};
use crate::ops;
use crate::precision::{self, matmul};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, TensorData, activation};

/// The parameters of a recurrent layer with G gates: 4 of an LSTM (i, f, g, o), 3 of a GRU (r, z, n), 1 of a plain layer.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[G * hidden, inputs]`.
    pub weight_ih: Tensor<2>,
    /// `[G * hidden, hidden]`.
    pub weight_hh: Tensor<2>,
    /// `[G * hidden]`.
    pub bias_ih: Tensor<1>,
    /// `[G * hidden]`.
    pub bias_hh: Tensor<1>,
}

impl Weights {
    fn hidden(&self) -> usize {
        self.weight_hh.dims()[1]
    }
}

/// Which steps of each sequence count, and in which direction they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Steps that count, one number a sequence; all of them without. Later steps carry the state and give zeros.
    pub lengths: Option<Vec<usize>>,
    /// Whether each sequence is read from its last step that counts to its first. Outputs stay where their inputs are.
    pub reverse: bool,
}

/// The LSTM (Hochreiter & Schmidhuber 1997) over x `[batch, time, inputs]`: the state after every step,
/// `[batch, time, hidden]`. The initial state and cell are `[batch, hidden]`, zero without.
pub fn lstm(
    x: Tensor<3>,
    weights: Weights,
    hidden: Option<Tensor<2>>,
    cell: Option<Tensor<2>>,
    steps: Steps,
) -> Tensor<3> {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights));
    let cell = cell.unwrap_or_else(|| initial(&x, &weights));
    if !ops::fused(&x) {
        return composed_lstm(x, weights, hidden, cell, &steps).0;
    }
    Tensor::from_dispatch(Dispatch::fused_lstm(
        x.into_dispatch(),
        weights.weight_ih.into_dispatch(),
        weights.weight_hh.into_dispatch(),
        weights.bias_ih.into_dispatch(),
        weights.bias_hh.into_dispatch(),
        hidden.into_dispatch(),
        cell.into_dispatch(),
        steps,
        precision::current(),
    ))
}

/// [`lstm`] with the state and the cell after each sequence's last step, `[batch, hidden]` each. Not differentiable: for
/// decoding, which goes on from them.
pub fn lstm_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Option<Tensor<2>>,
    cell: Option<Tensor<2>>,
    steps: Steps,
) -> (Tensor<3>, Tensor<2>, Tensor<2>) {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights)).inner();
    let cell = cell.unwrap_or_else(|| initial(&x, &weights)).inner();
    let (x, weights) = (x.inner(), weights.inner());
    if ops::fused(&x) {
        recurrent::lstm_with_state(x, weights, hidden, cell, &steps)
    } else {
        composed_lstm(x, weights, hidden, cell, &steps)
    }
}

/// The GRU (Cho et al. 2014) over x `[batch, time, inputs]`: the state after every step, `[batch, time, hidden]`. The
/// initial state is `[batch, hidden]`, zero without.
pub fn gru(x: Tensor<3>, weights: Weights, hidden: Option<Tensor<2>>, steps: Steps) -> Tensor<3> {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights));
    if !ops::fused(&x) {
        return composed_gru(x, weights, hidden, &steps).0;
    }
    Tensor::from_dispatch(Dispatch::fused_gru(
        x.into_dispatch(),
        weights.weight_ih.into_dispatch(),
        weights.weight_hh.into_dispatch(),
        weights.bias_ih.into_dispatch(),
        weights.bias_hh.into_dispatch(),
        hidden.into_dispatch(),
        steps,
        precision::current(),
    ))
}

/// [`gru`] with the state after each sequence's last step, `[batch, hidden]`. Not differentiable: for decoding.
pub fn gru_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Option<Tensor<2>>,
    steps: Steps,
) -> (Tensor<3>, Tensor<2>) {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights)).inner();
    let (x, weights) = (x.inner(), weights.inner());
    if ops::fused(&x) {
        recurrent::gru_with_state(x, weights, hidden, &steps)
    } else {
        composed_gru(x, weights, hidden, &steps)
    }
}

/// The plain recurrent layer (Elman 1990) with tanh over x `[batch, time, inputs]`: the state after every step,
/// `[batch, time, hidden]`. The initial state is `[batch, hidden]`, zero without.
pub fn rnn(x: Tensor<3>, weights: Weights, hidden: Option<Tensor<2>>, steps: Steps) -> Tensor<3> {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights));
    if !ops::fused(&x) {
        return composed_rnn(x, weights, hidden, &steps).0;
    }
    Tensor::from_dispatch(Dispatch::fused_rnn(
        x.into_dispatch(),
        weights.weight_ih.into_dispatch(),
        weights.weight_hh.into_dispatch(),
        weights.bias_ih.into_dispatch(),
        weights.bias_hh.into_dispatch(),
        hidden.into_dispatch(),
        steps,
        precision::current(),
    ))
}

/// [`rnn`] with the state after each sequence's last step, `[batch, hidden]`. Not differentiable: for decoding.
pub fn rnn_with_state(
    x: Tensor<3>,
    weights: Weights,
    hidden: Option<Tensor<2>>,
    steps: Steps,
) -> (Tensor<3>, Tensor<2>) {
    let hidden = hidden.unwrap_or_else(|| initial(&x, &weights)).inner();
    let (x, weights) = (x.inner(), weights.inner());
    if ops::fused(&x) {
        recurrent::rnn_with_state(x, weights, hidden, &steps)
    } else {
        composed_rnn(x, weights, hidden, &steps)
    }
}

impl Weights {
    fn inner(self) -> Self {
        Self {
            weight_ih: self.weight_ih.inner(),
            weight_hh: self.weight_hh.inner(),
            bias_ih: self.bias_ih.inner(),
            bias_hh: self.bias_hh.inner(),
        }
    }
}

fn initial(x: &Tensor<3>, weights: &Weights) -> Tensor<2> {
    Tensor::zeros([x.dims()[0], weights.hidden()], &x.device())
}

/// `x · weightᵀ + bias` of `[batch, inputs]`, in the current precision.
fn of_input(x: Tensor<2>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<2> {
    matmul(x, weight.clone().transpose()) + bias.clone().unsqueeze()
}

/// The same of the state, always in `f32`: a rounding of the state would be carried from step to step.
fn of_state(state: Tensor<2>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<2> {
    state.matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
}

/// Steps in the order of reading, each with a `[batch, 1]` mask of the sequences for which it counts.
fn in_order(steps: &Steps, batch: usize, time: usize, x: &Tensor<3>) -> Vec<(usize, Tensor<2>)> {
    let mask = |step: usize| -> Tensor<2> {
        let counts: Vec<f32> = (0..batch)
            .map(|row| f32::from(u8::from(steps.lengths.as_ref().is_none_or(|lengths| step < lengths[row]))))
            .collect();
        Tensor::from_data(TensorData::new(counts, [batch, 1]), &x.device())
    };
    let forward = (0..time).map(|step| (step, mask(step)));
    if steps.reverse { forward.rev().collect() } else { forward.collect() }
}

/// `mask · new + (1 − mask) · old`.
fn choose(mask: &Tensor<2>, new: Tensor<2>, old: Tensor<2>) -> Tensor<2> {
    old.clone() + (new - old) * mask.clone()
}

fn join(mut outputs: Vec<(usize, Tensor<2>)>) -> Tensor<3> {
    outputs.sort_by_key(|(step, _)| *step);
    Tensor::stack(outputs.into_iter().map(|(_, output)| output).collect(), 1)
}

/// The twin of [`lstm`] and [`lstm_with_state`].
pub fn composed_lstm(
    x: Tensor<3>,
    weights: Weights,
    mut hidden: Tensor<2>,
    mut cell: Tensor<2>,
    steps: &Steps,
) -> (Tensor<3>, Tensor<2>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let width = weights.hidden();
    let mut outputs = Vec::with_capacity(time);
    for (step, mask) in in_order(steps, batch, time, &x) {
        let input = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let gates = of_input(input, &weights.weight_ih, &weights.bias_ih)
            + of_state(hidden.clone(), &weights.weight_hh, &weights.bias_hh);
        let gate = |index: usize| gates.clone().narrow(1, index * width, width);
        let (i, f, o) = (activation::sigmoid(gate(0)), activation::sigmoid(gate(1)), activation::sigmoid(gate(3)));
        let new_cell = f * cell.clone() + i * gate(2).tanh();
        let new_hidden = o * new_cell.clone().tanh();
        outputs.push((step, new_hidden.clone() * mask.clone()));
        hidden = choose(&mask, new_hidden, hidden);
        cell = choose(&mask, new_cell, cell);
    }
    (join(outputs), hidden, cell)
}

/// The twin of [`gru`] and [`gru_with_state`].
pub fn composed_gru(x: Tensor<3>, weights: Weights, mut hidden: Tensor<2>, steps: &Steps) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let width = weights.hidden();
    let mut outputs = Vec::with_capacity(time);
    for (step, mask) in in_order(steps, batch, time, &x) {
        let input = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let from_input = of_input(input, &weights.weight_ih, &weights.bias_ih);
        let from_state = of_state(hidden.clone(), &weights.weight_hh, &weights.bias_hh);
        let part = |all: &Tensor<2>, index: usize| all.clone().narrow(1, index * width, width);
        let r = activation::sigmoid(part(&from_input, 0) + part(&from_state, 0));
        let z = activation::sigmoid(part(&from_input, 1) + part(&from_state, 1));
        let n = (part(&from_input, 2) + r * part(&from_state, 2)).tanh();
        let new = n.clone() + z * (hidden.clone() - n);
        outputs.push((step, new.clone() * mask.clone()));
        hidden = choose(&mask, new, hidden);
    }
    (join(outputs), hidden)
}

/// The twin of [`rnn`] and [`rnn_with_state`].
pub fn composed_rnn(x: Tensor<3>, weights: Weights, mut hidden: Tensor<2>, steps: &Steps) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let mut outputs = Vec::with_capacity(time);
    for (step, mask) in in_order(steps, batch, time, &x) {
        let input = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let from_input = of_input(input, &weights.weight_ih, &weights.bias_ih);
        let new = (from_input + of_state(hidden.clone(), &weights.weight_hh, &weights.bias_hh)).tanh();
        outputs.push((step, new.clone() * mask.clone()));
        hidden = choose(&mask, new, hidden);
    }
    (join(outputs), hidden)
}
