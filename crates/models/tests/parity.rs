//! Every family against transformers and PyTorch: outputs, loss, and every parameter's gradient, on tiny models whose
//! weights follow from a formula. `fixtures/families.py` writes what they are compared with, and the names that files
//! have there.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_models::bert::{Bert, Inputs, MaskedBert};
use loam_models::generate::{GenerateOptions, generate, row};
use loam_models::lstm::{Recurrent, RecurrentEncoder};
use loam_models::sampling::SamplingOptions;
use loam_models::seq2seq::{Seq2Seq, Source};
use loam_models::weights::{Tensors, write_json, write_tensors};
use loam_models::{Adaptable, Adapted, Cache, CausalModel, LanguageModel, LoraConfig};
use loam_nn::initialize::mix;
use loam_nn::{head, parameters};
use serde_json::{Map, Value};
use std::path::Path;
use support::{host, integers, loss_and_gradients, near};

/// Numbers from -1 to 1 that follow from a name.
fn formula(name: &str, count: usize) -> Vec<f32> {
    // FNV-1a.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (1..=count as u64).map(|i| (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

struct Case {
    name: &'static str,
    value: Value,
    folder: tempfile::TempDir,
}

impl Case {
    /// A case's model as transformers would have saved it.
    fn new(name: &'static str) -> Self {
        let mut all: Value = serde_json::from_str(include_str!("fixtures/families.json")).unwrap();
        let value = all[name].take();
        let folder = tempfile::tempdir().unwrap();
        write_json(&folder.path().join("config.json"), &value["config"]).unwrap();
        let tensors: Vec<_> = object(&value["tensors"])
            .iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> = list(shape).into_iter().map(|size| size as usize).collect();
                let scale = name.ends_with(".weight") && name.to_lowercase().contains("norm");
                let offset = f32::from(u8::from(scale));
                let values = formula(name, shape.iter().product()).into_iter().map(|x| x * 0.5 + offset).collect();
                (name.clone(), shape, values)
            })
            .collect();
        write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
        Self { name, value, folder }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The integers of a key, whatever their shape.
    fn integers(&self, key: &str) -> Vec<i64> {
        list(&self.value[key])
    }

    /// Token ids, `[batch, time]`.
    fn rows(&self, key: &str) -> Tensor<2, Int> {
        let rows = self.value[key].as_array().unwrap();
        integers(self.integers(key), [rows.len(), rows[0].as_array().unwrap().len()])
    }

    fn row(&self, key: &str) -> Tensor<1, Int> {
        let values = self.integers(key);
        let count = values.len();
        integers(values, [count])
    }

    fn lengths(&self) -> Vec<usize> {
        self.integers("lengths").into_iter().map(|length| length as usize).collect()
    }

    fn values(&self, key: &str) -> Vec<f32> {
        floats(&self.value[key])
    }

    /// Compares values with those of a key, within 1e-4; those of padding mean nothing where lengths are given.
    fn compare<const D: usize>(&self, key: &str, found: Tensor<D>, lengths: Option<&[usize]>) {
        let (dims, mut found) = (found.dims(), host(found));
        if let Some(lengths) = lengths {
            for (row, values) in found.chunks_mut(dims[1..].iter().product()).enumerate() {
                values[lengths[row] * dims[2..].iter().product::<usize>()..].fill(0.0);
            }
        }
        near(&format!("{}: {key}", self.name), &found, &self.values(key), 1e-4);
    }

    /// Compares the loss within 1e-5, and every gradient's norm and products with fixed directions within 1e-3 of its norm.
    fn compare_gradients<M: Module>(&self, model: &M, loss: Tensor<1>, save: impl Fn(&M, &Path)) {
        let (value, gradients) = loss_and_gradients(model, loss);
        let expected = self.value["loss"].as_f64().unwrap();
        let error = (f64::from(value) - expected).abs();
        assert!(error <= 1e-5 * expected.abs().max(1.0), "{}: loss {value} and {expected}", self.name);
        // The gradients, saved as if they were weights, stand under the file's names.
        let mut values = gradients.into_iter().map(|(_, values)| values);
        let model = parameters::load(model.clone(), |_| Ok::<_, ()>(values.next().unwrap())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save(&model, folder.path());
        let tensors = Tensors::open(&folder.path().join("model.safetensors")).unwrap();
        let mut names = tensors.names().unwrap();
        names.sort();
        let all: Vec<String> = object(&self.value["tensors"]).keys().cloned().collect();
        assert_eq!(names, all, "{}: the tensors of a file", self.name);
        let scale = object(&self.value["gradients"]).values().map(|summary| floats(summary)[0]).fold(0.0, f32::max);
        for (name, summary) in object(&self.value["gradients"]) {
            let expected = floats(summary);
            let (gradient, _) = tensors.get(name).unwrap().unwrap();
            let mut found = vec![gradient.iter().map(|x| x * x).sum::<f32>().sqrt()];
            for number in 0..3 {
                let direction = formula(&format!("{name} {number}"), gradient.len());
                found.push(gradient.iter().zip(direction).map(|(a, b)| a * b).sum());
            }
            for (found, wanted) in found.iter().zip(&expected) {
                // A gradient that should be zero is what roundings leave of it.
                let tolerance = 1e-3 * expected[0] + 1e-6 * scale;
                assert!((found - wanted).abs() <= tolerance, "{}: {name}: {found} and {wanted}", self.name);
            }
        }
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn list(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        value => vec![value.as_i64().unwrap()],
    }
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// The sum of a vector's elements, weighted with fixed numbers.
fn weighted(vector: Tensor<2>) -> Tensor<1> {
    let dims = vector.dims();
    let weights = TensorData::new(formula("vector", dims[0] * dims[1]), dims);
    let weights = Tensor::<2>::from_data(weights, &vector.device());
    (vector * weights).sum()
}

#[test]
fn encoders_of_masked_words() {
    for name in ["bert", "roberta", "distilbert"] {
        let case = Case::new(name);
        let model = MaskedBert::load(case.folder(), &Device::flex().autodiff()).unwrap();
        let token_types = (!case.value["types"].is_null()).then(|| case.rows("types"));
        let inputs = Inputs { ids: case.rows("ids"), token_types, lengths: Some(case.lengths()) };
        case.compare("logits", model.logits(&inputs), Some(&case.lengths()));
        let targets = case.row("targets");
        let loss = model.loss(&inputs, case.row("places"), targets, 1.0 / 6.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
    }
}

#[test]
fn a_pooled_encoder() {
    let case = Case::new("bert pooled");
    let model = Bert::load(case.folder(), &Device::flex().autodiff()).unwrap();
    let inputs = Inputs { ids: case.rows("ids"), token_types: None, lengths: Some(case.lengths()) };
    let vector = model.pool(model.encode(&inputs, None)).unwrap();
    case.compare("vector", vector.clone(), None);
    case.compare_gradients(&model, weighted(vector), |model, folder| model.save(folder).unwrap());
}

#[test]
fn translation() {
    for name in ["marian swish", "marian relu"] {
        let case = Case::new(name);
        let model = Seq2Seq::load(case.folder(), &Device::flex().autodiff()).unwrap();
        let source = Source { ids: case.rows("ids"), lengths: Some(case.lengths()) };
        let targets = case.integers("targets");
        let counted = targets.iter().filter(|&&target| target >= 0).count();
        assert_eq!(model.config().decoder_inputs(&targets, 6), case.integers("inputs"), "{name}");
        let logits = model.logits(&model.memory(&source), case.rows("inputs"), &mut Cache::default());
        case.compare("logits", logits, None);
        let kind = head::Loss { smoothing: 0.1, ..head::Loss::scaled(1.0 / counted as f32) };
        let loss = model.loss(&source, case.rows("inputs"), case.row("targets"), kind, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder).unwrap());
    }
}

#[test]
fn causal_decoders() {
    let (names, all) = (
        [
            "llama",
            "llama 3",
            "llama tied",
            "llama dynamic",
            "mistral",
            "qwen2",
            "qwen2 yarn",
            "qwen3",
            "smollm3",
            "gemma2",
            "gemma3",
            "gemma3 capped",
            "gpt2",
            "gpt2 relu",
            "gpt2 gelu",
        ],
        Device::flex(),
    );
    for name in names {
        let case = Case::new(name);
        let model = CausalModel::load(case.folder(), &all.clone().autodiff()).unwrap();
        case.compare("logits", model.logits(case.rows("ids"), &mut Cache::default()), None);
        let targets = case.row("targets");
        let loss = model.loss(case.rows("ids"), targets, 1.0 / 18.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder, None).unwrap());
        // Greedy continuation, through the cache, of what transformers reads whole at every token.
        let greedy: Vec<u32> = case.integers("greedy").into_iter().map(|id| id as u32).collect();
        let sampling = SamplingOptions { temperature: 0.0, ..SamplingOptions::default() };
        let options = GenerateOptions { max_new_tokens: 50, sampling, ..GenerateOptions::default() };
        let mut written = greedy[..5].to_vec();
        let take = |id| {
            written.push(id);
            std::ops::ControlFlow::Continue(())
        };
        generate(&model.clone().valid(), &greedy[..5], &options, &all, take).unwrap();
        assert_eq!(written, greedy, "{name}: the greedy continuation");
        // What is written anew is read as what it was.
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        let again = CausalModel::load(folder.path(), &all).unwrap();
        let logits = |model: &CausalModel| host(model.logits(row(&greedy[..20], &all), &mut Cache::default()));
        assert_eq!(logits(&again), logits(&model.valid()), "{name}: saved and loaded");
    }
}

#[test]
fn recurrent_language_models() {
    for name in ["rnn", "rnn tied", "lstm", "lstm tied", "gru", "gru tied"] {
        let case = Case::new(name);
        let model = Recurrent::load(case.folder(), &Device::flex().autodiff()).unwrap();
        case.compare("logits", model.logits(case.rows("ids"), &mut Cache::default()), None);
        let loss = model.loss(case.rows("ids"), case.row("targets"), 1.0 / 18.0, None);
        case.compare_gradients(&model, loss, |model, folder| model.save(folder, None).unwrap());
    }
}

#[test]
fn recurrent_encoders_of_both_directions() {
    for name in ["rnn both ways", "lstm both ways", "gru both ways"] {
        let case = Case::new(name);
        let model = RecurrentEncoder::load(case.folder(), &Device::flex().autodiff()).unwrap();
        let lengths = case.lengths();
        let states = model.encode(case.rows("ids"), Some(lengths.clone()), None);
        case.compare("states", states.clone(), None);
        let vector = model.pool(states, Some(&lengths));
        case.compare("vector", vector.clone(), None);
        case.compare_gradients(&model, weighted(vector), |model, folder| model.save(folder).unwrap());
    }
}

/// A case's adapters as PEFT would have saved them, beside the model.
fn adapters(case: &Case) -> (Value, tempfile::TempDir) {
    let mut all: Value = serde_json::from_str(include_str!("fixtures/lora.json")).unwrap();
    let value = all[case.name].take();
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("adapter_config.json"), &value["adapter_config"]).unwrap();
    let tensors: Vec<_> = object(&value["tensors"])
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = list(shape).into_iter().map(|size| size as usize).collect();
            let values = formula(name, shape.iter().product()).into_iter().map(|x| x * 0.3).collect();
            (name.clone(), shape, values)
        })
        .collect();
    write_tensors(&folder.path().join("adapter_model.safetensors"), &tensors).unwrap();
    (value, folder)
}

