//! Cells of a result: Arrow values as plain ones.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DataFusionError;
use serde::{Serialize, Serializer};

/// One value of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer that may be negative.
    Integer(i64),
    /// An integer that may not.
    Unsigned(u64),
    /// A number; may be infinite or not a number, which JSON shows as null.
    Float(f64),
    /// Text, or anything else as text.
    Text(String),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Null | Self::Float(_) => serializer.serialize_none(),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// The rows of a batch.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, DataFusionError> {
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let row = |_| columns.iter_mut().map(|column| column.next().unwrap_or(Cell::Null)).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

fn column(array: &ArrayRef) -> Result<Vec<Cell>, DataFusionError> {
    let cells: Vec<Cell> = match array.data_type() {
        DataType::Null => vec![Cell::Null; array.len()],
        DataType::Boolean => array.as_boolean().iter().map(|value| value.map_or(Cell::Null, Cell::Boolean)).collect(),
        kind if kind.is_signed_integer() => {
            let array = cast(array, &DataType::Int64)?;
            array.as_primitive::<Int64Type>().iter().map(|value| value.map_or(Cell::Null, Cell::Integer)).collect()
        }
        kind if kind.is_unsigned_integer() => {
            let array = cast(array, &DataType::UInt64)?;
            array.as_primitive::<UInt64Type>().iter().map(|value| value.map_or(Cell::Null, Cell::Unsigned)).collect()
        }
        kind if kind.is_numeric() => {
            let array = cast(array, &DataType::Float64)?;
            array.as_primitive::<Float64Type>().iter().map(|value| value.map_or(Cell::Null, Cell::Float)).collect()
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array, &options)?;
            let text = |row| if array.is_null(row) { Cell::Null } else { Cell::Text(formatter.value(row).to_string()) };
            (0..array.len()).map(text).collect()
        }
    };
    Ok(cells)
}
