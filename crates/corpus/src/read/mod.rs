//! Documents, streamed out of files.
//!
//! A corpus does not fit in memory and often is one file of many gigabytes, sometimes one line of many
//! gigabytes. So everything here is an iterator with a bound: text passes through a window of a few
//! megabytes at most, is checked to be UTF-8 on the way, and leaves as [`Document`]s that remember the
//! source, the path and the byte offset they came from, so that any later verdict can be traced to a place
//! in a file.

mod files;
mod json;
mod splitter;
mod stream;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

pub use files::{FileKind, FileList, find_files};
pub use json::JsonFields;
pub(crate) use splitter::cut_near;

use crate::error::CorpusError;

/// The longest text document in bytes; a longer one is cut at a paragraph, a line or a character.
pub const LONGEST_DOCUMENT: usize = 16 << 20;
/// The longest JSON record in bytes; a longer one is an error.
pub const LONGEST_RECORD: usize = 64 << 20;
/// About the length, in bytes, of the pieces of a long text without any marks in it.
pub const PIECE: usize = 64 << 10;

/// One document as it stands in its file, not yet normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Index of the source it belongs to.
    pub source: u32,
    /// The file it was read from.
    pub path: Arc<Path>,
    /// Where it begins in the decompressed file, in bytes.
    pub offset: u64,
    /// Its text.
    pub text: String,
}

/// Where one document of a text file ends and the next begins. JSON records are always documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// `<|endoftext|>` marks when the first mebibyte has one; else `WikiText` headings (` = Title = `); else
    /// the whole file, in pieces of about 64 KiB when it is longer than that.
    #[default]
    Auto,
    /// The whole file (cut above [`LONGEST_DOCUMENT`]).
    File,
    /// Every line.
    Line,
    /// Text between blank lines.
    Paragraph,
    /// Text between occurrences of this string.
    Separator(String),
}

impl FromStr for Split {
    type Err = CorpusError;

    /// `auto`, `file`, `line`, `paragraph`, or `separator:STRING` (with `\n`, `\t` understood).
    fn from_str(text: &str) -> Result<Self, CorpusError> {
        match text {
            "auto" => Ok(Self::Auto),
            "file" => Ok(Self::File),
            "line" => Ok(Self::Line),
            "paragraph" => Ok(Self::Paragraph),
            other => match other.strip_prefix("separator:") {
                Some(separator) if !separator.is_empty() => {
                    Ok(Self::Separator(separator.replace("\\n", "\n").replace("\\t", "\t")))
                }
                _ => Err(CorpusError::invalid(
                    format!("unknown split \"{other}\""),
                    "use auto, file, line, paragraph or separator:STRING",
                )),
            },
        }
    }
}

/// How files become documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The JSON field that holds the text; `text`, or the only string field, when not given.
    pub text_field: Option<String>,
    /// Where documents of text files end.
    pub split: Split,
    /// The index to put into [`Document::source`].
    pub source: u32,
}

/// Opens every file behind the patterns, one after the other, as one stream of documents.
///
/// Patterns are files, folders (searched through, sorted, hidden files and symbolic links left out) or
/// globs. Errors come out of the iterator with path and position; after an error it ends.
pub fn read_documents(patterns: &[String], options: &ReadOptions) -> Result<Documents, CorpusError> {
    if options.split == Split::Separator(String::new()) {
        return Err(CorpusError::invalid("the separator between documents is empty", "give at least one character"));
    }
    Ok(Documents::new(find_files(patterns)?.files, options.clone()))
}

enum Reader {
    Text(splitter::TextDocuments),
    Json(json::JsonDocuments),
}

/// A stream of documents over a list of files; see [`read_documents`].
pub struct Documents {
    files: std::vec::IntoIter<PathBuf>,
    options: ReadOptions,
    current: Option<(Arc<Path>, Reader)>,
    fields: Option<JsonFields>,
    /// What was wrong with the files that were left; none where the first error ends the stream.
    problems: Option<Vec<CorpusError>>,
    failed: bool,
}

impl Documents {
    /// Documents of these files, in this order.
    pub fn new(files: Vec<PathBuf>, options: ReadOptions) -> Self {
        Self { files: files.into_iter(), options, current: None, fields: None, problems: None, failed: false }
    }

    /// Also counts the fields of JSON records, for [`Documents::take_fields`].
    #[must_use]
    pub fn with_fields(mut self) -> Self {
        self.fields = Some(JsonFields::default());
        self
    }

    /// The JSON fields seen so far, when they were asked for.
    pub fn take_fields(&mut self) -> Option<JsonFields> {
        self.fields.take()
    }

    /// Leaves a file at its first error and goes on with the next one; the errors wait in
    /// [`Documents::take_problems`].
    #[must_use]
    pub fn past_errors(mut self) -> Self {
        self.problems = Some(Vec::new());
        self
    }

    /// The errors of the files that were left, when the stream was told to go on.
    pub fn take_problems(&mut self) -> Vec<CorpusError> {
        self.problems.take().unwrap_or_default()
    }

    fn open(&self, path: &Path) -> Result<Reader, CorpusError> {
        let kind = FileKind::of(path).ok_or_else(|| CorpusError::Unsupported { path: path.to_path_buf() })?;
        let stream = stream::TextStream::open(path, kind.compressed)?;
        Ok(if kind.json {
            Reader::Json(json::JsonDocuments::new(stream, kind.lines, self.options.text_field.clone()))
        } else {
            Reader::Text(splitter::TextDocuments::new(stream, self.options.split.clone()))
        })
    }

    fn step(&mut self) -> Result<Option<Document>, CorpusError> {
        loop {
            if let Some((path, reader)) = &mut self.current {
                let found = match reader {
                    Reader::Text(reader) => reader.next_text()?,
                    Reader::Json(reader) => reader.next_text(self.fields.as_mut())?,
                };
                if let Some((offset, text)) = found {
                    return Ok(Some(Document { source: self.options.source, path: path.clone(), offset, text }));
                }
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            let reader = self.open(&path)?;
            self.current = Some((path.into(), reader));
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            let item = self.step().transpose();
            match (item, &mut self.problems) {
                (Some(Err(error)), Some(problems)) => {
                    problems.push(error);
                    self.current = None;
                }
                (item, _) => {
                    self.failed = !matches!(item, Some(Ok(_)));
                    return item;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
