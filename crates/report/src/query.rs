//! SQL over what runs left, through Apache `DataFusion`.
//!
//! Tables: `metrics`, `ledger`, `documents`, `document_values` and `document_sums`, each over all given runs with the column `run` (the run's name) beside
//! the file's own, `texts` of what `loam data prepare` left, and `events` (`run`, `time`, `event`, `json`). Functions of texts
//! are those of the corpus. Nothing can be written.

mod cells;
mod functions;
mod hints;
mod render;
mod tables;

use std::path::PathBuf;

use datafusion::execution::context::{SQLOptions, SessionConfig, SessionContext};

pub use cells::Cell;
pub use functions::FUNCTIONS;
use tables::Tables;

use crate::ReportError;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as `DataFusion` writes it.
    pub data_type: String,
    /// Whether it holds numbers.
    pub numeric: bool,
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct QueryResult {
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// Rows; each has one cell a column.
    pub rows: Vec<Vec<Cell>>,
    /// What of the runs could not be read and is therefore not in the answer, one sentence each.
    pub warnings: Vec<String>,
}

/// Runs one `SELECT` over the records of `runs`.
///
/// A run that lacks a table, or has it broken, is left out of that table with a warning.
///
/// # Errors
///
/// [`ReportError::Query`] for SQL that cannot be understood, that names a table or column that no run has (the hint
/// lists those that there are and the nearest name), that would write, or that fails while it runs.
pub fn query(sql: &str, runs: &[PathBuf]) -> Result<QueryResult, ReportError> {
    // On a thread of its own, so that a caller may itself be asynchronous.
    std::thread::scope(|scope| scope.spawn(|| block_on(sql, runs)).join()).unwrap_or_else(|_| {
        Err(ReportError::Query {
            message: "the query engine stopped unexpectedly".into(),
            hint: "this is a mistake in Loam or DataFusion; please report it with the query".into(),
        })
    })
}

fn block_on(sql: &str, runs: &[PathBuf]) -> Result<QueryResult, ReportError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().map_err(|error| ReportError::Query {
        message: format!("cannot start the query engine: {error}"),
        hint: "are too many threads or files open?".into(),
    })?;
    runtime.block_on(run(sql, runs))
}

async fn run(sql: &str, runs: &[PathBuf]) -> Result<QueryResult, ReportError> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    functions::register_all(&context);
    let tables = Tables::register(&context, runs).await?;
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let explain = |error| hints::explain(&error, &tables);
    let frame = context.sql_with_options(sql, options).await.map_err(explain)?;
    let columns = frame.schema().fields().iter().map(|field| Column {
        name: field.name().clone(),
        data_type: field.data_type().to_string(),
        numeric: field.data_type().is_numeric(),
    });
    let columns: Vec<Column> = columns.collect();
    let batches = frame.collect().await.map_err(explain)?;
    let rows = batches.iter().map(cells::rows).collect::<Result<Vec<_>, _>>().map_err(explain)?;
    let rows = rows.into_iter().flatten().collect();
    Ok(QueryResult { columns, rows, warnings: tables.warnings })
}
