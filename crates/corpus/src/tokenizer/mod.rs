//! Text to token ids and back.
//!
//! The models and the training come from Hugging Face's `tokenizers`, so that what Loam trains opens
//! everywhere and what others trained opens here. This wrapper adds what a trainer of language models
//! needs and the crate leaves open: document text never turns into special tokens, training is
//! deterministic for every kind, decoding can be streamed, every token knows how many bytes of text it
//! stands for (bits per byte need that), and byte-level BPE has a fast road (see `byte_level`).

mod byte_level;
mod gguf;

mod stream;
mod train;
mod vocabulary;
mod windows;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenizers::{ModelWrapper, PostProcessor};

use byte_level::ByteLevelEncoder;
pub use stream::TextStream;
pub use train::{Framing, train_tokenizer};
pub use windows::Window;
pub(crate) use words::count_split_words;

use crate::error::CorpusError;
use crate::guard::guarded;

/// The special token that ends a document for byte-level BPE and unigram tokenizers.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The families of tokenizers that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// Byte-level byte-pair encoding, as GPT-2: every string round-trips.
    Bpe,
    /// As BERT: words into pieces, continued with `##`.
    WordPiece,
    /// As T5 and Llama's `SentencePiece`: the likeliest pieces.
    Unigram,
    /// Whole words and punctuation marks; what is rare becomes `<UNK>`.
    Word,
}

impl fmt::Display for TokenizerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bpe => "bpe",
            Self::WordPiece => "wordpiece",
            Self::Unigram => "unigram",
            Self::Word => "word",
        })
    }
}

impl FromStr for TokenizerKind {
    type Err = CorpusError;

    fn from_str(text: &str) -> Result<Self, CorpusError> {
        match text.to_ascii_lowercase().as_str() {
            "bpe" => Ok(Self::Bpe),
            "wordpiece" => Ok(Self::WordPiece),
            "unigram" => Ok(Self::Unigram),
            "word" => Ok(Self::Word),
            _ => Err(CorpusError::invalid(
                format!("unknown kind of tokenizer \"{text}\""),
                "use bpe, wordpiece, unigram or word",
            )),
        }
    }
}

struct Inner {
    model: tokenizers::Tokenizer,
    json: String,
    config: Value,
    hash: String,
    vocabulary: usize,
    end_of_text: Option<u32>,
    begin_of_text: Option<u32>,
    unknown: Option<u32>,
    /// Bytes of text that each token stands for.
    bytes: Vec<u32>,
    fast: Option<ByteLevelEncoder>,
    /// The same tokenizer, but for special tokens, which it recognizes; made when it is first asked.
    with_special: OnceLock<tokenizers::Tokenizer>,
}

/// A tokenizer; cloning shares it.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

fn offsets_of(encoding: &tokenizers::Encoding) -> Vec<TokenOffset> {
    let ids = encoding.get_ids().iter().zip(encoding.get_offsets());
    ids.map(|(&id, &(start, end))| TokenOffset { id, start, end }).collect()
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocabulary", &self.inner.vocabulary)
            .field("hash", &self.inner.hash)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.inner.hash == other.inner.hash
    }
}

/// One token with the part of the text it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOffset {
    /// Token id.
    pub id: u32,
    /// First byte covered.
    pub start: usize,
    /// One past the last byte covered. Tokens that share one character share its range.
    pub end: usize,
}

