//! Reading a stream of tokens through memory maps.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::{StreamIndex, TokenWidth};
use crate::error::CorpusError;

struct Shard {
    map: Mmap,
    /// Position of its first token in the stream.
    start: usize,
    tokens: usize,
}

/// All tokens of a source or a held-out domain, in the order of its documents.
pub struct TokenStream {
    name: String,
    shards: Vec<Shard>,
    width: TokenWidth,
    length: usize,
    end_of_text: Option<u32>,
}

impl std::fmt::Debug for TokenStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenStream")
            .field("name", &self.name)
            .field("len", &self.length)
            .finish_non_exhaustive()
    }
}

impl TokenStream {
    /// Maps the files of a stream and checks their sizes.
    pub(crate) fn open(
        folder: &Path,
        index: &StreamIndex,
        width: TokenWidth,
        end_of_text: Option<u32>,
    ) -> Result<Self, CorpusError> {
        let mut shards = Vec::with_capacity(index.shards.len());
        let mut length: u64 = 0;
        for shard in &index.shards {
            let path = folder.join(&shard.file);
            let file = File::open(&path).map_err(CorpusError::io("open", &path))?;
            let size = file.metadata().map_err(CorpusError::io("open", &path))?.len();
            let expected = shard.tokens.checked_mul(width.bytes());
            if expected != Some(size) || shard.tokens == 0 {
                return Err(CorpusError::damaged(
                    path,
                    format!("{size} bytes where the index says {} tokens of {} bytes", shard.tokens, width.bytes()),
                    "the file was cut or replaced: prepare the data again",
                ));
            }
            let map = map_file(&file).map_err(CorpusError::io("map", &path))?;
            shards.push(Shard { map, start: length as usize, tokens: shard.tokens as usize });
            length += shard.tokens;
        }
        if length != index.tokens {
            return Err(CorpusError::damaged(
                folder.join("index.json"),
                format!("stream {}: its shards hold {length} tokens, not {}", index.name, index.tokens),
                "prepare the data again",
            ));
        }
        Ok(Self { name: index.name.clone(), shards, width, length: length as usize, end_of_text })
    }

    /// Name of the source or domain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens in the stream, the ends of documents included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The token that ends every document of the stream, when its tokenizer has one.
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    /// Replaces `out` by the tokens of a range; shards may be crossed.
    ///
    /// # Panics
    /// When the range reaches beyond the stream.
    pub fn get(&self, range: Range<usize>, out: &mut Vec<u32>) {
        out.clear();
        self.append(range, out);
    }

    /// Appends the tokens of a range to `out`; shards may be crossed.
    ///
    /// # Panics
    /// When the range reaches beyond the stream.
    pub fn append(&self, range: Range<usize>, out: &mut Vec<u32>) {
        assert!(range.end <= self.length, "tokens {range:?} of a stream of {}", self.length);
        let mut at = range.start;
        let mut number = self.shards.partition_point(|shard| shard.start + shard.tokens <= at);
        while at < range.end {
            let shard = &self.shards[number];
            let from = at - shard.start;
            let to = (range.end - shard.start).min(shard.tokens);
            match self.width {
                TokenWidth::U16 => {
                    let bytes = &shard.map[from * 2..to * 2];
                    out.extend(bytes.as_chunks().0.iter().map(|&pair| u32::from(u16::from_le_bytes(pair))));
                }
                TokenWidth::U32 => {
                    let bytes = &shard.map[from * 4..to * 4];
                    out.extend(bytes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)));
                }
            }
            at = shard.start + to;
            number += 1;
        }
    }

    /// All tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        const BLOCK: usize = 1 << 14;
        (0..self.length).step_by(BLOCK).flat_map(move |start| {
            let mut block = Vec::new();
            self.get(start..(start + BLOCK).min(self.length), &mut block);
            block
        })
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only read, as bytes, any value of which is a valid token encoding. Loam replaces
    // its files by rename and never changes them in place; a foreign process that truncates one while it is
    // mapped would end this process with SIGBUS, which is the known price of memory maps.
    unsafe { Mmap::map(file) }
}
