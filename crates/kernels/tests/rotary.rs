//! Rotary positions: against the reference, and what a rotation keeps.

mod support;

use loam_kernels::heads::{HeadLayout, HeadView};
use loam_kernels::reference::{self, widen};
use loam_kernels::rotary::{self, Pairing, Positions, RotaryTable, frequencies};
use support::calculus::{differences, inner};
use support::{Random, assert_close, at_every_level, at_the_widest_level, bits};

const PAIRINGS: [Pairing; 2] = [Pairing::HalfSplit, Pairing::Interleaved];

#[test]
fn against_the_reference() {
    at_every_level(|| {
        let mut random = Random(91);
        for (batch, time, heads) in [(0, 3, 2), (1, 0, 1), (1, 1, 1), (2, 7, 3), (1, 131, 2), (3, 65, 1)] {
            for (head_width, rotary_width) in [(1, 0), (2, 2), (7, 6), (16, 4), (34, 34), (64, 64), (13, 10)] {
                let theta = frequencies(10_000.0, rotary_width);
                let table = RotaryTable::new(3..400, &theta);
                let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
                let x = random.values(layout.count());
                let following: Vec<u32> = (0..batch * time).map(|token| 5 + (token % time) as u32).collect();
                let jumping: Vec<u32> = (0..batch * time).map(|_| 3 + random.below(397) as u32).collect();
                for (positions, each) in [(Positions::From(5), &following), (Positions::Each(&jumping), &jumping)] {
                    for pairing in PAIRINGS {
                        let view = HeadView::new(&x, layout);
                        let y = rotary::forward(view, &table, positions, pairing);
                        let plain = reference::rotary(&widen(&x), each, heads, head_width, &theta, pairing);
                        assert_close("y", &y, &plain, 3e-7);
                        let back: Vec<f64> = theta.iter().map(|theta| -theta).collect();
                        let dx = rotary::backward(view, &table, positions, pairing);
                        let plain = reference::rotary(&widen(&x), each, heads, head_width, &back, pairing);
                        assert_close("dx", &dx, &plain, 3e-7);
                        let mut place = x.clone();
                        rotary::forward_in_place(&mut place, layout, &table, positions, pairing);
                        assert_eq!(bits(&place), bits(&y), "in place");
                        rotary::backward_in_place(&mut place, layout, &table, positions, pairing);
                        assert_close("there and back", &place, &widen(&x), 1e-6);
                    }
                }
            }
        }
    });
}

#[test]
fn packed_queries_and_keys_turn_where_they_lie_and_values_stay() {
    at_the_widest_level(|| {
        let (batch, time, heads, key_value_heads, width) = (2, 70, 4, 2, 6);
        let layouts = HeadLayout::packed(batch, time, heads, key_value_heads, width);
        let qkv = Random(92).values(batch * time * (heads + 2 * key_value_heads) * width);
        let table = RotaryTable::new(0..time, &frequencies(500_000.0, width));
        for pairing in PAIRINGS {
            let mut turned = qkv.clone();
            for layout in &layouts[..2] {
                rotary::forward_in_place(&mut turned, *layout, &table, Positions::From(0), pairing);
            }
            let row = (heads + 2 * key_value_heads) * width;
            let mut expected = Vec::new();
            let [q, k] =
                [0, 1].map(|i| rotary::forward(HeadView::new(&qkv, layouts[i]), &table, Positions::From(0), pairing));
            for token in 0..batch * time {
                expected.extend_from_slice(&q[token * heads * width..][..heads * width]);
                expected.extend_from_slice(&k[token * key_value_heads * width..][..key_value_heads * width]);
                expected.extend_from_slice(&qkv[token * row..][..row][(heads + key_value_heads) * width..]);
            }
            assert_eq!(bits(&turned), bits(&expected));
        }
    });
}