impl Tokenizer {
    /// Opens a `tokenizer.json`, or the folder that holds one (its `tokenizer_config.json` names the
    /// special tokens, when it is there). A folder without one may hold `vocab.txt` (BERT's WordPiece), `vocab.json` and
    /// `merges.txt` (the byte-level BPE of GPT-2 and RoBERTa), or a GGUF file, which may also be named itself.
    /// `hf:org/name` names a model on the Hub.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CorpusError> {
        let path = path.as_ref();
        let fetched = match path.to_str().filter(|text| loam_hub::is_reference(text)) {
            Some(text) => fetch(text)?,
            None => None,
        };
        let path = fetched.as_deref().unwrap_or(path);
        let found = loam_gguf::find(path, "tokenizer.json")
            .map_err(|error| CorpusError::tokenizer(None, error.to_string(), "name the file itself"))?;
        if let Some(file) = found {
            return gguf::open(&file);
        }
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let wrong = |error: &dyn std::fmt::Display| {
            let hint = "pass a file that Hugging Face tokenizers wrote";
            CorpusError::tokenizer(Some(&file), format!("not a tokenizer.json: {error}"), hint)
        };
        let config_file = file.with_file_name("tokenizer_config.json");
        let config = match std::fs::read_to_string(&config_file) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                CorpusError::tokenizer(Some(&config_file), format!("not valid JSON: {error}"), "mend or remove it")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(error) => return Err(CorpusError::io("read", &config_file)(error)),
        };
        let read = || {
            if path.is_dir() && !file.exists() {
                return vocabulary::open(path, &config);
            }
            let json = std::fs::read_to_string(&file).map_err(CorpusError::io("read", &file))?;
            serde_json::from_str::<serde::de::IgnoredAny>(&json).map_err(|error| wrong(&error))?;
            json.parse::<tokenizers::Tokenizer>().map_err(|error| wrong(&error))
        };
        let model = guarded(read).map_err(|message| wrong(&message))??;
        guarded(|| Self::new(model, config.clone(), Some(&file))).map_err(|message| wrong(&message))?
    }

    /// A tokenizer of a `tokenizer.json`'s text, made of the file at `path`.
    fn from_json(json: &str, config: Value, path: &Path) -> Result<Self, CorpusError> {
        let wrong = |error: &dyn std::fmt::Display| {
            let hint = "convert the model again, or name a tokenizer.json";
            CorpusError::tokenizer(Some(path), format!("its tokenizer cannot be built: {error}"), hint)
        };
        let read = || json.parse::<tokenizers::Tokenizer>().map_err(|error| wrong(&error));
        let model = guarded(read).map_err(|message| wrong(&message))??;
        guarded(|| Self::new(model, config, Some(path))).map_err(|message| wrong(&message))?
    }

    /// What a GGUF file says of this tokenizer.
    ///
    /// # Errors
    /// When the format has no place for one of this kind.
    pub fn gguf_metadata(&self) -> Result<Vec<(String, loam_gguf::Value)>, CorpusError> {
        gguf::metadata(self)
    }

    fn new(mut model: tokenizers::Tokenizer, config: Value, path: Option<&Path>) -> Result<Self, CorpusError> {
        let wrong =
            |error: tokenizers::Error| CorpusError::tokenizer(path, error.to_string(), "train or export it again");
        model.with_padding(None);
        model.with_truncation(None).map_err(wrong)?;
        // First, since writing a vocabulary down lists every id that it leaves out below its highest.
        let vocabulary = model.get_vocab(true).values().max().map_or(0, |&highest| highest as usize + 1);
        if vocabulary == 0 || vocabulary > 1 << 24 {
            return Err(CorpusError::tokenizer(
                path,
                format!("a vocabulary of {vocabulary} tokens"),
                "vocabularies have 1 to 16,777,216 tokens",
            ));
        }
        let json = model.to_string(true).map_err(wrong)?;
        // Text of documents is text, whatever it spells.
        model.set_encode_special_tokens(true);
        // Fails now rather than at some document: a word-level model whose unknown token is missing.
        for probe in ["a", "\u{10FFFD} \u{1}\u{E000}zq", "水"] {
            model.encode_fast(probe, false).map_err(|error| {
                CorpusError::tokenizer(
                    path,
                    format!("cannot encode every text: {error}"),
                    "add its unknown token to the vocabulary",
                )
            })?;
        }
        let end_of_text = find_end_of_text(&model, &config);
        let begin_of_text = find_begin_of_text(&model);
        let unknown = find_unknown(&model, &json);
        let byte_level = byte_level::decodes_bytes(&model);
        let bytes = (0..vocabulary as u32).map(|id| bytes_of(&model, id, byte_level)).collect();
        let fast = ByteLevelEncoder::of(&model);
        let hash = blake3::hash(json.as_bytes()).to_hex().to_string();
        Ok(Self {
            inner: Arc::new(Inner {
                model,
                json,
                config,
                hash,
                vocabulary,
                end_of_text,
                begin_of_text,
                unknown,
                bytes,
                fast,
                with_special: OnceLock::new(),
            }),
        })
    }

    /// What `tokenizer_config.json` says, or a GGUF file in its place.
    pub fn config(&self) -> &Value {
        &self.inner.config
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into a folder, in Hugging Face's layout.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), CorpusError> {
        self.save_with_length(folder, None)
    }

    /// [`Tokenizer::save`] with `model_max_length` (tokens) in the configuration.
    pub fn save_with_length(&self, folder: impl AsRef<Path>, longest: Option<usize>) -> Result<(), CorpusError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(CorpusError::io("create", folder))?;
        let mut config = self.inner.config.clone();
        if let Value::Object(entries) = &mut config {
            entries.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
            if let Some(token) = self.end_of_text().and_then(|id| self.token(id)) {
                entries.entry("eos_token").or_insert_with(|| json!(token));
                entries.entry("bos_token").or_insert_with(|| json!(token));
            }
            if let Some(longest) = longest {
                entries.insert("model_max_length".to_owned(), json!(longest));
            }
        }
        let config = serde_json::to_string_pretty(&config).unwrap_or_default();
        for (name, text) in [("tokenizer.json", &self.inner.json), ("tokenizer_config.json", &config)] {
            let path = folder.join(name);
            crate::write::replace_file(&path, text.as_bytes())?;
        }
        Ok(())
    }

    /// Token ids of a text. No special tokens are added, and none are recognized in the text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        if let Some(fast) = &self.inner.fast {
            return fast.encode(&self.inner.model, text);
        }
        // Encoding every text was tried when the tokenizer was made.
        self.inner.model.encode_fast(text, false).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
    }

    /// Token ids of a text in which special tokens are spelled out, as chat templates write it. None are added.
    pub fn encode_with_special_tokens(&self, text: &str) -> Vec<u32> {
        self.special_tokens_recognized()
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .unwrap_or_default()
    }

    /// [`Tokenizer::encode_with_special_tokens`] with the bytes of the text that each token covers.
    pub fn encode_with_special_tokens_and_offsets(&self, text: &str) -> Vec<TokenOffset> {
        self.special_tokens_recognized().encode(text, false).map_or_else(|_| Vec::new(), |found| offsets_of(&found))
    }

    /// Token ids of a text as an encoder wants them: cut to `longest` ids, those of the special tokens that the
    /// tokenizer puts around a text (`[CLS]` and `[SEP]`) among them.
    pub fn encode_framed(&self, text: &str, longest: usize) -> Vec<u32> {
        let model = &self.inner.model;
        let frame = model.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        let Ok(mut encoding) = model.encode_fast(text, false) else { return Vec::new() };
        encoding.truncate(longest.saturating_sub(frame), 0, tokenizers::TruncationDirection::Right);
        let framed = model.post_process(encoding, None, true);
        framed.map(|encoding| encoding.get_ids().iter().copied().take(longest).collect()).unwrap_or_default()
    }

    /// [`Tokenizer::encode_framed`] of a text in which special tokens are spelled out, whole.
    pub fn encode_framed_with_special_tokens(&self, text: &str) -> Vec<u32> {
        let found = self.special_tokens_recognized().encode_fast(text, true);
        found.map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
    }

    /// [`Tokenizer::encode`] over several texts in parallel; the order is kept.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Vec<Vec<u32>> {
        texts.par_iter().map(|text| self.encode(text.as_ref())).collect()
    }

    /// Token ids with the bytes of the text that each covers.
    pub fn encode_with_offsets(&self, text: &str) -> Vec<TokenOffset> {
        self.inner.model.encode(text, false).map_or_else(|_| Vec::new(), |found| offsets_of(&found))
    }

    fn special_tokens_recognized(&self) -> &tokenizers::Tokenizer {
        self.inner.with_special.get_or_init(|| {
            let mut model = self.inner.model.clone();
            model.set_encode_special_tokens(false);
            model
        })
    }

    /// The text of token ids; special tokens leave no text, unknown ids neither.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.model.decode(ids, true).unwrap_or_default()
    }

    /// The text of token ids, special tokens spelled out; unknown ids leave no text.
    pub fn decode_with_special_tokens(&self, ids: &[u32]) -> String {
        self.inner.model.decode(ids, false).unwrap_or_default()
    }

    /// The id of a token by what it is for: what `tokenizer_config.json` says under `role`, as `mask_token`, else the first
    /// of `names` that there is.
    pub fn special_id(&self, role: &str, names: &[&str]) -> Option<u32> {
        let said = self.config().get(role).and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        said.into_iter().chain(names.iter().copied()).find_map(|token| self.token_id(token))
    }

    /// The size of an embedding table for this tokenizer: the highest id plus one.
    pub fn vocabulary(&self) -> usize {
        self.inner.vocabulary
    }

    /// The token that ends a document: what `tokenizer_config.json` calls `eos_token`, else the first of
    /// `<|endoftext|>`, `<|end_of_text|>`, `</s>`, `<EOS>`, `<eos>`, `[SEP]` that there is.
    pub fn end_of_text(&self) -> Option<u32> {
        self.inner.end_of_text
    }

    /// The token that stands before every text where the tokenizer's own recipe puts one there, as Llama's `<s>`;
    /// [`Tokenizer::encode`] leaves it to the caller.
    pub fn begin_of_text(&self) -> Option<u32> {
        self.inner.begin_of_text
    }

    /// The token that stands for what the tokenizer does not know, where there is one.
    pub fn unknown(&self) -> Option<u32> {
        self.inner.unknown
    }

    /// The token as it is spelled in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.model.id_to_token(id)
    }

    /// The id of a token spelled as in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.model.token_to_id(token)
    }

    /// Bytes of text that a token stands for; 0 for special tokens and unknown ids. Exact for byte-level
    /// BPE; for the other kinds the bytes of its decoded form.
    pub fn token_bytes(&self, id: u32) -> usize {
        self.inner.bytes.get(id as usize).copied().unwrap_or(0) as usize
    }

    /// BLAKE3 of the serialized tokenizer, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.inner.hash
    }

    /// A decoder that takes one token at a time.
    pub fn text_stream(&self) -> TextStream {
        TextStream::new(self.clone())
    }
}

