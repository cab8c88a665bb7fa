//! Where the model is that a command names.

use crate::language_model::TaskError;
use loam_corpus::Tokenizer;
use loam_models::exchange::Source;
use loam_models::{ModelError, gguf, lora};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Refuses a tokenizer, read from `folder`, that has more ids than its model has: one of them would be asked for sooner or
/// later.
pub(crate) fn belongs_to(tokenizer: &Tokenizer, folder: &Path, vocabulary: usize) -> Result<(), TaskError> {
    if tokenizer.vocabulary() <= vocabulary {
        return Ok(());
    }
    Err(TaskError::Request(format!(
        "{}: the tokenizer has {} ids and the model {vocabulary}; they do not belong together",
        folder.display(),
        tokenizer.vocabulary()
    )))
}

/// What a file of JSON beside a model holds; none where it is not there.
pub(crate) fn json_beside(path: &Path) -> Result<Option<Value>, TaskError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io(path, error).into()),
    };
    let value = serde_json::from_str(&text);
    value.map(Some).map_err(|error| ModelError::format(path, format!("is not valid JSON: {error}")).into())
}

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

/// Where a model is that may have adapters.
pub(crate) struct Place {
    /// The model itself, or the base of the adapters.
    pub model: PathBuf,
    /// Adapters to put into it.
    pub adapter: Option<PathBuf>,
    /// Where its tokenizer and chat template are.
    pub tokenizer: PathBuf,
}

/// Finds a model and its adapters (PEFT's files). Where `path` itself holds adapters, the model is the base that they name.
///
/// # Errors
/// As [`model_folder`], and when there are two adapters or the base of one is not to be found.
pub(crate) fn place(path: &Path, adapter: Option<&Path>) -> Result<Place, TaskError> {
    let own = model_folder(path)?;
    let adapter = adapter.map(model_folder).transpose()?;
    let Some(base) = lora::base_of(&own)?.filter(|_| !own.join("config.json").exists()) else {
        return Ok(Place { model: own.clone(), adapter, tokenizer: own });
    };
    if adapter.is_some() {
        let message = format!("{} holds adapters itself; name their base with --model", own.display());
        return Err(TaskError::Request(message));
    }
    let model = model_folder(Path::new(&base))
        .map_err(|error| TaskError::Request(format!("{}: the base of these adapters: {error}", own.display())))?;
    // Adapters that Loam trained have the tokenizer and the chat template with them.
    let tokenizer = if own.join("tokenizer.json").exists() { own.clone() } else { model.clone() };
    Ok(Place { model, adapter: Some(own), tokenizer })
}
