//! A prepared folder, opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::summary::{HeldOutSummary, SourceSummary};
use crate::error::CorpusError;
use crate::shard::{StreamIndex, TokenStream, TokenWidth, hash_file};
use crate::tokenizer::Tokenizer;

/// The file that makes a folder a prepared one; written last.
pub(super) const INDEX: &str = "index.json";
/// The version of the folder's layout.
pub(super) const FORMAT: u32 = 1;

/// `index.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) format: u32,
    pub(super) token_width: TokenWidth,
    pub(super) vocabulary: usize,
    pub(super) end_of_text: Option<u32>,
    pub(super) tokenizer_hash: String,
    pub(super) sources: Vec<SourceSummary>,
    pub(super) held_out: Vec<HeldOutSummary>,
    pub(super) train: Vec<StreamIndex>,
    pub(super) held_out_streams: Vec<StreamIndex>,
    pub(super) content_hash: String,
}

impl Index {
    /// Hashes all that training depends on: tokenizer, weights, and the hash of every shard.
    fn compute_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(&self.format.to_le_bytes());
        add(self.tokenizer_hash.as_bytes());
        add(&self.token_width.bytes().to_le_bytes());
        add(&self.end_of_text.map_or(u64::MAX, u64::from).to_le_bytes());
        for source in &self.sources {
            add(source.name.as_bytes());
            add(&source.weight.to_bits().to_le_bytes());
        }
        for stream in self.train.iter().chain(&self.held_out_streams) {
            add(stream.name.as_bytes());
            add(&stream.tokens.to_le_bytes());
            for shard in &stream.shards {
                add(shard.hash.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Sets the content hash; the last thing done to an index.
    pub(super) fn seal(&mut self) {
        self.content_hash = self.compute_hash();
    }

    fn read(directory: &Path) -> Result<Self, CorpusError> {
        let path = directory.join(INDEX);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CorpusError::NotFound {
                pattern: directory.display().to_string(),
                message: "not a prepared folder: it has no index.json".to_owned(),
                hint: "prepare the data first; a run that was killed leaves no folder".to_owned(),
            },
            _ => CorpusError::io("read", &path)(error),
        })?;
        let damaged = |message: String| CorpusError::damaged(&path, message, "prepare the data again");
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| damaged(format!("not valid JSON: {error}")))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or("none".to_owned(), |format| format.to_string());
            return Err(damaged(format!("format {found}; this version of Loam reads format {FORMAT}")));
        }
        let index: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if index.content_hash != index.compute_hash()
            || index.sources.len() != index.train.len()
            || index.held_out.len() != index.held_out_streams.len()
            || index.train.iter().chain(&index.held_out_streams).any(|stream| {
                stream.shards.iter().any(|shard| {
                    let mut parts = shard.file.split('/');
                    !matches!(parts.next(), Some("train" | "held_out"))
                        || parts.next().is_none_or(|name| name.is_empty() || name == ".." || name.contains('\\'))
                        || parts.next().is_some()
                })
            })
        {
            return Err(damaged("its parts contradict each other".to_owned()));
        }
        Ok(index)
    }
}

/// Prepared data: what [`crate::prepare`] made, ready for training.
#[derive(Debug)]
pub struct Prepared {
    directory: PathBuf,
    index: Index,
    tokenizer: Tokenizer,
    train: Vec<Arc<TokenStream>>,
    held_out: Vec<TokenStream>,
}

impl Prepared {
    /// Opens a prepared folder. The sizes of all files are checked; their content is checked by
    /// [`Prepared::verify`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, CorpusError> {
        let directory = directory.as_ref();
        let index = Index::read(directory)?;
        let tokenizer = Tokenizer::open(directory.join("tokenizer"))?;
        if tokenizer.hash() != index.tokenizer_hash {
            return Err(CorpusError::damaged(
                directory.join("tokenizer").join("tokenizer.json"),
                "not the tokenizer that the tokens were made with",
                "prepare the data again",
            ));
        }
        let open = |streams: &[StreamIndex]| {
            streams
                .iter()
                .map(|stream| TokenStream::open(directory, stream, index.token_width, index.end_of_text))
                .collect::<Result<Vec<_>, _>>()
        };
        let train = open(&index.train)?.into_iter().map(Arc::new).collect();
        let held_out = open(&index.held_out_streams)?;
        Ok(Self { directory: directory.to_path_buf(), index, tokenizer, train, held_out })
    }

    /// Reads every shard and compares its hash with the index.
    pub fn verify(&self) -> Result<(), CorpusError> {
        for shard in self.index.train.iter().chain(&self.index.held_out_streams).flat_map(|stream| &stream.shards) {
            let path = self.directory.join(&shard.file);
            if hash_file(&path)? != shard.hash {
                return Err(CorpusError::damaged(path, "its content has changed", "prepare the data again"));
            }
        }
        Ok(())
    }

    /// The training sources, in the order of the plan.
    pub fn sources(&self) -> &[SourceSummary] {
        &self.index.sources
    }

    /// The held-out domains.
    pub fn held_out(&self) -> &[HeldOutSummary] {
        &self.index.held_out
    }

    /// A hash over tokens, tokenizer and weights, in hexadecimal: equal hashes train alike.
    pub fn hash(&self) -> &str {
        &self.index.content_hash
    }

    /// The tokenizer of the tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens of source `index`.
    pub fn train_stream(&self, index: usize) -> &TokenStream {
        &self.train[index]
    }

    /// The tokens of every source, shared.
    pub(crate) fn train_streams(&self) -> &[Arc<TokenStream>] {
        &self.train
    }

    /// The tokens of held-out domain `index`.
    pub fn held_out_stream(&self, index: usize) -> &TokenStream {
        &self.held_out[index]
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
