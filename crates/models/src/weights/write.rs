//! Weights into safetensors files: in a chosen precision, whole or in shards with their index.

use super::element::{Element, Precision};
use super::{Tensors, write_json};
use crate::error::ModelError;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, json};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How weights are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// The precision of floats; as they are stored without. Other types always stay as they are.
    pub precision: Option<Precision>,
    /// Bytes of tensors in one file at most, unless a single tensor is larger; one file without.
    pub max_shard_size: Option<u64>,
}

/// A tensor that is converted when it is its turn to be written.
struct Pending<'a> {
    tensors: &'a Tensors,
    name: &'a str,
    shape: Vec<usize>,
    stored: Element,
    written: Element,
    precision: Option<Precision>,
    trouble: &'a RefCell<Option<ModelError>>,
}

impl Pending<'_> {
    fn length(&self) -> usize {
        // The shape was checked against the file when it was opened, and no type is written wider than 8 bytes.
        self.shape.iter().product::<usize>() * self.written.bytes().unwrap_or(0)
    }

    fn bytes(&self) -> Result<Vec<u8>, ModelError> {
        let (Some(precision), true) = (self.precision, self.stored != self.written) else {
            return Ok(self.tensors.raw(self.name).unwrap_or_default());
        };
        let (values, _) = self.tensors.get(self.name)?.unwrap_or_default();
        if let Some(value) = values.iter().find(|value| precision.overflows(**value)) {
            let reason = format!(
                "tensor {} holds {value}, which {} cannot hold; write bf16 or f32",
                self.name,
                precision.element().name()
            );
            return Err(ModelError::format(self.tensors.path(), reason));
        }
        Ok(precision.write(&values))
    }
}

impl View for &Pending<'_> {
    fn dtype(&self) -> Dtype {
        self.written.0
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.bytes() {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                self.trouble.borrow_mut().get_or_insert(error);
                vec![0; self.length()].into()
            }
        }
    }

    fn data_len(&self) -> usize {
        self.length()
    }
}

/// Writes the named tensors of `tensors` into `folder`: `model.safetensors`, or shards with their index. Returns the
/// files. One tensor at a time is in memory.
///
/// # Errors
/// When a file cannot be written, or a value does not fit the precision.
pub fn write_weights(
    tensors: &Tensors,
    names: &[String],
    folder: &Path,
    options: &WriteOptions,
) -> Result<Vec<PathBuf>, ModelError> {
    let trouble = RefCell::new(None);
    let mut pending = Vec::with_capacity(names.len());
    for name in names {
        let Some(description) = tensors.describe(name) else {
            return Err(ModelError::format(tensors.path(), format!("lacks the tensor {name}")));
        };
        let stored = description.element;
        let precision = options.precision.filter(|_| stored.is_float());
        let written = precision.map_or(stored, Precision::element);
        pending.push(Pending {
            tensors,
            name,
            shape: description.shape,
            stored,
            written,
            precision,
            trouble: &trouble,
        });
    }
    let mut shards: Vec<Vec<&Pending>> = vec![Vec::new()];
    let mut size = 0u64;
    for tensor in &pending {
        let length = tensor.length() as u64;
        let full = options.max_shard_size.is_some_and(|most| size + length > most);
        let last = shards.last_mut().expect("at least one shard");
        if full && !last.is_empty() {
            shards.push(vec![tensor]);
            size = length;
        } else {
            last.push(tensor);
            size += length;
        }
    }
    let count = shards.len();
    let mut files = Vec::new();
    let mut map = Map::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let file = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        map.extend(shard.iter().map(|tensor| (tensor.name.to_owned(), json!(file))));
        let path = folder.join(&file);
        write_file(&path, shard)?;
        if let Some(error) = trouble.take() {
            return Err(error);
        }
        files.push(path);
    }
    if count > 1 {
        let total: u64 = pending.iter().map(|tensor| tensor.length() as u64).sum();
        let path = folder.join("model.safetensors.index.json");
        write_json(&path, &json!({ "metadata": { "total_size": total }, "weight_map": map }))?;
        files.push(path);
    }
    Ok(files)
}

fn write_file(path: &Path, tensors: Vec<&Pending>) -> Result<(), ModelError> {
    // Hugging Face's loaders ask for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let named = tensors.iter().map(|tensor| (tensor.name, *tensor));
    // Made here, so that others may read it as the user's mask allows: the library makes files for the owner alone.
    File::create(path).map_err(|source| ModelError::io(path, source))?;
    safetensors::tensor::serialize_to_file(named, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => ModelError::io(path, source),
        other => ModelError::format(path, format!("cannot be written: {other}")),
    })?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| ModelError::io(path, source))
}
