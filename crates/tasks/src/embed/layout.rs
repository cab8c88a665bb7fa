//! What a folder of sentence-transformers says beside its encoder: `modules.json`, how tokens are pooled, whether vectors are
//! normalized, how many tokens are read.

use super::{EmbedOptions, Pooling};
use crate::language_model::TaskError;
use crate::model_folder::json_beside;
use loam_models::{ModelError, weights};
use serde_json::{Value, json};
use std::path::Path;

/// Modules by their classes' names.
const MODULES: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

/// How hidden states become vectors, as far as a folder says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modules {
    /// How tokens are pooled.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1; none where there is no `modules.json`.
    pub normalize: Option<bool>,
    /// Tokens that are read of a text at most.
    pub longest: Option<usize>,
}

impl Modules {
    /// Reads them.
    ///
    /// # Errors
    /// When a file is broken or leads out of the folder, or asks for what Loam does not do.
    pub fn read(folder: &Path, options: EmbedOptions) -> Result<Self, TaskError> {
        let Some(list) = json_beside(&folder.join("modules.json"))? else { return Ok(Self::default()) };
        let mut modules = Self { normalize: Some(false), ..Self::default() };
        for module in list.as_array().into_iter().flatten() {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = text("type").rsplit('.').next().unwrap_or_default();
            match kind {
                "Transformer" => {}
                "Normalize" => modules.normalize = Some(true),
                "Pooling" => {
                    let path = text("path");
                    if path.split(['/', '\\']).any(|part| part == "..") || Path::new(path).is_absolute() {
                        return Err(TaskError::Request(format!("modules.json: {path:?} leads out of the folder")));
                    }
                    let config = json_beside(&folder.join(path).join("config.json"))?.unwrap_or_default();
                    modules.pooling = pooling(&config);
                    if modules.pooling.is_none() && options.pooling.is_none() {
                        return Err(TaskError::Request(format!(
                            "{}: pools in a way that Loam does not (mean, cls, and last are done); choose with --pooling",
                            folder.join(path).join("config.json").display()
                        )));
                    }
                }
                other => {
                    return Err(TaskError::Request(format!(
                        "{}: the module {other:?} is not one that Loam has; Transformer, Pooling, and Normalize are",
                        folder.join("modules.json").display()
                    )));
                }
            }
        }
        let limits = json_beside(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
        modules.longest = limits.get("max_seq_length").and_then(Value::as_u64).map(|longest| longest as usize);
        Ok(modules)
    }
}

/// Writes how an encoder of this width is used, as sentence-transformers reads it.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(
    folder: &Path,
    pooling: Pooling,
    normalize: bool,
    width: usize,
    longest: usize,
) -> Result<(), ModelError> {
    let kept = if normalize { 3 } else { 2 };
    let module = |(number, kind): (usize, &&str)| {
        let path = if number == 0 { String::new() } else { format!("{number}_{kind}") };
        json!({ "idx": number, "name": number.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}") })
    };
    let modules: Vec<Value> = MODULES[..kept].iter().enumerate().map(module).collect();
    weights::write_json(&folder.join("modules.json"), &Value::Array(modules))?;
    let below = folder.join("1_Pooling");
    std::fs::create_dir_all(&below).map_err(|source| ModelError::io(&below, source))?;
    let config = json!({
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == Pooling::Cls,
        "pooling_mode_mean_tokens": pooling == Pooling::Mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": pooling == Pooling::Last,
        "include_prompt": true,
    });
    weights::write_json(&below.join("config.json"), &config)?;
    let limits = json!({ "max_seq_length": longest, "do_lower_case": false });
    weights::write_json(&folder.join("sentence_bert_config.json"), &limits)?;
    let about = json!({
        "__version__": { "loam": env!("CARGO_PKG_VERSION") },
        "prompts": {},
        "default_prompt_name": null,
        "similarity_fn_name": "cosine",
    });
    weights::write_json(&folder.join("config_sentence_transformers.json"), &about)
}

/// The one way of pooling that is on.
fn pooling(config: &Value) -> Option<Pooling> {
    let on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let known = [
        ("pooling_mode_mean_tokens", Pooling::Mean),
        ("pooling_mode_cls_token", Pooling::Cls),
        ("pooling_mode_lasttoken", Pooling::Last),
    ];
    let others = ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"];
    let mut found = known.into_iter().filter(|(key, _)| on(key)).map(|(_, pooling)| pooling);
    match (found.next(), found.next(), others.into_iter().any(on)) {
        (Some(pooling), None, false) => Some(pooling),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (pooling, normalize) in [(Pooling::Mean, true), (Pooling::Cls, false), (Pooling::Last, true)] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), pooling, normalize, 8, 33).unwrap();
            let read = Modules::read(folder.path(), EmbedOptions::default()).unwrap();
            assert_eq!(read, Modules { pooling: Some(pooling), normalize: Some(normalize), longest: Some(33) });
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Modules::read(folder.path(), EmbedOptions::default()).unwrap(), Modules::default());
    }
}
