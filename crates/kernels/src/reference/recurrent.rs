//! The plain recurrent layer, LSTM and GRU, one sequence after the other, one step after the other.

use super::sigmoid;
use crate::recurrent::RecurrentShape;

/// [`crate::recurrent::RecurrentWeights`] in `f64`: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
pub type Weights<'a> = [&'a [f64]; 4];

/// The gradients of a recurrent layer.
#[derive(Default)]
pub struct Gradients {
    /// `[batch, time, inputs]`.
    pub dx: Vec<f64>,
    /// `[gates * hidden, inputs]`.
    pub dweight_ih: Vec<f64>,
    /// `[gates * hidden, hidden]`.
    pub dweight_hh: Vec<f64>,
    /// `[gates * hidden]`.
    pub dbias_ih: Vec<f64>,
    /// `[gates * hidden]`.
    pub dbias_hh: Vec<f64>,
    /// `[batch, hidden]`.
    pub dinitial_hidden: Vec<f64>,
    /// `[batch, hidden]`; empty without one.
    pub dinitial_cell: Vec<f64>,
}

impl Gradients {
    fn zeros(weights: Weights, batch: usize, time: usize, inputs: usize) -> Self {
        let zeros = |values: &[f64]| vec![0.0; values.len()];
        Self {
            dx: vec![0.0; batch * time * inputs],
            dweight_ih: zeros(weights[0]),
            dweight_hh: zeros(weights[1]),
            dbias_ih: zeros(weights[2]),
            dbias_hh: zeros(weights[3]),
            ..Self::default()
        }
    }

    /// Through the two products of one step, whose results have the gradients `da` (of the input's part) and `db` (of
    /// the state's); returns the gradient of the state.
    fn step(&mut self, weights: Weights, da: &[f64], db: &[f64], x: &[f64], row: usize, state: &[f64]) -> Vec<f64> {
        let (inputs, hidden) = (x.len(), state.len());
        let mut dstate = vec![0.0; hidden];
        for gate in 0..da.len() {
            self.dbias_ih[gate] += da[gate];
            self.dbias_hh[gate] += db[gate];
            for c in 0..inputs {
                self.dx[row * inputs + c] += da[gate] * weights[0][gate * inputs + c];
                self.dweight_ih[gate * inputs + c] += da[gate] * x[c];
            }
            for c in 0..hidden {
                dstate[c] += db[gate] * weights[1][gate * hidden + c];
                self.dweight_hh[gate * hidden + c] += db[gate] * state[c];
            }
        }
        dstate
    }
}

/// The rows of `[batch, time]` of a sequence in the order of reading.
fn rows(shape: RecurrentShape, sequence: usize) -> Vec<usize> {
    let length = shape.lengths.map_or(shape.time, |lengths| lengths[sequence]);
    let rows = sequence * shape.time..sequence * shape.time + length;
    if shape.reverse { rows.rev().collect() } else { rows.collect() }
}

/// `bias + weight values`.
fn affine(weight: &[f64], bias: &[f64], values: &[f64]) -> Vec<f64> {
    let width = values.len();
    let row = |i: usize| bias[i] + (0..width).map(|c| weight[i * width + c] * values[c]).sum::<f64>();
    (0..bias.len()).map(row).collect()
}

/// One LSTM step: gates i, f, g, o, then the cell and the state.
fn lstm_step(weights: Weights, x: &[f64], state: &[f64], cell: &[f64]) -> [Vec<f64>; 6] {
    let width = state.len();
    let (a, b) = (affine(weights[0], weights[2], x), affine(weights[1], weights[3], state));
    let gate = |k: usize, f: fn(f64) -> f64| -> Vec<f64> {
        (0..width).map(|j| f(a[k * width + j] + b[k * width + j])).collect()
    };
    let (i, f, g, o) = (gate(0, sigmoid), gate(1, sigmoid), gate(2, f64::tanh), gate(3, sigmoid));
    let cell: Vec<f64> = (0..width).map(|j| f[j] * cell[j] + i[j] * g[j]).collect();
    let state = (0..width).map(|j| o[j] * cell[j].tanh()).collect();
    [i, f, g, o, cell, state]
}

