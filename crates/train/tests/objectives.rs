//! Masked words, pairs and spans: whole runs, small, that learn, close their books and go on after a stop to the bit.

use burn::tensor::Device;
use loam_corpus::IGNORE;
use loam_models::bert::PretrainingBert;
use loam_models::{BertConfig, MaskedBert};
use loam_train::learner::Learner;
use loam_train::objective::{self, Example, NextSentence};
use loam_train::recipe::{
    Length, Masking, ModelFamily, ModelRecipe, ModelShape, ObjectiveKind, SourceRecipe, TokenizerKind, TokenizerRecipe,
};
use loam_train::record::{Event, LedgerRow, MetricRow};
use loam_train::{Observer, Recipe, Run, Session, StepProgress, checkpoint, resume, start, table};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn session(stop: &AtomicBool) -> Session<'_> {
    let device = Device::flex();
    Session {
        device,
        device_name: "cpu".into(),
        threads: 2,
        machine: "test".into(),
        memory_bytes: None,
        chat: None,
        stop,
    }
}

const WORDS: [&str; 12] =
    ["cat", "dog", "bird", "runs", "sleeps", "the", "red", "green", "walking", "walked", "quickly", "never"];

/// Sentences in which each word follows from the one before it, but for one in eight, and their words in capitals.
fn sentences(count: usize) -> Vec<(String, String)> {
    let mut state = 99_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut sentence = || {
        let mut word = random(WORDS.len());
        let mut words = vec![WORDS[word]];
        for _ in 0..6 + random(8) {
            word = if random(8) == 0 { random(WORDS.len()) } else { (word * 5 + 3) % WORDS.len() };
            words.push(WORDS[word]);
        }
        let target: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
        (words.join(" "), target.join(" "))
    };
    (0..count).map(|_| sentence()).collect()
}

fn recipe(folder: &Path, family: ModelFamily, kind: ObjectiveKind, steps: u64) -> Recipe {
    let mut recipe = Recipe::default();
    let path = |name: &str| folder.join(name).display().to_string();
    let sentences = sentences(600);
    let (one, other) = sentences.split_at(400);
    for (name, part) in [("one", one), ("other", other)] {
        let lines =
            |side: fn(&(String, String)) -> &String| part.iter().map(|pair| side(pair).clone() + "\n").collect();
        let text: String = lines(|pair| &pair.0);
        let targets: String = lines(|pair| &pair.1);
        std::fs::write(folder.join(format!("{name}.txt")), text).unwrap();
        std::fs::write(folder.join(format!("{name}.upper")), targets).unwrap();
        let mut source = SourceRecipe::new(name, vec![path(&format!("{name}.txt"))]);
        source.split = loam_train::recipe::Split::Line;
        if kind == ObjectiveKind::Pairs {
            source.target_path = vec![path(&format!("{name}.upper"))];
        }
        recipe.data.sources.push(source);
    }
    let (kind_of_tokens, vocab) = match family {
        ModelFamily::Bert => (TokenizerKind::WordPiece, 80),
        _ => (TokenizerKind::Bpe, 440),
    };
    recipe.tokenizer = TokenizerRecipe::Train { kind: kind_of_tokens, vocab };
    let context = if kind == ObjectiveKind::Pairs { 64 } else { 32 };
    recipe.model =
        ModelRecipe::New(ModelShape { family, width: 32, layers: 2, heads: 2, context, dropout: 0.0, tied: true });
    recipe.objective.kind = Some(kind);
    recipe.train.length = Length::Steps(steps);
    recipe.train.batch_tokens = 512;
    recipe.train.micro_batch_tokens = Some(256);
    recipe.train.lr = 3e-3;
    recipe.train.eval_every = 50;
    recipe.train.checkpoint_every = 1000;
    recipe.ledger.refresh_every = 5;
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

fn learns(family: ModelFamily, kind: ObjectiveKind, steps: u64, below: f64) {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), family, kind, steps);
    learns_what_is_asked(&recipe, kind, folder.path(), below);
}

