//! Checkpoints: everything that the rest of a run depends on, written so that a kill at any moment leaves either the
//! whole of it or nothing that could be mistaken for it.
//!
//! A checkpoint is written into a folder of another name, every file is synced, a marker that lists the files' sizes
//! comes last, and only then is the folder renamed.

use crate::error::TrainError;
use crate::record::DocumentTally;
use crate::table;
use burn::tensor::{Device, Tensor};
use loam_corpus::Position;
use loam_models::weights::{self, Tensors};
use loam_nn::parameters::{self, Parameter};
use loam_nn::update::Moments;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// Only where the ledger is kept by document.
const DOCUMENTS: &str = "documents.parquet";
const MARKER: &str = "COMPLETE";

/// `state.json`: where the run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps that the run is planned for.
    pub steps: u64,
    /// Training tokens seen.
    pub tokens: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Where the loader goes on.
    pub position: Position,
    /// Hash of the tokenized data.
    pub data_hash: String,
    /// Lowest mean held-out loss so far, and the step where it was measured.
    pub best: Option<(u64, f64)>,
    /// Evaluations since then.
    pub evaluations_without_improvement: u64,
    /// The ledger's usual change of each held-out loss over an interval, which decides how closely it looks.
    #[serde(default)]
    pub ledger_scales: Vec<f64>,
    /// Of the ledger by document, how its differences were usually stepped for each domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub document_steps: Vec<f64>,
    /// Of adaptive masking, the usual loss of every token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masking: Vec<f32>,
    /// Hash of the weights that are not trained and stand in no checkpoint, where adapters are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Version of Loam that wrote this.
    pub loam: String,
}

/// What says where a run stands: [`State`], or [`crate::finetune::Standing`].
pub trait Stands: Serialize + serde::de::DeserializeOwned {
    /// Optimizer steps done.
    fn step(&self) -> u64;
}

impl Stands for State {
    fn step(&self) -> u64 {
        self.step
    }
}

/// A checkpoint in memory.
pub struct Checkpoint<S = State> {
    /// Every parameter, flat.
    pub weights: Vec<Tensor<1>>,
    /// Adam's moments, in the same order.
    pub moments: Vec<Moments>,
    /// For each parameter, the momentum of each source that has a line; empty where the ledger does not credit it.
    pub momenta: Vec<Vec<Tensor<1>>>,
    /// The places of these sources in the data, in the same order.
    pub sources: Vec<usize>,
    /// What the open books by document have counted; empty where there are none.
    pub documents: Vec<DocumentTally>,
    /// Where the run stands.
    pub state: S,
}

/// The folder of the checkpoint at `step`.
pub fn folder(checkpoints: &Path, step: u64) -> PathBuf {
    checkpoints.join(format!("step-{step}"))
}

