//! `loam fill-mask`, as users meet it, on a model that `loam train` made; and classifiers through inspect, export and import.

mod support;

use loam_models::bert::{Bert, BertConfig, SequenceBert};
use loam_models::lstm::{Cell, RecurrentConfig};
use loam_models::recurrent_classifier::Pooling;
use loam_models::{Classifier, Labels, Problem, RecurrentClassifier, SequenceClassifier, TextCnn, TextCnnConfig};
use loam_nn::burn::tensor::Device;
use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{given, objects, refused, run, text};

/// A BERT of a few steps over masked words and next sentences, in `run/`.
fn trained(folder: &Path) {
    let line = |i: usize| format!("Ann has {i} apples. Ben has {}. Both count them.\n", i / 2);
    let lines: String = (0..300).map(line).collect();
    fs::write(folder.join("apples.txt"), lines).unwrap();
    let recipe = "[[data.source]]\nname = \"apples\"\npath = \"apples.txt\"\nsplit = \"line\"\n[tokenizer]\n\
                  kind = \"wordpiece\"\nvocab = 120\n[model]\nfamily = \"bert\"\nwidth = 32\nlayers = 1\nheads = 2\n\
                  context = 32\n[objective]\nnext_sentence = true\n[train]\nsteps = 8\nbatch_tokens = 256\n[ledger]\n\
                  enabled = false\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let output = run(folder, &["train", "recipe.toml", "-o", "run", "--quiet"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn masks_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    let config: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("run/model/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "BertForPreTraining");
    let told = objects(&run(folder, &["fill-mask", "-m", "run", "Ann has [MASK] apples.", "--json", "--top-k", "3"]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["text"], "Ann has [MASK] apples.");
    let mask = &told[0]["masks"][0];
    assert_eq!(mask["position"].as_u64(), Some(3));
    let candidates = mask["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 3);
    let mut keys: Vec<&String> = candidates[0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["id", "probability", "text", "token"]);
    let probability = |place: usize| candidates[place]["probability"].as_f64().unwrap();
    assert!(probability(0) >= probability(1) && probability(1) >= probability(2) && probability(0) < 1.0);
    assert!(candidates[0]["text"].as_str().unwrap().starts_with("Ann has"), "{candidates:?}");
    // In words: the text, and a line a candidate.
    let output = run(folder, &["fill-mask", "-m", "run", "Ann has [MASK] apples."]);
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), lines[0].as_str()), (6, "Ann has [MASK] apples."));
    assert!(lines[1].contains(" %  ") && lines[1].contains("Ann has"), "{lines:?}");
    // Several masks, from a file and from standard input.
    fs::write(folder.join("two.txt"), "[MASK] has [MASK].\n\nBen [MASK].\n").unwrap();
    let told = objects(&run(folder, &["fill-mask", "-m", "run", "--file", "two.txt", "--json"]));
    assert_eq!(told.iter().map(|one| one["masks"].as_array().unwrap().len()).collect::<Vec<_>>(), [2, 1]);
    let first = told[0]["masks"][0]["candidates"][0]["text"].as_str().unwrap();
    assert!(first.starts_with("[CLS]") && first.contains("[MASK]"), "{first}");
    let piped = given(folder, &["fill-mask", "-m", "run", "--json"], b"[MASK] has [MASK].\nBen [MASK].\n");
    assert_eq!(objects(&piped), told);
}

#[test]
fn what_cannot_be_told_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    let fill = |arguments: &[&str]| run(folder, &[&["fill-mask", "-m", "run"], arguments].concat());
    refused(&fill(&["Ann has apples."]), 1, &["has no mask", "[MASK]"]);
    let long = format!("[MASK] {}", "apples ".repeat(60));
    refused(&fill(&[&long]), 1, &["tokens", "the model sees 32 at most"]);
    refused(&fill(&["[MASK]", "--top-k", "0"]), 2, &["--top-k"]);
    refused(&fill(&["[MASK]", "--file", "apples.txt"]), 2, &["--file"]);
    refused(&fill(&[]), 2, &["no text"]);
    refused(&fill(&["--file", "nothing.txt"]), 1, &["nothing.txt"]);
    refused(&run(folder, &["fill-mask", "-m", "nowhere", "[MASK]"]), 1, &["nowhere"]);
    let config = folder.join("run/model/config.json");
    let other = fs::read_to_string(&config).unwrap().replace("\"model_type\": \"bert\"", "\"model_type\": \"gpt2\"");
    fs::write(&config, other).unwrap();
    refused(&fill(&["[MASK]"]), 1, &["gpt2", "bert"]);
    let help = run(folder, &["fill-mask", "--help"]);
    assert!(text(&help.stdout).contains("Examples:"));
}

#[test]
fn classifiers_go_through_inspect_export_and_import() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let device = Device::flex();
    let labels = || Labels::new(["bad", "good"], Problem::SingleLabel).unwrap();
    let encoder = Bert::new(BertConfig::new(30, 16, 8, 1, 2, 0.0), 1, &device).unwrap();
    let network = RecurrentConfig::new(Cell::Gru, 30, 16, 8, 1, 0.0);
    let all: [(&str, &str, Classifier); 3] = [
        ("bert", "classifier", SequenceBert::new(encoder, labels(), 1, &device).into()),
        (
            "textcnn",
            "convolutions.*",
            TextCnn::new(TextCnnConfig::new(30, 16, 8), labels(), 1, &device).unwrap().into(),
        ),
        ("gru", "rnn", RecurrentClassifier::new(network, Pooling::Max, labels(), 1, &device).unwrap().into()),
    ];
    for (family, module, model) in all {
        model.save(&folder.join(family)).unwrap();
        let told = &objects(&run(folder, &["inspect", family, "--json"]))[0];
        assert_eq!((told["family"].as_str(), told["vocabulary"].as_u64()), (Some(family), Some(30)));
        assert_eq!(told["context"].as_u64(), Some(16));
        assert!(told["architectures"][0].as_str().unwrap().ends_with("ForSequenceClassification"));
        let modules = told["modules"].as_array().unwrap();
        assert!(modules.iter().any(|line| line["module"] == module), "{modules:?}");
        let (exported, imported) = (format!("{family}-out"), format!("{family}-in"));
        let output = run(folder, &["export", family, "-o", &exported, "--dtype", "f32"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let card = fs::read_to_string(folder.join(&exported).join("README.md")).unwrap();
        assert!(card.contains("pipeline_tag: text-classification"), "{card}");
        let output = run(folder, &["import", &exported, "-o", &imported]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let again = Classifier::load(&folder.join(imported), &device).unwrap();
        assert_eq!(again.labels(), model.labels());
        assert_eq!(again.context(), model.context());
    }
}
