//! Apache Parquet and Apache Arrow files, a batch of rows at a time.
//!
//! Only the columns that are wanted are read. Every file is looked at for itself, so that a column that changed its name
//! or kind between two files of a folder is told with the file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use super::Found;
use super::fields::{Fields, JsonFields, Problem, mapping_hint, text_field};
use crate::error::CorpusError;

/// Rows that are decoded at once.
const ROWS: usize = 256;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The documents of one file of columns; a document's offset is its row.
pub(super) struct ColumnDocuments {
    path: PathBuf,
    fields: Fields,
    batches: Batches,
    batch: Option<RecordBatch>,
    /// The next row of the batch, and of the file.
    row: usize,
    number: u64,
    /// The column that holds the text, where nothing else is wanted.
    text: Option<String>,
    /// All columns, also those that are not read, with their types as JSON has them.
    types: Vec<(String, &'static str)>,
}

impl ColumnDocuments {
    pub(super) fn parquet(path: &Path, fields: Fields) -> Result<Self, CorpusError> {
        let damaged = |error: &dyn std::fmt::Display| damaged(path, "Parquet", error);
        let file = File::open(path).map_err(CorpusError::io("open", path))?;
        let builder = guarded(path, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain_types()).map_err(|error| damaged(&error))
        })?;
        let text = only_text(path, builder.schema(), &fields)?;
        let types = types(builder.schema());
        let builder = match &text {
            Some(name) => {
                let mask = ProjectionMask::columns(builder.parquet_schema(), [name.as_str()]);
                builder.with_projection(mask)
            }
            None => builder,
        };
        let reader = guarded(path, || builder.with_batch_size(ROWS).build().map_err(|error| damaged(&error)))?;
        Ok(Self::new(path, fields, Box::new(reader), text, types))
    }

    /// A file or a stream; data sets on the Hub's disks are streams.
    pub(super) fn arrow(path: &Path, fields: Fields) -> Result<Self, CorpusError> {
        let damaged = |error: &dyn std::fmt::Display| damaged(path, "Arrow", error);
        let mut start = [0; 6];
        let file = || File::open(path).map_err(CorpusError::io("open", path));
        let is_file = file()?.read_exact(&mut start).is_ok() && start == *b"ARROW1";
        let (schema, batches): (_, Batches) = if is_file {
            let file = file()?;
            let reader = guarded(path, || {
                arrow::ipc::reader::FileReader::try_new(BufReader::new(file), None).map_err(|error| damaged(&error))
            })?;
            (reader.schema(), Box::new(reader))
        } else {
            let file = file()?;
            let reader = guarded(path, || {
                arrow::ipc::reader::StreamReader::try_new(BufReader::new(file), None).map_err(|error| damaged(&error))
            })?;
            (reader.schema(), Box::new(reader))
        };
        let text = only_text(path, &schema, &fields)?;
        Ok(Self::new(path, fields, batches, text, types(&schema)))
    }

    fn new(
        path: &Path,
        fields: Fields,
        batches: Batches,
        text: Option<String>,
        types: Vec<(String, &'static str)>,
    ) -> Self {
        Self { path: path.to_path_buf(), fields, batches, batch: None, row: 0, number: 0, text, types }
    }

    /// The next row's text, with its number.
    pub(super) fn next_text(
        &mut self,
        mut counts: Option<&mut JsonFields>,
    ) -> Result<Option<(u64, Found)>, CorpusError> {
        loop {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.num_rows()) else {
                let batches = &mut self.batches;
                let batch = guarded(&self.path, || {
                    batches.next().transpose().map_err(|error| damaged(&self.path, "column", &error))
                })?;
                if batch.is_none() {
                    return Ok(None);
                }
                (self.batch, self.row) = (batch, 0);
                continue;
            };
            let (row, number) = (self.row, self.number);
            self.row += 1;
            self.number += 1;
            let found = if let Some(column) = self.text.as_ref().and_then(|name| batch.column_by_name(name)) {
                if let Some(counts) = counts.as_deref_mut() {
                    self.types.iter().for_each(|(name, kind)| counts.count_type(name, kind));
                }
                string(column.as_ref(), row).unwrap_or_default().to_owned().into()
            } else {
                let schema = batch.schema();
                let cells = schema.fields().iter().zip(batch.columns());
                let record: Map<String, Value> =
                    cells.map(|(field, column)| (field.name().clone(), value(column.as_ref(), row))).collect();
                if let Some(counts) = counts.as_deref_mut() {
                    counts.count(&record);
                }
                self.fields.of(Value::Object(record)).map_err(|Problem { message, hint }| CorpusError::Record {
                    path: self.path.clone(),
                    line: number + 1,
                    message,
                    hint,
                })?
            };
            if found.has_text() {
                return Ok(Some((number, found)));
            }
        }
    }
}

