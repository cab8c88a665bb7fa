//! Values and gradients against PyTorch's, in f64, from `fixtures/pytorch.py`.

mod support;

use loam_kernels::activation::{self, Activation};
use loam_kernels::adamw::AdamW;
use loam_kernels::attention::{Attention, Mask, attend, attend_backward};
use loam_kernels::cross_entropy::{self, Options};
use loam_kernels::heads::{HeadLayout, HeadView};
use loam_kernels::matrix::{MatrixRef, Precision};
use loam_kernels::recurrent::{RecurrentShape, RecurrentWeights, gru, lstm, rnn};
use loam_kernels::rotary::{self, Pairing, Positions, RotaryTable};
use loam_kernels::{embedding, linear, norm};
use std::collections::HashMap;
use support::{assert_close, at_every_level};

const TOLERANCE: f64 = 3e-6;

/// What PyTorch said of one operation.
struct Case(HashMap<String, Vec<f64>>);

impl Case {
    fn named(name: &str) -> Self {
        let text = include_str!("fixtures/pytorch.txt");
        let mut lines = text.lines().skip_while(|line| line.strip_prefix("case ") != Some(name)).skip(1).peekable();
        assert!(lines.peek().is_some(), "no case {name} in the fixture");
        let tensors = lines.take_while(|line| !line.starts_with("case ")).map(|line| {
            let (name, values) = line.split_once(' ').expect("a name and values");
            (name.to_owned(), values.split(' ').map(|value| value.parse().expect("a number")).collect())
        });
        Self(tensors.collect())
    }

    fn exact(&self, name: &str) -> &[f64] {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in the case"))
    }

    fn get(&self, name: &str) -> Vec<f32> {
        self.exact(name).iter().map(|value| *value as f32).collect()
    }

    #[track_caller]
    fn holds(&self, name: &str, values: &[f32]) {
        assert_close(name, values, self.exact(name), TOLERANCE);
    }
}

#[test]
fn linear_layers() {
    at_every_level(|| {
        let case = Case::named("linear");
        let (x, w, b) = (case.get("x"), case.get("w"), case.get("b"));
        case.holds(
            "y",
            &linear::forward(&x, MatrixRef::new(&w, 7, 3), &b, Some(&case.get("residual")), Precision::F32),
        );
        let gradients = linear::backward(&x, MatrixRef::new(&w, 7, 3), &case.get("dy"), Precision::F32);
        case.holds("dx", &gradients.dx);
        case.holds("dw", &gradients.dweight);
        case.holds("db", &gradients.dbias);
    });
}

#[test]
fn norms() {
    at_every_level(|| {
        let case = Case::named("layer_norm");
        let (x, gamma) = (case.get("x"), case.get("gamma"));
        let (y, statistics) = norm::layer_norm(&x, &gamma, &case.get("beta"), 1e-5);
        case.holds("y", &y);
        let gradients = norm::layer_norm_backward(&x, &gamma, &statistics, &case.get("dy"));
        case.holds("dx", &gradients.dx);
        case.holds("dgamma", &gradients.dgamma);
        case.holds("dbeta", &gradients.dbeta);

        let case = Case::named("rms_norm");
        let (x, gamma) = (case.get("x"), case.get("gamma"));
        let (y, statistics) = norm::rms_norm(&x, &gamma, 0.0, 1e-6);
        case.holds("y", &y);
        let gradients = norm::rms_norm_backward(&x, &gamma, 0.0, &statistics, &case.get("dy"));
        case.holds("dx", &gradients.dx);
        case.holds("dgamma", &gradients.dgamma);
    });
}

#[test]
fn activations_and_gates() {
    at_every_level(|| {
        for kind in Activation::ALL {
            let case = Case::named(&format!("activation {kind:?}"));
            let x = case.get("x");
            case.holds("y", &activation::forward(kind, &x));
            case.holds("dx", &activation::backward(kind, &x, &case.get("dy")));
            let case = Case::named(&format!("gated {kind:?}"));
            let x = case.get("x");
            case.holds("y", &activation::gated(kind, &x, 5));
            case.holds("dx", &activation::gated_backward(kind, &x, &case.get("dy"), 5));
        }
    });
}

#[test]
fn attention_under_masks() {
    let around = Mask { before: Some(2), after: Some(2), ..Mask::default() };
    at_every_level(|| {
        for (name, queries, keys, heads, shared, mask) in [
            ("all", 6, 6, 2, 2, Mask::default()),
            ("causal", 9, 9, 2, 2, Mask::causal()),
            ("sliding", 9, 9, 4, 2, Mask::sliding(3)),
            ("around", 7, 7, 3, 1, around),
            ("cache", 3, 8, 4, 2, Mask::causal()),
        ] {
            let case = Case::named(&format!("attention {name}"));
            let (q, k, v) = (case.get("q"), case.get("k"), case.get("v"));
            let cached = HeadLayout::tokens_first(2, keys, shared, 5);
            let q = HeadView::new(&q, HeadLayout::tokens_first(2, queries, heads, 5));
            let (k, v) = (HeadView::new(&k, cached), HeadView::new(&v, cached));
            let attention = Attention { mask, ..Attention::default() };
            let (y, sums) = attend(q, k, v, &attention);
            case.holds("y", &y);
            let gradients = attend_backward(q, k, v, &y, &sums, &case.get("dy"), &attention);
            case.holds("dq", &gradients.dq);
            case.holds("dk", &gradients.dk);
            case.holds("dv", &gradients.dv);
        }
    });
}

