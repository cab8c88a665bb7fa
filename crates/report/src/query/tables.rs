//! The records of many runs as tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::lit;
use datafusion::prelude::ParquetReadOptions;

use crate::ReportError;
use crate::folder::{DOCUMENT_SUMS, DOCUMENT_VALUES, DOCUMENTS, EVENTS, LEDGER, METRICS, is_missing, is_run, name};
use loam_influence::studies::table::{EFFECTS, RUNS};

/// Tables that are Parquet files, or folders of them, in a run's folder.
const PARQUET: [(&str, &[&str]); 8] = [
    ("metrics", &[METRICS]),
    ("ledger", &[LEDGER]),
    ("documents", &[DOCUMENTS]),
    ("document_values", &[DOCUMENT_VALUES]),
    ("document_sums", &[DOCUMENT_SUMS]),
    ("texts", &["text/", "held_out/"]),
    ("study", &[EFFECTS]),
    ("study_runs", &[RUNS]),
];

/// What is registered, for hints.
pub(super) struct Tables {
    /// Each table with its columns.
    pub columns: Vec<(String, Vec<String>)>,
    /// Tables that no run has, with their file.
    pub absent: Vec<(&'static str, &'static str)>,
    pub warnings: Vec<String>,
}

impl Tables {
    /// Registers every table that at least one of `runs` has.
    pub async fn register(context: &SessionContext, runs: &[PathBuf]) -> Result<Self, ReportError> {
        if runs.is_empty() {
            return Err(ReportError::Query {
                message: "there is no run to query".into(),
                hint: "name a run's folder, or train one first".into(),
            });
        }
        // What `loam data prepare` writes has documents alone, and a study its tables.
        let holds = |path: &&PathBuf| [DOCUMENTS, EFFECTS].iter().any(|file| !is_missing(&path.join(file)));
        if let Some(path) = runs.iter().find(|path| !is_run(path) && !holds(path)) {
            return Err(ReportError::NotARun {
                path: path.clone(),
                detail: format!("it holds neither {EVENTS} nor {METRICS} nor {DOCUMENTS}"),
                hint: "`loam runs` lists the runs that there are",
            });
        }
        let names = names(runs);
        let mut tables = Self { columns: Vec::new(), absent: Vec::new(), warnings: Vec::new() };
        for (table, files) in PARQUET {
            tables.parquet(context, table, files, runs, &names).await?;
        }
        tables.events(context, runs, &names)?;
        Ok(tables)
    }

    async fn parquet(
        &mut self,
        context: &SessionContext,
        table: &'static str,
        files: &[&'static str],
        runs: &[PathBuf],
        names: &[String],
    ) -> Result<(), ReportError> {
        let mut all: Option<DataFrame> = None;
        let paths = runs.iter().zip(names).flat_map(|(run, name)| files.iter().map(move |file| (run.join(file), name)));
        for (path, name) in paths {
            if is_missing(&path) || (path.is_dir() && !holds_parquet(&path)) {
                continue;
            }
            let joined = match read(context, &path, name).await {
                Ok(frame) => match all.clone() {
                    Some(others) => others.union_by_name(frame),
                    None => Ok(frame),
                },
                Err(error) => Err(error),
            };
            match joined {
                Ok(frame) => all = Some(frame),
                Err(error) => self.warnings.push(format!(
                    "{} cannot be read and is left out: {}",
                    path.display(),
                    error.strip_backtrace().lines().next().unwrap_or_default()
                )),
            }
        }
        let Some(frame) = all else {
            self.absent.push((table, files[0]));
            return Ok(());
        };
        let columns = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
        self.add(context, table, columns, frame.into_view())
    }

    fn events(&mut self, context: &SessionContext, runs: &[PathBuf], names: &[String]) -> Result<(), ReportError> {
        let mut columns: [Vec<String>; 4] = Default::default();
        for (run, name) in runs.iter().zip(names) {
            let path = run.join(EVENTS);
            if is_missing(&path) {
                continue;
            }
            match std::fs::read(&path) {
                Ok(bytes) => gather_events(&bytes, name, &path, &mut columns, &mut self.warnings),
                Err(error) => self.warnings.push(format!("{} cannot be read: {error}", path.display())),
            }
        }
        let fields = ["run", "time", "event", "json"];
        let arrays = columns.map(|column| Arc::new(StringArray::from(column)) as ArrayRef);
        let batch = RecordBatch::try_from_iter(fields.into_iter().zip(arrays)).map_err(|error| internal(&error))?;
        let frame = context.read_batch(batch).map_err(|error| internal(&error))?;
        self.add(context, "events", fields.map(str::to_owned).to_vec(), frame.into_view())
    }

    fn add(
        &mut self,
        context: &SessionContext,
        table: &str,
        columns: Vec<String>,
        provider: Arc<dyn datafusion::catalog::TableProvider>,
    ) -> Result<(), ReportError> {
        context.register_table(table, provider).map_err(|error| internal(&error))?;
        self.columns.push((table.to_owned(), columns));
        Ok(())
    }

    /// All tables and their columns, a table a line.
    pub fn listing(&self) -> String {
        let lines: Vec<String> =
            self.columns.iter().map(|(table, columns)| format!("    {table}({})", columns.join(", "))).collect();
        lines.join("\n")
    }
}

/// Whether a folder has a file of Parquet; others may be called as ours are.
fn holds_parquet(folder: &Path) -> bool {
    let is_parquet = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "parquet");
    std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_parquet))
}

/// A run's Parquet file with the run's name before its columns.
async fn read(context: &SessionContext, path: &Path, run: &str) -> Result<DataFrame, DataFusionError> {
    let location = path.to_str().ok_or_else(|| DataFusionError::Plan("its path is not UTF-8".into()))?;
    let frame = context.read_parquet(location, ParquetReadOptions::default()).await?;
    let mut columns = vec![lit(run).alias("run")];
    let schema = frame.schema().clone();
    let own = schema.columns().into_iter().filter(|column| column.name != "run");
    columns.extend(own.map(datafusion::logical_expr::Expr::Column));
    frame.select(columns)
}

/// Names of the runs: the folder's own, or the whole path where two folders share it.
fn names(runs: &[PathBuf]) -> Vec<String> {
    let short: Vec<String> = runs.iter().map(|run| name(run)).collect();
    let alone = |name: &String| short.iter().filter(|other| *other == name).count() == 1;
    short
        .iter()
        .zip(runs)
        .map(|(name, run)| if alone(name) { name.clone() } else { run.display().to_string() })
        .collect()
}

/// Adds the lines of one `events.jsonl` to the columns `run`, `time`, `event`, `json`.
fn gather_events(bytes: &[u8], run: &str, path: &Path, columns: &mut [Vec<String>; 4], warnings: &mut Vec<String>) {
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) else {
            warnings
                .push(format!("{} has a line that is not JSON (a kill cuts the last one); left out", path.display()));
            continue;
        };
        let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let [runs, times, events, json] = columns;
        runs.push(run.to_owned());
        times.push(text("time"));
        events.push(text("event"));
        json.push(String::from_utf8_lossy(line).into_owned());
    }
}

fn internal(error: &impl std::fmt::Display) -> ReportError {
    ReportError::Query {
        message: format!("cannot set up the tables: {error}"),
        hint: "this is a mistake in Loam; please report it".into(),
    }
}
