//! Where the model is that a command names.

use crate::language_model::TaskError;
use loam_models::exchange::Source;
use loam_models::{gguf, lora};
use std::path::{Path, PathBuf};

/// The folder that `path` means: itself, a GGUF file, the `model/` of a run's folder, or that of a model on the Hub, fetched where it
/// is not there yet.
///
/// # Errors
/// When there is no such folder, or the model cannot be fetched.
pub fn model_folder(path: &Path) -> Result<PathBuf, TaskError> {
    if let Some(folder) = loam_hub::model(&path.to_string_lossy())? {
        return Ok(folder);
    }
    if !path.exists() {
        return Err(TaskError::Request(format!(
            "{}: there is no such folder; --model takes a folder with config.json, model.safetensors and tokenizer.json, \
             a GGUF file, a run's folder, or hf:org/name",
            path.display()
        )));
    }
    let inner = path.join("model");
    let holds = |folder: &Path| ["config.json", lora::CONFIGURATION].iter().any(|name| folder.join(name).exists());
    if holds(path) {
        Ok(path.to_owned())
    } else if let Some(file) = gguf::find(path)? {
        Ok(file)
    } else if holds(&inner) {
        Ok(inner)
    } else if path.join("recipe.toml").exists() {
        Err(TaskError::Request(format!(
            "{} is a run that has not finished, so it has no model yet; `loam train --resume -o {}` goes on with it",
            path.display(),
            path.display()
        )))
    } else {
        Ok(path.to_owned())
    }
}

/// The same with its weights, where also a single file of weights may be named.
///
/// # Errors
/// As [`model_folder`], and when there are no weights.
pub fn model_source(path: &Path) -> Result<Source, TaskError> {
    let folder = if path.is_file() { path.to_owned() } else { model_folder(path)? };
    Ok(Source::find(&folder)?)
}
