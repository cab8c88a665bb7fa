//! What can go wrong when a run's records are read.

use std::path::PathBuf;

/// Why a record could not be read. Every variant names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InfluenceError {
    /// The file cannot be opened.
    #[error("cannot open {path}: {source}\n  hint: {hint}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The file is not a whole Parquet file.
    #[error("{path} is not a readable Parquet file: {detail}\n  hint: {hint}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet reader said.
        detail: String,
        /// What to do.
        hint: &'static str,
    },
    /// The file lacks a column, or has it in a type that cannot be read as the wanted one.
    #[error("{path} has no column {column:?} that reads as {wanted}; its columns are {found}\n  hint: {hint}")]
    Column {
        /// The file.
        path: PathBuf,
        /// The column that was asked for.
        column: &'static str,
        /// The type that was asked for.
        wanted: &'static str,
        /// The columns that the file has.
        found: String,
        /// What to do.
        hint: &'static str,
    },
}
