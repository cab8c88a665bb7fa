//! What can go wrong between a model and its files.

use std::path::PathBuf;

/// A model that cannot be built, read, written or run as asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}{hint}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do about it; empty, or begins with "; ".
        hint: String,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A configuration that no model can have.
    #[error("the model's configuration: {0}")]
    Configuration(String),
    /// A request that the model cannot serve.
    #[error("{0}")]
    Request(String),
}

impl ModelError {
    /// An I/O error at `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        let hint = match source.kind() {
            std::io::ErrorKind::NotFound => "; a model folder holds config.json, model.safetensors and tokenizer.json",
            std::io::ErrorKind::StorageFull => {
                "; nothing already written is lost: free some space and go on (a run: with --resume)"
            }
            _ => "",
        };
        Self::Io { path, source, hint: hint.to_owned() }
    }

    /// A wrong content at `path`.
    pub fn format(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Format { path: path.into(), reason: reason.into() }
    }
}
