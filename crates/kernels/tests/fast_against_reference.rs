//! Every fast path against the plain loops in `f64`, over awkward shapes, at every SIMD level of this machine.

mod support;

use loam_kernels::attention::{self, AttentionShape};
use loam_kernels::cross_entropy::{self, IGNORE};
use loam_kernels::dropout::{Dropout, attention_mask};
use loam_kernels::matrix::Precision;
use loam_kernels::matrix::{MatrixRef, product};
use loam_kernels::reference::{self, widen};
use loam_kernels::{activation, adamw::AdamW, embedding, linear, norm, vector};
use support::{Random, assert_close, at_every_level};

const SIZES: [usize; 7] = [0, 1, 2, 7, 16, 31, 67];

#[test]
fn products_in_all_transpositions() {
    let mut random = Random(1);
    for rows in SIZES {
        for inner in SIZES {
            for columns in [0, 1, 5, 16, 33, 64] {
                let (a, b) = (random.values(rows * inner), random.values(inner * columns));
                let (a_wide, b_wide) = (widen(&a), widen(&b));
                let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<_>>();
                let a_transposed = narrow(reference::transpose(&a_wide, rows, inner));
                let b_transposed = narrow(reference::transpose(&b_wide, inner, columns));
                let start = random.values(rows * columns);
                let plain = reference::product(&a_wide, &b_wide, rows, inner, columns);
                let summed: Vec<f64> = plain.iter().zip(&start).map(|(c, s)| c + f64::from(*s)).collect();
                for a in [MatrixRef::new(&a, rows, inner), MatrixRef::new(&a_transposed, inner, rows).transposed()] {
                    for b in
                        [MatrixRef::new(&b, inner, columns), MatrixRef::new(&b_transposed, columns, inner).transposed()]
                    {
                        let mut c = start.clone();
                        product(a, b, &mut c, true, Precision::F32);
                        assert_close("accumulated", &c, &summed, 1e-5);
                        product(a, b, &mut c, false, Precision::F32);
                        assert_close("stored", &c, &plain, 1e-5);
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "reaches beyond")]
fn a_matrix_beyond_its_memory_is_refused() {
    let data = [0.0; 5];
    let matrix = MatrixRef { data: &data, rows: 2, columns: 3, row_stride: 3, column_stride: 1 };
    product(matrix, MatrixRef::new(&data[..3], 3, 1), &mut [0.0; 2], false, Precision::F32);
}

#[test]
fn linear_layers() {
    at_every_level(|| {
        let mut random = Random(2);
        for rows in [0, 1, 3, 64, 65, 131] {
            for (inputs, outputs) in [(1, 1), (5, 17), (33, 16), (0, 3), (3, 0), (64, 129)] {
                let (x, weight) = (random.values(rows * inputs), random.values(inputs * outputs));
                let (bias, dy) = (random.values(outputs), random.values(rows * outputs));
                let residual = random.values(rows * outputs);
                let (wide_x, wide_weight, wide_bias) = (widen(&x), widen(&weight), widen(&bias));
                for residual in [None, Some(&residual[..])] {
                    // Without inputs, outputs or residual nothing tells the number of rows.
                    let rows = if inputs == 0 && residual.is_none() { 0 } else { rows };
                    let y =
                        linear::forward(&x, MatrixRef::new(&weight, inputs, outputs), &bias, residual, Precision::F32);
                    let wide = residual.map(widen);
                    let plain = reference::linear(&wide_x, &wide_weight, &wide_bias, wide.as_deref(), rows, inputs);
                    assert_close("y", &y, &plain, 1e-5);
                }
                let gradients = linear::backward(&x, MatrixRef::new(&weight, inputs, outputs), &dy, Precision::F32);
                let (dx, dweight, dbias) =
                    reference::linear_backward(&wide_x, &wide_weight, &widen(&dy), rows, inputs, outputs);
                assert_close("dx", &gradients.dx, &dx, 1e-5);
                assert_close("dweight", &gradients.dweight, &dweight, 1e-5);
                assert_close("dbias", &gradients.dbias, &dbias, 1e-5);
            }
        }
    });
}

#[test]
fn activations() {
    type Case = (fn(&[f32]) -> Vec<f32>, fn(&[f32], &[f32]) -> Vec<f32>, fn(f64) -> f64, fn(f64) -> f64);
    let cases: [Case; 2] = [
        (activation::gelu_tanh, activation::gelu_tanh_backward, reference::gelu_tanh, reference::gelu_tanh_derivative),
        (activation::gelu, activation::gelu_backward, reference::gelu, reference::gelu_derivative),
    ];
    at_every_level(|| {
        let mut random = Random(3);
        for count in [0, 1, 15, 16, 17, 1023, 16 * 1024 + 5] {
            let (x, dy): (Vec<f32>, _) = (random.values(count).iter().map(|x| x * 4.0).collect(), random.values(count));
            for (forward, backward, plain, derivative) in cases {
                let wide: Vec<f64> = x.iter().map(|x| plain(f64::from(*x))).collect();
                assert_close("gelu", &forward(&x), &wide, 1e-6);
                let wide: Vec<f64> =
                    x.iter().zip(&dy).map(|(x, dy)| derivative(f64::from(*x)) * f64::from(*dy)).collect();
                // 1 - gate cancels where the gate is almost 1, and the slope multiplies what it lost.
                assert_close("gelu'", &backward(&x, &dy), &wide, 3e-6);
            }
        }
        // Far out: the identity on one side, zero on the other, slopes 1 and 0.
        for (forward, backward, ..) in cases {
            let far = [1e4, -1e4, 1e20, -1e20, f32::MAX, f32::MIN];
            let expected = far.map(|x| f64::from(x.max(0.0)));
            assert_close("gelu", &forward(&far), &expected, 0.0);
            assert_close("gelu'", &backward(&far, &[1.0; 6]), &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 0.0);
        }
    });
}

#[test]
fn layer_norms() {
    at_every_level(|| {
        let mut random = Random(4);
        for rows in [0, 1, 31, 32, 33, 70] {
            for width in [1, 2, 15, 16, 48, 67] {
                let x: Vec<f32> = random.values(rows * width).iter().map(|x| 2.0 * x + 1.5).collect();
                let (gamma, beta, dy) = (random.values(width), random.values(width), random.values(rows * width));
                let (y, statistics) = norm::layer_norm(&x, &gamma, &beta, 1e-5);
                let (wide_x, wide_gamma) = (widen(&x), widen(&gamma));
                let (plain, plain_statistics) = reference::layer_norm(&wide_x, &wide_gamma, &widen(&beta), 1e-5);
                // Of one or two elements the variance may be almost nothing, and its root then amplifies rounding.
                let tolerance = if width < 15 { 1e-3 } else { 1e-5 };
                assert_close("y", &y, &plain, tolerance);
                assert_close("statistics", &statistics, &plain_statistics, tolerance);
                let gradients = norm::layer_norm_backward(&x, &gamma, &statistics, &dy);
                let (dx, dgamma, dbeta) =
                    reference::layer_norm_backward(&wide_x, &wide_gamma, &widen(&statistics), &widen(&dy));
                assert_close("dx", &gradients.dx, &dx, tolerance);
                assert_close("dgamma", &gradients.dgamma, &dgamma, 1e-5);
                assert_close("dbeta", &gradients.dbeta, &dbeta, 1e-5);
            }
        }
    });
}

#[test]
fn attention_with_and_without_dropout() {
    at_every_level(|| {
        let mut random = Random(5);
        let shape = |batch, time, heads, head_width| AttentionShape { batch, time, heads, head_width };
        let shapes = [
            shape(1, 1, 1, 1),
            shape(2, 7, 3, 5),
            shape(3, 64, 2, 16),
            shape(1, 65, 1, 17),
            shape(2, 130, 2, 8),
            // Beyond one tile of keys.
            shape(1, 601, 1, 4),
            shape(0, 4, 2, 3),
            shape(2, 0, 2, 3),
            shape(2, 3, 0, 3),
        ];
        for shape in shapes {
            for dropout in [None, Some(Dropout { probability: 0.3, seed: 11 })] {
                let qkv = random.values(shape.batch * shape.time * 3 * shape.width());
                let dout = random.values(shape.batch * shape.time * shape.width());
                let mask = dropout.map(|dropout| widen(&attention_mask(shape, dropout)));
                let (out, log_sum_exp) = attention::forward(&qkv, shape, dropout, Precision::F32);
                let (plain, plain_sums) = reference::attention(&widen(&qkv), shape, mask.as_deref());
                assert_close("out", &out, &plain, 1e-5);
                if shape.width() > 0 {
                    assert_close("log_sum_exp", &log_sum_exp, &plain_sums, 1e-5);
                }
                let dqkv = attention::backward(&qkv, &out, &log_sum_exp, &dout, shape, dropout, Precision::F32);
                let plain = reference::attention_backward(&widen(&qkv), &widen(&dout), shape, mask.as_deref());
                assert_close("dqkv", &dqkv, &plain, 1e-5);
            }
        }
    });
}

#[test]
fn attention_with_rising_scores_over_many_key_tiles() {
    // The maximum moves in every tile of keys, so every correction of the running softmax is exercised.
    let shape = AttentionShape { batch: 1, time: 1100, heads: 1, head_width: 2 };
    let mut random = Random(6);
    let mut qkv = random.values(shape.time * 6);
    for (step, row) in qkv.chunks_exact_mut(6).enumerate() {
        (row[0], row[1], row[2], row[3]) = (3.0, 0.0, step as f32 / 20.0, 0.0);
    }
    let dout = random.values(shape.time * 2);
    at_every_level(|| {
        let (out, log_sum_exp) = attention::forward(&qkv, shape, None, Precision::F32);
        let (plain, plain_sums) = reference::attention(&widen(&qkv), shape, None);
        assert_close("out", &out, &plain, 1e-4);
        assert_close("log_sum_exp", &log_sum_exp, &plain_sums, 1e-5);
        let dqkv = attention::backward(&qkv, &out, &log_sum_exp, &dout, shape, None, Precision::F32);
        let plain = reference::attention_backward(&widen(&qkv), &widen(&dout), shape, None);
        assert_close("dqkv", &dqkv, &plain, 1e-4);
    });
}

#[test]
fn cross_entropies() {
    at_every_level(|| {
        let mut random = Random(7);
        for rows in [0, 1, 15, 33, 100] {
            for (vocabulary, width) in [(1, 1), (7, 5), (33, 16), (130, 7)] {
                for ignored in [0, 1, 2] {
                    let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
                    let mut targets = random.ids(rows, vocabulary);
                    for target in &mut targets {
                        // No row, a third of them, all of them.
                        if ignored == 2 || ignored == 1 && random.below(3) == 0 {
                            *target = IGNORE;
                        }
                    }
                    let (losses, dx, dweight) =
                        reference::cross_entropy(&widen(&x), &widen(&weight), &targets, width, 0.125);
                    let total = losses.iter().sum::<f64>() * 0.125;
                    assert_close(
                        "losses",
                        &cross_entropy::losses(&x, &weight, &targets, width, Precision::F32),
                        &losses,
                        1e-5,
                    );
                    let result = cross_entropy::forward(&x, &weight, &targets, width, 0.125, true, Precision::F32);
                    assert_close("loss_sum", &[result.loss_sum], &[total], 1e-6);
                    let gradients = result.gradients.expect("gradients were asked for");
                    assert_close("dx", &gradients.0, &dx, 1e-5);
                    assert_close("dweight", &gradients.1, &dweight, 1e-5);
                    let alone = cross_entropy::forward(&x, &weight, &targets, width, 0.125, false, Precision::F32);
                    assert_eq!((alone.loss_sum, alone.gradients), (result.loss_sum, None));
                }
            }
        }
    });
}

#[test]
fn cross_entropy_in_several_chunks_and_at_the_extremes() {
    // 200,000 logits a row: at most 83 rows a chunk.
    let (rows, width, vocabulary) = (90, 2, 200_000);
    let mut random = Random(8);
    let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
    let targets = random.ids(rows, vocabulary);
    let (losses, dx, dweight) = reference::cross_entropy(&widen(&x), &widen(&weight), &targets, width, 1.0);
    let result = cross_entropy::forward(&x, &weight, &targets, width, 1.0, true, Precision::F32);
    assert_close("loss_sum", &[result.loss_sum], &[losses.iter().sum()], 1e-6);
    let gradients = result.gradients.expect("gradients were asked for");
    assert_close("dx", &gradients.0, &dx, 1e-5);
    assert_close("dweight", &gradients.1, &dweight, 1e-5);
    // A certain and right, then a certain and wrong answer, at logits of ±1e4.
    let result = cross_entropy::losses(&[1e4, 1e4], &[1.0, -1.0], &[0, 1], 1, Precision::F32);
    assert_close("losses", &result, &[0.0, 2e4], 1e-6);
}

#[test]
#[should_panic(expected = "target 7 of row 1 is outside a vocabulary of 3")]
fn a_target_outside_the_vocabulary_is_refused() {
    let _ = cross_entropy::losses(&[0.0; 4], &[0.0; 6], &[2, 7], 2, Precision::F32);
}

#[test]
fn embeddings() {
    at_every_level(|| {
        let mut random = Random(9);
        for (batch, time, width) in [(0, 3, 4), (1, 1, 1), (2, 7, 5), (3, 50, 33)] {
            let (vocabulary, context) = (11, 60);
            let (tokens, positions) = (random.values(vocabulary * width), random.values(context * width));
            let (ids, dy) = (random.ids(batch * time, vocabulary), random.values(batch * time * width));
            let y = embedding::gather(&tokens, &positions, &ids, time, width, 6);
            let plain = reference::gather(&widen(&tokens), &widen(&positions), &ids, time, width, 6);
            assert_close("y", &y, &plain, 1e-6);
            let (dtokens, dpositions) = embedding::scatter(&dy, &ids, vocabulary, context, time, width);
            let plain = reference::scatter(&widen(&dy), &ids, vocabulary, context, time, width);
            assert_close("dtokens", &dtokens, &plain.0, 1e-6);
            assert_close("dpositions", &dpositions, &plain.1, 1e-6);
        }
    });
}

#[test]
#[should_panic(expected = "token id 9 is outside a vocabulary of 4")]
fn an_id_outside_the_vocabulary_is_refused() {
    let _ = embedding::gather(&[0.0; 8], &[0.0; 8], &[9], 1, 2, 0);
}

#[test]
fn adamw_over_many_steps() {
    at_every_level(|| {
        let mut random = Random(10);
        for count in [0, 1, 17, 16 * 1024 + 3] {
            let mut weight = random.values(count);
            let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
            let mut plain = [widen(&weight), widen(&first), widen(&second)];
            for step in 1..=4 {
                let optimizer = AdamW {
                    learning_rate: 0.01,
                    beta1: 0.9,
                    beta2: 0.95,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    step,
                    gradient_scale: 0.7,
                };
                let gradient = random.values(count);
                optimizer.step(&mut weight, &gradient, &mut first, &mut second);
                for i in 0..count {
                    let (g, [w, m, v]) = (f64::from(gradient[i]), &mut plain);
                    (w[i], m[i], v[i]) = reference::adamw(&optimizer, w[i], g, m[i], v[i]);
                }
            }
            assert_close("weight", &weight, &plain[0], 1e-6);
            assert_close("first", &first, &plain[1], 1e-6);
            assert_close("second", &second, &plain[2], 1e-6);
        }
    });
}

#[test]
fn reductions_and_updates() {
    at_every_level(|| {
        let mut random = Random(11);
        for count in [0, 1, 15, 64, 67, 4099, 300_001] {
            let (a, b) = (random.values(count), random.values(count));
            let (wide_a, wide_b) = (widen(&a), widen(&b));
            let plain: f64 = wide_a.iter().zip(&wide_b).map(|(a, b)| a * b).sum();
            let magnitude: f64 = wide_a.iter().zip(&wide_b).map(|(a, b)| (a * b).abs()).sum();
            assert!((vector::dot(&a, &b) - plain).abs() <= 1e-6 * magnitude, "dot of {count}");
            let squares: f64 = wide_a.iter().map(|a| a * a).sum();
            assert!((vector::sum_of_squares(&a) - squares).abs() <= 1e-6 * squares, "squares of {count}");
            let mut sum = a.clone();
            vector::add_assign(&mut sum, &b);
            assert!(sum.iter().zip(a.iter().zip(&b)).all(|(sum, (a, b))| *sum == a + b));
            vector::scale_assign(&mut sum, 0.3);
            assert!(sum.iter().zip(a.iter().zip(&b)).all(|(sum, (a, b))| *sum == (a + b) * 0.3));
        }
    });
}
