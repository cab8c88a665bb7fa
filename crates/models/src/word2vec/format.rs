//! The files of word2vec.c and gensim: a line with the number of words and the size of their vectors, and then words with
//! their vectors, in decimal numbers, a line a word, or as little-endian `f32` behind the word and a space.

use super::WordVectors;
use crate::error::ModelError;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a word at most.
const LONGEST_WORD: usize = 1 << 16;
/// Bytes of a number in decimal at most.
const LONGEST_NUMBER: usize = 64;
/// Bytes of the header at most.
const LONGEST_HEADER: u64 = 128;
/// Deflate makes no more of a byte than this.
const MOST_INFLATION: u64 = 1032;
/// Bytes that tell decimal numbers from others at most.
const GLANCE: usize = 256;

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Decimal numbers, which are the same when they are read again.
    Text,
    /// The bytes of the numbers.
    Binary,
}

impl Format {
    /// What a file's name says: binary for `.bin` and `.bin.gz`.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if Path::new(name).extension().is_some_and(|end| end == "bin") { Self::Binary } else { Self::Text }
    }

    /// `"text"` or `"binary"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

/// What was odd about a file that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarks {
    /// How it was written.
    pub format: Format,
    /// Words that stood there before, and were left out.
    pub repeated: u64,
    /// Words whose bytes are not UTF-8; the replacement character stands for what is not.
    pub not_utf8: u64,
    /// Whether more follows the words that the header counts.
    pub more: bool,
}

impl WordVectors {
    /// Reads a file of either format, plain or compressed by gzip.
    ///
    /// # Errors
    /// When it cannot be read or is neither; a header that promises more than the file holds is refused before memory is
    /// taken for it.
    pub fn open(path: &Path) -> Result<(Self, Remarks), ModelError> {
        let failed = |source| ModelError::Io {
            path: path.to_owned(),
            source,
            hint: "; give a file of vectors in word2vec's text or binary format".to_owned(),
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            let inside = ["vectors.bin", "vectors.txt"].map(|name| path.join(name));
            return match inside.iter().find(|file| file.is_file()) {
                Some(file) => Self::open(file),
                None => Err(ModelError::format(path, "a folder without vectors.txt or vectors.bin; give a file")),
            };
        }
        read(BufReader::with_capacity(1 << 16, file), metadata.len()).map_err(|reason| match reason {
            Trouble::Io(source) => failed(source),
            Trouble::Content(reason) => ModelError::format(path, reason),
        })
    }

    /// [`WordVectors::open`] on the bytes of a file; `path` names them in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<(Self, Remarks), ModelError> {
        read(bytes, bytes.len() as u64).map_err(|reason| match reason {
            Trouble::Io(source) => ModelError::io(path, source),
            Trouble::Content(reason) => ModelError::format(path, reason),
        })
    }

    /// Writes a file, compressed where its name ends in `.gz`: aside, and renamed when it is whole.
    ///
    /// # Errors
    /// When the disk refuses, or a word holds what ends a word in the format.
    pub fn save(&self, path: &Path, format: Format) -> Result<(), ModelError> {
        if let Some(word) = self.words().iter().find(|word| word.is_empty() || word.contains([' ', '\n'])) {
            let reason = format!("the word {word:?} cannot be written: spaces and line ends end a word in this format");
            return Err(ModelError::format(path, reason));
        }
        let compressed = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"));
        replace(path, |file| {
            let mut writer = BufWriter::with_capacity(1 << 16, file);
            if compressed {
                let mut encoder = GzEncoder::new(writer, Compression::default());
                self.write(&mut encoder, format)?;
                writer = encoder.finish()?;
            } else {
                self.write(&mut writer, format)?;
            }
            writer.flush()
        })
    }

    fn write(&self, writer: &mut impl Write, format: Format) -> io::Result<()> {
        writeln!(writer, "{} {}", self.len(), self.size())?;
        let mut bytes = Vec::new();
        for (row, word) in self.words().iter().enumerate() {
            bytes.clear();
            bytes.extend_from_slice(word.as_bytes());
            match format {
                Format::Text => {
                    for value in self.vector(row) {
                        write!(bytes, " {value}")?;
                    }
                }
                Format::Binary => {
                    bytes.push(b' ');
                    bytes.extend(self.vector(row).iter().flat_map(|value| value.to_le_bytes()));
                }
            }
            bytes.push(b'\n');
            writer.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Replaces or makes a file, whole or not at all.
pub(super) fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> Result<(), ModelError> {
    let failed = |source| ModelError::Io { path: path.to_owned(), source, hint: String::new() };
    let name = path.file_name().ok_or_else(|| ModelError::format(path, "not a place for a file"))?;
    let aside: PathBuf = path.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    let written = File::create(&aside)
        .and_then(|file| write(&file).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&aside, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&aside);
        failed(source)
    })
}

