//! JSON lines, and JSON arrays read one element at a time.
//!
//! An array of a million objects is one JSON value; parsing it whole would hold it whole. Here a small
//! scanner finds where each element ends and only that element is parsed, so both shapes stream. A `.json`
//! file without an array around its values (a common habit for JSON lines) is read too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::conversations::turns;
use super::stream::TextStream;
use super::{Found, LONGEST_RECORD};
use crate::error::CorpusError;

/// Fields are counted up to this many names, so that objects used as dictionaries need no memory.
const MOST_FIELDS: usize = 256;

/// Top-level fields of JSON records: name → type (`string`, `number`, …) → records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFields(pub BTreeMap<String, BTreeMap<&'static str, u64>>);

impl JsonFields {
    fn count(&mut self, record: &Map<String, Value>) {
        for (name, value) in record {
            if self.0.len() >= MOST_FIELDS && !self.0.contains_key(name) {
                continue;
            }
            *self.0.entry(name.clone()).or_default().entry(type_name(value)).or_default() += 1;
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Progress of the scanner inside one value.
#[derive(Clone, Copy, Default)]
struct Scan {
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Moves on until the value ends; `None` when the text ends first.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.at < bytes.len() {
            let byte = bytes[self.at];
            self.at += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(self.at);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    if self.depth == 0 {
                        return Some(self.at - 1);
                    }
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(self.at);
                    }
                }
                b',' | b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 => return Some(self.at - 1),
                _ => {}
            }
        }
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Lines,
    Unknown,
    Array,
    Sequence,
    Done,
}

/// Where records hold their text.
pub(super) enum Fields {
    /// In this field; recognized without.
    Text(Option<String>),
    /// Input and target in these.
    Pair(String, String),
    /// In those of a conversation.
    Conversation,
}

/// The documents of one JSON or JSON lines file.
pub(super) struct JsonDocuments {
    stream: TextStream,
    shape: Shape,
    fields: Fields,
    window: String,
    start: usize,
    /// Where `window[start..]` begins in the stream, in bytes.
    offset: u64,
    /// Line of `window[start..]`, from 1.
    line: u64,
    ended: bool,
}

impl JsonDocuments {
    pub(super) fn new(stream: TextStream, lines: bool, fields: Fields) -> Self {
        let shape = if lines { Shape::Lines } else { Shape::Unknown };
        Self { stream, shape, fields, window: String::new(), start: 0, offset: 0, line: 1, ended: false }
    }

    /// The next record's text, with its offset.
    pub(super) fn next_text(
        &mut self,
        mut fields: Option<&mut JsonFields>,
    ) -> Result<Option<(u64, Found)>, CorpusError> {
        loop {
            let found = if self.shape == Shape::Lines { self.next_line()? } else { self.next_value()? };
            let Some((length, next)) = found else { return Ok(None) };
            let record = &self.window[self.start..self.start + length];
            let value: Value = serde_json::from_str(record).map_err(|error| self.record_error(&error))?;
            if let (Some(fields), Value::Object(record)) = (fields.as_deref_mut(), &value) {
                fields.count(record);
            }
            let found = self.text_of(value)?;
            let offset = self.offset;
            self.advance(next);
            // A pair without text on one side is none.
            let blank = |at: usize| found.text[..at].trim().is_empty() || found.text[at..].trim().is_empty();
            if !found.target.is_some_and(blank) {
                return Ok(Some((offset, found)));
            }
        }
    }

    fn record_error(&self, error: &serde_json::Error) -> CorpusError {
        let full = error.to_string();
        let message = full.split(" at line ").next().unwrap_or(&full);
        CorpusError::Record {
            path: self.stream.path().to_path_buf(),
            line: self.line + error.line().saturating_sub(1) as u64,
            message: format!("not valid JSON: {message} (column {})", error.column()),
            hint: if self.shape == Shape::Lines {
                "a .jsonl file holds one JSON object a line; rename it to .json when it is one array".to_owned()
            } else {
                "a .json file holds an array of objects or of strings".to_owned()
            },
        }
    }

    fn next_line(&mut self) -> Result<Option<(usize, usize)>, CorpusError> {
        let mut searched = 0;
        loop {
            let waiting = &self.window.as_bytes()[self.start..];
            if let Some(found) = waiting[searched..].iter().position(|&byte| byte == b'\n') {
                let end = searched + found;
                if waiting[..end].trim_ascii().is_empty() {
                    self.advance(end + 1);
                    searched = 0;
                    continue;
                }
                return Ok(Some((end, end + 1)));
            }
            if self.ended {
                let length = waiting.len();
                return Ok((!waiting.trim_ascii().is_empty()).then_some((length, length)));
            }
            searched = waiting.len();
            self.fill()?;
        }
    }

