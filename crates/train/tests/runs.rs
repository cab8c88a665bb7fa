//! Whole runs, small: killed and gone on with, accumulated, stopped, refused.

use burn::tensor::Device;
use loam_train::recipe::{Length, ModelRecipe, ModelShape, Precision, SourceRecipe, TokenizerRecipe};
use loam_train::record::{Event, LedgerRow, MetricRow};
use loam_train::{Observer, Outcome, Recipe, Run, Session, StepProgress, TrainError, checkpoint, resume, start, table};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn session(stop: &AtomicBool) -> Session<'_> {
    Session {
        device: Device::flex(),
        device_name: "cpu".into(),
        threads: 2,
        machine: "test".into(),
        memory_bytes: None,
        chat: None,
        stop,
    }
}

/// Text with something to learn: each source has its own words and order.
fn write_text(folder: &Path) -> Vec<SourceRecipe> {
    let source = |name: &str, words: &[&str], documents: usize| {
        let mut lines = String::new();
        let mut state = 12_345_u64;
        for document in 0..documents {
            let mut text = String::new();
            for _ in 0..30 + document % 20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(words[(state >> 33) as usize % words.len()]);
                text.push(' ');
            }
            lines.push_str(&format!("{{\"text\": \"{}\"}}\n", text.trim()));
        }
        let path = folder.join(format!("{name}.jsonl"));
        std::fs::write(&path, lines).unwrap();
        SourceRecipe::new(name, vec![path.display().to_string()])
    };
    vec![
        source("animals", &["cat", "dog", "bird", "runs", "sleeps", "the"], 250),
        source("colors", &["red", "green", "blue", "is", "a", "color"], 220),
    ]
}

fn recipe(folder: &Path, steps: u64) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.data.sources = write_text(folder);
    recipe.tokenizer = TokenizerRecipe::Train { kind: loam_train::recipe::TokenizerKind::Bpe, vocab: 300 };
    recipe.model = ModelRecipe::New(ModelShape {
        width: 24,
        layers: 2,
        heads: 2,
        context: 16,
        dropout: 0.1,
        ..ModelShape::default()
    });
    recipe.train.length = Length::Steps(steps);
    recipe.train.batch_tokens = 128;
    recipe.train.micro_batch_tokens = Some(32);
    recipe.train.eval_every = 5;
    recipe.train.eval_tokens = 512;
    recipe.train.checkpoint_every = 7;
    recipe.train.lr = 3e-3;
    recipe.ledger.refresh_every = 4;
    recipe
}

/// Asks for a stop at a step.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn step(&mut self, progress: &StepProgress) {
        if progress.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

fn train(recipe: &Recipe, folder: &Path) -> Outcome {
    let stop = AtomicBool::new(false);
    start(recipe, folder, &session(&stop), &mut ()).unwrap()
}

fn tables(folder: &Path) -> (Vec<MetricRow>, Vec<LedgerRow>) {
    let run = Run::open(folder).unwrap();
    let metrics: Vec<MetricRow> = table::read(&run.metrics(), u64::MAX).unwrap();
    // What depends on the clock cannot be the same twice.
    let metrics = metrics.into_iter().filter(|row| row.metric != "tokens_per_second").map(|mut row| {
        row.seconds = 0.0;
        row
    });
    (metrics.collect(), table::read(&run.ledger(), u64::MAX).unwrap())
}

#[test]
fn resumed_equals_uninterrupted_to_the_bit() {
    resumed_equals_uninterrupted(Precision::F32);
}

#[test]
fn so_it_does_with_products_in_bf16() {
    resumed_equals_uninterrupted(Precision::Bf16);
}

fn resumed_equals_uninterrupted(precision: Precision) {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 23);
    recipe.train.dtype = precision;
    let whole = folder.path().join("whole");
    let expected = train(&recipe, &whole);
    assert_eq!(expected.reason, "done");
    let (metrics, ledger) = tables(&whole);
    let cut = folder.path().join("cut");
    let stop = AtomicBool::new(false);
    let outcome = start(&recipe, &cut, &session(&stop), &mut StopAt(9, &stop)).unwrap();
    assert_eq!((outcome.reason.as_str(), outcome.step), ("interrupted", 9));
    // A kill: the checkpoint of the stop is gone, that of step 7 is the last, and the next one was being written.
    let run = Run::open(&cut).unwrap();
    std::fs::remove_dir_all(checkpoint::folder(&run.checkpoints(), 9)).unwrap();
    std::fs::create_dir_all(run.checkpoints().join(".step-9.partial")).unwrap();
    std::fs::write(run.checkpoints().join(".step-9.partial/model.safetensors"), b"half").unwrap();
    let mut log = std::fs::read(run.events()).unwrap();
    log.truncate(log.len() - 20);
    std::fs::write(run.events(), log).unwrap();
    let stop = AtomicBool::new(false);
    let resumed = resume(&cut, &session(&stop), &mut ()).unwrap();
    assert_eq!(resumed.weights_hash, expected.weights_hash);
    assert_eq!(resumed.held_out, expected.held_out);
    assert_eq!(tables(&cut), (metrics, ledger));
    let events = run.read_events().unwrap();
    assert!(events.iter().any(|line| matches!(line.event, Event::Start { resumed_from: Some(7), .. })));
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_serves() {
    struct Warnings(Vec<String>);
    impl Observer for Warnings {
        fn warning(&mut self, message: &str) {
            self.0.push(message.to_owned());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), 20);
    let expected = train(&recipe, &folder.path().join("whole"));
    let run = Run::open(&folder.path().join("whole")).unwrap();
    let newest = *checkpoint::steps(&run.checkpoints()).unwrap().last().unwrap();
    let weights = checkpoint::folder(&run.checkpoints(), newest).join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
    let (stop, mut warnings) = (AtomicBool::new(false), Warnings(Vec::new()));
    let resumed = resume(run.folder(), &session(&stop), &mut warnings).unwrap();
    assert_eq!(resumed.weights_hash, expected.weights_hash);
    assert!(warnings.0.iter().any(|w| w.contains("model.safetensors") && w.contains("damaged")), "{:?}", warnings.0);
}

