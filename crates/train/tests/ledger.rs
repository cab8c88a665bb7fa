//! The ledger against its oracle: a finite difference of the held-out loss along each line's weight change.

use burn::tensor::{Device, Tensor};
use loam_corpus::IGNORE;
use loam_kernels::adamw::AdamW;
use loam_models::{Gpt, GptConfig};
use loam_nn::parameters;
use loam_nn::update::{self, Lines, Moments, Part};
use loam_train::batch;
use loam_train::learner::{Learner, Regularization};
use loam_train::ledger::{Domain, Ledger, Settings};
use loam_train::objective::Example;
use loam_train::optimizer::{Constants, Optimizer, StepGradients};
use loam_train::record::LedgerRow;

const VOCABULARY: u32 = 40;
const TIME: usize = 12;

fn sequence(seed: u32) -> Example {
    let id = |i: u32| (i * i * 7 + seed * 13 + i * (seed % 5)) % VOCABULARY;
    let inputs = (0..TIME as u32).map(id).collect();
    let targets = (0..TIME as u32).map(|i| if i == 4 { IGNORE } else { id(i + 1) }).collect();
    Example { inputs, targets, ..Example::default() }
}

fn gradient(model: &Gpt, sequences: &[Example], scale: f32) -> Vec<Tensor<1>> {
    let with = Regularization { dropout_seed: 9, smoothing: 0.0 };
    let loss = Learner::loss(model, sequences, scale, Some(with), &Device::flex());
    parameters::gradients(model, loss.backward()).into_iter().map(|gradient| gradient.unwrap()).collect()
}

fn held_out_loss(model: &Gpt, domain: &[Example]) -> f64 {
    let loss = batch::evaluate(model, domain, 8 * TIME, &[], &Device::flex());
    loss.nats / loss.tokens as f64
}

/// ⟨∇ℓ, Δ⟩ at the model, by central difference.
fn slope(model: &Gpt, domain: &[Example], change: &[Tensor<1>]) -> f64 {
    let length: f64 = change.iter().map(|c| update::sum_of_squares(c.clone())).sum::<f64>().sqrt();
    let step = 0.02 / length;
    let at = |sign: f64| {
        let moved = parameters::update(model.clone(), |index, values| values + change[index].clone() * (sign * step));
        held_out_loss(&moved, domain)
    };
    (at(1.0) - at(-1.0)) / (2.0 * step)
}

/// Places and weights of the ledger's quadrature rules.
const MIDDLE: &[(f64, f64)] = &[(0.5, 1.0)];
const THREE_POINTS: &[(f64, f64)] = &[(0.112_702, 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.887_298, 5.0 / 18.0)];
const SEVEN_POINTS: &[(f64, f64)] = &[
    (0.019_754, 0.052_328),
    (0.112_702, 0.134_244),
    (0.282_878, 0.200_699),
    (0.5, 0.225_458),
    (0.717_122, 0.200_699),
    (0.887_298, 0.134_244),
    (0.980_246, 0.052_328),
];

const CONSTANTS: Constants = Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 0.02 };
const RATE: f32 = 2e-3;

/// What one line did to the weights, by the plain rule.
#[derive(Clone)]
struct Plain {
    momentum: Vec<Tensor<1>>,
    drift: Vec<Tensor<1>>,
}

impl Plain {
    fn new(model: &Gpt) -> Self {
        let zeros: Vec<_> = parameters::values(model).iter().map(Tensor::zeros_like).collect();
        Self { momentum: zeros.clone(), drift: zeros }
    }

