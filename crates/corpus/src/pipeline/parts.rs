//! Rows on the disk: a file of Parquet for each file that was read, whole or not there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::row::{Columns, Row, from_batch, schema, to_batch};
use crate::error::CorpusError;
use crate::read::plain_types;

/// Bytes of a row group, about, so that writing holds no more.
const GROUP_BYTES: usize = 64 << 20;
/// Rows of a batch that is read.
const BATCH: usize = 512;

/// Writes rows into a file that gets its name when it is whole.
pub(super) struct RowWriter {
    target: PathBuf,
    partial: PathBuf,
    schema: Arc<Schema>,
    writer: ArrowWriter<File>,
    waiting: usize,
}

impl RowWriter {
    pub(super) fn create(target: &Path, columns: Columns) -> Result<Self, CorpusError> {
        Self::create_by("", target, columns)
    }

    /// As [`Self::create`], where several hands may write the same file at the same time: each needs a name of its own.
    pub(super) fn create_by(hand: &str, target: &Path, columns: Columns) -> Result<Self, CorpusError> {
        let partial = target.with_extension(format!("{hand}partial"));
        let file = File::create(&partial).map_err(CorpusError::io("write", &partial))?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = schema(columns);
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|error| wrong(&partial, "write", error))?;
        Ok(Self { target: target.to_path_buf(), partial, schema, writer, waiting: 0 })
    }

    pub(super) fn write(&mut self, rows: &[Row]) -> Result<(), CorpusError> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = to_batch(rows, &self.schema);
        self.writer.write(&batch).map_err(|error| wrong(&self.partial, "write", error))?;
        let bytes = |row: &Row| row.bytes as usize + 4 * row.ids.as_ref().map_or(0, Vec::len) + 400;
        self.waiting += rows.iter().map(bytes).sum::<usize>();
        if self.waiting > GROUP_BYTES {
            self.writer.flush().map_err(|error| wrong(&self.partial, "write", error))?;
            self.waiting = 0;
        }
        Ok(())
    }

    /// Bytes written and waiting.
    pub(super) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    pub(super) fn finish(mut self) -> Result<(), CorpusError> {
        self.writer.finish().map_err(|error| wrong(&self.partial, "write", error))?;
        self.writer.inner().sync_all().map_err(CorpusError::io("write", &self.partial))?;
        std::fs::rename(&self.partial, &self.target).map_err(CorpusError::io("rename", &self.partial))
    }
}

/// Reads the rows of a file, batch by batch.
pub(super) struct RowReader {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
}

impl RowReader {
    pub(super) fn open(path: &Path) -> Result<Self, CorpusError> {
        Self::open_columns(path, None)
    }

    /// Only these columns.
    pub(super) fn open_columns(path: &Path, columns: Option<&[&str]>) -> Result<Self, CorpusError> {
        let file = File::open(path).map_err(CorpusError::io("open", path))?;
        let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain_types())
            .map_err(|error| wrong(path, "read", error))?;
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let reader = builder.with_batch_size(BATCH).build().map_err(|error| wrong(path, "read", error))?;
        Ok(Self { path: path.to_path_buf(), reader })
    }
}

impl Iterator for RowReader {
    type Item = Result<Vec<Row>, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map(|batch| from_batch(&batch)).map_err(|error| wrong(&self.path, "read", error.into())))
    }
}

fn wrong(path: &Path, action: &'static str, error: parquet::errors::ParquetError) -> CorpusError {
    use parquet::errors::ParquetError;
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    };
    CorpusError::Io { action, path: path.to_path_buf(), source }
}
