//! JSON lines, and JSON arrays read one element at a time.
//!
//! An array of a million objects is one JSON value; parsing it whole would hold it whole. Here a small
//! scanner finds where each element ends and only that element is parsed, so both shapes stream. A `.json`
//! file without an array around its values (a common habit for JSON lines) is read too.

use serde_json::Value;

use super::fields::{Fields, JsonFields, Problem};
use super::stream::TextStream;
use super::{Found, LONGEST_RECORD};
use crate::error::CorpusError;

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
            let found = self.fields.of(value).map_err(|problem| self.problem(problem))?;
            let offset = self.offset;
            self.advance(next);
            if found.has_text() {
                return Ok(Some((offset, found)));
            }
        }
    }

    fn problem(&self, Problem { message, hint }: Problem) -> CorpusError {
        CorpusError::Record { path: self.stream.path().to_path_buf(), line: self.line, message, hint }
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
}