/// Logits, loss and the gradients of every A and B are PEFT's; so are the files; and merging changes nothing.
fn adapts<M: Adaptable>(
    case: &Case,
    load: impl Fn(&Device) -> M,
    logits: impl Fn(&M) -> Vec<f32>,
    loss: impl Fn(&M) -> Tensor<1>,
) {
    let (value, folder) = adapters(case);
    let device = Device::flex();
    let adapted = Adapted::load(load(&device), folder.path(), &device.clone().autodiff()).unwrap();
    let expected = floats(&value["logits"]);
    near(&format!("{}: adapted logits", case.name), &logits(&adapted.merge()), &expected, 1e-4);
    let (found, gradients) = loss_and_gradients(&adapted, loss(&adapted.effective()));
    let wanted = value["loss"].as_f64().unwrap();
    assert!((f64::from(found) - wanted).abs() <= 1e-5 * wanted.max(1.0), "{}: loss {found} and {wanted}", case.name);
    let summaries = object(&value["gradients"]);
    assert_eq!(gradients.len(), summaries.len(), "{}", case.name);
    for (name, gradient) in gradients {
        let name = format!("base_model.model.{name}.weight");
        let wanted = floats(&summaries[&name]);
        let mut found = vec![gradient.iter().map(|x| x * x).sum::<f32>().sqrt()];
        for number in 0..3 {
            let direction = formula(&format!("{name} {number}"), gradient.len());
            found.push(gradient.iter().zip(direction).map(|(a, b)| a * b).sum());
        }
        for (found, wanted_one) in found.iter().zip(&wanted) {
            let tolerance = 1e-3 * wanted[0] + 1e-6;
            assert!((found - wanted_one).abs() <= tolerance, "{}: {name}: {found} and {wanted_one}", case.name);
        }
    }
    let written = tempfile::tempdir().unwrap();
    adapted.save(written.path()).unwrap();
    let tensors = Tensors::open(&written.path().join("adapter_model.safetensors")).unwrap();
    let mut names = tensors.names().unwrap();
    names.sort();
    assert_eq!(names, object(&value["tensors"]).keys().cloned().collect::<Vec<_>>());
    let again = Adapted::load(load(&device), written.path(), &device).unwrap();
    near(&format!("{}: read back", case.name), &logits(&again.merge()), &expected, 1e-4);
    // New adapters begin at the model as it is.
    let config = LoraConfig { rank: 2, alpha: 4.0, targets: vec!["all-linear".to_owned()] };
    let new = Adapted::new(load(&device), "base", config, 1, &device).unwrap();
    near(&format!("{}: new", case.name), &logits(&new.merge()), &logits(&load(&device)), 0.0);
    for (targets, rank, said) in
        [(vec!["nothing".to_owned()], 2, "no layer is called \"nothing\""), (Vec::new(), 500, "is more than")]
    {
        let error = Adapted::new(load(&device), "base", LoraConfig { rank, alpha: 1.0, targets }, 1, &device);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn adapters_are_those_of_peft() {
    for name in ["gpt2", "llama 3"] {
        let case = &Case::new(name);
        let logits = |model: &CausalModel| host(model.logits(case.rows("ids"), &mut Cache::default()));
        let counted = case.integers("targets").iter().filter(|target| **target >= 0).count() as f32;
        let loss = |model: &CausalModel| model.loss(case.rows("ids"), case.row("targets"), 1.0 / counted, None);
        adapts(case, |device| CausalModel::load(case.folder(), device).unwrap(), logits, loss);
    }
    for name in ["bert", "distilbert"] {
        let case = &Case::new(name);
        let inputs = || Inputs {
            ids: case.rows("ids"),
            token_types: (!case.value["types"].is_null()).then(|| case.rows("types")),
            lengths: Some(case.lengths()),
        };
        let logits = |model: &MaskedBert| {
            let found = model.logits(&inputs());
            let [_, time, vocabulary] = found.dims();
            let mut found = host(found);
            for (row, values) in found.chunks_mut(time * vocabulary).enumerate() {
                values[case.lengths()[row] * vocabulary..].fill(0.0);
            }
            found
        };
        let scale = 1.0 / case.integers("targets").len() as f32;
        let loss = |model: &MaskedBert| model.loss(&inputs(), case.row("places"), case.row("targets"), scale, None);
        adapts(case, |device| MaskedBert::load(case.folder(), device).unwrap(), logits, loss);
    }
    let case = &Case::new("marian swish");
    let source = || Source { ids: case.rows("ids"), lengths: Some(case.lengths()) };
    let logits =
        |model: &Seq2Seq| host(model.logits(&model.memory(&source()), case.rows("inputs"), &mut Cache::default()));
    let counted = case.integers("targets").iter().filter(|target| **target >= 0).count() as f32;
    let loss = |model: &Seq2Seq| {
        let kind = head::Loss::scaled(1.0 / counted);
        model.loss(&source(), case.rows("inputs"), case.row("targets"), kind, None)
    };
    adapts(case, |device| Seq2Seq::load(case.folder(), device).unwrap(), logits, loss);
}

#[test]
fn damaged_adapters_are_refused() {
    let case = Case::new("gpt2");
    let device = Device::flex();
    let base = || CausalModel::load(case.folder(), &device).unwrap();
    let refused = |change: &dyn Fn(&mut Value), said: &str| {
        let (mut value, folder) = adapters(&case);
        change(&mut value["adapter_config"]);
        write_json(&folder.path().join("adapter_config.json"), &value["adapter_config"]).unwrap();
        let error = Adapted::load(base(), folder.path(), &device).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    refused(&|config| config["use_dora"] = true.into(), "use_dora = true is not supported");
    refused(&|config| config["peft_type"] = "IA3".into(), "kind \"IA3\"");
    refused(&|config| config["r"] = 4.into(), "belongs to another");
    refused(&|config| config["r"] = Value::Null, "has no rank");
    let (_, folder) = adapters(&case);
    let other = Case::new("llama 3");
    let error = Adapted::load(CausalModel::load(other.folder(), &device).unwrap(), folder.path(), &device);
    assert!(error.unwrap_err().to_string().contains("for which this base has no layer"));
    std::fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    let error = Adapted::load(base(), folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("lacks adapter_model.safetensors"), "{error}");
}
