//! Tokenizers in and out of GGUF metadata.
//!
//! The metadata name an algorithm, its pieces and a kind of pre-tokenizer; here they become what a `tokenizer.json` would
//! have said, so that one implementation reads all.

mod write;

use loam_gguf::{Array, Gguf, Value as Metadata};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

use super::Tokenizer;
use crate::error::CorpusError;
pub(super) use write::metadata;

/// Kinds of piece in `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Longest piece, in characters, that is taken apart into the pairs that make it.
const LONGEST: usize = 512;

/// The cutting into words of Llama 3, with its numbers of up to three digits.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits.
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Pre-tokenizers whose name another one goes by too.
const KINDS: [(&str, &[&str]); 5] = [
    ("default", &["default"]),
    ("gpt-2", &["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "roberta-bpe", "mpt", "olmo", "jais", "trillion"]),
    ("llama-bpe", &["llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3", "dbrx"]),
    ("qwen2", &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"]),
    ("smollm", &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"]),
];

/// What a file says of its tokenizer.
struct Source<'a> {
    file: &'a Gguf,
}

impl Source<'_> {
    fn wrong(&self, reason: impl Into<String>) -> CorpusError {
        CorpusError::tokenizer(
            Some(self.file.path()),
            reason.into(),
            "convert the model again with a current llama.cpp, or name a tokenizer.json",
        )
    }

    fn get(&self, key: &str) -> Option<&Metadata> {
        self.file.get(&format!("tokenizer.ggml.{key}"))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Metadata::as_bool)
    }

    fn tokens(&self) -> Result<&[String], CorpusError> {
        self.get("tokens").and_then(Metadata::as_strings).ok_or_else(|| self.wrong("tokenizer.ggml.tokens is missing"))
    }

    /// The kind of every piece.
    fn kinds(&self, count: usize) -> Result<Vec<i32>, CorpusError> {
        match self.get("token_type").and_then(Metadata::as_integers) {
            None => Ok(vec![NORMAL; count]),
            Some(kinds) if kinds.len() == count => Ok(kinds.to_vec()),
            Some(kinds) => {
                Err(self.wrong(format!("tokenizer.ggml.token_type has {} entries for {count} tokens", kinds.len())))
            }
        }
    }

    fn scores(&self, count: usize) -> Result<&[f32], CorpusError> {
        let scores = self.get("scores").and_then(Metadata::as_floats);
        match scores.filter(|scores| scores.len() == count) {
            Some(scores) if scores.iter().all(|score| score.is_finite()) => Ok(scores),
            _ => Err(self.wrong(format!("tokenizer.ggml.scores is not a list of {count} numbers, one a token"))),
        }
    }

    /// The id under a key, and its piece.
    fn token(&self, key: &str, tokens: &[String]) -> Result<Option<(usize, String)>, CorpusError> {
        let Some(id) = self.get(key).and_then(Metadata::as_u64) else { return Ok(None) };
        // llama.cpp writes the largest number for none.
        if id >= u64::from(u32::MAX) {
            return Ok(None);
        }
        match tokens.get(id as usize) {
            Some(token) => Ok(Some((id as usize, token.clone()))),
            None => Err(self.wrong(format!("tokenizer.ggml.{key} = {id} is beyond {} tokens", tokens.len()))),
        }
    }
}

/// The tokenizer in a file's metadata.
pub(super) fn open(path: &Path) -> Result<Tokenizer, CorpusError> {
    let file = Gguf::open(path).map_err(|error| {
        CorpusError::tokenizer(None, error.to_string(), "pass a GGUF file that holds a tokenizer, or a tokenizer.json")
    })?;
    let source = Source { file: &file };
    let tokens = source.tokens()?;
    let kinds = source.kinds(tokens.len())?;
    let mut vocabulary = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.as_str(), id).is_some() {
            return Err(source.wrong(format!("the token {token:?} stands twice among its tokens")));
        }
    }
    let algorithm = source.get("model").and_then(Metadata::as_str).unwrap_or("none");
    let mut parts = match algorithm {
        "gpt2" => byte_level(&source, tokens)?,
        "llama" => sentence_piece_pairs(&source, tokens, &kinds, &vocabulary)?,
        "t5" => unigram(&source, tokens, &kinds)?,
        other => {
            return Err(source.wrong(format!(
                "tokenizer.ggml.model is {other:?}; gpt2 (byte-level BPE), llama (SentencePiece BPE) and t5 (unigram) are \
                 read here"
            )));
        }
    };
    // What SentencePiece defines is looked for in normalized text.
    let normalized = algorithm != "gpt2" && source.flag("add_space_prefix") == Some(false);
    let added: Vec<Value> = tokens
        .iter()
        .zip(&kinds)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED) || (**kind == UNKNOWN && algorithm != "gpt2"))
        .map(|(id, (token, kind))| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": *kind == USER_DEFINED && normalized, "special": *kind != USER_DEFINED,
            })
        })
        .collect();
    let mut config = Map::new();
    for (theirs, ours) in [
        ("bos_token_id", "bos_token"),
        ("eos_token_id", "eos_token"),
        ("unknown_token_id", "unk_token"),
        ("padding_token_id", "pad_token"),
    ] {
        if let Some((_, token)) = source.token(theirs, tokens)? {
            config.insert(ours.to_owned(), json!(token));
        }
    }
    let begins = source.flag("add_bos_token").unwrap_or(algorithm == "llama");
    config.insert("add_bos_token".to_owned(), json!(begins));
    if let Some(ends) = source.flag("add_eos_token") {
        config.insert("add_eos_token".to_owned(), json!(ends));
    }
    if let Some(template) = file.get("tokenizer.chat_template").and_then(Metadata::as_str) {
        config.insert("chat_template".to_owned(), json!(template));
    }
    let begin = source.token("bos_token_id", tokens)?.filter(|_| begins);
    parts.insert("post_processor".to_owned(), begin.map_or(Value::Null, |(id, token)| template(id, &token)));
    parts.insert("version".to_owned(), json!("1.0"));
    parts.insert("truncation".to_owned(), Value::Null);
    parts.insert("padding".to_owned(), Value::Null);
    parts.insert("added_tokens".to_owned(), json!(added));
    Tokenizer::from_json(&Value::Object(parts).to_string(), Value::Object(config), path)
}

