//! Bytes in, checked UTF-8 out, a chunk at a time.
//!
//! Checking happens on chunks rather than on whole files, so that the position of the first bad byte is
//! known exactly while memory stays at one chunk. A character cut in two by the end of a chunk waits for
//! the next one; a character cut in two by the end of the file is an error.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::CorpusError;

const CHUNK: usize = 64 << 10;

/// A file, decompressed and checked to be UTF-8 text.
pub(super) struct TextStream {
    path: PathBuf,
    input: Box<dyn Read + Send>,
    chunk: Box<[u8]>,
    /// Bytes at the start of `chunk` left from the last round: at most three, of a cut character.
    carried: usize,
    /// Bytes of the stream given out so far.
    offset: u64,
    ended: bool,
}

impl TextStream {
    /// Opens a file, with gzip (several members too) taken off when asked.
    pub(super) fn open(path: &Path, compressed: bool) -> Result<Self, CorpusError> {
        let file = File::open(path).map_err(CorpusError::io("open", path))?;
        let input: Box<dyn Read + Send> = if compressed {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, file)))
        } else {
            Box::new(file)
        };
        Ok(Self {
            path: path.to_path_buf(),
            input,
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
                    return Err(self.invalid(&bytes[end..], end));
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

    fn invalid(&self, rest: &[u8], position: usize) -> CorpusError {
        let offset = self.offset + position as u64;
        let start = if self.offset == 0 { &self.chunk[..2] } else { &[] };
        // UTF-16 text in a Latin script has a NUL in every second byte.
        if let Some(nul) = self.chunk[..position].iter().position(|&byte| byte == 0)
            && !matches!(start, [0xFF, 0xFE] | [0xFE, 0xFF])
        {
            return CorpusError::Binary { path: self.path.clone(), offset: self.offset + nul as u64 };
        }
        let (message, hint) = if matches!(start, [0xFF, 0xFE] | [0xFE, 0xFF]) {
            ("UTF-16 rather than UTF-8".to_owned(), "convert it: iconv -f UTF-16 -t UTF-8")
        } else if start == [0x1F, 0x8B] {
            ("gzip data".to_owned(), "add .gz to the name")
        } else if rest.len() < 4 && self.ended && std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none()) {
            (
                "half a UTF-8 character, where the file ends,".to_owned(),
                "the file was cut short: fetch it again or cut the last bytes off",
            )
        } else {
            (
                format!("not UTF-8 (byte 0x{:02X})", rest.first().copied().unwrap_or_default()),
                "convert it to UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8 or iconv -f GB18030 -t UTF-8",
            )
        };
        CorpusError::InvalidText { path: self.path.clone(), offset, message, hint: hint.to_owned() }
    }
}
