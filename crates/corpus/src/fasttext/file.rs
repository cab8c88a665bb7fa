//! The bytes of a model file, read with every length held against what is there before memory is taken for it.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

/// Where the bytes are. Matrices of gigabytes are looked at in a few places for each text, so that a file is mapped.
pub(super) enum Content {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl Content {
    #[allow(unsafe_code)]
    pub(super) fn map(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read, as bytes, and every place in it is checked before use. A foreign process that
        // truncates the file while it is mapped would end this process with SIGBUS, the known price of memory maps.
        Ok(Self::Mapped(unsafe { Mmap::map(&file)? }))
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}

/// Goes through the bytes from the beginning. Errors say what is wrong, in words.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are still to come.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The place of the next `count` things of `size` bytes, which are passed over.
    pub(super) fn place(&mut self, count: usize, size: usize, what: &str) -> Result<Range<usize>, String> {
        match count.checked_mul(size).filter(|length| *length <= self.left()) {
            Some(length) => {
                self.at += length;
                Ok(self.at - length..self.at)
            }
            None => Err(format!("{what} needs {count} times {size} bytes and {} are left", self.left())),
        }
    }

    fn array<const SIZE: usize>(&mut self, what: &str) -> Result<[u8; SIZE], String> {
        let place = self.place(1, SIZE, what)?;
        let mut array = [0; SIZE];
        array.copy_from_slice(&self.bytes[place]);
        Ok(array)
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, String> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(super) fn i64(&mut self, what: &str) -> Result<i64, String> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub(super) fn byte(&mut self, what: &str) -> Result<u8, String> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn boolean(&mut self, what: &str) -> Result<bool, String> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{what} is {other} where 0 or 1 is expected")),
        }
    }

    /// A number of things, 32 bits wide.
    pub(super) fn count(&mut self, what: &str) -> Result<usize, String> {
        let count = self.i32(what)?;
        usize::try_from(count).map_err(|_| format!("{what} is {count}"))
    }

    /// A number of things, 64 bits wide.
    pub(super) fn long_count(&mut self, what: &str) -> Result<usize, String> {
        let count = self.i64(what)?;
        usize::try_from(count).map_err(|_| format!("{what} is {count}"))
    }

    /// The place of bytes up to a zero, which is passed over.
    pub(super) fn word(&mut self) -> Result<Range<usize>, String> {
        let length = memchr::memchr(0, &self.bytes[self.at..]).ok_or("the last word of the dictionary has no end")?;
        let place = self.at..self.at + length;
        self.at += length + 1;
        Ok(place)
    }

    /// Numbers of 32 bits.
    pub(super) fn reals(&mut self, count: usize, what: &str) -> Result<Vec<f32>, String> {
        let place = self.place(count, 4, what)?;
        Ok(self.bytes[place].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}