/// Puts a token before every text.
fn template(id: usize, token: &str) -> Value {
    let special = json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let sequence = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
    json!({
        "type": "TemplateProcessing",
        "single": [special, sequence("A")],
        "pair": [special, sequence("A"), special, sequence("B")],
        "special_tokens": { token: { "id": token, "ids": [id], "tokens": [token] } },
    })
}

fn object(parts: Value) -> Map<String, Value> {
    if let Value::Object(parts) = parts { parts } else { Map::new() }
}

fn numbered(tokens: &[String]) -> Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect()
}

/// Byte-level BPE.
fn byte_level(source: &Source, tokens: &[String]) -> Result<Map<String, Value>, CorpusError> {
    let name = source.get("pre").and_then(Metadata::as_str).unwrap_or("default");
    let Some((kind, _)) = KINDS.into_iter().find(|(_, names)| names.contains(&name)) else {
        let known = KINDS.map(|(kind, _)| kind).join(", ");
        return Err(source.wrong(format!("tokenizer.ggml.pre is {name:?}; these are known here: {known}")));
    };
    let bytes = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex });
    let split = |pattern: &str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    let sequence = |parts: Vec<Value>| json!({ "type": "Sequence", "pretokenizers": parts });
    let cutting = match kind {
        "default" => sequence(vec![
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
            split(r"\p{N}+"),
            split("[0-9][0-9][0-9]"),
            bytes(false),
        ]),
        "llama-bpe" => sequence(vec![split(LLAMA_3), bytes(false)]),
        "qwen2" => sequence(vec![split(QWEN_2), bytes(false)]),
        "smollm" => sequence(vec![json!({ "type": "Digits", "individual_digits": true }), bytes(true)]),
        _ => bytes(true),
    };
    let merges = source.get("merges").and_then(Metadata::as_strings);
    let merges = merges.ok_or_else(|| source.wrong("tokenizer.ggml.merges is missing"))?;
    let pairs: Option<Vec<[&str; 2]>> = merges.iter().map(|merge| merge.split_once(' ').map(|(a, b)| [a, b])).collect();
    let pairs = pairs.ok_or_else(|| source.wrong("tokenizer.ggml.merges holds something that is not a pair"))?;
    Ok(object(json!({
        "normalizer": null,
        "pre_tokenizer": cutting,
        "decoder": bytes(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": kind == "llama-bpe", "vocab": numbered(tokens), "merges": pairs,
        },
    })))
}