/// The tokenizer's files of a model on the Hub: the file that a path names, or the folder that holds them.
fn fetch(text: &str) -> Result<Option<PathBuf>, CorpusError> {
    let names =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"];
    let files = loam_hub::files(text, &|name| names.contains(&name))?.unwrap_or_default();
    let file = match &files[..] {
        [file] if loam_hub::Reference::parse(text)?.path.is_some() => return Ok(Some(file.clone())),
        files => files.first(),
    };
    Ok(file.and_then(|file| file.parent()).map(Path::to_path_buf))
}

fn find_end_of_text(model: &tokenizers::Tokenizer, config: &Value) -> Option<u32> {
    let named = config.get("eos_token").and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
    let usual = [END_OF_TEXT, "<|end_of_text|>", "</s>", "<EOS>", "<eos>", "[SEP]"];
    named.into_iter().chain(usual).find_map(|token| model.token_to_id(token))
}

/// The only special token that encoding puts before a text; BERT's, which puts another behind, has none.
fn find_begin_of_text(model: &tokenizers::Tokenizer) -> Option<u32> {
    let with = model.encode_fast("a", true).ok()?;
    let without = model.encode_fast("a", false).ok()?;
    let (first, rest) = with.get_ids().split_first()?;
    (rest == without.get_ids()).then_some(*first)
}

