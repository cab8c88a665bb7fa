//! The ledger by document against its oracles: exact products from a backward pass, a step trained again without a document,
//! and the ledger by source; and whole runs, small.

use burn::tensor::{Device, Tensor};
use loam_corpus::{IGNORE, TrainingDocuments};
use loam_models::bert::BertConfig;
use loam_models::{
    Adapted, CausalModel, Gpt, GptConfig, LoraConfig, MaskedBert, Seq2Seq, Seq2SeqConfig, SourceToTarget,
};
use loam_nn::{parameters, update};
use loam_train::feed::Feed;
use loam_train::learner::Learner;
use loam_train::ledger::slope::Direction;
use loam_train::ledger::{DocumentBooks, DocumentSettings, Domain, Ledger, Reached, Settings};
use loam_train::objective::{Example, Kind};
use loam_train::optimizer::{Constants, Optimizer, StepGradients};
use loam_train::plan::{self, Portions};
use loam_train::recipe::{
    Length, ModelFamily, ModelRecipe, ModelShape, ObjectiveKind, SourceRecipe, Split, TokenizerKind, TokenizerRecipe,
};
use loam_train::record::{DocumentSumRow, DocumentValueRow, LedgerRow};
use loam_train::session::prepare_tokens;
use loam_train::{Observer, Outcome, Recipe, Run, Session, StepProgress, batch, checkpoint, resume, start, table};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const VOCABULARY: u32 = 40;
const TIME: usize = 12;
const CONSTANTS: Constants = Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.0, clip: 1.0 };

fn words(seed: u32) -> Vec<u32> {
    (0..TIME as u32).map(|i| 1 + (i * i * 7 + seed * 13 + i * (seed % 5)) % (VOCABULARY - 1)).collect()
}

fn causal(seed: u32) -> Example {
    let inputs = words(seed);
    let targets = (0..TIME).map(|i| if i == 4 { IGNORE } else { inputs[(i + 1) % TIME] }).collect();
    Example { inputs, targets, ..Example::default() }
}

fn masked(seed: u32) -> Example {
    let inputs = words(seed);
    let told = |(i, id): (usize, &u32)| if i % 3 == 0 { *id } else { IGNORE };
    let targets = inputs.iter().enumerate().map(told).collect();
    Example {
        inputs: inputs.iter().enumerate().map(|(i, id)| if i % 3 == 0 { 2 } else { *id }).collect(),
        targets,
        ..Example::default()
    }
}

fn pair(seed: u32) -> Example {
    let targets = words(seed).into_iter().rev().take(5 + seed as usize % 6).collect();
    Example { source: words(seed), targets, ..Example::default() }
}

fn gradient<M: Learner>(model: &M, examples: &[Example], scale: f32) -> Vec<Tensor<1>> {
    let loss = Learner::loss(model, examples, scale, None, &Device::flex());
    let gradients = parameters::gradients(model, loss.backward());
    let zeros = |parameter: parameters::Parameter| Tensor::zeros([parameter.count()], &Device::flex());
    gradients.into_iter().zip(parameters::list(model)).map(|(g, p)| g.unwrap_or_else(|| zeros(p))).collect()
}

fn dot(a: &[Tensor<1>], b: &[Tensor<1>]) -> f64 {
    a.iter().zip(b).map(|(a, b)| update::dot(a.clone(), b.clone())).sum()
}

