//! Recurrent layers, beside the bare products in them.

use super::{Bench, values};
use crate::matrix::{MatrixRef, Precision, product};
use crate::recurrent::{RecurrentShape, RecurrentWeights, gru, lstm, rnn};
use std::hint::black_box;

/// The products of a layer with `gates` gates, forward (the input's, then one a step) and backward.
fn bare_products(bench: &mut Bench, gates: usize, shape: RecurrentShape) {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let (rows, columns) = (batch * time, gates * hidden);
    let (x, weight_ih, weight_hh) = (values(rows * inputs), values(columns * inputs), values(columns * hidden));
    let (state, mut da) = (values(rows * hidden), values(rows * columns));
    let weight_ih = MatrixRef::new(&weight_ih, columns, inputs);
    let weight_hh = MatrixRef::new(&weight_hh, columns, hidden);
    let mut step = vec![0.0; batch * columns];
    let seconds = bench.best(|| {
        product(MatrixRef::new(&x, rows, inputs), weight_ih.transposed(), &mut da, false, Precision::F32);
    });
    bench.line("  product of the input", seconds, 2 * rows * columns * inputs, "GFLOP/s");
    let seconds = bench.best(|| {
        for state in state.chunks_exact(batch * hidden) {
            product(MatrixRef::new(state, batch, hidden), weight_hh.transposed(), &mut step, false, Precision::F32);
        }
    });
    bench.line("  products of the steps", seconds, 2 * rows * columns * hidden, "GFLOP/s");
    let (mut dx, mut dweight_ih, mut dweight_hh) =
        (values(rows * inputs), values(columns * inputs), values(columns * hidden));
    let mut dstate = vec![0.0; batch * hidden];
    let seconds = bench.best(|| {
        let all = MatrixRef::new(&da, rows, columns);
        product(all, weight_ih, &mut dx, false, Precision::F32);
        product(all.transposed(), MatrixRef::new(&x, rows, inputs), &mut dweight_ih, false, Precision::F32);
        product(all.transposed(), MatrixRef::new(&state, rows, hidden), &mut dweight_hh, false, Precision::F32);
    });
    bench.line("  products of the gradients", seconds, 2 * rows * columns * (2 * inputs + hidden), "GFLOP/s");
    let seconds = bench.best(|| {
        for da in da.chunks_exact(batch * columns) {
            product(MatrixRef::new(da, batch, columns), weight_hh, &mut dstate, false, Precision::F32);
        }
    });
    bench.line("  products of the steps backward", seconds, 2 * rows * columns * hidden, "GFLOP/s");
}

/// LSTM, GRU and the plain layer beside their bare products.
pub(super) fn layers(bench: &mut Bench, batch: usize, time: usize, inputs: usize, hidden: usize) {
    bench.group(format!("batch {batch}, {time} steps, inputs {inputs}, hidden {hidden}"));
    let shape =
        RecurrentShape { batch, time, inputs, hidden, lengths: None, reverse: false, precision: Precision::F32 };
    let (x, dy) = (values(batch * time * inputs), values(batch * time * hidden));
    for gates in [4, 3, 1] {
        let scaled = |count: usize| -> Vec<f32> { values(count).iter().map(|value| value * 0.05).collect() };
        let (weight_ih, weight_hh) = (scaled(gates * hidden * inputs), scaled(gates * hidden * hidden));
        let bias = scaled(gates * hidden);
        let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: &bias, bias_hh: &bias };
        let operations = 2 * batch * time * gates * hidden * (inputs + hidden);
        if gates == 4 {
            let seconds = bench.best(|| _ = black_box(lstm::forward(&x, weights, None, None, shape)));
            bench.line("lstm", seconds, operations, "GFLOP/s");
            let output = lstm::forward(&x, weights, None, None, shape);
            let seconds = bench.best(|| {
                let (gates, cells) = (&output.gates, &output.cells);
                black_box(lstm::backward(&x, weights, None, None, gates, cells, &dy, None, None, shape));
            });
            bench.line("lstm backward", seconds, 2 * operations, "GFLOP/s");
        } else if gates == 1 {
            let seconds = bench.best(|| _ = black_box(rnn::forward(&x, weights, None, shape)));
            bench.line("rnn", seconds, operations, "GFLOP/s");
            let states = rnn::forward(&x, weights, None, shape).states;
            let seconds = bench.best(|| _ = black_box(rnn::backward(&x, weights, None, &states, &dy, None, shape)));
            bench.line("rnn backward", seconds, 2 * operations, "GFLOP/s");
        } else {
            let seconds = bench.best(|| _ = black_box(gru::forward(&x, weights, None, shape)));
            bench.line("gru", seconds, operations, "GFLOP/s");
            let output = gru::forward(&x, weights, None, shape);
            let seconds = bench.best(|| {
                let (gates, recurrent) = (&output.gates, &output.recurrent);
                black_box(gru::backward(&x, weights, None, gates, recurrent, &dy, None, shape));
            });
            bench.line("gru backward", seconds, 2 * operations, "GFLOP/s");
        }
        bare_products(bench, gates, shape);
    }
}