#[test]
fn rotary_positions() {
    at_every_level(|| {
        let table = RotaryTable::new(0..5, &rotary::frequencies(10_000.0, 8));
        let layout = HeadLayout::tokens_first(2, 5, 3, 8);
        for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
            let case = Case::named(&format!("rotary {pairing:?}"));
            let (x, dy) = (case.get("x"), case.get("dy"));
            case.holds("y", &rotary::forward(HeadView::new(&x, layout), &table, Positions::From(0), pairing));
            case.holds("dx", &rotary::backward(HeadView::new(&dy, layout), &table, Positions::From(0), pairing));
        }
    });
}

#[test]
fn embeddings() {
    let case = Case::named("embedding");
    let ids: Vec<u32> = case.exact("ids").iter().map(|id| *id as u32).collect();
    case.holds("y", &embedding::gather_tokens(&case.get("table"), &ids, 4, 1.0));
    case.holds("dtable", &embedding::scatter_tokens(&case.get("dy"), &ids, 11, 4, 1.0, None));
}

#[test]
fn cross_entropy_with_bias_and_smoothing() {
    at_every_level(|| {
        for (name, smoothing) in [("plain", 0.0), ("smooth", 0.1)] {
            let case = Case::named(&format!("cross_entropy {name}"));
            let targets: Vec<u32> = case
                .exact("targets")
                .iter()
                .map(|id| if *id < 0.0 { cross_entropy::IGNORE } else { *id as u32 })
                .collect();
            let (x, w, b, weights) = (case.get("x"), case.get("w"), case.get("b"), case.get("dy"));
            let options = Options { bias: Some(&b), row_weights: Some(&weights), smoothing, ..Options::default() };
            let result = cross_entropy::with_options(&x, &w, &targets, 5, options, true);
            case.holds("y", &result.losses);
            let gradients = result.gradients.expect("asked for");
            case.holds("dx", &gradients.dx);
            case.holds("dw", &gradients.dweight);
            case.holds("db", &gradients.dbias.expect("there is a bias"));
        }
    });
}

#[test]
fn recurrent_layers() {
    at_every_level(|| {
        for (direction, reverse) in [("forward", false), ("reverse", true)] {
            let shape = RecurrentShape {
                batch: 3,
                time: 6,
                inputs: 5,
                hidden: 4,
                lengths: Some(&[6, 2, 5]),
                reverse,
                precision: Precision::F32,
            };
            for kind in ["lstm", "gru", "rnn"] {
                let case = Case::named(&format!("{kind} {direction}"));
                let of = |name| case.get(name);
                let (x, ih, hh) = (of("x"), of("weight_ih"), of("weight_hh"));
                let (bias_ih, bias_hh, h) = (of("bias_ih"), of("bias_hh"), of("h"));
                let weights = RecurrentWeights { weight_ih: &ih, weight_hh: &hh, bias_ih: &bias_ih, bias_hh: &bias_hh };
                let (dy, dlast) = (of("dy"), of("dlast_h"));
                if kind == "lstm" {
                    let c = of("c");
                    let out = lstm::forward(&x, weights, Some(&h), Some(&c), shape);
                    case.holds("y", &out.y);
                    case.holds("last_h", &out.last_hidden);
                    case.holds("last_c", &out.last_cell);
                    let dlast_c = of("dlast_c");
                    let (start, last) = ((Some(&h[..]), Some(&c[..])), (Some(&dlast[..]), Some(&dlast_c[..])));
                    let g = lstm::backward(
                        &x, weights, start.0, start.1, &out.gates, &out.cells, &dy, last.0, last.1, shape,
                    );
                    case.holds("dx", &g.dx);
                    case.holds("dweight_ih", &g.dweight_ih);
                    case.holds("dweight_hh", &g.dweight_hh);
                    case.holds("dbias_ih", &g.dbias);
                    case.holds("dbias_hh", &g.dbias);
                    case.holds("dh", &g.dinitial_hidden);
                    case.holds("dc", &g.dinitial_cell);
                } else if kind == "rnn" {
                    let out = rnn::forward(&x, weights, Some(&h), shape);
                    case.holds("y", &out.y);
                    case.holds("last_h", &out.last_hidden);
                    let g = rnn::backward(&x, weights, Some(&h), &out.states, &dy, Some(&dlast), shape);
                    case.holds("dx", &g.dx);
                    case.holds("dweight_ih", &g.dweight_ih);
                    case.holds("dweight_hh", &g.dweight_hh);
                    case.holds("dbias_ih", &g.dbias);
                    case.holds("dbias_hh", &g.dbias);
                    case.holds("dh", &g.dinitial_hidden);
                } else {
                    let out = gru::forward(&x, weights, Some(&h), shape);
                    case.holds("y", &out.y);
                    case.holds("last_h", &out.last_hidden);
                    let g = gru::backward(&x, weights, Some(&h), &out.gates, &out.recurrent, &dy, Some(&dlast), shape);
                    case.holds("dx", &g.dx);
                    case.holds("dweight_ih", &g.dweight_ih);
                    case.holds("dweight_hh", &g.dweight_hh);
                    case.holds("dbias_ih", &g.dbias_ih);
                    case.holds("dbias_hh", &g.dbias_hh);
                    case.holds("dh", &g.dinitial_hidden);
                }
            }
        }
    });
}

#[test]
fn adamw() {
    at_every_level(|| {
        let case = Case::named("adamw");
        let mut weight = case.get("w0");
        let (mut first, mut second) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
        for step in 1..=5 {
            let setting = AdamW {
                learning_rate: 0.01,
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: 0.1,
                step,
                gradient_scale: 1.0,
            };
            setting.step(&mut weight, &case.get(&format!("g{step}")), &mut first, &mut second);
            case.holds(&format!("w{step}"), &weight);
        }
    });
}
