//! Web archives: WARC 1.0 and 1.1 (ISO 28500), and the WET files that Common Crawl makes of them.
//!
//! Crawls are written by many programs and cut by many more, so that a record may lie about its length or break off, and a
//! compressed member may be damaged. What is broken is noted with its offset and passed over; reading goes on with the next
//! record that can be found.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use serde_json::Value;

use super::Found;
use super::LONGEST_RECORD;
use super::compression::{self, Compression};
use super::http;
use super::notes::Notes;
use crate::error::CorpusError;

/// The longest line of a header, and all lines of one.
const LONGEST_LINE: usize = 64 << 10;
const LONGEST_HEADER: usize = 1 << 20;
/// How a member of gzip begins: its mark and the only method that there is.
const MEMBER: [u8; 3] = [0x1F, 0x8B, 8];

/// A file whose position is known.
struct Tracked {
    file: BufReader<File>,
    position: u64,
}

impl Read for Tracked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl BufRead for Tracked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.file.consume(count);
        self.position += count as u64;
    }
}

/// Where bytes come from.
enum Input {
    /// As they stand in the file, or out of a compression that has no members to jump to.
    Stream { input: Box<dyn BufRead + Send>, position: u64 },
    /// gzip, usually a member for every record.
    Members { decoder: Option<Box<BufReader<GzDecoder<Tracked>>>>, member: u64, given: u64, expansion: u64 },
}

impl Input {
    fn open(path: &Path, compression: Compression, expansion: u64) -> Result<Self, CorpusError> {
        if compression == Compression::Gzip {
            let file = BufReader::new(File::open(path).map_err(CorpusError::io("open", path))?);
            let decoder = Some(Box::new(BufReader::new(GzDecoder::new(Tracked { file, position: 0 }))));
            return Ok(Self::Members { decoder, member: 0, given: 0, expansion });
        }
        let input = Box::new(BufReader::new(compression::open(path, compression, expansion)?));
        Ok(Self::Stream { input, position: 0 })
    }

    /// Where reading stands: of members, where the one that is read begins.
    fn position(&self) -> u64 {
        match self {
            Self::Stream { position, .. } => *position,
            Self::Members { member, .. } => *member,
        }
    }

    /// Bytes that wait; none where the file ends.
    fn waiting(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Stream { input, .. } => input.fill_buf(),
            Self::Members { decoder, member, given, expansion } => {
                loop {
                    let Some(open) = decoder else { return Ok(&[]) };
                    if !open.fill_buf()?.is_empty() {
                        break;
                    }
                    // The member ended; the next one begins where it did.
                    let Some(done) = decoder.take() else { return Ok(&[]) };
                    let mut file = done.into_inner().into_inner();
                    *member = file.position;
                    if file.fill_buf()?.is_empty() {
                        return Ok(&[]);
                    }
                    *decoder = Some(Box::new(BufReader::new(GzDecoder::new(file))));
                }
                let Some(open) = decoder else { return Ok(&[]) };
                let taken = open.get_ref().get_ref().position;
                if *given > (64 << 20) && *given > expansion.saturating_mul(taken) {
                    return Err(io::Error::new(
                        ErrorKind::FileTooLarge,
                        format!("it grows to more than {expansion} times its size when it is decompressed"),
                    ));
                }
                open.fill_buf()
            }
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Stream { input, position } => {
                input.consume(count);
                *position += count as u64;
            }
            Self::Members { decoder, given, .. } => {
                if let Some(open) = decoder {
                    open.consume(count);
                    *given += count as u64;
                }
            }
        }
    }

    /// Passes over the ends of lines that stand between records; false where the file ends.
    fn next_record(&mut self) -> io::Result<bool> {
        loop {
            let waiting = self.waiting()?;
            if waiting.is_empty() {
                return Ok(false);
            }
            let blank = waiting.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blank == 0 {
                return Ok(true);
            }
            self.consume(blank);
        }
    }

    /// A line without its end; none where the file ends, an error where it is no line of a header.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let waiting = self.waiting()?;
            if waiting.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            let (count, ended) = match waiting.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (waiting.len(), false),
            };
            line.extend_from_slice(&waiting[..count]);
            self.consume(count);
            if ended {
                while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if line.len() > LONGEST_LINE {
                return Err(io::Error::other(format!("a line of more than {} KiB in a header", LONGEST_LINE >> 10)));
            }
        }
    }

    /// The next `length` bytes, kept up to `most`; how many there were.
    fn block(&mut self, length: u64, most: usize) -> io::Result<(Vec<u8>, u64)> {
        let mut block = Vec::new();
        let mut read = 0;
        while read < length {
            let waiting = self.waiting()?;
            if waiting.is_empty() {
                break;
            }
            let count = (waiting.len() as u64).min(length - read) as usize;
            let kept = count.min(most.saturating_sub(block.len()));
            block.extend_from_slice(&waiting[..kept]);
            self.consume(count);
            read += count as u64;
        }
        Ok((block, read))
    }

    /// Goes to where the next record may begin; false where there is none.
    fn find_next(&mut self) -> Result<bool, io::Error> {
        match self {
            Self::Stream { input, position } => {
                // A record begins a line.
                loop {
                    let waiting = input.fill_buf()?;
                    if waiting.is_empty() {
                        return Ok(false);
                    }
                    if waiting.starts_with(b"WARC/") {
                        return Ok(true);
                    }
                    let count = waiting.iter().position(|byte| *byte == b'\n').map_or(waiting.len(), |at| at + 1);
                    input.consume(count);
                    *position += count as u64;
                }
            }
            Self::Members { decoder, member, .. } => {
                let Some(open) = decoder.take() else { return Ok(false) };
                let mut file = open.into_inner().into_inner();
                let mut from = *member + 1;
                file.file.seek(SeekFrom::Start(from))?;
                let mut window = Vec::new();
                loop {
                    let waiting = file.file.fill_buf()?;
                    if waiting.is_empty() {
                        return Ok(false);
                    }
                    let count = waiting.len();
                    window.extend_from_slice(waiting);
                    file.file.consume(count);
                    if let Some(at) = window.windows(MEMBER.len()).position(|bytes| bytes == MEMBER) {
                        let start = from + at as u64;
                        file.file.seek(SeekFrom::Start(start))?;
                        file.position = start;
                        *member = start;
                        *decoder = Some(Box::new(BufReader::new(GzDecoder::new(file))));
                        return Ok(true);
                    }
                    let rest = window.len().saturating_sub(MEMBER.len() - 1);
                    window.drain(..rest);
                    from += rest as u64;
                }
            }
        }
    }
}

