//! The run's tables: metrics and ledger rows as Parquet. Parquet cannot be appended to, so a table is kept in memory
//! and written whole, aside and renamed, at every checkpoint; a resumed run reads it back up to its checkpoint's step.

use crate::error::TrainError;
use crate::record::{DocumentSumRow, DocumentTally, DocumentValueRow, LedgerRow, MetricRow};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A row type that knows its columns.
pub trait Row: Sized {
    /// The rows as columns.
    fn batch(rows: &[Self]) -> RecordBatch;
    /// The columns as rows; none when a column is missing or of another type.
    fn rows(batch: &RecordBatch) -> Option<Vec<Self>>;
    /// The step that a resumed run compares with its checkpoint's; 0 where rows are of the run as a whole.
    fn step(&self) -> u64 {
        0
    }
}

fn numbers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn reals(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn words<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn table<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn numbers(&self, name: &str) -> Option<Vec<u64>> {
        Some(self.0.column_by_name(name)?.as_primitive_opt::<UInt64Type>()?.values().to_vec())
    }

    fn reals(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.0.column_by_name(name)?.as_primitive_opt::<Float64Type>()?.values().to_vec())
    }

    fn words(&self, name: &str) -> Option<Vec<String>> {
        let column = self.0.column_by_name(name)?.as_string_opt::<i32>()?;
        Some(column.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    }
}

impl Row for MetricRow {
    fn batch(rows: &[Self]) -> RecordBatch {
        table([
            ("step", numbers(rows.iter().map(|row| row.step))),
            ("tokens", numbers(rows.iter().map(|row| row.tokens))),
            ("seconds", reals(rows.iter().map(|row| row.seconds))),
            ("metric", words(rows.iter().map(|row| row.metric.as_str()))),
            ("domain", words(rows.iter().map(|row| row.domain.as_str()))),
            ("value", reals(rows.iter().map(|row| row.value))),
        ])
    }

    fn rows(batch: &RecordBatch) -> Option<Vec<Self>> {
        let columns = Columns(batch);
        let (steps, tokens) = (columns.numbers("step")?, columns.numbers("tokens")?);
        let (seconds, values) = (columns.reals("seconds")?, columns.reals("value")?);
        let (metrics, domains) = (columns.words("metric")?, columns.words("domain")?);
        let rows = metrics.into_iter().zip(domains).enumerate().map(|(i, (metric, domain))| Self {
            step: steps[i],
            tokens: tokens[i],
            seconds: seconds[i],
            metric,
            domain,
            value: values[i],
        });
        Some(rows.collect())
    }

    fn step(&self) -> u64 {
        self.step
    }
}

impl Row for LedgerRow {
    fn batch(rows: &[Self]) -> RecordBatch {
        table([
            ("from_step", numbers(rows.iter().map(|row| row.from_step))),
            ("step", numbers(rows.iter().map(|row| row.step))),
            ("domain", words(rows.iter().map(|row| row.domain.as_str()))),
            ("line", words(rows.iter().map(|row| row.line.as_str()))),
            ("source", words(rows.iter().map(|row| row.source.as_str()))),
            ("value", reals(rows.iter().map(|row| row.value))),
            ("tokens", numbers(rows.iter().map(|row| row.tokens))),
        ])
    }

    fn rows(batch: &RecordBatch) -> Option<Vec<Self>> {
        let columns = Columns(batch);
        let (from_steps, steps) = (columns.numbers("from_step")?, columns.numbers("step")?);
        let (values, tokens) = (columns.reals("value")?, columns.numbers("tokens")?);
        let (domains, lines, sources) = (columns.words("domain")?, columns.words("line")?, columns.words("source")?);
        let rows = domains.into_iter().zip(lines).zip(sources).enumerate();
        let rows = rows.map(|(i, ((domain, line), source))| Self {
            from_step: from_steps[i],
            step: steps[i],
            domain,
            line,
            source,
            value: values[i],
            tokens: tokens[i],
        });
        Some(rows.collect())
    }

    fn step(&self) -> u64 {
        self.step
    }
}

impl Row for DocumentValueRow {
    fn batch(rows: &[Self]) -> RecordBatch {
        table([
            ("id", words(rows.iter().map(|row| row.id.as_str()))),
            ("source", words(rows.iter().map(|row| row.source.as_str()))),
            ("domain", words(rows.iter().map(|row| row.domain.as_str()))),
            ("value", reals(rows.iter().map(|row| row.value))),
            ("standard_error", reals(rows.iter().map(|row| row.standard_error))),
            ("tokens_trained", numbers(rows.iter().map(|row| row.tokens_trained))),
            ("tokens_scored", numbers(rows.iter().map(|row| row.tokens_scored))),
            ("value_scored", reals(rows.iter().map(|row| row.value_scored))),
        ])
    }