/// Trains a little, takes V of a held-out example, and compares ⟨∂ℓ, V⟩ of single sequences with the product that a backward
/// pass gives.
fn slopes_are_products<M: Learner>(mut model: M, example: fn(u32) -> Example, name: &str) {
    let device = Device::flex();
    let mut optimizer = Optimizer::new(CONSTANTS, &parameters::list(&model), &device);
    for step in 1..=6 {
        let examples: Vec<Example> = (0..4).map(|i| example(step as u32 * 4 + i)).collect();
        let total = gradient(&model, &examples, 0.02);
        model = optimizer.step(model, StepGradients { total, by_source: Vec::new() }, 1.0, 3e-3, step, None);
    }
    let held_out = gradient(&model, &[example(91), example(92)], 0.05);
    let along = optimizer.precondition(&held_out, 6);
    let from = parameters::values(&model);
    let direction = Direction { from: &from, change: &[], along: &along };
    let mut step = Direction::first_step(dot(&held_out, &along)).unwrap();
    let (first, valid) = (step, model.clone().valid());
    let examples: Vec<Example> = (4..12).map(example).collect();
    let groups: Vec<&[Example]> = examples.chunks(3).collect();
    let slopes: Vec<f64> = direction.slopes(&valid, &groups, 0.0, &mut step, &device).concat();
    let mut at = 0;
    let exact: Vec<f64> =
        examples.iter().map(|one| dot(&gradient(&model, std::slice::from_ref(one), 1.0), &along)).collect();
    let scale = (exact.iter().map(|value| value * value).sum::<f64>() / exact.len() as f64).sqrt();
    for (number, (one, exact)) in examples.iter().zip(&exact).enumerate() {
        let found: f64 = slopes[at..at + one.counted()].iter().sum();
        at += one.counted();
        assert!(
            (found - exact).abs() < 0.01 * exact.abs().max(0.1 * scale),
            "{name}, sequence {number}: {found}, exact {exact}, ε {step} from {first}"
        );
    }
    assert_eq!(at, slopes.len());
}

#[test]
fn differences_of_losses_equal_products_with_gradients() {
    let device = Device::flex().autodiff();
    let vocabulary = VOCABULARY as usize;
    let gpt = |device: &Device| Gpt::new(GptConfig::new(vocabulary, TIME, 16, 2, 2, 0.1), 3, device).unwrap();
    slopes_are_products(CausalModel::from(gpt(&device)), causal, "causal");
    let bert = MaskedBert::new(BertConfig::new(vocabulary, TIME, 16, 2, 2, 0.1), 3, &device).unwrap();
    slopes_are_products(bert, masked, "masked");
    let config = Seq2SeqConfig {
        // Padding takes no gradient where it is read, so what begins a target is another token here.
        pad_token_id: Some(0),
        decoder_start_token_id: 1,
        ..Seq2SeqConfig::new(vocabulary, TIME, 16, 1, 2, 0.1)
    };
    slopes_are_products(SourceToTarget::from(Seq2Seq::new(config, 3, &device).unwrap()), pair, "pairs");
    let lora = LoraConfig { rank: 2, alpha: 4.0, targets: vec!["all-linear".to_owned()] };
    let base = CausalModel::from(gpt(&Device::flex()));
    slopes_are_products(Adapted::new(base, "base", lora, 3, &device).unwrap(), causal, "adapters");
}

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