fn learns_what_is_asked(recipe: &Recipe, kind: ObjectiveKind, folder: &Path, below: f64) {
    let run = folder.join("run");
    let outcome = start(recipe, &run, &session(&AtomicBool::new(false)), &mut ()).unwrap();
    let events = Run::open(&run).unwrap().read_events().unwrap();
    let ledger: Vec<LedgerRow> = table::read(&Run::open(&run).unwrap().ledger(), u64::MAX).unwrap();
    for (domain, loss) in &outcome.held_out {
        let baseline = events.iter().filter_map(|line| match &line.event {
            Event::Baseline { domain: of, loss, .. } if of == domain => Some(*loss),
            _ => None,
        });
        let baselines: Vec<f64> = baseline.collect();
        // What a masked word's left neighbors are is worth something to a model that sees through masks.
        let names = if kind == ObjectiveKind::Masked { 5 } else { 3 };
        assert_eq!(baselines.len(), names);
        assert!(
            kind != ObjectiveKind::Masked || baselines[1] <= baselines[3] && baselines[2] < baselines[4],
            "{baselines:?}"
        );
        let loss = loss.per_token();
        assert!(loss < below && loss < baselines[0], "{domain}: {loss}, baselines {baselines:?}");
        let sum = |measured: bool| -> f64 {
            let rows = ledger.iter().filter(|row| row.domain == *domain && (row.line == "measured") == measured);
            rows.map(|row| row.value).sum()
        };
        let (booked, measured) = (sum(false), sum(true));
        assert!((booked - measured).abs() < 0.08 * measured.abs(), "{domain}: booked {booked}, measured {measured}");
    }
    assert!(events.iter().any(|line| matches!(&line.event, Event::Plan { objective, .. } if objective == kind.name())));
    assert!(run.join("model/model.safetensors").exists());
}

#[test]
fn masked_words_are_learned() {
    learns(ModelFamily::Bert, ObjectiveKind::Masked, 300, 2.3);
}

/// Documents of sentences about one of a few things each: what the next sentence may be about, the first one says.
fn next_sentences(folder: &Path, steps: u64) -> Recipe {
    let mut recipe = recipe(folder, ModelFamily::Bert, ObjectiveKind::Masked, steps);
    recipe.objective.next_sentence = true;
    recipe.tokenizer = TokenizerRecipe::Train { kind: TokenizerKind::WordPiece, vocab: 160 };
    let mut sentences = sentences(1800).into_iter().map(|(text, _)| text);
    for (name, documents) in [("one", 220), ("other", 140), ("held", 80)] {
        let about = ["apple", "stone", "river", "music", "winter", "engine"];
        let document = |number: usize| {
            let thing = about[number % about.len()];
            let sentences = sentences.by_ref().take(4).map(|text| {
                let (first, rest) = text.split_once(' ').unwrap();
                format!("{first} {thing} {} {thing} .", rest.split(' ').take(3).collect::<Vec<_>>().join(" "))
            });
            sentences.collect::<Vec<_>>().join(" ") + "\n"
        };
        let all: Vec<String> = (0..documents).map(document).collect();
        std::fs::write(folder.join(format!("{name}.txt")), all.concat()).unwrap();
        let records = all.iter().map(|text| format!("{{\"text\": \"{}\"}}\n", text.trim()));
        std::fs::write(folder.join(format!("{name}.jsonl")), records.collect::<String>()).unwrap();
    }
    recipe.data.held_out.insert("held".to_owned(), vec![folder.join("held.jsonl").display().to_string()]);
    recipe
}

#[test]
fn next_sentences_are_learned_beside_masked_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = next_sentences(folder.path(), 300);
    recipe.train.eval_every = 300;
    learns_what_is_asked(&recipe, ObjectiveKind::Masked, folder.path(), 2.3);
    let run = Run::open(&folder.path().join("run")).unwrap();
    let metrics: Vec<MetricRow> = table::read(&run.metrics(), u64::MAX).unwrap();
    let last = |metric: &str| {
        let found = metrics.iter().filter(|row| row.metric == metric && row.step == 300);
        found.map(|row| row.value).collect::<Vec<_>>()
    };
    // Five in six of the other documents are of another thing.
    assert_eq!(last("next_sentence_accuracy").len(), 1);
    assert!(last("next_sentence_accuracy").iter().all(|share| *share > 0.7), "{:?}", last("next_sentence_accuracy"));
    assert!(last("next_sentence_loss").iter().all(|loss| *loss < 0.6), "{:?}", last("next_sentence_loss"));
    let config = std::fs::read_to_string(folder.path().join("run/model/config.json")).unwrap();
    assert!(config.contains("BertForPreTraining"), "{config}");
    let card = std::fs::read_to_string(folder.path().join("run/model/README.md")).unwrap();
    assert!(card.contains("AutoModelForPreTraining") && card.contains("told rightly"), "{card}");
}

#[test]
fn next_sentences_go_on_to_the_bit() {
    for masking in Masking::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = next_sentences(folder.path(), 20);
        recipe.objective.masking = *masking;
        goes_on(&recipe, folder.path());
    }
}

