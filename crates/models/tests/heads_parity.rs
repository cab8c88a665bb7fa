//! The heads of BERT's families, convolutions over words and recurrent classifiers against transformers and PyTorch: logits,
//! losses and every parameter's gradient. `fixtures/heads.py` writes what they are compared with.

#[path = "support/case.rs"]
mod case;
mod support;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use case::{Case, floats};
use loam_models::bert::{NextSentenceBert, PretrainingBert, SpanBert, TokenBert};
use loam_models::classifier::Targets;
use loam_models::{Classifier, Problem, SequenceClassifier};
use serde_json::json;

fn case(name: &str) -> Case {
    Case::new(include_str!("fixtures/heads.json"), name)
}

fn device() -> Device {
    Device::flex().autodiff()
}

#[test]
fn texts_are_labeled() {
    for name in [
        "bert choice",
        "bert several",
        "bert number",
        "roberta choice",
        "roberta several",
        "distilbert choice",
        "distilbert several",
        "distilbert numbers",
        "xlm-roberta choice",
        "textcnn",
        "rnn last",
        "lstm both ways last",
        "gru both ways max",
        "lstm mean",
        "rnn both ways mean",
        "gru max",
    ] {
        let case = case(name);
        let model = Classifier::load(case.folder(), &device()).unwrap();
        case.compare("logits", model.logits(&case.inputs(), None), None);
        let targets = if model.labels().problem() == Problem::SingleLabel {
            Targets::Labels(case.row("targets"))
        } else {
            let values = floats(&case.value["targets"]);
            let shape = [3, values.len() / 3];
            Targets::Values(Tensor::from_data(TensorData::new(values, shape), &Device::flex()))
        };
        let loss = model.loss(&case.inputs(), &targets, 1.0 / 3.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
        let count = model.labels().len();
        assert_eq!(json!(model.labels().names()[count - 1]), case.value["config"]["id2label"][(count - 1).to_string()]);
    }
}

#[test]
fn tokens_are_labeled() {
    for name in ["bert tokens", "roberta tokens", "distilbert tokens", "camembert tokens"] {
        let case = case(name);
        let model = TokenBert::load(case.folder(), &device()).unwrap();
        case.compare("logits", model.logits(&case.inputs()), Some(&case.lengths()));
        // Of 15 tokens one does not count.
        let loss = model.loss(&case.inputs(), case.row("targets"), 1.0 / 14.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
    }
}

#[test]
fn spans_are_found() {
    for name in ["bert spans", "roberta spans", "distilbert spans"] {
        let case = case(name);
        let model = SpanBert::load(case.folder(), &device()).unwrap();
        let (start, end) = model.logits(&case.inputs(), None);
        case.compare("start logits", start, Some(&case.lengths()));
        case.compare("end logits", end, Some(&case.lengths()));
        let loss = model.loss(&case.inputs(), case.row("starts"), case.row("ends"), 1.0 / 3.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
    }
}

#[test]
fn next_sentences_are_told() {
    let case = case("next sentence");
    let model = NextSentenceBert::load(case.folder(), &device()).unwrap();
    case.compare("logits", model.logits(&case.inputs()), None);
    let loss = model.loss(&case.inputs(), case.row("follows"), 1.0 / 3.0, None);
    case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
}

#[test]
fn masked_words_and_next_sentences_are_told_of_one_pass() {
    let case = case("pretraining");
    let model = PretrainingBert::load(case.folder(), &device()).unwrap();
    let (words, next) = model.logits(&case.inputs());
    case.compare("logits", words, Some(&case.lengths()));
    case.compare("next logits", next.clone(), None);
    let words = || (case.row("places"), case.row("targets"));
    let loss = model.loss(&case.inputs(), words(), case.row("follows"), (1.0 / 5.0, 1.0 / 3.0), None);
    case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
    // Measured, they are what they are trained on.
    let (grades, measured) = model.valid().token_grades(&case.inputs(), words());
    let losses = grades.losses;
    support::near("next sentences", &support::host(measured), &support::host(next), 1e-6);
    assert_eq!(losses.dims(), [5]);
}
