//! PyTorch's files: what `torch.save` writes of a state dict, in its container of today (a zip archive) and in the one
//! from before version 1.6.
//!
//! Both hold a pickle, which Python reads by running it. Here nothing runs: [`pickle`] builds plain values, knows the
//! few names that a state dict needs, and refuses every other by name.

mod archive;
mod legacy;
mod pickle;

use super::element::Element;
use super::tensors::{Mapped, Place};
use crate::error::ModelError;
use pickle::{Pickle, StorageType, TensorRecord, Value};
use std::collections::{HashMap, HashSet};

/// Where a storage's bytes stand in a file.
#[derive(Clone, Copy, Debug)]
struct Storage {
    start: usize,
    end: usize,
}

/// Whether these bytes begin as one of PyTorch's containers does.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    archive::looks_like(bytes) || legacy::looks_like(bytes)
}

/// The tensors of a file of PyTorch's.
pub(super) fn read(file: &Mapped) -> Result<Vec<(String, Place)>, ModelError> {
    let bytes = &file.bytes[..];
    let places = if archive::looks_like(bytes) {
        archive::read(bytes)
    } else if legacy::looks_like(bytes) {
        legacy::read(bytes)
    } else if bytes.starts_with(b"version https://git-lfs") {
        Err("is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`".to_owned())
    } else {
        Err("is not a file that torch.save wrote: neither a zip archive nor the format before it; was it cut short?"
            .to_owned())
    };
    places.map_err(|reason| ModelError::format(&file.path, reason))
}

/// The tensors of a state dict whose storages stand at these places of the file.
fn place(pickle: &Pickle, root: Value, storages: &HashMap<String, Storage>) -> Result<Vec<(String, Place)>, String> {
    let tensors = state_dict(pickle, root)?;
    let mut seen: HashSet<&str> = HashSet::new();
    let mut places = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if !seen.insert(name) {
            return Err(format!("tensor {name} is there twice"));
        }
        places.push((name.to_owned(), locate(pickle, tensor, storages).map_err(|e| format!("tensor {name}: {e}"))?));
    }
    Ok(places)
}

fn locate(pickle: &Pickle, tensor: &TensorRecord, storages: &HashMap<String, Storage>) -> Result<Place, String> {
    let storage = &pickle.storages[tensor.storage];
    let held = storages.get(storage.key).ok_or_else(|| format!("its storage {:?} is not in the file", storage.key))?;
    let StorageType(element) = storage.kind;
    let bytes = Element(element).bytes().ok_or("its numbers do not fill bytes")?;
    let end = storage
        .count
        .checked_mul(bytes)
        .and_then(|length| held.start.checked_add(length))
        .filter(|&end| end <= held.end)
        .ok_or_else(|| {
            let room = held.end - held.start;
            format!("its storage is said to have {} numbers, and has {room} bytes", storage.count)
        })?;
    let skipped = tensor.offset.checked_add(storage.view).and_then(|offset| offset.checked_mul(bytes));
    let start = skipped
        .and_then(|skipped| held.start.checked_add(skipped))
        .filter(|&start| start <= end)
        .ok_or_else(|| format!("begins {} numbers into a storage of {}", tensor.offset, storage.count))?;
    let strides = (!contiguous(&tensor.shape, &tensor.strides)).then(|| tensor.strides.clone());
    Ok(Place { element: Element(element), shape: tensor.shape.clone(), start, strides, end })
}

/// Whether rows follow each other; strides of dimensions of one element mean nothing.
fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size <= 1 || stride == expected;
            expected = expected.saturating_mul(size.max(1));
            fits
        })
}

/// The tensors of a dict from names to tensors, or of the one that a training script put under a usual key.
fn state_dict<'p, 'a>(pickle: &'p Pickle<'a>, root: Value) -> Result<Vec<(&'a str, &'p TensorRecord)>, String> {
    let Value::Dict(root) = root else {
        return Err(format!(
            "holds {}, not a state dict; save one with torch.save(model.state_dict(), …)",
            root.kind()
        ));
    };
    let tensors_of = |dict: usize| -> Vec<(&'a str, &'p TensorRecord)> {
        let entries = pickle.dicts[dict].iter();
        entries
            .filter_map(|(key, value)| match (key, value) {
                (Value::Text(name), Value::Tensor(tensor)) => Some((pickle.texts[*name], &pickle.tensors[*tensor])),
                _ => None,
            })
            .collect()
    };
    let found = tensors_of(root);
    if !found.is_empty() {
        return Ok(found);
    }
    for (key, value) in &pickle.dicts[root] {
        if let (Value::Text(key), Value::Dict(inner)) = (key, value)
            && ["state_dict", "model_state_dict", "model"].contains(&pickle.texts[*key])
        {
            return Ok(tensors_of(*inner));
        }
    }
    Err("holds no tensors under names".into())
}
