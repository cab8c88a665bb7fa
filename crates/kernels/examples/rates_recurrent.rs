//! Prints what the recurrent layers reach, beside the bare products in them, and the operations around them.
//!
//! `cargo run --release -p loam-kernels --example rates_recurrent [repetitions]`, as `rates`, with the allocator told to
//! keep its memory as described there.

use loam_kernels::activation::{self, Activation};
use loam_kernels::cross_entropy::{self, HeadDirection, Options};
use loam_kernels::matrix::{MatrixRef, product};
use loam_kernels::recurrent::{RecurrentShape, RecurrentWeights, gru, lstm};
use loam_kernels::{dropout, embedding, linear, norm, sequence_products, simd_level};
use std::hint::black_box;
use std::time::Instant;

/// The smallest number of seconds that `action` took, after one call to warm up.
fn best(repetitions: usize, mut action: impl FnMut()) -> f64 {
    action();
    let time = |()| {
        let start = Instant::now();
        action();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_n((), repetitions).map(time).fold(f64::INFINITY, f64::min)
}

fn values(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (dropout::hash([1, 2], i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// One line of the table.
fn line(name: &str, seconds: f64, amount: usize, unit: &str) {
    println!("{name:<34} {:>9.3} ms {:>8.1} {unit}", seconds * 1e3, amount as f64 / seconds / 1e9);
}

/// The products of a layer with `gates` gates, forward (the input's, then one a step) and backward.
fn bare_products(repetitions: usize, gates: usize, shape: RecurrentShape) {
    let RecurrentShape { batch, time, inputs, hidden, .. } = shape;
    let (rows, columns) = (batch * time, gates * hidden);
    let (x, weight_ih, weight_hh) = (values(rows * inputs), values(columns * inputs), values(columns * hidden));
    let (state, mut da) = (values(rows * hidden), values(rows * columns));
    let weight_ih = MatrixRef::new(&weight_ih, columns, inputs);
    let weight_hh = MatrixRef::new(&weight_hh, columns, hidden);
    let mut step = vec![0.0; batch * columns];
    let seconds = best(repetitions, || {
        product(MatrixRef::new(&x, rows, inputs), weight_ih.transposed(), &mut da, false);
    });
    line("  product of the input", seconds, 2 * rows * columns * inputs, "GFLOP/s");
    let seconds = best(repetitions, || {
        for state in state.chunks_exact(batch * hidden) {
            product(MatrixRef::new(state, batch, hidden), weight_hh.transposed(), &mut step, false);
        }
    });
    line("  products of the steps", seconds, 2 * rows * columns * hidden, "GFLOP/s");
    let (mut dx, mut dweight_ih, mut dweight_hh) =
        (values(rows * inputs), values(columns * inputs), values(columns * hidden));
    let mut dstate = vec![0.0; batch * hidden];
    let seconds = best(repetitions, || {
        let all = MatrixRef::new(&da, rows, columns);
        product(all, weight_ih, &mut dx, false);
        product(all.transposed(), MatrixRef::new(&x, rows, inputs), &mut dweight_ih, false);
        product(all.transposed(), MatrixRef::new(&state, rows, hidden), &mut dweight_hh, false);
    });
    line("  products of the gradients", seconds, 2 * rows * columns * (2 * inputs + hidden), "GFLOP/s");
    let seconds = best(repetitions, || {
        for da in da.chunks_exact(batch * columns) {
            product(MatrixRef::new(da, batch, columns), weight_hh, &mut dstate, false);
        }
    });
    line("  products of the steps backward", seconds, 2 * rows * columns * hidden, "GFLOP/s");
}

fn recurrent_layers(repetitions: usize, batch: usize, time: usize, inputs: usize, hidden: usize) {
    println!("\nbatch {batch}, {time} steps, inputs {inputs}, hidden {hidden}");
    let shape = RecurrentShape { batch, time, inputs, hidden, lengths: None, reverse: false };
    let (x, dy) = (values(batch * time * inputs), values(batch * time * hidden));
    for gates in [4, 3] {
        let scaled = |count: usize| -> Vec<f32> { values(count).iter().map(|value| value * 0.05).collect() };
        let (weight_ih, weight_hh) = (scaled(gates * hidden * inputs), scaled(gates * hidden * hidden));
        let bias = scaled(gates * hidden);
        let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: &bias, bias_hh: &bias };
        let operations = 2 * batch * time * gates * hidden * (inputs + hidden);
        if gates == 4 {
            let seconds = best(repetitions, || _ = black_box(lstm::forward(&x, weights, None, None, shape)));
            line("lstm", seconds, operations, "GFLOP/s");
            let output = lstm::forward(&x, weights, None, None, shape);
            let seconds = best(repetitions, || {
                let (gates, cells) = (&output.gates, &output.cells);
                black_box(lstm::backward(&x, weights, None, None, gates, cells, &dy, None, None, shape));
            });
            line("lstm backward", seconds, 2 * operations, "GFLOP/s");
        } else {
            let seconds = best(repetitions, || _ = black_box(gru::forward(&x, weights, None, shape)));
            line("gru", seconds, operations, "GFLOP/s");
            let output = gru::forward(&x, weights, None, shape);
            let seconds = best(repetitions, || {
                let (gates, recurrent) = (&output.gates, &output.recurrent);
                black_box(gru::backward(&x, weights, None, gates, recurrent, &dy, None, shape));
            });
            line("gru backward", seconds, 2 * operations, "GFLOP/s");
        }
        bare_products(repetitions, gates, shape);
    }
}

fn element_operations(repetitions: usize, rows: usize, width: usize) {
    println!("\nrows {rows}, width {width}");
    let (packed, dy) = (values(rows * 2 * width), values(rows * width));
    let bytes = 4 * rows * width;
    for activation in Activation::ALL {
        let seconds = best(repetitions, || _ = black_box(activation::forward(activation, &dy)));
        line(&format!("{activation:?}"), seconds, 2 * bytes, "GB/s");
        let seconds = best(repetitions, || _ = black_box(activation::backward(activation, &dy, &dy)));
        line(&format!("{activation:?} backward"), seconds, 3 * bytes, "GB/s");
        let seconds = best(repetitions, || _ = black_box(activation::gated(activation, &packed, width)));
        line(&format!("{activation:?} gated"), seconds, 3 * bytes, "GB/s");
        let seconds = best(repetitions, || _ = black_box(activation::gated_backward(activation, &packed, &dy, width)));
        line(&format!("{activation:?} gated backward"), seconds, 5 * bytes, "GB/s");
    }
    let (x, gamma) = (&packed[..rows * width], values(width));
    line("rms_norm", best(repetitions, || _ = black_box(norm::rms_norm(x, &gamma, 1.0, 1e-5))), 2 * bytes, "GB/s");
    let (_, statistics) = norm::rms_norm(x, &gamma, 1.0, 1e-5);
    let seconds = best(repetitions, || _ = black_box(norm::rms_norm_backward(x, &gamma, 1.0, &statistics, &dy)));
    line("rms_norm backward", seconds, 3 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(norm::add_rms_norm(x, &dy, &gamma, 1.0, 1e-5)));
    line("add_rms_norm", seconds, 4 * bytes, "GB/s");
    let seconds =
        best(repetitions, || _ = black_box(norm::add_rms_norm_backward(x, &gamma, 1.0, &statistics, &dy, &dy)));
    line("add_rms_norm backward", seconds, 4 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(norm::add_layer_norm(x, &dy, &gamma, &gamma, 1e-5)));
    line("add_layer_norm", seconds, 4 * bytes, "GB/s");
    let (_, statistics) = norm::layer_norm(x, &gamma, &gamma, 1e-5);
    let seconds = best(repetitions, || _ = black_box(norm::add_layer_norm_backward(x, &gamma, &statistics, &dy, &dy)));
    line("add_layer_norm backward", seconds, 4 * bytes, "GB/s");
    let ids: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % 8192).collect();
    let table = values(8192 * width);
    let seconds = best(repetitions, || _ = black_box(embedding::gather_tokens(&table, &ids, width, 1.0)));
    line("gather_tokens", seconds, 2 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(embedding::scatter_tokens(&dy, &ids, 8192, width, 1.0, None)));
    line("scatter_tokens", seconds, bytes + 4 * table.len(), "GB/s");
}

fn products_by_sequence(repetitions: usize, rows: usize, width: usize, vocabulary: usize) {
    println!("\n8 sequences in {rows} rows, width {width}");
    let ends: Vec<usize> = (1..=8).map(|i| i * rows / 8).collect();
    for (inputs, outputs) in [(width, 3 * width), (width, width), (4 * width, width)] {
        let (x, dy, v) = (values(rows * inputs), values(rows * outputs), values(inputs * outputs));
        let operations = 2 * rows * inputs * outputs;
        for directions in [1, 4] {
            let directions = vec![MatrixRef::new(&v, inputs, outputs); directions];
            let seconds = best(repetitions, || _ = black_box(sequence_products::linear(&x, &dy, &ends, &directions)));
            let name = format!("linear {inputs}→{outputs}, {} directions", directions.len());
            line(&name, seconds, operations * directions.len(), "GFLOP/s");
        }
        let weight = values(inputs * outputs);
        let seconds = best(repetitions, || _ = black_box(linear::backward(&x, &weight, &dy, inputs, outputs)));
        line("  its backward pass", seconds, 2 * operations, "GFLOP/s");
    }
    let (x, weight, bias) = (values(rows * width), values(vocabulary * width), values(vocabulary));
    let targets: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % vocabulary as u32).collect();
    let operations = 6 * rows * width * vocabulary;
    let seconds = best(repetitions, || _ = black_box(cross_entropy::forward(&x, &weight, &targets, width, 1.0, true)));
    line("cross_entropy with gradients", seconds, operations, "GFLOP/s");
    let smooth = Options { smoothing: 0.1, ..Options::default() };
    let seconds =
        best(repetitions, || _ = black_box(cross_entropy::with_options(&x, &weight, &targets, width, smooth, true)));
    line("  with smoothing", seconds, operations, "GFLOP/s");
    let biased = Options { bias: Some(&bias), ..smooth };
    let seconds =
        best(repetitions, || _ = black_box(cross_entropy::with_options(&x, &weight, &targets, width, biased, true)));
    line("  with smoothing and bias", seconds, operations, "GFLOP/s");
    let directions = [HeadDirection { weight: &weight, bias: None }];
    let seconds = best(repetitions, || {
        let options = Options::default();
        let (x, w, t) = (&x, &weight, &targets);
        black_box(cross_entropy::with_sequence_products(x, w, t, width, options, true, &ends, &directions));
    });
    line("  with products by sequence", seconds, operations / 3 * 4, "GFLOP/s");
}

fn main() {
    let repetitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10);
    println!("{} threads, {}, best of {repetitions}", rayon::current_num_threads(), simd_level());
    for (batch, time, inputs, hidden) in
        [(32, 64, 256, 256), (64, 35, 650, 650), (8, 128, 128, 128), (1, 256, 256, 256)]
    {
        recurrent_layers(repetitions, batch, time, inputs, hidden);
    }
    element_operations(repetitions, 2048, 1536);
    products_by_sequence(repetitions, 2048, 384, 8192);
}
