//! What can go wrong around a cluster.

use std::io;
use std::path::PathBuf;

use crate::address::Address;

/// The error of every fallible function in this crate.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// An address that is none.
    #[error("{text}: {why}; write host:port, as in node1:50050")]
    Address {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody answers where a scheduler should be.
    #[error("no scheduler answers at {address}: {source}\n  hint: start one there: loam scheduler --bind 0.0.0.0")]
    Unreachable {
        /// Where.
        address: Address,
        /// The system's own error.
        source: io::Error,
    },
    /// A port that cannot be had.
    #[error(
        "cannot listen at {host}:{port}: {source}\n  hint: another process may have this port: name another by --port"
    )]
    Listen {
        /// The address to bind to.
        host: String,
        /// The port.
        port: u16,
        /// The system's own error.
        source: io::Error,
    },
    /// A folder that a worker cannot use.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// Ballista, or the runtime that it lives in, cannot go on.
    #[error("the {what} stopped: {message}")]
    Stopped {
        /// `scheduler` or `worker`.
        what: &'static str,
        /// What it said.
        message: String,
    },
}
