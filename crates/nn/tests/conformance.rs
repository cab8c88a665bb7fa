//! One suite for every operation: the fused kernel against its composed twin, values and gradients, through Burn's
//! differentiation, over awkward shapes.

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_kernels::adamw::AdamW;
use loam_nn::attention::{
    Attention, Packed, Pairing, Positions, RotaryTable, attend, attend_biased, frequencies, rotate,
};
use loam_nn::layers::Dense;
use loam_nn::precision::{Precision, with_precision};
use loam_nn::recurrent::{self, Steps, Weights};
use loam_nn::update::{self, Lines, Moments, Part};
use loam_nn::{Activation, Dropout, head, initialize, ops};
use std::sync::Arc;

/// Largest difference that is forgiven, relative to the largest value of the oracle, or to [`FLOOR`] where that is
/// larger.
const TOLERANCE: f32 = 2e-5;
const FLOOR: f32 = 1e-3;
/// The same with operands rounded to bf16: the twins round alike going forward, but the composed one rounds no
/// gradients.
const ROUNDED: f32 = 2e-2;

fn device() -> Device {
    Device::flex().autodiff()
}

fn values(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let bits = initialize::mix(seed ^ initialize::mix(i + 1));
            (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(shape.iter().product(), seed), shape), &device()).require_grad()
}

fn ids<const D: usize>(shape: [usize; D], below: usize, seed: u64) -> Tensor<D, Int> {
    let count = shape.iter().product::<usize>() as u64;
    let ids: Vec<i64> = (0..count).map(|i| (initialize::mix(seed ^ (i + 1)) % below as u64) as i64).collect();
    Tensor::from_data(TensorData::new(ids, shape), &device())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}

/// A leaf of the graph whose gradient is compared.
enum Leaf {
    One(Tensor<1>),
    Two(Tensor<2>),
    Three(Tensor<3>),
    Four(Tensor<4>),
}

/// The output's values, and every leaf's gradient of the output weighted with fixed numbers.
fn evaluate<const D: usize>(make: &impl Fn() -> (Tensor<D>, Vec<Leaf>)) -> Vec<(String, Vec<f32>)> {
    let (y, leaves) = make();
    let weights = Tensor::<D>::from_data(TensorData::new(values(y.shape().num_elements(), 99), y.dims()), &device());
    let mut all = vec![("output".to_owned(), host(y.clone()))];
    let mut gradients = (y * weights).sum().backward();
    for (index, leaf) in leaves.into_iter().enumerate() {
        let gradient = match leaf {
            Leaf::One(leaf) => leaf.grad_remove(&mut gradients).map(host),
            Leaf::Two(leaf) => leaf.grad_remove(&mut gradients).map(host),
            Leaf::Three(leaf) => leaf.grad_remove(&mut gradients).map(host),
            Leaf::Four(leaf) => leaf.grad_remove(&mut gradients).map(host),
        };
        all.push((format!("gradient {index}"), gradient.unwrap_or_else(|| panic!("operand {index} has no gradient"))));
    }
    all
}

/// Runs `make` fused and composed, and compares.
fn conforms<const D: usize>(what: &str, make: impl Fn() -> (Tensor<D>, Vec<Leaf>)) {
    conforms_above(FLOOR, what, make);
}

/// [`conforms`] with a floor of its own.
fn conforms_above<const D: usize>(floor: f32, what: &str, make: impl Fn() -> (Tensor<D>, Vec<Leaf>)) {
    for (precision, tolerance, floor) in [(Precision::F32, TOLERANCE, floor), (Precision::Bf16, ROUNDED, 1.0)] {
        let fused = with_precision(precision, || evaluate(&make));
        let composed = with_precision(precision, || ops::with_composed(|| evaluate(&make)));
        for ((name, fused), (_, composed)) in fused.iter().zip(&composed) {
            let what = format!("{what} in {}: {name}", precision.name());
            assert_eq!(fused.len(), composed.len(), "{what}");
            let largest = composed.iter().fold(floor, |largest, value| largest.max(value.abs()));
            for (a, b) in fused.iter().zip(composed) {
                assert!((a - b).abs() <= tolerance * largest, "{what}: {a} fused, {b} composed (of {largest})");
            }
        }
    }
}

