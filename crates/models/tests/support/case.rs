//! A case of a fixture: a tiny model whose weights follow from a formula, what it is asked, and what PyTorch says.

use super::support::{host, integers, loss_and_gradients, near};
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use loam_models::bert::Inputs;
use loam_models::weights::{Tensors, write_json, write_tensors};
use loam_nn::initialize::mix;
use loam_nn::parameters;
use serde_json::{Map, Value};
use std::path::Path;

/// Numbers from -1 to 1 that follow from a name.
fn formula(name: &str, count: usize) -> Vec<f32> {
    // FNV-1a.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (1..=count as u64).map(|i| (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A case and the folder of its model.
pub struct Case {
    name: String,
    /// What the fixture says.
    pub value: Value,
    folder: tempfile::TempDir,
}

impl Case {
    /// A case's model as transformers would have saved it.
    pub fn new(fixture: &str, name: &str) -> Self {
        let mut all: Value = serde_json::from_str(fixture).unwrap();
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
        Self { name: name.to_owned(), value, folder }
    }

    /// The model's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The integers of a key, whatever their shape, in a row.
    pub fn row(&self, key: &str) -> Tensor<1, Int> {
        let values = list(&self.value[key]);
        let count = values.len();
        integers(values, [count])
    }

    fn rows(&self, key: &str) -> Tensor<2, Int> {
        let rows = self.value[key].as_array().unwrap();
        integers(list(&self.value[key]), [rows.len(), rows[0].as_array().unwrap().len()])
    }

    /// Tokens that are not padding, of each row.
    pub fn lengths(&self) -> Vec<usize> {
        list(&self.value["lengths"]).into_iter().map(|length| length as usize).collect()
    }

    /// What the model reads.
    pub fn inputs(&self) -> Inputs {
        let token_types = (!self.value["types"].is_null()).then(|| self.rows("types"));
        Inputs { ids: self.rows("ids"), token_types, lengths: Some(self.lengths()) }
    }

    /// Compares values with those of a key, within 1e-4; those of padding mean nothing where lengths are given.
    pub fn compare<const D: usize>(&self, key: &str, found: Tensor<D>, lengths: Option<&[usize]>) {
        let (dims, mut found) = (found.dims(), host(found));
        if let Some(lengths) = lengths {
            for (row, values) in found.chunks_mut(dims[1..].iter().product()).enumerate() {
                values[lengths[row] * dims[2..].iter().product::<usize>()..].fill(0.0);
            }
        }
        near(&format!("{}: {key}", self.name), &found, &floats(&self.value[key]), 1e-4);
    }

    /// Compares the loss within 1e-5, and every gradient's norm and products with fixed directions within 1e-3 of its norm.
    pub fn compare_gradients<M: Module>(&self, model: &M, loss: Tensor<1>, save: impl Fn(&M, &Path)) {
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

/// A JSON object.
pub fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn list(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        value => vec![value.as_i64().unwrap()],
    }
}

/// Numbers of a JSON list, whatever its shape.
pub fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        value => vec![value.as_f64().unwrap() as f32],
    }
}
