//! Models as measures of documents: what a pipeline keeps by them is what they say on their own.

use burn::tensor::Device;
use loam_corpus::pipeline::{
    PipelinePlan, PipelineSource, ScoreMeasure, ScorePlan, StepPlan, run_pipeline, run_pipeline_with,
};
use loam_corpus::{Framing, Tokenizer, TokenizerKind, find_documents, train_tokenizer};
use loam_models::{Gpt, GptConfig, Labels, Problem, SequenceClassifier, TextCnn, TextCnnConfig};
use loam_tasks::{LoadedModel, TextClassifier, open_scorer};
use std::path::{Path, PathBuf};

const TEXTS: [&str; 6] = [
    "the old house stood at the end of the lane",
    "nobody had lived in it for many years and more",
    "when the wind blew from the west you could hear the shutters",
    "we used to walk there in the summer with the dog",
    "his books were still on the shelves of the old house",
    "the dog and the wind and the house and the lane",
];

fn device() -> Device {
    loam_nn::device::parse("cpu").expect("there is always a processor")
}

fn tokenizer(kind: TokenizerKind, vocabulary: usize) -> Tokenizer {
    let texts = TEXTS.iter().map(|text| Ok((*text).to_owned()));
    train_tokenizer(kind, vocabulary, Framing::Plain, texts, &mut |_, _| {}).unwrap()
}

fn language_model(folder: &Path) -> PathBuf {
    let tokenizer = tokenizer(TokenizerKind::Bpe, 280);
    let config = GptConfig::new(tokenizer.vocabulary(), 16, 16, 1, 2, 0.0);
    let model = Gpt::new(config, 3, &device()).unwrap();
    let folder = folder.join("gpt");
    std::fs::create_dir(&folder).unwrap();
    loam_models::LanguageModel::save(&model, &folder, tokenizer.end_of_text()).unwrap();
    tokenizer.save(&folder).unwrap();
    folder
}

fn classifier(folder: &Path) -> PathBuf {
    let tokenizer = tokenizer(TokenizerKind::Word, 50);
    let labels = Labels::new(["plain", "fine"], Problem::SingleLabel).unwrap();
    let config = TextCnnConfig::new(tokenizer.vocabulary(), 32, 8);
    let model = TextCnn::new(config, labels, 5, &device()).unwrap();
    let folder = folder.join("classifier");
    std::fs::create_dir(&folder).unwrap();
    model.save(&folder).unwrap();
    tokenizer.save(&folder).unwrap();
    folder
}

fn score(model: &Path, measure: &str) -> ScorePlan {
    let measure: ScoreMeasure = measure.parse().unwrap();
    ScorePlan { model: model.to_path_buf(), measure, name: None, least: None, most: None, tokens: None }
}

fn corpus(folder: &Path) -> PipelineSource {
    let path = folder.join("texts.txt");
    std::fs::write(&path, TEXTS.join("\n")).unwrap();
    let mut source = PipelineSource::new("texts", vec![path.to_str().unwrap().to_owned()]);
    "line".clone_into(&mut source.split);
    source
}

#[test]
fn documents_stay_by_what_models_say() {
    let folder = tempfile::tempdir().unwrap();
    let (gpt, cnn) = (language_model(folder.path()), classifier(folder.path()));
    let model = LoadedModel::open(&gpt, &device()).unwrap();
    let perplexity = |text: &str| model.score(text).unwrap().loss.unwrap().exp();
    let mut sorted: Vec<f64> = TEXTS.iter().map(|text| perplexity(text)).collect();
    sorted.sort_by(f64::total_cmp);
    let most = f64::midpoint(sorted[3], sorted[4]);

    let mut by_perplexity = score(&gpt, "perplexity");
    by_perplexity.most = Some(most);
    let mut short = score(&gpt, "bits_per_byte");
    short.tokens = Some(5);
    short.name = Some("opening".to_owned());
    let steps =
        vec![StepPlan::Score(score(&cnn, "label:fine")), StepPlan::Score(short), StepPlan::Score(by_perplexity)];
    let plan = PipelinePlan::new(vec![corpus(folder.path())], steps);
    let out = folder.path().join("out");
    let opened = |plan: &ScorePlan| open_scorer(plan, &device());
    let summary = run_pipeline_with(&plan, &out, &opened, &mut |_| {}).unwrap();
    assert_eq!((summary.sources["texts"].kept, summary.sources["texts"].dropped["perplexity"].documents), (4, 2));

    let classifier = TextClassifier::open(&cnn, &device()).unwrap();
    let rows = find_documents(&out.join("documents.parquet"), "", 10).unwrap();
    for (text, row) in TEXTS.iter().zip(&rows) {
        let scores: serde_json::Value = serde_json::from_str(row["scores"].as_str().unwrap()).unwrap();
        let near = |name: &str, value: f64| {
            let found = scores[name].as_f64().unwrap();
            assert!((found / value - 1.0).abs() < 1e-4, "{name} of {text}: {found} and {value}");
        };
        near("perplexity", perplexity(text));
        near("opening", model.score_beginning(text, 5).unwrap().bits_per_byte.unwrap());
        let fine = classifier.scores(&[text], 1024)[0].clone();
        assert!((fine.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        near("fine", f64::from(fine[1]));
        assert_eq!(row.contains_key("rule"), perplexity(text) > most);
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let cnn = classifier(folder.path());
    let refused = |score: ScorePlan, words: &[&str]| {
        let plan = PipelinePlan::new(vec![corpus(folder.path())], vec![StepPlan::Score(score)]);
        let opened = |plan: &ScorePlan| open_scorer(plan, &device());
        let error = run_pipeline_with(&plan, &folder.path().join("out"), &opened, &mut |_| {}).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(score(&cnn, "label:good"), &["no label \"good\"", "plain, fine"]);
    refused(score(&cnn, "perplexity"), &["classifier"]);
    refused(score(Path::new("nowhere"), "perplexity"), &["nowhere", "hint"]);
    let plan = PipelinePlan::new(vec![corpus(folder.path())], vec![StepPlan::Score(score(&cnn, "label:fine"))]);
    let error = run_pipeline(&plan, &folder.path().join("out"), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("needs models"), "{error}");
}
