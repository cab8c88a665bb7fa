//! Prints what each operation reaches: GFLOP/s where products dominate, GB/s where memory does.
//!
//! `cargo run --release -p loam-kernels --example rates [repetitions]`. The best of several repetitions, since the
//! machine may be busy with something else; raw products at the same shapes stand beside the operations built on them.
//!
//! Loam's binary keeps its memory (mimalloc without purging). The system's allocator does so when told, on Linux with
//! `GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4000000000:glibc.malloc.top_pad=1000000000`.

use loam_kernels::adamw::{AdamW, LedgerLines, LedgerPart};
use loam_kernels::attention::{self, Attention, AttentionShape, Mask, Sequences, attend, attend_backward_packed};
use loam_kernels::dropout::{self, Dropout};
use loam_kernels::heads::{HeadLayout, HeadView};
use loam_kernels::matrix::{MatrixRef, product};
use loam_kernels::rotary::{self, Pairing, Positions, RotaryTable};
use loam_kernels::{activation, cross_entropy, embedding, linear, norm, simd_level, vector};
use std::hint::black_box;
use std::time::Instant;

/// The sizes of one training step of a GPT-2-shaped model.
struct Shape {
    name: &'static str,
    batch: usize,
    time: usize,
    width: usize,
    heads: usize,
    layers: usize,
    vocabulary: usize,
}

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

/// One line of the table; returns milliseconds.
fn line(name: &str, seconds: f64, amount: usize, unit: &str) -> f64 {
    println!("{name:<34} {:>9.3} ms {:>8.1} {unit}", seconds * 1e3, amount as f64 / seconds / 1e9);
    seconds * 1e3
}

/// A linear layer with its gradients, beside the three bare products; returns milliseconds of both.
fn linear_layer(
    repetitions: usize,
    name: &str,
    rows: usize,
    inputs: usize,
    outputs: usize,
    residual: bool,
) -> [f64; 2] {
    let (x, weight, bias) = (values(rows * inputs), values(inputs * outputs), values(outputs));
    let (dy, residual) = (values(rows * outputs), residual.then(|| values(rows * outputs)));
    let (x_matrix, weight_matrix) = (MatrixRef::new(&x, rows, inputs), MatrixRef::new(&weight, inputs, outputs));
    let dy_matrix = MatrixRef::new(&dy, rows, outputs);
    let operations = 2 * rows * inputs * outputs;
    let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), weight.clone());
    let mut milliseconds = [0.0; 2];
    let mut time = |slot: usize, part: &str, operations: usize, action: &mut dyn FnMut()| {
        let seconds = best(repetitions, action);
        milliseconds[slot] += line(&format!("{name} {inputs}→{outputs} {part}"), seconds, operations, "GFLOP/s");
    };
    time(1, "product", operations, &mut || product(x_matrix, weight_matrix, &mut y, false));
    time(0, "forward", operations, &mut || {
        black_box(linear::forward(&x, &weight, &bias, residual.as_deref(), inputs, outputs));
    });
    time(1, "products dx, dw", 2 * operations, &mut || {
        product(dy_matrix, weight_matrix.transposed(), &mut dx, false);
        product(x_matrix.transposed(), dy_matrix, &mut dweight, false);
    });
    time(0, "backward", 2 * operations, &mut || {
        black_box(linear::backward(&x, &weight, &dy, inputs, outputs));
    });
    milliseconds
}

