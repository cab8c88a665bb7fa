//! Every backward reference is the derivative of its forward reference: central differences in `f64`.
//!
//! `fast_against_reference.rs` then ties the kernels to these references, and the second half here ties the kernels'
//! own gradients to the differences directly.

mod support;

use loam_kernels::attention::{self, AttentionShape};
use loam_kernels::cross_entropy::{self, IGNORE};
use loam_kernels::dropout::{Dropout, attention_mask};
use loam_kernels::matrix::{MatrixRef, Precision};
use loam_kernels::reference::{self, widen};
use loam_kernels::{activation, embedding, linear, norm};
use support::Random;
use support::calculus::{check, differences, inner};

#[test]
fn linear_gradients() {
    let mut random = Random(21);
    let (rows, inputs, outputs) = (5, 7, 3);
    let (x, weight) = (random.values(rows * inputs), random.values(inputs * outputs));
    let (bias, residual, dy) = (random.values(outputs), random.values(rows * outputs), random.values(rows * outputs));
    let (wide_x, wide_weight, wide_bias) = (widen(&x), widen(&weight), widen(&bias));
    let wide_residual = widen(&residual);
    let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
        inner(&reference::linear(x, weight, bias, Some(&wide_residual), rows, inputs), &dy)
    };
    let plain = reference::linear_backward(&wide_x, &wide_weight, &widen(&dy), rows, inputs, outputs);
    let fast = linear::backward(&x, MatrixRef::new(&weight, inputs, outputs), &dy, Precision::F32);
    check("dx", &differences(&x, |x| loss(x, &wide_weight, &wide_bias)), &plain.0, &fast.dx);
    check("dweight", &differences(&weight, |weight| loss(&wide_x, weight, &wide_bias)), &plain.1, &fast.dweight);
    check("dbias", &differences(&bias, |bias| loss(&wide_x, &wide_weight, bias)), &plain.2, &fast.dbias);
}

#[test]
fn activation_gradients() {
    let mut random = Random(22);
    let x: Vec<f32> = random.values(200).iter().map(|x| x * 3.0).collect();
    let dy = random.values(200);
    let loss = |x: &[f64], function: fn(f64) -> f64| inner(&x.iter().map(|x| function(*x)).collect::<Vec<_>>(), &dy);
    let plain = |derivative: fn(f64) -> f64| -> Vec<f64> {
        x.iter().zip(&dy).map(|(x, dy)| derivative(f64::from(*x)) * f64::from(*dy)).collect()
    };
    let expected = differences(&x, |x| loss(x, reference::gelu_tanh));
    let fast = activation::gelu_tanh_backward(&x, &dy);
    check("gelu_tanh", &expected, &plain(reference::gelu_tanh_derivative), &fast);
    let expected = differences(&x, |x| loss(x, reference::gelu));
    check("gelu", &expected, &plain(reference::gelu_derivative), &activation::gelu_backward(&x, &dy));
}

#[test]
fn layer_norm_gradients() {
    let mut random = Random(23);
    let (rows, width) = (4, 19);
    let (x, dy) = (random.values(rows * width), random.values(rows * width));
    let (gamma, beta) = (random.values(width), random.values(width));
    let (wide_x, wide_gamma, wide_beta) = (widen(&x), widen(&gamma), widen(&beta));
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| inner(&reference::layer_norm(x, gamma, beta, 1e-5).0, &dy);
    let (_, statistics) = reference::layer_norm(&wide_x, &wide_gamma, &wide_beta, 1e-5);
    let plain = reference::layer_norm_backward(&wide_x, &wide_gamma, &statistics, &widen(&dy));
    let (_, statistics) = norm::layer_norm(&x, &gamma, &beta, 1e-5);
    let fast = norm::layer_norm_backward(&x, &gamma, &statistics, &dy);
    check("dx", &differences(&x, |x| loss(x, &wide_gamma, &wide_beta)), &plain.0, &fast.dx);
    check("dgamma", &differences(&gamma, |gamma| loss(&wide_x, gamma, &wide_beta)), &plain.1, &fast.dgamma);
    check("dbeta", &differences(&beta, |beta| loss(&wide_x, &wide_gamma, beta)), &plain.2, &fast.dbeta);
}

#[test]
fn attention_gradients() {
    let mut random = Random(24);
    let shape = AttentionShape { batch: 2, time: 9, heads: 2, head_width: 3 };
    let qkv = random.values(shape.batch * shape.time * 3 * shape.width());
    let dout = random.values(shape.batch * shape.time * shape.width());
    for dropout in [None, Some(Dropout { probability: 0.4, seed: 5 })] {
        let mask = dropout.map(|dropout| widen(&attention_mask(shape, dropout)));
        let expected = differences(&qkv, |qkv| inner(&reference::attention(qkv, shape, mask.as_deref()).0, &dout));
        let plain = reference::attention_backward(&widen(&qkv), &widen(&dout), shape, mask.as_deref());
        let (out, log_sum_exp) = attention::forward(&qkv, shape, dropout, Precision::F32);
        let fast = attention::backward(&qkv, &out, &log_sum_exp, &dout, shape, dropout, Precision::F32);
        check("dqkv", &expected, &plain, &fast);
    }
}

#[test]
fn cross_entropy_gradients() {
    let mut random = Random(25);
    let (width, vocabulary, scale) = (5, 11, 0.25);
    let (x, weight) = (random.values(6 * width), random.values(vocabulary * width));
    let targets = [3, IGNORE, 10, 0, 3, IGNORE];
    let (wide_x, wide_weight) = (widen(&x), widen(&weight));
    let loss = |x: &[f64], weight: &[f64]| {
        reference::cross_entropy(x, weight, &targets, width, scale).0.iter().sum::<f64>() * scale
    };
    let (_, plain_dx, plain_dweight) = reference::cross_entropy(&wide_x, &wide_weight, &targets, width, scale);
    let result = cross_entropy::forward(&x, &weight, &targets, width, scale as f32, true, Precision::F32);
    let (dx, dweight) = result.gradients.expect("gradients were asked for");
    check("dx", &differences(&x, |x| loss(x, &wide_weight)), &plain_dx, &dx);
    check("dweight", &differences(&weight, |weight| loss(&wide_x, weight)), &plain_dweight, &dweight);
}

#[test]
fn embedding_gradients() {
    let mut random = Random(26);
    let (vocabulary, context, time, width) = (5, 6, 4, 3);
    let (tokens, positions) = (random.values(vocabulary * width), random.values(context * width));
    let (ids, dy) = (random.ids(3 * time, vocabulary), random.values(3 * time * width));
    let loss =
        |tokens: &[f64], positions: &[f64]| inner(&reference::gather(tokens, positions, &ids, time, width, 0), &dy);
    let plain = reference::scatter(&widen(&dy), &ids, vocabulary, context, time, width);
    let fast = embedding::scatter(&dy, &ids, vocabulary, context, time, width);
    check("dtokens", &differences(&tokens, |tokens| loss(tokens, &widen(&positions))), &plain.0, &fast.0);
    check("dpositions", &differences(&positions, |positions| loss(&widen(&tokens), positions)), &plain.1, &fast.1);
}
