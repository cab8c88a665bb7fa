//! Comma- and tab-separated values.
//!
//! Such files say little about themselves. The first row is taken for names where it has the names that were asked for, or
//! looks like names; otherwise columns go by their number from 1. A column whose first value is a number holds numbers, so
//! that a file of labels and texts needs no telling.

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::fields::{Fields, JsonFields, Problem};
use super::stream::{TextReader, TextStream};
use super::{Found, LONGEST_RECORD};
use crate::error::CorpusError;

/// A cell of more characters is no name of a column.
const LONGEST_NAME: usize = 64;

/// The documents of one table.
pub(super) struct TableDocuments {
    reader: Reader<TextReader>,
    fields: Fields,
    /// Fields that were asked for by name or number.
    asked: Vec<String>,
    names: Vec<String>,
    numeric: Vec<bool>,
    /// The first row, where it is no names.
    first: Option<StringRecord>,
    begun: bool,
}

impl TableDocuments {
    pub(super) fn new(stream: TextStream, delimiter: u8, fields: Fields) -> Self {
        let reader = TextReader::new(stream, LONGEST_RECORD);
        // Tabs are seldom quoted around, and quotes stand in texts between them.
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .has_headers(false)
            .flexible(true)
            .from_reader(reader);
        let asked = fields.asked();
        Self { reader, fields, asked, names: Vec::new(), numeric: Vec::new(), first: None, begun: false }
    }

    /// The next record's text, with its offset.
    pub(super) fn next_text(
        &mut self,
        mut counts: Option<&mut JsonFields>,
    ) -> Result<Option<(u64, Found)>, CorpusError> {
        if !self.begun {
            self.begin()?;
        }
        loop {
            let row = match self.first.take() {
                Some(row) => Some(row),
                None => self.row()?,
            };
            let Some(row) = row else { return Ok(None) };
            if row.len() == 1 && row.get(0).is_some_and(|cell| cell.trim().is_empty()) {
                continue;
            }
            if row.len() != self.names.len() {
                let message = format!("{} columns where the first row has {}", row.len(), self.names.len());
                let hint = "quote cells that hold the delimiter or line ends, or fix the row".to_owned();
                return Err(self.problem(&row, Problem { message, hint }));
            }
            if self.fields.are_rows() {
                self.numeric.resize(row.len(), false);
            } else if self.numeric.is_empty() {
                self.numeric = row.iter().map(|cell| cell.trim().parse::<f64>().is_ok()).collect();
            }
            let value = |(cell, numeric): (&str, &bool)| {
                if !numeric {
                    return Value::String(cell.to_owned());
                }
                let cell = cell.trim();
                cell.parse::<i64>()
                    .map(Value::from)
                    .or_else(|_| cell.parse::<f64>().map(Value::from))
                    .unwrap_or_default()
            };
            let record: Map<String, Value> =
                self.names.iter().cloned().zip(row.iter().zip(&self.numeric).map(value)).collect();
            if let Some(counts) = counts.as_deref_mut() {
                counts.count(&record);
            }
            let found = self.fields.of(Value::Object(record)).map_err(|problem| self.problem(&row, problem))?;
            if found.has_text() {
                return Ok(Some((row.position().map_or(0, csv::Position::byte), found)));
            }
        }
    }

    /// Reads the first row and decides what it is.
    fn begin(&mut self) -> Result<(), CorpusError> {
        self.begun = true;
        let Some(row) = self.row()? else { return Ok(()) };
        let has = |name: &String| row.iter().any(|cell| cell.trim() == name);
        let by_number = |name: &String| name.parse::<usize>().is_ok_and(|number| (1..=row.len()).contains(&number));
        let like_a_name = |cell: &str| {
            let cell = cell.trim();
            !cell.is_empty() && cell.parse::<f64>().is_err() && cell.chars().count() <= LONGEST_NAME
        };
        let numbered = !self.asked.is_empty() && self.asked.iter().all(by_number);
        // Columns are asked for by number where they have no names.
        let names = match self.asked[..] {
            [] if self.fields.are_rows() => false,
            [] => has(&"text".to_owned()) || row.iter().all(like_a_name),
            _ => !numbered,
        };
        self.names = if names {
            row.iter().map(|cell| cell.trim().to_owned()).collect()
        } else {
            (1..=row.len()).map(|number| number.to_string()).collect()
        };
        self.first = (!names).then_some(row);
        Ok(())
    }

    fn row(&mut self) -> Result<Option<StringRecord>, CorpusError> {
        let mut row = StringRecord::new();
        let read = self.reader.read_record(&mut row);
        self.reader.get_mut().record_ends();
        match read {
            Ok(true) => Ok(Some(row)),
            Ok(false) => Ok(None),
            Err(error) => {
                if let Some(error) = self.reader.get_mut().error.take() {
                    return Err(error);
                }
                let line = error.position().map_or_else(|| self.reader.position().line(), csv::Position::line);
                let (message, hint) = match error.kind() {
                    ErrorKind::Io(error) => (error.to_string(), "look for a quote that is never closed"),
                    _ => (error.to_string(), "fix the row"),
                };
                let path = self.reader.get_ref().path().to_path_buf();
                Err(CorpusError::Record { path, line, message, hint: hint.to_owned() })
            }
        }
    }

    fn problem(&self, row: &StringRecord, Problem { message, hint }: Problem) -> CorpusError {
        let line = row.position().map_or(0, csv::Position::line);
        CorpusError::Record { path: self.reader.get_ref().path().to_path_buf(), line, message, hint }
    }
}
