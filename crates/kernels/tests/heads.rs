//! Cross-entropy with label smoothing, a bias, weights of rows, an ignored target, and products by sequence.

mod support;

use loam_kernels::cross_entropy::{self, HeadDirection, IGNORE, Options};
use loam_kernels::matrix::Precision;
use loam_kernels::reference::{heads, widen};
use support::calculus::{check, differences};
use support::{Random, assert_close, assert_deterministic, at_every_level, bits};

#[test]
fn every_option_against_the_reference() {
    at_every_level(|| {
        let mut random = Random(91);
        for rows in [0, 1, 15, 33, 100] {
            for (vocabulary, width) in [(1, 1), (7, 5), (33, 16), (1300, 7)] {
                for (smoothing, ignore) in [(0.0, IGNORE), (0.1, IGNORE), (0.3, 0), (1.0, 0)] {
                    for given in [false, true] {
                        let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
                        let mut bias = random.values(vocabulary);
                        let mut row_weights: Vec<f32> = random.values(rows).iter().map(|w| w.abs()).collect();
                        let mut targets = random.ids(rows, vocabulary);
                        targets.iter_mut().step_by(3).for_each(|target| *target = ignore);
                        let options = Options {
                            precision: Precision::F32,
                            bias: given.then(|| &bias[..]),
                            row_weights: given.then(|| &row_weights[..]),
                            smoothing,
                            scale: 0.125,
                            ignore,
                        };
                        let result = cross_entropy::with_options(&x, &weight, &targets, width, options, true);
                        let alone = cross_entropy::with_options(&x, &weight, &targets, width, options, false);
                        if !given {
                            bias.fill(0.0);
                            row_weights.fill(1.0);
                        }
                        let plain = heads::head(
                            &widen(&x),
                            &widen(&weight),
                            &widen(&bias),
                            &targets,
                            &widen(&row_weights),
                            f64::from(smoothing),
                            0.125,
                            ignore,
                        );
                        assert_close("losses", &result.losses, &plain.losses, 1e-5);
                        assert_close("loss_sum", &[result.loss_sum], &[plain.loss_sum], 1e-6);
                        assert_eq!((&alone.losses, alone.loss_sum), (&result.losses, result.loss_sum));
                        assert_eq!((&result.hits, &alone.hits), (&plain.hits, &plain.hits));
                        assert_eq!(alone.gradients, None);
                        let gradients = result.gradients.expect("gradients were asked for");
                        assert_close("dx", &gradients.dx, &plain.dx, 1e-5);
                        assert_close("dweight", &gradients.dweight, &plain.dweight, 1e-5);
                        assert_eq!(gradients.dbias.is_some(), given);
                        if let Some(dbias) = gradients.dbias {
                            assert_close("dbias", &dbias, &plain.dbias, 1e-5);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn several_chunks_and_large_logits() {
    // 200,000 logits a row: at most 83 rows a chunk.
    let (rows, width, vocabulary) = (90, 2, 200_000);
    let mut random = Random(92);
    let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
    let (bias, row_weights) = (random.values(vocabulary), random.values(rows));
    let mut targets = random.ids(rows, vocabulary);
    targets[7] = IGNORE;
    let plain = heads::head(
        &widen(&x),
        &widen(&weight),
        &widen(&bias),
        &targets,
        &widen(&row_weights),
        f64::from(0.1_f32),
        1.0,
        IGNORE,
    );
    let options = Options { bias: Some(&bias), row_weights: Some(&row_weights), smoothing: 0.1, ..Options::default() };
    let result = cross_entropy::with_options(&x, &weight, &targets, width, options, true);
    assert_close("losses", &result.losses, &plain.losses, 1e-6);
    let gradients = result.gradients.expect("gradients were asked for");
    assert_close("dx", &gradients.dx, &plain.dx, 1e-5);
    assert_close("dweight", &gradients.dweight, &plain.dweight, 1e-5);
    assert_close("dbias", &gradients.dbias.expect("there is a bias"), &plain.dbias, 1e-5);
    // A certain and right, then a certain and wrong answer, at logits of ±1e4: smoothing asks for half of 0.2 each.
    let options = Options { smoothing: 0.2, ..Options::default() };
    let result = cross_entropy::with_options(&[1e4, 1e4], &[1.0, -1.0], &[0, 1], 1, options, false);
    assert_close("losses", &result.losses, &[0.1 * 2e4, 0.9 * 2e4], 1e-6);
}

#[test]
fn of_equal_logits_the_first_is_the_most_probable() {
    at_every_level(|| {
        // Zero rows leave every logit 0; the second row points at tokens 2 and 3 alike.
        let weight = [0.0, 0.0, 1.0, 1.0, 0.5];
        let grades = |targets: &[u32]| cross_entropy::grades(&[0.0, 1.0], &weight, targets, 1, Precision::F32);
        assert_eq!(grades(&[0, 2]).hits, [true, true]);
        assert_eq!(grades(&[1, 3]).hits, [false, false]);
        assert_eq!(grades(&[IGNORE, 2]).hits, [false, true]);
        assert_eq!(grades(&[IGNORE, 2]).losses[0], 0.0);
    });
    // Not a number is no answer.
    let nothing = cross_entropy::grades(&[f32::NAN], &[1.0, 2.0], &[1], 1, Precision::F32);
    assert_eq!(nothing.hits, [false]);
}

#[test]
fn without_options_it_is_the_plain_loss() {
    let mut random = Random(93);
    let (rows, width, vocabulary) = (77, 24, 131);
    let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
    let targets = random.ids(rows, vocabulary);
    at_every_level(|| {
        let plain = cross_entropy::forward(&x, &weight, &targets, width, 0.5, true, Precision::F32);
        let options = Options { scale: 0.5, row_weights: Some(&[1.0; 77]), ..Options::default() };
        let result = cross_entropy::with_options(&x, &weight, &targets, width, options, true);
        let (gradients, (dx, dweight)) = (result.gradients.unwrap(), plain.gradients.unwrap());
        assert_eq!(result.loss_sum, plain.loss_sum);
        assert_eq!((bits(&gradients.dx), bits(&gradients.dweight)), (bits(&dx), bits(&dweight)));
        assert_eq!(bits(&result.losses), bits(&cross_entropy::losses(&x, &weight, &targets, width, Precision::F32)));
    });
}

#[test]
fn gradients_are_differences() {
    let mut random = Random(94);
    let (width, vocabulary, scale, smoothing) = (5, 11, 0.25, 0.125);
    let (x, weight, bias) = (random.values(6 * width), random.values(vocabulary * width), random.values(vocabulary));
    let targets = [3, 2, 10, 0, 3, 2];
    let row_weights = [1.0, 0.5, 0.0, 2.0, -1.0, 3.0];
    let (wide_x, wide_weight, wide_bias) = (widen(&x), widen(&weight), widen(&bias));
    let head = |x: &[f64], weight: &[f64], bias: &[f64]| {
        heads::head(x, weight, bias, &targets, &widen(&row_weights), smoothing, scale, 2)
    };
    let plain = head(&wide_x, &wide_weight, &wide_bias);
    let options = Options {
        precision: Precision::F32,
        bias: Some(&bias),
        row_weights: Some(&row_weights),
        smoothing: smoothing as f32,
        scale: scale as f32,
        ignore: 2,
    };
    let fast = cross_entropy::with_options(&x, &weight, &targets, width, options, true).gradients.unwrap();
    let expected = differences(&x, |x| head(x, &wide_weight, &wide_bias).loss_sum);
    check("dx", &expected, &plain.dx, &fast.dx);
    let expected = differences(&weight, |weight| head(&wide_x, weight, &wide_bias).loss_sum);
    check("dweight", &expected, &plain.dweight, &fast.dweight);
    let expected = differences(&bias, |bias| head(&wide_x, &wide_weight, bias).loss_sum);
    check("dbias", &expected, &plain.dbias, &fast.dbias.unwrap());
}

#[test]
fn products_by_sequence_are_products_with_each_gradient() {
    at_every_level(|| {
        let mut random = Random(95);
        let (rows, width, vocabulary) = (60, 13, 37);
        let ends = [7, 7, 29, 59, 60];
        let (x, weight, bias) =
            (random.values(rows * width), random.values(vocabulary * width), random.values(vocabulary));
        let mut targets = random.ids(rows, vocabulary);
        targets[11] = IGNORE;
        targets[59] = IGNORE;
        let row_weights = random.values(rows);
        let options = Options {
            precision: Precision::F32,
            bias: Some(&bias),
            row_weights: Some(&row_weights),
            smoothing: 0.1,
            scale: 0.5,
            ..Options::default()
        };
        let (v, w, u) =
            (random.values(vocabulary * width), random.values(vocabulary * width), random.values(vocabulary));
        let directions = [HeadDirection { weight: &v, bias: Some(&u) }, HeadDirection { weight: &w, bias: None }];
        let (losses, products) =
            cross_entropy::with_sequence_products(&x, &weight, &targets, width, options, true, &ends, &directions);
        assert_eq!(losses, cross_entropy::with_options(&x, &weight, &targets, width, options, true));
        let mut plain = Vec::new();
        let mut start = 0;
        for end in ends {
            let head = heads::head(
                &widen(&x[start * width..end * width]),
                &widen(&weight),
                &widen(&bias),
                &targets[start..end],
                &widen(&row_weights[start..end]),
                f64::from(0.1_f32),
                0.5,
                IGNORE,
            );
            let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
            plain.extend([dot(&head.dweight, &v) + dot(&head.dbias, &u), dot(&head.dweight, &w)]);
            start = end;
        }
        let products: Vec<f32> = products.into_iter().map(|product| product as f32).collect();
        assert_close("products", &products, &plain, 1e-5);
    });
}

#[test]
fn same_bits() {
    let mut random = Random(96);
    let (rows, width, vocabulary) = (301, 48, 2097);
    let (x, weight) = (random.values(rows * width), random.values(vocabulary * width));
    let (bias, row_weights, targets) = (random.values(vocabulary), random.values(rows), random.ids(rows, vocabulary));
    let options = Options { bias: Some(&bias), row_weights: Some(&row_weights), smoothing: 0.1, ..Options::default() };
    assert_deterministic(|| {
        let directions = [HeadDirection { weight: &weight, bias: Some(&bias) }];
        let ends = [100, 301];
        let (result, products) =
            cross_entropy::with_sequence_products(&x, &weight, &targets, width, options, true, &ends, &directions);
        let gradients = result.gradients.expect("gradients were asked for");
        let products = products.into_iter().map(|product| product as f32).collect();
        let sums = vec![result.loss_sum];
        vec![result.losses, sums, gradients.dx, gradients.dweight, gradients.dbias.unwrap(), products]
    });
}

#[test]
#[should_panic(expected = "a label smoothing of 1.5")]
fn a_smoothing_beyond_one_is_refused() {
    let options = Options { smoothing: 1.5, ..Options::default() };
    let _ = cross_entropy::with_options(&[0.0; 2], &[0.0; 2], &[0], 2, options, false);
}