fn measure(shape: &Shape, repetitions: usize) {
    let Shape { batch, time, width, heads, layers, vocabulary, .. } = *shape;
    let (rows, hidden) = (batch * time, 4 * width);
    println!("\n{}: rows {rows}, width {width}, heads {heads}, context {time}, vocabulary {vocabulary}", shape.name);
    // Milliseconds of a whole step, and of the bare products in it.
    let (mut step, mut bare) = (0.0, 0.0);
    for (name, inputs, outputs, residual) in [
        ("qkv", width, 3 * width, false),
        ("projection", width, width, true),
        ("up", width, hidden, false),
        ("down", hidden, width, true),
    ] {
        let [ours, products] = linear_layer(repetitions, name, rows, inputs, outputs, residual);
        step += layers as f64 * ours;
        bare += layers as f64 * products;
    }

    let bytes = 4 * rows * hidden;
    let (x, dy) = (values(rows * hidden), values(rows * hidden));
    let mut per_layer = 0.0;
    let seconds = best(repetitions, || _ = black_box(activation::gelu_tanh(&x)));
    per_layer += line("gelu_tanh", seconds, 2 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(activation::gelu_tanh_backward(&x, &dy)));
    per_layer += line("gelu_tanh backward", seconds, 3 * bytes, "GB/s");
    line("gelu", best(repetitions, || _ = black_box(activation::gelu(&x))), 2 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(activation::gelu_backward(&x, &dy)));
    line("gelu backward", seconds, 3 * bytes, "GB/s");
    line("exp", best(repetitions, || _ = black_box(vector::exp(&x))), 2 * bytes, "GB/s");
    let setting = Dropout { probability: 0.1, seed: 1 };
    line("dropout", best(repetitions, || _ = black_box(dropout::apply(&x, setting))), 2 * bytes, "GB/s");
    line("dot", best(repetitions, || _ = black_box(vector::dot(&x, &dy))), 2 * bytes, "GB/s");

    let bytes = 4 * rows * width;
    let (x, dy, gamma) = (&x[..rows * width], &dy[..rows * width], values(width));
    let seconds = best(repetitions, || _ = black_box(norm::layer_norm(x, &gamma, &gamma, 1e-5)));
    per_layer += 2.0 * line("layer_norm", seconds, 2 * bytes, "GB/s");
    let (_, statistics) = norm::layer_norm(x, &gamma, &gamma, 1e-5);
    let seconds = best(repetitions, || _ = black_box(norm::layer_norm_backward(x, &gamma, &statistics, dy)));
    per_layer += 2.0 * line("layer_norm backward", seconds, 3 * bytes, "GB/s");

    let attention_shape = AttentionShape { batch, time, heads, head_width: width / heads };
    let qkv = values(rows * 3 * width);
    // Two products forward, five backward, half of each under the diagonal.
    let operations = 2 * rows * time * width;
    for dropout in [None, Some(setting)] {
        let suffix = if dropout.is_some() { " with dropout" } else { "" };
        let seconds = best(repetitions, || _ = black_box(attention::forward(&qkv, attention_shape, dropout)));
        let forward = line(&format!("attention{suffix}"), seconds, operations, "GFLOP/s");
        let (out, sums) = attention::forward(&qkv, attention_shape, dropout);
        let seconds = best(repetitions, || {
            black_box(attention::backward(&qkv, &out, &sums, dy, attention_shape, dropout));
        });
        let backward = line(&format!("attention{suffix} backward"), seconds, operations * 5 / 2, "GFLOP/s");
        per_layer += if dropout.is_none() { forward + backward } else { 0.0 };
    }
    step += layers as f64 * per_layer;

    let weight = values(vocabulary * width);
    let targets: Vec<u32> = (0..rows as u32).map(|i| dropout::hash([3, 4], i) % vocabulary as u32).collect();
    let operations = 2 * rows * width * vocabulary;
    let scale = 1.0 / rows as f32;
    let seconds = best(repetitions, || {
        black_box(cross_entropy::forward(x, &weight, &targets, width, scale, false));
    });
    line("cross_entropy, loss only", seconds, operations, "GFLOP/s");
    let seconds = best(repetitions, || {
        black_box(cross_entropy::forward(x, &weight, &targets, width, scale, true));
    });
    step += line("cross_entropy with gradients", seconds, 3 * operations, "GFLOP/s");
    let mut logits = values(rows * vocabulary);
    let (mut dx, mut dweight) = (values(rows * width), weight.clone());
    let weight_matrix = MatrixRef::new(&weight, vocabulary, width);
    let seconds = best(repetitions, || {
        product(MatrixRef::new(x, rows, width), weight_matrix.transposed(), &mut logits, false);
        let logits = MatrixRef::new(&logits, rows, vocabulary);
        product(logits, weight_matrix, &mut dx, false);
        product(logits.transposed(), MatrixRef::new(x, rows, width), &mut dweight, false);
    });
    bare += line("  its three products", seconds, 3 * operations, "GFLOP/s");

    let positions = values(time * width);
    let seconds = best(repetitions, || _ = black_box(embedding::gather(&weight, &positions, &targets, time, width, 0)));
    step += line("embedding gather", seconds, 3 * bytes, "GB/s");
    let seconds = best(repetitions, || _ = black_box(embedding::scatter(dy, &targets, vocabulary, time, time, width)));
    step += line("embedding scatter", seconds, 2 * bytes + 4 * vocabulary * width, "GB/s");

    let parameters = layers * 12 * width * width + (vocabulary + time) * width;
    step += optimizer(parameters, repetitions);
    println!(
        "a step of these: {step:.1} ms, {:.0} tokens/s; its linear products alone: {bare:.1} ms",
        rows as f64 / step * 1e3
    );
}