#[test]
fn accumulated_micro_batches_equal_one_large_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 6);
    // One source, no dropout: the same sequences, cut otherwise.
    recipe.data.sources.truncate(1);
    if let ModelRecipe::New(shape) = &mut recipe.model {
        shape.dropout = 0.0;
    }
    let losses = |micro: usize, name: &str| -> Vec<f64> {
        let mut recipe = recipe.clone();
        recipe.train.micro_batch_tokens = Some(micro);
        let run = folder.path().join(name);
        let outcome = train(&recipe, &run);
        let (metrics, _) = tables(&run);
        let mut losses: Vec<f64> = metrics.iter().filter(|r| r.metric == "train_loss").map(|r| r.value).collect();
        losses.extend(outcome.held_out.iter().map(|(_, loss)| loss.per_token()));
        losses
    };
    let (one, four) = (losses(128, "one"), losses(32, "four"));
    assert_eq!(one.len(), four.len());
    for (a, b) in one.iter().zip(&four) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn training_learns_and_the_books_close() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 150);
    recipe.train.checkpoint_every = 1000;
    let outcome = train(&recipe, &folder.path().join("run"));
    let (metrics, ledger) = tables(&folder.path().join("run"));
    let first = metrics.iter().find(|row| row.metric == "held_out_loss").unwrap().value;
    for (domain, loss) in &outcome.held_out {
        assert!(loss.per_token() < first - 2.0, "{domain}: {} from {first}", loss.per_token());
        let sum = |measured: bool| -> f64 {
            let rows = ledger.iter().filter(|row| row.domain == *domain && (row.line == "measured") == measured);
            rows.map(|row| row.value).sum()
        };
        let (booked, measured) = (sum(false), sum(true));
        assert!((booked - measured).abs() < 0.05 * measured.abs(), "{domain}: booked {booked}, measured {measured}");
    }
    // Each domain is its own source's; the source that is of its kind must have helped it most.
    for domain in ["animals", "colors"] {
        let value = |source: &str| -> f64 {
            ledger.iter().filter(|r| r.domain == domain && r.source == source).map(|r| r.value).sum()
        };
        let other = if domain == "animals" { "colors" } else { "animals" };
        assert!(value(domain) > value(other), "{domain}: {} {}", value(domain), value(other));
    }
}

#[test]
fn the_ledger_tells_each_step_at_a_small_learning_rate() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 60);
    if let ModelRecipe::New(shape) = &mut recipe.model {
        shape.dropout = 0.0;
    }
    recipe.train.lr = 3e-4;
    recipe.ledger.refresh_every = 1;
    train(&recipe, &folder.path().join("run"));
    let (_, ledger) = tables(&folder.path().join("run"));
    for domain in ["animals", "colors"] {
        let mut pairs = Vec::new();
        for step in 1..=60 {
            let rows: Vec<_> = ledger.iter().filter(|r| r.domain == domain && r.step == step).collect();
            let booked: f64 = rows.iter().filter(|r| r.line != "measured").map(|r| r.value).sum();
            pairs.push((booked, rows.iter().find(|r| r.line == "measured").unwrap().value));
        }
        let n = pairs.len() as f64;
        let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
        let covariance: f64 = pairs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        let (vx, vy): (f64, f64) =
            (pairs.iter().map(|p| (p.0 - mx).powi(2)).sum(), pairs.iter().map(|p| (p.1 - my).powi(2)).sum());
        let correlation = covariance / (vx * vy).sqrt();
        assert!(correlation > 0.99, "{domain}: correlation {correlation}");
    }
}

#[test]
fn a_loss_that_is_no_number_stops_and_names_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 40);
    recipe.train.lr = 1e30;
    recipe.train.clip = 0.0;
    recipe.train.checkpoint_every = 1;
    let stop = AtomicBool::new(false);
    let error = start(&recipe, &folder.path().join("run"), &session(&stop), &mut ()).unwrap_err();
    assert!(matches!(error, TrainError::NonFinite { .. }), "{error}");
    assert!(error.to_string().contains("train.lr"), "{error}");
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), 400);
    // So high that the held-out loss does not fall for long.
    recipe.train.lr = 0.3;
    recipe.train.patience = Some(3);
    recipe.train.checkpoint_every = 5;
    let outcome = train(&recipe, &folder.path().join("run"));
    assert_eq!(outcome.reason, "early_stop");
    assert!(outcome.step < 400);
}

#[test]
fn a_folder_with_a_run_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), 2);
    let run = folder.path().join("run");
    train(&recipe, &run);
    let stop = AtomicBool::new(false);
    let error = start(&recipe, &run, &session(&stop), &mut ()).unwrap_err().to_string();
    assert!(error.contains("--resume"), "{error}");
    let error = resume(&folder.path().join("none"), &session(&stop), &mut ()).unwrap_err().to_string();
    assert!(error.contains("recipe.toml"), "{error}");
}
