//! Products of bf16 operands against the same sums in `f64` over rounded operands, and the operations built on them.

mod support;

use loam_kernels::matrix::{MatrixRef, Precision, product, round};
use loam_kernels::{attention, cross_entropy, linear};
use support::{Random, assert_close, at_the_widest_level};

/// What the product makes of an operand.
fn rounded(value: f32) -> f64 {
    f64::from(f32::from_bits(u32::from(round(value)) << 16))
}

/// Runs `check` where the machine has such products; says so where not. No other test forces another level meanwhile.
fn where_native(check: impl FnOnce()) {
    at_the_widest_level(|| {
        if Precision::Bf16.is_native() {
            check();
        } else {
            eprintln!("skipped: this machine has no bf16 products");
        }
    });
}

fn random(count: usize, seed: u64) -> Vec<f32> {
    Random(seed).values(count)
}

/// `a b` over rounded operands, added to `start`, and what rounding in `f32` may change.
fn expected(a: MatrixRef, b: MatrixRef, start: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let mut values: Vec<f64> = start.iter().map(|&value| f64::from(value)).collect();
    let mut bounds: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    for i in 0..a.rows {
        for j in 0..b.columns {
            for k in 0..a.columns {
                let left = rounded(a.data[i * a.row_stride + k * a.column_stride]);
                let term = left * rounded(b.data[k * b.row_stride + j * b.column_stride]);
                values[i * b.columns + j] += term;
                bounds[i * b.columns + j] += term.abs();
            }
        }
    }
    (values, bounds.into_iter().map(|bound| bound * 2e-6 + 1e-30).collect())
}

fn check(a: MatrixRef, b: MatrixRef, what: &str) {
    for accumulate in [false, true] {
        let mut c = random(a.rows * b.columns, 9);
        let start = if accumulate { c.clone() } else { vec![0.0; c.len()] };
        let (values, bounds) = expected(a, b, &start);
        product(a, b, &mut c, accumulate, Precision::Bf16);
        for (i, ((&got, want), bound)) in c.iter().zip(values).zip(bounds).enumerate() {
            assert!(
                (f64::from(got) - want).abs() <= bound,
                "{what}, accumulate {accumulate}, element {i}: {got}, {want}"
            );
        }
    }
}

#[test]
fn products_of_every_size_and_layout() {
    where_native(|| {
        for (rows, columns, inner) in [
            (16, 1, 1),
            (17, 16, 2),
            (19, 17, 31),
            (16, 48, 33),
            (64, 64, 64),
            (23, 65, 7),
            (253, 130, 513),
            (505, 70, 1025),
            (31, 4097, 3),
        ] {
            let (a, b) = (random(rows * inner, 1), random(inner * columns, 2));
            let sizes = format!("{rows} × {inner} × {columns}");
            let left = [MatrixRef::new(&a, rows, inner), MatrixRef::new(&a, inner, rows).transposed()];
            let right = [MatrixRef::new(&b, inner, columns), MatrixRef::new(&b, columns, inner).transposed()];
            for (i, left) in left.into_iter().enumerate() {
                for (j, right) in right.into_iter().enumerate() {
                    check(left, right, &format!("{sizes}, transposed {i} {j}"));
                }
            }
        }
    });
}

#[test]
fn products_of_spread_elements() {
    where_native(|| {
        let (rows, columns, inner) = (37, 21, 45);
        let (a, b) = (random(rows * inner * 6, 1), random(rows * columns * inner * 6, 2));
        let left = MatrixRef { data: &a, rows, columns: inner, row_stride: 2 * inner, column_stride: 2 };
        let right = MatrixRef { data: &b, rows: inner, columns, row_stride: 3, column_stride: 3 * inner };
        check(left, right, "spread");
        check(right.transposed(), left.transposed(), "spread, transposed");
        let wide = MatrixRef { data: &a, rows, columns: inner, row_stride: inner + 5, column_stride: 1 };
        check(wide, right, "rows apart");
        check(right.transposed(), wide.transposed(), "columns apart");
    });
}

#[test]
fn unusual_numbers() {
    where_native(|| {
        let mut a = vec![0.0; 16 * 2];
        a[..8].copy_from_slice(&[1e-40, 0.0, f32::INFINITY, 1.0, f32::NAN, 0.0, f32::MAX, 0.0]);
        let b = [1.0, 2.0];
        let mut c = vec![0.0; 16];
        product(MatrixRef::new(&a, 16, 2), MatrixRef::new(&b, 2, 1), &mut c, false, Precision::Bf16);
        assert_eq!((c[0], c[1]), (0.0, f32::INFINITY), "a subnormal number counts as zero");
        assert!(c[2].is_nan() && c[3].is_infinite(), "the largest number rounds to infinity");
    });
}

