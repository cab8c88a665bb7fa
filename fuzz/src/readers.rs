//! Every reader of files that others wrote, as a function of bytes: what the fuzz targets run, and what
//! `crates/loam/tests/mutated_files.rs` runs for some seconds in every test. None may panic, hang, or take memory that
//! the bytes do not have. What they return does not matter.
//!
//! Where a reader takes a folder, the first byte says which of its files the rest is, and the others are whole.

use loam_corpus::Tokenizer;
use loam_models::weights::{Precision, Tensors};
use loam_models::{CausalModel, Gpt, GptConfig, LanguageModel};
use loam_nn::burn::tensor::Device;
use loam_tasks::chat::{ChatTemplate, Message};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// A reader, by the name of its target.
pub type Reader = fn(&[u8]);

/// All of them.
pub const READERS: [(&str, Reader); 11] = [
    ("gguf", gguf),
    ("safetensors", safetensors),
    ("index", index),
    ("pytorch", pytorch),
    ("config", config),
    ("tokenizer", tokenizer),
    ("template", template),
    ("precision", precision),
    ("word2vec", word2vec),
    ("fasttext", fasttext),
    ("documents", documents),
];

thread_local! {
    /// A folder of this thread, made once: making one for each input would cost more than reading it.
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A folder of this name below this thread's; `fill` fills it when it is new.
fn folder(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        let parent = folder.get_or_insert_with(|| tempfile::tempdir().expect("a folder for scratch files"));
        let path = parent.path().join(name);
        if !path.exists() {
            std::fs::create_dir(&path).expect("a folder");
            fill(&path);
        }
        path
    })
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a scratch file");
}

fn read_tensors(path: &Path) {
    let Ok(tensors) = Tensors::open(path) else { return };
    for name in tensors.names().unwrap_or_default() {
        let _ = tensors.get(&name);
        let _ = tensors.raw(&name);
    }
}

/// The smallest GPT, whose files are a few kilobytes.
fn small_model(folder: &Path) {
    let model = Gpt::new(GptConfig::new(7, 4, 4, 1, 2, 0.0), 1, &Device::flex()).expect("a small model");
    model.save(folder, None).expect("a saved model");
}

/// Header, metadata, and every tensor dequantized.
pub fn gguf(bytes: &[u8]) {
    let _ = loam_gguf::Gguf::check(bytes);
}

/// A file of weights with every tensor read.
pub fn safetensors(bytes: &[u8]) {
    let path = folder("safetensors", |_| {}).join("model.safetensors");
    put(&path, bytes);
    read_tensors(&path);
}

/// The index of shards, beside two of them.
pub fn index(bytes: &[u8]) {
    let at = folder("index", |at| {
        let tensor = |name: &str| (name.to_owned(), vec![2], vec![1.0, 2.0]);
        for (file, name) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
            loam_models::weights::write_tensors(&at.join(file), &[tensor(name)]).expect("a shard");
        }
    });
    put(&at.join("model.safetensors.index.json"), bytes);
    read_tensors(&at);
}

/// What `torch.save` writes, in both of its containers.
pub fn pytorch(bytes: &[u8]) {
    let path = folder("pytorch", |_| {}).join("pytorch_model.bin");
    put(&path, bytes);
    read_tensors(&path);
}

/// `config.json` beside the weights of a small GPT.
pub fn config(bytes: &[u8]) {
    let at = folder("config", small_model);
    put(&at.join("config.json"), bytes);
    let _ = CausalModel::load(&at, &Device::flex());
    let _ = loam_models::Bert::load(&at, &Device::flex());
    let _ = loam_models::SourceToTarget::load(&at, &Device::flex());
}

/// Files that tokenizers are stored in, in the order of the first byte.
const TOKENIZER_FILES: [&str; 5] = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt"];