    fn next_value(&mut self) -> Result<Option<(usize, usize)>, CorpusError> {
        loop {
            self.skip_space()?;
            let Some(&byte) = self.window.as_bytes().get(self.start) else {
                return match self.shape {
                    Shape::Array => Err(self.shape_error("the array is not closed where the file ends")),
                    _ => Ok(None),
                };
            };
            match (self.shape, byte) {
                (Shape::Unknown, b'[') => {
                    self.shape = Shape::Array;
                    self.advance(1);
                }
                (Shape::Unknown, _) => self.shape = Shape::Sequence,
                (Shape::Array, b']') => {
                    self.shape = Shape::Done;
                    self.advance(1);
                }
                (Shape::Array | Shape::Sequence, b',') => self.advance(1),
                (Shape::Done, _) => return Err(self.shape_error("text after the end of the array")),
                _ => break,
            }
        }
        let mut scan = Scan::default();
        loop {
            if let Some(end) = scan.end(&self.window.as_bytes()[self.start..]) {
                // A lone closing bracket is no value; give it to the parser, which says so.
                let end = end.max(1);
                return Ok(Some((end, end)));
            }
            if self.ended {
                let length = self.window.len() - self.start;
                return Ok(Some((length, length)));
            }
            self.fill()?;
        }
    }

    fn skip_space(&mut self) -> Result<(), CorpusError> {
        loop {
            let waiting = &self.window.as_bytes()[self.start..];
            let space = waiting.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let more = space < waiting.len();
            self.advance(space);
            if more || self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn shape_error(&self, message: &str) -> CorpusError {
        CorpusError::Record {
            path: self.stream.path().to_path_buf(),
            line: self.line,
            message: message.to_owned(),
            hint: "a .json file holds an array of objects or of strings".to_owned(),
        }
    }

    fn fill(&mut self) -> Result<(), CorpusError> {
        if self.window.len() - self.start > LONGEST_RECORD {
            return Err(CorpusError::Record {
                path: self.stream.path().to_path_buf(),
                line: self.line,
                message: format!("a record longer than {} MiB", LONGEST_RECORD >> 20),
                hint: "split it into several records, or store it as plain text (.txt)".to_owned(),
            });
        }
        if self.start > 0 {
            self.window.drain(..self.start);
            self.start = 0;
        }
        let mut skipped = 0;
        self.ended = !self.stream.fill(&mut self.window, &mut skipped)?;
        self.offset += skipped;
        Ok(())
    }

    fn advance(&mut self, length: usize) {
        let passed = &self.window.as_bytes()[self.start..self.start + length];
        self.line += passed.split(|&byte| byte == b'\n').count() as u64 - 1;
        self.start += length;
        self.offset += length as u64;
    }

    fn text_of(&self, value: Value) -> Result<Found, CorpusError> {
        let field = match &self.fields {
            Fields::Text(field) => field,
            Fields::Pair(input, target) => {
                let Value::Object(mut record) = value else {
                    return Err(self.field_error(format!("a JSON {} instead of an object", type_name(&value)), None));
                };
                let input = self.field(&mut record, input)?;
                let target = self.field(&mut record, target)?;
                return Ok(Found::pair(&input, &target));
            }
            Fields::Conversation => {
                let Value::Object(record) = value else {
                    return Err(self.field_error(format!("a JSON {} instead of an object", type_name(&value)), None));
                };
                return match turns(&record) {
                    Ok(turns) => Ok(Found::conversation(turns)),
                    Err(message) => Err(self.field_error(message, Some(&record))),
                };
            }
        };
        let mut record = match value {
            Value::String(text) => return Ok(text.into()),
            Value::Object(record) => record,
            other => {
                return Err(self.field_error(format!("a JSON {} instead of an object", type_name(&other)), None));
            }
        };
        let name = match field {
            Some(name) => name.clone(),
            None if record.contains_key("text") => "text".to_owned(),
            None => {
                let mut strings = record.iter().filter(|(_, value)| value.is_string());
                match (strings.next(), strings.next()) {
                    (Some((name, _)), None) => name.clone(),
                    _ => return Err(self.field_error("no field \"text\"".to_owned(), Some(&record))),
                }
            }
        };
        Ok(self.field(&mut record, &name)?.into())
    }

    /// The text of a field, which is taken from the record.
    fn field(&self, record: &mut Map<String, Value>, name: &str) -> Result<String, CorpusError> {
        match record.remove(name) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => Ok(String::new()),
            Some(Value::Array(lines)) if lines.iter().all(Value::is_string) => {
                Ok(lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))
            }
            Some(other) => {
                let message = format!("field \"{name}\" is a {} and not a string", type_name(&other));
                Err(self.field_error(message, Some(record)))
            }
            None => Err(self.field_error(format!("no field \"{name}\""), Some(record))),
        }
    }

    fn field_error(&self, message: String, record: Option<&Map<String, Value>>) -> CorpusError {
        let hint = match record {
            Some(_) if matches!(self.fields, Fields::Conversation) => {
                "a conversation is a list of messages or conversations with role and content, or instruction and output, \
                 or prompt and completion"
                    .to_owned()
            }
            Some(record) => {
                let fields: Vec<String> = record
                    .iter()
                    .take(20)
                    .map(|(name, value)| {
                        format!("{} ({})", name.chars().take(40).collect::<String>(), type_name(value))
                    })
                    .collect();
                format!(
                    "its fields are {}; name the one with the text as text_field, or two with a pair as input_field and target_field",
                    fields.join(", ")
                )
            }
            None => "each record is an object with a text field, or a string".to_owned(),
        };
        CorpusError::Record { path: self.stream.path().to_path_buf(), line: self.line, message, hint }
    }
}
