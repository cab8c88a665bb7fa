//! The stated errors of the elementary functions, in units in the last place, against `f64`.

mod support;

use loam_kernels::{reference, vector};
use support::{Random, at_every_level};

type Function = fn(&[f32]) -> Vec<f32>;

/// A name, the function, its oracle, the stated bound in ulp.
type Case = (&'static str, Function, fn(f64) -> f64, f64);

const FUNCTIONS: [Case; 4] = [
    ("exp", vector::exp, f64::exp, 1.5),
    ("tanh", vector::tanh, f64::tanh, 2.0),
    ("erf", vector::erf, reference::erf, 2.0),
    ("sigmoid", vector::sigmoid, reference::sigmoid, 3.0),
];

/// The distance of neighboring `f32` values around `value`.
fn ulp(value: f64) -> f64 {
    let exponent = (value.abs().log2().floor() as i32).clamp(-126, 127);
    2.0_f64.powi(exponent - 23)
}

/// Every finite positive and negative value in steps of `stride` representable numbers.
fn every(stride: usize) -> Vec<f32> {
    let largest = f32::MAX.to_bits();
    (0..=largest).step_by(stride).flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)]).collect()
}

#[test]
fn errors_stay_within_the_stated_bounds() {
    let mut inputs = every(10_007);
    // Dense where results are neither 0 nor 1 nor infinite.
    inputs.extend((0..400_000).map(|i| i as f32 * (220.0 / 400_000.0) - 110.0));
    inputs.extend((0..200_000).map(|i| i as f32 * (10.0 / 200_000.0) - 5.0));
    inputs.extend(Random(31).values(100_000));
    // Subnormal results of exp and sigmoid, and where exp becomes infinite.
    inputs.extend((0..100_000).map(|i| i as f32 * (18.0 / 100_000.0) - 104.0));
    inputs.extend((0..20_000).map(|i| f32::from_bits(88.72_f32.to_bits() - 10_000 + i)));
    for (name, function, oracle, bound) in FUNCTIONS {
        let expected: Vec<f64> = inputs.iter().map(|x| oracle(f64::from(*x))).collect();
        at_every_level(|| {
            let (mut worst, mut at) = (0.0, 0.0);
            for ((x, y), expected) in inputs.iter().zip(function(&inputs)).zip(&expected) {
                let rounded = *expected as f32;
                let error = if rounded.is_infinite() || rounded == 0.0 {
                    // The neighboring finite value, or the smallest subnormal, is one ulp away.
                    if y == rounded || (y - rounded).abs() <= f32::from_bits(1) || y == f32::MAX { 0.0 } else { 1e9 }
                } else {
                    (f64::from(y) - expected).abs() / ulp(*expected)
                };
                if error > worst {
                    (worst, at) = (error, *x);
                }
            }
            println!("{name}: at most {worst:.2} ulp, at {at:e}");
            assert!(worst <= bound, "{name} is off by {worst} ulp at {at:e}; the bound is {bound}");
        });
    }
}

#[test]
fn extremes() {
    let inputs = [f32::NEG_INFINITY, f32::INFINITY, 0.0, -0.0, f32::MIN, f32::MAX];
    let expected = [
        [0.0, f32::INFINITY, 1.0, 1.0, 0.0, f32::INFINITY],
        [-1.0, 1.0, 0.0, -0.0, -1.0, 1.0],
        [-1.0, 1.0, 0.0, -0.0, -1.0, 1.0],
        [0.0, 1.0, 0.5, 0.5, 0.0, 1.0],
    ];
    at_every_level(|| {
        for ((name, function, ..), expected) in FUNCTIONS.iter().zip(expected) {
            // Twenty copies of each: both the vector loop and its remainder.
            for (x, expected) in inputs.iter().zip(expected) {
                assert_eq!(support::bits(&function(&[*x; 20])), support::bits(&[expected; 20]), "{name}({x})");
            }
            assert!(function(&[f32::NAN; 20]).iter().all(|y| y.is_nan()), "{name}(NaN)");
            // Subnormal arguments: eˣ = 1, and the odd functions keep the sign and the size.
            let tiny = f32::from_bits(77);
            for x in [tiny, -tiny] {
                let y = f64::from(function(&[x; 20])[3]);
                let plain = match *name {
                    "exp" => 1.0,
                    "sigmoid" => 0.5,
                    "erf" => f64::from(x) * std::f64::consts::FRAC_2_SQRT_PI,
                    _ => f64::from(x),
                };
                assert!((y - plain).abs() <= 2.0 * ulp(plain), "{name}({x:e}) is {y:e}");
            }
        }
    });
}

#[test]
fn results_stay_in_their_ranges() {
    let mut inputs = every(50_021);
    inputs.extend((0..200_000).map(|i| i as f32 * (40.0 / 200_000.0) - 20.0));
    at_every_level(|| {
        assert!(vector::exp(&inputs).iter().all(|y| *y >= 0.0));
        assert!(vector::sigmoid(&inputs).iter().all(|y| (0.0..=1.0).contains(y)));
        for function in [vector::tanh, vector::erf] {
            let negated: Vec<f32> = inputs.iter().map(|x| -x).collect();
            for ((x, y), mirrored) in inputs.iter().zip(function(&inputs)).zip(function(&negated)) {
                assert!(y.abs() <= 1.0, "{y} of {x}");
                assert_eq!(y.to_bits(), (-mirrored).to_bits(), "odd at {x}");
            }
        }
    });
}

#[test]
fn an_element_does_not_depend_on_its_place() {
    // The vector loop and its remainder round alike.
    let inputs = Random(32).values(67);
    at_every_level(|| {
        for (name, function, ..) in FUNCTIONS {
            let alone: Vec<f32> = inputs.iter().map(|x| function(&[*x])[0]).collect();
            assert_eq!(support::bits(&function(&inputs)), support::bits(&alone), "{name}");
        }
    });
}
