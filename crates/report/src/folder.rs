//! A run's folder, read as far as it can be read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use loam_influence::columns;
use loam_influence::documents::{self, DocumentValues};
use loam_influence::ledger::Ledger;
use loam_train::record::{EventLine, MetricRow};

use crate::ReportError;

/// Names in a run's folder; one of them makes a folder a run's.
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const METRICS: &str = "metrics.parquet";
pub(crate) const LEDGER: &str = "ledger.parquet";
pub(crate) const DOCUMENTS: &str = "documents.parquet";
pub(crate) const DOCUMENT_VALUES: &str = "document_values.parquet";
pub(crate) const DOCUMENT_SUMS: &str = "document_sums.parquet";
pub(crate) const RECIPE: &str = "recipe.toml";

/// What could be read of a run, and what could not.
pub(crate) struct RunFolder {
    /// The folder, absolute where the system could say so.
    pub path: PathBuf,
    /// The folder's own name.
    pub name: String,
    pub events: Vec<EventLine>,
    pub metrics: Vec<MetricRow>,
    /// None where the run kept no ledger or it cannot be read.
    pub ledger: Option<Ledger>,
    /// None where the run kept no ledger by document or it cannot be read.
    pub documents: Option<DocumentValues>,
    /// The recipe's text.
    pub recipe: Option<String>,
    /// What is missing or broken, one sentence each.
    pub problems: Vec<String>,
}

impl RunFolder {
    /// Reads the run at `path`; fails only where nothing of a run is there.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        if !is_run(path) {
            let detail = match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => format!("it holds neither {EVENTS} nor {METRICS} nor {RECIPE}"),
                Ok(_) => "it is a file".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(ReportError::NotARun {
                path: path.to_owned(),
                detail,
                hint: "`loam runs` lists the runs that there are",
            });
        }
        let mut problems = Vec::new();
        let events = read_events(&path.join(EVENTS), &mut problems);
        let metrics = read_metrics(&path.join(METRICS), &mut problems);
        let ledger = read_ledger(&path.join(LEDGER), &mut problems);
        let documents = read_documents(path, &mut problems);
        let recipe = match fs::read(path.join(RECIPE)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                problems.push(format!("{RECIPE} cannot be read ({error})."));
                None
            }
        };
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { name: name(&path), path, events, metrics, ledger, documents, recipe, problems })
    }
}

/// Whether `path` holds something that a run leaves.
pub(crate) fn is_run(path: &Path) -> bool {
    [EVENTS, METRICS, RECIPE].iter().any(|file| path.join(file).is_file())
}

/// A run's name: the last part of its path.
pub(crate) fn name(path: &Path) -> String {
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    resolved.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The events of `events.jsonl`, whole lines only.
///
/// The last line may be cut short by a kill, and a line may be of a later Loam's kind: both are left out and told.
pub(crate) fn read_events(path: &Path, problems: &mut Vec<String>) -> Vec<EventLine> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.push(format!("{EVENTS} cannot be read ({error}), so what was trained on what is not known."));
            return Vec::new();
        }
    };
    let (mut events, mut unreadable) = (Vec::new(), Vec::new());
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            Err(_) if lines.peek().is_none() => {
                problems.push(format!("The last line of {EVENTS} is cut short, as a kill leaves it; it is left out."));
            }
            Err(_) => unreadable.push(index + 1),
        }
    }
    if let Some(first) = unreadable.first() {
        problems.push(format!(
            "{} of {EVENTS} cannot be read (the first is line {first}); left out.",
            crate::numbers::counted(unreadable.len() as u64, "line", "lines")
        ));
    }
    events
}

fn read_metrics(path: &Path, problems: &mut Vec<String>) -> Vec<MetricRow> {
    let mut rows = Vec::new();
    let result = columns::read(path, |batch| {
        let (step, tokens) = (batch.integers("step")?, batch.integers("tokens")?);
        let (seconds, value) = (batch.floats("seconds")?, batch.floats("value")?);
        let mut metric = batch.texts("metric")?.into_iter();
        let mut domain = batch.texts("domain")?.into_iter();
        for index in 0..batch.rows() {
            rows.push(MetricRow {
                step: step[index],
                tokens: tokens[index],
                seconds: seconds[index],
                metric: metric.next().unwrap_or_default(),
                domain: domain.next().unwrap_or_default(),
                value: value[index],
            });
        }
        Ok(())
    });
    if let Err(error) = result {
        problems.push(format!("The curves cannot be drawn in full: {}.", first_line(&error.to_string())));
    }
    rows
}

fn read_ledger(path: &Path, problems: &mut Vec<String>) -> Option<Ledger> {
    if is_missing(path) {
        return None;
    }
    match Ledger::read(path) {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            problems.push(format!("The ledger cannot be shown: {}.", first_line(&error.to_string())));
            None
        }
    }
}

fn read_documents(folder: &Path, problems: &mut Vec<String>) -> Option<DocumentValues> {
    if !documents::are_in(folder) {
        return None;
    }
    match documents::read(folder) {
        Ok(values) => Some(values),
        Err(error) => {
            problems.push(format!("What single documents did cannot be shown: {}.", first_line(&error.to_string())));
            None
        }
    }
}

/// Whether a file is not there, as opposed to unreadable.
pub(crate) fn is_missing(path: &Path) -> bool {
    matches!(fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches('.')
}