/// Batch, time and width: one of everything, primes, and a multiple of the vector width.
const SHAPES: [[usize; 3]; 4] = [[1, 1, 1], [2, 3, 5], [3, 7, 13], [2, 16, 32]];

#[test]
fn linear_layers() {
    for [batch, time, width] in SHAPES {
        let outputs = width + 2;
        let operands = || (tensor([batch, time, width], 1), tensor([width, outputs], 2), tensor([outputs], 3));
        let leaves = |x: &Tensor<3>, w: &Tensor<2>, b: &Tensor<1>| {
            vec![Leaf::Three(x.clone()), Leaf::Two(w.clone()), Leaf::One(b.clone())]
        };
        conforms("linear", || {
            let (x, w, b) = operands();
            (ops::linear(x.clone(), w.clone(), b.clone()), leaves(&x, &w, &b))
        });
        conforms("linear with residual", || {
            let (x, w, b) = operands();
            let residual = tensor([batch, time, outputs], 4);
            let mut leaves = leaves(&x, &w, &b);
            leaves.push(Leaf::Three(residual.clone()));
            (ops::linear_residual(x, w, b, residual), leaves)
        });
    }
}

#[test]
fn feed_forwards() {
    for [batch, time, width] in SHAPES {
        let (inner, outputs) = (2 * width + 1, width + 2);
        for activation in [Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            for with_residual in [false, true] {
                conforms(&format!("feed-forward with {activation:?}"), || {
                    let x = tensor([batch, time, width], 1);
                    let (w1, b1) = (tensor([width, inner], 2), tensor([inner], 3));
                    let (w2, b2) = (tensor([inner, outputs], 4), tensor([outputs], 5));
                    let residual = with_residual.then(|| tensor([batch, time, outputs], 6));
                    let mut leaves = vec![Leaf::Three(x.clone()), Leaf::Two(w1.clone()), Leaf::One(b1.clone())];
                    leaves.extend([Leaf::Two(w2.clone()), Leaf::One(b2.clone())]);
                    leaves.extend(residual.clone().map(Leaf::Three));
                    (ops::feed_forward(x, (w1, b1), (w2, b2), residual, activation), leaves)
                });
            }
        }
    }
}

#[test]
fn norms() {
    for [batch, time, width] in SHAPES {
        // A row of one element hardly changes when it is normalized: its gradient is what roundings of operands around 1
        // leave of zero.
        let floor = if width == 1 { 1.0 } else { FLOOR };
        conforms_above(floor, "layer norm", || {
            let (x, g, b) = (tensor([batch, time, width], 1), tensor([width], 2), tensor([width], 3));
            let leaves = vec![Leaf::Three(x.clone()), Leaf::One(g.clone()), Leaf::One(b.clone())];
            // Far from zero variance, where the twins' roundings would part.
            (ops::layer_norm(x, g, b, 1e-2), leaves)
        });
        for offset in [0.0, 1.0] {
            conforms_above(floor, "RMS norm", || {
                let (x, g) = (tensor([batch, time, width], 1), tensor([width], 2));
                (ops::rms_norm(x.clone(), g.clone(), offset, 1e-5), vec![Leaf::Three(x), Leaf::One(g)])
            });
        }
    }
}

#[test]
fn activations_and_gates() {
    for [batch, time, width] in SHAPES {
        for kind in Activation::ALL {
            conforms(&format!("{kind:?}"), || {
                let x = tensor([batch, time, width], 1);
                (ops::activate(x.clone() * 4.0, kind), vec![Leaf::Three(x)])
            });
            conforms(&format!("gate of {kind:?}"), || {
                let x = tensor([batch, time, 2 * width], 1);
                (ops::gated(x.clone() * 4.0, kind), vec![Leaf::Three(x)])
            });
            conforms(&format!("gate of {kind:?} beside its other part"), || {
                let (gate, up) = (tensor([batch, time, width], 1), tensor([batch, time, width], 2));
                let y = ops::gated_pair(gate.clone() * 4.0, up.clone(), kind);
                (y, vec![Leaf::Three(gate), Leaf::Three(up)])
            });
        }
    }
}

