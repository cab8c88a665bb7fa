//! The optimizer's books: the same step bit for bit, and lines that sum to it.

mod support;

use loam_kernels::adamw::{AdamW, LedgerLines, LedgerPart};
use support::{Random, at_every_level, bits};

fn optimizer(step: u64) -> AdamW {
    AdamW { learning_rate: 0.02, beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.3 }
}

/// Asserts that the lines sum to the change of the weight, to a few roundings of the largest value involved.
fn assert_closed(before: &[f32], after: &[f32], lines: &[&[f32]]) {
    for i in 0..before.len() {
        let booked: f64 = lines.iter().map(|line| f64::from(line[i])).sum();
        let moved = f64::from(after[i]) - f64::from(before[i]);
        let largest = lines.iter().fold(before[i].abs(), |most, line| most.max(line[i].abs()));
        let rounding = f64::from(f32::EPSILON) * f64::from(largest) * 8.0;
        assert!((booked - moved).abs() <= rounding, "element {i}: booked {booked:e}, moved {moved:e}");
    }
}

#[test]
fn credited_momentum_closes_over_many_steps() {
    at_every_level(|| {
        let mut random = Random(61);
        for count in [0, 1, 17, 1025, 16 * 1024 + 1030] {
            let start = random.values(count);
            let (mut weight, mut first, mut second) = (start.clone(), vec![0.0; count], vec![0.0; count]);
            let (mut twin, mut twin_first, mut twin_second) = (weight.clone(), first.clone(), second.clone());
            let (mut momenta, mut drifts) = (vec![vec![0.0; count]; 3], vec![vec![0.0; count]; 3]);
            let mut decay = vec![0.0; count];
            for step in 1..=5 {
                let (a, b) = (random.values(count), random.values(count));
                let total: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
                // The third source has no document in this step, the second none in steps 3 and 4.
                let absent = step == 3 || step == 4;
                let gradient = if absent { &a } else { &total };
                let gradients = [Some(&a[..]), if absent { None } else { Some(&b[..]) }, None];
                let parts = momenta.iter_mut().zip(&mut drifts).zip(gradients);
                let parts =
                    parts.map(|((momentum, drift), gradient)| LedgerPart { gradient, momentum: Some(momentum), drift });
                let mut lines = LedgerLines { parts: parts.collect(), history: None, decay: &mut decay };
                optimizer(step).step_with_ledger(&mut weight, gradient, &mut first, &mut second, &mut lines);
                optimizer(step).step(&mut twin, gradient, &mut twin_first, &mut twin_second);
            }
            assert_eq!(bits(&weight), bits(&twin));
            assert_eq!(bits(&first), bits(&twin_first));
            assert_eq!(bits(&second), bits(&twin_second));
            assert_closed(&start, &weight, &[&drifts[0], &drifts[1], &drifts[2], &decay]);
            assert!(drifts[2].iter().all(|drift| *drift == 0.0), "a source without documents moved a weight");
        }
    });
}

#[test]
fn momentum_on_its_own_line_closes() {
    at_every_level(|| {
        let mut random = Random(62);
        for count in [1, 2047] {
            let start = random.values(count);
            let mut weight = start.clone();
            // Moments from earlier steps; the second is not negative.
            let mut first = random.values(count);
            let mut second: Vec<f32> = random.values(count).iter().map(|v| v * v).collect();
            let (mut twin, mut twin_first, mut twin_second) = (weight.clone(), first.clone(), second.clone());
            let (a, b) = (random.values(count), random.values(count));
            let gradient: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let (mut drift_a, mut drift_b) = (vec![0.0; count], vec![0.0; count]);
            let (mut history, mut decay) = (vec![0.0; count], vec![0.0; count]);
            let mut lines = LedgerLines {
                parts: vec![
                    LedgerPart { gradient: Some(&a), momentum: None, drift: &mut drift_a },
                    LedgerPart { gradient: Some(&b), momentum: None, drift: &mut drift_b },
                ],
                history: Some(&mut history),
                decay: &mut decay,
            };
            optimizer(40).step_with_ledger(&mut weight, &gradient, &mut first, &mut second, &mut lines);
            optimizer(40).step(&mut twin, &gradient, &mut twin_first, &mut twin_second);
            assert_eq!(bits(&weight), bits(&twin));
            assert_eq!((bits(&first), bits(&second)), (bits(&twin_first), bits(&twin_second)));
            assert_closed(&start, &weight, &[&drift_a, &drift_b, &history, &decay]);
            assert!(history.iter().any(|value| *value != 0.0));
        }
    });
}

#[test]
#[should_panic(expected = "a ledger line of 2 elements for 3 weights")]
fn a_line_of_another_length_is_refused() {
    let mut lines = LedgerLines { parts: Vec::new(), history: None, decay: &mut [0.0; 2] };
    optimizer(1).step_with_ledger(&mut [0.0; 3], &[0.0; 3], &mut [0.0; 3], &mut [0.0; 3], &mut lines);
}