    /// Adds −u · `moved` to the drift, with u the rate of each weight in this step.
    fn moves(&mut self, optimizer: &Optimizer, step: u64, moved: &[Tensor<1>]) {
        let correction = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(step as f64));
        for (index, moved) in moved.iter().enumerate() {
            let second = optimizer.moments[index].second.clone() * correction(CONSTANTS.beta2);
            let denominator = second.sqrt() + CONSTANTS.epsilon;
            let rate = f64::from(RATE) * correction(CONSTANTS.beta1);
            self.drift[index] = self.drift[index].clone() - moved.clone() * rate / denominator;
        }
    }

    /// The momentum takes in a gradient, where there is one, and moves the weights.
    fn credit(&mut self, optimizer: &Optimizer, step: u64, gradient: Option<&[Tensor<1>]>, scale: f32) {
        for (index, momentum) in self.momentum.iter_mut().enumerate() {
            *momentum = momentum.clone() * CONSTANTS.beta1;
            if let Some(gradient) = gradient {
                *momentum = momentum.clone() + gradient[index].clone() * ((1.0 - CONSTANTS.beta1) * scale);
            }
        }
        let momentum = self.momentum.clone();
        self.moves(optimizer, step, &momentum);
    }

    fn clear(&mut self) {
        self.drift = self.drift.iter().map(Tensor::zeros_like).collect();
    }
}

/// Trains on three sources, of which the third has text in the first step only, and books every `interval` steps.
fn check(credit: bool, heaviest: usize, interval: u64) {
    let device = Device::flex();
    let config = GptConfig { initializer_range: 0.15, ..GptConfig::new(VOCABULARY as usize, TIME, 16, 2, 2, 0.1) };
    let mut model = Gpt::new(config, 3, &device.clone().autodiff()).unwrap();
    let names = parameters::list(&model);
    let domain: Vec<Example> = (100..106).map(sequence).collect();
    let domains = vec![Domain { name: "d".into(), sequences: domain.clone() }];
    let settings = Settings {
        sources: vec!["a".to_owned(), "b".to_owned(), "idle".to_owned()],
        heaviest,
        credit: credit.then_some(CONSTANTS.beta1),
        refresh_every: interval,
        growth: 0.25,
        sequences: domain.len(),
        micro_batch_tokens: 4 * TIME,
    };
    let mut optimizer = Optimizer::new(CONSTANTS, &names, &device);
    let mut ledger = Ledger::new(settings, domains, &names, &device);
    ledger.open(&model, 0, &device.clone().autodiff());
    let mut before = model.clone();
    // The largest change of an interval so far.
    let mut usual: f64 = 0.0;
    let (mut sources, mut history, mut decay) = (vec![Plain::new(&model); 3], Plain::new(&model), Plain::new(&model));
    for step in 1..=4 * interval {
        let texts = [
            Some(vec![sequence(step as u32), sequence(7)]),
            (step % 3 != 2).then(|| vec![sequence(20 + step as u32)]),
            (step == 1).then(|| vec![sequence(55)]),
        ];
        let parts: Vec<_> =
            texts.iter().map(|text| text.as_ref().map(|text| gradient(&model, text, 1.0 / 33.0))).collect();
        let add = |a: Vec<Tensor<1>>, b: Vec<Tensor<1>>| a.into_iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let total = parts.iter().flatten().cloned().reduce(add).unwrap();
        let scale = optimizer.clip_factor(Optimizer::norm(&total));
        assert!(scale < 1.0, "the test should clip");
        let weights = parameters::values(&model);
        let first: Vec<_> = optimizer.moments.iter().map(|moments| moments.first.clone() * CONSTANTS.beta1).collect();
        let gradients = StepGradients { total, by_source: parts.clone() };
        model = optimizer.step(model, gradients, scale, RATE, step, Some(&mut ledger));
        for (source, part) in sources.iter_mut().zip(&parts) {
            if !credit {
                source.momentum = Plain::new(&model).momentum;
            }
            source.credit(&optimizer, step, part.as_deref(), scale);
        }
        if !credit {
            history.moves(&optimizer, step, &first);
        }
        for (index, weight) in weights.into_iter().enumerate().filter(|(index, _)| names[*index].shape.len() > 1) {
            let lost = weight * f64::from(RATE * CONSTANTS.weight_decay);
            decay.drift[index] = decay.drift[index].clone() - lost;
        }
        if step % interval != 0 {
            continue;
        }
        let booked = ledger.rows.len();
        ledger.book(&model, &optimizer, step, false, &device.clone().autodiff());
        let rows = &ledger.rows[booked..];
        let to = parameters::values(&model);
        let at = |place: f64| {
            parameters::update(before.clone(), |index, values| values * (1.0 - place) + to[index].clone() * place)
        };
        let lines: Vec<&Plain> = sources.iter().chain((!credit).then_some(&history)).chain([&decay]).collect();
        assert_eq!(rows.len(), lines.len() + 1);
        let scale = rows.iter().map(|row| row.value.abs()).fold(0.0, f64::max);
        // The mean slope along each line's change by one of the rules that the ledger states, the same for all lines.
        let mut tried = Vec::new();
        let one_fits = [MIDDLE, THREE_POINTS, SEVEN_POINTS].into_iter().any(|rule| {
            let points: Vec<(Gpt, f64)> = rule.iter().map(|(place, weight)| (at(*place), *weight)).collect();
            let oracle = |line: &&Plain| {
                if line.drift.iter().all(|c| update::sum_of_squares(c.clone()) == 0.0) {
                    return 0.0;
                }
                -points.iter().map(|(model, weight)| weight * slope(model, &domain, &line.drift)).sum::<f64>()
            };
            let oracles: Vec<f64> = lines.iter().map(oracle).collect();
            let near =
                |(row, oracle): (&LedgerRow, &f64)| (row.value - oracle).abs() < 0.01 * oracle.abs() + 0.002 * scale;
            let fits = rows.iter().zip(&oracles).all(near);
            tried.push(oracles);
            fits
        });
        let booked: Vec<_> = rows.iter().map(|row| (&row.line, &row.source, row.value)).collect();
        assert!(one_fits, "heaviest {heaviest}, step {step}: booked {booked:?}, by the rules {tried:?}");
        // The books close: what is booked is what is measured, within what the ledger lets pass.
        let booked: f64 = rows[..lines.len()].iter().map(|row| row.value).sum();
        let measured = rows[lines.len()].value;
        assert_eq!(rows[lines.len()].line, "measured");
        usual = f64::max(usual, measured.abs());
        let truth = held_out_loss(&before, &domain) - held_out_loss(&model, &domain);
        assert!((measured - truth).abs() < 1e-5, "measured {measured}, truth {truth}");
        assert!((booked - measured).abs() < 0.05 * usual + 2e-5, "booked {booked}, measured {measured}");
        before = model.clone();
        sources.iter_mut().chain([&mut history, &mut decay]).for_each(Plain::clear);
    }
}

