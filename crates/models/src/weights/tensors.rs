//! One reader over every form in which weights are stored: safetensors and PyTorch's files, whole and in shards.

use super::element::Element;
use super::{pytorch, shards};
use crate::error::ModelError;
use safetensors::tensor::SafeTensors;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a tensor's numbers stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its type.
    pub element: Element,
    /// Its shape.
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub start: usize,
    /// Steps between neighbors along each dimension, in numbers; none where rows follow each other.
    pub strides: Option<Vec<usize>>,
    /// One past the last byte of what the tensor may touch.
    pub end: usize,
}

impl Place {
    /// How many numbers; none where it would not fit.
    pub fn count(&self) -> Option<usize> {
        count(&self.shape)
    }

    /// Refuses what reaches beyond its storage or repeats numbers so that it is larger than it.
    pub fn check(&self) -> Result<(), String> {
        let bytes = self.element.bytes().ok_or("its numbers do not fill bytes")?;
        let room = self.end.checked_sub(self.start).ok_or("begins behind its end")? / bytes;
        let count = self.count().ok_or_else(|| format!("a shape of {:?} is beyond every memory", self.shape))?;
        if count > room {
            return Err(format!("a shape of {:?} needs {count} numbers where there are {room}", self.shape));
        }
        let Some(strides) = &self.strides else { return Ok(()) };
        if strides.len() != self.shape.len() {
            return Err(format!("has {} dimensions and {} strides", self.shape.len(), strides.len()));
        }
        let last =
            self.shape.iter().zip(strides).try_fold(0usize, |last, (&size, &stride)| {
                last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
            });
        if count > 0 && last.is_none_or(|last| last >= room) {
            return Err(format!("strides of {strides:?} lead out of its storage of {room} numbers"));
        }
        Ok(())
    }
}

/// The product of a shape; none where it would not fit.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

/// What is known of a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type.
    pub element: Element,
    /// The file that it stands in.
    pub file: PathBuf,
}

/// One mapped file.
pub(crate) struct Mapped {
    pub path: PathBuf,
    pub bytes: memmap2::Mmap,
}

impl Mapped {
    #[allow(unsafe_code)]
    fn open(path: &Path) -> Result<Arc<Self>, ModelError> {
        let file = File::open(path).map_err(|source| ModelError::io(path, source))?;
        // SAFETY: the map is read-only and every length in it is checked before use; a file that another process
        // shrinks while it is being read ends this process, as it does every reader of mapped files.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| ModelError::io(path, source))?;
        Ok(Arc::new(Self { path: path.to_owned(), bytes }))
    }
}

/// The tensors of a model's files, every length in them checked against the files.
///
/// Files are mapped: a tensor costs memory when it is read, one at a time.
pub struct Tensors {
    path: PathBuf,
    found: BTreeMap<String, (Arc<Mapped>, Place)>,
    files: Vec<PathBuf>,
}

/// Names under which a folder holds its weights, in the order in which they are looked for.
pub const WEIGHT_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The file that holds a folder's weights, or the index of its shards.
///
/// # Errors
/// When there is none, naming what was looked for and what is there instead.
pub fn find(folder: &Path) -> Result<PathBuf, ModelError> {
    if let Some(path) = WEIGHT_FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        return Ok(path);
    }
    let listing = std::fs::read_dir(folder).map_err(|source| ModelError::io(folder, source))?;
    let others: Vec<String> = listing
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            [".h5", ".msgpack", ".onnx", ".gguf", ".ckpt", ".pt", ".pth", ".safetensors", ".bin"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .take(5)
        .collect();
    let there = if others.is_empty() { String::new() } else { format!("; there is {}", others.join(", ")) };
    Err(ModelError::format(folder, format!("holds no weights: none of {}{there}", WEIGHT_FILES.join(", "))))
}