/// What the model itself puts in the place of the unknown; what a configuration calls so may end texts too, as in GPT-2's.
fn find_unknown(model: &tokenizers::Tokenizer, json: &str) -> Option<u32> {
    let named = |name: &str| model.token_to_id(name);
    match model.get_model() {
        ModelWrapper::WordLevel(words) => named(&words.unk_token),
        ModelWrapper::WordPiece(pieces) => named(&pieces.unk_token),
        ModelWrapper::BPE(pairs) => named(pairs.unk_token.as_deref()?),
        ModelWrapper::Unigram(_) => {
            let written: Value = serde_json::from_str(json).ok()?;
            written["model"]["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok())
        }
    }
}

fn bytes_of(model: &tokenizers::Tokenizer, id: u32, byte_level: bool) -> u32 {
    let Some(token) = model.id_to_token(id) else { return 0 };
    if model.get_added_vocabulary().is_special_token(&token) {
        return 0;
    }
    if model.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id) {
        return token.len() as u32;
    }
    if byte_level {
        return token.chars().count() as u32;
    }
    if let Some(rest) = token.strip_prefix("##") {
        return rest.len() as u32;
    }
    if token.len() == 6 && token.starts_with("<0x") && token.ends_with('>') {
        return 1;
    }
    token.chars().map(|character| if character == '\u{2581}' { 1 } else { character.len_utf8() as u32 }).sum()
}

#[cfg(test)]
mod tests;