/// Writes a checkpoint; an older one of the same step is replaced.
///
/// # Errors
/// When it cannot be written; nothing older is lost.
pub fn write<S: Stands>(
    checkpoints: &Path,
    names: &[Parameter],
    checkpoint: &Checkpoint<S>,
) -> Result<PathBuf, TrainError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::io(path, source)
    };
    let step = checkpoint.state.step();
    let (whole, partial) = (folder(checkpoints, step), checkpoints.join(format!(".step-{step}.partial")));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(io(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(io(&partial))?;
    let host = |tensor: &Tensor<1>| parameters::to_host(tensor.clone());

    let model: Vec<_> = names
        .iter()
        .zip(&checkpoint.weights)
        .map(|(name, values)| (name.name.clone(), name.shape.clone(), host(values)))
        .collect();
    let written = weights::write_tensors(&partial.join(MODEL), &model);
    drop(model);
    let mut optimizer = Vec::new();
    for (index, (name, moments)) in names.iter().zip(&checkpoint.moments).enumerate() {
        optimizer.push((format!("first.{}", name.name), name.shape.clone(), host(&moments.first)));
        optimizer.push((format!("second.{}", name.name), name.shape.clone(), host(&moments.second)));
        for (source, momentum) in checkpoint.sources.iter().zip(checkpoint.momenta.get(index).into_iter().flatten()) {
            optimizer.push((format!("source.{source}.{}", name.name), name.shape.clone(), host(momentum)));
        }
    }
    let state = serde_json::to_vec_pretty(&checkpoint.state).expect("a state is JSON");
    let finish = || {
        written?;
        weights::write_tensors(&partial.join(OPTIMIZER), &optimizer)?;
        weights::write_synced(&partial.join(STATE), &state)?;
        let mut files = vec![MODEL, OPTIMIZER, STATE];
        if !checkpoint.documents.is_empty() {
            table::write(&partial.join(DOCUMENTS), &checkpoint.documents)?;
            files.push(DOCUMENTS);
        }
        let mut sizes = BTreeMap::new();
        for file in files {
            let path = partial.join(file);
            sizes.insert(file, fs::metadata(&path).map_err(io(&path))?.len());
        }
        let marker = serde_json::to_vec_pretty(&sizes).expect("sizes are JSON");
        weights::write_synced(&partial.join(MARKER), &marker)?;
        sync_folder(&partial)?;
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(io(&whole))?;
        }
        fs::rename(&partial, &whole).map_err(io(&whole))?;
        sync_folder(checkpoints)
    };
    let result = finish();
    if result.is_err() {
        // Best effort: what cannot be finished should not fill a disk that may already be full.
        let _ = fs::remove_dir_all(&partial);
    }
    result.map(|()| whole)
}

fn sync_folder(path: &Path) -> Result<(), TrainError> {
    // Windows cannot open folders as files; there the rename alone must do.
    if cfg!(unix) {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| TrainError::io(path, source))?;
    }
    Ok(())
}

/// Steps of the checkpoints in a folder, oldest first, whole or not.
///
/// # Errors
/// When the folder cannot be read.
pub fn steps(checkpoints: &Path) -> Result<Vec<u64>, TrainError> {
    let entries = match fs::read_dir(checkpoints) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(TrainError::io(checkpoints, source)),
    };
    let mut steps: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Says why a checkpoint is not whole; nothing where it is.
///
/// # Errors
/// The reason.
pub fn verify(folder: &Path) -> Result<(), TrainError> {
    let marker = folder.join(MARKER);
    let text = fs::read_to_string(&marker).map_err(|_| {
        TrainError::format(folder, "has no COMPLETE marker, so it was not written to its end; remove this folder")
    })?;
    let sizes: BTreeMap<String, u64> =
        serde_json::from_str(&text).map_err(|error| TrainError::format(&marker, format!("is broken: {error}")))?;
    let documents = sizes.contains_key(DOCUMENTS).then_some(DOCUMENTS);
    for file in [MODEL, OPTIMIZER, STATE].into_iter().chain(documents) {
        let path = folder.join(file);
        let expected = sizes.get(file).copied().ok_or_else(|| TrainError::format(&marker, format!("lacks {file}")))?;
        let found = fs::metadata(&path).map_err(|source| TrainError::io(&path, source))?.len();
        if found != expected {
            let reason = format!(
                "is {found} bytes long and was written with {expected}; the checkpoint is damaged: remove its folder"
            );
            return Err(TrainError::format(&path, reason));
        }
    }
    Ok(())
}

/// The step of the last checkpoint that is whole; `told` hears of those that are not.
///
/// # Errors
/// When the folder cannot be read.
pub fn last_whole(checkpoints: &Path, told: &mut dyn FnMut(&str)) -> Result<Option<u64>, TrainError> {
    for step in steps(checkpoints)?.into_iter().rev() {
        match verify(&folder(checkpoints, step)) {
            Ok(()) => return Ok(Some(step)),
            Err(error) => told(&format!("{error}; trying the checkpoint before it")),
        }
    }
    Ok(None)
}

