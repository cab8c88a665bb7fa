//! `study.parquet` and `study_runs.parquet`: what `loam query` asks.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::effects::Effect;
use super::folder::{RunResult, write_whole};
use crate::InfluenceError;

/// File names in a study's folder.
pub const EFFECTS: &str = "study.parquet";
/// See [`EFFECTS`].
pub const RUNS: &str = "study_runs.parquet";

/// Writes both tables into a study's folder, whole or not at all. Nothing in them depends on how long runs took, or on how often the
/// study was stopped.
///
/// # Errors
/// [`InfluenceError::Write`] where one cannot be written.
pub fn write(folder: &Path, effects: &[Effect], results: &[RunResult]) -> Result<(), InfluenceError> {
    write_batch(&folder.join(EFFECTS), &of_effects(effects))?;
    write_batch(&folder.join(RUNS), &of_runs(results))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn of_effects(effects: &[Effect]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 15] = [
        ("arm", texts(effects.iter().map(|effect| effect.arm.as_str()))),
        ("domain", texts(effects.iter().map(|effect| effect.domain.as_str()))),
        ("pairs", counts(effects.iter().map(|effect| effect.difference.pairs as u64))),
        ("failed", counts(effects.iter().map(|effect| effect.failed as u64))),
        ("base_loss", numbers(effects.iter().map(|effect| Some(effect.base_loss)))),
        ("difference", numbers(effects.iter().map(|effect| Some(effect.difference.mean)))),
        ("low", numbers(effects.iter().map(|effect| effect.difference.low))),
        ("high", numbers(effects.iter().map(|effect| effect.difference.high))),
        ("spread", numbers(effects.iter().map(|effect| effect.difference.spread))),
        ("p_value", numbers(effects.iter().map(|effect| effect.difference.p_value))),
        ("p_value_of_signs", numbers(effects.iter().map(|effect| effect.difference.p_value_of_signs))),
        ("smallest_visible", numbers(effects.iter().map(|effect| effect.smallest_visible))),
        ("predicted", numbers(effects.iter().map(|effect| effect.predicted))),
        ("predicted_late", numbers(effects.iter().map(|effect| effect.predicted_late))),
        ("predicted_by_tokens", numbers(effects.iter().map(|effect| effect.predicted_by_tokens))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// A row a run and domain; a failed run has one row, without a domain.
fn of_runs(results: &[RunResult]) -> RecordBatch {
    let mut rows: Vec<(&RunResult, &str, Option<f64>)> = Vec::new();
    for run in results {
        if run.losses.is_empty() {
            rows.push((run, "", None));
        }
        rows.extend(run.losses.iter().map(|own| (run, own.domain.as_str(), Some(own.loss))));
    }
    let columns: [(&str, ArrayRef); 10] = [
        ("arm", texts(rows.iter().map(|row| row.0.arm.as_str()))),
        ("seed", counts(rows.iter().map(|row| row.0.seed))),
        ("status", texts(rows.iter().map(|row| if row.0.failed.is_some() { "failed" } else { "done" }))),
        ("reason", texts(rows.iter().map(|row| row.0.failed.as_deref().unwrap_or_default()))),
        ("domain", texts(rows.iter().map(|row| row.1))),
        ("loss", numbers(rows.iter().map(|row| row.2))),
        ("parameters", counts(rows.iter().map(|row| row.0.parameters))),
        ("tokens", counts(rows.iter().map(|row| row.0.tokens))),
        ("unique_tokens", counts(rows.iter().map(|row| row.0.unique_tokens))),
        ("weights_hash", texts(rows.iter().map(|row| row.0.weights_hash.as_str()))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn write_batch(path: &Path, batch: &RecordBatch) -> Result<(), InfluenceError> {
    let fail =
        |error: parquet::errors::ParquetError| super::folder::unwritten(path, std::io::Error::other(error.to_string()));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(fail)?;
    writer.write(batch).map_err(fail)?;
    writer.close().map_err(fail)?;
    write_whole(path, &bytes)
}