#[test]
fn the_gradient_is_a_central_difference() {
    let mut random = Random(93);
    let layout = HeadLayout::tokens_first(1, 4, 2, 7);
    let (x, dy) = (random.values(layout.count()), random.values(layout.count()));
    let theta = frequencies(100.0, 6);
    let table = RotaryTable::new(10..20, &theta);
    for pairing in PAIRINGS {
        let positions = [11, 19, 10, 10];
        let expected = differences(&x, |x| inner(&reference::rotary(x, &positions, 2, 7, &theta, pairing), &dy));
        let dx = rotary::backward(HeadView::new(&dy, layout), &table, Positions::Each(&positions), pairing);
        assert_close("dx", &dx, &expected, 1e-6);
    }
}

#[test]
fn norms_stay_and_products_depend_on_the_distance_alone() {
    let mut random = Random(94);
    let width = 64;
    let (q, k) = (random.values(width), random.values(width));
    let table = RotaryTable::new(0..120_000, &frequencies(10_000.0, width));
    let layout = HeadLayout::tokens_first(1, 1, 1, width);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    at_every_level(|| {
        for pairing in PAIRINGS {
            let at = |x: &[f32], position| {
                rotary::forward(HeadView::new(x, layout), &table, Positions::From(position), pairing)
            };
            for distance in [0, 1, 37, 5000] {
                let expected = dot(&at(&q, distance), &at(&k, 0));
                for position in [1, 999, 100_000] {
                    let (turned_q, turned_k) = (at(&q, position + distance), at(&k, position));
                    let product = dot(&turned_q, &turned_k);
                    assert!((product - expected).abs() < 1e-4, "{product} at {position}, {expected} at 0");
                    assert!((dot(&turned_q, &turned_q) / dot(&q, &q) - 1.0).abs() < 1e-6, "the norm at {position}");
                }
            }
        }
    });
}

#[test]
fn position_100_000_is_exact() {
    at_the_widest_level(|| {
        let (theta, position) = (frequencies(10_000.0, 128), 100_000);
        let table = RotaryTable::new(position..position + 1, &theta);
        let layout = HeadLayout::tokens_first(1, 1, 1, 128);
        let mut x = vec![0.0; 128];
        x[..64].fill(1.0);
        let y = rotary::forward(HeadView::new(&x, layout), &table, Positions::From(position), Pairing::HalfSplit);
        for (i, frequency) in theta.iter().enumerate() {
            let angle = 100_000.0 * frequency;
            assert_eq!((y[i], y[64 + i]), (angle.cos() as f32, angle.sin() as f32), "pair {i}");
        }
    });
}

#[test]
fn the_paper_s_frequencies() {
    let theta: Vec<f32> = frequencies(10_000.0, 4).into_iter().map(|theta| theta as f32).collect();
    assert_close("θ", &theta, &[1.0, 0.01], 1e-9);
    assert!(frequencies(10_000.0, 0).is_empty());
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    at_the_widest_level(|| {
        let layout = HeadLayout::tokens_first(3, 131, 2, 16);
        let x = Random(95).values(layout.count());
        let turn = || {
            let table = RotaryTable::new(0..131, &frequencies(10_000.0, 16));
            bits(&rotary::forward(HeadView::new(&x, layout), &table, Positions::From(0), Pairing::HalfSplit))
        };
        let first = turn();
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            assert_eq!(first, pool.install(turn), "{threads} threads");
        }
    });
}

#[test]
#[should_panic(expected = "positions 3 + 2 lie outside a rotary table of 0..4")]
fn a_position_outside_the_table_is_refused() {
    let table = RotaryTable::new(0..4, &frequencies(10_000.0, 2));
    let layout = HeadLayout::tokens_first(1, 2, 1, 2);
    let _ = rotary::forward(HeadView::new(&[0.0; 4], layout), &table, Positions::From(3), Pairing::HalfSplit);
}

#[test]
#[should_panic(expected = "lays elements over each other")]
fn heads_over_each_other_are_not_written() {
    let table = RotaryTable::new(0..4, &frequencies(10_000.0, 2));
    let layout = HeadLayout { time_stride: 1, ..HeadLayout::tokens_first(1, 2, 1, 2) };
    rotary::forward_in_place(&mut [0.0; 4], layout, &table, Positions::From(0), Pairing::HalfSplit);
}
