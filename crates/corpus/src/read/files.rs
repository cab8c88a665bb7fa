//! From what a person typed to a list of files.
//!
//! A path that exists is taken as it stands, so that a file called `a[1].txt` needs no quoting; only what
//! does not exist is read as a glob. Folders and globs give their supported files in sorted order and
//! remember what they left out; a file that was named outright and cannot be read is an error.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::CorpusError;

/// What the name of a file says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// JSON values rather than plain text.
    pub json: bool,
    /// One JSON value a line.
    pub lines: bool,
    /// Gzip around it.
    pub compressed: bool,
}

impl FileKind {
    /// Reads the kind off the name, or `None` for kinds that no reader understands.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, compressed) = match name.strip_suffix(".gz") {
            Some(inner) => (inner.to_owned(), true),
            None => (name, false),
        };
        let (json, lines) = match Path::new(&name).extension()?.to_str()? {
            "txt" | "text" | "md" | "markdown" | "raw" => (false, false),
            "jsonl" | "ndjson" => (true, true),
            "json" => (true, false),
            _ => return None,
        };
        Some(Self { json, lines, compressed })
    }
}

impl FileKind {
    /// The kind of a file whose lines are paired.
    pub(super) fn of_paired(path: &Path) -> Self {
        let compressed = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"));
        Self::of(path).unwrap_or(Self { json: false, lines: false, compressed })
    }
}

/// The files behind a list of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList {
    /// Files to read, in order: patterns as given, sorted within each.
    pub files: Vec<PathBuf>,
    /// Files of unsupported kinds that folders and globs left out.
    pub skipped: Vec<PathBuf>,
}

/// Finds the files behind patterns: a file, a folder or a glob each, or one of these on the Hub
/// (`hf:datasets/org/name[@revision][/path]`), which are fetched.
///
/// Every pattern must lead to at least one supported file.
pub fn find_files(patterns: &[String]) -> Result<FileList, CorpusError> {
    find(patterns, false)
}

/// [`find_files`] for files whose lines are paired: one that is named is text whatever its name ends with, since
/// corpora of translations end theirs with the language.
pub(crate) fn find_paired_files(patterns: &[String]) -> Result<FileList, CorpusError> {
    find(patterns, true)
}

fn find(patterns: &[String], any_named: bool) -> Result<FileList, CorpusError> {
    if patterns.is_empty() {
        return Err(CorpusError::invalid("no files were given", "pass at least one file, folder or glob"));
    }
    let mut list = FileList::default();
    for pattern in patterns {
        if let Some(files) = loam_hub::files(pattern, &|name| FileKind::of(Path::new(name)).is_some())? {
            if let Some(other) = files.iter().find(|file| FileKind::of(file).is_none()) {
                return Err(CorpusError::Unsupported { path: other.clone() });
            }
            list.files.extend(files);
            continue;
        }
        let path = Path::new(pattern);
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let before = list.files.len();
                search_folder(path, &mut list)?;
                require_some(pattern, &list, before, "no supported file in this folder")?;
            }
            Ok(metadata) if metadata.is_file() => {
                if FileKind::of(path).is_none() && !any_named {
                    return Err(CorpusError::Unsupported { path: path.to_path_buf() });
                }
                list.files.push(path.to_path_buf());
            }
            Ok(_) => {
                return Err(CorpusError::NotFound {
                    pattern: pattern.clone(),
                    message: "neither a file nor a folder".to_owned(),
                    hint: "pipes and devices cannot be read twice: save the text to a file".to_owned(),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && pattern.contains(['*', '?', '[']) => {
                let before = list.files.len();
                search_glob(pattern, &mut list)?;
                require_some(pattern, &list, before, "this pattern matches no supported file")?;
            }
            Err(error) => return Err(CorpusError::io("open", path)(error)),
        }
    }
    Ok(list)
}

fn require_some(pattern: &str, list: &FileList, before: usize, message: &str) -> Result<(), CorpusError> {
    if list.files.len() > before {
        return Ok(());
    }
    let hint = match list.skipped.last() {
        Some(skipped) => format!(
            "supported are .txt, .text, .md, .raw, .jsonl, .ndjson and .json, each also with .gz; left out: {}",
            skipped.display()
        ),
        None => "check the spelling, and quote a glob so that the shell leaves it alone".to_owned(),
    };
    Err(CorpusError::NotFound { pattern: pattern.to_owned(), message: message.to_owned(), hint })
}

fn search_folder(folder: &Path, list: &mut FileList) -> Result<(), CorpusError> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
    for entry in entries {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_path_buf();
            let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links"));
            CorpusError::Io { action: "list", path, source }
        })?;
        if entry.file_type().is_file() {
            sort_in(entry.into_path(), list);
        }
    }
    Ok(())
}

fn search_glob(pattern: &str, list: &mut FileList) -> Result<(), CorpusError> {
    let paths = glob::glob(pattern).map_err(|error| {
        CorpusError::invalid(format!("{pattern}: not a valid pattern: {error}"), "use *, ?, ** and [abc]")
    })?;
    for path in paths {
        let path = path.map_err(|error| {
            let path = error.path().to_path_buf();
            CorpusError::Io { action: "list", path, source: error.into() }
        })?;
        if path.is_file() {
            sort_in(path, list);
        }
    }
    Ok(())
}

fn sort_in(path: PathBuf, list: &mut FileList) {
    if FileKind::of(&path).is_some() {
        list.files.push(path);
    } else {
        list.skipped.push(path);
    }
}