/// SentencePiece's BPE, which merges the pair that makes the piece of the highest score.
fn sentence_piece_pairs(
    source: &Source,
    tokens: &[String],
    kinds: &[i32],
    vocabulary: &HashMap<&str, usize>,
) -> Result<Map<String, Value>, CorpusError> {
    let scores = source.scores(tokens.len())?;
    let mut merges: Vec<(f32, usize, usize)> = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        if !matches!(kinds[id], NORMAL | USER_DEFINED | UNUSED) {
            continue;
        }
        if token.chars().nth(LONGEST).is_some() {
            return Err(source.wrong(format!("token {id} has more than {LONGEST} characters")));
        }
        for (middle, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(middle);
            if let (Some(left), Some(right)) = (vocabulary.get(left), vocabulary.get(right)) {
                merges.push((scores[id], *left, *right));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let pairs: Vec<[&str; 2]> = merges.iter().map(|(_, left, right)| [&*tokens[*left], &*tokens[*right]]).collect();
    let unknown = source.token("unknown_token_id", tokens)?.map(|(_, token)| token);
    let unknown = unknown.or_else(|| kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| tokens[id].clone()));
    let prefix = source.flag("add_space_prefix").unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" });
    let normalizer = if prefix {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "\u{2581}" }, replace] })
    } else {
        replace
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(object(json!({
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": kinds.contains(&BYTE),
            "ignore_merges": false, "vocab": numbered(tokens), "merges": pairs,
        },
    })))
}

/// A unigram language model of pieces.
fn unigram(source: &Source, tokens: &[String], kinds: &[i32]) -> Result<Map<String, Value>, CorpusError> {
    let scores = source.scores(tokens.len())?;
    let pieces: Vec<(&str, f64)> =
        tokens.iter().map(String::as_str).zip(scores.iter().map(|x| f64::from(*x))).collect();
    let unknown = source.token("unknown_token_id", tokens)?.map(|(id, _)| id);
    let unknown = unknown.or_else(|| kinds.iter().position(|kind| *kind == UNKNOWN));
    let mut normalizers = Vec::new();
    if let Some(Metadata::Array(map)) = source.get("precompiled_charsmap") {
        let bytes: Vec<u8> = match map {
            Array::U8(bytes) => bytes.clone(),
            Array::I8(bytes) => bytes.iter().map(|byte| *byte as u8).collect(),
            _ => return Err(source.wrong("tokenizer.ggml.precompiled_charsmap is not a list of bytes")),
        };
        if !bytes.is_empty() {
            normalizers.push(json!({ "type": "Precompiled", "precompiled_charsmap": base64(&bytes) }));
        }
    }
    if source.flag("remove_extra_whitespaces").unwrap_or(true) {
        normalizers.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
        normalizers.push(json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }));
    }
    let scheme = if source.flag("add_space_prefix").unwrap_or(true) { "always" } else { "never" };
    let spaces = json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true });
    Ok(object(json!({
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": spaces,
        "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, spaces] },
        "model": { "type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": kinds.contains(&BYTE) },
    })))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}
