//! Models in and out of Hugging Face's layout, whatever their family: weights are converted tensor by tensor, and what
//! stands beside them (tokenizer, chat template, generation settings) is carried along as it is.

mod card;
mod inspect;

pub use card::Origin;
pub use inspect::{FileLine, Inspection, ModuleLine, SpecialToken, inspect};

use crate::error::ModelError;
use crate::weights::{self, Element, Tensors, WriteOptions, write_json, write_synced};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that is carried along beside weights, in bytes.
const LARGEST_BESIDE: u64 = 256 << 20;

/// Names of tied weights, which some files hold a second time.
const TIED: [&str; 11] = [
    "lm_head.weight",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "vocab_projector.weight",
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "decoder.weight",
];

/// A model on disk: a folder with its configuration, and its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The folder of `config.json` and of what stands beside it.
    pub folder: PathBuf,
    /// What [`Tensors::open`] opens.
    pub weights: PathBuf,
}

impl Source {
    /// Finds a model at `path`: a folder in the Hugging Face layout, a run's folder, or a file of weights with
    /// `config.json` beside it.
    ///
    /// # Errors
    /// When there is nothing, or no configuration or no weights.
    pub fn find(path: &Path) -> Result<Self, ModelError> {
        let metadata = fs::metadata(path).map_err(|source| ModelError::io(path, source))?;
        let (folder, weights) = if metadata.is_dir() {
            let inner = path.join("model");
            let of_run = !path.join("config.json").exists() && inner.join("config.json").exists();
            let folder = if of_run { inner } else { path.to_owned() };
            (folder.clone(), weights::find(&folder))
        } else {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (parent.to_owned(), Ok(path.to_owned()))
        };
        if !folder.join("config.json").exists() {
            let reason = "holds no config.json, which says what the weights are; put the model's own beside them";
            return Err(ModelError::format(&folder, reason));
        }
        Ok(Self { folder, weights: weights? })
    }

    /// Its `config.json`.
    ///
    /// # Errors
    /// When it cannot be read or is not a JSON object.
    pub fn configuration(&self) -> Result<Value, ModelError> {
        let value = read_json(&self.folder.join("config.json"))?;
        if value.is_object() {
            return Ok(value);
        }
        Err(ModelError::format(self.folder.join("config.json"), "is not a JSON object"))
    }
}

fn read_json(path: &Path) -> Result<Value, ModelError> {
    let text = fs::read_to_string(path).map_err(|source| ModelError::io(path, source))?;
    serde_json::from_str(&text).map_err(|error| ModelError::format(path, format!("is not valid JSON: {error}")))
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where.
    pub folder: PathBuf,
    /// Names of the files with weights, and of their index.
    pub weights: Vec<String>,
    /// Names of what was carried along or written beside them.
    pub beside: Vec<String>,
    /// Tensors.
    pub tensors: usize,
    /// Numbers in floating-point tensors.
    pub parameters: u64,
    /// Bytes of the files with weights.
    pub bytes: u64,
    /// What `config.json` calls the precision of most numbers.
    pub dtype: &'static str,
}

/// Names of the tensors to write: all but second copies of tied ones.
fn to_write(tensors: &Tensors) -> Result<Vec<String>, ModelError> {
    let names = tensors.names()?;
    let copy = |name: &String| {
        TIED.contains(&name.as_str()) && names.iter().any(|other| other != name && tensors.same_place(name, other))
    };
    Ok(names.iter().filter(|name| !copy(name)).cloned().collect())
}

/// Writes a model into a new folder in the Hugging Face layout, aside and renamed.
///
/// # Errors
/// When something cannot be read or written, a value does not fit the precision, or the folder is not empty.
pub fn write(source: &Source, folder: &Path, options: &WriteOptions, origin: &Origin) -> Result<Written, ModelError> {
    let taken = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file();
    if taken {
        return Err(ModelError::format(folder, "is there already; remove it or name another folder"));
    }
    let mut configuration = source.configuration()?;
    let tensors = Tensors::open(&source.weights)?;
    let names = to_write(&tensors)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = folder.file_name() else {
        return Err(ModelError::format(folder, "names no folder that could be made"));
    };
    let aside = parent.join(format!(".{}.partial", name.to_string_lossy()));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|source| ModelError::io(&aside, source))?;
    }
    fs::create_dir_all(&aside).map_err(|source| ModelError::io(&aside, source))?;
    let mut write = || -> Result<Written, ModelError> {
        let files = weights::write_weights(&tensors, &names, &aside, options)?;
        let (dtype, parameters) = numbers(&tensors, &names, options);
        set_dtype(&mut configuration, dtype);
        let mut beside = carry(&source.folder, &aside)?;
        write_json(&aside.join("config.json"), &configuration)?;
        if !beside.iter().any(|file| file == "README.md") {
            let title = name.to_string_lossy();
            let card = card::card(&title, &configuration, parameters, dtype, &source.folder, origin);
            write_synced(&aside.join("README.md"), card.as_bytes())?;
            beside.push("README.md".into());
        }
        beside.push("config.json".into());
        beside.sort();
        let bytes = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum();
        let weights = files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
        let folder = folder.to_owned();
        Ok(Written { folder, weights, beside, tensors: names.len(), parameters, bytes, dtype })
    };
    let written = write().and_then(|written| {
        // An empty folder may stand in the way.
        let _ = fs::remove_dir(folder);
        fs::rename(&aside, folder).map_err(|source| ModelError::io(folder, source))?;
        Ok(written)
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(&aside);
    }
    written
}

