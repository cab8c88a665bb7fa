//! A prepared folder, opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::summary::{HeldOutSummary, SourceSummary};
use crate::clean::Step;
use crate::error::CorpusError;
use crate::shard::{StreamIndex, TokenStream, TokenWidth, hash_file};
use crate::tokenizer::Tokenizer;

/// The file that makes a folder a prepared one; written last.
pub(crate) const INDEX: &str = "index.json";
/// The version of the folder's layout.
pub(super) const FORMAT: u32 = 1;

/// `index.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) format: u32,
    pub(crate) token_width: TokenWidth,
    pub(crate) vocabulary: usize,
    pub(crate) end_of_text: Option<u32>,
    pub(crate) tokenizer_hash: String,
    pub(crate) sources: Vec<SourceSummary>,
    pub(crate) held_out: Vec<HeldOutSummary>,
    pub(crate) train: Vec<StreamIndex>,
    pub(crate) held_out_streams: Vec<StreamIndex>,
    /// Of sources of pairs, what each token is.
    #[serde(default)]
    pub(crate) train_roles: Vec<Option<StreamIndex>>,
    #[serde(default)]
    pub(crate) held_out_roles: Vec<Option<StreamIndex>>,
    /// The steps of cleaning of sources and domains, where there are any.
    #[serde(default)]
    pub(crate) train_clean: Vec<Vec<Step>>,
    #[serde(default)]
    pub(crate) held_out_clean: Vec<Vec<Step>>,
    /// Whether documents are shown in the order in which they stand, instead of shuffled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ordered: bool,
    /// Tokens that a model is to be shown, where somebody planned that; shares are then not those of weights alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planned_tokens: Option<u64>,
    pub(crate) content_hash: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Index {
    /// Hashes all that training depends on: tokenizer, weights, the hash of every shard, and how text was cleaned.
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
        for stream in self.streams() {
            add(stream.name.as_bytes());
            add(&stream.tokens.to_le_bytes());
            for shard in &stream.shards {
                add(shard.hash.as_bytes());
            }
        }
        // Hashes of data that was not cleaned stay what they were.
        for (part, chains) in [("clean train", &self.train_clean), ("clean held out", &self.held_out_clean)] {
            if chains.iter().any(|steps| !steps.is_empty()) {
                add(part.as_bytes());
                for steps in chains {
                    add(steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(" ").as_bytes());
                }
            }
        }
        // Likewise of data that nobody mixed.
        if let Some(planned) = self.planned_tokens {
            add(b"planned");
            add(&planned.to_le_bytes());
            add(&[u8::from(self.ordered)]);
            for source in &self.sources {
                add(&source.share.to_bits().to_le_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Adds a domain.
    pub(crate) fn add_held_out(&mut self, summary: HeldOutSummary, stream: StreamIndex) {
        self.held_out.push(summary);
        self.held_out_streams.push(stream);
    }

    /// Leaves out the sources that have no tokens.
    pub(crate) fn leave_out_empty(&mut self) {
        self.sources.retain(|source| source.tokens > 0);
        self.train.retain(|stream| stream.tokens > 0);
    }

    /// Every stream: the tokens of sources and domains, then the roles of those that are pairs.
    fn streams(&self) -> impl Iterator<Item = &StreamIndex> {
        let roles = self.train_roles.iter().chain(&self.held_out_roles).flatten();
        self.train.iter().chain(&self.held_out_streams).chain(roles)
    }

    /// Sets the content hash; the last thing done to an index.
    pub(crate) fn seal(&mut self) {
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
            || (!index.train_roles.is_empty() && index.train_roles.len() != index.train.len())
            || (!index.held_out_roles.is_empty() && index.held_out_roles.len() != index.held_out.len())
            || index.streams().any(|stream| {
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
    pub(super) index: Index,
    tokenizer: Tokenizer,
    train: Vec<Arc<TokenStream>>,
    held_out: Vec<Arc<TokenStream>>,
    train_examples: Vec<Option<ExampleStream>>,
    held_out_examples: Vec<Option<ExampleStream>>,
}

/// Set in a role where an example begins.
pub(super) const BEGINS: u32 = 1;
/// Set in a role where a token is of the target: what a model learns to write, where the rest is given.
pub(super) const OF_TARGET: u32 = 2;

/// The pairs or conversations of a source or domain, in the order of its tokens.
#[derive(Clone, Debug)]
pub struct ExampleStream {
    tokens: Arc<TokenStream>,
    roles: Arc<TokenStream>,
    /// Where each pair begins and where its target does, in tokens, and at last where the stream ends.
    bounds: Arc<[(usize, usize)]>,
}

impl ExampleStream {
    fn new(tokens: &Arc<TokenStream>, roles: Arc<TokenStream>, path: &Path) -> Result<Self, CorpusError> {
        let damaged = |message: &str| CorpusError::damaged(path, message.to_owned(), "prepare the data again");
        if roles.len() != tokens.len() {
            return Err(damaged("a source of pairs has not as many roles as tokens"));
        }
        let mut bounds: Vec<(usize, usize)> = Vec::new();
        let mut inside = false;
        // A target goes on through what is given between two answers.
        for (at, role) in roles.iter().enumerate() {
            let target = role & OF_TARGET != 0;
            if role & BEGINS != 0 {
                bounds.push((at, usize::MAX));
                inside = false;
            }
            let Some(last) = bounds.last_mut() else { return Err(damaged("an example has no beginning")) };
            if target && !inside {
                last.1 = at;
                inside = true;
            }
        }
        if bounds.iter().any(|(_, target)| *target == usize::MAX) {
            return Err(damaged("an example has nothing to learn"));
        }
        bounds.push((tokens.len(), tokens.len()));
        Ok(Self { tokens: tokens.clone(), roles, bounds: bounds.into() })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of the input and of the target of pair `index`.
    pub fn lengths(&self, index: usize) -> (usize, usize) {
        let (begin, target) = self.bounds[index];
        (target - begin, self.bounds[index + 1].0 - target)
    }

    /// Where example `index` begins in the tokens of its source.
    pub fn begin(&self, index: usize) -> usize {
        self.bounds[index].0
    }

    /// The tokens of example `index`, and which of them are learned.
    pub fn example(&self, index: usize) -> (Vec<u32>, Vec<bool>) {
        let range = self.bounds[index].0..self.bounds[index + 1].0;
        let (mut ids, mut roles) = (Vec::new(), Vec::new());
        self.tokens.get(range.clone(), &mut ids);
        self.roles.get(range, &mut roles);
        (ids, roles.into_iter().map(|role| role & OF_TARGET != 0).collect())
    }

    /// The input and the target of pair `index`, each with the end of text where the tokenizer has one.
    pub fn pair(&self, index: usize) -> (Vec<u32>, Vec<u32>) {
        let (begin, target) = self.bounds[index];
        let (mut input, mut output) = (Vec::new(), Vec::new());
        self.tokens.get(begin..target, &mut input);
        self.tokens.get(target..self.bounds[index + 1].0, &mut output);
        (input, output)
    }
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
        let train: Vec<_> = open(&index.train)?.into_iter().map(Arc::new).collect();
        let held_out: Vec<_> = open(&index.held_out_streams)?.into_iter().map(Arc::new).collect();
        let examples = |streams: &[Arc<TokenStream>], roles: &[Option<StreamIndex>]| {
            let path = directory.join(INDEX);
            let of = |(number, tokens): (usize, &Arc<TokenStream>)| {
                let Some(roles) = roles.get(number).and_then(Option::as_ref) else { return Ok(None) };
                let roles = TokenStream::open(directory, roles, TokenWidth::U16, None)?;
                ExampleStream::new(tokens, Arc::new(roles), &path).map(Some)
            };
            streams.iter().enumerate().map(of).collect::<Result<Vec<_>, CorpusError>>()
        };
        let train_examples = examples(&train, &index.train_roles)?;
        let held_out_examples = examples(&held_out, &index.held_out_roles)?;
        let directory = directory.to_path_buf();
        Ok(Self { directory, index, tokenizer, train, held_out, train_examples, held_out_examples })
    }

    /// Reads every shard and compares its hash with the index.
    pub fn verify(&self) -> Result<(), CorpusError> {
        for shard in self.index.streams().flat_map(|stream| &stream.shards) {
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

    /// Whether documents are to be shown in the order in which they stand: a curriculum.
    pub fn is_ordered(&self) -> bool {
        self.index.ordered
    }

    /// Tokens that a model is to be shown, where that was planned when the data was prepared.
    pub fn planned_tokens(&self) -> Option<u64> {
        self.index.planned_tokens
    }

    /// A hash over tokens, tokenizer, weights and steps of cleaning, in hexadecimal: equal hashes train alike.
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

    /// The pairs of source `index`, where it is one of pairs.
    pub fn train_examples(&self, index: usize) -> Option<&ExampleStream> {
        self.train_examples[index].as_ref()
    }

    /// The pairs of held-out domain `index`, where it is one of pairs.
    pub fn held_out_examples(&self, index: usize) -> Option<&ExampleStream> {
        self.held_out_examples[index].as_ref()
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