/// Short documents of two sources, each with its own words, several to a window.
fn recipe(folder: &Path, family: ModelFamily, kind: ObjectiveKind, steps: u64) -> Recipe {
    let mut recipe = Recipe::default();
    let mut state = 99_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, words, count) in [
        ("animals", ["cat", "dog", "bird", "runs", "sleeps", "the", "walks", "."], 260),
        ("colors", ["red", "green", "blue", "is", "a", "color", "of", "."], 240),
    ] {
        let mut sentence = || (0..5 + random(9)).map(|_| words[random(words.len())]).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = (0..count).map(|_| sentence() + "\n").collect();
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        std::fs::write(path("txt"), lines.concat()).unwrap();
        std::fs::write(path("upper"), lines.concat().to_uppercase()).unwrap();
        let mut source = SourceRecipe::new(name, vec![path("txt").display().to_string()]);
        source.split = Split::Line;
        if kind == ObjectiveKind::Pairs {
            source.target_path = vec![path("upper").display().to_string()];
        }
        recipe.data.sources.push(source);
    }
    let (kind_of_tokens, vocab) = match family {
        ModelFamily::Bert => (TokenizerKind::WordPiece, 60),
        _ => (TokenizerKind::Bpe, 440),
    };
    recipe.tokenizer = TokenizerRecipe::Train { kind: kind_of_tokens, vocab };
    recipe.model =
        ModelRecipe::New(ModelShape { family, width: 24, layers: 1, heads: 2, context: 32, dropout: 0.0, tied: true });
    recipe.objective.kind = Some(kind);
    recipe.train.length = Length::Steps(steps);
    recipe.train.batch_tokens = 256;
    recipe.train.micro_batch_tokens = Some(64);
    recipe.train.lr = 1e-3;
    recipe.train.warmup = 4.0;
    recipe.train.weight_decay = 0.0;
    recipe.train.eval_every = 1000;
    recipe.train.eval_tokens = 512;
    recipe.train.checkpoint_every = 7;
    recipe.baseline.enabled = false;
    recipe.ledger.refresh_every = 4;
    recipe.ledger.documents_rate = Some(1.0);
    recipe
}

fn train(recipe: &Recipe, folder: &Path) -> Outcome {
    start(recipe, folder, &session(&AtomicBool::new(false)), &mut ()).unwrap()
}

fn tables(folder: &Path) -> (Vec<DocumentValueRow>, Vec<DocumentSumRow>, Vec<LedgerRow>) {
    let run = Run::open(folder).unwrap();
    let values = table::read(&run.document_values(), u64::MAX).unwrap();
    (values, table::read(&run.document_sums(), u64::MAX).unwrap(), table::read(&run.ledger(), u64::MAX).unwrap())
}