#[test]
fn booked_values_equal_finite_differences_with_momentum_credited() {
    for (heaviest, interval) in [(0, 1), (1, 3), (2, 3)] {
        check(true, heaviest, interval);
    }
}

#[test]
fn booked_values_equal_finite_differences_with_momentum_as_a_line() {
    check(false, 0, 1);
    check(false, 0, 3);
}

#[test]
fn the_ledger_changes_no_weight() {
    let device = Device::flex();
    let hyper = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 3,
        gradient_scale: 0.7,
    };
    let numbers = |seed: u32| -> Tensor<1> {
        let values = (0..1003).map(|i: u32| ((i * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0).collect();
        parameters::from_host(values, &device)
    };
    let moments = || Moments { first: numbers(1), second: numbers(2) * numbers(2) };
    let (mut with, mut without) = (moments(), moments());
    let mut lines = Lines {
        parts: (0..2).map(|i| Part { momentum: Some(numbers(10 + i)), drift: numbers(20) * 0.0 }).collect(),
        reach: Some(numbers(6) * numbers(6)),
        decay: numbers(20) * 0.0,
    };
    let plain = update::adamw(&hyper, numbers(3), numbers(4) + numbers(5), &mut without);
    let parts = vec![Some(numbers(4)), Some(numbers(5))];
    let total = numbers(4) + numbers(5);
    let booked = update::adamw_with_ledger(&hyper, numbers(3), total, parts, &mut with, &mut lines, 2);
    assert_eq!(parameters::to_host(plain), parameters::to_host(booked));
    assert_eq!(parameters::to_host(with.first), parameters::to_host(without.first));
    assert_eq!(parameters::to_host(with.second), parameters::to_host(without.second));
}