enum Trouble {
    Io(io::Error),
    Content(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Self::Content(format!("damaged where it is decompressed: {error}"))
            }
            io::ErrorKind::UnexpectedEof => Self::Content("ends in the middle; fetch or write it again".to_owned()),
            _ => Self::Io(error),
        }
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Content(reason.into()))
}

/// Reads a file of `length` bytes.
fn read(mut reader: impl BufRead, length: u64) -> Result<(WordVectors, Remarks), Trouble> {
    if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        let inflated = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader));
        return read_plain(inflated, length.saturating_mul(MOST_INFLATION), false);
    }
    read_plain(reader, length, true)
}

/// Numbers of a vector at most in a file that has none.
const LARGEST_EMPTY: u64 = 1 << 20;

/// Reads what is not compressed, of `length` bytes, or at most so many where that is not `exact`.
fn read_plain(mut reader: impl BufRead, length: u64, exact: bool) -> Result<(WordVectors, Remarks), Trouble> {
    let mut line = Vec::new();
    reader.by_ref().take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    let header = std::str::from_utf8(&line).unwrap_or_default();
    let numbers: Vec<Option<u64>> = header.split_whitespace().map(|number| number.parse().ok()).collect();
    let ([Some(words), Some(size)], true) = (&numbers[..], line.ends_with(b"\n")) else {
        return refuse(
            "the first line is not the number of words and the size of their vectors, as word2vec's files begin \
             (GloVe's have no such line: add it)",
        );
    };
    let (words, size) = (*words, *size);
    if size == 0 {
        return refuse("its vectors have no numbers, its header says");
    }
    // A number takes two bytes at least, a word and what ends it two more.
    let least = size.saturating_mul(2).saturating_add(2).saturating_mul(words);
    let promised = |least: u64, rest: u64| {
        let than = if exact { "" } else { "even if it is packed as tightly as can be, " };
        format!(
            "the header promises {words} words with {size} numbers each, {least} bytes at least; {than}the file has {rest}"
        )
    };
    let rest = length - line.len().min(length as usize) as u64;
    // A file of no words may name any size, and room for one row of it is taken all the same.
    let too_wide = if words > 0 { size > rest } else { size > LARGEST_EMPTY };
    // Without the second, a number of words near the largest would saturate both sides of the third.
    if too_wide || words > rest || (words > 0 && least > rest + words) {
        return refuse(promised(least, rest));
    }
    let (words, size) = (words as usize, size as usize);
    let mut found = Found::new(words, size, exact);
    // The first word, and what follows it, tell the format.
    let mut first = Vec::new();
    if words > 0 {
        read_word(&mut reader, &mut first, 0)?;
    }
    let mut glance = vec![0; size.saturating_mul(4).min(GLANCE)];
    let seen = fill(&mut reader, &mut glance)?;
    glance.truncate(seen);
    let binary = words > 0 && !are_numbers(&glance, size);
    let least_binary = (size as u64).saturating_mul(4).saturating_add(2).saturating_mul(words as u64);
    if binary && least_binary > rest + words as u64 {
        return refuse(promised(least_binary, rest));
    }
    let mut reader = glance.as_slice().chain(reader);
    for number in 0..words {
        let word = if number == 0 {
            std::mem::take(&mut first)
        } else {
            let mut word = Vec::new();
            read_word(&mut reader, &mut word, number)?;
            word
        };
        if binary { found.binary(&mut reader, word)? } else { found.text(&mut reader, word)? }
    }
    let mut more = false;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if blank < buffer.len() {
            more = true;
            break;
        }
        reader.consume(blank);
    }
    found.finish(if binary { Format::Binary } else { Format::Text }, more)
}

/// As many bytes as there are.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether what stands behind a word are `size` decimal numbers, as far as one sees.
fn are_numbers(glance: &[u8], size: usize) -> bool {
    let end = glance.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let line = &glance[..end.unwrap_or(glance.len())];
    let decimal = |byte: &u8| byte.is_ascii_digit() || b" \t+-.eEnaifNAIF".contains(byte);
    let fields = line.split(|byte| *byte == b' ' || *byte == b'\t').filter(|field| !field.is_empty()).count();
    !line.is_empty() && line.iter().all(decimal) && (end.is_none() || fields == size)
}

