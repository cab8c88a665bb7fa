//! The operations of a GPT's training step.

use super::{Bench, values};
use crate::adamw::{AdamW, LedgerLines, LedgerPart, Reach};
use crate::attention::{self, AttentionShape};
use crate::dropout::{self, Dropout};
use crate::matrix::{MatrixRef, Precision, product};
use crate::{activation, cross_entropy, embedding, linear, norm, vector};
use std::hint::black_box;

/// The sizes of one training step of a GPT-2-shaped model.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    pub(super) vocabulary: usize,
}

/// A linear layer with its gradients, beside the three bare products.
fn linear_layer(
    bench: &mut Bench,
    name: &str,
    [rows, inputs, outputs]: [usize; 3],
    residual: bool,
    precision: Precision,
) {
    let (x, weight, bias) = (values(rows * inputs), values(inputs * outputs), values(outputs));
    let (dy, residual) = (values(rows * outputs), residual.then(|| values(rows * outputs)));
    let (x_matrix, weight_matrix) = (MatrixRef::new(&x, rows, inputs), MatrixRef::new(&weight, inputs, outputs));
    let dy_matrix = MatrixRef::new(&dy, rows, outputs);
    let operations = 2 * rows * inputs * outputs;
    let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), weight.clone());
    let mut time = |part: &str, operations: usize, action: &mut dyn FnMut()| {
        let seconds = bench.best(action);
        bench.line(&format!("{name} {inputs}→{outputs} {part}"), seconds, operations, "GFLOP/s");
    };
    time("product", operations, &mut || product(x_matrix, weight_matrix, &mut y, false, precision));
    time("forward", operations, &mut || {
        black_box(linear::forward(&x, MatrixRef::new(&weight, inputs, outputs), &bias, residual.as_deref(), precision));
    });
    time("products dx, dw", 2 * operations, &mut || {
        product(dy_matrix, weight_matrix.transposed(), &mut dx, false, precision);
        product(x_matrix.transposed(), dy_matrix, &mut dweight, false, precision);
    });
    time("backward", 2 * operations, &mut || {
        black_box(linear::backward(&x, MatrixRef::new(&weight, inputs, outputs), &dy, precision));
    });
}

