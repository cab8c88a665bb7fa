//! What can go wrong between the Hub or a store and the disk.

use std::io;
use std::path::{Path, PathBuf};

/// The error of every fallible function in this crate.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that is none.
    #[error("{text}: {reason}; write hf:org/name, hf:org/name@revision, or hf:datasets/org/name/path")]
    Reference {
        /// The name as it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address in a store that is none.
    #[error(
        "{text}: {reason}; write s3://bucket/key, s3://bucket/folder/, or s3://bucket/glob with *, ?, [abc] and **"
    )]
    Address {
        /// The address as it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The Hub or the store does not have it, or does not show it.
    #[error("{what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What was said, and what to do.
        reason: String,
    },
    /// The Hub or the store cannot be reached, or stopped answering.
    #[error(
        "{what}: {reason}; what was fetched is kept, and the next try goes on from there (--offline uses the cache alone)"
    )]
    Network {
        /// What was asked for.
        what: String,
        /// What happened.
        reason: String,
    },
    /// Offline, and the cache does not have it.
    #[error("{what} is not in the cache at {}, and --offline (for the Hub also HF_HUB_OFFLINE) forbids fetching it", cache.display())]
    Offline {
        /// What was asked for.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// What came is not what was announced.
    #[error("{what}: {reason}; it was not kept, try again")]
    Damaged {
        /// The file.
        what: String,
        /// What differs.
        reason: String,
    },
    /// There is no room for what is fetched.
    #[error(
        "{}: the disk is full; what was fetched is kept, and the next try goes on from there: make room, or move the cache \
         (LOAM_CACHE; of the Hub, HF_HUB_CACHE)",
        path.display()
    )]
    Full {
        /// The file that grew.
        path: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn network(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Network { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn refused(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), reason: reason.into() }
    }
}
