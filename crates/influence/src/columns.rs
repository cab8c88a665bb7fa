//! Parquet columns by name. A run's tables may come from an older Loam, from another tool or from a filtered copy, so
//! integers of any width and strings of any encoding (plain, large, view, dictionary) read alike.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::InfluenceError;

const TRUNCATED_HINT: &str = "a file that a kill cut short cannot be read; resuming the run writes it anew";
const COLUMN_HINT: &str = "a run of this version of Loam writes these columns; was the file made by another tool?";

/// Some rows of a Parquet file, addressed by column name.
pub struct Columns<'a> {
    path: &'a Path,
    batch: RecordBatch,
}

impl Columns<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// An integer column, any width; a missing or negative number reads as 0.
    pub fn integers(&self, name: &'static str) -> Result<Vec<u64>, InfluenceError> {
        let array = self.cast(name, &DataType::UInt64, "integers")?;
        let array = array.as_any().downcast_ref::<UInt64Array>();
        let array = array.ok_or_else(|| self.missing(name, "integers"))?;
        Ok(array.iter().map(Option::unwrap_or_default).collect())
    }

    /// A number column; a missing number reads as NaN.
    pub fn floats(&self, name: &'static str) -> Result<Vec<f64>, InfluenceError> {
        let array = self.cast(name, &DataType::Float64, "numbers")?;
        let array = array.as_any().downcast_ref::<Float64Array>();
        let array = array.ok_or_else(|| self.missing(name, "numbers"))?;
        Ok(array.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    }

    /// A text column; a missing text reads as the empty one.
    pub fn texts(&self, name: &'static str) -> Result<Vec<String>, InfluenceError> {
        let array = self.cast(name, &DataType::Utf8, "text")?;
        let array = array.as_any().downcast_ref::<StringArray>();
        let array = array.ok_or_else(|| self.missing(name, "text"))?;
        Ok(array.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    }

    fn cast(
        &self,
        name: &'static str,
        to: &DataType,
        wanted: &'static str,
    ) -> Result<arrow::array::ArrayRef, InfluenceError> {
        let column = self.batch.column_by_name(name).ok_or_else(|| self.missing(name, wanted))?;
        cast(column, to).map_err(|_| self.missing(name, wanted))
    }

    fn missing(&self, column: &'static str, wanted: &'static str) -> InfluenceError {
        let schema = self.batch.schema();
        let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        InfluenceError::Column {
            path: self.path.to_owned(),
            column,
            wanted,
            found: if found.is_empty() { "none".to_owned() } else { found.join(", ") },
            hint: COLUMN_HINT,
        }
    }
}

/// Reads the Parquet file at `path` batch by batch and gives each batch to `visit`.
///
/// A file that is cut short fails before the first batch, because Parquet keeps its index at the end.
pub fn read(
    path: &Path,
    mut visit: impl FnMut(&Columns<'_>) -> Result<(), InfluenceError>,
) -> Result<(), InfluenceError> {
    let file = File::open(path).map_err(|source| InfluenceError::Open {
        path: path.to_owned(),
        source,
        hint: "is this a run's folder, and did the run get far enough to write its tables?",
    })?;
    let parquet = |detail: String| InfluenceError::Parquet { path: PathBuf::from(path), detail, hint: TRUNCATED_HINT };
    // The schema that its writer had in memory adds nothing, and its reader panics where it is damaged.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain)
        .map_err(|error| parquet(error.to_string()))?;
    let reader = builder.build().map_err(|error| parquet(error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| parquet(error.to_string()))?;
        visit(&Columns { path, batch })?;
    }
    Ok(())
}
