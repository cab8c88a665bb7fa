//! Token ids on disk, read through memory maps.
//!
//! Training reads windows of tokens in random order, many times. A flat file of fixed-width integers makes
//! window number k an addition and lets the operating system decide what stays in memory, so a corpus of
//! any size trains in the memory of one batch. Streams are cut into files of at most 256 MiB, which copy
//! and fetch well.

mod read;
mod write;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use read::TokenStream;
pub(crate) use write::StreamWriter;

/// The largest shard in bytes.
pub const LARGEST_SHARD: u64 = 256 << 20;

/// The width of a token on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenWidth {
    /// Two bytes, for vocabularies up to 65,536.
    U16,
    /// Four bytes.
    U32,
}

impl TokenWidth {
    /// The narrowest width for a vocabulary.
    pub fn of(vocabulary: usize) -> Self {
        if vocabulary <= 1 << 16 { Self::U16 } else { Self::U32 }
    }

    /// Bytes per token.
    pub fn bytes(self) -> u64 {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }
}

/// One file of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardIndex {
    /// Path below the prepared folder, with `/`.
    pub file: String,
    /// Tokens in it.
    pub tokens: u64,
    /// BLAKE3 of the file, in hexadecimal.
    pub hash: String,
}

/// One stream of tokens: a source, or a held-out domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamIndex {
    /// Name of the source or domain.
    pub name: String,
    /// Tokens in all shards.
    pub tokens: u64,
    /// Its files, in order.
    pub shards: Vec<ShardIndex>,
}

/// A source's name as part of a file name: letters, digits, `-`, `_` and `.` stay. Unequal names may give
/// equal results; `taken` (lower-cased) keeps them apart.
pub(crate) fn file_stem(name: &str, taken: &mut Vec<String>) -> String {
    let clean: String = name
        .chars()
        .map(
            |character| {
                if character.is_alphanumeric() || matches!(character, '-' | '_' | '.') { character } else { '-' }
            },
        )
        .take(48)
        .collect();
    let clean = clean.trim_matches(['.', '-']);
    let clean = if clean.is_empty() { "stream" } else { clean };
    let mut stem = clean.to_owned();
    let mut number = 2;
    while taken.contains(&stem.to_lowercase()) {
        stem = format!("{clean}-{number}");
        number += 1;
    }
    taken.push(stem.to_lowercase());
    stem
}

/// BLAKE3 of a file, in hexadecimal.
pub(crate) fn hash_file(path: &Path) -> Result<String, crate::CorpusError> {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(crate::CorpusError::io("read", path))?;
    hasher.update_reader(file).map_err(crate::CorpusError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CorpusError;

    fn write(folder: &Path, width: TokenWidth, largest: u64, ids: &[u32]) -> StreamIndex {
        let mut writer = StreamWriter::new(folder, "train", "a", "a", width, largest);
        for part in ids.chunks(7) {
            writer.push(part).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_across_shards() {
        for (width, highest) in [(TokenWidth::U16, 65_535), (TokenWidth::U32, 1 << 20)] {
            let folder = tempfile::tempdir().unwrap();
            let ids: Vec<u32> = (0..1000).map(|k| (k * 7919) % (highest + 1)).collect();
            let index = write(folder.path(), width, 64, &ids);
            assert!(index.shards.len() > 10);
            let stream = TokenStream::open(folder.path(), &index, width, Some(3)).unwrap();
            assert_eq!(stream.len(), ids.len());
            assert_eq!(stream.iter().collect::<Vec<_>>(), ids);
            let mut window = Vec::new();
            for (from, to) in [(0, 0), (0, 1), (31, 33), (5, 700), (999, 1000), (0, 1000)] {
                stream.get(from..to, &mut window);
                assert_eq!(window, ids[from..to]);
            }
        }
    }

    #[test]
    fn an_empty_stream_has_no_shards() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), TokenWidth::U16, 64, &[]);
        assert!(index.shards.is_empty());
        assert!(TokenStream::open(folder.path(), &index, TokenWidth::U16, None).unwrap().is_empty());
    }

    #[test]
    fn a_cut_shard_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), TokenWidth::U16, 64, &[1, 2, 3]);
        let path = folder.path().join(&index.shards[0].file);
        std::fs::write(&path, [1, 0, 2]).unwrap();
        let error = TokenStream::open(folder.path(), &index, TokenWidth::U16, None).unwrap_err();
        assert!(matches!(error, CorpusError::Damaged { .. }));
        assert!(error.to_string().contains("a-00000.tokens"), "{error}");
    }

    #[test]
    fn names_become_distinct_file_names() {
        let mut taken = Vec::new();
        let stems: Vec<String> =
            ["a/b", "a b", "A-B", "../..", "小说", ""].iter().map(|name| file_stem(name, &mut taken)).collect();
        assert_eq!(stems, ["a-b", "a-b-2", "A-B-3", "stream", "小说", "stream-2"]);
    }
}