/// The operations of one training step of a GPT.
pub(super) fn training_step(bench: &mut Bench, shape: &Shape, precision: Precision) {
    let Shape { batch, time, width, heads, layers, vocabulary, .. } = *shape;
    let (rows, hidden) = (batch * time, 4 * width);
    bench.group(format!(
        "{}, {}: rows {rows}, width {width}, heads {heads}, context {time}, vocabulary {vocabulary}",
        shape.name,
        precision.name()
    ));
    for (name, inputs, outputs, residual) in [
        ("qkv", width, 3 * width, false),
        ("projection", width, width, true),
        ("up", width, hidden, false),
        ("down", hidden, width, true),
    ] {
        linear_layer(bench, name, [rows, inputs, outputs], residual, precision);
    }

    let bytes = 4 * rows * hidden;
    let (x, dy) = (values(rows * hidden), values(rows * hidden));
    let seconds = bench.best(|| _ = black_box(activation::gelu_tanh(&x)));
    bench.line("gelu_tanh", seconds, 2 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(activation::gelu_tanh_backward(&x, &dy)));
    bench.line("gelu_tanh backward", seconds, 3 * bytes, "GB/s");
    bench.line("gelu", bench.best(|| _ = black_box(activation::gelu(&x))), 2 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(activation::gelu_backward(&x, &dy)));
    bench.line("gelu backward", seconds, 3 * bytes, "GB/s");
    bench.line("exp", bench.best(|| _ = black_box(vector::exp(&x))), 2 * bytes, "GB/s");
    let setting = Dropout { probability: 0.1, seed: 1 };
    bench.line("dropout", bench.best(|| _ = black_box(dropout::apply(&x, setting))), 2 * bytes, "GB/s");
    bench.line("dot", bench.best(|| _ = black_box(vector::dot(&x, &dy))), 2 * bytes, "GB/s");

    let bytes = 4 * rows * width;
    let (x, dy, gamma) = (&x[..rows * width], &dy[..rows * width], values(width));
    let seconds = bench.best(|| _ = black_box(norm::layer_norm(x, &gamma, &gamma, 1e-5)));
    bench.line("layer_norm", seconds, 2 * bytes, "GB/s");
    let (_, statistics) = norm::layer_norm(x, &gamma, &gamma, 1e-5);
    let seconds = bench.best(|| _ = black_box(norm::layer_norm_backward(x, &gamma, &statistics, dy)));
    bench.line("layer_norm backward", seconds, 3 * bytes, "GB/s");

    let attention_shape = AttentionShape { batch, time, heads, head_width: width / heads };
    let qkv = values(rows * 3 * width);
    // Two products forward, five backward, half of each under the diagonal.
    let operations = 2 * rows * time * width;
    for dropout in [None, Some(setting)] {
        let suffix = if dropout.is_some() { " with dropout" } else { "" };
        let seconds = bench.best(|| _ = black_box(attention::forward(&qkv, attention_shape, dropout, precision)));
        bench.line(&format!("attention{suffix}"), seconds, operations, "GFLOP/s");
        let (out, sums) = attention::forward(&qkv, attention_shape, dropout, precision);
        let seconds = bench.best(|| {
            black_box(attention::backward(&qkv, &out, &sums, dy, attention_shape, dropout, precision));
        });
        bench.line(&format!("attention{suffix} backward"), seconds, operations * 5 / 2, "GFLOP/s");
    }

    let weight = values(vocabulary * width);
    let targets: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % vocabulary as u32).collect();
    let operations = 2 * rows * width * vocabulary;
    let scale = 1.0 / rows as f32;
    let seconds = bench.best(|| {
        black_box(cross_entropy::forward(x, &weight, &targets, width, scale, false, precision));
    });
    bench.line("cross_entropy, loss only", seconds, operations, "GFLOP/s");
    let seconds = bench.best(|| {
        black_box(cross_entropy::forward(x, &weight, &targets, width, scale, true, precision));
    });
    bench.line("cross_entropy with gradients", seconds, 3 * operations, "GFLOP/s");
    let mut logits = values(rows * vocabulary);
    let (mut dx, mut dweight) = (values(rows * width), weight.clone());
    let weight_matrix = MatrixRef::new(&weight, vocabulary, width);
    let seconds = bench.best(|| {
        product(MatrixRef::new(x, rows, width), weight_matrix.transposed(), &mut logits, false, precision);
        let logits = MatrixRef::new(&logits, rows, vocabulary);
        product(logits, weight_matrix, &mut dx, false, precision);
        product(logits.transposed(), MatrixRef::new(x, rows, width), &mut dweight, false, precision);
    });
    bench.line("  its three products", seconds, 3 * operations, "GFLOP/s");

    let positions = values(time * width);
    let seconds = bench.best(|| _ = black_box(embedding::gather(&weight, &positions, &targets, time, width, 0)));
    bench.line("embedding gather", seconds, 3 * bytes, "GB/s");
    let seconds = bench.best(|| _ = black_box(embedding::scatter(dy, &targets, vocabulary, time, time, width)));
    bench.line("embedding scatter", seconds, 2 * bytes + 4 * vocabulary * width, "GB/s");

    let parameters = layers * 12 * width * width + (vocabulary + time) * width;
    optimizer(bench, parameters);
}

fn optimizer(bench: &mut Bench, parameters: usize) {
    let setting = AdamW {
        learning_rate: 1e-5,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 10,
        gradient_scale: 1.0,
    };
    let (mut weight, gradient) = (values(parameters), values(parameters));
    let (mut first, mut second) = (vec![0.0; parameters], vec![0.0; parameters]);
    let seconds = bench.best(|| setting.step(&mut weight, &gradient, &mut first, &mut second));
    bench.line(&format!("adamw, {parameters} weights"), seconds, 28 * parameters, "GB/s");
    let (mut momenta, mut drifts) = (vec![vec![0.0; parameters]; 2], vec![vec![0.0; parameters]; 2]);
    let (mut reach, mut decay) = (vec![0.0; parameters], vec![0.0; parameters]);
    let parts = momenta.iter_mut().zip(&mut drifts);
    let parts =
        parts.map(|(momentum, drift)| LedgerPart { gradient: &gradient, momentum: Some(momentum), drift }).collect();
    let reach = Some(Reach { values: &mut reach, age: 3 });
    let mut lines = LedgerLines { parts, reach, decay: &mut decay };
    let seconds = bench.best(|| setting.step_with_ledger(&mut weight, &gradient, &mut first, &mut second, &mut lines));
    bench.line("adamw with two sources in the ledger", seconds, (28 + 16 + 2 * 20) * parameters, "GB/s");
}