#[test]
fn embeddings() {
    for [batch, time, width] in SHAPES {
        let vocabulary = 11;
        conforms("embedding with positions", || {
            let (tokens, positions) = (tensor([vocabulary, width], 1), tensor([time + 2, width], 2));
            let y = ops::embed(tokens.clone(), positions.clone(), ids([batch, time], vocabulary, 3), 0);
            (y, vec![Leaf::Two(tokens), Leaf::Two(positions)])
        });
        conforms("embedding", || {
            let table = tensor([vocabulary, width], 1);
            let y = ops::embed_tokens(table.clone(), ids([batch, time], vocabulary, 3), 1.5);
            (y, vec![Leaf::Two(table)])
        });
    }
}

#[test]
fn attention_dropout_and_loss() {
    for [batch, time, width] in SHAPES {
        let heads = if width % 2 == 0 { 2 } else { 1 };
        for dropout in [None, Some(Dropout { probability: 0.3, seed: 7 })] {
            conforms("causal attention", || {
                let qkv = tensor([batch, time, 3 * width], 1);
                (ops::causal_attention(qkv.clone(), heads, dropout), vec![Leaf::Three(qkv)])
            });
        }
        conforms("dropout", || {
            let x = tensor([batch, time, width], 1);
            (ops::dropout(x.clone(), Dropout { probability: 0.4, seed: 3 }), vec![Leaf::Three(x)])
        });
        conforms("head and loss", || {
            let (x, w) = (tensor([batch, time, width], 1), tensor([9, width], 2));
            let targets = ids([batch * time], 10, 4) - 1;
            (ops::head_loss(x.clone(), w.clone(), targets, 0.5), vec![Leaf::Three(x), Leaf::Two(w)])
        });
    }
}

#[test]
fn heads_with_a_bias() {
    for [batch, time, width] in SHAPES {
        let rows = batch * time;
        let row_weights: Arc<[f32]> = values(rows, 6).into();
        for (smoothing, row_weights) in
            [(0.0, None), (0.1, None), (0.0, Some(row_weights.clone())), (0.2, Some(row_weights))]
        {
            let loss = head::Loss { scale: 0.5, smoothing, row_weights };
            conforms(&format!("head with a bias, {loss:?}"), || {
                let (x, w, b) = (tensor([batch, time, width], 1), tensor([9, width], 2), tensor([9], 3));
                let y = head::loss(x.clone(), w.clone(), b.clone(), ids([rows], 10, 4) - 1, loss.clone());
                (y, vec![Leaf::Three(x), Leaf::Two(w), Leaf::One(b)])
            });
        }
        let biased = || {
            let (x, w, b) = (tensor([batch, time, width], 1), tensor([9, width], 2), tensor([9], 3));
            head::token_grades(x, w, b, ids([rows], 10, 4) - 1)
        };
        let plain =
            || ops::token_grades(tensor([batch, time, width], 1), tensor([9, width], 2), ids([rows], 10, 4) - 1);
        // Every logit is 0: the first token is the most probable one, not every one.
        let undecided = || {
            let x = tensor([batch, time, width], 1) * 0.0;
            ops::token_grades(x, tensor([9, width], 2), ids([rows], 3, 4) - 1)
        };
        for grades in [&biased as &dyn Fn() -> head::Grades, &plain, &undecided] {
            let (fused, composed) = (grades(), ops::with_composed(grades));
            assert_eq!(host(fused.hits), host(composed.hits));
            for (fused, composed) in host(fused.losses).iter().zip(host(composed.losses)) {
                assert!(
                    (fused - composed).abs() <= TOLERANCE * composed.abs().max(1.0),
                    "{fused} fused, {composed} composed"
                );
            }
        }
    }
}

