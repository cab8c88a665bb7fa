//! What can go wrong in a run.

use std::path::{Path, PathBuf};

/// A run that cannot start, go on, or be read.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// The text cannot be prepared.
    #[error(transparent)]
    Corpus(#[from] loam_corpus::CorpusError),
    /// The model cannot be built, read or written.
    #[error(transparent)]
    Model(#[from] loam_models::ModelError),
    /// Something on the Hub cannot be had.
    #[error(transparent)]
    Hub(#[from] loam_hub::HubError),
    /// A file or folder of the run could not be read or written.
    #[error("{path}: {source}{hint}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do about it; empty, or begins with "; ".
        hint: String,
    },
    /// A file of the run does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The request and the run do not go together.
    #[error("{0}")]
    Request(String),
    /// The loss or the gradient is no longer a number.
    #[error(
        "step {step}: the {what} is not a finite number, so training stopped; {checkpoint}. Try a lower train.lr, a \
         longer train.warmup or a smaller train.clip"
    )]
    NonFinite {
        /// The step that failed.
        step: u64,
        /// `loss` or `gradient`.
        what: &'static str,
        /// Where the last good weights are, in words.
        checkpoint: String,
    },
}

impl TrainError {
    /// An I/O error at `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let hint = match source.kind() {
            std::io::ErrorKind::StorageFull => {
                "; nothing already written is lost: free some space and go on with --resume"
            }
            std::io::ErrorKind::PermissionDenied => "; choose a folder that you may write with -o",
            _ => "",
        };
        Self::Io { path: path.into(), source, hint: hint.to_owned() }
    }

    /// A wrong content at `path`.
    pub fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), reason: reason.into() }
    }
}
