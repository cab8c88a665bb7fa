//! The optimizer's books: the same step bit for bit, lines that are what each source did, and that sum to the step.

mod support;

use loam_kernels::adamw::{AdamW, LedgerLines, LedgerPart, Reach};
use support::{Random, at_every_level, bits};

fn optimizer(step: u64, beta1: f32) -> AdamW {
    AdamW { learning_rate: 0.02, beta1, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.3 }
}

/// What one source did to every weight, by the plain rule: its own momentum moves the weight at every step.
struct Plain {
    momentum: Vec<f64>,
    drift: Vec<f64>,
}

impl Plain {
    fn step(&mut self, setting: &AdamW, gradient: Option<&[f32]>, second: &[f32]) {
        let correction = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(setting.step as f64));
        let (beta1, scale) = (f64::from(setting.beta1), f64::from(setting.gradient_scale));
        for (i, (momentum, drift)) in self.momentum.iter_mut().zip(&mut self.drift).enumerate() {
            let fresh = gradient.map_or(0.0, |gradient| f64::from(gradient[i]));
            *momentum = beta1 * *momentum + (1.0 - beta1) * scale * fresh;
            let denominator = (f64::from(second[i]) * correction(setting.beta2)).sqrt() + f64::from(setting.epsilon);
            *drift -= f64::from(setting.learning_rate) * correction(setting.beta1) * *momentum / denominator;
        }
    }
}

/// Largest distance of `values` from `expected`, in parts of the largest expected value.
fn distance(values: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let apart = values.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
    apart.fold(0.0, f64::max) / largest
}

/// Trains for `steps` steps with three sources, of which the second is often absent and the third has no text after the
/// first step; compares each line with the plain rule, and the sum of the lines with the change of the weight.
fn credited(count: usize, beta1: f32, steps: u64) {
    let mut random = Random(61);
    let start = random.values(count);
    let (mut weight, mut first, mut second) = (start.clone(), vec![0.0; count], vec![0.0; count]);
    let (mut twin, mut twin_first, mut twin_second) = (weight.clone(), first.clone(), second.clone());
    let (mut momenta, mut drifts) = (vec![vec![0.0; count]; 3], vec![vec![0.0; count]; 3]);
    let mut plain: Vec<Plain> = (0..3).map(|_| Plain { momentum: vec![0.0; count], drift: vec![0.0; count] }).collect();
    let (mut reach, mut age, mut decay) = (vec![0.0; count], 0, vec![0.0; count]);
    for step in 1..=steps {
        let setting = optimizer(step, beta1);
        let own = [random.values(count), random.values(count), random.values(count)];
        let present = [true, step % 3 == 1, step == 1];
        let total: Vec<f32> = (0..count)
            .map(|i| own.iter().zip(present).map(|(own, here)| if here { own[i] } else { 0.0 }).sum::<f32>())
            .collect();
        let sources = momenta.iter_mut().zip(&mut drifts).zip(&own).zip(present).filter(|(_, here)| *here);
        let parts =
            sources.map(|(((momentum, drift), gradient), _)| LedgerPart { gradient, momentum: Some(momentum), drift });
        let reach_now = Some(Reach { values: &mut reach, age });
        let mut lines = LedgerLines { parts: parts.collect(), reach: reach_now, decay: &mut decay };
        setting.step_with_ledger(&mut weight, &total, &mut first, &mut second, &mut lines);
        setting.step(&mut twin, &total, &mut twin_first, &mut twin_second);
        for ((plain, own), here) in plain.iter_mut().zip(&own).zip(present) {
            plain.step(&setting, here.then_some(&own[..]), &second);
        }
        age += 1;
        if age == Reach::longest(beta1) || step == steps {
            let settled = Reach { values: &mut reach, age };
            for (momentum, drift) in momenta.iter_mut().zip(&mut drifts) {
                settled.settle(beta1, momentum, drift);
            }
            reach.fill(0.0);
            age = 0;
        }
    }
    assert_eq!(bits(&weight), bits(&twin));
    assert_eq!((bits(&first), bits(&second)), (bits(&twin_first), bits(&twin_second)));
    for (source, (drift, plain)) in drifts.iter().zip(&plain).enumerate() {
        let far = distance(drift, &plain.drift);
        assert!(far < 1e-4, "β₁ = {beta1}, {count} weights: source {source} is {far:e} off");
    }
    for i in 0..count {
        let booked = drifts.iter().map(|drift| f64::from(drift[i])).sum::<f64>() + f64::from(decay[i]);
        let moved = f64::from(weight[i]) - f64::from(start[i]);
        // The weight is rounded at every step, and so is every line.
        let largest = drifts.iter().fold(start[i].abs().max(weight[i].abs()), |most, drift| most.max(drift[i].abs()));
        let rounding = f64::from(f32::EPSILON) * f64::from(largest) * (8 * steps) as f64;
        assert!((booked - moved).abs() <= rounding, "β₁ = {beta1}: booked {booked:e}, moved {moved:e}");
    }
}

