//! From what a person typed to a list of files.
//!
//! A path that exists is taken as it stands, so that a file called `a[1].txt` needs no quoting; only what
//! does not exist is read as a glob. Folders and globs give their supported files in sorted order and
//! remember what they left out; a file that was named outright and cannot be read is an error.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::compression::Compression;
use super::globs::{glob_files, is_file, not_listed};
use crate::error::CorpusError;

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Plain text.
    Text,
    /// JSON: an array of records, or records one after the other.
    Json,
    /// One JSON record a line.
    JsonLines,
    /// Comma-separated values, with a line of names.
    Csv,
    /// Tab-separated values, with a line of names.
    Tsv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's files and streams.
    Arrow,
    /// A web page.
    Html,
    /// A dump of a wiki, in the XML of MediaWiki.
    WikiDump,
    /// A web archive (WARC), also of texts (WET).
    WebArchive,
}

impl FileFormat {
    /// Whether it is records with fields, and no running text.
    pub fn holds_records(self) -> bool {
        matches!(self, Self::Json | Self::JsonLines | Self::Csv | Self::Tsv | Self::Parquet | Self::Arrow)
    }
}

/// What the name of a file says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// What stands in it.
    pub format: FileFormat,
    /// What is around that.
    pub compression: Compression,
}

/// Endings that are read, as errors tell them.
pub(crate) const SUPPORTED: &str = "supported are .txt, .text, .md, .raw, .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arrow, \
                                    .html, .xml (MediaWiki), .warc and .wet, each also with .gz, .bz2, .xz or .zst";

impl FileKind {
    /// Reads the kind off the name, or `None` for kinds that no reader understands.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (compression, name) = Compression::of(&name);
        let format = match Path::new(name).extension()?.to_str()? {
            "txt" | "text" | "md" | "markdown" | "raw" => FileFormat::Text,
            "jsonl" | "ndjson" => FileFormat::JsonLines,
            "json" => FileFormat::Json,
            "csv" => FileFormat::Csv,
            "tsv" => FileFormat::Tsv,
            "parquet" => FileFormat::Parquet,
            "arrow" | "feather" => FileFormat::Arrow,
            "html" | "htm" | "xhtml" => FileFormat::Html,
            "xml" => FileFormat::WikiDump,
            "warc" | "wet" => FileFormat::WebArchive,
            _ => return None,
        };
        // They seek, which compressed files do not.
        let seeks = matches!(format, FileFormat::Parquet | FileFormat::Arrow);
        (!seeks || compression == Compression::None).then_some(Self { format, compression })
    }
}

impl FileKind {
    /// The kind of a file whose lines are paired: text, unless its name says that it is JSON.
    pub(super) fn of_paired(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let (compression, _) = Compression::of(&name);
        match Self::of(path) {
            Some(kind) if matches!(kind.format, FileFormat::Json | FileFormat::JsonLines) => kind,
            _ => Self { format: FileFormat::Text, compression },
        }
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
/// (`hf:datasets/org/name[@revision][/path]`) or in a store (`s3://bucket/key`), which are fetched.
///
/// In folders and below `**`, links to files are files, and links to folders are not followed, so that no loop of them is.
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
        if let Some(store) = loam_hub::store::open(pattern)? {
            search_store(pattern, &store, any_named, &mut list)?;
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
        Some(skipped) => format!("{SUPPORTED}; left out: {}", skipped.display()),
        None => "check the spelling, and quote a glob so that the shell leaves it alone".to_owned(),
    };
    Err(CorpusError::NotFound { pattern: pattern.to_owned(), message: message.to_owned(), hint })
}

fn search_store(
    address: &str,
    store: &loam_hub::store::Store,
    any_named: bool,
    list: &mut FileList,
) -> Result<(), CorpusError> {
    let supported = |key: &str| FileKind::of(Path::new(key)).is_some();
    let found = store.find(&supported)?;
    // Before it is fetched: it may be large.
    if found.named && !any_named && found.objects.iter().any(|object| !supported(&object.key)) {
        return Err(CorpusError::Unsupported { path: address.into() });
    }
    list.files.extend(store.fetch(&found.objects)?);
    list.skipped.extend(found.skipped.into_iter().map(PathBuf::from));
    Ok(())
}

fn search_folder(folder: &Path, list: &mut FileList) -> Result<(), CorpusError> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
    for entry in entries {
        let entry = entry.map_err(|error| not_listed(error, folder))?;
        if is_file(&entry) {
            sort_in(entry.into_path(), list);
        }
    }
    Ok(())
}

fn search_glob(pattern: &str, list: &mut FileList) -> Result<(), CorpusError> {
    for path in glob_files(pattern)? {
        sort_in(path?, list);
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
