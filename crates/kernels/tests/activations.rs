//! Activations and gated linear units: against the plain curves, their differences, and themselves.

mod support;

use loam_kernels::activation::{self, Activation};
use loam_kernels::reference::{activations as reference, widen};
use support::calculus::{check, differences, inner};
use support::{Random, assert_close, assert_deterministic, at_every_level, bits};

/// Spread over both tails.
fn spread(random: &mut Random, count: usize) -> Vec<f32> {
    random.values(count).iter().map(|x| x * 4.0).collect()
}

#[test]
fn curves_and_slopes() {
    at_every_level(|| {
        let mut random = Random(71);
        for count in [0, 1, 15, 16, 17, 1023, 16 * 1024 + 5] {
            let (x, dy) = (spread(&mut random, count), random.values(count));
            for activation in Activation::ALL {
                let plain: Vec<f64> = widen(&x).into_iter().map(|x| reference::value(activation, x)).collect();
                assert_close(&format!("{activation:?}"), &activation::forward(activation, &x), &plain, 1e-6);
                let slope = |x: &f32| reference::derivative(activation, f64::from(*x));
                let plain: Vec<f64> = x.iter().zip(&dy).map(|(x, dy)| slope(x) * f64::from(*dy)).collect();
                let fast = activation::backward(activation, &x, &dy);
                let mut in_place = dy.clone();
                let value = activation::value_and_backward(activation, &x, &mut in_place);
                assert_eq!(bits(&in_place), bits(&fast));
                let known: Vec<f64> = activation::forward(activation, &x).iter().map(|&y| f64::from(y)).collect();
                assert_close("value beside the gradient", &value, &known, 1e-6);
                assert_close(&format!("{activation:?}'"), &fast, &plain, 3e-6);
            }
        }
    });
}

#[test]
fn slopes_keep_their_digits_in_the_tails() {
    // Relative to each value, not to the largest: 1 - sigmoid and 1 - tanh² would lose everything here.
    let x: Vec<f32> = (0..400).map(|i| i as f32 * 0.2 - 40.0).collect();
    at_every_level(|| {
        for activation in [Activation::Sigmoid, Activation::Tanh] {
            let fast = activation::backward(activation, &x, &[1.0; 400]);
            for (x, fast) in x.iter().zip(fast) {
                let plain = reference::derivative(activation, f64::from(*x));
                assert!((f64::from(fast) - plain).abs() <= 1e-6 * plain, "{activation:?}'({x}) is {fast:e}");
            }
        }
    });
}

