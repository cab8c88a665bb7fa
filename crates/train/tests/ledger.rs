//! The ledger against its oracle: a finite difference of the held-out loss along each line's weight change.

use burn::tensor::{Device, Tensor};
use loam_corpus::{IGNORE, Sequence};
use loam_kernels::adamw::AdamW;
use loam_models::{Gpt, GptConfig, LanguageModel};
use loam_nn::parameters;
use loam_nn::update::{self, Lines, Moments, Part};
use loam_train::batch;
use loam_train::ledger::{Domain, Ledger};
use loam_train::optimizer::{Constants, Optimizer, StepGradients};

const VOCABULARY: u32 = 40;
const TIME: usize = 12;

fn sequence(seed: u32) -> Sequence {
    let id = |i: u32| (i * i * 7 + seed * 13 + i * (seed % 5)) % VOCABULARY;
    let inputs = (0..TIME as u32).map(id).collect();
    let targets = (0..TIME as u32).map(|i| if i == 4 { IGNORE } else { id(i + 1) }).collect();
    Sequence { inputs, targets }
}

fn gradient(model: &Gpt, sequences: &[Sequence], scale: f32) -> Vec<Tensor<1>> {
    let (inputs, targets, _) = batch::join(sequences);
    let (inputs, targets) = batch::tensors(&inputs, &targets, sequences.len(), &Device::flex());
    let loss = model.loss(inputs, targets, scale, Some(9));
    parameters::gradients(model, loss.backward()).into_iter().map(|gradient| gradient.unwrap()).collect()
}

fn held_out_loss(model: &Gpt, domain: &[Sequence]) -> f64 {
    let loss = batch::evaluate(model, domain, 8, &[], &Device::flex());
    loss.nats / loss.tokens as f64
}

/// ⟨∇ℓ, Δ⟩ at the model, by central difference.
fn slope(model: &Gpt, domain: &[Sequence], change: &[Tensor<1>]) -> f64 {
    let length: f64 = change.iter().map(|c| update::sum_of_squares(c.clone())).sum::<f64>().sqrt();
    let step = 0.02 / length;
    let at = |sign: f64| {
        let moved = parameters::update(model.clone(), |index, values| values + change[index].clone() * (sign * step));
        held_out_loss(&moved, domain)
    };
    (at(1.0) - at(-1.0)) / (2.0 * step)
}

fn check(credit: bool) {
    let device = Device::flex();
    let config = GptConfig { initializer_range: 0.15, ..GptConfig::new(VOCABULARY as usize, TIME, 16, 2, 2, 0.1) };
    let mut model = Gpt::new(config, 3, &device.clone().autodiff()).unwrap();
    let names = parameters::list(&model);
    let domain: Vec<Sequence> = (100..106).map(sequence).collect();
    let domains = vec![Domain { name: "d".into(), sequences: domain.clone() }];
    let sources = vec!["a".to_owned(), "b".to_owned(), "idle".to_owned()];
    let constants = Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 0.02 };
    let mut optimizer = Optimizer::new(constants, &names, &device);
    let mut ledger = Ledger::new(sources, domains, &names, credit, 1, 4, &device);
    ledger.open(&model, 0, &device.clone().autodiff());
    for step in 1..=4_u64 {
        let (a, b) = (vec![sequence(step as u32), sequence(7)], vec![sequence(20 + step as u32)]);
        let (ga, gb) = (gradient(&model, &a, 1.0 / 33.0), gradient(&model, &b, 1.0 / 33.0));
        let total: Vec<_> = ga.iter().zip(&gb).map(|(x, y)| x.clone() + y.clone()).collect();
        let scale = optimizer.clip_factor(Optimizer::norm(&total));
        assert!(scale < 1.0, "the test should clip");
        let before = model.clone();
        let gradients = StepGradients { total, by_source: vec![Some(ga), Some(gb), None] };
        model = optimizer.step(model, gradients, scale, 2e-3, step, Some(&mut ledger));
        let to = parameters::values(&model);
        let middle = parameters::update(before.clone(), |index, values| (values + to[index].clone()) * 0.5);
        let drift = |line: &dyn Fn(&Lines) -> Tensor<1>, ledger: &mut Ledger| -> Vec<Tensor<1>> {
            (0..names.len()).map(|index| line(ledger.lines(index))).collect()
        };
        let mut expected = Vec::new();
        for source in 0..3 {
            expected.push(drift(&|lines| lines.parts[source].drift.clone(), &mut ledger));
        }
        if !credit {
            expected.push(drift(&|lines| lines.history.clone().unwrap(), &mut ledger));
        }
        expected.push(drift(&|lines| lines.decay.clone(), &mut ledger));
        let first = ledger.rows.len();
        ledger.book(&model, step, &device.clone().autodiff());
        let rows = &ledger.rows[first..];
        assert_eq!(rows.len(), expected.len() + 1);
        let scale = rows.iter().map(|row| row.value.abs()).fold(0.0, f64::max);
        for (row, change) in rows.iter().zip(&expected) {
            let oracle = if change.iter().all(|c| update::sum_of_squares(c.clone()) == 0.0) {
                0.0
            } else {
                // The mean slope along the way, by the rule that the ledger states.
                let ends = slope(&before, &domain, change) + slope(&model, &domain, change);
                -(ends + 4.0 * slope(&middle, &domain, change)) / 6.0
            };
            assert!(
                (row.value - oracle).abs() < 0.01 * oracle.abs() + 0.002 * scale,
                "step {step}, {} {}: booked {}, oracle {oracle}",
                row.line,
                row.source,
                row.value
            );
        }
        // The books close: what is booked is what is measured, up to third order and rounding.
        let booked: f64 = rows[..expected.len()].iter().map(|row| row.value).sum();
        let measured = rows[expected.len()].value;
        assert_eq!(rows[expected.len()].line, "measured");
        let truth = held_out_loss(&before, &domain) - held_out_loss(&model, &domain);
        assert!((measured - truth).abs() < 1e-5, "measured {measured}, truth {truth}");
        assert!((booked - measured).abs() < 0.02 * measured.abs() + 2e-5, "booked {booked}, measured {measured}");
    }
}

#[test]
fn booked_values_equal_finite_differences_with_momentum_credited() {
    check(true);
}

#[test]
fn booked_values_equal_finite_differences_with_momentum_as_a_line() {
    check(false);
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
        history: None,
        decay: numbers(20) * 0.0,
    };
    let plain = update::adamw(&hyper, numbers(3), numbers(4) + numbers(5), &mut without);
    let parts = vec![Some(numbers(4)), Some(numbers(5))];
    let booked = update::adamw_with_ledger(&hyper, numbers(3), numbers(4) + numbers(5), parts, &mut with, &mut lines);
    assert_eq!(parameters::to_host(plain), parameters::to_host(booked));
    assert_eq!(parameters::to_host(with.first), parameters::to_host(without.first));
    assert_eq!(parameters::to_host(with.second), parameters::to_host(without.second));
}
