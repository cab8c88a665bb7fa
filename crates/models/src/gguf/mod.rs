//! Models in and out of GGUF files: the llama family and GPT-2.

mod config;
mod names;

pub use loam_gguf::TensorKind;

use crate::causal::CausalModel;
use crate::error::ModelError;
use crate::gpt::Gpt;
use crate::llama::{Llama, Scaling};
use burn::module::Module;
use burn::tensor::Device;
use config::Configuration;
use loam_gguf::{Gguf, GgufError, Planned, Value};
use loam_nn::parameters::{self, Parameter};
use names::{Change, stored};
use std::collections::HashSet;
use std::path::Path;

impl From<GgufError> for ModelError {
    fn from(error: GgufError) -> Self {
        match error {
            GgufError::Io { path, source } => Self::io(path, source),
            GgufError::Format { path, reason } => Self::Format { path, reason },
        }
    }
}

/// The GGUF file that `path` means as a model: itself, or the only one of a folder without `config.json`.
///
/// # Errors
/// When a folder holds several and does not say which.
pub fn find(path: &Path) -> Result<Option<std::path::PathBuf>, ModelError> {
    Ok(loam_gguf::find(path, "config.json")?)
}

/// Reads the model of a file, its weights dequantized.
///
/// # Errors
/// When the file is missing or broken, of an unknown architecture, lacks a tensor or has one that the model has not.
pub fn load(path: &Path, device: &Device) -> Result<CausalModel, ModelError> {
    let file = Gguf::open(path)?;
    let config = config::read(&file)?;
    let there = file.tensors().iter().map(|tensor| tensor.count() as u64).sum::<u64>();
    let wanted = config.parameters();
    if wanted.is_none_or(|wanted| wanted > there) {
        let wanted = wanted.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
        let reason = format!("its metadata asks for {wanted} parameters, and its tensors hold {there}");
        return Err(file.wrong(reason).into());
    }
    Ok(match config {
        Configuration::Gpt(config) => fill(Gpt::new(config, 0, device)?, &file, &|name| stored::gpt(name))?.into(),
        Configuration::Llama(config) => {
            let model = Llama::new((*config).clone(), 0, device)?;
            fill(model, &file, &|name| stored::llama(name, &config))?.into()
        }
    })
}

/// Gives every parameter of `model` its tensor.
fn fill<M: Module>(model: M, file: &Gguf, stored: &dyn Fn(&str) -> (String, Change)) -> Result<M, ModelError> {
    let wanted: HashSet<String> = parameters::list(&model).iter().map(|p| stored(&p.name).0).collect();
    // Frequencies went into the configuration; of tied outputs there is a copy in files of GPT-2.
    let passed_over = |name: &str| matches!(name, "rope_freqs.weight" | "output.weight");
    let unknown = file.tensors().iter().find(|tensor| !wanted.contains(&tensor.name) && !passed_over(&tensor.name));
    if let Some(tensor) = unknown {
        return Err(file.wrong(format!("holds a tensor that this model has not: {}", tensor.name)).into());
    }
    parameters::load(model, |parameter: &Parameter| {
        let (name, change) = stored(&parameter.name);
        let tensor = file.tensor(&name).ok_or_else(|| file.wrong(format!("lacks the tensor {name}")))?;
        let mut shape = parameter.shape.clone();
        if change == Change::Transposed {
            shape.reverse();
        }
        if tensor.shape != shape {
            let reason = format!("tensor {name} is {:?}; its metadata asks for {shape:?}", tensor.shape);
            return Err(file.wrong(reason).into());
        }
        Ok(change.undo(file.values(tensor), &parameter.shape))
    })
}

/// Writes a model to a file, with matrices as `kind` and all else as `F32`. The metadata of its tokenizer, as
/// `loam_corpus` makes it, goes along.
///
/// # Errors
/// When the file cannot be written, or the format has no place for the model.
pub fn save(
    model: &CausalModel,
    path: &Path,
    kind: TensorKind,
    tokenizer: &[(String, Value)],
) -> Result<(), ModelError> {
    match model {
        CausalModel::Gpt(inner) => {
            write(inner, path, kind, config::of_gpt(inner.config())?, tokenizer, None, &stored::gpt)
        }
        CausalModel::Llama(inner) => {
            let config = inner.config();
            let metadata = config::of_llama(config)?;
            let divisors = match config.rope.scaling {
                Scaling::Llama3 { .. } | Scaling::Divisors(_) => Some(config.rope.divisors(config.head_dim)),
                _ => None,
            };
            let stored = |name: &str| stored::llama(name, config);
            write(inner, path, kind, metadata, tokenizer, divisors, &stored)
        }
        CausalModel::Recurrent(_) => {
            Err(ModelError::Request("GGUF has no recurrent networks; gpt and the llama family can be written".into()))
        }
    }
}

fn write<M: Module>(
    model: &M,
    path: &Path,
    kind: TensorKind,
    mut metadata: Vec<(String, Value)>,
    tokenizer: &[(String, Value)],
    divisors: Option<Vec<f32>>,
    stored: &dyn Fn(&str) -> (String, Change),
) -> Result<(), ModelError> {
    let list = parameters::list(model);
    let values = parameters::values(model);
    let mut planned: Vec<Planned> = list
        .iter()
        .map(|parameter| {
            let (name, change) = stored(&parameter.name);
            let mut shape = parameter.shape.clone();
            if change == Change::Transposed {
                shape.reverse();
            }
            let kind = kind_of(&name, &shape, kind);
            Planned { name, shape, kind }
        })
        .collect();
    metadata.push(("general.file_type".into(), Value::U32(file_type(kind))));
    metadata.push(("general.quantization_version".into(), Value::U32(2)));
    metadata.extend(tokenizer.iter().cloned());
    if let Some(divisors) = &divisors {
        let shape = vec![divisors.len()];
        planned.push(Planned { name: "rope_freqs.weight".into(), shape, kind: TensorKind::F32 });
    }
    loam_gguf::write(path, &metadata, &planned, |index| {
        if index == list.len() {
            return Ok(divisors.clone().unwrap_or_default());
        }
        let (_, change) = stored(&list[index].name);
        Ok(change.apply(parameters::to_host(values[index].clone()), &list[index].shape))
    })
}

/// How a tensor is stored in a file of `kind`: vectors whole, rows that are no whole blocks as 16-bit floats, and of 4-bit
/// files the tables of tokens with 8 bits, for they cost the most quality.
fn kind_of(name: &str, shape: &[usize], kind: TensorKind) -> TensorKind {
    let kind = match kind {
        _ if shape.len() < 2 => TensorKind::F32,
        TensorKind::Q4_0 if matches!(name, "token_embd.weight" | "output.weight") => TensorKind::Q8_0,
        // llama.cpp adds positions as they are.
        TensorKind::Q4_0 | TensorKind::Q8_0 if name == "position_embd.weight" => TensorKind::F32,
        _ => kind,
    };
    if shape[shape.len() - 1].is_multiple_of(kind.block()) { kind } else { TensorKind::F16 }
}

/// `general.file_type`, by which llama.cpp says what most of a file is.
fn file_type(kind: TensorKind) -> u32 {
    match kind {
        TensorKind::F16 => 1,
        TensorKind::Q4_0 => 2,
        TensorKind::Q8_0 => 7,
        TensorKind::BF16 => 32,
        _ => 0,
    }
}
