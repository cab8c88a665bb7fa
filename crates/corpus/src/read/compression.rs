//! Compressed files, with a bound on what may come out of them.
//!
//! A few kilobytes can decompress to terabytes. Text does not: it shrinks to a third, and even a file of equal lines seldom
//! to a hundredth. So a file that grows far beyond that is refused, with the name of the flag that raises the bound.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CorpusError;

const BUFFER: usize = 64 << 10;
/// Bytes that may come out of any file, however small.
const FREE: u64 = 64 << 20;
/// What a file may grow by, unless asked otherwise.
pub const LARGEST_EXPANSION: u64 = 250;

/// What is around the content of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// gzip, of one member or several.
    Gzip,
    /// bzip2, of one stream or several.
    Bzip2,
    /// xz, of one stream or several.
    Xz,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    /// Reads it off the end of a name in lower case; also the name without it.
    pub(super) fn of(name: &str) -> (Self, &str) {
        for (end, compression) in
            [(".gz", Self::Gzip), (".bz2", Self::Bzip2), (".xz", Self::Xz), (".zst", Self::Zstd), (".zstd", Self::Zstd)]
        {
            if let Some(inner) = name.strip_suffix(end) {
                return (compression, inner);
            }
        }
        (Self::None, name)
    }
}

/// Opens a file and takes compression off. Reading fails with [`ErrorKind::FileTooLarge`] where more than `expansion`
/// times the bytes read so far would come out.
pub(super) fn open(path: &Path, compression: Compression, expansion: u64) -> Result<Box<dyn Read + Send>, CorpusError> {
    let file = File::open(path).map_err(CorpusError::io("open", path))?;
    let taken = Arc::new(AtomicU64::new(0));
    let counted = BufReader::with_capacity(BUFFER, Counted { input: file, taken: taken.clone() });
    let input: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok(Box::new(counted)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(counted)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(counted)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(counted).map_err(CorpusError::io("read", path))?)
        }
    };
    Ok(Box::new(Bounded { input, taken, given: 0, expansion }))
}

/// Counts what is read of a file.
struct Counted {
    input: File,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Refuses to grow without bound.
struct Bounded {
    input: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    given: u64,
    expansion: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.given += count as u64;
        if self.given > FREE && self.given > self.expansion.saturating_mul(self.taken.load(Ordering::Relaxed)) {
            return Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("it grows to more than {} times its size when it is decompressed", self.expansion),
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(path: &Path, compression: Compression, expansion: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open(path, compression, expansion).expect("the file is there").read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn every_compression_is_taken_off_and_so_are_several_in_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let parts = [&b"one "[..], b"two"];
        let written: [(Compression, fn(&[u8]) -> Vec<u8>); 4] = [
            (Compression::Gzip, |part| {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            }),
            (Compression::Bzip2, |part| {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            }),
            (Compression::Xz, |part| {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            }),
            (Compression::Zstd, |part| zstd::encode_all(part, 1).unwrap()),
        ];
        for (compression, compress) in written {
            let whole: Vec<u8> = parts.iter().flat_map(|part| compress(part)).collect();
            std::fs::write(&path, &whole).unwrap();
            assert_eq!(read(&path, compression, 250).unwrap(), b"one two", "{compression:?}");
            std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
            assert!(read(&path, compression, 250).is_err(), "{compression:?} cut short");
        }
    }

    #[test]
    fn what_grows_without_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb");
        std::fs::write(&path, zstd::encode_all(io::repeat(b'a').take(FREE + 1000), 1).unwrap()).unwrap();
        let error = read(&path, Compression::Zstd, 250).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(&path, Compression::Zstd, u64::MAX).unwrap().len() as u64, FREE + 1000);
    }

    #[test]
    fn names_tell() {
        assert_eq!(Compression::of("a.jsonl.zst"), (Compression::Zstd, "a.jsonl"));
        assert_eq!(Compression::of("a.txt"), (Compression::None, "a.txt"));
    }
}