#[test]
fn far_out_and_beyond() {
    let far = [1e4, -1e4, 1e20, -1e20, f32::MAX, f32::MIN];
    at_every_level(|| {
        for activation in Activation::ALL {
            let plain = match activation {
                Activation::Sigmoid => far.map(|x| f64::from(u8::from(x > 0.0))),
                Activation::Tanh => far.map(|x| f64::from(x.signum())),
                _ => far.map(|x| f64::from(x.max(0.0))),
            };
            assert_close(&format!("{activation:?}"), &activation::forward(activation, &far), &plain, 0.0);
            let plain = match activation {
                Activation::Sigmoid | Activation::Tanh => [0.0; 6],
                _ => [1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
            };
            let slopes = activation::backward(activation, &far, &[1.0; 6]);
            assert_close(&format!("{activation:?}'"), &slopes, &plain, 0.0);
            assert!(activation::forward(activation, &[f32::NAN; 20]).iter().all(|y| y.is_nan()), "{activation:?}(NaN)");
        }
    });
}

#[test]
fn names_are_their_activations() {
    type Pair = (fn(&[f32]) -> Vec<f32>, fn(&[f32], &[f32]) -> Vec<f32>);
    let named: [Pair; 6] = [
        (activation::gelu, activation::gelu_backward),
        (activation::gelu_tanh, activation::gelu_tanh_backward),
        (activation::silu, activation::silu_backward),
        (activation::relu, activation::relu_backward),
        (activation::sigmoid, activation::sigmoid_backward),
        (activation::tanh, activation::tanh_backward),
    ];
    let mut random = Random(72);
    let (x, dy) = (random.values(100), random.values(100));
    at_every_level(|| {
        for (activation, (forward, backward)) in Activation::ALL.into_iter().zip(named) {
            assert_eq!(bits(&forward(&x)), bits(&activation::forward(activation, &x)));
            assert_eq!(bits(&backward(&x, &dy)), bits(&activation::backward(activation, &x, &dy)));
        }
    });
}

/// The two halves of packed rows, as two slices.
fn halves(packed: &[f32], width: usize) -> [Vec<f32>; 2] {
    let half = |k: usize| packed.chunks_exact(2 * width).flat_map(|row| row[k * width..][..width].to_vec()).collect();
    [half(0), half(1)]
}

#[test]
fn gated_units_packed_and_apart() {
    at_every_level(|| {
        let mut random = Random(73);
        for rows in [0, 1, 7, 130] {
            for width in [1, 5, 16, 67, 300] {
                let (packed, dy) = (spread(&mut random, rows * 2 * width), random.values(rows * width));
                let [gate, up] = halves(&packed, width);
                for activation in Activation::ALL {
                    let y = activation::gated(activation, &packed, width);
                    let wide = widen(&packed);
                    assert_close("y", &y, &reference::gated(activation, &wide, width), 1e-6);
                    let dpacked = activation::gated_backward(activation, &packed, &dy, width);
                    let plain = reference::gated_backward(activation, &wide, &widen(&dy), width);
                    assert_close("dpacked", &dpacked, &plain, 3e-6);
                    assert_eq!(bits(&activation::gated_pair(activation, &gate, &up)), bits(&y), "a pair");
                    let (dgate, dup) = activation::gated_pair_backward(activation, &gate, &up, &dy);
                    assert_eq!([dgate, dup], halves(&dpacked, width), "the gradients of a pair");
                }
            }
        }
        assert!(activation::gated(Activation::Silu, &[], 0).is_empty());
        assert!(activation::gated_backward(Activation::Silu, &[], &[], 0).is_empty());
    });
}

#[test]
fn gradients_are_differences() {
    let mut random = Random(74);
    let (rows, width) = (7, 9);
    let (packed, dy) = (spread(&mut random, rows * 2 * width), random.values(rows * width));
    let (x, dx) = (spread(&mut random, 200), random.values(200));
    for activation in Activation::ALL {
        let loss = |x: &[f64]| inner(&x.iter().map(|x| reference::value(activation, *x)).collect::<Vec<_>>(), &dx);
        let plain: Vec<f64> = x
            .iter()
            .zip(&dx)
            .map(|(x, dx)| reference::derivative(activation, f64::from(*x)) * f64::from(*dx))
            .collect();
        check("dx", &differences(&x, loss), &plain, &activation::backward(activation, &x, &dx));
        let expected = differences(&packed, |packed| inner(&reference::gated(activation, packed, width), &dy));
        let plain = reference::gated_backward(activation, &widen(&packed), &widen(&dy), width);
        check("dpacked", &expected, &plain, &activation::gated_backward(activation, &packed, &dy, width));
    }
}

#[test]
fn same_bits() {
    let mut random = Random(75);
    let (rows, width) = (83, 700);
    let (packed, dy) = (random.values(rows * 2 * width), random.values(rows * width));
    assert_deterministic(|| {
        let mut results = Vec::new();
        for activation in Activation::ALL {
            results.push(activation::forward(activation, &packed));
            results.push(activation::backward(activation, &packed, &packed));
            results.push(activation::gated(activation, &packed, width));
            results.push(activation::gated_backward(activation, &packed, &dy, width));
        }
        results
    });
}

#[test]
#[should_panic(expected = "packed [1, 2 * 3]")]
fn half_a_row_is_refused() {
    let _ = activation::gated(Activation::Silu, &[0.0; 9], 3);
}
