//! Parameters in and out of files: safetensors and PyTorch's, whole and in shards, behind one reader ([`Tensors`]).

mod element;
mod pytorch;
mod shards;
mod tensors;
mod write;

pub use element::{Element, Precision};
pub use tensors::{Description, Tensors, WEIGHT_FILES, find};
pub use write::{WriteOptions, write_weights};

use crate::error::ModelError;
use burn::module::Module;
use loam_nn::parameters::{self, Parameter};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes `value` as indented JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    let mut text = serde_json::to_string_pretty(value).expect("JSON values serialize");
    text.push('\n');
    write_synced(path, text.as_bytes())
}

/// Writes a file and waits until it is on disk.
///
/// # Errors
/// When the file cannot be written.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| ModelError::io(path, source))
}

/// Writes named f32 tensors to a safetensors file, in the order given.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<(), ModelError> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, shape, _), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
            .map_err(|error| ModelError::format(path, format!("tensor {name}: {error}")))?;
        views.push((name.as_str(), view));
    }
    // Hugging Face's loaders ask for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata))
        .map_err(|error| ModelError::format(path, format!("cannot be serialized: {error}")))?;
    write_synced(path, &file)
}

/// What a family's files call its parameters.
pub struct Layout<'a> {
    /// The names under which the module's parameter may stand in a file; the first of them is written.
    pub names: &'a dyn Fn(&str) -> Vec<String>,
    /// Whether a tensor that the module lacks may stand in a file all the same: copies of tied weights, constants, heads
    /// that were not asked for.
    pub passed_over: &'a dyn Fn(&str) -> bool,
}

/// Writes every parameter of a module under its name.
///
/// # Errors
/// When the file cannot be written.
pub fn save<M: Module>(module: &M, path: &Path) -> Result<(), ModelError> {
    save_as(module, path, &|name| name.to_owned())
}

/// Writes every parameter of a module under the name that `stored` makes of its own.
///
/// # Errors
/// When the file cannot be written.
pub fn save_as<M: Module>(module: &M, path: &Path, stored: &dyn Fn(&str) -> String) -> Result<(), ModelError> {
    let tensors: Vec<_> = parameters::list(module)
        .into_iter()
        .zip(parameters::values(module))
        .map(|(parameter, values)| (stored(&parameter.name), parameter.shape, parameters::to_host(values)))
        .collect();
    write_tensors(path, &tensors)
}

/// Loads every parameter of a module from weights of this layout; `path` is what [`Tensors::open`] opens.
///
/// # Errors
/// When a parameter is missing or of another shape, naming it, or when the file holds tensors that the module lacks.
pub fn load_as<M: Module>(module: M, path: &Path, layout: &Layout) -> Result<M, ModelError> {
    let tensors = Tensors::open(path)?;
    let wanted: HashSet<String> = parameters::list(&module).iter().flat_map(|p| (layout.names)(&p.name)).collect();
    let unknown: Vec<String> =
        tensors.names()?.into_iter().filter(|name| !wanted.contains(name) && !(layout.passed_over)(name)).collect();
    if !unknown.is_empty() {
        return Err(ModelError::format(path, format!("holds tensors that this model has not: {}", some(&unknown))));
    }
    parameters::load(module, |parameter: &Parameter| {
        let names = (layout.names)(&parameter.name);
        let found = names.iter().find_map(|name| tensors.describe(name).map(|described| (name, described.shape)));
        let Some((name, shape)) = found else {
            return Err(ModelError::format(path, format!("lacks the tensor {}", names[0])));
        };
        // Before memory is taken for the values.
        if shape != parameter.shape {
            return Err(ModelError::format(
                path,
                format!("tensor {name} is {shape:?}; config.json asks for {:?}", parameter.shape),
            ));
        }
        Ok(tensors.get(name)?.map(|(values, _)| values).unwrap_or_default())
    })
}

/// The first few names, and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}