    fn rows(batch: &RecordBatch) -> Option<Vec<Self>> {
        let columns = Columns(batch);
        let (ids, sources, domains) = (columns.words("id")?, columns.words("source")?, columns.words("domain")?);
        let (values, errors) = (columns.reals("value")?, columns.reals("standard_error")?);
        let (trained, scored) = (columns.numbers("tokens_trained")?, columns.numbers("tokens_scored")?);
        let alone = columns.reals("value_scored")?;
        let rows = ids.into_iter().zip(sources).zip(domains).enumerate();
        let rows = rows.map(|(i, ((id, source), domain))| Self {
            id,
            source,
            domain,
            value: values[i],
            standard_error: errors[i],
            tokens_trained: trained[i],
            tokens_scored: scored[i],
            value_scored: alone[i],
        });
        Some(rows.collect())
    }
}

impl Row for DocumentSumRow {
    fn batch(rows: &[Self]) -> RecordBatch {
        table([
            ("source", words(rows.iter().map(|row| row.source.as_str()))),
            ("domain", words(rows.iter().map(|row| row.domain.as_str()))),
            ("value", reals(rows.iter().map(|row| row.value))),
            ("standard_error", reals(rows.iter().map(|row| row.standard_error))),
            ("tokens_trained", numbers(rows.iter().map(|row| row.tokens_trained))),
            ("tokens_scored", numbers(rows.iter().map(|row| row.tokens_scored))),
            ("rate", reals(rows.iter().map(|row| row.rate))),
        ])
    }

    fn rows(batch: &RecordBatch) -> Option<Vec<Self>> {
        let columns = Columns(batch);
        let (sources, domains) = (columns.words("source")?, columns.words("domain")?);
        let (values, errors, rates) =
            (columns.reals("value")?, columns.reals("standard_error")?, columns.reals("rate")?);
        let (trained, scored) = (columns.numbers("tokens_trained")?, columns.numbers("tokens_scored")?);
        let rows = sources.into_iter().zip(domains).enumerate().map(|(i, (source, domain))| Self {
            source,
            domain,
            value: values[i],
            standard_error: errors[i],
            tokens_trained: trained[i],
            tokens_scored: scored[i],
            rate: rates[i],
        });
        Some(rows.collect())
    }
}

impl Row for DocumentTally {
    fn batch(rows: &[Self]) -> RecordBatch {
        table([
            ("slot", numbers(rows.iter().map(|row| row.slot))),
            ("domain", numbers(rows.iter().map(|row| row.domain))),
            ("tokens_trained", numbers(rows.iter().map(|row| row.tokens_trained))),
            ("tokens_scored", numbers(rows.iter().map(|row| row.tokens_scored))),
            ("sum", reals(rows.iter().map(|row| row.sum))),
            ("squares", reals(rows.iter().map(|row| row.squares))),
        ])
    }

    fn rows(batch: &RecordBatch) -> Option<Vec<Self>> {
        let columns = Columns(batch);
        let (slots, domains) = (columns.numbers("slot")?, columns.numbers("domain")?);
        let (trained, scored) = (columns.numbers("tokens_trained")?, columns.numbers("tokens_scored")?);
        let (sums, squares) = (columns.reals("sum")?, columns.reals("squares")?);
        let row = |i: usize| Self {
            slot: slots[i],
            domain: domains[i],
            tokens_trained: trained[i],
            tokens_scored: scored[i],
            sum: sums[i],
            squares: squares[i],
        };
        Some((0..batch.num_rows()).map(row).collect())
    }
}

/// Writes rows to `path`, aside and renamed, so that a reader finds the old table or the new one.
///
/// # Errors
/// When the file cannot be written.
pub fn write<R: Row>(path: &Path, rows: &[R]) -> Result<(), TrainError> {
    let aside = path.with_extension("parquet.partial");
    let batch = R::batch(rows);
    let file = File::create(&aside).map_err(|source| TrainError::io(&aside, source))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let written = ArrowWriter::try_new(file, batch.schema(), Some(properties))
        .and_then(|mut writer| writer.write(&batch).map(|()| writer))
        .and_then(ArrowWriter::into_inner);
    let file = written.map_err(|error| {
        let source = match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(io) => *io,
                Err(other) => std::io::Error::other(other.to_string()),
            },
            other => std::io::Error::other(other.to_string()),
        };
        TrainError::io(&aside, source)
    })?;
    file.sync_all().map_err(|source| TrainError::io(&aside, source))?;
    std::fs::rename(&aside, path).map_err(|source| TrainError::io(path, source))
}

/// Reads the rows of `path` up to and including `last_step`.
///
/// # Errors
/// When the file is not such a table.
pub fn read<R: Row>(path: &Path, last_step: u64) -> Result<Vec<R>, TrainError> {
    let fail = |reason: String| TrainError::format(path, format!("is not a table of this run: {reason}"));
    let file = File::open(path).map_err(|source| TrainError::io(path, source))?;
    // The schema that its writer had in memory adds nothing, and its reader panics where it is damaged.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| fail(error.to_string()))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| fail(error.to_string()))?;
        let batch = R::rows(&batch).ok_or_else(|| fail("its columns are others".into()))?;
        rows.extend(batch.into_iter().filter(|row| row.step() <= last_step));
    }
    Ok(rows)
}
