//! What can go wrong when a run is listed, queried or drawn.

use std::path::PathBuf;

/// Why a page, a list or a query could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder is missing or holds nothing that a run leaves.
    #[error("{path} is not a run's folder: {detail}\n  hint: {hint}")]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        detail: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}\n  hint: {hint}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The page cannot be written.
    #[error("cannot write {path}: {source}\n  hint: {hint}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The page's template and its values do not fit, which is a mistake in Loam.
    #[error("cannot lay out the page of {path}: {detail}\n  hint: this is a mistake in Loam; please report it")]
    Layout {
        /// The run's folder.
        path: PathBuf,
        /// What the template engine said.
        detail: String,
    },
    /// The SQL cannot be understood or run.
    #[error("{message}\n  hint: {hint}")]
    Query {
        /// What is wrong with it.
        message: String,
        /// What to do, with the tables and columns that there are.
        hint: String,
    },
}