#[test]
fn next_sentences_need_other_documents() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = next_sentences(folder.path(), 5);
    let refused = |recipe: &Recipe, words: &str| {
        let run = tempfile::tempdir().unwrap();
        let error = start(recipe, &run.path().join("run"), &session(&AtomicBool::new(false)), &mut ()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    recipe.data.sources[1].split = loam_train::recipe::Split::File;
    refused(&recipe, "source \"other\" has 1");
    let mut recipe = next_sentences(folder.path(), 5);
    if let ModelRecipe::New(shape) = &mut recipe.model {
        shape.context = 4;
    }
    refused(&recipe, "no room for two sentences");
}

#[test]
fn small_batches_of_sentences_equal_a_large_one() {
    let config = BertConfig::new(20, 12, 16, 1, 2, 0.0);
    let device = Device::flex();
    let model = PretrainingBert::new(MaskedBert::new(config, 3, &device).unwrap(), 3, &device).unwrap();
    let example = |number: u32| {
        let length = 6 + number % 5;
        let told = |at: u32| if (at + number).is_multiple_of(3) { at % 20 } else { IGNORE };
        Example {
            inputs: (0..length).map(|at| (at * 7 + number) % 20).collect(),
            targets: (0..length).map(told).collect(),
            next_sentence: Some(NextSentence { second: 3, follows: number.is_multiple_of(2), weight: 0.0 }),
            ..Example::default()
        }
    };
    let mut examples: Vec<Example> = (0..7).map(example).collect();
    objective::balance(&mut examples);
    let counted: usize = examples.iter().map(Example::counted).sum();
    let loss = |examples: &[Example]| -> f64 {
        let loss = Learner::loss(&model, examples, 1.0 / counted as f32, None, &device);
        f64::from(loss.into_scalar::<f32>())
    };
    let (whole, parts) = (loss(&examples), loss(&examples[..2]) + loss(&examples[2..3]) + loss(&examples[3..]));
    assert!((whole - parts).abs() < 1e-5, "{whole} and {parts}");
    // The sum of both means.
    let (losses, next) = model.measure(&examples, &device);
    let next = next.unwrap();
    let words: f64 = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / counted as f64;
    assert_eq!((losses.len(), next.pairs), (counted, 7));
    assert!((whole - words - next.loss()).abs() < 1e-5, "{whole}, {words} and {}", next.loss());
}

#[test]
fn pairs_are_learned() {
    learns(ModelFamily::Seq2Seq, ObjectiveKind::Pairs, 250, 1.3);
}

#[test]
fn pairs_are_learned_by_t5() {
    learns(ModelFamily::T5, ObjectiveKind::Pairs, 250, 1.3);
}

#[test]
fn spans_are_learned_by_t5() {
    learns(ModelFamily::T5, ObjectiveKind::Spans, 250, 2.3);
}

#[test]
fn spans_are_learned() {
    learns(ModelFamily::Seq2Seq, ObjectiveKind::Spans, 250, 2.3);
}

#[test]
fn a_decoder_learns_the_targets_of_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Seq2Seq, ObjectiveKind::Pairs, 150);
    recipe.objective.kind = Some(ObjectiveKind::Causal);
    recipe.model =
        ModelRecipe::New(ModelShape { width: 32, layers: 2, heads: 2, context: 128, ..ModelShape::default() });
    let outcome = start(&recipe, &folder.path().join("run"), &session(&AtomicBool::new(false)), &mut ()).unwrap();
    assert!(outcome.held_out.iter().all(|(_, loss)| loss.per_token() < 2.0), "{:?}", outcome.held_out);
}

/// Stopped after 9 steps of 20, and gone on with.
fn goes_on(recipe: &Recipe, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let mut recipe = recipe.clone();
    recipe.train.length = Length::Steps(20);
    recipe.train.checkpoint_every = 8;
    if let ModelRecipe::New(shape) = &mut recipe.model {
        shape.dropout = 0.1;
    }
    let stop = AtomicBool::new(false);
    let whole = start(&recipe, &folder.join("whole"), &session(&stop), &mut ()).unwrap();
    let cut = folder.join("cut");
    let outcome = start(&recipe, &cut, &session(&stop), &mut StopAt(13, &stop)).unwrap();
    assert_eq!((outcome.reason.as_str(), outcome.step), ("interrupted", 13));
    std::fs::remove_dir_all(checkpoint::folder(&Run::open(&cut).unwrap().checkpoints(), 13)).unwrap();
    let resumed = resume(&cut, &session(&AtomicBool::new(false)), &mut ()).unwrap();
    assert_eq!(resumed.weights_hash, whole.weights_hash);
    assert_eq!(resumed.held_out, whole.held_out);
}

