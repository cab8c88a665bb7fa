//! Sorting more records than fit in memory.
//!
//! What repeats in a corpus is found by bringing equal hashes side by side, and a corpus has more of them than memory has
//! room for. Records are gathered until the bound is reached, sorted, and written as a run to a file without a name, which
//! the system removes even after a kill; in the end the runs are merged. A record is a few 64-bit words and is ordered by
//! all of them, so equal input gives equal output whatever the number of runs and threads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut;

use crate::error::CorpusError;

/// Runs merged at one time: each takes a buffer and an open file.
const WIDTH: usize = 128;
/// Bytes of a run's buffer.
const BUFFER: usize = 1 << 17;
/// Fewest records held, however small the bound.
const FEWEST: usize = 16;

/// Where records that do not fit in memory go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// A folder for runs, which must exist; they leave nothing behind.
    pub folder: PathBuf,
    /// Bytes of records held in memory by one sorter, before they are written. Merging takes up to 16 MiB beside it.
    pub memory: usize,
}

impl Default for Scratch {
    /// 256 MiB, then the system's folder for temporary files.
    fn default() -> Self {
        Self { folder: std::env::temp_dir(), memory: 256 << 20 }
    }
}

/// Sorts records of `WORDS` 64-bit words, first word first.
#[derive(Debug)]
pub struct ExternalSorter<const WORDS: usize> {
    scratch: Scratch,
    most: usize,
    held: Vec<[u64; WORDS]>,
    runs: Vec<File>,
}

impl<const WORDS: usize> ExternalSorter<WORDS> {
    /// An empty sorter. The folder is not touched before memory is full.
    pub fn new(scratch: &Scratch) -> Self {
        let most = (scratch.memory / size_of::<[u64; WORDS]>()).max(FEWEST);
        Self { scratch: scratch.clone(), most, held: Vec::new(), runs: Vec::new() }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where a run cannot be written.
    pub fn push(&mut self, record: [u64; WORDS]) -> Result<(), CorpusError> {
        if self.held.len() == self.held.capacity() {
            if self.held.len() >= self.most {
                self.spill()?;
            } else {
                // Doubling past the bound would break it.
                let more = self.held.len().max(FEWEST).min(self.most - self.held.len());
                self.held.reserve_exact(more);
            }
        }
        self.held.push(record);
        Ok(())
    }

    /// Runs written so far.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    fn spill(&mut self) -> Result<(), CorpusError> {
        self.held.par_sort_unstable();
        let mut run = RunWriter::create(&self.scratch.folder)?;
        for record in &self.held {
            run.write(record)?;
        }
        self.runs.push(run.finish()?);
        self.held.clear();
        Ok(())
    }

    /// All records in order.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where a run cannot be written or read.
    pub fn sort(mut self) -> Result<Sorted<WORDS>, CorpusError> {
        if self.runs.is_empty() {
            self.held.par_sort_unstable();
            return Ok(Sorted(Source::Memory(self.held.into_iter())));
        }
        if !self.held.is_empty() {
            self.spill()?;
        }
        self.held = Vec::new();
        let folder = &self.scratch.folder;
        while self.runs.len() > WIDTH {
            let rest = self.runs.split_off(WIDTH);
            let mut merged = RunWriter::create(folder)?;
            for record in Merge::<WORDS>::new(self.runs, folder)? {
                merged.write(&record?)?;
            }
            self.runs = rest;
            self.runs.push(merged.finish()?);
        }
        Ok(Sorted(Source::Runs(Merge::new(self.runs, folder)?)))
    }
}

/// Records in order.
#[derive(Debug)]
pub struct Sorted<const WORDS: usize>(Source<WORDS>);

#[derive(Debug)]
enum Source<const WORDS: usize> {
    Memory(std::vec::IntoIter<[u64; WORDS]>),
    Runs(Merge<WORDS>),
}

impl<const WORDS: usize> Iterator for Sorted<WORDS> {
    type Item = Result<[u64; WORDS], CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Memory(records) => records.next().map(Ok),
            Source::Runs(merge) => merge.next(),
        }
    }
}

struct RunWriter {
    folder: PathBuf,
    file: BufWriter<File>,
}

