//! Documents, streamed out of files.
//!
//! A corpus does not fit in memory and often is one file of many gigabytes, sometimes one line of many
//! gigabytes. So everything here is an iterator with a bound: text passes through a window of a few
//! megabytes at most, is checked to be UTF-8 on the way, and leaves as [`Document`]s that remember the
//! source, the path and the byte offset they came from, so that any later verdict can be traced to a place
//! in a file.

mod columns;
mod compression;
mod conversations;
mod encoding;
mod fields;
mod files;
mod globs;
mod http;
mod json;
mod notes;
mod page;
mod pairs;
mod splitter;
mod stream;
mod table;
mod web_archive;
mod wiki_dump;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use columns::{plain_types, value as cell_value};
pub use compression::{Compression, LARGEST_EXPANSION};
pub use conversations::Turn;
pub use encoding::TextEncoding;
pub use fields::JsonFields;
pub use files::{FileFormat, FileKind, FileList, find_files};
pub(crate) use files::{SUPPORTED, find_paired_files};
pub use globs::glob_files;
pub use notes::{Note, Notes};
pub use pairs::read_lines;
pub(crate) use splitter::cut_near;

use crate::error::CorpusError;
use crate::extract::Markup;
use fields::Fields;

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
    /// Its text; of a pair, the input and then the target.
    pub text: String,
    /// Where the target begins in the text of a pair, in bytes.
    pub target: Option<usize>,
    /// What was said, of a conversation.
    pub turns: Vec<Turn>,
    /// How the text is marked up, where it was not extracted on reading.
    pub markup: Markup,
    /// What else its record says, where that was asked for.
    pub metadata: Map<String, Value>,
}

/// What to do with bytes that are no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Damage {
    /// Stop with an error that names the first.
    #[default]
    Refuse,
    /// Put U+FFFD in their place, and leave a note.
    Replace,
}

impl FromStr for Damage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "replace" => Ok(Self::Replace),
            _ => Err("refuse or replace".to_owned()),
        }
    }
}

impl Damage {
    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Replace => "replace",
        }
    }
}

/// How the bytes of files become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Their encoding.
    pub encoding: TextEncoding,
    /// What to do with bytes that are no text.
    pub damage: Damage,
    /// How many times its size a compressed file may grow to.
    #[serde(rename = "max_expansion")]
    pub expansion: u64,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { encoding: TextEncoding::Detect, damage: Damage::Refuse, expansion: LARGEST_EXPANSION }
    }
}

/// What the records of a source are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// Texts.
    #[default]
    Texts,
    /// Pairs in two fields of JSON records, or in two columns of text files, named by their number from 1.
    PairFields {
        /// The field of the input.
        input: String,
        /// The field of the target.
        target: String,
    },
    /// Pairs in two lists of text files: line n of a file belongs to line n of the file at its place in this list.
    PairFiles {
        /// The files of the targets.
        targets: Vec<PathBuf>,
    },
    /// Conversations, of which the answers are learned: JSON records in the forms in which they are passed around.
    Conversations,
    /// Rows of whatever meaning: all their fields in [`Document::metadata`], and no text of their own. Columns of tables, and
    /// of text files between tabs, are texts and go by their number from 1; so do those of a first row that may be names.
    Rows,
    /// Whatever each of them looks like, to whoever looks at data that nobody has described: a text where there is a field
    /// for it, else a conversation, else a pair whose fields have the usual names.
    Recognized,
}

impl Records {
    /// Whether the records are all pairs or conversations, of which one part is given and another learned.
    pub fn are_examples(&self) -> bool {
        !matches!(self, Self::Texts | Self::Recognized | Self::Rows)
    }
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
    /// Texts, or pairs of them.
    pub records: Records,
    /// The index to put into [`Document::source`].
    pub source: u32,
    /// How bytes become text.
    pub bytes: Bytes,
    /// Whether [`Document::metadata`] is filled.
    pub metadata: bool,
    /// Whether pages and articles keep their markup, for whoever extracts their text in parallel
    /// ([`Document::extracted`]).
    pub marked_up: bool,
}