#[test]
fn rounding_to_even() {
    for (value, bits) in [(1.0, 0x3f80), (1.0 + 1.0 / 256.0, 0x3f80), (1.0 + 3.0 / 256.0, 0x3f82), (-0.0, 0x8000)] {
        assert_eq!(round(value), bits, "{value}");
    }
    assert_eq!(round(f32::MAX), 0x7f80);
    assert!(f32::from_bits(u32::from(round(f32::from_bits(0x7f80_0001))) << 16).is_nan());
}

#[test]
fn without_native_products_f32_takes_their_place() {
    use loam_kernels::simd::{SimdLevel, with_simd_level};
    let (a, b) = (random(20 * 30, 1), random(30 * 40, 2));
    let (a, b) = (MatrixRef::new(&a, 20, 30), MatrixRef::new(&b, 30, 40));
    let (mut first, mut second) = (vec![0.0; 800], vec![0.0; 800]);
    with_simd_level(SimdLevel::Portable, || {
        assert!(!Precision::Bf16.is_native());
        product(a, b, &mut first, false, Precision::Bf16);
        product(a, b, &mut second, false, Precision::F32);
    });
    assert_eq!(first, second);
}

/// The largest difference, over the largest value.
fn distance(got: &[f32], want: &[f32]) -> f32 {
    let largest = want.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    got.iter().zip(want).fold(0.0_f32, |most, (got, want)| most.max((got - want).abs())) / largest
}

#[test]
fn a_layer_adds_bias_and_residual() {
    where_native(|| {
        for (rows, inputs, outputs) in [(33, 70, 90), (300, 1100, 130)] {
            let (x, weight, bias) = (random(rows * inputs, 1), random(inputs * outputs, 2), random(outputs, 3));
            let (residual, dy) = (random(rows * outputs, 4), random(rows * outputs, 5));
            for residual in [None, Some(residual.as_slice())] {
                let run = |precision| {
                    linear::forward(&x, MatrixRef::new(&weight, inputs, outputs), &bias, residual, precision)
                };
                assert!(distance(&run(Precision::Bf16), &run(Precision::F32)) < 5e-3);
                let zero = vec![0.0; inputs * outputs];
                let only =
                    linear::forward(&x, MatrixRef::new(&zero, inputs, outputs), &bias, residual, Precision::Bf16);
                let exact =
                    linear::forward(&x, MatrixRef::new(&zero, inputs, outputs), &bias, residual, Precision::F32);
                assert_close(
                    "bias and residual",
                    &only,
                    &exact.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
                    1e-7,
                );
            }
            let run = |precision| linear::backward(&x, MatrixRef::new(&weight, inputs, outputs), &dy, precision);
            let (fast, exact) = (run(Precision::Bf16), run(Precision::F32));
            assert!(distance(&fast.dx, &exact.dx) < 5e-3 && distance(&fast.dweight, &exact.dweight) < 5e-3);
            assert_eq!(fast.dbias, exact.dbias);
        }
    });
}

#[test]
fn attention_and_loss_are_near_f32() {
    where_native(|| {
        let shape = attention::AttentionShape { batch: 2, time: 150, heads: 2, head_width: 24 };
        let (qkv, dout) = (random(2 * 150 * 3 * 48, 1), random(2 * 150 * 48, 2));
        let run = |precision| {
            let (out, sums) = attention::forward(&qkv, shape, None, precision);
            let gradient = attention::backward(&qkv, &out, &sums, &dout, shape, None, precision);
            (out, gradient)
        };
        let ((fast, fast_gradient), (exact, gradient)) = (run(Precision::Bf16), run(Precision::F32));
        assert!(distance(&fast, &exact) < 1e-2 && distance(&fast_gradient, &gradient) < 1e-2);

        // Logits of about 1, as a model has them: of sharp ones, probabilities follow every rounding.
        let x: Vec<f32> = random(100 * 48, 3).iter().map(|value| 0.15 * value).collect();
        let weight = random(300 * 48, 4);
        let targets: Vec<u32> = (0..100).map(|row| row * 7 % 300).collect();
        let run = |precision| cross_entropy::forward(&x, &weight, &targets, 48, 0.01, true, precision);
        let (fast, exact) = (run(Precision::Bf16), run(Precision::F32));
        assert!((fast.loss_sum / exact.loss_sum - 1.0).abs() < 2e-3);
        let ((dx, dweight), (exact_dx, exact_dweight)) = (fast.gradients.unwrap(), exact.gradients.unwrap());
        assert!(distance(&dx, &exact_dx) < 1e-2 && distance(&dweight, &exact_dweight) < 1e-2);
    });
}
