//! Laws against what they were planted with, gradients against finite differences, and runs that tell nothing.

use super::scaling::{Logarithms, ScalingFit, ScalingLaw, check, starts};
use super::*;
use crate::InfluenceError;

/// A number of the standard normal distribution by its place (Box and Muller over a counter's hash).
pub(super) fn normal(place: u64) -> f64 {
    let unit = |place: u64| {
        let mut z = place.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (-2.0 * (1.0 - unit(2 * place)).ln()).sqrt() * (std::f64::consts::TAU * unit(2 * place + 1)).cos()
}

const PLANTED: ScalingLaw =
    ScalingLaw { floor: 1.7, size_scale: 400.0, size_exponent: 0.34, data_scale: 1800.0, data_exponent: 0.37 };

/// Runs of the planted law with noise of a standard deviation of `noise` in ln L.
fn grid(noise: f64) -> Vec<Point> {
    let mut points = Vec::new();
    for size in 0..7 {
        for length in 0..6 {
            let (parameters, tokens) = (5e7 * 2_f64.powi(size), 1e9 * 2.5_f64.powi(length));
            let loss = PLANTED.loss(parameters, tokens) * (noise * normal(points.len() as u64)).exp();
            points.push(Point::new(parameters, tokens, loss));
        }
    }
    points
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let points = grid(0.01);
    let logarithms = Logarithms::new(&points);
    let weights: Vec<f64> = (0..points.len()).map(|index| f64::from(index as u32 % 3)).collect();
    for start in starts().iter().step_by(911) {
        let at = logarithms.centered(start);
        let mut gradient = vec![0.0; 5];
        logarithms.objective(&weights, &at, &mut gradient);
        for part in 0..5 {
            let step = 1e-6;
            let value = |by: f64| {
                let mut at = at.clone();
                at[part] += by;
                logarithms.objective(&weights, &at, &mut [0.0; 5])
            };
            let slope = (value(step) - value(-step)) / (2.0 * step);
            assert!(
                (slope - gradient[part]).abs() < 1e-4 * slope.abs().max(1.0),
                "{start:?} {part}: {slope} {gradient:?}"
            );
        }
        let back = logarithms.plain(&at);
        assert!(back.iter().zip(start).all(|(one, other)| (one - other).abs() < 1e-9));
    }
}

#[test]
fn a_planted_law_is_found_again() {
    let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
    let exact = ScalingFit::new(&grid(0.0), bootstrap).unwrap().law;
    for (found, planted) in [
        (exact.floor, PLANTED.floor),
        (exact.size_scale, PLANTED.size_scale),
        (exact.size_exponent, PLANTED.size_exponent),
        (exact.data_scale, PLANTED.data_scale),
        (exact.data_exponent, PLANTED.data_exponent),
    ] {
        assert!((found / planted - 1.0).abs() < 1e-3, "{exact:?}");
    }
    let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
    let fit = ScalingFit::new(&grid(0.003), bootstrap).unwrap();
    let exponent = fit.estimate(|law| law.size_exponent);
    assert!(exponent.low < PLANTED.size_exponent && PLANTED.size_exponent < exponent.high, "{exponent:?}");
    assert!((exponent.value - PLANTED.size_exponent).abs() < 4.0 * exponent.standard_error, "{exponent:?}");
    let forecast = fit.forecast(2e10, 4e11);
    assert!((forecast.value - PLANTED.loss(2e10, 4e11)).abs() < 0.03, "{forecast:?}");
    assert!(forecast.low <= forecast.value && forecast.value <= forecast.high);
    assert_eq!(ScalingFit::new(&grid(0.003), bootstrap).unwrap().law, fit.law);
    assert!(fit.agreeing_starts > 1000, "{}", fit.agreeing_starts);
}

#[test]
fn the_largest_size_is_foretold_by_the_others() {
    let graded = Graded::of(&grid(0.002), Bootstrap { resamples: 20, ..Bootstrap::default() }).unwrap();
    assert_eq!((graded.parameters, graded.runs.len()), (3.2e9, 6));
    assert!(graded.mean_absolute_error < 0.02, "{graded:?}");
    let three: Vec<Point> = grid(0.0).into_iter().filter(|point| point.parameters < 3e8).collect();
    assert!(Graded::of(&three, Bootstrap::default()).is_none(), "two sizes are left");
}

#[test]
fn the_frontier_is_where_no_other_split_of_compute_does_better() {
    for compute in [1e18, 1e21, 1e24] {
        let best = PLANTED.optimum(compute);
        assert!((6.0 * best.parameters * best.tokens / compute - 1.0).abs() < 1e-9);
        for factor in [0.9, 1.1] {
            let other = PLANTED.loss(best.parameters * factor, best.tokens / factor);
            assert!(other > best.loss, "{compute}");
        }
        assert!((PLANTED.best_size_for(best.tokens) / best.parameters - 1.0).abs() < 1e-9);
    }
    assert!((PLANTED.size_power() - 0.37 / 0.71).abs() < 1e-12);
}

fn words(result: Result<(), InfluenceError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn runs_that_tell_nothing_are_refused_in_words() {
    let points = grid(0.01);
    assert!(words(check(&points[..5])).contains("5 runs cannot tell a law of 5 parameters"));
    assert!(words(check(&[])).contains("0 runs cannot"));
    let one_size: Vec<Point> = (1..20).map(|d| Point::new(1e6, 1e6 * f64::from(d), 4.0)).collect();
    assert!(words(check(&one_size)).contains("1 different sizes"));
    let two_lengths: Vec<Point> =
        (1..20).map(|n| Point::new(1e6 * f64::from(n), 1e6 * f64::from(n % 2 + 1), 4.0)).collect();
    assert!(words(check(&two_lengths)).contains("2 different numbers of tokens"));
    let tied: Vec<Point> = (1..20).map(|n| Point::new(1e6 * f64::from(n), 2e7 * f64::from(n), 4.0)).collect();
    assert!(words(check(&tied)).contains("follow from its size"));
    for (bad, said) in [(f64::NAN, "NaN"), (-1.0, "-1"), (0.0, "0"), (f64::INFINITY, "inf")] {
        let mut points = points.clone();
        points[7].loss = bad;
        let words = words(check(&points));
        assert!(words.contains("the loss of run 8 is") && words.contains(said), "{words}");
        assert!(ScalingFit::new(&points, Bootstrap::default()).is_err());
    }
    let mut points = points.clone();
    points[0].unique_tokens = points[0].tokens * 2.0;
    assert!(words(check(&points)).contains("more than there can be"));
}

/// The five parameters of Besiroglu et al. (2024) with their standard errors, from the runs that they read out of a figure of
/// Hoffmann et al. (2022).
#[test]
fn the_corrected_refit_of_chinchilla_is_reproduced() {
    let beside = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let root = std::env::var_os("LOAM_TEST_DATA").map_or(beside, std::path::PathBuf::from);
    let path = root.join("data/scaling/chinchilla-points.csv");
    if !path.exists() {
        println!("left out: no data/scaling below LOAM_TEST_DATA or ../shared");
        return;
    }
    let mut points = Points::read(&[path.display().to_string()], &[]).unwrap().points;
    assert_eq!(points.len(), 245);
    points::drop_highest(&mut points, 5);
    let bootstrap = Bootstrap { resamples: 500, ..Bootstrap::default() };
    let fit = ScalingFit::new(&points, bootstrap).unwrap();
    for (name, value, published, error) in [
        ("E", fit.estimate(|law| law.floor), 1.8172, 0.03),
        ("A", fit.estimate(|law| law.size_scale), 482.01, 124.6),
        ("B", fit.estimate(|law| law.data_scale), 2085.43, 1293.0),
        ("α", fit.estimate(|law| law.size_exponent), 0.3478, 0.02),
        ("β", fit.estimate(|law| law.data_exponent), 0.3658, 0.02),
    ] {
        assert!((value.value - published).abs() < error, "{name}: {value:?}");
        assert!(value.low < published && published < value.high, "{name}: {value:?}");
    }
}
