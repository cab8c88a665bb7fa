//! What each operation computes, as the obvious loops in `f64`: the oracle of every test, here and in other crates.
//!
//! Nothing here is fast, parallel or careful about memory. Shapes are those of the operation of the same name.

pub mod activations;
mod attention;
pub mod heads;
pub mod recurrent;
pub mod rms_norms;
mod rotary;
pub mod tables;
pub mod word2vec;

pub use attention::{PlainAttention, attention, attention_backward};
pub use rotary::rotary;

use crate::adamw::AdamW;
use crate::cross_entropy::IGNORE;

/// `f32` values as `f64`, exactly.
pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// `a b`, for `a` `[rows, inner]` and `b` `[inner, columns]`.
pub fn product(a: &[f64], b: &[f64], rows: usize, inner: usize, columns: usize) -> Vec<f64> {
    let mut c = vec![0.0; rows * columns];
    for i in 0..rows {
        for k in 0..inner {
            for j in 0..columns {
                c[i * columns + j] += a[i * inner + k] * b[k * columns + j];
            }
        }
    }
    c
}

/// The transpose, `[columns, rows]`, of `matrix`, `[rows, columns]`.
pub fn transpose(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// [`crate::linear::forward`] on `rows` rows.
pub fn linear(
    x: &[f64],
    weight: &[f64],
    bias: &[f64],
    residual: Option<&[f64]>,
    rows: usize,
    inputs: usize,
) -> Vec<f64> {
    let outputs = bias.len();
    let mut y = product(x, weight, rows, inputs, outputs);
    for (i, y) in y.iter_mut().enumerate() {
        *y += bias[i % outputs] + residual.map_or(0.0, |residual| residual[i]);
    }
    y
}

/// [`crate::linear::backward`] on `rows` rows: `dx`, `dweight`, `dbias`.
pub fn linear_backward(
    x: &[f64],
    weight: &[f64],
    dy: &[f64],
    rows: usize,
    inputs: usize,
    outputs: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let dx = product(dy, &transpose(weight, inputs, outputs), rows, outputs, inputs);
    let dweight = product(&transpose(x, rows, inputs), dy, inputs, rows, outputs);
    let dbias = (0..outputs).map(|j| (0..rows).map(|i| dy[i * outputs + j]).sum()).collect();
    (dx, dweight, dbias)
}

/// The error function to about 1e-15: its Taylor series, and the continued fraction of its complement beyond 2.5.
pub fn erf(x: f64) -> f64 {
    let t = x.abs();
    let square = t * t;
    let value = if t < 2.5 {
        let (mut term, mut sum) = (t, t);
        for n in 1..120 {
            term *= -square / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        std::f64::consts::FRAC_2_SQRT_PI * sum
    } else {
        let fraction = (1..120).rev().fold(0.0, |fraction, k| f64::from(k) / 2.0 / (t + fraction));
        1.0 - (-square).exp() * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / (t + fraction)
    };
    if x.is_nan() { x } else { value.copysign(x) }
}

/// 1 / (1 + e⁻ˣ).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// [`crate::activation::gelu_tanh`] of one value.
pub fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// The derivative of [`gelu_tanh`].
pub fn gelu_tanh_derivative(x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let t = (root * (x + 0.044_715 * x.powi(3))).tanh();
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044_715 * x * x)
}

/// [`crate::activation::gelu`] of one value.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// The derivative of [`gelu`].
pub fn gelu_derivative(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)) + x * density
}

/// [`crate::norm::layer_norm`]: `y` and statistics.
pub fn layer_norm(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> (Vec<f64>, Vec<f64>) {
    let width = gamma.len();
    let (mut y, mut statistics) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let reciprocal = 1.0 / (variance + epsilon).sqrt();
        y.extend((0..width).map(|j| (row[j] - mean) * reciprocal * gamma[j] + beta[j]));
        statistics.extend([mean, reciprocal]);
    }
    (y, statistics)
}

