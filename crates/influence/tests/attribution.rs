//! Attribution of small runs against what it stands for: products of whole gradients, and what a step on a document does.

use burn::tensor::{Device, Tensor};
use loam_influence::InfluenceError;
use loam_influence::attribution::passages::Passages;
use loam_influence::attribution::{Attribution, Method, Question, Settings};
use loam_train::learner::Learner;
use loam_train::recipe::{Length, ModelFamily, ModelRecipe, ModelShape, SourceRecipe, TokenizerKind, TokenizerRecipe};
use loam_train::reopen::{Inquiry, Reopened, reopen};
use loam_train::{Recipe, Session, start};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn trained(folder: &Path, family: ModelFamily) -> std::path::PathBuf {
    let mut lines = String::new();
    let words = ["cat", "dog", "bird", "runs", "sleeps", "the", "red", "green"];
    let mut state = 12_345_u64;
    for document in 0..60 {
        let mut text = String::new();
        for _ in 0..20 + document % 40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(words[(state >> 33) as usize % (4 + document % 5)]);
            text.push(' ');
        }
        lines.push_str(&format!("{{\"text\": \"{}\"}}\n", text.trim()));
    }
    let path = folder.join("text.jsonl");
    std::fs::write(&path, lines).unwrap();
    let mut recipe = Recipe::default();
    recipe.data.sources = vec![SourceRecipe::new("words", vec![path.display().to_string()])];
    recipe.tokenizer = TokenizerRecipe::Train {
        kind: if family == ModelFamily::Bert { TokenizerKind::WordPiece } else { TokenizerKind::Bpe },
        vocab: 300,
    };
    recipe.model = ModelRecipe::New(ModelShape {
        family,
        width: 16,
        layers: 1,
        heads: 2,
        context: 24,
        dropout: 0.0,
        ..ModelShape::default()
    });
    recipe.train.length = Length::Steps(30);
    recipe.train.batch_tokens = 192;
    recipe.train.checkpoint_every = 10;
    recipe.train.keep_checkpoints = 3;
    recipe.train.lr = 5e-3;
    recipe.ledger.enabled = false;
    let stop = AtomicBool::new(false);
    let session = Session {
        device: Device::flex(),
        device_name: "cpu".into(),
        threads: 2,
        machine: "test".into(),
        memory_bytes: None,
        chat: None,
        stop: &stop,
    };
    let run = folder.join("run");
    start(&recipe, &run, &session, &mut ()).unwrap();
    run
}

fn answers(run: &Path, methods: &[Method], questions: &[Question], dimensions: usize) -> Vec<(Method, Vec<Vec<f64>>)> {
    let stop = AtomicBool::new(false);
    let settings = Settings { dimensions, factor_passages: 60, ..Settings::default() };
    let attribution = Attribution { questions, methods, settings: &settings, stop: &stop, progress: &mut |_| {} };
    reopen(run, &Device::flex(), attribution).unwrap().scores
}

/// Products of whole gradients, without and with Adam's denominators, and what a small step on each passage alone does to the
/// question's loss.
struct Exact;

impl Inquiry for Exact {
    type Finding = Vec<[f64; 3]>;
    type Error = InfluenceError;

    fn ask<M: Learner>(self, mut run: Reopened<M>) -> Result<Self::Finding, InfluenceError> {
        let passages = Passages::of(&run)?;
        let question = run.held_out(0, 1);
        let counted = question[0].counted() as f64;
        let (asked, _) = run.gradient(&question)?;
        let (weights, factors) = (run.weights(), run.preconditioner());
        let mut found = Vec::new();
        for passage in 0..passages.passages.len() {
            let (own, _) = run.gradient(&[passages.example(&run, passage)])?;
            let mut sums = [0.0; 2];
            for ((asked, own), factors) in asked.iter().zip(&own).zip(&factors) {
                let host = |tensor: &Tensor<1>| loam_nn::parameters::to_host(tensor.clone());
                for ((a, b), factor) in host(asked).iter().zip(host(own)).zip(factors) {
                    let product = f64::from(*a) * f64::from(b);
                    sums[0] += product / counted;
                    sums[1] += product * f64::from(*factor) / counted;
                }
            }
            // Gradient descent by ε on this passage: the loss falls by ε ⟨g_q, g_i⟩.
            let epsilon = 2e-6;
            let mut loss_after = |sign: f64| {
                let moved: Vec<Tensor<1>> =
                    weights.iter().zip(&own).map(|(w, g)| w.clone() - g.clone() * (sign * epsilon)).collect();
                run.set(&moved);
                run.token_losses(&question).iter().map(|loss| f64::from(*loss)).sum::<f64>() / counted
            };
            let fell = (loss_after(-1.0) - loss_after(1.0)) / (2.0 * epsilon);
            run.set(&weights);
            found.push([sums[0], sums[1], fell]);
        }
        Ok(found)
    }
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - ma, b - mb)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[test]
fn products_are_those_of_whole_gradients_and_of_steps() {
    for family in [ModelFamily::Gpt, ModelFamily::Llama, ModelFamily::Bert] {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path(), family);
        let exact = reopen(&run, &Device::flex(), Exact).unwrap();
        let column = |place: usize| exact.iter().map(|row| row[place]).collect::<Vec<f64>>();
        // The step differs from the product by curvature and rounding alone.
        let agreed = correlation(&column(0), &column(2));
        assert!(agreed > 0.98, "{family:?}: {agreed}");
        let question = [Question::Sequence { domain: 0, number: 0, of: 1 }];
        let methods = [Method::GradientDot, Method::AdamDot];
        for (place, (method, scores)) in answers(&run, &methods, &question, 16384).into_iter().enumerate() {
            let agreed = correlation(&column(place), &scores[0]);
            assert!(agreed > 0.97, "{family:?}, {}: {agreed}", method.name());
        }
    }
}

#[test]
fn every_method_answers_and_answers_again_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path(), ModelFamily::Gpt);
    let question = [Question::Domain("words".into())];
    let all = answers(&run, &Method::ALL, &question, 4096);
    assert_eq!(all.len(), 10);
    for (method, scores) in &all {
        assert!(scores[0].iter().all(|score| score.is_finite()), "{}", method.name());
        // Text of one kind helps text of its kind more often than not; an inverse curvature takes out
        // what all have in common, and long stretches are rare.
        let helpful = scores[0].iter().filter(|score| **score > 0.0).count();
        let rare = matches!(method, Method::Trak | Method::LoGra | Method::EkFac | Method::Spans);
        assert!(rare || 2 * helpful > scores[0].len(), "{}: {helpful} of {}", method.name(), scores[0].len());
    }
    // Asked again, everything comes from the disk and is the same.
    assert_eq!(answers(&run, &Method::ALL, &question, 4096), all);
}
