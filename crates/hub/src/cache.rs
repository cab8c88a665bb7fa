//! The cache on disk, in the layout of huggingface_hub: contents once in `blobs`, what a name means in `refs`, and in
//! `snapshots` a folder of links for every commit.

use crate::error::HubError;
use crate::reference::Reference;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The cache's folder of one repository.
pub(crate) struct Repository {
    root: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub fn new(cache: &Path, reference: &Reference) -> Self {
        let folder = reference.folder();
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    /// The commit that a revision meant when it was last asked for.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        let commit = commit.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    /// Notes what a revision means now.
    pub fn note(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        make_parent(&path)?;
        fs::write(&path, commit).map_err(HubError::io(&path))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// A file of a snapshot, where it is there.
    pub fn file(&self, commit: &str, path: &str) -> Option<PathBuf> {
        let file = self.snapshot(commit).join(path);
        file.is_file().then_some(file)
    }

    pub fn blob(&self, tag: &str) -> PathBuf {
        self.root.join("blobs").join(tag)
    }

    /// Keeps other processes, of Hugging Face's libraries too, from writing the same contents until it is dropped.
    pub fn lock(&self, tag: &str) -> Result<File, HubError> {
        let path = self.locks.join(format!("{tag}.lock"));
        make_parent(&path)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(HubError::io(&path))?;
        file.lock().map_err(HubError::io(&path))?;
        Ok(file)
    }

    /// Gives contents their name in a snapshot.
    pub fn link(&self, commit: &str, path: &str, tag: &str) -> Result<PathBuf, HubError> {
        let file = self.snapshot(commit).join(path);
        if file.is_file() {
            return Ok(file);
        }
        make_parent(&file)?;
        // A link that leads nowhere.
        let _ = fs::remove_file(&file);
        let up = "../".repeat(path.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{tag}"));
        let linked = link(&target, &file).or_else(|_| fs::copy(self.blob(tag), &file).map(drop));
        match linked {
            // Another process was faster.
            Err(_) if file.is_file() => Ok(file),
            other => other.map(|()| file.clone()).map_err(HubError::io(&file)),
        }
    }

    /// Names of a snapshot's files.
    pub fn listing(&self, commit: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.snapshot(commit).join(&folder)) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(name),
                    _ => names.push(name),
                }
            }
        }
        names.sort();
        names
    }
}

/// Forty hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn make_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(HubError::io(parent))
}

#[cfg(unix)]
fn link(target: &Path, file: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, file)
}

#[cfg(windows)]
fn link(target: &Path, file: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target.to_string_lossy().replace('/', "\\"), file)
}

#[cfg(not(any(unix, windows)))]
fn link(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
