//! `documents.parquet`: one row for every document, so that any number about a corpus can be asked of SQL.
//!
//! The row says where a document came from, what was measured about it, in which split it went (`train`, `held_out`, or
//! `dropped`, with the reason in the column `rule`) and which tokens it became. Later steps (filters, influence) join to it by `id`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use serde_json::{Map, Value};

use crate::duplicates::ContentHash;
use crate::error::CorpusError;
use crate::read::{cell_value, plain_types};

/// Rows held before they are handed to the writer.
const BATCH: usize = 4096;
/// Rows of a row group.
const GROUP: usize = 1 << 16;

/// One row of `documents.parquet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentRow {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) path: Arc<Path>,
    /// Bytes into the decompressed file.
    pub(crate) offset: i64,
    /// Bytes of its normalized and cleaned text.
    pub(crate) bytes: i64,
    pub(crate) characters: i64,
    /// Tokens, without the end of text.
    pub(crate) tokens: i64,
    pub(crate) content_hash: String,
    /// Exact copies in all training sources.
    pub(crate) copies: i64,
    pub(crate) duplicate_of: Option<String>,
    /// The held-out domain; training otherwise.
    pub(crate) domain: Option<String>,
    /// Why it is in no split.
    pub(crate) rule: Option<String>,
    /// Position of its first token in its stream.
    pub(crate) token_start: i64,
}

/// The rows of a `documents.parquet` whose id begins with `wanted`, or whose path contains it, at most `most`, each as the
/// columns that it has; whatever wrote the file.
///
/// # Errors
/// [`CorpusError::Io`] where the file cannot be read, [`CorpusError::Damaged`] where it is none.
pub fn find_documents(file: &Path, wanted: &str, most: usize) -> Result<Vec<Map<String, Value>>, CorpusError> {
    let damaged = |error: &dyn std::fmt::Display| {
        CorpusError::damaged(file, format!("not a whole table of documents: {error}"), "prepare the data again")
    };
    let open = File::open(file).map_err(CorpusError::io("open", file))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(open, plain_types()).map_err(|error| damaged(&error))?;
    let mut found = Vec::new();
    for batch in builder.build().map_err(|error| damaged(&error))? {
        let batch = batch.map_err(|error| damaged(&error))?;
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (Some(ids), Some(paths)) = (text("id"), text("path")) else {
            return Err(damaged(&"it has no columns id and path"));
        };
        for row in 0..batch.num_rows() {
            if !ids.value(row).starts_with(wanted) && !paths.value(row).contains(wanted) {
                continue;
            }
            if found.len() == most {
                return Ok(found);
            }
            let schema = batch.schema();
            let cells = schema.fields().iter().zip(batch.columns());
            let cells = cells.map(|(field, column)| (field.name().clone(), cell_value(column.as_ref(), row)));
            found.push(cells.filter(|(_, value)| !value.is_null()).collect());
        }
    }
    Ok(found)
}

/// The identity of a document: 128 bits of BLAKE3 over source, path and offset.
pub(crate) fn document_id(source: &str, path: &Path, offset: u64) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(source.as_bytes());
    hasher.update(&[0]);
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(&[0]);
    hasher.update(&offset.to_le_bytes());
    crate::duplicates::truncated(&hasher.finalize())
}

/// Writes rows as they come.
pub(crate) struct DocumentWriter {
    path: PathBuf,
    schema: Arc<Schema>,
    writer: ArrowWriter<File>,
    rows: Vec<DocumentRow>,
}

impl DocumentWriter {
    /// Makes the file.
    pub(crate) fn create(path: &Path) -> Result<Self, CorpusError> {
        let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
        let number = |name| Field::new(name, DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![
            text("id", false),
            text("source", false),
            text("path", false),
            number("offset"),
            number("bytes"),
            number("characters"),
            number("tokens"),
            text("content_hash", false),
            number("copies"),
            text("duplicate_of", true),
            text("split", false),
            text("domain", true),
            text("rule", true),
            number("token_start"),
        ]));
        let file = File::create(path).map_err(CorpusError::io("write", path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP))
            .build();
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|error| parquet_error(path, error))?;
        Ok(Self { path: path.to_path_buf(), schema, writer, rows: Vec::with_capacity(BATCH) })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: DocumentRow) -> Result<(), CorpusError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), CorpusError> {
        let rows = &self.rows;
        let texts =
            |of: fn(&DocumentRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
        let maybe = |of: fn(&DocumentRow) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringArray>())
        };
        let numbers =
            |of: fn(&DocumentRow) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
        let paths = StringArray::from_iter_values(rows.iter().map(|row| row.path.to_string_lossy()));
        let columns = vec![
            texts(|row| &row.id),
            texts(|row| &row.source),
            Arc::new(paths),
            numbers(|row| row.offset),
            numbers(|row| row.bytes),
            numbers(|row| row.characters),
            numbers(|row| row.tokens),
            texts(|row| &row.content_hash),
            numbers(|row| row.copies),
            maybe(|row| row.duplicate_of.as_deref()),
            texts(|row| match (&row.rule, &row.domain) {
                (Some(_), _) => "dropped",
                (None, Some(_)) => "held_out",
                (None, None) => "train",
            }),
            maybe(|row| row.domain.as_deref()),
            maybe(|row| row.rule.as_deref()),
            numbers(|row| row.token_start),
        ];
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| parquet_error(&self.path, error.into()))?;
        self.writer.write(&batch).map_err(|error| parquet_error(&self.path, error))?;
        self.rows.clear();
        Ok(())
    }

    /// Writes what is left and closes the file.
    pub(crate) fn finish(mut self) -> Result<(), CorpusError> {
        if !self.rows.is_empty() {
            self.write()?;
        }
        self.writer.close().map_err(|error| parquet_error(&self.path, error))?;
        Ok(())
    }
}

/// A full disk must be recognized through the layers of the Parquet writer.
fn parquet_error(path: &Path, error: parquet::errors::ParquetError) -> CorpusError {
    use parquet::errors::ParquetError;
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    };
    CorpusError::Io { action: "write", path: path.to_path_buf(), source }
}
