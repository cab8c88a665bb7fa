//! Bytes in, checked UTF-8 out, a chunk at a time; compression and other encodings are taken off on the way.
//!
//! Checking happens on chunks rather than on whole files, so that the position of the first bad byte is
//! known exactly while memory stays at one chunk. A character cut in two by the end of a chunk waits for
//! the next one; a character cut in two by the end of the file is an error.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::compression::{self, Compression};
use super::encoding::Utf8;
use super::notes::Notes;
use super::{Bytes, Damage};
use crate::error::CorpusError;

const CHUNK: usize = 64 << 10;

/// A file, decompressed and checked to be UTF-8 text.
pub(super) struct TextStream {
    path: PathBuf,
    damage: Damage,
    notes: Notes,
    /// Bytes that were no text, and were replaced.
    replaced: u64,
    first_replaced: u64,
    input: Box<dyn Read + Send>,
    chunk: Box<[u8]>,
    /// Bytes at the start of `chunk` left from the last round: at most three, of a cut character.
    carried: usize,
    /// Bytes of the stream given out so far.
    offset: u64,
    ended: bool,
}

impl TextStream {
    /// Opens a file and takes off its compression and encoding.
    pub(super) fn open(
        path: &Path,
        compression: Compression,
        bytes: &Bytes,
        notes: &Notes,
    ) -> Result<Self, CorpusError> {
        let raw = compression::open(path, compression, bytes.expansion)?;
        Ok(Self {
            path: path.to_path_buf(),
            damage: bytes.damage,
            notes: notes.clone(),
            replaced: 0,
            first_replaced: 0,
            input: Box::new(Utf8::new(raw, bytes.encoding)),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            carried: 0,
            offset: 0,
            ended: false,
        })
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the next chunk of text to `text`; false when the file has ended and nothing was appended.
    ///
    /// The first chunk comes without a byte order mark; `skipped` receives the length of what was dropped.
    pub(super) fn fill(&mut self, text: &mut String, skipped: &mut u64) -> Result<bool, CorpusError> {
        if self.ended {
            return Ok(false);
        }
        let mut length = self.carried;
        while length < self.chunk.len() {
            match self.input.read(&mut self.chunk[length..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => length += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CorpusError::io("read", &self.path)(error)),
            }
        }
        let bytes = &self.chunk[..length];
        let valid = match std::str::from_utf8(bytes) {
            Ok(valid) => valid,
            Err(error) => {
                let end = error.valid_up_to();
                if error.error_len().is_some() || self.ended {
                    if self.damage == Damage::Refuse {
                        return Err(self.invalid(&bytes[end..], end));
                    }
                    return self.replace(length, text, skipped);
                }
                std::str::from_utf8(&bytes[..end]).unwrap_or_default()
            }
        };
        if let Some(position) = valid.bytes().position(|byte| byte == 0) {
            return Err(CorpusError::Binary { path: self.path.clone(), offset: self.offset + position as u64 });
        }
        let end = valid.len();
        let kept = if self.offset == 0 { valid.strip_prefix('\u{FEFF}').unwrap_or(valid) } else { valid };
        *skipped = (end - kept.len()) as u64;
        text.push_str(kept);
        self.offset += end as u64;
        self.chunk.copy_within(end..length, 0);
        self.carried = length - end;
        Ok(end > 0 || !self.ended)
    }

    /// As [`Self::fill`], from a chunk that is not UTF-8 throughout: what is not is replaced by U+FFFD.
    ///
    /// From then on, positions are those of the text that comes out.
    fn replace(&mut self, length: usize, text: &mut String, skipped: &mut u64) -> Result<bool, CorpusError> {
        let from = text.len();
        let mut rest = &self.chunk[..length];
        let mut kept = 0;
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, wrong) = rest.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(count) = error.error_len().or(self.ended.then_some(wrong.len())) else {
                kept = wrong.len();
                rest = &[];
                break;
            };
            if self.replaced == 0 {
                self.first_replaced = self.offset + (text.len() - from) as u64;
            }
            self.replaced += count as u64;
            text.push('\u{FFFD}');
            rest = &wrong[count..];
        }
        text.push_str(std::str::from_utf8(rest).unwrap_or_default());
        if let Some(position) = text[from..].bytes().position(|byte| byte == 0) {
            return Err(CorpusError::Binary { path: self.path.clone(), offset: self.offset + position as u64 });
        }
        *skipped = 0;
        self.offset += (text.len() - from) as u64;
        self.chunk.copy_within(length - kept..length, 0);
        self.carried = kept;
        Ok(true)
    }

    fn invalid(&self, rest: &[u8], position: usize) -> CorpusError {
        let offset = self.offset + position as u64;
        let start = if self.offset == 0 { &self.chunk[..2] } else { &[] };
        if let Some(nul) = self.chunk[..position].iter().position(|&byte| byte == 0) {
            return CorpusError::Binary { path: self.path.clone(), offset: self.offset + nul as u64 };
        }
        let (message, hint) = if start == [0x1F, 0x8B] {
            ("gzip data".to_owned(), "add .gz to the name")
        } else if rest.len() < 4 && self.ended && std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none()) {
            (
                "half a UTF-8 character, where the file ends,".to_owned(),
                "the file was cut short: fetch it again or cut the last bytes off",
            )
        } else {
            (
                format!("not UTF-8 (byte 0x{:02X})", rest.first().copied().unwrap_or_default()),
                "name its encoding (--encoding gb18030, encoding = \"gb18030\" under [data]), or have what is no text \
                 replaced (--damage replace, damage = \"replace\")",
            )
        };
        CorpusError::InvalidText { path: self.path.clone(), offset, message, hint: hint.to_owned() }
    }
}

impl Drop for TextStream {
    fn drop(&mut self) {
        if self.replaced > 0 {
            let message = format!("{} bytes that are no text were replaced by U+FFFD, the first here", self.replaced);
            self.notes.add(&self.path, self.first_replaced, message);
        }
    }
}

/// A stream as bytes of UTF-8, for parsers that want a reader; it refuses a record that grows beyond `longest` bytes.
pub(super) struct TextReader {
    stream: TextStream,
    text: String,
    given: usize,
    /// Bytes given since [`Self::record_ends`].
    record: usize,
    longest: usize,
    /// What went wrong, since readers can only tell an [`io::Error`].
    pub(super) error: Option<CorpusError>,
}

impl TextReader {
    pub(super) fn new(stream: TextStream, longest: usize) -> Self {
        Self { stream, text: String::new(), given: 0, record: 0, longest, error: None }
    }

    pub(super) fn path(&self) -> &Path {
        self.stream.path()
    }

    pub(super) fn record_ends(&mut self) {
        self.record = 0;
    }
}

impl Read for TextReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() {
            self.text.clear();
            self.given = 0;
            let mut skipped = 0;
            match self.stream.fill(&mut self.text, &mut skipped) {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    self.error = Some(error);
                    return Err(io::Error::other("the stream ended early"));
                }
            }
        }
        if self.record > self.longest {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a record longer than {} MiB", self.longest >> 20),
            ));
        }
        let waiting = &self.text.as_bytes()[self.given..];
        let count = buffer.len().min(waiting.len());
        buffer[..count].copy_from_slice(&waiting[..count]);
        self.given += count;
        self.record += count;
        Ok(count)
    }
}