/// Columns of Parquet as Parquet itself describes them. Beside that, a file may hold the schema that its writer had in
/// memory, whose reader panics where it is damaged, and which adds nothing to texts and numbers.
pub(crate) fn plain_types() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// The column of the text, where texts without anything else are wanted.
fn only_text(path: &Path, schema: &Schema, fields: &Fields) -> Result<Option<String>, CorpusError> {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if !fields.only_text(schema.field_with_name("text").is_ok()) {
        return Ok(None);
    }
    let asked = fields.asked();
    let asked = asked.first().map(String::as_str);
    let texts = schema.fields().iter().filter(|field| is_text(field.data_type())).map(|field| field.name().as_str());
    let has_text = schema.field_with_name("text").is_ok_and(|field| is_text(field.data_type()));
    let found = text_field(asked, has_text, texts).filter(|name| schema.field_with_name(name).is_ok());
    match found {
        // A list of lines, or a dictionary of strings, is read value by value.
        Some(name) if schema.field_with_name(name).is_ok_and(|field| is_text(field.data_type())) => {
            Ok(Some(name.to_owned()))
        }
        Some(_) => Ok(None),
        None => {
            let kinds: Vec<(String, String)> =
                schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
            Err(CorpusError::Record {
                path: path.to_path_buf(),
                line: 1,
                message: asked.map_or("no column \"text\"".to_owned(), |name| format!("no column \"{name}\"")),
                hint: mapping_hint(kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str()))),
            })
        }
    }
}

/// What the values of each column are in JSON: see [`value`].
fn types(schema: &Schema) -> Vec<(String, &'static str)> {
    let kind = |kind: &DataType| match kind {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Float32 | DataType::Float64 => "number",
        DataType::List(_) | DataType::LargeList(_) => "array",
        DataType::Struct(_) => "object",
        other if other.is_integer() => "number",
        _ => "string",
    };
    schema.fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
}

fn string(column: &dyn Array, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        _ => None,
    }
}

/// A cell as JSON has it: strings, numbers, truths, and lists and structures of them; what else there is, as it is printed.
pub(crate) fn value(column: &dyn Array, row: usize) -> Value {
    use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
    use arrow::datatypes::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
    if column.is_null(row) {
        return Value::Null;
    }
    let list = |values: &dyn Array| Value::Array((0..values.len()).map(|row| value(values, row)).collect());
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Value::String(string(column, row).unwrap_or_default().to_owned())
        }
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::List(_) => list(column.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => list(column.as_list::<i64>().value(row).as_ref()),
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            Value::Object(
                fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value(column, row))).collect(),
            )
        }
        _ => arrow::util::display::array_value_to_string(column, row).map(Value::String).unwrap_or_default(),
    }
}

fn damaged(path: &Path, what: &str, error: &dyn std::fmt::Display) -> CorpusError {
    CorpusError::damaged(path, format!("not a whole {what} file: {error}"), "fetch or write it again")
}

/// The readers of these files are other people's, and some panic on files that lie.
fn guarded<T>(path: &Path, action: impl FnOnce() -> Result<T, CorpusError>) -> Result<T, CorpusError> {
    crate::guard::guarded(action).unwrap_or_else(|message| Err(damaged(path, "column", &message)))
}
