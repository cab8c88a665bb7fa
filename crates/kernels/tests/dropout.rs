//! The hash behind dropout, and that every kernel sees the same mask.

mod support;

use loam_kernels::attention::AttentionShape;
use loam_kernels::dropout::{Dropout, apply, attention_mask, hash, keys, mask};
use support::{Random, at_every_level, bits};

const COUNT: usize = 1 << 18;

/// How many standard deviations a count of heads lies from its mean.
fn deviation(heads: usize, tosses: usize, probability: f64) -> f64 {
    let tosses = tosses as f64;
    (heads as f64 - tosses * probability).abs() / (tosses * probability * (1.0 - probability)).sqrt()
}

fn dropped(probability: f32, seed: u64) -> Vec<bool> {
    mask(COUNT, Dropout { probability, seed }).iter().map(|value| *value == 0.0).collect()
}

#[test]
fn the_rate_is_the_probability() {
    for probability in [0.01_f32, 0.1, 0.5, 0.9] {
        for seed in [0, 1, 2, u64::MAX, 0x1234_5678_9ABC_DEF0] {
            let heads = dropped(probability, seed).into_iter().filter(|dropped| *dropped).count();
            let off = deviation(heads, COUNT, f64::from(probability));
            assert!(off < 4.5, "{heads} of {COUNT} at {probability}, seed {seed}: {off:.1} standard deviations");
        }
    }
}

#[test]
fn neighbors_and_seeds_are_independent() {
    for seed in [0, 7, 1 << 40] {
        let here = dropped(0.5, seed);
        // Positions apart by small distances and powers of two: the width of a row, say.
        for distance in [1, 2, 3, 4, 8, 16, 64, 192, 256, 384, 1024, 4096, 65_536] {
            let equal = (distance..COUNT).filter(|i| here[*i] == here[i - distance]).count();
            let off = deviation(equal, COUNT - distance, 0.5);
            assert!(off < 4.5, "positions {distance} apart, seed {seed}: {off:.1} standard deviations");
        }
        for other in [seed + 1, seed + 2, seed ^ (1 << 32), seed ^ (1 << 63), seed + 1000] {
            let there = dropped(0.5, other);
            let equal = here.iter().zip(&there).filter(|(a, b)| a == b).count();
            let off = deviation(equal, COUNT, 0.5);
            assert!(off < 4.5, "seeds {seed} and {other}: {off:.1} standard deviations");
        }
    }
}

#[test]
fn every_bit_of_the_hash_depends_on_every_bit_of_its_input() {
    let mut random = Random(41);
    for input in 0..32 {
        let mut flips = [0_usize; 32];
        for _ in 0..4000 {
            let (keys, position) = (keys(random.bits(), random.bits()), random.bits() as u32);
            let changed = hash(keys, position) ^ hash(keys, position ^ (1 << input));
            for (output, flips) in flips.iter_mut().enumerate() {
                *flips += (changed >> output & 1) as usize;
            }
        }
        for (output, flips) in flips.into_iter().enumerate() {
            let share = flips as f64 / 4000.0;
            assert!((share - 0.5).abs() < 0.1, "bit {input} flips bit {output} in {share} of the cases");
        }
    }
}

#[test]
fn one_mask_for_apply_and_its_twin() {
    at_every_level(|| {
        let mut random = Random(42);
        for count in [0, 1, 15, 16, 33, 40_000] {
            let (x, dropout) = (random.values(count), Dropout { probability: 0.25, seed: 9 });
            let expected: Vec<f32> = x.iter().zip(mask(count, dropout)).map(|(x, mask)| x * mask).collect();
            assert_eq!(apply(&x, dropout), expected);
        }
    });
}

#[test]
fn the_mask_is_the_same_at_every_level() {
    let portable = std::cell::RefCell::new(None);
    at_every_level(|| {
        let mask = bits(&mask(1001, Dropout { probability: 0.4, seed: 3 }));
        assert_eq!(*portable.borrow_mut().get_or_insert_with(|| mask.clone()), mask);
    });
}

#[test]
fn probabilities_of_zero_and_one() {
    let x = Random(43).values(1000);
    assert_eq!(apply(&x, Dropout { probability: 0.0, seed: 1 }), x);
    assert!(apply(&x, Dropout { probability: 1.0, seed: 1 }).iter().all(|y| *y == 0.0));
}

#[test]
fn attention_rows_have_masks_of_their_own() {
    let shape = AttentionShape { batch: 2, time: 64, heads: 3, head_width: 1 };
    let mask = attention_mask(shape, Dropout { probability: 0.5, seed: 2 });
    let rows: Vec<&[f32]> = mask.chunks_exact(64).collect();
    let kept = mask.iter().filter(|value| **value == 2.0).count();
    assert!(deviation(kept, mask.len(), 0.5) < 4.5);
    for (i, row) in rows.iter().enumerate() {
        assert!(rows[..i].iter().all(|other| other != row), "row {i} repeats an earlier one");
        if i > 0 {
            let equal = row.iter().zip(rows[i - 1]).filter(|(a, b)| a == b).count();
            assert!(deviation(equal, 64, 0.5) < 6.0, "rows {} and {i} agree in {equal} of 64", i - 1);
        }
    }
}

#[test]
#[should_panic(expected = "a dropout probability of 1.5")]
fn a_probability_beyond_one_is_refused() {
    let _ = mask(1, Dropout { probability: 1.5, seed: 0 });
}
