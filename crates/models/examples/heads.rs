//! Reads a model with a head, prints what it makes of token ids, and writes it anew: for benches/heads_parity.py.
//!
//! ```text
//! heads FOLDER OUT < {"ids":[[…]],"types":[[…]]|null,"lengths":[…]}
//! ```
//!
//! Out comes an object with lists of logits. An encoder without a head gets a new one of three labels.

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_models::bert::{Bert, Inputs, NextSentenceBert, PretrainingBert, SequenceBert, SpanBert, TokenBert};
use loam_models::{Classifier, Labels, Problem, SequenceClassifier};
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;

fn rows(value: &Value) -> Option<Tensor<2, Int>> {
    let rows = value.as_array()?;
    let ids = rows.iter().flat_map(|row| row.as_array().into_iter().flatten()).filter_map(Value::as_i64);
    let ids: Vec<i64> = ids.collect();
    let time = ids.len() / rows.len().max(1);
    Some(Tensor::from_data(TensorData::new(ids, [rows.len(), time]), &Device::flex()))
}

fn list<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = &arguments[..] else { return Err("heads FOLDER OUT < JSON".into()) };
    let (folder, out) = (Path::new(folder), Path::new(out));
    let asked: Value = serde_json::from_reader(std::io::stdin())?;
    let lengths = asked["lengths"].as_array().ok_or("no lengths")?.iter().filter_map(Value::as_u64);
    let inputs = Inputs {
        ids: rows(&asked["ids"]).ok_or("no ids")?,
        token_types: rows(&asked["types"]),
        lengths: Some(lengths.map(|length| length as usize).collect()),
    };
    let config: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("config.json"))?)?;
    let class = config["architectures"][0].as_str().unwrap_or_default();
    let device = Device::flex();
    let told = if class.ends_with("ForTokenClassification") {
        let model = TokenBert::load(folder, &device)?;
        model.save(out)?;
        json!({ "logits": list(model.logits(&inputs)) })
    } else if class.ends_with("ForQuestionAnswering") {
        let model = SpanBert::load(folder, &device)?;
        model.save(out)?;
        let (start, end) = model.logits(&inputs, None);
        json!({ "start_logits": list(start), "end_logits": list(end) })
    } else if class.ends_with("ForNextSentencePrediction") {
        let model = NextSentenceBert::load(folder, &device)?;
        model.save(out)?;
        json!({ "logits": list(model.logits(&inputs)) })
    } else if class.ends_with("ForPreTraining") {
        let model = PretrainingBert::load(folder, &device)?;
        model.save(out)?;
        let (words, next) = model.logits(&inputs);
        json!({ "prediction_logits": list(words), "seq_relationship_logits": list(next) })
    } else {
        let model: Classifier = if class.ends_with("Model") {
            let labels = Labels::new(["one", "two", "three"], Problem::SingleLabel)?;
            SequenceBert::new(Bert::load(folder, &device)?, labels, 3, &device).into()
        } else {
            Classifier::load(folder, &device)?
        };
        model.save(out)?;
        json!({ "logits": list(model.logits(&inputs, None)) })
    };
    println!("{told}");
    Ok(())
}