#[test]
fn dense_layers() {
    for [batch, time, width] in SHAPES {
        let draw = || initialize::Initializer::new(3, &device());
        for kind in Activation::ALL {
            conforms(&format!("dense with {kind:?}"), || {
                let layer = Dense::new(width, width + 2, 1.0, &mut draw());
                let x = tensor([batch, time, width], 1);
                let leaves = vec![Leaf::Three(x.clone()), Leaf::Two(layer.weight.val()), Leaf::One(layer.bias.val())];
                (layer.forward_activated(x, kind), leaves)
            });
        }
        conforms("dense with residual", || {
            let layer = Dense::new(width, width + 2, 1.0, &mut draw());
            let (x, residual) = (tensor([batch, time, width], 1), tensor([batch, time, width + 2], 4));
            let leaves = vec![
                Leaf::Three(x.clone()),
                Leaf::Two(layer.weight.val()),
                Leaf::One(layer.bias.val()),
                Leaf::Three(residual.clone()),
            ];
            (layer.forward_residual(x, residual), leaves)
        });
    }
}

/// Masks over rows of `queries` and `keys`, by name.
fn kinds_of_attention(batch: usize, queries: usize, keys: usize) -> Vec<(&'static str, Attention)> {
    let dropout = Some(Dropout { probability: 0.25, seed: 5 });
    let mut kinds = vec![
        ("all", Attention::default()),
        ("causal", Attention::causal()),
        ("sliding", Attention::sliding(2)),
        ("around", Attention { before: Some(1), after: Some(1), ..Attention::default() }),
        ("causal with dropout", Attention { dropout, ..Attention::causal() }),
        ("capped", Attention { soft_cap: Some(0.7), scale: Some(0.9), ..Attention::causal() }),
        // Rows without a single key among them.
        ("padded", Attention { key_ranges: Some((0..batch).map(|row| row..keys).collect()), ..Attention::default() }),
    ];
    if queries == keys {
        let starts: Arc<[usize]> =
            (0..batch).flat_map(|row| [row * keys, row * keys + keys / 2]).chain([batch * keys]).collect();
        let sequences = Some(Packed { query_starts: starts.clone(), key_starts: starts });
        kinds.push(("packed", Attention { sequences, ..Attention::causal() }));
    }
    kinds
}

#[test]
fn attention_under_every_mask() {
    for [batch, queries, keys, heads, shared, width] in
        [[1, 1, 1, 1, 1, 1], [2, 5, 5, 2, 2, 3], [3, 7, 7, 6, 2, 5], [2, 3, 9, 4, 1, 8], [2, 70, 70, 2, 1, 16]]
    {
        for (name, attention) in kinds_of_attention(batch, queries, keys) {
            conforms(&format!("attention, {name}, {queries} by {keys}"), || {
                let q = tensor([batch, queries, heads, width], 1);
                let (k, v) = (tensor([batch, keys, shared, width], 2), tensor([batch, keys, shared, width], 3));
                let leaves = vec![Leaf::Four(q.clone()), Leaf::Four(k.clone()), Leaf::Four(v.clone())];
                (attend(q, k, v, attention.clone()), leaves)
            });
            conforms(&format!("biased attention, {name}, {queries} by {keys}"), || {
                let q = tensor([batch, queries, heads, width], 1);
                let (k, v) = (tensor([batch, keys, shared, width], 2), tensor([batch, keys, shared, width], 3));
                let bias = tensor([heads, queries + keys - 1], 4);
                let leaves =
                    vec![Leaf::Four(q.clone()), Leaf::Four(k.clone()), Leaf::Four(v.clone()), Leaf::Two(bias.clone())];
                (attend_biased(q, k, v, bias, attention.clone()), leaves)
            });
        }
    }
}

