//! What a model folder holds, told without building the model.

use super::{Source, read_json, sorted};
use crate::error::ModelError;
use crate::weights::Tensors;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Parameters of the modules that share a name but for their layer's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModuleLine {
    /// The module's name, with `*` for numbers of layers.
    pub module: String,
    /// How many modules of this name there are.
    pub count: usize,
    /// Their parameters together.
    pub parameters: u64,
    /// Types of their numbers.
    pub dtypes: Vec<&'static str>,
}

/// A token with a meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecialToken {
    /// What for: `bos`, `eos`, `unk`, `sep`, `pad`, `cls`, `mask`.
    pub role: &'static str,
    /// As it is spelled, where the tokenizer says so.
    pub token: Option<String>,
    /// Its id, where `config.json` says so.
    pub id: Option<u64>,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileLine {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What a model folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The folder.
    pub path: String,
    /// `model_type`.
    pub family: String,
    /// Classes in transformers.
    pub architectures: Vec<String>,
    /// Numbers in floating-point tensors; tied copies count once where the file shares them.
    pub parameters: u64,
    /// Tensors in the files.
    pub tensors: usize,
    /// Parameters by type as they are stored.
    pub dtypes: BTreeMap<&'static str, u64>,
    /// Bytes of the weights in memory, by precision.
    pub memory: BTreeMap<&'static str, u64>,
    /// Parameters by module, in the order of their names.
    pub modules: Vec<ModuleLine>,
    /// Token ids.
    pub vocabulary: Option<u64>,
    /// Longest sequence, in tokens.
    pub context: Option<u64>,
    /// Tokens with a meaning of their own.
    pub special_tokens: Vec<SpecialToken>,
    /// The chat template, as text.
    pub chat_template: Option<String>,
    /// Files of the folder.
    pub files: Vec<FileLine>,
}

const ROLES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

/// Tells what a model on disk holds.
///
/// # Errors
/// When its files cannot be read.
pub fn inspect(source: &Source) -> Result<Inspection, ModelError> {
    let configuration = source.configuration()?;
    let tensors = Tensors::open(&source.weights)?;
    let names = super::to_write(&tensors)?;
    let mut dtypes: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut modules: BTreeMap<String, (BTreeSet<String>, u64, BTreeSet<&'static str>)> = BTreeMap::new();
    for name in &names {
        let Some(description) = tensors.describe(name) else { continue };
        if !description.element.is_float() {
            continue;
        }
        let count = description.shape.iter().product::<usize>() as u64;
        let dtype = description.element.name();
        *dtypes.entry(dtype).or_default() += count;
        let (module, own) = module(name);
        let line = modules.entry(module).or_default();
        line.0.insert(own);
        line.1 += count;
        line.2.insert(dtype);
    }
    let parameters: u64 = dtypes.values().sum();
    let modules = modules
        .into_iter()
        .map(|(module, (own, parameters, dtypes))| ModuleLine {
            module,
            count: own.len(),
            parameters,
            dtypes: dtypes.into_iter().collect(),
        })
        .collect();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // Models that also see keep their text's sizes in a part of their own.
    let number = |keys: &[&str]| {
        let inner = configuration.get("text_config");
        keys.iter().find_map(|key| configuration.get(*key).or_else(|| inner?.get(*key))?.as_u64())
    };
    let family = configuration.get("model_type").and_then(text).unwrap_or_else(|| "none".to_owned());
    let mut context = number(&["n_positions", "max_position_embeddings", "context", "context_length", "n_ctx"]);
    if matches!(family.as_str(), "roberta" | "xlm-roberta" | "camembert") {
        // Positions begin behind the padding's.
        context = context.map(|rows| rows.saturating_sub(number(&["pad_token_id"]).unwrap_or(1) + 1));
    }
    let architectures = configuration.get("architectures").and_then(Value::as_array);
    Ok(Inspection {
        path: source.folder.display().to_string(),
        family,
        architectures: architectures.into_iter().flatten().filter_map(text).collect(),
        parameters,
        tensors: names.len(),
        memory: BTreeMap::from([("bf16", parameters.saturating_mul(2)), ("f32", parameters.saturating_mul(4))]),
        dtypes,
        modules,
        vocabulary: number(&["vocab_size"]),
        context,
        special_tokens: special_tokens(&source.folder, &configuration)?,
        chat_template: chat_template(&source.folder)?,
        files: sorted(&source.folder)?
            .into_iter()
            .filter(|path| path.is_file())
            .filter_map(|path| {
                let bytes = std::fs::metadata(&path).ok()?.len();
                Some(FileLine { name: path.file_name()?.to_string_lossy().into_owned(), bytes })
            })
            .collect(),
    })
}

/// The module of a parameter: with `*` for numbers, up to the part behind the last number; and as it stands.
fn module(name: &str) -> (String, String) {
    let parts: Vec<&str> = name.split('.').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let first = parts.iter().position(is_number);
    // Behind a layer's number one part more; elsewhere everything but `weight` or `bias`.
    let end = match first {
        Some(at) => (at + 2).min(parts.len().saturating_sub(1)).max(at + 1),
        None => parts.len().saturating_sub(1).max(1),
    };
    let shown: Vec<&str> = parts[..end].iter().map(|part| if is_number(part) { "*" } else { part }).collect();
    (shown.join("."), parts[..end].join("."))
}

fn optional(folder: &Path, name: &str) -> Result<Value, ModelError> {
    let path = folder.join(name);
    if path.exists() { read_json(&path) } else { Ok(Value::Null) }
}

fn special_tokens(folder: &Path, configuration: &Value) -> Result<Vec<SpecialToken>, ModelError> {
    let (own, map) = (optional(folder, "tokenizer_config.json")?, optional(folder, "special_tokens_map.json")?);
    let spelled = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    let tokens = ROLES.into_iter().filter_map(|role| {
        let key = format!("{role}_token");
        let token = own.get(&key).and_then(spelled).or_else(|| map.get(&key).and_then(spelled));
        let id = configuration.get(format!("{role}_token_id")).and_then(Value::as_u64);
        (token.is_some() || id.is_some()).then_some(SpecialToken { role, token, id })
    });
    Ok(tokens.collect())
}

/// From a file of its own, or from the tokenizer's configuration: one text, or several with names, of which the one
/// called `default` counts.
fn chat_template(folder: &Path) -> Result<Option<String>, ModelError> {
    let path = folder.join("chat_template.jinja");
    if path.exists() {
        return std::fs::read_to_string(&path).map(Some).map_err(|source| ModelError::io(&path, source));
    }
    let configuration = optional(folder, "tokenizer_config.json")?;
    let template = configuration.get("chat_template");
    let named = template.and_then(Value::as_array).and_then(|templates| {
        let default = |one: &&Value| one.get("name").and_then(Value::as_str) == Some("default");
        templates.iter().find(default).or_else(|| templates.first())?.get("template")?.as_str()
    });
    Ok(template.and_then(Value::as_str).or(named).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::module;

    #[test]
    fn layers_share_a_line() {
        let line = |name: &str| module(name).0;
        assert_eq!(line("transformer.h.3.attn.c_attn.weight"), "transformer.h.*.attn");
        assert_eq!(line("transformer.wte.weight"), "transformer.wte");
        assert_eq!(line("final_logits_bias"), "final_logits_bias");
        assert_eq!(line("encoder.layer.0.output.LayerNorm.bias"), "encoder.layer.*.output");
        assert_eq!(line("layers.0.weight"), "layers.*");
    }
}