/// Attention under several masks at one length: what a mask hides should cost nothing.
fn masks(repetitions: usize) {
    let (time, heads, head_width, window) = (2048, 6, 64, 256);
    println!("\nattention of {time} tokens, {heads} heads of {head_width}; rates count the pairs that the mask shows");
    let dout = values(time * heads * head_width);
    let starts: Vec<usize> = (0..=time).step_by(window).collect();
    let causal_pairs = |time: usize| time * (time + 1) / 2;
    let banded_pairs = |radius: usize| time * (radius + 1) - causal_pairs(radius);
    let packed = Mask::default().with_sequences(Sequences::same(&starts));
    let packed_causal = Mask::causal().with_sequences(Sequences::same(&starts));
    for (name, mask, key_value_heads, soft_cap, pairs) in [
        ("all keys", Mask::default(), heads, None, time * time),
        ("causal", Mask::causal(), heads, None, causal_pairs(time)),
        ("causal, 2 key heads", Mask::causal(), 2, None, causal_pairs(time)),
        ("causal, soft cap", Mask::causal(), heads, Some(50.0), causal_pairs(time)),
        ("window of 256", Mask::sliding(window), heads, None, banded_pairs(window - 1)),
        ("128 to either side", Mask::around(128), heads, None, 2 * banded_pairs(128) - time),
        ("8 sequences", packed, heads, None, time * window),
        ("8 sequences, causal", packed_causal, heads, None, 8 * causal_pairs(window)),
    ] {
        let layouts = HeadLayout::packed(1, time, heads, key_value_heads, head_width);
        let qkv = values(layouts.map(HeadLayout::count).iter().sum());
        let [q, k, v] = layouts.map(|layout| HeadView::new(&qkv, layout));
        let attention = Attention { mask, soft_cap, ..Attention::default() };
        let operations = 4 * pairs * heads * head_width;
        let seconds = best(repetitions, || _ = black_box(attend(q, k, v, &attention)));
        line(name, seconds, operations, "GFLOP/s");
        let (out, sums) = attend(q, k, v, &attention);
        let seconds = best(repetitions, || {
            black_box(attend_backward_packed(q, k, v, &out, &sums, &dout, &attention));
        });
        line(&format!("{name} backward"), seconds, operations * 5 / 2, "GFLOP/s");
    }
    let (batch, heads, key_value_heads) = (8, 9, 3);
    let cache = HeadLayout::tokens_first(batch, time, key_value_heads, head_width);
    let (k, v) = (values(cache.count()), values(cache.count()));
    let (k, v) = (HeadView::new(&k, cache), HeadView::new(&v, cache));
    let query = HeadLayout::tokens_first(batch, 1, heads, head_width);
    let q = values(query.count());
    let q = HeadView::new(&q, query);
    let seconds = best(repetitions, || _ = black_box(attend(q, k, v, &Attention::default())));
    line("one query of 9 heads over 3, batch 8", seconds, 8 * cache.count(), "GB/s");
}

/// Rotary positions on the queries of a batch.
fn rotations(repetitions: usize) {
    let (batch, time, heads, head_width) = (8, 256, 6, 64);
    println!("\nrotary positions: batch {batch}, {time} tokens, {heads} heads of {head_width}");
    let frequencies = rotary::frequencies(10_000.0, head_width);
    let seconds = best(repetitions, || _ = black_box(RotaryTable::new(0..time, &frequencies)));
    line("table", seconds, 4 * time * head_width, "GB/s");
    let table = RotaryTable::new(0..time, &frequencies);
    let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
    let mut x = values(layout.count());
    for (name, pairing) in [("half-split", Pairing::HalfSplit), ("interleaved", Pairing::Interleaved)] {
        let (bytes, positions) = (8 * layout.count(), Positions::From(0));
        let view = HeadView::new(&x, layout);
        let seconds = best(repetitions, || _ = black_box(rotary::forward(view, &table, positions, pairing)));
        line(name, seconds, bytes, "GB/s");
        let seconds =
            best(repetitions, || rotary::forward_in_place(black_box(&mut x), layout, &table, positions, pairing));
        line(&format!("{name} in place"), seconds, bytes, "GB/s");
    }
}

fn optimizer(parameters: usize, repetitions: usize) -> f64 {
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
    let seconds = best(repetitions, || setting.step(&mut weight, &gradient, &mut first, &mut second));
    let milliseconds = line(&format!("adamw, {parameters} weights"), seconds, 28 * parameters, "GB/s");
    let (mut drifts, mut decay) = (vec![vec![0.0; parameters]; 4], vec![0.0; parameters]);
    let mut history = vec![0.0; parameters];
    let gradient_share = Some(&gradient[..]);
    let parts = drifts.iter_mut().map(|drift| LedgerPart { gradient: gradient_share, momentum: None, drift }).collect();
    let mut lines = LedgerLines { parts, history: Some(&mut history), decay: &mut decay };
    let seconds =
        best(repetitions, || setting.step_with_ledger(&mut weight, &gradient, &mut first, &mut second, &mut lines));
    line("adamw with a ledger of 4 sources", seconds, (28 + 16 + 4 * 12) * parameters, "GB/s");
    milliseconds
}

fn main() {
    let repetitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10);
    println!("{} threads, {}, best of {repetitions}", rayon::current_num_threads(), simd_level());
    let shapes = [
        Shape { name: "ENGINE.md", batch: 8, time: 256, width: 384, heads: 6, layers: 6, vocabulary: 8192 },
        Shape { name: "demonstration", batch: 8, time: 128, width: 192, heads: 6, layers: 4, vocabulary: 4096 },
    ];
    for shape in &shapes {
        measure(shape, repetitions);
    }
    masks(repetitions);
    rotations(repetitions);
}