#[test]
fn what_was_stopped_goes_on_to_the_bit() {
    for masking in Masking::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = recipe(folder.path(), ModelFamily::Bert, ObjectiveKind::Masked, 20);
        recipe.objective.masking = *masking;
        recipe.objective.whole_words = true;
        goes_on(&recipe, folder.path());
    }
    let families = [
        (ModelFamily::Seq2Seq, ObjectiveKind::Pairs),
        (ModelFamily::Seq2Seq, ObjectiveKind::Spans),
        (ModelFamily::T5, ObjectiveKind::Spans),
    ];
    for (family, kind) in families {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = recipe(folder.path(), family, kind, 20);
        recipe.objective.label_smoothing = 0.1;
        goes_on(&recipe, folder.path());
    }
}

#[test]
fn what_does_not_go_together_is_said() {
    let source = "[[data.source]]\nname = \"a\"\npath = \"a\"\n";
    let with = |more: &str| format!("{source}{more}").parse::<Recipe>().unwrap_err().to_string();
    for (more, expected) in [
        ("[model]\nfamily = \"bert\"", "tokenizer.kind = \"wordpiece\" has one, \"bpe\" has none"),
        ("[objective]\nkind = \"masked\"", "not for model.family = \"gpt\", but for bert"),
        ("[model]\nfamily = \"seq2seq\"", "pairs are learned from sources of pairs"),
        ("target_field = \"b\"", "name both input_field and target_field"),
        ("target_path = \"b\"\ninput_field = \"x\"\ntarget_field = \"y\"", "keep one"),
        ("target_path = \"b\"\n[model]\nfamily = \"seq2seq\"\n[data.held_out]\nv = \"v\"", "has no targets"),
        ("[data.held_out_target]\nv = \"v\"", "has targets and no inputs"),
        ("target_path = \"b\"\n[[data.source]]\nname = \"t\"\npath = \"t\"", "is of text and others are of pairs"),
        ("[objective]\nnext_sentence = true", "goes with objective.kind = \"masked\", not with \"causal\""),
        ("[objective]\nmask = 0.0", "must be above 0 and below 1"),
        ("[objective]\nspan = 0.5", "at least 1 token"),
        ("[objective]\nkind = \"mlm\"", "expected one of \"causal\", \"masked\", \"pairs\", \"spans\""),
    ] {
        let message = with(more);
        assert!(message.contains(expected), "{more}\n{message}");
    }
}

#[test]
fn adapters_are_trained_and_the_base_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), ModelFamily::Gpt, ObjectiveKind::Causal, 40);
    let stop = AtomicBool::new(false);
    start(&recipe, &folder.path().join("base"), &session(&stop), &mut ()).unwrap();
    let base = folder.path().join("base/model");
    let before = std::fs::read(base.join("model.safetensors")).unwrap();
    recipe.model = ModelRecipe::From { from: base.clone(), context: Some(24) };
    recipe.lora.rank = Some(4);
    recipe.lora.targets = vec!["all-linear".to_owned()];
    recipe.train.lr = 1e-2;
    recipe.train.length = Length::Steps(60);
    let run = folder.path().join("adapted");
    let outcome = start(&recipe, &run, &session(&stop), &mut ()).unwrap();
    let events = Run::open(&run).unwrap().read_events().unwrap();
    let first = |domain: &str| {
        events.iter().find_map(|line| match &line.event {
            Event::Evaluation { step: 0, domain: of, loss, .. } if of == domain => Some(*loss),
            _ => None,
        })
    };
    for (domain, loss) in &outcome.held_out {
        let first = first(domain).unwrap();
        assert!(loss.per_token() < first, "{domain}: {} from {first}", loss.per_token());
    }
    let shape = events.iter().find_map(|line| match line.event {
        Event::Model { parameters, frozen_parameters, context, .. } => Some((parameters, frozen_parameters, context)),
        _ => None,
    });
    // Two layers of 32 to 96, 32 to 32, 32 to 128 and 128 to 32.
    let adapters = 2 * 4 * (128 + 64 + 160 + 160);
    assert_eq!(shape.map(|(trained, _, context)| (trained, context)), Some((adapters, 24)));
    assert!(shape.unwrap().1 > 20_000);
    assert_eq!(std::fs::read(base.join("model.safetensors")).unwrap(), before);
    assert!(run.join("model/adapter_model.safetensors").exists() && !run.join("model/model.safetensors").exists());
    goes_on(&recipe, &folder.path().join("again"));
}