/// One step, again and again without the targets of one document: the held-out loss must miss what the document is said to
/// have brought down. Windows hold several documents, so their targets are told apart.
#[test]
fn a_documents_value_is_what_a_step_without_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Gpt, ObjectiveKind::Causal, 1);
    recipe.data.sources.truncate(1);
    let stop = AtomicBool::new(false);
    let (prepared, data) = prepare_tokens(&recipe, &folder.path().join("data"), &session(&stop), &mut ()).unwrap();
    let portions = Portions { context: 32, sequences: 4, micro_batches: 1 };
    let mut feed = Feed::new(&prepared, Kind::Causal, &plan::objective(&recipe), &portions).unwrap();
    let batch = feed.next();
    let places = feed.target_places(&batch);
    let table = data.join("documents.parquet");
    let known = TrainingDocuments::read(&table, &prepared).unwrap();
    let documents: Vec<usize> = places.iter().map(|place| known.at(0, *place).unwrap().0).collect();
    // The tokens say where documents end, too: behind each end of text begins another.
    let told: Vec<u32> = batch.examples.iter().flat_map(|one| one.targets.iter().copied()).collect();
    let end = prepared.tokenizer().end_of_text().unwrap();
    for (at, pair) in documents.windows(2).enumerate().filter(|(at, _)| (at + 1) % 32 != 0) {
        assert_eq!(told[at] == end, pair[0] != pair[1], "target {at}");
    }

    let device = Device::flex();
    let vocabulary = prepared.tokenizer().vocabulary();
    let model = Gpt::new(GptConfig::new(vocabulary, 32, 24, 1, 2, 0.1), 3, &device.clone().autodiff()).unwrap();
    // So large an epsilon that the denominators are what they are, with and without a document.
    let constants = Constants { epsilon: 100.0, clip: 0.0, ..CONSTANTS };
    let rate = 0.3;
    let names = parameters::list(&model);
    let held_out: Vec<Example> = feed.held_out(&prepared, 0, Some(4));
    let step = |examples: &[Example], ledger: Option<&mut Ledger>| {
        let mut optimizer = Optimizer::new(constants, &names, &device);
        let total = gradient(&model, examples, 1.0 / batch.counted as f32);
        let gradients = StepGradients { by_source: vec![Some(total.clone())], total };
        let stepped = optimizer.step(model.clone(), gradients, 1.0, rate, 1, ledger);
        (stepped, optimizer)
    };
    let loss = |model: &Gpt| {
        let loss = batch::evaluate(model, &held_out, 128, &[], &device);
        loss.nats / loss.tokens as f64
    };
    let settings = Settings {
        sources: vec!["animals".to_owned()],
        heaviest: 0,
        credit: None,
        refresh_every: 1,
        growth: 0.25,
        sequences: held_out.len(),
        micro_batch_tokens: 128,
    };
    let domains = vec![Domain { name: "d".to_owned(), sequences: held_out.clone() }];
    let mut ledger = Ledger::new(settings, domains, &names, &device);
    let settings =
        DocumentSettings { sources: vec!["animals".to_owned()], domains: vec!["d".to_owned()], rate: 1.0, seed: 1 };
    let mut books = DocumentBooks::new(settings, TrainingDocuments::read(&table, &prepared).unwrap());
    let reached = Some(Reached { rate: f64::from(rate), lag: 0 });
    books.trained_on(0, 0, &batch.examples, &places, reached, 1.0 / batch.counted as f64);
    ledger.documents = Some(books);
    ledger.open(&model, 0, &device.clone().autodiff());
    let (stepped, optimizer) = step(&batch.examples, Some(&mut ledger));
    ledger.book(&stepped, &optimizer, 1, true, &device.clone().autodiff());
    let values = ledger.documents.as_ref().unwrap().values();
    assert!(values.len() > 8, "{} documents", values.len());
    let whole = loss(&stepped);
    let largest = values.iter().map(|value| value.value.abs()).fold(0.0, f64::max);
    for value in &values {
        let mut without = batch.examples.clone();
        let targets = without.iter_mut().flat_map(|one| &mut one.targets);
        for (target, document) in targets.zip(&documents) {
            if Some(*document) == value.document {
                *target = IGNORE;
            }
        }
        let missed = loss(&step(&without, None).0) - whole;
        assert_eq!(value.tokens_scored as usize, documents.iter().filter(|d| Some(**d) == value.document).count());
        assert!(
            (value.value - missed).abs() < 0.03 * missed.abs() + 0.01 * largest,
            "{:?}: value {}, missed {missed}",
            value.document,
            value.value
        );
    }
}

/// Where everything is scored, a source's documents sum to what is booked to it, and weights are those of a run without.
fn sums_are_booked(recipe: &Recipe, folder: &Path, within: f64) {
    let run = folder.join("run");
    let outcome = train(recipe, &run);
    let mut off = recipe.clone();
    off.ledger.documents = false;
    assert_eq!(train(&off, &folder.join("off")).weights_hash, outcome.weights_hash);
    assert!(!folder.join("off/document_values.parquet").exists());
    let (values, sums, ledger) = tables(&run);
    assert!(values.iter().all(|row| row.standard_error == 0.0 && row.tokens_scored == row.tokens_trained));
    assert!(values.iter().all(|row| !row.id.is_empty() && row.value == row.value_scored));
    let largest = sums.iter().map(|row| row.value.abs()).fold(0.0, f64::max);
    for sum in &sums {
        let of = |row: &&DocumentValueRow| row.source == sum.source && row.domain == sum.domain;
        let documents: f64 = values.iter().filter(of).map(|row| row.value).sum();
        assert!((documents - sum.value).abs() < 1e-9 * largest, "{documents} and {}", sum.value);
        assert_eq!(values.iter().filter(of).map(|row| row.tokens_scored).sum::<u64>(), sum.tokens_scored);
        let booked = ledger.iter().filter(|row| row.line == "source" && row.source == sum.source);
        let booked: f64 = booked.filter(|row| row.domain == sum.domain).map(|row| row.value).sum();
        assert!((booked - sum.value).abs() < within * largest, "{sum:?}: booked {booked}");
    }
}

