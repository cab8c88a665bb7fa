//! Central differences in `f64`, and what they are compared with.

use super::assert_close;
use loam_kernels::reference::widen;

/// The gradient of `function` at `at`, one central difference an element.
pub fn differences(at: &[f32], function: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let mut point = widen(at);
    (0..at.len())
        .map(|i| {
            let here = point[i];
            point[i] = here + step;
            let above = function(&point);
            point[i] = here - step;
            let below = function(&point);
            point[i] = here;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// `Σ aᵢ bᵢ`: turns an operation into a function of one value, whose gradient is the backward pass of `b`.
pub fn inner(a: &[f64], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}

/// Both the plain and the fast gradient against the differences.
#[track_caller]
pub fn check(what: &str, differences: &[f64], plain: &[f64], fast: &[f32]) {
    let narrow: Vec<f32> = plain.iter().map(|value| *value as f32).collect();
    assert_close(&format!("{what}, reference"), &narrow, differences, 1e-7);
    assert_close(&format!("{what}, kernel"), fast, differences, 1e-5);
}
