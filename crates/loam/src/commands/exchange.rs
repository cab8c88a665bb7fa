//! `loam import`, `loam export`.

use super::Misuse;
use crate::arguments::{ExportArguments, Global, ImportArguments};
use crate::terminal::{Terminal, count};
use loam_models::bert::{Bert, Family};
use loam_models::exchange::{self, Origin, Written};
use loam_models::seq2seq::Seq2Seq;
use loam_models::weights::{Precision, WriteOptions};
use loam_models::{CausalModel, ModelError};
use loam_nn::burn::tensor::Device;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub fn import(arguments: &ImportArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = options(global, &arguments.max_shard_size)?;
    let name = arguments.source.to_string_lossy();
    let base_model = match loam_hub::is_reference(&name) {
        true => Some(loam_hub::Reference::parse(&name)?.repository),
        false => None,
    };
    let source = loam_tasks::model_source(&arguments.source)?;
    let written = exchange::write(&source, &arguments.out, &options, &Origin { base_model })?;
    if !opens(&written.folder, terminal)? {
        terminal.warning("no family of Loam reads this model; it was converted, and loam inspect shows it");
    }
    tell(&written, terminal)
}

pub fn export(arguments: &ExportArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = options(global, &arguments.max_shard_size)?;
    let source = loam_tasks::model_source(&arguments.model)?;
    let end = arguments.out.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    let written = match end.as_deref() {
        Some("safetensors") => exchange::write_file(&source, &arguments.out, &options)?,
        Some(end @ ("bin" | "pt" | "pth" | "onnx" | "h5")) => {
            return Err(Misuse(format!(
                "-o {}: .{end} is not written; a folder or .safetensors is",
                arguments.out.display()
            ))
            .into());
        }
        _ => exchange::write(&source, &arguments.out, &options, &Origin::default())?,
    };
    tell(&written, terminal)
}

fn options(global: &Global, max_shard_size: &str) -> anyhow::Result<WriteOptions> {
    let precision = global.dtype.as_deref().map(|dtype| match dtype {
        "f16" => Precision::F16,
        "bf16" => Precision::Bf16,
        _ => Precision::F32,
    });
    let size = exchange::parse_size(max_shard_size).map_err(|error| Misuse(format!("--max-shard-size: {error}")))?;
    Ok(WriteOptions { precision, max_shard_size: Some(size) })
}

/// Opens what was imported, so that missing and unknown tensors are told now; false where no family reads it.
fn opens(folder: &Path, terminal: Terminal) -> Result<bool, ModelError> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let device = Device::flex();
    let opened = if Family::ALL.iter().any(|known| known.name() == family) {
        Bert::load(folder, &device).map(drop)
    } else if family == "marian" {
        Seq2Seq::load(folder, &device).map(drop)
    } else if CausalModel::model_types().contains(&family) {
        CausalModel::load(folder, &device).map(drop)
    } else {
        return Ok(false);
    };
    match opened {
        Ok(()) => Ok(true),
        Err(error) => {
            terminal.warning(format_args!("{} was written, but does not open as {family}", folder.display()));
            Err(error)
        }
    }
}

fn tell(written: &Written, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let path = match &written.weights[..] {
        [file] if written.beside.is_empty() => written.folder.join(file),
        _ => written.folder.clone(),
    };
    if terminal.json() {
        terminal.result(json!({
            "path": path.display().to_string(),
            "files": written.weights.iter().chain(&written.beside).collect::<Vec<_>>(),
            "tensors": written.tensors,
            "parameters": written.parameters,
            "dtype": written.dtype,
            "bytes": written.bytes,
        }))?;
    } else {
        terminal.say(format_args!(
            "{} parameters in {} tensors, {}, {} bytes: {}",
            count(written.parameters),
            count(written.tensors as u64),
            written.dtype,
            count(written.bytes),
            written.weights.join(", ")
        ));
        if !written.beside.is_empty() {
            terminal.say(format_args!("beside them: {}", written.beside.join(", ")));
        }
        terminal.result(path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
