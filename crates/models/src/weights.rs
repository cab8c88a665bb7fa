//! Parameters in and out of safetensors files.

use crate::error::ModelError;
use burn::module::Module;
use half::{bf16, f16};
use loam_nn::parameters::{self, Parameter};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
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

/// The tensors of a safetensors file, checked against its length.
pub struct Tensors {
    map: memmap2::Mmap,
    path: std::path::PathBuf,
}

impl Tensors {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is missing, truncated or not a safetensors file.
    #[allow(unsafe_code)]
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|source| ModelError::io(path, source))?;
        // SAFETY: the map is read-only and every length in it is checked before use; a file that another process
        // shrinks while it is being read ends this process, as it does every reader of mapped files.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| ModelError::io(path, source))?;
        let tensors = Self { map, path: path.to_owned() };
        tensors.parse()?;
        Ok(tensors)
    }

    fn parse(&self) -> Result<SafeTensors<'_>, ModelError> {
        SafeTensors::deserialize(&self.map).map_err(|error| {
            ModelError::format(&self.path, format!("is not a whole safetensors file ({error}); was it cut short?"))
        })
    }

    /// Names in the file.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn names(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.parse()?.names().into_iter().map(ToString::to_string).collect())
    }

    /// The values and shape of a tensor as f32; none when the file has no such name.
    ///
    /// # Errors
    /// When its type is not a float of 16, 32 or 64 bits.
    pub fn get(&self, name: &str) -> Result<Option<(Vec<f32>, Vec<usize>)>, ModelError> {
        let tensors = self.parse()?;
        let Ok(view) = tensors.tensor(name) else { return Ok(None) };
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => read(data, f32::from_le_bytes),
            Dtype::F16 => read(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => read(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => read(data, |bytes| f64::from_le_bytes(bytes) as f32),
            other => {
                return Err(ModelError::format(&self.path, format!("tensor {name} is of type {other:?}, not a float")));
            }
        };
        Ok(Some((values, view.shape().to_vec())))
    }
}

fn read<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()
}

/// Loads every parameter of a module from a file. Names may lack the module's first part (`wte.weight` for
/// `transformer.wte.weight`), as base models are stored.
///
/// # Errors
/// When a parameter is missing or of another shape, naming it, or when the file holds tensors that the module lacks.
pub fn load<M: Module>(module: M, path: &Path) -> Result<M, ModelError> {
    let without_prefix = |name: &str| name.split_once('.').map_or(String::new(), |(_, rest)| rest.to_owned());
    let layout = Layout {
        names: &|name| vec![name.to_owned(), without_prefix(name)],
        // Causal masks that old checkpoints carry, and the copy of the tied output.
        passed_over: &|name| {
            name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name == "lm_head.weight"
        },
    };
    load_as(module, path, &layout)
}

/// Loads every parameter of a module from a file of this layout.
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
        let mut found = None;
        for name in &names {
            if let Some((values, shape)) = tensors.get(name)? {
                found = Some((name, values, shape));
                break;
            }
        }
        let Some((name, values, shape)) = found else {
            return Err(ModelError::format(path, format!("lacks the tensor {}", names[0])));
        };
        if shape != parameter.shape {
            return Err(ModelError::format(
                path,
                format!("tensor {name} is {shape:?}; config.json asks for {:?}", parameter.shape),
            ));
        }
        Ok(values)
    })
}

fn some(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}
