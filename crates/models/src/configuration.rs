//! What the families' `config.json` have in common: reading one, and refusing what no model can have before memory is
//! taken for it.

use crate::error::ModelError;
use crate::weights::{self, Tensors};
use loam_nn::Activation;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest size that a configuration may ask for in one dimension.
const LARGEST: usize = 1 << 28;

/// A folder's `config.json` as it stands there.
pub(crate) struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub value: Value,
    /// Its `model_type`, one of those that were asked for.
    pub family: String,
}

impl File {
    /// Reads `config.json` of a folder; its `model_type` has to be one of `families`.
    pub fn read(folder: &Path, families: &[&str]) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| ModelError::format(&path, format!("is not valid JSON: {error}")))?;
        let family = value.get("model_type").and_then(Value::as_str).unwrap_or("none").to_owned();
        if !families.contains(&family.as_str()) {
            let known = families.iter().map(|family| format!("{family:?}")).collect::<Vec<_>>().join(" or ");
            return Err(ModelError::format(&path, format!("model_type is {family:?}; {known} is read here")));
        }
        Ok(Self { path, value, family })
    }

    /// Refuses a key that has another value than the only one that is supported; an absent one has that value.
    pub fn require(&self, key: &str, supported: &Value) -> Result<(), ModelError> {
        match self.value.get(key) {
            Some(value) if value != supported && !value.is_null() => {
                Err(ModelError::format(&self.path, format!("{key} = {value} is not supported; {supported} is")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses sizes that the weights beside it cannot fill; what holds the weights comes back (a file, or the index of
    /// several), for [`crate::weights::load_as`].
    pub fn weights(&self, parameters: Option<u64>) -> Result<PathBuf, ModelError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = weights::find(folder)?;
        let bytes = Tensors::open(&path)?.bytes();
        if parameters.is_none_or(|count| count > bytes / 2) {
            let count = parameters.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_suffix(".index.json").unwrap_or(&name);
            return Err(ModelError::format(
                &self.path,
                format!("asks for {count} parameters, and {name} has only {bytes} bytes"),
            ));
        }
        Ok(path)
    }
}

/// Refuses a file whose `architectures` name a class of another head. A class without a head, or none at all, passes: what
/// the weights lack is named when they are read.
pub(crate) fn check_class(file: &File, class: &str) -> Result<(), ModelError> {
    let classes: Vec<&str> = file
        .value
        .get("architectures")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let head = class.find("For").map_or(class, |at| &class[at..]);
    let other = classes.iter().find(|class| class.contains("For") && !class.ends_with(head));
    match other {
        Some(other) if !classes.iter().any(|class| class.ends_with(head)) => Err(ModelError::format(
            &file.path,
            format!("architectures has {other:?}; a model of {class:?} is read here"),
        )),
        _ => Ok(()),
    }
}

fn fail(reason: String) -> Result<(), ModelError> {
    Err(ModelError::Configuration(reason))
}

/// Refuses sizes of nothing and sizes beyond every model.
pub(crate) fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, size)| *size == 0 || *size > LARGEST) {
        Some((name, size)) => fail(format!("{name} = {size} is not a size that a model can have")),
        None => Ok(()),
    }
}

/// Refuses a width that its heads cannot share.
pub(crate) fn check_heads(width: (&str, usize), heads: (&str, usize)) -> Result<(), ModelError> {
    if width.1.is_multiple_of(heads.1) {
        return Ok(());
    }
    fail(format!("{} = {} is not a multiple of {} = {}", width.0, width.1, heads.0, heads.1))
}

/// Refuses what is not a probability below 1.
pub(crate) fn check_probabilities(probabilities: &[(&str, f64)]) -> Result<(), ModelError> {
    match probabilities.iter().find(|(_, p)| !(0.0..1.0).contains(p)) {
        Some((name, p)) => fail(format!("{name} = {p} is not a probability below 1")),
        None => Ok(()),
    }
}

/// Refuses what is not a finite number above 0.
pub(crate) fn check_positive(numbers: &[(&str, f64)]) -> Result<(), ModelError> {
    match numbers.iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
        Some((name, x)) => fail(format!("{name} = {x} is not a finite number above 0")),
        None => Ok(()),
    }
}

/// Refuses a token id outside the vocabulary.
pub(crate) fn check_token(name: &str, id: Option<usize>, vocabulary: usize) -> Result<(), ModelError> {
    match id.filter(|id| *id >= vocabulary) {
        Some(id) => fail(format!("{name} = {id} is outside a vocabulary of {vocabulary}")),
        None => Ok(()),
    }
}

/// The activation that transformers calls `name`.
pub(crate) fn activation(key: &str, name: &str) -> Result<Activation, ModelError> {
    Ok(match name {
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        _ => {
            let known = "gelu, gelu_new, relu, silu, sigmoid, tanh";
            return Err(ModelError::Configuration(format!(
                "{key} = {name:?} is not an activation; these are: {known}"
            )));
        }
    })
}

fn wrong(key: &str, value: &Value, expected: &str) -> ModelError {
    ModelError::Configuration(format!("{key} = {value} is not {expected}"))
}

/// A key's value; null is as good as absent.
fn present<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| !value.is_null())
}

/// A key that holds a size.
pub(crate) fn read_size(value: &Value, key: &str) -> Result<Option<usize>, ModelError> {
    let read = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
    present(value, key).map(|value| read(value).ok_or_else(|| wrong(key, value, "a whole number"))).transpose()
}

/// A key that holds a number.
pub(crate) fn read_number(value: &Value, key: &str) -> Result<Option<f64>, ModelError> {
    present(value, key).map(|value| value.as_f64().ok_or_else(|| wrong(key, value, "a number"))).transpose()
}

/// A key that holds true or false.
pub(crate) fn read_bool(value: &Value, key: &str) -> Result<Option<bool>, ModelError> {
    present(value, key).map(|value| value.as_bool().ok_or_else(|| wrong(key, value, "true or false"))).transpose()
}

/// A key that holds a text.
pub(crate) fn read_text(value: &Value, key: &str) -> Result<Option<String>, ModelError> {
    let read = |value: &Value| value.as_str().map(str::to_owned);
    present(value, key).map(|value| read(value).ok_or_else(|| wrong(key, value, "a text"))).transpose()
}

/// A key that holds a list of true and false, which 1 and 0 may stand for.
pub(crate) fn read_flags(value: &Value, key: &str) -> Result<Option<Vec<bool>>, ModelError> {
    let flag = |value: &Value| value.as_bool().or_else(|| value.as_u64().map(|number| number != 0));
    let read = |value: &Value| value.as_array()?.iter().map(flag).collect::<Option<Vec<bool>>>();
    present(value, key).map(|value| read(value).ok_or_else(|| wrong(key, value, "a list of 0 and 1"))).transpose()
}
