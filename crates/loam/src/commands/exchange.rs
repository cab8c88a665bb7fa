//! `loam import`, `loam export`.

use super::Misuse;
use crate::arguments::{ExportArguments, Global, ImportArguments};
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_models::bert::{Bert, Family, SpanBert, TokenBert};
use loam_models::exchange::{self, Origin, Written};
use loam_models::gguf::{self, TensorKind};
use loam_models::weights::{Precision, WriteOptions};
use loam_models::{CausalModel, Classifier, LanguageModel, ModelError, SourceToTarget, lora};
use loam_nn::burn::tensor::Device;
use loam_tasks::{LoadedModel, SourceModel};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn import(arguments: &ImportArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = options(global, &arguments.max_shard_size)?;
    let name = arguments.source.to_string_lossy();
    let base_model =
        if loam_hub::is_reference(&name) { Some(loam_hub::Reference::parse(&name)?.repository) } else { None };
    if let Some(file) = gguf_file(&arguments.source)? {
        let converted = converted(&file, None, &arguments.out)?;
        let source = loam_tasks::model_source(converted.path())?;
        let written = exchange::write(&source, &arguments.out, &options, &Origin { base_model })?;
        return tell(&written, terminal);
    }
    let source = loam_tasks::model_source(&arguments.source)?;
    let written = exchange::write(&source, &arguments.out, &options, &Origin { base_model })?;
    if !opens(&written.folder, terminal)? {
        terminal.warning("no family of Loam reads this model; it was converted, and loam inspect shows it");
    }
    tell(&written, terminal)
}

pub fn export(arguments: &ExportArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = options(global, &arguments.max_shard_size)?;
    let end = arguments.out.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    if end.as_deref() == Some("gguf") {
        return to_gguf(arguments, global, terminal);
    }
    if let Some(kind) = &arguments.quantize {
        let out = arguments.out.display();
        return Err(Misuse(format!("--quantize {kind} is for .gguf files, and -o is {out}")).into());
    }
    let adapter = arguments.adapter.as_deref();
    let converted = if adapter.is_some() || lora::base_of(&loam_tasks::model_folder(&arguments.model)?)?.is_some() {
        Some(converted(&arguments.model, adapter, &arguments.out)?)
    } else {
        gguf_file(&arguments.model)?.map(|file| converted(&file, None, &arguments.out)).transpose()?
    };
    let model = converted.as_ref().map_or(arguments.model.as_path(), |folder| folder.path());
    let source = loam_tasks::model_source(model)?;
    let written = match end.as_deref() {
        Some("safetensors") => exchange::write_file(&source, &arguments.out, &options)?,
        Some(end @ ("bin" | "pt" | "pth" | "onnx" | "h5")) => {
            return Err(Misuse(format!(
                "-o {}: .{end} is not written; a folder, .safetensors, or .gguf is",
                arguments.out.display()
            ))
            .into());
        }
        _ => exchange::write(&source, &arguments.out, &options, &Origin::default())?,
    };
    tell(&written, terminal)
}

/// The GGUF file that a model's name means, if it means one.
fn gguf_file(model: &Path) -> anyhow::Result<Option<PathBuf>> {
    if loam_hub::is_reference(&model.to_string_lossy()) {
        return Ok(None);
    }
    Ok(gguf::find(model)?)
}

/// Where a model folder has its chat template.
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The model of a GGUF file, or a model with its adapters merged, in the Hugging Face layout, in a folder beside `out` that goes when it is dropped.
fn converted(file: &Path, adapter: Option<&Path>, out: &Path) -> anyhow::Result<tempfile::TempDir> {
    let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside).with_context(|| beside.display().to_string())?;
    let folder = tempfile::Builder::new().prefix(".loam-convert").tempdir_in(beside);
    let folder = folder.with_context(|| beside.display().to_string())?;
    if let Some(model) = SourceModel::open_adapted(file, adapter, &Device::flex())? {
        model.save(folder.path())?;
        return Ok(folder);
    }
    let loaded = LoadedModel::open_adapted(file, adapter, &Device::flex())?;
    loaded.model.save(folder.path(), loaded.tokenizer.end_of_text())?;
    loaded.tokenizer.save(folder.path())?;
    if let Some(template) =
        loaded.folder().map(|folder| folder.join(CHAT_TEMPLATE)).filter(|template| template.exists())
    {
        std::fs::copy(&template, folder.path().join(CHAT_TEMPLATE)).with_context(|| template.display().to_string())?;
    }
    Ok(folder)
}

/// One file with model, tokenizer, and chat template.
fn to_gguf(arguments: &ExportArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let kind = match (arguments.quantize.as_deref(), global.dtype.as_deref()) {
        (Some(kind), Some(dtype)) => {
            return Err(Misuse(format!("--quantize {kind} and --dtype {dtype}: give one of them")).into());
        }
        (Some("q4_0"), None) => TensorKind::Q4_0,
        (Some(_), None) => TensorKind::Q8_0,
        (None, Some("f16")) => TensorKind::F16,
        (None, Some("bf16")) => TensorKind::BF16,
        (None, _) => TensorKind::F32,
    };
    let loaded = LoadedModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), &Device::flex())?;
    let out = &arguments.out;
    loaded.save_gguf(out, kind)?;
    let bytes = std::fs::metadata(out).with_context(|| out.display().to_string())?.len();
    if terminal.json() {
        terminal.result(json!({ "path": out.display().to_string(), "kind": format!("{kind:?}"), "bytes": bytes }))?;
    } else {
        terminal.say(format_args!("matrices as {kind:?}, {} bytes", count(bytes)));
        terminal.result(out.display())?;
    }
    Ok(ExitCode::SUCCESS)
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
    let class = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or_default();
    let bert = Family::ALL.iter().any(|known| known.name() == family);
    let opened = if class.ends_with("ForSequenceClassification") && Classifier::model_types().contains(&family) {
        Classifier::load(folder, &device).map(drop)
    } else if bert && class.ends_with("ForTokenClassification") {
        TokenBert::load(folder, &device).map(drop)
    } else if bert && class.ends_with("ForQuestionAnswering") {
        SpanBert::load(folder, &device).map(drop)
    } else if bert {
        Bert::load(folder, &device).map(drop)
    } else if SourceToTarget::model_types().contains(&family) {
        SourceToTarget::load(folder, &device).map(drop)
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
