//! Tokenizers into GGUF metadata.

use loam_gguf::{Array, Value as Metadata};
use serde_json::Value;

use super::super::{Tokenizer, byte_level};
use super::{BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use crate::error::CorpusError;

type Entries = Vec<(String, Metadata)>;

/// What an algorithm has for a file.
struct Pieces {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    scores: Option<Vec<f32>>,
    entries: Entries,
}

impl Pieces {
    fn put(&mut self, key: &str, value: Metadata) {
        self.entries.push((format!("tokenizer.ggml.{key}"), value));
    }

    fn set(&mut self, id: usize, token: &str, kind: i32) {
        if let (Some(place), Some(old)) = (self.tokens.get_mut(id), self.kinds.get_mut(id)) {
            token.clone_into(place);
            *old = kind;
        }
    }

    fn mark_bytes(&mut self) {
        for (kind, token) in self.kinds.iter_mut().zip(&self.tokens) {
            if token.len() == 6 && token.starts_with("<0x") {
                *kind = BYTE;
            }
        }
    }
}

fn no(what: &str) -> CorpusError {
    CorpusError::tokenizer(
        None,
        format!("GGUF has no place for {what}"),
        "byte-level BPE as GPT-2, Llama 3, Qwen 2 and SmolLM cut it, SentencePiece BPE and unigram can be written",
    )
}

fn text(text: &str) -> Metadata {
    Metadata::String(text.to_owned())
}

/// The metadata that a GGUF file has of a tokenizer.
pub(in super::super) fn metadata(tokenizer: &Tokenizer) -> Result<Entries, CorpusError> {
    let whole: Value = serde_json::from_str(&tokenizer.inner.json).map_err(|error| no(&error.to_string()))?;
    let count = tokenizer.vocabulary();
    let mut pieces = Pieces {
        tokens: (0..count).map(|id| format!("[UNUSED_{id}]")).collect(),
        kinds: vec![UNUSED; count],
        scores: None,
        entries: Vec::new(),
    };
    match whole["model"]["type"].as_str() {
        Some("BPE") => pairs(tokenizer, &whole, &mut pieces)?,
        Some("Unigram") => unigram(&whole, &mut pieces)?,
        _ => return Err(no("word-level and WordPiece tokenizers")),
    }
    for token in whole["added_tokens"].as_array().into_iter().flatten() {
        let kind = if token["special"] == true { CONTROL } else { USER_DEFINED };
        let id = token["id"].as_u64().unwrap_or(u64::MAX) as usize;
        pieces.set(id, token["content"].as_str().unwrap_or_default(), kind);
    }
    if let Some(id) = whole["model"]["unk_token"].as_str().and_then(|token| tokenizer.token_id(token)) {
        pieces.kinds[id as usize] = UNKNOWN;
        pieces.put("unknown_token_id", Metadata::U32(id));
    }
    let config = &tokenizer.inner.config;
    let named = |key: &str| {
        let token = config.get(key)?;
        tokenizer.token_id(token.as_str().or_else(|| token.get("content")?.as_str())?)
    };
    let end = tokenizer.end_of_text();
    for (key, id) in
        [("bos_token_id", named("bos_token").or(end)), ("eos_token_id", end), ("padding_token_id", named("pad_token"))]
    {
        if let Some(id) = id {
            pieces.put(key, Metadata::U32(id));
        }
    }
    pieces.put("add_bos_token", Metadata::Bool(tokenizer.begin_of_text().is_some()));
    if let Some(scores) = pieces.scores.take() {
        pieces.put("scores", Metadata::Array(Array::F32(scores)));
    }
    let Pieces { tokens, kinds, mut entries, .. } = pieces;
    entries.push(("tokenizer.ggml.tokens".to_owned(), Metadata::Array(Array::String(tokens))));
    entries.push(("tokenizer.ggml.token_type".to_owned(), Metadata::Array(Array::I32(kinds))));
    if let Some(template) = config.get("chat_template").and_then(Value::as_str) {
        entries.push(("tokenizer.chat_template".to_owned(), text(template)));
    }
    Ok(entries)
}

/// The pre-tokenizer that a byte-level tokenizer has, by the name that GGUF gives it.
fn kind_of(whole: &Value) -> Option<&'static str> {
    let cutting = &whole["pre_tokenizer"];
    if !whole["normalizer"].is_null() && whole["normalizer"]["type"] != "NFC" {
        return None;
    }
    if cutting["type"] == "ByteLevel" {
        return (cutting["use_regex"] != false && cutting["add_prefix_space"] != true).then_some("gpt-2");
    }
    let parts = cutting["pretokenizers"].as_array()?;
    let [first, last] = parts.as_slice() else { return None };
    if last["type"] != "ByteLevel" {
        return None;
    }
    if first["type"] == "Digits" {
        return (first["individual_digits"] == true).then_some("smollm");
    }
    let pattern = first["pattern"]["Regex"].as_str()?;
    // Both are written in more than one way, which differ in how they spell case; what differs is the numbers.
    let common = pattern.contains(r"[^\r\n\p{L}\p{N}]?\p{L}+") && pattern.contains(r"\s*[\r\n]+|\s+(?!\S)|\s+");
    match (common, pattern.contains(r"|\p{N}{1,3}|"), pattern.contains(r"|\p{N}|")) {
        (true, true, _) => Some("llama-bpe"),
        (true, _, true) => Some("qwen2"),
        _ => None,
    }
}