/// [`crate::recurrent::lstm::forward`]: `y`, last state, last cell.
pub fn lstm(
    x: &[f64],
    weights: Weights,
    initial_hidden: &[f64],
    initial_cell: &[f64],
    shape: RecurrentShape,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let (mut y, mut last_hidden, mut last_cell) = (vec![0.0; batch * time * hidden], Vec::new(), Vec::new());
    for sequence in 0..batch {
        let mut state = initial_hidden[sequence * hidden..][..hidden].to_vec();
        let mut cell = initial_cell[sequence * hidden..][..hidden].to_vec();
        for row in rows(shape, sequence) {
            [.., cell, state] = lstm_step(weights, &x[row * inputs..][..inputs], &state, &cell);
            y[row * hidden..][..hidden].copy_from_slice(&state);
        }
        last_hidden.extend(state);
        last_cell.extend(cell);
    }
    (y, last_hidden, last_cell)
}

/// [`crate::recurrent::lstm::backward`].
pub fn lstm_backward(
    x: &[f64],
    weights: Weights,
    initial_hidden: &[f64],
    initial_cell: &[f64],
    dy: &[f64],
    dlast_hidden: &[f64],
    dlast_cell: &[f64],
    shape: RecurrentShape,
) -> Gradients {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let mut gradients = Gradients::zeros(weights, batch, time, inputs);
    for sequence in 0..batch {
        let of = |values: &[f64]| values[sequence * hidden..][..hidden].to_vec();
        let (mut state, mut cell) = (of(initial_hidden), of(initial_cell));
        let mut steps = Vec::new();
        for row in rows(shape, sequence) {
            let step = lstm_step(weights, &x[row * inputs..][..inputs], &state, &cell);
            let (next_cell, next_state) = (step[4].clone(), step[5].clone());
            steps.push((row, step, state, cell));
            (state, cell) = (next_state, next_cell);
        }
        let (mut dstate, mut dcell) = (of(dlast_hidden), of(dlast_cell));
        for (row, [i, f, g, o, cell, _], state_before, cell_before) in steps.into_iter().rev() {
            let mut da = vec![0.0; 4 * hidden];
            for j in 0..hidden {
                let (dh, t) = (dstate[j] + dy[row * hidden + j], cell[j].tanh());
                let dc = dcell[j] + dh * o[j] * (1.0 - t * t);
                da[j] = dc * g[j] * i[j] * (1.0 - i[j]);
                da[hidden + j] = dc * cell_before[j] * f[j] * (1.0 - f[j]);
                da[2 * hidden + j] = dc * i[j] * (1.0 - g[j] * g[j]);
                da[3 * hidden + j] = dh * t * o[j] * (1.0 - o[j]);
                dcell[j] = dc * f[j];
            }
            dstate = gradients.step(weights, &da, &da, &x[row * inputs..][..inputs], row, &state_before);
        }
        gradients.dinitial_hidden.extend(dstate);
        gradients.dinitial_cell.extend(dcell);
    }
    gradients
}

/// One GRU step: gates r, z, n, the recurrent part of n, the state.
fn gru_step(weights: Weights, x: &[f64], state: &[f64]) -> [Vec<f64>; 5] {
    let width = state.len();
    let (a, b) = (affine(weights[0], weights[2], x), affine(weights[1], weights[3], state));
    let gate = |k: usize| -> Vec<f64> { (0..width).map(|j| sigmoid(a[k * width + j] + b[k * width + j])).collect() };
    let (r, z, part) = (gate(0), gate(1), b[2 * width..].to_vec());
    let n: Vec<f64> = (0..width).map(|j| (a[2 * width + j] + r[j] * part[j]).tanh()).collect();
    let state = (0..width).map(|j| (1.0 - z[j]) * n[j] + z[j] * state[j]).collect();
    [r, z, n, part, state]
}

/// [`crate::recurrent::gru::forward`]: `y`, last state.
pub fn gru(x: &[f64], weights: Weights, initial_hidden: &[f64], shape: RecurrentShape) -> (Vec<f64>, Vec<f64>) {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let (mut y, mut last_hidden) = (vec![0.0; batch * time * hidden], Vec::new());
    for sequence in 0..batch {
        let mut state = initial_hidden[sequence * hidden..][..hidden].to_vec();
        for row in rows(shape, sequence) {
            [.., state] = gru_step(weights, &x[row * inputs..][..inputs], &state);
            y[row * hidden..][..hidden].copy_from_slice(&state);
        }
        last_hidden.extend(state);
    }
    (y, last_hidden)
}

