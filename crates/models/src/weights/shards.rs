//! Weights in several files, and the index that says which tensor stands in which.

use super::tensors::Tensors;
use crate::error::ModelError;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The largest index that is read, in bytes; the largest models' are a few megabytes.
const LARGEST_INDEX: u64 = 256 << 20;
/// The most shards that an index may name.
const MOST_SHARDS: usize = 10_000;

/// `model.safetensors.index.json` or `pytorch_model.bin.index.json`.
pub(super) struct Index {
    folder: PathBuf,
    /// Tensor to file.
    map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index; the files that it names have to stand in its own folder.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let fail = |reason: String| ModelError::format(path, reason);
        let size = std::fs::metadata(path).map_err(|source| ModelError::io(path, source))?.len();
        if size > LARGEST_INDEX {
            return Err(fail(format!("has {size} bytes, which no index of shards has")));
        }
        let text = std::fs::read_to_string(path).map_err(|source| ModelError::io(path, source))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| fail(format!("is not valid JSON: {error}")))?;
        let Some(entries) = value.get("weight_map").and_then(Value::as_object) else {
            return Err(fail("has no weight_map, which says in what file each tensor stands".into()));
        };
        let mut map = BTreeMap::new();
        for (tensor, file) in entries {
            let Some(file) = file.as_str() else {
                return Err(fail(format!("weight_map: {tensor} has {file} where a file's name belongs")));
            };
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) || file.contains('\\') {
                return Err(fail(format!("weight_map: {tensor} is in {file:?}, which is not a file of this folder")));
            }
            map.insert(tensor.clone(), file.to_owned());
        }
        if map.is_empty() {
            return Err(fail("names no tensor in its weight_map".into()));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let index = Self { folder, map };
        let shards = index.files().len();
        if shards > MOST_SHARDS {
            return Err(fail(format!("names {shards} files; {MOST_SHARDS} are read at most")));
        }
        if let Some(missing) = index.files().iter().find(|file| !file.exists()) {
            return Err(fail(format!("names {}, which is not there; was the model fetched whole?", missing.display())));
        }
        Ok(index)
    }

    /// The files, each once.
    pub fn files(&self) -> Vec<PathBuf> {
        self.map.values().collect::<BTreeSet<_>>().into_iter().map(|file| self.folder.join(file)).collect()
    }

    /// Refuses an index that says other than what its files hold.
    pub fn check(&self, path: &Path, tensors: &Tensors) -> Result<(), ModelError> {
        for (name, file) in &self.map {
            let Some(found) = tensors.describe(name) else {
                return Err(ModelError::format(path, format!("says that {name} is in {file}, and it is in no file")));
            };
            if found.file != self.folder.join(file) {
                let there = found.file.display();
                return Err(ModelError::format(path, format!("says that {name} is in {file}, and it is in {there}")));
            }
        }
        let unnamed: Vec<String> = tensors.names()?.into_iter().filter(|name| !self.map.contains_key(name)).collect();
        if unnamed.is_empty() {
            return Ok(());
        }
        Err(ModelError::format(path, format!("does not name tensors of its files: {}", super::some(&unnamed))))
    }
}
