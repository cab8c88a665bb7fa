//! RMS norm, and both norms fused with the residual addition.

mod support;

use loam_kernels::reference::{self, rms_norms, widen};
use loam_kernels::{norm, vector};
use support::calculus::{check, differences, inner};
use support::{Random, assert_close, assert_deterministic, at_every_level, bits};

const EPSILON: f32 = 1e-5;
const WIDE_EPSILON: f64 = EPSILON as f64;

fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut sum = a.to_vec();
    vector::add_assign(&mut sum, b);
    sum
}

#[test]
fn rms_norms_with_and_without_an_offset() {
    at_every_level(|| {
        let mut random = Random(81);
        for rows in [0, 1, 31, 32, 33, 70] {
            for width in [1, 2, 15, 16, 48, 67] {
                for offset in [0.0, 1.0] {
                    let x: Vec<f32> = random.values(rows * width).iter().map(|x| 2.0 * x + 1.5).collect();
                    let (gamma, dy) = (random.values(width), random.values(rows * width));
                    let (wide_x, wide_gamma, wide_offset) = (widen(&x), widen(&gamma), f64::from(offset));
                    let (y, statistics) = norm::rms_norm(&x, &gamma, offset, EPSILON);
                    let plain = rms_norms::rms_norm(&wide_x, &wide_gamma, wide_offset, WIDE_EPSILON);
                    assert_close("y", &y, &plain.0, 1e-5);
                    // Reciprocals may be large where a row of one element is small.
                    assert_close("statistics", &statistics, &plain.1, 1e-5);
                    let gradients = norm::rms_norm_backward(&x, &gamma, offset, &statistics, &dy);
                    let (dx, dgamma) = rms_norms::rms_norm_backward(
                        &wide_x,
                        &wide_gamma,
                        wide_offset,
                        &widen(&statistics),
                        &widen(&dy),
                    );
                    // Of one or two elements almost all of h cancels, and the reciprocal amplifies what is left.
                    assert_close("dx", &gradients.dx, &dx, if width < 15 { 1e-3 } else { 1e-5 });
                    assert_close("dgamma", &gradients.dgamma, &dgamma, 1e-5);
                }
            }
        }
    });
}

#[test]
fn fused_additions_are_additions_and_norms() {
    at_every_level(|| {
        let mut random = Random(82);
        for rows in [0, 1, 31, 32, 33, 70] {
            for width in [1, 15, 16, 67] {
                let (x, residual) = (random.values(rows * width), random.values(rows * width));
                let (gamma, beta) = (random.values(width), random.values(width));
                let (dy, dsum) = (random.values(rows * width), random.values(rows * width));
                let total = sum(&x, &residual);

                let added = norm::add_layer_norm(&x, &residual, &gamma, &beta, EPSILON);
                let (y, statistics) = norm::layer_norm(&total, &gamma, &beta, EPSILON);
                assert_eq!(bits(&added.sum), bits(&total));
                assert_eq!((bits(&added.normalized), bits(&added.statistics)), (bits(&y), bits(&statistics)));
                let fused = norm::add_layer_norm_backward(&total, &gamma, &statistics, &dy, &dsum);
                let alone = norm::layer_norm_backward(&total, &gamma, &statistics, &dy);
                assert_close("dx", &fused.dx, &widen(&sum(&alone.dx, &dsum)), 1e-6);
                assert_eq!((fused.dgamma, fused.dbeta), (alone.dgamma, alone.dbeta));

                let added = norm::add_rms_norm(&x, &residual, &gamma, 1.0, EPSILON);
                let (y, statistics) = norm::rms_norm(&total, &gamma, 1.0, EPSILON);
                assert_eq!(bits(&added.sum), bits(&total));
                assert_eq!((bits(&added.normalized), bits(&added.statistics)), (bits(&y), bits(&statistics)));
                let fused = norm::add_rms_norm_backward(&total, &gamma, 1.0, &statistics, &dy, &dsum);
                let alone = norm::rms_norm_backward(&total, &gamma, 1.0, &statistics, &dy);
                assert_close("dx", &fused.dx, &widen(&sum(&alone.dx, &dsum)), 1e-6);
                assert_eq!(fused.dgamma, alone.dgamma);
            }
        }
    });
}