/// [`crate::recurrent::gru::backward`].
pub fn gru_backward(
    x: &[f64],
    weights: Weights,
    initial_hidden: &[f64],
    dy: &[f64],
    dlast_hidden: &[f64],
    shape: RecurrentShape,
) -> Gradients {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let mut gradients = Gradients::zeros(weights, batch, time, inputs);
    for sequence in 0..batch {
        let of = |values: &[f64]| values[sequence * hidden..][..hidden].to_vec();
        let (mut state, mut steps) = (of(initial_hidden), Vec::new());
        for row in rows(shape, sequence) {
            let step = gru_step(weights, &x[row * inputs..][..inputs], &state);
            let next = step[4].clone();
            steps.push((row, step, state));
            state = next;
        }
        let mut dstate = of(dlast_hidden);
        for (row, [r, z, n, part, _], state_before) in steps.into_iter().rev() {
            let (mut da, mut through) = (vec![0.0; 3 * hidden], vec![0.0; hidden]);
            for j in 0..hidden {
                let dh = dstate[j] + dy[row * hidden + j];
                let dn = dh * (1.0 - z[j]) * (1.0 - n[j] * n[j]);
                da[j] = dn * part[j] * r[j] * (1.0 - r[j]);
                da[hidden + j] = dh * (state_before[j] - n[j]) * z[j] * (1.0 - z[j]);
                da[2 * hidden + j] = dn;
                through[j] = dh * z[j];
            }
            let mut db = da.clone();
            (0..hidden).for_each(|j| db[2 * hidden + j] *= r[j]);
            dstate = gradients.step(weights, &da, &db, &x[row * inputs..][..inputs], row, &state_before);
            dstate.iter_mut().zip(through).for_each(|(dstate, through)| *dstate += through);
        }
        gradients.dinitial_hidden.extend(dstate);
    }
    gradients
}

/// One step of the plain layer: the state.
fn rnn_step(weights: Weights, x: &[f64], state: &[f64]) -> Vec<f64> {
    let (a, b) = (affine(weights[0], weights[2], x), affine(weights[1], weights[3], state));
    a.iter().zip(b).map(|(a, b)| (a + b).tanh()).collect()
}

/// [`crate::recurrent::rnn::forward`]: `y`, last state.
pub fn rnn(x: &[f64], weights: Weights, initial_hidden: &[f64], shape: RecurrentShape) -> (Vec<f64>, Vec<f64>) {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let (mut y, mut last_hidden) = (vec![0.0; batch * time * hidden], Vec::new());
    for sequence in 0..batch {
        let mut state = initial_hidden[sequence * hidden..][..hidden].to_vec();
        for row in rows(shape, sequence) {
            state = rnn_step(weights, &x[row * inputs..][..inputs], &state);
            y[row * hidden..][..hidden].copy_from_slice(&state);
        }
        last_hidden.extend(state);
    }
    (y, last_hidden)
}

/// [`crate::recurrent::rnn::backward`].
pub fn rnn_backward(
    x: &[f64],
    weights: Weights,
    initial_hidden: &[f64],
    dy: &[f64],
    dlast_hidden: &[f64],
    shape: RecurrentShape,
) -> Gradients {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let mut gradients = Gradients::zeros(weights, batch, time, inputs);
    for sequence in 0..batch {
        let of = |values: &[f64]| values[sequence * hidden..][..hidden].to_vec();
        let (mut state, mut steps) = (of(initial_hidden), Vec::new());
        for row in rows(shape, sequence) {
            let next = rnn_step(weights, &x[row * inputs..][..inputs], &state);
            steps.push((row, next.clone(), state));
            state = next;
        }
        let mut dstate = of(dlast_hidden);
        for (row, after, before) in steps.into_iter().rev() {
            let dsum: Vec<f64> =
                (0..hidden).map(|j| (dstate[j] + dy[row * hidden + j]) * (1.0 - after[j] * after[j])).collect();
            dstate = gradients.step(weights, &dsum, &dsum, &x[row * inputs..][..inputs], row, &before);
        }
        gradients.dinitial_hidden.extend(dstate);
    }
    gradients
}