impl Document {
    /// Its text without markup.
    #[must_use]
    pub fn extracted(mut self) -> Self {
        if self.markup != Markup::None {
            self.text = self.markup.text(&self.text).into_owned();
            self.markup = Markup::None;
        }
        self
    }
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
    Pairs(pairs::PairLines),
    Table(table::TableDocuments),
    Columns(columns::ColumnDocuments),
    Page(page::PageFile),
    WikiDump(wiki_dump::WikiDump),
    WebArchive(web_archive::WebArchive),
}

/// A stream of documents over a list of files; see [`read_documents`].
pub struct Documents {
    files: std::iter::Enumerate<std::vec::IntoIter<PathBuf>>,
    options: ReadOptions,
    current: Option<(Arc<Path>, Reader)>,
    fields: Option<JsonFields>,
    /// What was wrong with the files that were left; none where the first error ends the stream.
    problems: Option<Vec<CorpusError>>,
    notes: Notes,
    failed: bool,
}

impl Documents {
    /// Documents of these files, in this order.
    pub fn new(files: Vec<PathBuf>, options: ReadOptions) -> Self {
        Self {
            files: files.into_iter().enumerate(),
            options,
            current: None,
            fields: None,
            problems: None,
            notes: Notes::default(),
            failed: false,
        }
    }

    /// Where what was passed over within files is noted.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
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

    fn open(&self, number: usize, path: &Path) -> Result<Reader, CorpusError> {
        let Self { options, notes, .. } = self;
        let kind = match &options.records {
            Records::PairFiles { .. } => FileKind::of_paired(path),
            _ => FileKind::of(path).ok_or_else(|| CorpusError::Unsupported { path: path.to_path_buf() })?,
        };
        let stream = || stream::TextStream::open(path, kind.compression, &options.bytes, notes);
        if let Records::PairFiles { targets } = &options.records {
            return self.open_pair(number, path, kind, targets);
        }
        let fields = Fields::new(&options.records, options.text_field.as_ref(), options.metadata);
        Ok(match kind.format {
            FileFormat::Json => Reader::Json(json::JsonDocuments::new(stream()?, false, fields)),
            FileFormat::JsonLines => Reader::Json(json::JsonDocuments::new(stream()?, true, fields)),
            FileFormat::Csv => Reader::Table(table::TableDocuments::new(stream()?, b',', fields)),
            FileFormat::Tsv => Reader::Table(table::TableDocuments::new(stream()?, b'\t', fields)),
            FileFormat::Parquet => Reader::Columns(columns::ColumnDocuments::parquet(path, fields)?),
            FileFormat::Arrow => Reader::Columns(columns::ColumnDocuments::arrow(path, fields)?),
            FileFormat::Text => match &options.records {
                Records::PairFields { input, target } => {
                    Reader::Pairs(pairs::PairLines::columns(stream()?, input, target)?)
                }
                Records::Rows => Reader::Table(table::TableDocuments::new(stream()?, b'\t', fields)),
                records => {
                    only_texts(path, records)?;
                    Reader::Text(splitter::TextDocuments::new(stream()?, options.split.clone()))
                }
            },
            FileFormat::Html | FileFormat::WikiDump | FileFormat::WebArchive => {
                only_texts(path, &options.records)?;
                let (compression, expansion) = (kind.compression, options.bytes.expansion);
                match kind.format {
                    FileFormat::Html => Reader::Page(page::PageFile::open(path, compression, expansion)?),
                    FileFormat::WikiDump => Reader::WikiDump(wiki_dump::WikiDump::new(stream()?, options.metadata)),
                    _ => Reader::WebArchive(web_archive::WebArchive::open(
                        path,
                        compression,
                        expansion,
                        options.metadata,
                        notes,
                    )?),
                }
            }
        })
    }