fn pairs(tokenizer: &Tokenizer, whole: &Value, pieces: &mut Pieces) -> Result<(), CorpusError> {
    let model = &whole["model"];
    for (token, id) in model["vocab"].as_object().into_iter().flatten() {
        pieces.set(id.as_u64().unwrap_or(u64::MAX) as usize, token, NORMAL);
    }
    let merges = model["merges"].as_array().into_iter().flatten();
    let merges: Vec<[&str; 2]> = merges
        .filter_map(|pair| match pair.as_str() {
            Some(pair) => pair.split_once(' ').map(|(left, right)| [left, right]),
            None => Some([pair[0].as_str()?, pair[1].as_str()?]),
        })
        .collect();
    if byte_level::decodes_bytes(&tokenizer.inner.model) {
        let kind = kind_of(whole).ok_or_else(|| no("this pre-tokenizer"))?;
        pieces.put("model", text("gpt2"));
        pieces.put("pre", text(kind));
        let merges = merges.iter().map(|[left, right]| format!("{left} {right}")).collect();
        pieces.put("merges", Metadata::Array(Array::String(merges)));
        return Ok(());
    }
    if model["byte_fallback"] != true || !whole["pre_tokenizer"].is_null() {
        return Err(no("BPE that is neither byte-level nor SentencePiece's"));
    }
    pieces.put("model", text("llama"));
    pieces.put("pre", text("default"));
    pieces.mark_bytes();
    // The pieces of earlier merges have the higher scores.
    let mut scores = vec![-(merges.len() as f32) - 1.0; pieces.tokens.len()];
    for (rank, [left, right]) in merges.iter().enumerate().rev() {
        if let Some(id) = tokenizer.token_id(&format!("{left}{right}")) {
            scores[id as usize] = -(rank as f32);
        }
    }
    pieces.scores = Some(scores);
    pieces.put("add_space_prefix", Metadata::Bool(whole["normalizer"].to_string().contains("Prepend")));
    Ok(())
}

fn unigram(whole: &Value, pieces: &mut Pieces) -> Result<(), CorpusError> {
    let normalizer = &whole["normalizer"];
    let steps = normalizer["normalizers"].as_array().map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    let known = |step: &Value| step.is_null() || step["type"] == "Strip" || step["type"] == "Replace";
    if !steps.iter().all(known) {
        return Err(no("the way in which this tokenizer normalizes text"));
    }
    let mut scores = vec![0.0; pieces.tokens.len()];
    for (id, piece) in whole["model"]["vocab"].as_array().into_iter().flatten().enumerate() {
        pieces.set(id, piece[0].as_str().unwrap_or_default(), NORMAL);
        if let Some(score) = scores.get_mut(id) {
            *score = piece[1].as_f64().unwrap_or(0.0) as f32;
        }
    }
    pieces.mark_bytes();
    if let Some(id) = whole["model"]["unk_id"].as_u64() {
        pieces.kinds[id as usize] = UNKNOWN;
        pieces.put("unknown_token_id", Metadata::U32(id as u32));
    }
    pieces.put("model", text("t5"));
    pieces.put("pre", text("default"));
    pieces.put("remove_extra_whitespaces", Metadata::Bool(whole["normalizer"].to_string().contains("Replace")));
    pieces.put("add_space_prefix", Metadata::Bool(whole["pre_tokenizer"].to_string().contains("\"always\"")));
    pieces.scores = Some(scores);
    Ok(())
}