#[test]
fn documents_sum_to_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Gpt, ObjectiveKind::Causal, 40);
    recipe.train.checkpoint_every = 1000;
    // Momentum moves the weights over some twenty steps, of which the books by document draw one.
    sums_are_booked(&recipe, &folder.path().join("sources"), 0.1);
    // Where a gradient's own step alone is credited, and every step is booked, the same sum is taken twice.
    recipe.ledger.momentum = loam_train::recipe::Momentum::History;
    recipe.ledger.refresh_every = 1;
    sums_are_booked(&recipe, &folder.path().join("history"), 0.005);
}

#[test]
fn so_they_do_of_every_kind() {
    for (family, kind, within) in [
        (ModelFamily::Bert, ObjectiveKind::Masked, 0.1),
        (ModelFamily::Seq2Seq, ObjectiveKind::Pairs, 0.1),
        (ModelFamily::T5, ObjectiveKind::Spans, 0.1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = recipe(folder.path(), family, kind, 20);
        recipe.ledger.momentum = loam_train::recipe::Momentum::History;
        recipe.ledger.refresh_every = 2;
        sums_are_booked(&recipe, folder.path(), within);
    }
}

#[test]
fn documents_are_told_apart_beside_next_sentences_and_under_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Bert, ObjectiveKind::Masked, 10);
    recipe.objective.next_sentence = true;
    train(&recipe, &folder.path().join("sentences"));
    let (values, ..) = tables(&folder.path().join("sentences"));
    assert!(values.len() > 20 && values.iter().all(|row| !row.id.is_empty() && row.value.is_finite()));

    let folder = tempfile::tempdir().unwrap();
    let mut recipe = self::recipe(folder.path(), ModelFamily::Gpt, ObjectiveKind::Causal, 10);
    train(&recipe, &folder.path().join("base"));
    recipe.model = ModelRecipe::From { from: folder.path().join("base/model"), context: None };
    recipe.lora.rank = Some(4);
    recipe.lora.targets = vec!["all-linear".to_owned()];
    recipe.train.length = Length::Steps(20);
    recipe.ledger.momentum = loam_train::recipe::Momentum::History;
    recipe.ledger.refresh_every = 1;
    sums_are_booked(&recipe, folder.path(), 0.05);
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

#[test]
fn a_resumed_run_books_what_an_uninterrupted_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Gpt, ObjectiveKind::Causal, 23);
    recipe.ledger.documents_rate = Some(0.3);
    if let ModelRecipe::New(shape) = &mut recipe.model {
        shape.dropout = 0.1;
    }
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    train(&recipe, &whole);
    let expected = tables(&whole);
    let stop = AtomicBool::new(false);
    start(&recipe, &cut, &session(&stop), &mut StopAt(9, &stop)).unwrap();
    // A kill: the tables are newer than the last checkpoint, that of step 7.
    let run = Run::open(&cut).unwrap();
    std::fs::remove_dir_all(checkpoint::folder(&run.checkpoints(), 9)).unwrap();
    resume(&cut, &session(&AtomicBool::new(false)), &mut ()).unwrap();
    assert_eq!(tables(&cut), expected);
    let (values, sums, _) = expected;
    let (scored, trained): (u64, u64) =
        (sums.iter().map(|row| row.tokens_scored).sum(), sums.iter().map(|row| row.tokens_trained).sum());
    let share = scored as f64 / trained as f64;
    assert!((0.15..0.45).contains(&share), "{share}");
    assert!(values.iter().any(|row| row.tokens_scored < row.tokens_trained));
    assert!(values.iter().all(|row| row.standard_error >= 0.0 && row.tokens_scored > 0));
    assert!(values.iter().all(|row| (row.value * 0.3 - row.value_scored).abs() < 1e-12));
}