/// [`crate::norm::layer_norm_backward`]: `dx`, `dgamma`, `dbeta`.
pub fn layer_norm_backward(x: &[f64], gamma: &[f64], statistics: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let width = gamma.len();
    let (mut dx, mut dgamma, mut dbeta) = (Vec::new(), vec![0.0; width], vec![0.0; width]);
    for ((x, dy), statistics) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(statistics.chunks_exact(2)) {
        let normalized: Vec<f64> = x.iter().map(|x| (x - statistics[0]) * statistics[1]).collect();
        let h: Vec<f64> = (0..width).map(|j| dy[j] * gamma[j]).collect();
        let mean = h.iter().sum::<f64>() / width as f64;
        let mean_product = (0..width).map(|j| h[j] * normalized[j]).sum::<f64>() / width as f64;
        for j in 0..width {
            dx.push((h[j] - mean - normalized[j] * mean_product) * statistics[1]);
            dgamma[j] += dy[j] * normalized[j];
            dbeta[j] += dy[j];
        }
    }
    (dx, dgamma, dbeta)
}

/// [`crate::cross_entropy::losses`] and the gradients of `scale` times their sum: losses, `dx`, `dweight`.
pub fn cross_entropy(
    x: &[f64],
    weight: &[f64],
    targets: &[u32],
    width: usize,
    scale: f64,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let vocabulary = weight.len() / width;
    let (mut losses, mut dx, mut dweight) = (vec![0.0; targets.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
    for (row, target) in targets.iter().enumerate().filter(|(_, target)| **target != IGNORE) {
        let x = &x[row * width..][..width];
        let logits: Vec<f64> = weight.chunks_exact(width).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        losses[row] = largest + sum.ln() - logits[*target as usize];
        for token in 0..vocabulary {
            let indicator = f64::from(u8::from(token == *target as usize));
            let dlogit = scale * ((logits[token] - largest).exp() / sum - indicator);
            for c in 0..width {
                dx[row * width + c] += dlogit * weight[token * width + c];
                dweight[token * width + c] += dlogit * x[c];
            }
        }
    }
    (losses, dx, dweight)
}

/// [`crate::embedding::gather`].
pub fn gather(
    tokens: &[f64],
    positions: &[f64],
    ids: &[u32],
    time: usize,
    width: usize,
    first_position: usize,
) -> Vec<f64> {
    let row = |(i, id): (usize, &u32)| {
        let position = first_position + i % time;
        (0..width).map(move |c| tokens[*id as usize * width + c] + positions[position * width + c]).collect::<Vec<_>>()
    };
    ids.iter().enumerate().flat_map(row).collect()
}

/// [`crate::embedding::scatter`]: `dtokens`, `dpositions`.
pub fn scatter(
    dy: &[f64],
    ids: &[u32],
    vocabulary: usize,
    context: usize,
    time: usize,
    width: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (mut dtokens, mut dpositions) = (vec![0.0; vocabulary * width], vec![0.0; context * width]);
    for (i, id) in ids.iter().enumerate() {
        for c in 0..width {
            dtokens[*id as usize * width + c] += dy[i * width + c];
            dpositions[i % time * width + c] += dy[i * width + c];
        }
    }
    (dtokens, dpositions)
}

/// [`AdamW::step`] for one weight: the new weight, first and second moment.
pub fn adamw(optimizer: &AdamW, weight: f64, gradient: f64, first: f64, second: f64) -> (f64, f64, f64) {
    let (beta1, beta2) = (f64::from(optimizer.beta1), f64::from(optimizer.beta2));
    let g = gradient * f64::from(optimizer.gradient_scale);
    let m = beta1 * first + (1.0 - beta1) * g;
    let v = beta2 * second + (1.0 - beta2) * g * g;
    let (m_hat, v_hat) = (m / (1.0 - beta1.powf(optimizer.step as f64)), v / (1.0 - beta2.powf(optimizer.step as f64)));
    let direction = m_hat / (v_hat.sqrt() + f64::from(optimizer.epsilon)) + f64::from(optimizer.weight_decay) * weight;
    (weight - f64::from(optimizer.learning_rate) * direction, m, v)
}
