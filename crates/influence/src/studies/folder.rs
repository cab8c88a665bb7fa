//! The folder of a study, and what its runs came to.
//!
//! ```text
//! DIR/data/base/             the text, prepared once: tokens/ and documents.parquet
//! DIR/data/ARM/              what an arm makes of it
//! DIR/runs/ARM/seed-N/       a run like any other
//! DIR/results/ARM/seed-N.json  what it came to; written when it is known, so that it marks the run as finished
//! DIR/study.parquet, study_runs.parquet, report.html
//! ```

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use loam_train::record::Event;
use loam_train::run::Run;
use serde::{Deserialize, Serialize};

use super::arm::folder_name;
use crate::InfluenceError;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Its arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// A hash of its recipe, its arm and its data: a result of another study is not taken for one of this.
    pub fingerprint: String,
    /// Why it failed; none where it is done.
    pub failed: Option<String>,
    /// Held-out losses at the end, in nats a token, in the order of the domains.
    pub losses: Vec<DomainLoss>,
    /// Optimizer steps.
    pub steps: u64,
    /// Training tokens.
    pub tokens: u64,
    /// Different ones among them, where the study knows.
    pub unique_tokens: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Seconds that the last session of training took.
    pub seconds: f64,
    /// Training tokens a second in it.
    pub tokens_per_second: f64,
    /// BLAKE3 hash of the final weights.
    pub weights_hash: String,
}

/// The loss on a held-out domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainLoss {
    /// The domain.
    pub domain: String,
    /// Nats a token.
    pub loss: f64,
}

impl RunResult {
    /// The loss on a domain, or the mean of all where it is [`super::MEAN`]; none where the run failed.
    pub fn loss(&self, domain: &str) -> Option<f64> {
        if self.failed.is_some() || self.losses.is_empty() {
            return None;
        }
        if domain == super::MEAN {
            return Some(self.losses.iter().map(|own| own.loss).sum::<f64>() / self.losses.len() as f64);
        }
        self.losses.iter().find(|own| own.domain == domain).map(|own| own.loss)
    }

    /// What the records of a finished run say; none where it has not finished.
    pub(super) fn of(run: &Path, arm: &str, seed: u64, fingerprint: &str) -> Option<Self> {
        let events = Run::open(run).ok()?.read_events().ok()?;
        let mut result = Self {
            arm: arm.to_owned(),
            seed,
            fingerprint: fingerprint.to_owned(),
            failed: None,
            losses: Vec::new(),
            steps: 0,
            tokens: 0,
            unique_tokens: 0,
            parameters: 0,
            seconds: 0.0,
            tokens_per_second: 0.0,
            weights_hash: String::new(),
        };
        let mut finished = false;
        for line in events {
            match line.event {
                Event::Model { parameters, .. } => result.parameters = parameters,
                // The last evaluation of a domain is the one over all of it.
                Event::Evaluation { domain, loss, .. } => {
                    match result.losses.iter_mut().find(|own| own.domain == domain) {
                        Some(own) => own.loss = loss,
                        None => result.losses.push(DomainLoss { domain, loss }),
                    }
                }
                Event::Finish { reason, step, tokens, seconds, tokens_per_second, weights_hash } => {
                    finished |= matches!(reason.as_str(), "done" | "early_stop");
                    if finished && !weights_hash.is_empty() && tokens_per_second > 0.0 {
                        (result.seconds, result.tokens_per_second) = (seconds, tokens_per_second);
                    }
                    (result.steps, result.tokens, result.weights_hash) = (step, tokens, weights_hash);
                }
                _ => {}
            }
        }
        finished.then_some(result)
    }
}

/// A study's folder.
#[derive(Clone, Debug)]
pub struct StudyFolder {
    path: PathBuf,
}

impl StudyFolder {
    /// The folder at `path`, made where it is not there.
    ///
    /// # Errors
    /// [`InfluenceError::Write`] where it cannot be made.
    pub fn open(path: &Path) -> Result<Self, InfluenceError> {
        fs::create_dir_all(path).map_err(|source| unwritten(path, source))?;
        // Runs remember where their data is, from wherever they are gone on with.
        let path = fs::canonicalize(path).map_err(|source| unwritten(path, source))?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The data of an arm.
    pub fn data(&self, arm: &str) -> PathBuf {
        self.path.join("data").join(folder_name(arm))
    }

    /// The folder of a run.
    pub fn run(&self, arm: &str, seed: u64) -> PathBuf {
        self.path.join("runs").join(folder_name(arm)).join(format!("seed-{seed}"))
    }

    fn result(&self, arm: &str, seed: u64) -> PathBuf {
        self.path.join("results").join(folder_name(arm)).join(format!("seed-{seed}.json"))
    }

    /// What a run came to, if it is known.
    ///
    /// # Errors
    /// [`InfluenceError::Open`] where the file cannot be read. One that holds no result counts as none: a kill cannot leave it so,
    /// and the run is there to read it from again.
    pub fn read_result(&self, arm: &str, seed: u64) -> Result<Option<RunResult>, InfluenceError> {
        let path = self.result(arm, seed);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(InfluenceError::Open { path, source, hint: "is the folder yours to read?" }),
        }
    }

    /// Marks a run as finished.
    pub(super) fn write_result(&self, result: &RunResult) -> Result<(), InfluenceError> {
        let path = self.result(&result.arm, result.seed);
        let text = serde_json::to_string_pretty(result).unwrap_or_default();
        write_whole(&path, text.as_bytes())
    }

    /// Notes by what recipe, arm and data a run is begun.
    pub(super) fn begin(&self, arm: &str, seed: u64, fingerprint: &str) -> Result<(), InfluenceError> {
        write_whole(&self.result(arm, seed).with_extension("begun"), fingerprint.as_bytes())
    }

    /// What a run was begun by; none where nobody noted it.
    pub(super) fn begun_by(&self, arm: &str, seed: u64) -> Result<Option<String>, InfluenceError> {
        let path = self.result(arm, seed).with_extension("begun");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(InfluenceError::Open { path, source, hint: "is the folder yours to read?" }),
        }
    }

    /// Forgets what a run came to, and the run.
    pub(super) fn forget(&self, arm: &str, seed: u64) -> Result<(), InfluenceError> {
        let (result, run) = (self.result(arm, seed), self.run(arm, seed));
        for (path, gone) in [(&run, fs::remove_dir_all(&run)), (&result, fs::remove_file(&result))] {
            if let Err(source) = gone
                && source.kind() != ErrorKind::NotFound
            {
                return Err(unwritten(path, source));
            }
        }
        Ok(())
    }
}

/// Writes a file aside, synced, and renames it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), InfluenceError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = PathBuf::from(aside);
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = fs::File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| unwritten(path, source))
}

pub(super) fn unwritten(path: &Path, source: std::io::Error) -> InfluenceError {
    InfluenceError::Write { path: path.to_owned(), source, hint: "is the disk full, or the folder not yours to write?" }
}