#[test]
fn gradients_are_differences() {
    let mut random = Random(83);
    let (rows, width) = (4, 19);
    let mut values = || random.values(rows * width);
    let (x, residual, dy, dsum) = (values(), values(), values(), values());
    let (gamma, beta) = (random.values(width), random.values(width));
    let (wide_x, wide_residual, wide_gamma) = (widen(&x), widen(&residual), widen(&gamma));
    let add = |x: &[f64]| -> Vec<f64> { x.iter().zip(&wide_residual).map(|(x, r)| x + r).collect() };
    let total = add(&wide_x);

    let loss = |x: &[f64], gamma: &[f64]| inner(&rms_norms::rms_norm(x, gamma, 1.0, WIDE_EPSILON).0, &dy);
    let (_, statistics) = rms_norms::rms_norm(&wide_x, &wide_gamma, 1.0, WIDE_EPSILON);
    let plain = rms_norms::rms_norm_backward(&wide_x, &wide_gamma, 1.0, &statistics, &widen(&dy));
    let (_, statistics) = norm::rms_norm(&x, &gamma, 1.0, EPSILON);
    let fast = norm::rms_norm_backward(&x, &gamma, 1.0, &statistics, &dy);
    check("rms dx", &differences(&x, |x| loss(x, &wide_gamma)), &plain.0, &fast.dx);
    check("rms dgamma", &differences(&gamma, |gamma| loss(&wide_x, gamma)), &plain.1, &fast.dgamma);

    // Of the fused operations: both outputs have a gradient.
    let with_sum = |dx: &[f64]| -> Vec<f64> { dx.iter().zip(&dsum).map(|(dx, dsum)| dx + f64::from(*dsum)).collect() };
    let loss = |x: &[f64]| {
        let total = add(x);
        inner(&rms_norms::rms_norm(&total, &wide_gamma, 0.0, WIDE_EPSILON).0, &dy) + inner(&total, &dsum)
    };
    let (_, statistics) = rms_norms::rms_norm(&total, &wide_gamma, 0.0, WIDE_EPSILON);
    let plain = rms_norms::rms_norm_backward(&total, &wide_gamma, 0.0, &statistics, &widen(&dy));
    let added = norm::add_rms_norm(&x, &residual, &gamma, 0.0, EPSILON);
    let fast = norm::add_rms_norm_backward(&added.sum, &gamma, 0.0, &added.statistics, &dy, &dsum);
    check("added rms dx", &differences(&x, loss), &with_sum(&plain.0), &fast.dx);

    let loss = |x: &[f64]| {
        let total = add(x);
        inner(&reference::layer_norm(&total, &wide_gamma, &widen(&beta), WIDE_EPSILON).0, &dy) + inner(&total, &dsum)
    };
    let (_, statistics) = reference::layer_norm(&total, &wide_gamma, &widen(&beta), WIDE_EPSILON);
    let plain = reference::layer_norm_backward(&total, &wide_gamma, &statistics, &widen(&dy));
    let added = norm::add_layer_norm(&x, &residual, &gamma, &beta, EPSILON);
    let fast = norm::add_layer_norm_backward(&added.sum, &gamma, &added.statistics, &dy, &dsum);
    check("added dx", &differences(&x, loss), &with_sum(&plain.0), &fast.dx);
}

#[test]
fn same_bits() {
    let mut random = Random(84);
    let (rows, width) = (301, 67);
    let mut values = || random.values(rows * width);
    let (x, residual, dy, dsum) = (values(), values(), values(), values());
    let gamma = random.values(width);
    assert_deterministic(|| {
        let layer = norm::add_layer_norm(&x, &residual, &gamma, &gamma, EPSILON);
        let dlayer = norm::add_layer_norm_backward(&layer.sum, &gamma, &layer.statistics, &dy, &dsum);
        let rms = norm::add_rms_norm(&x, &residual, &gamma, 1.0, EPSILON);
        let drms = norm::add_rms_norm_backward(&rms.sum, &gamma, 1.0, &rms.statistics, &dy, &dsum);
        let (y, statistics) = norm::rms_norm(&x, &gamma, 0.0, EPSILON);
        let alone = norm::rms_norm_backward(&x, &gamma, 0.0, &statistics, &dy);
        let mut results = vec![layer.sum, layer.normalized, layer.statistics, dlayer.dx, dlayer.dgamma, dlayer.dbeta];
        results.extend([rms.normalized, rms.statistics, drms.dx, drms.dgamma, y, statistics, alone.dx, alone.dgamma]);
        results
    });
}
