//! The folder of a run: where its files are, its log of events, its tables.

use crate::error::TrainError;
use crate::record::{Event, EventLine, LedgerRow, MetricRow};
use crate::table;
use loam_models::weights;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// When it cannot be made, or already holds a run.
    pub fn create(folder: &Path) -> Result<Self, TrainError> {
        let run = Self { folder: folder.to_owned() };
        if run.recipe().exists() {
            return Err(TrainError::Request(format!(
                "{} already holds a run; --resume goes on with it, or choose another folder with -o",
                folder.display()
            )));
        }
        fs::create_dir_all(folder).map_err(|source| TrainError::io(folder, source))?;
        Ok(run)
    }

    /// Opens the folder of a run that was begun.
    ///
    /// # Errors
    /// When it holds none.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let run = Self { folder: folder.to_owned() };
        if !run.recipe().is_file() {
            return Err(TrainError::Request(format!(
                "{} holds no run: there is no recipe.toml in it; `loam runs` lists the runs there are",
                folder.display()
            )));
        }
        Ok(run)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.folder.join("recipe.toml")
    }

    /// Writes the resolved recipe, aside and renamed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_recipe(&self, text: &str) -> Result<(), TrainError> {
        let (path, aside) = (self.recipe(), self.folder.join(".recipe.partial"));
        weights::write_synced(&aside, text.as_bytes())?;
        fs::rename(&aside, &path).map_err(|source| TrainError::io(&path, source))
    }

    /// Replaces `model/` by what `write` makes of a folder aside.
    ///
    /// # Errors
    /// When it cannot be written; then what was there stays.
    pub fn replace_model(&self, write: impl FnOnce(&Path) -> Result<(), TrainError>) -> Result<(), TrainError> {
        let (folder, aside) = (self.model(), self.folder.join(".model.partial"));
        let remove = |path: &Path| fs::remove_dir_all(path).map_err(|source| TrainError::io(path, source));
        if aside.exists() {
            remove(&aside)?;
        }
        write(&aside)?;
        if folder.exists() {
            remove(&folder)?;
        }
        fs::rename(&aside, &folder).map_err(|source| TrainError::io(&folder, source))
    }

    /// The tokenized text.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// The exported model.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// The log of events.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// The table of metrics.
    pub fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.parquet")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger.parquet")
    }

    /// What single documents did, where the ledger was kept by document.
    pub fn document_values(&self) -> PathBuf {
        self.folder.join("document_values.parquet")
    }

    /// The sums over the documents of each source.
    pub fn document_sums(&self) -> PathBuf {
        self.folder.join("document_sums.parquet")
    }

    /// The table of documents.
    pub fn documents(&self) -> PathBuf {
        self.folder.join("documents.parquet")
    }

    /// The curves for `TensorBoard`.
    pub fn tensorboard(&self) -> PathBuf {
        self.folder.join("tensorboard")
    }

    /// Adds an event to the log.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn log(&self, event: &Event) -> Result<(), TrainError> {
        let path = self.events();
        let line = EventLine { time: jiff::Timestamp::now().to_string(), event: event.clone() };
        let mut text = serde_json::to_string(&line).expect("events are JSON");
        text.push('\n');
        let mut append = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
            if ends_inside_a_line(&mut file)? {
                text.insert(0, '\n');
            }
            file.write_all(text.as_bytes())
        };
        append().map_err(|source| TrainError::io(&path, source))
    }

    /// Events so far; a line that a kill cut short is passed over.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read_events(&self) -> Result<Vec<EventLine>, TrainError> {
        let path = self.events();
        let bytes = fs::read(&path).map_err(|source| TrainError::io(&path, source))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Writes both tables.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write_tables(&self, metrics: &[MetricRow], ledger: Option<&[LedgerRow]>) -> Result<(), TrainError> {
        table::write(&self.metrics(), metrics)?;
        ledger.map_or(Ok(()), |rows| table::write(&self.ledger(), rows))
    }
}

/// A kill can cut the last line short; the next one must not be glued to it.
fn ends_inside_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