/// That a run's loss or gradient is no longer a number after so many steps, with where its last good weights are.
pub fn non_finite(checkpoints: &Path, steps_done: u64, what: &'static str) -> TrainError {
    let last = steps(checkpoints).unwrap_or_default().pop();
    let checkpoint = last.map_or_else(
        || "there was no checkpoint yet".to_owned(),
        |step| format!("the last good checkpoint is {}", folder(checkpoints, step).display()),
    );
    TrainError::NonFinite { step: steps_done + 1, what, checkpoint }
}

/// Reads where a checkpoint stands.
///
/// # Errors
/// When it is damaged.
pub fn read_state<S: Stands>(folder: &Path) -> Result<S, TrainError> {
    verify(folder)?;
    let path = folder.join(STATE);
    let text = fs::read_to_string(&path).map_err(|source| TrainError::io(&path, source))?;
    serde_json::from_str(&text).map_err(|error| TrainError::format(&path, format!("is not a state: {error}")))
}

/// Reads a checkpoint back, with the momenta of these sources.
///
/// # Errors
/// When it is damaged or belongs to another model.
pub fn read<S: Stands>(
    folder: &Path,
    names: &[Parameter],
    sources: &[usize],
    device: &Device,
) -> Result<Checkpoint<S>, TrainError> {
    let state = read_state(folder)?;
    let (model, optimizer) = (Tensors::open(&folder.join(MODEL))?, Tensors::open(&folder.join(OPTIMIZER))?);
    let get = |file: &Tensors, path: &str, name: String, parameter: &Parameter| -> Result<Tensor<1>, TrainError> {
        match file.get(&name)? {
            Some((values, shape)) if shape == parameter.shape => Ok(parameters::from_host(values, device)),
            Some((_, shape)) => Err(TrainError::format(
                &folder.join(path),
                format!("{name} is {shape:?} and the recipe's model has {:?}", parameter.shape),
            )),
            None => Err(TrainError::format(&folder.join(path), format!("lacks {name}; the recipe's model has it"))),
        }
    };
    let mut checkpoint = Checkpoint {
        weights: Vec::new(),
        moments: Vec::new(),
        momenta: Vec::new(),
        sources: sources.to_vec(),
        documents: Vec::new(),
        state,
    };
    if folder.join(DOCUMENTS).exists() {
        checkpoint.documents = table::read(&folder.join(DOCUMENTS), u64::MAX)?;
    }
    for parameter in names {
        checkpoint.weights.push(get(&model, MODEL, parameter.name.clone(), parameter)?);
        checkpoint.moments.push(Moments {
            first: get(&optimizer, OPTIMIZER, format!("first.{}", parameter.name), parameter)?,
            second: get(&optimizer, OPTIMIZER, format!("second.{}", parameter.name), parameter)?,
        });
        let momenta = sources
            .iter()
            .map(|source| get(&optimizer, OPTIMIZER, format!("source.{source}.{}", parameter.name), parameter));
        checkpoint.momenta.push(momenta.collect::<Result<_, _>>()?);
    }
    Ok(checkpoint)
}

/// Removes checkpoints beyond the newest `keep`, sparing those of the steps in `spare`.
///
/// # Errors
/// When a folder cannot be removed.
pub fn prune(checkpoints: &Path, keep: usize, spare: &[u64]) -> Result<(), TrainError> {
    let steps = steps(checkpoints)?;
    let old = &steps[..steps.len().saturating_sub(keep.max(1))];
    for step in old.iter().filter(|step| !spare.contains(step)) {
        // Renamed first, so that a kill in the middle leaves no half of a checkpoint under its name.
        let (folder, doomed) = (folder(checkpoints, *step), checkpoints.join(format!(".step-{step}.removed")));
        fs::rename(&folder, &doomed).map_err(|source| TrainError::io(&folder, source))?;
        fs::remove_dir_all(&doomed).map_err(|source| TrainError::io(&doomed, source))?;
    }
    Ok(())
}
