//! Writing so that a reader sees the old or the new, never the middle.
//!
//! A file is written beside its place, synced and renamed. A folder of files is made the same way: its
//! parts go into a sibling folder that becomes the real one by a rename when everything is on the disk. A
//! kill leaves at most that sibling, which the next run clears; a lock tells it from one in use.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::CorpusError;

const LOCK: &str = ".lock";

/// Replaces or makes a file, whole or not at all.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<(), CorpusError> {
    let folder = folder_of(path);
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(CorpusError::io("write", path))?;
    aside.write_all(content).map_err(CorpusError::io("write", path))?;
    aside.as_file().sync_all().map_err(CorpusError::io("write", path))?;
    allow_reading(aside.as_file());
    aside.persist(path).map_err(|error| CorpusError::io("write", path)(error.error))?;
    Ok(())
}

/// Temporary files are private to their maker; what is left for others to read should be as any file.
fn allow_reading(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Without these rights the file is still whole and its owner can read it.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder in the making. Dropped without [`FolderInMaking::finish`], it is removed.
pub(crate) struct FolderInMaking {
    target: PathBuf,
    aside: PathBuf,
    lock: Option<File>,
    finished: bool,
    /// Whether it stays where it is not finished, for the next run to go on with.
    resumable: bool,
}

impl FolderInMaking {
    /// Starts a folder that will stand at `target`. `marker` is the file by which a folder there is known
    /// to be an older one of ours, which will be replaced; another folder with content is an error.
    pub(crate) fn start(target: &Path, marker: &str) -> Result<Self, CorpusError> {
        refuse_foreign(target, marker)?;
        let (aside, lock) = Self::open_aside(target)?;
        let making = Self { target: target.to_path_buf(), aside, lock: Some(lock), finished: false, resumable: false };
        making.clear()?;
        Ok(making)
    }

    /// As [`FolderInMaking::start`], of which an unfinished folder stays. One that an earlier run left is gone on with where
    /// its file `stamp` holds these bytes; the second value says so.
    pub(crate) fn resume(target: &Path, marker: &str, stamp: &str, bytes: &[u8]) -> Result<(Self, bool), CorpusError> {
        refuse_foreign(target, marker)?;
        let (aside, lock) = Self::open_aside(target)?;
        let making = Self { target: target.to_path_buf(), aside, lock: Some(lock), finished: false, resumable: true };
        let stamp = making.aside.join(stamp);
        let same = std::fs::read(&stamp).is_ok_and(|found| found == bytes);
        if !same {
            making.clear()?;
            replace_file(&stamp, bytes)?;
        }
        Ok((making, same))
    }

    /// The folder beside `target` in which it is made, and its lock.
    fn open_aside(target: &Path) -> Result<(PathBuf, File), CorpusError> {
        let name = target.file_name().ok_or_else(|| {
            CorpusError::invalid(format!("{}: not a place for a new folder", target.display()), "name a folder to make")
        })?;
        let folder = folder_of(target);
        std::fs::create_dir_all(folder).map_err(CorpusError::io("create", folder))?;
        let mut aside_name = std::ffi::OsString::from(".");
        aside_name.push(name);
        aside_name.push(".partial");
        let aside = folder.join(aside_name);
        std::fs::create_dir_all(&aside).map_err(CorpusError::io("create", &aside))?;
        let lock_path = aside.join(LOCK);
        let lock = File::create(&lock_path).map_err(CorpusError::io("write", &lock_path))?;
        wait_for(&lock, target)?;
        Ok((aside, lock))
    }

    /// Removes what a killed run left.
    fn clear(&self) -> Result<(), CorpusError> {
        let entries = std::fs::read_dir(&self.aside).map_err(CorpusError::io("list", &self.aside))?;
        for entry in entries {
            let entry = entry.map_err(CorpusError::io("list", &self.aside))?;
            let path = entry.path();
            if entry.file_name() == LOCK {
                continue;
            }
            let kind = entry.file_type().map_err(CorpusError::io("list", &path))?;
            let removed = if kind.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(CorpusError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Where its parts are written.
    pub(crate) fn path(&self) -> &Path {
        &self.aside
    }

    /// Syncs everything and puts the folder in its place.
    pub(crate) fn finish(mut self) -> Result<(), CorpusError> {
        sync_tree(&self.aside)?;
        let lock_path = self.aside.join(LOCK);
        let old = self.aside.with_extension("replaced");
        if self.target.exists() {
            if old.exists() {
                std::fs::remove_dir_all(&old).map_err(CorpusError::io("remove", &old))?;
            }
            std::fs::rename(&self.target, &old).map_err(CorpusError::io("rename", &self.target))?;
        }
        self.lock = None;
        std::fs::remove_file(&lock_path).map_err(CorpusError::io("remove", &lock_path))?;
        std::fs::rename(&self.aside, &self.target).map_err(CorpusError::io("rename", &self.aside))?;
        self.finished = true;
        sync_folder(folder_of(&self.target))?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(CorpusError::io("remove", &old))?;
        }
        Ok(())
    }
}

impl Drop for FolderInMaking {
    fn drop(&mut self) {
        if !self.finished && !self.resumable {
            self.lock = None;
            // What stays is cleared by the next run.
            let _ = std::fs::remove_dir_all(&self.aside);
        }
    }
}

/// Takes the lock. A process that was just killed may hold it for a moment more.
fn wait_for(lock: &File, target: &Path) -> Result<(), CorpusError> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        match lock.try_lock() {
            // A file system without locks does without.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(CorpusError::invalid(
                    format!("{}: another process is writing this folder", target.display()),
                    "wait for it to end, or write to another folder",
                ));
            }
        }
    }
}

fn refuse_foreign(target: &Path, marker: &str) -> Result<(), CorpusError> {
    let entries = match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CorpusError::io("list", target)(error)),
    };
    if entries && !target.join(marker).is_file() {
        return Err(CorpusError::invalid(
            format!("{}: this folder holds other files", target.display()),
            "name a new or empty folder, or an older result to replace",
        ));
    }
    Ok(())
}

fn sync_tree(folder: &Path) -> Result<(), CorpusError> {
    for entry in walkdir::WalkDir::new(folder).contents_first(true) {
        let entry = entry.map_err(|error| CorpusError::io("sync", folder)(error.into()))?;
        if entry.file_type().is_file() {
            let file = File::open(entry.path()).map_err(CorpusError::io("sync", entry.path()))?;
            file.sync_all().map_err(CorpusError::io("sync", entry.path()))?;
        } else {
            sync_folder(entry.path())?;
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), CorpusError> {
    // Only Unix can sync a folder; elsewhere a rename is as durable as it gets.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(CorpusError::io("sync", folder))?;
    }
    Ok(())
}
