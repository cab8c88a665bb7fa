//! What can go wrong when records are read and laws are fitted.

use std::path::PathBuf;

/// Why a record could not be read, or a law not be fitted. Every variant says what to do, and names the file where there is one.
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
    /// A file of runs cannot be read at all; rows of CSV, TSV, JSON lines, Parquet and Arrow can.
    #[error(transparent)]
    Rows(Box<loam_tasks::TaskError>),
    /// A file of runs cannot be read as one.
    #[error("{path}: {detail}\n  hint: {hint}")]
    Points {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the row where there is one.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// Runs do not tell what a law has to say.
    #[error("{what}\n  hint: {hint}")]
    Law {
        /// What they lack.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A study that cannot be made as it was asked for.
    #[error("{what}\n  hint: {hint}")]
    Study {
        /// What does not go together.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A question that cannot be answered, or an index that is of something else.
    #[error("{what}\n  hint: {hint}")]
    Attribution {
        /// What does not go.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Somebody asked to stop.
    #[error("stopped; what is done so far is gone on with next time")]
    Interrupted,
    /// A file cannot be written.
    #[error("cannot write {path}: {source}\n  hint: {hint}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A run of a study cannot be made.
    #[error(transparent)]
    Train(#[from] loam_train::TrainError),
    /// The text of a study cannot be read or prepared.
    #[error(transparent)]
    Corpus(#[from] loam_corpus::CorpusError),
}