    /// Opens two files whose lines are paired.
    fn open_pair(
        &self,
        number: usize,
        path: &Path,
        kind: FileKind,
        targets: &[PathBuf],
    ) -> Result<Reader, CorpusError> {
        let target = targets.get(number).ok_or_else(|| {
            CorpusError::invalid(
                format!("no file of targets belongs to {}", path.display()),
                "name as many files of targets as of inputs, in the same order",
            )
        })?;
        let other = FileKind::of_paired(target);
        if kind.format != FileFormat::Text || other.format != FileFormat::Text {
            return Err(CorpusError::invalid(
                format!("{} is paired by lines, and one of its two files is JSON", path.display()),
                "name the fields of its records with input_field and target_field",
            ));
        }
        let stream = |path: &Path, kind: FileKind| {
            stream::TextStream::open(path, kind.compression, &self.options.bytes, &self.notes)
        };
        Ok(Reader::Pairs(pairs::PairLines::parallel(stream(path, kind)?, stream(target, other)?)))
    }

    fn step(&mut self) -> Result<Option<Document>, CorpusError> {
        loop {
            if let Some((path, reader)) = &mut self.current {
                let counts = self.fields.as_mut();
                let found = match reader {
                    Reader::Text(reader) => reader.next_text()?.map(|(offset, text)| (offset, text.into())),
                    Reader::Json(reader) => reader.next_text(counts)?,
                    Reader::Pairs(reader) => {
                        reader.next_pair()?.map(|pair| (pair.offset, Found::pair(&pair.input, &pair.target)))
                    }
                    Reader::Table(reader) => reader.next_text(counts)?,
                    Reader::Columns(reader) => reader.next_text(counts)?,
                    Reader::Page(reader) => reader.next_text()?,
                    Reader::WikiDump(reader) => reader.next_text()?,
                    Reader::WebArchive(reader) => reader.next_text()?,
                };
                if let Some((offset, Found { text, target, turns, markup, metadata })) = found {
                    let (source, path) = (self.options.source, path.clone());
                    let document = Document { source, path, offset, text, target, turns, markup, metadata };
                    return Ok(Some(if self.options.marked_up { document } else { document.extracted() }));
                }
            }
            // A reader tells what it passed over when it goes.
            self.current = None;
            let Some((number, path)) = self.files.next() else { return Ok(None) };
            let reader = self.open(number, &path)?;
            self.current = Some((path.into(), reader));
        }
    }
}

/// Refuses pairs and conversations from files that hold texts alone.
fn only_texts(path: &Path, records: &Records) -> Result<(), CorpusError> {
    let (what, hint) = match records {
        Records::Texts | Records::Recognized => return Ok(()),
        Records::Rows => ("examples are read from records", "as .json, .jsonl, .csv, .tsv, .txt or .parquet"),
        Records::Conversations => (
            "conversations are read from records",
            "as .json, .jsonl or .parquet, with messages, conversations, or instruction and output",
        ),
        _ => ("pairs are read from records", "as .json, .jsonl, .csv, .tsv or .parquet"),
    };
    Err(CorpusError::invalid(format!("{} is a file of texts, and {what}", path.display()), hint))
}

/// What a reader found: see [`Document`].
#[derive(Default)]
struct Found {
    text: String,
    target: Option<usize>,
    turns: Vec<Turn>,
    markup: Markup,
    metadata: Map<String, Value>,
}

impl From<String> for Found {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Found {
    fn pair(input: &str, target: &str) -> Self {
        Self { text: format!("{input}\n{target}"), target: Some(input.len() + 1), ..Self::default() }
    }

    fn conversation(turns: Vec<Turn>) -> Self {
        let said: Vec<&str> = turns.iter().map(|turn| turn.content.as_str()).collect();
        Self { text: said.join("\n"), turns, ..Self::default() }
    }

    /// Whether there is something to read; of a pair, on both sides.
    fn has_text(&self) -> bool {
        match self.target {
            Some(at) => !self.text[..at].trim().is_empty() && !self.text[at..].trim().is_empty(),
            None => true,
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
