//! What can go wrong between a file and its tokens, in one enum.
//!
//! Every variant names the place (path, and line or byte offset where there is one) and says what to do
//! next, because a person who feeds files to a trainer can act on nothing else.

use std::io;
use std::path::{Path, PathBuf};

/// The error of every fallible function in this crate.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The operating system refused an operation on a file or folder.
    #[error("cannot {action} {}: {source}{}", path.display(), hint_line(io_hint(source)))]
    Io {
        /// What was attempted, as a verb: `read`, `write`, `list`, `rename`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// A path or pattern leads to nothing.
    #[error("{pattern}: {message}{}", hint_line(hint))]
    NotFound {
        /// The path or pattern as it was given.
        pattern: String,
        /// What was looked for.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file of a kind that no reader understands.
    #[error(
        "{}: this kind of file is not supported{}",
        path.display(),
        hint_line(crate::read::SUPPORTED)
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("{}: {message} at byte {offset}{}", path.display(), hint_line(hint))]
    InvalidText {
        /// The file.
        path: PathBuf,
        /// Position in the decompressed stream, in bytes.
        offset: u64,
        /// What stands there.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file with NUL bytes.
    #[error(
        "{}: looks like a binary file (NUL byte at byte {offset}){}",
        path.display(),
        hint_line("pass text files, or rename it if it is compressed and misses .gz")
    )]
    Binary {
        /// The file.
        path: PathBuf,
        /// Position in the decompressed stream, in bytes.
        offset: u64,
    },
    /// A record of a JSON or JSON lines file that cannot be used.
    #[error("{}:{line}: {message}{}", path.display(), hint_line(hint))]
    Record {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A source or domain whose files hold no text at all.
    #[error("{what} \"{name}\" has no text in {}{}", paths.join(", "), hint_line("check that the files are not empty"))]
    NoText {
        /// `source` or `held-out domain`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Its paths as they were given.
        paths: Vec<String>,
    },
    /// A tokenizer that cannot be read, trained or used.
    #[error("tokenizer{}: {message}{}", of_path(path.as_deref()), hint_line(hint))]
    Tokenizer {
        /// Its file, when there is one.
        path: Option<PathBuf>,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file that Loam wrote and that is no longer what it wrote.
    #[error("{}: {message}{}", path.display(), hint_line(hint))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What differs.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Files on the Hub that cannot be had.
    #[error(transparent)]
    Hub(#[from] loam_hub::HubError),
    /// A request that contradicts itself or lies outside what is possible.
    #[error("{message}{}", hint_line(hint))]
    Invalid {
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl CorpusError {
    /// An [`CorpusError::Io`] maker for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A [`CorpusError::Invalid`].
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: hint.into() }
    }

    /// A [`CorpusError::Damaged`].
    pub(crate) fn damaged(path: impl AsRef<Path>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Damaged { path: path.as_ref().to_path_buf(), message: message.into(), hint: hint.into() }
    }

    /// A [`CorpusError::Tokenizer`].
    pub(crate) fn tokenizer(path: Option<&Path>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Tokenizer { path: path.map(Path::to_path_buf), message: message.into(), hint: hint.into() }
    }
}

fn hint_line(hint: impl AsRef<str>) -> String {
    if hint.as_ref().is_empty() { String::new() } else { format!("\n  hint: {}", hint.as_ref()) }
}

fn of_path(path: Option<&Path>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space or write to another folder; nothing there before was lost"
        }
        io::ErrorKind::PermissionDenied => "check the rights on this file and on the folders above it",
        io::ErrorKind::NotFound => "check the spelling of the path",
        io::ErrorKind::ReadOnlyFilesystem => "write to another folder",
        io::ErrorKind::FileTooLarge => {
            "if the file is sound, raise the bound: --max-expansion N, or max_expansion = N under [data]"
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            "the file seems damaged or cut short: fetch or compress it again"
        }
        _ => "",
    }
}
