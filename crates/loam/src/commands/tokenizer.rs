//! `loam tokenizer train`.

use super::Misuse;
use crate::arguments::{Global, Kind, TokenizerTrainArguments};
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_corpus::{Framing, ReadOptions, TokenizerKind, normalize, read_documents, train_tokenizer};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Trained {
    kind: String,
    vocabulary: usize,
    path: String,
    documents: u64,
    bytes: u64,
}

pub fn train(arguments: &TokenizerTrainArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let kind = match arguments.kind {
        Kind::Bpe => TokenizerKind::Bpe,
        Kind::Wordpiece => TokenizerKind::WordPiece,
        Kind::Unigram => TokenizerKind::Unigram,
        Kind::Word => TokenizerKind::Word,
    };
    if arguments.out.is_file() {
        return Err(Misuse(format!("{} is a file; -o takes a folder", arguments.out.display())).into());
    }
    let options = ReadOptions {
        text_field: arguments.text_field.clone(),
        bytes: arguments.reading.bytes(),
        ..ReadOptions::default()
    };
    let documents = read_documents(&arguments.paths, &options)?;
    let texts = documents.map(|document| document.map(|document| normalize(&document.text).into_owned()));
    let mut watcher = Watcher::new(terminal);
    let mut read = (0, 0);
    let tokenizer = train_tokenizer(kind, arguments.vocab, Framing::Plain, texts, &mut |documents, bytes| {
        read = (documents, bytes);
        watcher.doing(&format!("reading: {} documents, {} bytes", count(documents), count(bytes)));
    })?;
    watcher.done();
    tokenizer.save(&arguments.out)?;
    let vocabulary = tokenizer.vocabulary();
    if vocabulary < arguments.vocab {
        terminal.warning(format_args!(
            "the text is too small for {} ids; the tokenizer has {}",
            count(arguments.vocab as u64),
            count(vocabulary as u64)
        ));
    }
    let path = arguments.out.join("tokenizer.json").display().to_string();
    if terminal.json() {
        let trained = Trained { kind: kind.to_string(), vocabulary, path, documents: read.0, bytes: read.1 };
        terminal.result(serde_json::to_string(&trained)?)?;
    } else {
        terminal.say(format_args!(
            "{kind} of {} ids from {} documents, {} bytes",
            count(vocabulary as u64),
            count(read.0),
            count(read.1)
        ));
        terminal.result(path)?;
    }
    Ok(ExitCode::SUCCESS)
}
