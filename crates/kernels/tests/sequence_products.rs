//! Products of each sequence's gradient with directions, against the gradients formed one by one.

mod support;

use loam_kernels::matrix::MatrixRef;
use loam_kernels::reference::{self, rms_norms, tables, widen};
use loam_kernels::{norm, sequence_products};
use support::{Random, assert_close, assert_deterministic, at_every_level};

/// Ends of sequences over `rows` rows, an empty one among them.
fn ends(random: &mut Random, rows: usize, sequences: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = (1..sequences).map(|_| random.below(rows + 1)).collect();
    ends.push(rows);
    ends.sort_unstable();
    ends
}

/// `product(rows of the sequence, direction)` of every sequence and direction.
fn by_sequence(ends: &[usize], directions: usize, product: impl Fn(std::ops::Range<usize>, usize) -> f64) -> Vec<f64> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let ranges = starts.zip(ends).map(|(start, end)| start..*end);
    ranges.flat_map(|range| (0..directions).map(|d| product(range.clone(), d)).collect::<Vec<_>>()).collect()
}

fn dot(a: &[f64], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}

#[track_caller]
fn assert_products(what: &str, fast: &[f64], plain: &[f64]) {
    let fast: Vec<f32> = fast.iter().map(|value| *value as f32).collect();
    assert_close(what, &fast, plain, 1e-5);
}

/// The rows of a sequence.
fn part<T>(values: &[T], rows: std::ops::Range<usize>, width: usize) -> &[T] {
    &values[rows.start * width..rows.end * width]
}

#[test]
fn of_linear_layers() {
    at_every_level(|| {
        let mut random = Random(121);
        for (rows, sequences) in [(1, 1), (5, 3), (64, 4), (131, 9)] {
            for (inputs, outputs) in [(1, 1), (5, 17), (33, 16), (16, 64), (7, 7), (3, 0), (0, 3)] {
                let (x, dy) = (random.values(rows * inputs), random.values(rows * outputs));
                let ends = ends(&mut random, rows, sequences);
                let v: Vec<Vec<f32>> = (0..3).map(|_| random.values(inputs * outputs)).collect();
                let directions: Vec<MatrixRef> = v.iter().map(|v| MatrixRef::new(v, inputs, outputs)).collect();
                let plain = by_sequence(&ends, 3, |range, d| {
                    let (x, dy) = (widen(part(&x, range.clone(), inputs)), widen(part(&dy, range.clone(), outputs)));
                    let weight = vec![0.0; inputs * outputs];
                    dot(&reference::linear_backward(&x, &weight, &dy, range.len(), inputs, outputs).1, &v[d])
                });
                let fast = sequence_products::linear(&x, &dy, &ends, &directions);
                assert_products("linear", &fast, &plain);
                // The same layer with its weight stored the other way around.
                let directions: Vec<MatrixRef> = directions.iter().map(|v| v.transposed()).collect();
                assert_products("transposed", &sequence_products::linear(&dy, &x, &ends, &directions), &plain);
            }
        }
        assert!(sequence_products::linear(&[1.0], &[1.0], &[1], &[]).is_empty());
    });
}

#[test]
fn of_biases() {
    at_every_level(|| {
        let mut random = Random(126);
        // The last is longer than a block that is summed in `f32`.
        for (rows, width) in [(0, 3), (1, 1), (33, 17), (130, 64), (9, 5000)] {
            let dy = random.values(rows * width);
            let ends = ends(&mut random, rows, 4);
            let v = [random.values(width), random.values(width)];
            let plain = by_sequence(&ends, 2, |range, d| {
                range.map(|row| dot(&widen(part(&dy, row..row + 1, width)), &v[d])).sum()
            });
            assert_products("bias", &sequence_products::bias(&dy, &ends, &[&v[0], &v[1]]), &plain);
        }
        assert!(sequence_products::bias(&[1.0], &[1], &[]).is_empty());
    });
}

#[test]
fn of_linear_layers_in_several_chunks() {
    // 64 columns a row: at most 65,536 rows a chunk.
    let mut random = Random(122);
    let (rows, inputs, outputs) = (70_000, 64, 65);
    let (x, dy, v) = (random.values(rows * inputs), random.values(rows * outputs), random.values(inputs * outputs));
    let ends = [300, 34_999, 69_000, 70_000];
    let plain = by_sequence(&ends, 1, |range, _| {
        let (x, dy) = (widen(part(&x, range.clone(), inputs)), widen(part(&dy, range.clone(), outputs)));
        let dweight =
            reference::product(&reference::transpose(&x, range.len(), inputs), &dy, inputs, range.len(), outputs);
        dot(&dweight, &v)
    });
    let fast = sequence_products::linear(&x, &dy, &ends, &[MatrixRef::new(&v, inputs, outputs)]);
    assert_products("linear", &fast, &plain);
}