impl RunWriter {
    fn create(folder: &Path) -> Result<Self, CorpusError> {
        let file = tempfile::tempfile_in(folder).map_err(CorpusError::io("write a temporary file in", folder))?;
        Ok(Self { folder: folder.to_path_buf(), file: BufWriter::with_capacity(BUFFER, file) })
    }

    fn write<const WORDS: usize>(&mut self, record: &[u64; WORDS]) -> Result<(), CorpusError> {
        for word in record {
            self.file
                .write_all(&word.to_le_bytes())
                .map_err(CorpusError::io("write a temporary file in", &self.folder))?;
        }
        Ok(())
    }

    /// The file, at its beginning.
    fn finish(self) -> Result<File, CorpusError> {
        let folder = self.folder;
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| CorpusError::io("write a temporary file in", &folder)(error.into_error()))?;
        file.rewind().map_err(CorpusError::io("read a temporary file in", &folder))?;
        Ok(file)
    }
}

/// Sorted runs as one.
#[derive(Debug)]
struct Merge<const WORDS: usize> {
    folder: PathBuf,
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<([u64; WORDS], usize)>>,
}

impl<const WORDS: usize> Merge<WORDS> {
    fn new(files: Vec<File>, folder: &Path) -> Result<Self, CorpusError> {
        let mut runs: Vec<_> = files.into_iter().map(|file| BufReader::with_capacity(BUFFER, file)).collect();
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter_mut().enumerate() {
            if let Some(head) = read_record(run, folder)? {
                heads.push(Reverse((head, number)));
            }
        }
        Ok(Self { folder: folder.to_path_buf(), runs, heads })
    }
}

impl<const WORDS: usize> Iterator for Merge<WORDS> {
    type Item = Result<[u64; WORDS], CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut top = self.heads.peek_mut()?;
        let Reverse((record, number)) = *top;
        match read_record(&mut self.runs[number], &self.folder) {
            Ok(Some(head)) => *top = Reverse((head, number)),
            Ok(None) => {
                PeekMut::pop(top);
            }
            Err(error) => {
                drop(top);
                // Nothing after a record that cannot be read is in order.
                self.heads.clear();
                return Some(Err(error));
            }
        }
        Some(Ok(record))
    }
}

fn read_record<const WORDS: usize>(
    run: &mut BufReader<File>,
    folder: &Path,
) -> Result<Option<[u64; WORDS]>, CorpusError> {
    let mut record = [0; WORDS];
    for (place, word) in record.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        match run.read_exact(&mut bytes) {
            Ok(()) => *word = u64::from_le_bytes(bytes),
            Err(error) if place == 0 && error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(CorpusError::io("read a temporary file in", folder)(error)),
        }
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deduplicate::arithmetic::Draws;

    fn sorted(records: &[[u64; 2]], memory: usize) -> (Vec<[u64; 2]>, usize) {
        let scratch = Scratch { memory, ..Scratch::default() };
        let mut sorter = ExternalSorter::new(&scratch);
        for &record in records {
            sorter.push(record).unwrap();
        }
        let runs = sorter.runs();
        (sorter.sort().unwrap().map(Result::unwrap).collect(), runs)
    }

    #[test]
    fn spilling_changes_nothing() {
        let mut draws = Draws::new(3);
        let records: Vec<[u64; 2]> = (0..40_000).map(|_| [draws.draw() % 5_000, draws.draw() % 3]).collect();
        let mut expected = records.clone();
        expected.sort_unstable();
        // In memory, in a few runs, and in more runs than are merged at one time.
        for (memory, least) in [(1 << 30, 0), (100_000, 6), (16, 129)] {
            let (found, runs) = sorted(&records, memory);
            assert!(runs >= least, "{runs} runs");
            assert!(found == expected);
        }
    }

    #[test]
    fn nothing_and_little() {
        assert!(sorted(&[], 1).0.is_empty());
        assert_eq!(sorted(&[[2, 1], [1, 9]], 1).0, [[1, 9], [2, 1]]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let scratch = Scratch { folder: PathBuf::from("/no/such/folder"), memory: 0 };
        let mut sorter = ExternalSorter::new(&scratch);
        let error = (0..1000).find_map(|number| sorter.push([number]).err()).unwrap();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
}