impl Tensors {
    /// Opens a folder, a `.safetensors` file, a PyTorch file (`.bin`, `.pt`, `.pth`), or an index of shards
    /// (`.index.json`).
    ///
    /// # Errors
    /// When a file is missing, truncated, of another kind, or names what is not there.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() {
            return Self::open(&find(path)?);
        }
        let mut tensors = Self { path: path.to_owned(), found: BTreeMap::new(), files: Vec::new() };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".index.json") {
            let index = shards::Index::read(path)?;
            for file in index.files() {
                tensors.add(&file)?;
            }
            index.check(path, &tensors)?;
        } else {
            tensors.add(path)?;
        }
        Ok(tensors)
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let file = Mapped::open(path)?;
        let is_pytorch = pytorch::looks_like(&file.bytes)
            || path.extension().is_some_and(|end| ["bin", "pt", "pth"].iter().any(|known| end == *known));
        let places = if is_pytorch { pytorch::read(&file)? } else { safetensors(&file)? };
        for (name, place) in places {
            place.check().map_err(|reason| ModelError::format(path, format!("tensor {name}: {reason}")))?;
            if let Some((earlier, _)) = self.found.insert(name.clone(), (file.clone(), place)) {
                let other = earlier.path.display();
                return Err(ModelError::format(path, format!("tensor {name} is also in {other}")));
            }
        }
        self.files.push(path.to_owned());
        Ok(())
    }

    /// What was opened: a file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        let mut seen: Vec<&Path> = Vec::new();
        let mut sum = 0;
        for (file, _) in self.found.values() {
            if !seen.contains(&file.path.as_path()) {
                seen.push(&file.path);
                sum += file.bytes.len() as u64;
            }
        }
        sum
    }

    /// Names, sorted.
    ///
    /// # Errors
    /// None today: the names were read when the files were opened.
    pub fn names(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.found.keys().cloned().collect())
    }

    /// Shape and type of a tensor; none when there is no such name.
    pub fn describe(&self, name: &str) -> Option<Description> {
        self.found.get(name).map(|(file, place)| Description {
            shape: place.shape.clone(),
            element: place.element,
            file: file.path.clone(),
        })
    }

    /// Whether two names stand for the same numbers of the same file.
    pub(crate) fn same_place(&self, one: &str, other: &str) -> bool {
        match (self.found.get(one), self.found.get(other)) {
            (Some((a, here)), Some((b, there))) => Arc::ptr_eq(a, b) && here == there,
            _ => false,
        }
    }

    /// A tensor's numbers as they stand in the file, row after row; none when there is no such name.
    pub fn raw(&self, name: &str) -> Option<Vec<u8>> {
        let (file, place) = self.found.get(name)?;
        let (bytes, count) = (place.element.bytes()?, place.count()?);
        let data = &file.bytes[place.start..place.end];
        let Some(strides) = &place.strides else { return Some(data[..count * bytes].to_vec()) };
        let mut gathered = Vec::with_capacity(count * bytes);
        let mut at = vec![0usize; place.shape.len()];
        for _ in 0..count {
            let from = at.iter().zip(strides).map(|(index, stride)| index * stride).sum::<usize>() * bytes;
            gathered.extend_from_slice(&data[from..from + bytes]);
            for (index, size) in at.iter_mut().zip(&place.shape).rev() {
                *index += 1;
                if *index < *size {
                    break;
                }
                *index = 0;
            }
        }
        Some(gathered)
    }

    /// The values and shape of a tensor as f32; none when there is no such name.
    ///
    /// # Errors
    /// When its type is not a float of 16, 32 or 64 bits.
    pub fn get(&self, name: &str) -> Result<Option<(Vec<f32>, Vec<usize>)>, ModelError> {
        let Some((file, place)) = self.found.get(name) else { return Ok(None) };
        let values = match (&place.strides, place.element.bytes().zip(place.count())) {
            // Read where it lies.
            (None, Some((bytes, count))) => place.element.to_f32(&file.bytes[place.start..place.start + bytes * count]),
            _ if place.element.is_float() => self.raw(name).and_then(|raw| place.element.to_f32(&raw)),
            _ => None,
        };
        let Some(values) = values else {
            let kind = place.element.name();
            return Err(ModelError::format(&file.path, format!("tensor {name} is of type {kind}, not a float")));
        };
        Ok(Some((values, place.shape.clone())))
    }
}

/// The tensors of one safetensors file.
fn safetensors(file: &Mapped) -> Result<Vec<(String, Place)>, ModelError> {
    let fail = |reason: String| ModelError::format(&file.path, reason);
    if file.bytes.starts_with(b"version https://git-lfs") {
        return Err(fail("is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`".into()));
    }
    let (header, metadata) = SafeTensors::read_metadata(&file.bytes)
        .map_err(|error| fail(format!("is not a whole safetensors file ({error}); was it cut short?")))?;
    let data = header.checked_add(8).ok_or_else(|| fail("has a header beyond its end".into()))?;
    metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let at = |offset: usize| data.checked_add(offset).filter(|&at| at <= file.bytes.len());
            let (Some(start), Some(end)) = (at(info.data_offsets.0), at(info.data_offsets.1)) else {
                return Err(fail(format!("tensor {name} reaches beyond the end of the file; was it cut short?")));
            };
            let place = Place { element: Element(info.dtype), shape: info.shape.clone(), start, strides: None, end };
            Ok((name, place))
        })
        .collect()
}
