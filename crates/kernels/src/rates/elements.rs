//! Operations that memory limits, and the products by sequence.

use super::{Bench, values};
use crate::activation::{self, Activation};
use crate::cross_entropy::{self, HeadDirection, Options};
use crate::matrix::{MatrixRef, Precision};
use crate::{dropout, embedding, linear, norm, sequence_products};
use std::hint::black_box;

/// Activations, gated units, norms and embeddings.
pub(super) fn elements(bench: &mut Bench, rows: usize, width: usize) {
    bench.group(format!("rows {rows}, width {width}"));
    let (packed, dy) = (values(rows * 2 * width), values(rows * width));
    let bytes = 4 * rows * width;
    for activation in Activation::ALL {
        let seconds = bench.best(|| _ = black_box(activation::forward(activation, &dy)));
        bench.line(&format!("{activation:?}"), seconds, 2 * bytes, "GB/s");
        let seconds = bench.best(|| _ = black_box(activation::backward(activation, &dy, &dy)));
        bench.line(&format!("{activation:?} backward"), seconds, 3 * bytes, "GB/s");
        let seconds = bench.best(|| _ = black_box(activation::gated(activation, &packed, width)));
        bench.line(&format!("{activation:?} gated"), seconds, 3 * bytes, "GB/s");
        let seconds = bench.best(|| _ = black_box(activation::gated_backward(activation, &packed, &dy, width)));
        bench.line(&format!("{activation:?} gated backward"), seconds, 5 * bytes, "GB/s");
    }
    let (x, gamma) = (&packed[..rows * width], values(width));
    bench.line("rms_norm", bench.best(|| _ = black_box(norm::rms_norm(x, &gamma, 1.0, 1e-5))), 2 * bytes, "GB/s");
    let (_, statistics) = norm::rms_norm(x, &gamma, 1.0, 1e-5);
    let seconds = bench.best(|| _ = black_box(norm::rms_norm_backward(x, &gamma, 1.0, &statistics, &dy)));
    bench.line("rms_norm backward", seconds, 3 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(norm::add_rms_norm(x, &dy, &gamma, 1.0, 1e-5)));
    bench.line("add_rms_norm", seconds, 4 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(norm::add_rms_norm_backward(x, &gamma, 1.0, &statistics, &dy, &dy)));
    bench.line("add_rms_norm backward", seconds, 4 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(norm::add_layer_norm(x, &dy, &gamma, &gamma, 1e-5)));
    bench.line("add_layer_norm", seconds, 4 * bytes, "GB/s");
    let (_, statistics) = norm::layer_norm(x, &gamma, &gamma, 1e-5);
    let seconds = bench.best(|| _ = black_box(norm::add_layer_norm_backward(x, &gamma, &statistics, &dy, &dy)));
    bench.line("add_layer_norm backward", seconds, 4 * bytes, "GB/s");
    let ids: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % 8192).collect();
    let table = values(8192 * width);
    let seconds = bench.best(|| _ = black_box(embedding::gather_tokens(&table, &ids, width, 1.0)));
    bench.line("gather_tokens", seconds, 2 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(embedding::scatter_tokens(&dy, &ids, 8192, width, 1.0, None)));
    bench.line("scatter_tokens", seconds, bytes + 4 * table.len(), "GB/s");
}

/// What a ledger over documents asks for, beside the backward passes that it rides on.
pub(super) fn products_by_sequence(bench: &mut Bench, rows: usize, width: usize, vocabulary: usize) {
    bench.group(format!("8 sequences in {rows} rows, width {width}"));
    let ends: Vec<usize> = (1..=8).map(|i| i * rows / 8).collect();
    for (inputs, outputs) in [(width, 3 * width), (width, width), (4 * width, width)] {
        let (x, dy, v) = (values(rows * inputs), values(rows * outputs), values(inputs * outputs));
        let operations = 2 * rows * inputs * outputs;
        for directions in [1, 4] {
            let directions = vec![MatrixRef::new(&v, inputs, outputs); directions];
            let seconds = bench.best(|| _ = black_box(sequence_products::linear(&x, &dy, &ends, &directions)));
            let name = format!("linear {inputs}→{outputs}, {} directions", directions.len());
            bench.line(&name, seconds, operations * directions.len(), "GFLOP/s");
        }
        let weight = values(inputs * outputs);
        let seconds = bench.best(|| {
            _ = black_box(linear::backward(&x, MatrixRef::new(&weight, inputs, outputs), &dy, Precision::F32))
        });
        bench.line("  its backward pass", seconds, 2 * operations, "GFLOP/s");
    }
    let (x, weight, bias) = (values(rows * width), values(vocabulary * width), values(vocabulary));
    let targets: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % vocabulary as u32).collect();
    let operations = 6 * rows * width * vocabulary;
    let seconds =
        bench.best(|| _ = black_box(cross_entropy::forward(&x, &weight, &targets, width, 1.0, true, Precision::F32)));
    bench.line("cross_entropy with gradients", seconds, operations, "GFLOP/s");
    let smooth = Options { smoothing: 0.1, ..Options::default() };
    let seconds = bench.best(|| _ = black_box(cross_entropy::with_options(&x, &weight, &targets, width, smooth, true)));
    bench.line("  with smoothing", seconds, operations, "GFLOP/s");
    let biased = Options { bias: Some(&bias), ..smooth };
    let seconds = bench.best(|| _ = black_box(cross_entropy::with_options(&x, &weight, &targets, width, biased, true)));
    bench.line("  with smoothing and bias", seconds, operations, "GFLOP/s");
    let directions = [HeadDirection { weight: &weight, bias: None }];
    let seconds = bench.best(|| {
        let options = Options::default();
        let (x, w, t) = (&x, &weight, &targets);
        black_box(cross_entropy::with_sequence_products(x, w, t, width, options, true, &ends, &directions));
    });
    bench.line("  with products by sequence", seconds, operations / 3 * 4, "GFLOP/s");
}
