//! Writing a stream of tokens, shard after shard.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{ShardIndex, StreamIndex, TokenWidth};
use crate::error::CorpusError;

struct OpenShard {
    file: BufWriter<File>,
    path: PathBuf,
    name: String,
    hasher: blake3::Hasher,
    tokens: u64,
}

/// Writes one stream; memory is one buffer.
pub(crate) struct StreamWriter {
    folder: PathBuf,
    /// `train` or `held_out`.
    part: &'static str,
    stem: String,
    width: TokenWidth,
    largest: u64,
    index: StreamIndex,
    shard: Option<OpenShard>,
    bytes: Vec<u8>,
}

impl StreamWriter {
    /// Starts a stream whose files stand in `folder/part`, named after `stem`.
    pub(crate) fn new(
        folder: &Path,
        part: &'static str,
        name: &str,
        stem: &str,
        width: TokenWidth,
        largest: u64,
    ) -> Self {
        Self {
            folder: folder.to_path_buf(),
            part,
            stem: stem.to_owned(),
            width,
            largest,
            index: StreamIndex { name: name.to_owned(), tokens: 0, shards: Vec::new() },
            shard: None,
            bytes: Vec::new(),
        }
    }

    /// Tokens written so far.
    pub(crate) fn tokens(&self) -> u64 {
        self.index.tokens
    }

    /// Appends tokens.
    pub(crate) fn push(&mut self, ids: &[u32]) -> Result<(), CorpusError> {
        let mut rest = ids;
        while !rest.is_empty() {
            let Some(shard) = &self.shard else {
                self.open()?;
                continue;
            };
            let room = self.largest / self.width.bytes() - shard.tokens;
            if room == 0 {
                self.close()?;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room as usize));
            self.append(now)?;
            rest = later;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), CorpusError> {
        let folder = self.folder.join(self.part);
        std::fs::create_dir_all(&folder).map_err(CorpusError::io("create", &folder))?;
        let name = format!("{}-{:05}.tokens", self.stem, self.index.shards.len());
        let path = folder.join(&name);
        let file = File::create(&path).map_err(CorpusError::io("write", &path))?;
        self.shard = Some(OpenShard {
            file: BufWriter::with_capacity(1 << 20, file),
            path,
            name: format!("{}/{name}", self.part),
            hasher: blake3::Hasher::new(),
            tokens: 0,
        });
        Ok(())
    }

    fn append(&mut self, ids: &[u32]) -> Result<(), CorpusError> {
        let Some(shard) = &mut self.shard else { return Ok(()) };
        self.bytes.clear();
        match self.width {
            TokenWidth::U16 => ids.iter().for_each(|&id| self.bytes.extend((id as u16).to_le_bytes())),
            TokenWidth::U32 => ids.iter().for_each(|id| self.bytes.extend(id.to_le_bytes())),
        }
        shard.hasher.update(&self.bytes);
        shard.file.write_all(&self.bytes).map_err(CorpusError::io("write", &shard.path))?;
        shard.tokens += ids.len() as u64;
        self.index.tokens += ids.len() as u64;
        Ok(())
    }

    fn close(&mut self) -> Result<(), CorpusError> {
        if let Some(mut shard) = self.shard.take() {
            shard.file.flush().map_err(CorpusError::io("write", &shard.path))?;
            let hash = shard.hasher.finalize().to_hex().to_string();
            self.index.shards.push(ShardIndex { file: shard.name, tokens: shard.tokens, hash });
        }
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self) -> Result<StreamIndex, CorpusError> {
        self.close()?;
        Ok(self.index)
    }
}