#[test]
fn credited_momentum_is_what_each_source_did() {
    at_every_level(|| {
        for count in [1, 17, 1025, 16 * 1024 + 1030] {
            credited(count, 0.9, 5);
        }
        for beta1 in [0.0, 0.02, 0.5, 0.9, 0.99] {
            credited(130, beta1, 75);
        }
        credited(0, 0.9, 1);
    });
}

#[test]
fn reaches_are_settled_before_their_bits_run_out() {
    for (beta1, steps) in [(0.0, 1), (0.5, 5), (0.9, 32), (0.95, 64), (0.999, 64)] {
        assert_eq!(Reach::longest(beta1), steps, "β₁ = {beta1}");
    }
}

#[test]
fn momentum_on_its_own_line_is_what_the_sources_leave() {
    at_every_level(|| {
        let mut random = Random(62);
        for count in [1, 2047] {
            let start = random.values(count);
            let mut weight = start.clone();
            // Moments from earlier steps; the second is not negative.
            let before = random.values(count);
            let mut first = before.clone();
            let mut second: Vec<f32> = random.values(count).iter().map(|v| v * v).collect();
            let (mut twin, mut twin_first, mut twin_second) = (weight.clone(), first.clone(), second.clone());
            let (a, b) = (random.values(count), random.values(count));
            let gradient: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let (mut drift_a, mut drift_b, mut decay) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
            let mut lines = LedgerLines {
                parts: vec![
                    LedgerPart { gradient: &a, momentum: None, drift: &mut drift_a },
                    LedgerPart { gradient: &b, momentum: None, drift: &mut drift_b },
                ],
                reach: None,
                decay: &mut decay,
            };
            let setting = optimizer(40, 0.9);
            setting.step_with_ledger(&mut weight, &gradient, &mut first, &mut second, &mut lines);
            setting.step(&mut twin, &gradient, &mut twin_first, &mut twin_second);
            assert_eq!(bits(&weight), bits(&twin));
            assert_eq!((bits(&first), bits(&second)), (bits(&twin_first), bits(&twin_second)));
            // What is left of the change is the momentum from before, faded once.
            let unscaled = AdamW { gradient_scale: 1.0, ..setting };
            let faded: Vec<f32> = before.iter().map(|m| m * 0.9 / 0.1).collect();
            let mut history = Plain { momentum: vec![0.0; count], drift: vec![0.0; count] };
            history.step(&unscaled, Some(&faded), &second);
            let left: Vec<f32> =
                (0..count).map(|i| weight[i] - start[i] - drift_a[i] - drift_b[i] - decay[i]).collect();
            assert!(distance(&left, &history.drift) < 1e-4);
        }
    });
}

#[test]
#[should_panic(expected = "a ledger line of 2 elements for 3 weights")]
fn a_line_of_another_length_is_refused() {
    let mut lines = LedgerLines { parts: Vec::new(), reach: None, decay: &mut [0.0; 2] };
    optimizer(1, 0.9).step_with_ledger(&mut [0.0; 3], &[0.0; 3], &mut [0.0; 3], &mut [0.0; 3], &mut lines);
}

#[test]
#[should_panic(expected = "momentum and reach go together")]
fn momentum_without_a_reach_is_refused() {
    let part = LedgerPart { gradient: &[0.0; 3], momentum: Some(&mut [0.0; 3]), drift: &mut [0.0; 3] };
    let mut lines = LedgerLines { parts: vec![part], reach: None, decay: &mut [0.0; 3] };
    optimizer(1, 0.9).step_with_ledger(&mut [0.0; 3], &[0.0; 3], &mut [0.0; 3], &mut [0.0; 3], &mut lines);
}