#[test]
fn rotary_positions() {
    for [batch, time, heads, width, turning] in [[1, 1, 1, 2, 2], [2, 5, 3, 8, 6], [2, 9, 2, 32, 32]] {
        let table = Arc::new(RotaryTable::new(0..100, &frequencies(10_000.0, turning)));
        let each: Arc<[u32]> = (0..batch * time).map(|i| (i * 7 % 100) as u32).collect();
        for positions in [Positions::From(4), Positions::Each(each)] {
            for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
                conforms(&format!("rotary, {pairing:?}, {turning} of {width}"), || {
                    let x = tensor([batch, time, heads, width], 1);
                    (rotate(x.clone(), table.clone(), positions.clone(), pairing), vec![Leaf::Four(x)])
                });
            }
        }
    }
}

fn weights(gates: usize, inputs: usize, hidden: usize) -> Weights {
    Weights {
        weight_ih: tensor([gates * hidden, inputs], 11),
        weight_hh: tensor([gates * hidden, hidden], 12),
        bias_ih: tensor([gates * hidden], 13),
        bias_hh: tensor([gates * hidden], 14),
    }
}

fn leaves_of(weights: &Weights) -> Vec<Leaf> {
    vec![
        Leaf::Two(weights.weight_ih.clone()),
        Leaf::Two(weights.weight_hh.clone()),
        Leaf::One(weights.bias_ih.clone()),
        Leaf::One(weights.bias_hh.clone()),
    ]
}

fn kinds_of_steps(batch: usize, time: usize) -> Vec<Steps> {
    let lengths: Vec<usize> = (0..batch).map(|row| time - row.min(time - 1)).collect();
    [None, Some(lengths)]
        .into_iter()
        .flat_map(|lengths| [false, true].map(|reverse| Steps { lengths: lengths.clone(), reverse }))
        .collect()
}

#[test]
fn recurrent_layers() {
    for [batch, time, inputs] in SHAPES {
        let hidden = inputs + 3;
        for steps in kinds_of_steps(batch, time) {
            conforms(&format!("LSTM {steps:?}"), || {
                let (x, h, c) =
                    (tensor([batch, time, inputs], 1), tensor([batch, hidden], 2), tensor([batch, hidden], 3));
                let weights = weights(4, inputs, hidden);
                let mut leaves = leaves_of(&weights);
                leaves.extend([Leaf::Three(x.clone()), Leaf::Two(h.clone()), Leaf::Two(c.clone())]);
                (recurrent::lstm(x, weights, Some(h), Some(c), steps.clone()), leaves)
            });
            conforms(&format!("GRU {steps:?}"), || {
                let (x, h) = (tensor([batch, time, inputs], 1), tensor([batch, hidden], 2));
                let weights = weights(3, inputs, hidden);
                let mut leaves = leaves_of(&weights);
                leaves.extend([Leaf::Three(x.clone()), Leaf::Two(h.clone())]);
                (recurrent::gru(x, weights, Some(h), steps.clone()), leaves)
            });
            conforms(&format!("RNN {steps:?}"), || {
                let (x, h) = (tensor([batch, time, inputs], 1), tensor([batch, hidden], 2));
                // Without gates, large recurrent weights make a roundoff grow from step to step.
                let weights = Weights {
                    weight_hh: tensor([hidden, hidden], 12).mul_scalar(0.2).detach().require_grad(),
                    ..weights(1, inputs, hidden)
                };
                let mut leaves = leaves_of(&weights);
                leaves.extend([Leaf::Three(x.clone()), Leaf::Two(h.clone())]);
                (recurrent::rnn(x, weights, Some(h), steps.clone()), leaves)
            });
        }
    }
}