/// Reads a word and the space behind it; line ends before it are passed over, since some binary files have them.
fn read_word(reader: &mut impl BufRead, word: &mut Vec<u8>, number: usize) -> Result<(), Trouble> {
    let read = reader.by_ref().take(LONGEST_WORD as u64).read_until(b' ', word)?;
    let blank = word.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    word.drain(..blank);
    if word.pop() != Some(b' ') {
        if read < LONGEST_WORD {
            return refuse(format!("ends at word {}; its header promises more", number + 1));
        }
        return refuse(format!("word {} has no end within {LONGEST_WORD} bytes", number + 1));
    }
    if word.is_empty() {
        return refuse(format!("word {} is empty", number + 1));
    }
    Ok(())
}

/// Words and vectors so far.
struct Found {
    words: Vec<String>,
    known: HashSet<String>,
    size: usize,
    vectors: Vec<f32>,
    read: usize,
    repeated: u64,
    not_utf8: u64,
    bytes: Vec<u8>,
}

impl Found {
    fn new(words: usize, size: usize, exact: bool) -> Self {
        // Without a known length, memory is taken as the numbers come.
        let vectors = if exact { Vec::with_capacity(words * size) } else { Vec::new() };
        Self {
            words: Vec::new(),
            known: HashSet::new(),
            size,
            vectors,
            read: 0,
            repeated: 0,
            not_utf8: 0,
            bytes: Vec::new(),
        }
    }

    /// Takes a word whose vector was just appended.
    fn take(&mut self, word: Vec<u8>) -> Result<(), Trouble> {
        self.read += 1;
        let word = String::from_utf8(word).unwrap_or_else(|error| {
            self.not_utf8 += 1;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        let start = self.vectors.len() - self.size;
        if let Some(value) = self.vectors[start..].iter().find(|value| !value.is_finite()) {
            return refuse(format!("the vector of word {}, {word:?}, holds {value}", self.read));
        }
        if self.known.insert(word.clone()) {
            self.words.push(word);
        } else {
            self.vectors.truncate(start);
            self.repeated += 1;
        }
        Ok(())
    }

    fn binary(&mut self, reader: &mut impl BufRead, word: Vec<u8>) -> Result<(), Trouble> {
        // In blocks, so that a size that lies takes no memory.
        let mut left = 4 * self.size;
        while left > 0 {
            self.bytes.resize(left.min(1 << 16), 0);
            if fill(reader, &mut self.bytes)? < self.bytes.len() {
                return refuse(format!("ends in the vector of word {}; its header promises more", self.read + 1));
            }
            self.vectors.extend(self.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            left -= self.bytes.len();
        }
        self.take(word)
    }

    fn text(&mut self, reader: &mut impl BufRead, mut word: Vec<u8>) -> Result<(), Trouble> {
        let longest = LONGEST_WORD as u64 + (self.size * LONGEST_NUMBER) as u64;
        self.bytes.clear();
        reader.by_ref().take(longest).read_until(b'\n', &mut self.bytes)?;
        let number = self.read + 1;
        if self.bytes.len() as u64 == longest {
            return refuse(format!("the line of word {number} has no end within {longest} bytes"));
        }
        let line = self.bytes.trim_ascii_end();
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let mut fields: Vec<&[u8]> = line.split(blank).filter(|field| !field.is_empty()).collect();
        if fields.len() < self.size {
            return refuse(format!(
                "word {number}, {:?}, has {} numbers; the header says {}",
                String::from_utf8_lossy(&word),
                fields.len(),
                self.size
            ));
        }
        // A word with spaces in it: the numbers are the last fields.
        for part in fields.drain(..fields.len() - self.size) {
            word.push(b' ');
            word.extend_from_slice(part);
        }
        for field in fields {
            let value = std::str::from_utf8(field).ok().and_then(|field| field.parse::<f32>().ok());
            let Some(value) = value else {
                return refuse(format!(
                    "word {number}, {:?}, has {:?} where a number should stand",
                    String::from_utf8_lossy(&word),
                    String::from_utf8_lossy(&field[..field.len().min(LONGEST_NUMBER)])
                ));
            };
            self.vectors.push(value);
        }
        self.take(word)
    }

    fn finish(self, format: Format, more: bool) -> Result<(WordVectors, Remarks), Trouble> {
        let remarks = Remarks { format, repeated: self.repeated, not_utf8: self.not_utf8, more };
        match WordVectors::new(self.words, self.size, self.vectors) {
            Ok(vectors) => Ok((vectors, remarks)),
            Err(error) => refuse(error.to_string()),
        }
    }
}