/// Writes a model's weights alone into one safetensors file, aside and renamed.
///
/// # Errors
/// As [`write()`].
pub fn write_file(source: &Source, file: &Path, options: &WriteOptions) -> Result<Written, ModelError> {
    let tensors = Tensors::open(&source.weights)?;
    let names = to_write(&tensors)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = parent.join(format!(".{name}.partial"));
    fs::create_dir_all(&aside).map_err(|source| ModelError::io(&aside, source))?;
    let whole = WriteOptions { max_shard_size: None, ..*options };
    let written = weights::write_weights(&tensors, &names, &aside, &whole).and_then(|files| {
        fs::rename(&files[0], file).map_err(|source| ModelError::io(file, source))?;
        let bytes = fs::metadata(file).map_err(|source| ModelError::io(file, source))?.len();
        let (dtype, parameters) = numbers(&tensors, &names, options);
        let (folder, weights, beside) = (parent.to_owned(), vec![name], Vec::new());
        Ok(Written { folder, weights, beside, tensors: names.len(), parameters, bytes, dtype })
    });
    let _ = fs::remove_dir_all(&aside);
    written
}

/// The type of most numbers that are written, and how many floats there are.
fn numbers(tensors: &Tensors, names: &[String], options: &WriteOptions) -> (&'static str, u64) {
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    for description in names.iter().filter_map(|name| tensors.describe(name)) {
        if description.element.is_float() {
            let written = options.precision.map_or(description.element, weights::Precision::element);
            *counts.entry(Element::name(written)).or_default() += description.shape.iter().product::<usize>() as u64;
        }
    }
    let most = counts.iter().max_by_key(|(name, count)| (**count, **name)).map_or("float32", |(name, _)| *name);
    (most, counts.values().sum())
}

/// The key is `dtype` today and was `torch_dtype` before; what is there is kept in step.
fn set_dtype(configuration: &mut Value, dtype: &str) {
    let Some(fields) = configuration.as_object_mut() else { return };
    let there: Vec<&str> = ["dtype", "torch_dtype"].into_iter().filter(|key| fields.contains_key(*key)).collect();
    for key in if there.is_empty() { vec!["torch_dtype"] } else { there } {
        fields.insert(key.to_owned(), json!(dtype));
    }
}

/// Copies what stands beside weights: tokenizer, template, settings, card, and license, in the folder and one below it.
fn carry(from: &Path, to: &Path) -> Result<Vec<String>, ModelError> {
    let mut carried = Vec::new();
    for entry in sorted(from)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_file() && is_beside(&name) {
            carry_file(&entry, &to.join(&name))?;
            carried.push(name);
        } else if entry.is_dir() && is_folder_of_model(&name) {
            let inner = to.join(&name);
            for file in sorted(&entry)? {
                let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if file.is_file() && is_beside(&own) {
                    fs::create_dir_all(&inner).map_err(|source| ModelError::io(&inner, source))?;
                    carry_file(&file, &inner.join(&own))?;
                    carried.push(format!("{name}/{own}"));
                }
            }
        }
    }
    carried.retain(|name| name != "config.json");
    Ok(carried)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let entries = fs::read_dir(folder).map_err(|source| ModelError::io(folder, source))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn carry_file(from: &Path, to: &Path) -> Result<(), ModelError> {
    let size = fs::metadata(from).map_err(|source| ModelError::io(from, source))?.len();
    if size > LARGEST_BESIDE {
        return Err(ModelError::format(from, format!("has {size} bytes, too many for a file beside weights")));
    }
    fs::copy(from, to).map(drop).map_err(|source| ModelError::io(to, source))
}

fn is_beside(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let kinds = [".json", ".jinja", ".txt", ".model", ".spm", ".tiktoken"];
    let known = kinds.iter().any(|end| lower.ends_with(end)) || ["readme.md", "license", "notice"].contains(&&*lower);
    let of_training = ["trainer_state.json", "training_args.json", "all_results.json", "train_results.json"];
    known && !lower.ends_with(".index.json") && !name.starts_with('.') && !of_training.contains(&&*lower)
}

/// `additional_chat_templates`, and the modules of a sentence-transformers model, as `1_Pooling`.
fn is_folder_of_model(name: &str) -> bool {
    name == "additional_chat_templates"
        || name.split_once('_').is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A size as in `--max-shard-size 500MB`: bytes, or with kB, MB, GB (powers of 1000) or KiB, MiB, GiB.
///
/// # Errors
/// Why it is none, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let fail = || format!("{text:?} is not a size; write bytes, or 500MB, 5GB, 2GiB");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| fail())?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    number.checked_mul(unit).filter(|size| *size > 0).ok_or_else(fail)
}