#[test]
fn a_sequence_goes_on_from_its_state() {
    let (batch, time, inputs, hidden) = (2, 9, 5, 7);
    let x = tensor([batch, time, inputs], 1).inner();
    let parts = || (x.clone().narrow(1, 0, 4), x.clone().narrow(1, 4, 5));
    let near = |a: Vec<f32>, b: Vec<f32>| assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    for composed in [false, true] {
        let check = || {
            let all = Steps::default;
            let w = weights(4, inputs, hidden);
            let (whole, h, c) = recurrent::lstm_with_state(x.clone(), w.clone(), None, None, all());
            let (first, second) = parts();
            let (_, h1, c1) = recurrent::lstm_with_state(first, w.clone(), None, None, all());
            let (rest, h2, c2) = recurrent::lstm_with_state(second, w, Some(h1), Some(c1), all());
            near(host(whole.narrow(1, 4, 5)), host(rest));
            near(host(h), host(h2));
            near(host(c), host(c2));
            let w = weights(3, inputs, hidden);
            let (whole, h) = recurrent::gru_with_state(x.clone(), w.clone(), None, all());
            let (first, second) = parts();
            let (_, h1) = recurrent::gru_with_state(first, w.clone(), None, all());
            let (rest, h2) = recurrent::gru_with_state(second, w, Some(h1), all());
            near(host(whole.narrow(1, 4, 5)), host(rest));
            near(host(h), host(h2));
            let w = weights(1, inputs, hidden);
            let (whole, h) = recurrent::rnn_with_state(x.clone(), w.clone(), None, all());
            let (first, second) = parts();
            let (_, h1) = recurrent::rnn_with_state(first, w.clone(), None, all());
            let (rest, h2) = recurrent::rnn_with_state(second, w, Some(h1), all());
            near(host(whole.narrow(1, 4, 5)), host(rest));
            near(host(h), host(h2));
        };
        if composed { ops::with_composed(check) } else { check() }
    }
}

/// Everything that an optimizer step with books leaves, by name.
fn steps_with_books(credited: bool) -> Vec<(String, Vec<f32>)> {
    let count = 1003;
    let flat = |seed: u64| tensor([count], seed).inner();
    let zeros = || flat(0) * 0.0;
    let mut moments = Moments { first: flat(1), second: flat(2) * flat(2) };
    let part = || Part { momentum: credited.then(zeros), drift: zeros() };
    let mut lines = Lines { parts: vec![part(), part()], reach: credited.then(zeros), decay: zeros() };
    let (mut weight, mut plain, mut plain_moments) = (flat(3), flat(3), moments.clone());
    for age in 0..3_u32 {
        let hyper = AdamW {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step: 3 + u64::from(age),
            gradient_scale: 0.7,
        };
        let (a, b) = (flat(10 + u64::from(age)), flat(20 + u64::from(age)));
        let parts = vec![Some(a.clone()), (age != 1).then(|| b.clone())];
        weight = update::adamw_with_ledger(&hyper, weight, a.clone() + b.clone(), parts, &mut moments, &mut lines, age);
        plain = update::adamw(&hyper, plain, a + b, &mut plain_moments);
    }
    lines.settle(0.9, 3);
    let mut all = vec![
        ("weight", weight.clone()),
        ("first moment", moments.first),
        ("second moment", moments.second),
        ("decay", lines.decay),
        ("weight without books", plain),
    ];
    for (name, part) in ["a", "b"].into_iter().zip(lines.parts) {
        all.push((name, part.drift));
        all.extend(part.momentum.map(|momentum| (name, momentum)));
    }
    all.extend(lines.reach.map(|reach| ("reach", reach)));
    all.into_iter().map(|(name, values)| (name.to_owned(), host(values))).collect()
}

#[test]
fn the_optimizer_and_its_books() {
    for credited in [true, false] {
        let (fused, composed) = (steps_with_books(credited), ops::with_composed(|| steps_with_books(credited)));
        for ((name, fused), (_, composed)) in fused.iter().zip(&composed) {
            let largest = composed.iter().fold(FLOOR, |largest, value| largest.max(value.abs()));
            for (a, b) in fused.iter().zip(composed) {
                assert!((a - b).abs() <= TOLERANCE * largest, "{name}: {a} fused, {b} composed (of {largest})");
            }
        }
        assert_eq!(fused[0].1, fused[4].1, "the books change the weights");
    }
}