/// The documents of one web archive.
pub(super) struct WebArchive {
    path: PathBuf,
    input: Input,
    notes: Notes,
    metadata: bool,
    ended: bool,
    /// Whether something is broken since the last whole record; it is told once.
    lost: bool,
}

struct Record {
    offset: u64,
    header: Vec<(String, String)>,
    block: Vec<u8>,
}

impl Record {
    fn field(&self, name: &str) -> &str {
        http::field(&self.header, name).unwrap_or_default()
    }
}

impl WebArchive {
    pub(super) fn open(
        path: &Path,
        compression: Compression,
        expansion: u64,
        metadata: bool,
        notes: &Notes,
    ) -> Result<Self, CorpusError> {
        let input = Input::open(path, compression, expansion)?;
        let path = path.to_path_buf();
        Ok(Self { path, input, notes: notes.clone(), metadata, ended: false, lost: false })
    }

    /// The next page or text, with the offset of its record.
    pub(super) fn next_text(&mut self) -> Result<Option<(u64, Found)>, CorpusError> {
        while !self.ended {
            let begins = self.input.next_record();
            let offset = self.input.position();
            match begins.and_then(|begins| if begins { self.record(offset) } else { Ok(None) }) {
                Ok(Some(record)) => {
                    self.lost = false;
                    let offset = record.offset;
                    if let Some(found) = self.document(record).filter(Found::has_text) {
                        return Ok(Some((offset, found)));
                    }
                }
                Ok(None) => self.ended = true,
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                    return Err(CorpusError::io("read", &self.path)(error));
                }
                Err(error) => {
                    if !self.lost {
                        self.notes.add(&self.path, offset, format!("{error}; passed over"));
                        self.lost = true;
                    }
                    self.ended = !self.input.find_next().map_err(CorpusError::io("read", &self.path))?;
                }
            }
        }
        Ok(None)
    }

    /// The record that begins here.
    fn record(&mut self, offset: u64) -> io::Result<Option<Record>> {
        let broken = |message: String| Err(io::Error::new(ErrorKind::InvalidData, message));
        let first = self.input.line()?.unwrap_or_default();
        if !first.starts_with(b"WARC/") {
            return broken("no record of a web archive begins here".to_owned());
        }
        let (mut header, mut size): (Vec<(String, String)>, usize) = (Vec::new(), 0);
        loop {
            let Some(line) = self.input.line()? else { return broken("the file ends in a header".to_owned()) };
            if line.is_empty() {
                break;
            }
            size += line.len();
            if size > LONGEST_HEADER {
                return broken(format!("a header of more than {} KiB", LONGEST_HEADER >> 10));
            }
            http::push_field(&mut header, &line);
        }
        let length = http::field(&header, "Content-Length").unwrap_or_default();
        let Ok(length) = length.trim().parse::<u64>() else {
            return broken(format!("a record without a length (\"{}\")", length.chars().take(40).collect::<String>()));
        };
        let (block, read) = self.input.block(length, LONGEST_RECORD)?;
        if read < length {
            return broken(format!("a record of {length} bytes ends after {read}"));
        }
        if length > LONGEST_RECORD as u64 {
            let message = format!("a record longer than {} MiB; passed over", LONGEST_RECORD >> 20);
            self.notes.add(&self.path, offset, message);
            return Ok(Some(Record { offset, header: Vec::new(), block: Vec::new() }));
        }
        Ok(Some(Record { offset, header, block }))
    }

    /// The page or text that a record holds, if any.
    fn document(&self, record: Record) -> Option<Found> {
        let kind = record.field("WARC-Type");
        let content_type = record.field("Content-Type").to_ascii_lowercase();
        let mut found = match kind {
            "response" if record.block.starts_with(b"HTTP/") => match http::page(&record.block) {
                Ok(found) => found?,
                Err(message) => {
                    self.notes.add(&self.path, record.offset, format!("{message}; passed over"));
                    return None;
                }
            },
            "response" | "resource" | "conversion" => http::content(&record.block, &content_type)?,
            _ => return None,
        };
        if self.metadata {
            for (field, name) in [("WARC-Target-URI", "url"), ("WARC-Date", "date"), ("WARC-Record-ID", "record_id")] {
                let value = record.field(field);
                if !value.is_empty() {
                    // Some writers put it between angle brackets.
                    let value = value.trim_start_matches('<').trim_end_matches('>');
                    found.metadata.insert(name.to_owned(), Value::String(value.to_owned()));
                }
            }
        }
        Some(found)
    }
}