#[test]
fn of_norms() {
    at_every_level(|| {
        let mut random = Random(123);
        for (rows, width) in [(1, 1), (9, 16), (33, 67), (5, 4100)] {
            let (x, dy) = (random.values(rows * width), random.values(rows * width));
            let gamma = random.values(width);
            let ends = ends(&mut random, rows, 4);
            let v: Vec<Vec<f32>> = (0..4).map(|_| random.values(width)).collect();
            let (wide_gamma, epsilon) = (widen(&gamma), 1e-5);
            let (_, statistics) = norm::layer_norm(&x, &gamma, &gamma, epsilon);
            let plain = by_sequence(&ends, 2, |range, d| {
                let (x, dy) = (widen(part(&x, range.clone(), width)), widen(part(&dy, range.clone(), width)));
                let statistics = widen(part(&statistics, range, 2));
                let (_, dgamma, dbeta) = reference::layer_norm_backward(&x, &wide_gamma, &statistics, &dy);
                dot(&dgamma, &v[2 * d]) + dot(&dbeta, &v[2 * d + 1])
            });
            let directions = [(&v[0][..], &v[1][..]), (&v[2][..], &v[3][..])];
            let fast = sequence_products::layer_norm(&x, &statistics, &dy, &ends, &directions);
            assert_products("layer norm", &fast, &plain);

            let (_, statistics) = norm::rms_norm(&x, &gamma, 1.0, epsilon);
            let plain = by_sequence(&ends, 4, |range, d| {
                let (x, dy) = (widen(part(&x, range.clone(), width)), widen(part(&dy, range.clone(), width)));
                let statistics = widen(part(&statistics, range, 1));
                dot(&rms_norms::rms_norm_backward(&x, &wide_gamma, 1.0, &statistics, &dy).1, &v[d])
            });
            let directions: Vec<&[f32]> = v.iter().map(|v| &v[..]).collect();
            assert_products("rms norm", &sequence_products::rms_norm(&x, &statistics, &dy, &ends, &directions), &plain);
        }
    });
}

#[test]
fn of_embeddings() {
    at_every_level(|| {
        let mut random = Random(124);
        for (rows, width) in [(0, 3), (1, 1), (50, 17), (130, 64)] {
            let vocabulary = 11;
            let (dy, ids) = (random.values(rows * width), random.ids(rows, vocabulary));
            let ends = ends(&mut random, rows, 5);
            let v = [random.values(vocabulary * width), random.values(vocabulary * width)];
            for padding in [None, Some(3)] {
                let plain = by_sequence(&ends, 2, |range, d| {
                    let dy = widen(part(&dy, range.clone(), width));
                    dot(&tables::scatter_tokens(&dy, &ids[range], vocabulary, width, 2.0, padding), &v[d])
                });
                let fast = sequence_products::embedding(&dy, &ids, width, 2.0, padding, &ends, &[&v[0], &v[1]]);
                assert_products("embedding", &fast, &plain);
            }
        }
    });
}

#[test]
fn same_bits() {
    let mut random = Random(125);
    let (rows, width) = (301, 67);
    let (x, dy, v) = (random.values(rows * width), random.values(rows * width), random.values(width * width));
    let ids = random.ids(rows, width);
    let ends = ends(&mut random, rows, 7);
    let (_, statistics) = norm::layer_norm(&x, &v[..width], &v[..width], 1e-5);
    assert_deterministic(|| {
        let direction = &v[..width];
        let products = [
            sequence_products::linear(&x, &dy, &ends, &[MatrixRef::new(&v, width, width); 2]),
            sequence_products::bias(&dy, &ends, &[direction]),
            sequence_products::layer_norm(&x, &statistics, &dy, &ends, &[(direction, direction)]),
            sequence_products::rms_norm(&x, &statistics[..rows], &dy, &ends, &[direction]),
            sequence_products::embedding(&dy, &ids, width, 1.0, None, &ends, &[&v]),
        ];
        // Both halves of each `f64`.
        let halves =
            |value: f64| [f32::from_bits(value.to_bits() as u32), f32::from_bits((value.to_bits() >> 32) as u32)];
        products.into_iter().map(|products| products.into_iter().flat_map(halves).collect()).collect()
    });
}

#[test]
#[should_panic(expected = "x [4, 2]")]
fn ends_beyond_the_rows_are_refused() {
    let _ = sequence_products::linear(&[0.0; 6], &[0.0; 4], &[4], &[MatrixRef::new(&[0.0; 2], 2, 1)]);
}
