//! Pairs of texts, one a line: the lines of two files side by side, or two columns of one.
//!
//! Corpora of translations come as files whose lines belong together by their number, so that a blank line must not be
//! passed over on one side alone: it is a pair without text, and leaves both.

use std::path::{Path, PathBuf};

use super::files::FileKind;
use super::notes::Notes;
use super::stream::TextStream;
use super::{Bytes, LONGEST_RECORD};
use crate::error::CorpusError;

/// A pair, with where its input begins in its file, in bytes.
pub(super) struct Pair {
    pub(super) offset: u64,
    pub(super) input: String,
    pub(super) target: String,
}

/// The lines of one file, blank ones too.
struct Lines {
    stream: TextStream,
    window: String,
    start: usize,
    offset: u64,
    line: u64,
    ended: bool,
}

impl Lines {
    fn new(stream: TextStream) -> Self {
        Self { stream, window: String::new(), start: 0, offset: 0, line: 0, ended: false }
    }

    /// The next line without its end, and where it begins.
    fn next(&mut self) -> Result<Option<(u64, String)>, CorpusError> {
        let mut searched = 0;
        loop {
            let waiting = &self.window.as_bytes()[self.start..];
            let found = waiting[searched..].iter().position(|&byte| byte == b'\n').map(|at| searched + at);
            let (length, next) = match found {
                Some(end) => (end, end + 1),
                None if self.ended && waiting.is_empty() => return Ok(None),
                None if self.ended => (waiting.len(), waiting.len()),
                None => {
                    searched = waiting.len();
                    self.fill()?;
                    continue;
                }
            };
            let line = self.window[self.start..self.start + length].trim_end_matches('\r').to_owned();
            let offset = self.offset;
            self.start += next;
            self.offset += next as u64;
            self.line += 1;
            return Ok(Some((offset, line)));
        }
    }

    fn fill(&mut self) -> Result<(), CorpusError> {
        if self.window.len() - self.start > LONGEST_RECORD {
            let message = format!("a line longer than {} MiB", LONGEST_RECORD >> 20);
            return Err(self.error(self.line + 1, message, "pairs stand one a line"));
        }
        self.window.drain(..self.start);
        self.start = 0;
        let mut skipped = 0;
        self.ended = !self.stream.fill(&mut self.window, &mut skipped)?;
        self.offset += skipped;
        Ok(())
    }

    fn error(&self, line: u64, message: String, hint: impl Into<String>) -> CorpusError {
        CorpusError::Record { path: self.stream.path().to_path_buf(), line, message, hint: hint.into() }
    }
}

/// The lines of a text file, blank ones too, whatever its name ends with, decompressed and in UTF-8.
///
/// # Errors
/// Where the file cannot be read, is no text, or has a line beyond [`LONGEST_RECORD`].
pub fn read_lines(path: &Path, bytes: &Bytes) -> Result<Vec<String>, CorpusError> {
    let kind = FileKind::of_paired(path);
    let mut lines = Lines::new(TextStream::open(path, kind.compression, bytes, &Notes::default())?);
    let mut read = Vec::new();
    while let Some((_, line)) = lines.next()? {
        read.push(line);
    }
    Ok(read)
}

/// The pairs of a file, or of two.
pub(super) struct PairLines {
    inputs: Lines,
    kind: Kind,
}

enum Kind {
    /// The target's lines, in another file.
    Parallel(Lines),
    /// The columns of input and target, from 0.
    Columns(usize, usize),
}

impl PairLines {
    /// Line by line of two files.
    pub(super) fn parallel(inputs: TextStream, targets: TextStream) -> Self {
        Self { inputs: Lines::new(inputs), kind: Kind::Parallel(Lines::new(targets)) }
    }

    /// Columns between tabs, named by their numbers from 1.
    pub(super) fn columns(stream: TextStream, input: &str, target: &str) -> Result<Self, CorpusError> {
        let inputs = Lines::new(stream);
        let number = |name: &str| match name.parse::<usize>() {
            Ok(number) if number > 0 => Ok(number - 1),
            _ => Err(inputs.error(
                1,
                format!("no column \"{name}\" in a text file"),
                "columns of text files stand between tabs and go by their number: \"1\" is the first",
            )),
        };
        let (input, target) = (number(input)?, number(target)?);
        Ok(Self { inputs, kind: Kind::Columns(input, target) })
    }

    /// The next pair of which both sides have text.
    pub(super) fn next_pair(&mut self) -> Result<Option<Pair>, CorpusError> {
        loop {
            let found = self.inputs.next()?;
            let pair = match (&mut self.kind, found) {
                (Kind::Parallel(targets), Some((offset, input))) => match targets.next()? {
                    Some((_, target)) => Pair { offset, input, target },
                    None => return Err(uneven(&self.inputs, targets)),
                },
                (Kind::Parallel(targets), None) => match targets.next()? {
                    Some(_) => return Err(uneven(targets, &self.inputs)),
                    None => return Ok(None),
                },
                (Kind::Columns(..), None) => return Ok(None),
                (Kind::Columns(input, target), Some((offset, line))) => {
                    let columns: Vec<&str> = line.split('\t').collect();
                    let least = 1 + *input.max(target);
                    if columns.len() < least && !line.trim().is_empty() {
                        return Err(self.inputs.error(
                            self.inputs.line,
                            format!("{} columns where at least {least} are needed", columns.len()),
                            "columns stand between tabs",
                        ));
                    }
                    let column = |at: usize| columns.get(at).copied().unwrap_or_default().to_owned();
                    Pair { offset, input: column(*input), target: column(*target) }
                }
            };
            if !pair.input.trim().is_empty() && !pair.target.trim().is_empty() {
                return Ok(Some(pair));
            }
        }
    }
}

/// One file has lines where the other has none left.
fn uneven(longer: &Lines, shorter: &Lines) -> CorpusError {
    let shorter_path: PathBuf = shorter.stream.path().to_path_buf();
    longer.error(
        longer.line,
        format!("no line of {} belongs to this one: it ends after line {}", shorter_path.display(), shorter.line),
        "files of pairs have as many lines, and line n of one belongs to line n of the other",
    )
}
