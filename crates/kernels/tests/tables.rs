//! Embeddings without positions.

mod support;

use loam_kernels::embedding;
use loam_kernels::reference::{tables, widen};
use support::calculus::{check, differences, inner};
use support::{Random, assert_close, assert_deterministic, at_every_level, bits};

#[test]
fn gathers_and_scatters() {
    at_every_level(|| {
        let mut random = Random(131);
        for rows in [0, 1, 7, 64, 150] {
            for (vocabulary, width) in [(1, 1), (11, 5), (70, 33)] {
                for (scale, padding) in [(1.0, None), (5.5, None), (0.5, Some(0))] {
                    let (table, ids) = (random.values(vocabulary * width), random.ids(rows, vocabulary));
                    let dy = random.values(rows * width);
                    let y = embedding::gather_tokens(&table, &ids, width, scale);
                    let plain = tables::gather_tokens(&widen(&table), &ids, width, f64::from(scale));
                    assert_close("y", &y, &plain, 1e-6);
                    let dtable = embedding::scatter_tokens(&dy, &ids, vocabulary, width, scale, padding);
                    let plain = tables::scatter_tokens(&widen(&dy), &ids, vocabulary, width, f64::from(scale), padding);
                    assert_close("dtable", &dtable, &plain, 1e-6);
                }
            }
        }
        assert!(embedding::gather_tokens(&[], &[], 0, 1.0).is_empty());
        assert!(embedding::scatter_tokens(&[], &[], 3, 0, 2.0, Some(1)).is_empty());
    });
}

#[test]
fn gradients_are_differences() {
    let mut random = Random(132);
    let (vocabulary, width) = (5, 3);
    let (table, ids, dy) = (random.values(vocabulary * width), random.ids(12, vocabulary), random.values(12 * width));
    let expected = differences(&table, |table| inner(&tables::gather_tokens(table, &ids, width, 3.0), &dy));
    let plain = tables::scatter_tokens(&widen(&dy), &ids, vocabulary, width, 3.0, None);
    check("dtable", &expected, &plain, &embedding::scatter_tokens(&dy, &ids, vocabulary, width, 3.0, None));
}

#[test]
fn with_positions_of_zero_it_is_the_same() {
    let mut random = Random(133);
    let (vocabulary, width, time) = (40, 20, 9);
    let (table, ids) = (random.values(vocabulary * width), random.ids(5 * time, vocabulary));
    let dy = random.values(ids.len() * width);
    at_every_level(|| {
        let positions = vec![0.0; time * width];
        let y = embedding::gather(&table, &positions, &ids, time, width, 0);
        assert_eq!(embedding::gather_tokens(&table, &ids, width, 1.0), y);
        let (dtable, _) = embedding::scatter(&dy, &ids, vocabulary, time, time, width);
        assert_eq!(bits(&embedding::scatter_tokens(&dy, &ids, vocabulary, width, 1.0, None)), bits(&dtable));
    });
}

#[test]
fn same_bits() {
    let mut random = Random(134);
    let (vocabulary, width) = (97, 48);
    let (table, ids) = (random.values(vocabulary * width), random.ids(3001, vocabulary));
    let dy = random.values(ids.len() * width);
    assert_deterministic(|| {
        vec![
            embedding::gather_tokens(&table, &ids, width, 2.0),
            embedding::scatter_tokens(&dy, &ids, vocabulary, width, 2.0, Some(5)),
        ]
    });
}

#[test]
#[should_panic(expected = "token id 9 is outside a vocabulary of 4")]
fn an_id_outside_the_vocabulary_is_refused() {
    let _ = embedding::gather_tokens(&[0.0; 8], &[9], 2, 1.0);
}
