//! What was wrong with files that were read all the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Notes that are kept; the rest are counted.
const MOST: usize = 1000;

/// Something in a file that could not be read, and was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub path: PathBuf,
    /// Where, in bytes (in the file as it stands for archives, in the decompressed text for others).
    pub offset: u64,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, byte {}: {}", self.path.display(), self.offset, self.message)
    }
}

/// Notes that readers add to and whoever reads takes.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    notes: Vec<Note>,
    more: u64,
}

impl Notes {
    pub(super) fn add(&self, path: &Path, offset: u64, message: impl Into<String>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.notes.len() < MOST {
            kept.notes.push(Note { path: path.to_path_buf(), offset, message: message.into() });
        } else {
            kept.more += 1;
        }
    }

    /// The notes so far, and how many more there were; they are told once.
    pub fn take(&self) -> (Vec<Note>, u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.notes), std::mem::take(&mut kept.more))
    }
}
