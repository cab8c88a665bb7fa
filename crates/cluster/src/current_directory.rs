//! Relative paths mean the same for a worker as for whoever began the preparation.
//!
//! Paths of documents stand in records as they were given, so that they cannot be made absolute on the way. A process has
//! one current directory: tasks that need the same share it, one that needs another waits.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// The current directory of this process, shared by tasks.
#[derive(Debug, Default)]
pub(crate) struct CurrentDirectory {
    held: Mutex<Held>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    path: PathBuf,
    by: usize,
}

/// Keeps the current directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Stay<'a>(&'a CurrentDirectory);

impl CurrentDirectory {
    /// Waits until nobody needs another directory, and goes there.
    pub(crate) fn enter(&self, path: &Path) -> std::io::Result<Stay<'_>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.by > 0 && held.path != path {
            held = self.free.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        if held.by == 0 {
            std::env::set_current_dir(path)?;
            held.path = path.to_path_buf();
        }
        held.by += 1;
        Ok(Stay(self))
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.by -= 1;
        if held.by == 0 {
            self.0.free.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_at_a_time() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("name"), "one").unwrap();
        std::fs::write(other.path().join("name"), "other").unwrap();
        let before = std::env::current_dir().unwrap();
        let directory = CurrentDirectory::default();
        assert!(directory.enter(&one.path().join("missing")).is_err());
        let read = |path: &Path, expected: &str| {
            for _ in 0..20 {
                let _stay = directory.enter(path).unwrap();
                assert_eq!(std::fs::read_to_string("name").unwrap(), expected);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| read(one.path(), "one"));
            scope.spawn(|| read(one.path(), "one"));
            scope.spawn(|| read(other.path(), "other"));
        });
        std::env::set_current_dir(before).unwrap();
    }
}
