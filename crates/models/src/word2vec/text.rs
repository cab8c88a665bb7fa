//! Text as rows of a vocabulary, on disk, so that memory does not grow with it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

/// Stands after every sentence.
pub(super) const END: u32 = u32::MAX;

/// Sentences as rows of a vocabulary, written once and read once an epoch. The file has no name and goes with the process.
#[derive(Debug)]
pub struct EncodedText {
    file: File,
    written: Option<BufWriter<File>>,
    words: u64,
    reader: Option<BufReader<File>>,
}

impl EncodedText {
    /// Longer sentences are cut, as by word2vec.c: windows do not reach over a cut.
    pub const LONGEST_SENTENCE: usize = 10_000;

    /// An empty text whose file is in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let written = Some(BufWriter::with_capacity(1 << 20, file.try_clone()?));
        Ok(Self { file, written, words: 0, reader: None })
    }

    /// Appends a sentence.
    ///
    /// # Errors
    /// When the disk is full, and after the text was read.
    pub fn push(&mut self, rows: &[u32]) -> io::Result<()> {
        let written = self.written.as_mut().ok_or_else(|| io::Error::other("the text was read already"))?;
        for sentence in rows.chunks(Self::LONGEST_SENTENCE) {
            for row in sentence.iter().chain([&END]) {
                written.write_all(&row.to_le_bytes())?;
            }
        }
        self.words += rows.len() as u64;
        Ok(())
    }

    /// Words in all.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Goes to the beginning.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        if let Some(mut written) = self.written.take() {
            written.flush()?;
        }
        self.file.rewind()?;
        self.reader = Some(BufReader::with_capacity(1 << 20, self.file.try_clone()?));
        Ok(())
    }

    /// Reads whole sentences, `count` rows or a few more, each sentence followed by [`END`]; nothing at the end.
    pub(super) fn read(&mut self, count: usize, rows: &mut Vec<u32>) -> io::Result<()> {
        rows.clear();
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let mut bytes = [0; 4];
        let mut block = vec![0; 4 * count];
        let mut filled = 0;
        while filled < block.len() {
            match reader.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        rows.extend(block[..filled].as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        while rows.last().is_some_and(|row| *row != END) {
            reader.read_exact(&mut bytes)?;
            rows.push(u32::from_le_bytes(bytes));
        }
        Ok(())
    }
}