/// One of a tokenizer's files alone, or beside a whole `tokenizer.json`; then a text there and back.
pub fn tokenizer(bytes: &[u8]) {
    let Some((&which, rest)) = bytes.split_first() else { return };
    let at = folder("tokenizer", |_| {});
    for file in TOKENIZER_FILES {
        let _ = std::fs::remove_file(at.join(file));
    }
    put(&at.join("merges.txt"), b"#version: 0.2\na b\n");
    put(&at.join("vocab.json"), br#"{"a":0,"b":1,"ab":2,"<|endoftext|>":3}"#);
    let file = TOKENIZER_FILES[usize::from(which) % TOKENIZER_FILES.len()];
    if file == "vocab.txt" {
        let _ = std::fs::remove_file(at.join("vocab.json"));
        let _ = std::fs::remove_file(at.join("merges.txt"));
    }
    put(&at.join(file), rest);
    if let Ok(tokenizer) = Tokenizer::open(&at) {
        let ids = tokenizer.encode("abba 7, 数字 <|endoftext|>");
        tokenizer.decode(&ids);
        tokenizer.encode_with_special_tokens("ab");
        tokenizer.encode_with_offsets("ab a");
        let _ = tokenizer.gguf_metadata();
        for id in [0, 1, 2, 1_000_000] {
            tokenizer.token(id);
            tokenizer.token_bytes(id);
        }
    }
}

/// A chat template, over a conversation.
pub fn template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let tokens = vec![("bos_token".to_owned(), "<s>".to_owned()), ("eos_token".to_owned(), "</s>".to_owned())];
    if let Ok(template) = ChatTemplate::new(source.to_owned(), tokens, "fuzz".to_owned()) {
        let messages =
            [Message::new("system", "be"), Message::new("user", "a {{ 1 }}"), Message::new("assistant", "b")];
        let _ = template.render(&messages, true);
        let _ = template.render(&messages[1..], false);
    }
}

/// Numbers of 16 and 32 bits to f32, and f32 to them and back.
pub fn precision(bytes: &[u8]) {
    let wide: Vec<f32> = Precision::F32.element().to_f32(bytes).unwrap_or_default();
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        let element = precision.element();
        let _ = element.to_f32(bytes);
        let there = precision.write(&wide);
        let back = element.to_f32(&there).expect("a float");
        assert_eq!(back.len(), wide.len());
        for (&before, &after) in wide.iter().zip(&back) {
            assert_eq!(before.is_nan(), after.is_nan());
            assert_eq!(precision.overflows(before), before.is_finite() && after.is_infinite());
            // What was rounded once is exact.
            assert!(after.is_nan() || element.to_f32(&precision.write(&[after])) == Some(vec![after]));
        }
    }
}

/// Word vectors, or, where the first byte is odd, questions about some.
pub fn word2vec(bytes: &[u8]) {
    use loam_models::word2vec::{Questions, WordVectors};
    let Some((&which, rest)) = bytes.split_first() else { return };
    let path = Path::new("vectors");
    let whole = b"3 2\na 1 0\nA 0 1\nb 1 1\n";
    let (file, questions) = if which % 2 == 0 { (rest, &b": s\na b A B\nb a b c\n"[..]) } else { (&whole[..], rest) };
    let Ok((vectors, _)) = WordVectors::from_bytes(file, path) else { return };
    let Ok(text) = std::str::from_utf8(questions) else { return };
    if let Ok(questions) = Questions::parse(text) {
        vectors.evaluate(&questions, 100, true);
        vectors.evaluate(&questions, 2, false);
    }
    if !vectors.is_empty() {
        vectors.nearest(&[0], &[], 3, None);
    }
}

/// A model of fastText, and what it says of some texts.
pub fn fasttext(bytes: &[u8]) {
    let Ok(model) = loam_corpus::FastText::from_bytes(bytes.to_vec(), Path::new("model.bin")) else { return };
    let long = "wind 风\n".repeat(200);
    for text in ["", "the wind blew from the west", "ein Haus, дом 房子\0x __label__en </s> y", &long] {
        model.best(text);
        for label in [0, model.labels().len() - 1] {
            model.probability(text, label);
        }
    }
}

/// Kinds of files that hold documents, in the order of the first byte.
const DOCUMENT_FILES: [&str; 13] = [
    "a.txt",
    "a.jsonl",
    "a.json",
    "a.csv",
    "a.tsv",
    "a.parquet",
    "a.arrow",
    "a.html",
    "a.xml",
    "a.warc",
    "a.warc.gz",
    "a.txt.bz2",
    "a.txt.zst",
];

/// A file of documents, read to its end past what is broken.
pub fn documents(bytes: &[u8]) {
    use loam_corpus::{Bytes, Damage, Documents, ReadOptions};
    let Some((&which, rest)) = bytes.split_first() else { return };
    let path = folder("documents", |_| {}).join(DOCUMENT_FILES[usize::from(which) % DOCUMENT_FILES.len()]);
    put(&path, rest);
    let bytes = Bytes { damage: Damage::Replace, ..Bytes::default() };
    let options = ReadOptions { bytes, metadata: which >= 128, ..ReadOptions::default() };
    for document in Documents::new(vec![path], options).past_errors() {
        std::hint::black_box(document.is_ok());
    }
}
