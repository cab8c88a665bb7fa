//! Tokenizers from before `tokenizer.json`: BERT's `vocab.txt`, and the `vocab.json` with `merges.txt` of GPT-2 and
//! RoBERTa. They are put together as transformers puts them together.

use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::CorpusError;

/// The largest vocabulary that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// The tokenizer of a folder without a `tokenizer.json`.
pub(super) fn open(folder: &Path, config: &Value) -> Result<Tokenizer, CorpusError> {
    let there = |name: &str| folder.join(name).is_file();
    if there("vocab.txt") {
        return wordpiece(folder, config);
    }
    if there("vocab.json") && there("merges.txt") {
        return byte_pairs(folder, config);
    }
    let sentencepiece = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm"];
    let (message, hint) = match sentencepiece.iter().find(|name| there(name)) {
        Some(name) => (
            format!("there is no tokenizer.json, and {name} is SentencePiece's own format"),
            "make a tokenizer.json of it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) in transformers",
        ),
        None if there("vocab.json") => {
            ("vocab.json is there without merges.txt".to_owned(), "both are needed where there is no tokenizer.json")
        }
        None => (
            "there is no tokenizer.json, no vocab.txt, and no vocab.json with merges.txt".to_owned(),
            "put the model's tokenizer.json into the folder",
        ),
    };
    Err(CorpusError::tokenizer(Some(folder), message, hint))
}

fn check_size(path: &Path) -> Result<(), CorpusError> {
    let size = std::fs::metadata(path).map_err(CorpusError::io("read", path))?.len();
    if size > LARGEST {
        let message = format!("{size} bytes are too many for a vocabulary");
        return Err(CorpusError::tokenizer(Some(path), message, "fetch the file again"));
    }
    Ok(())
}

/// A special token: what the configuration calls it, or the usual one.
fn special(config: &Value, role: &str, usual: &str) -> String {
    let token = config.get(format!("{role}_token"));
    let text = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
    text.unwrap_or(usual).to_owned()
}

fn add_special(tokenizer: &mut Tokenizer, tokens: &[String], mask: Option<&str>) -> tokenizers::Result<()> {
    // The mask takes the space before it, as in transformers' RoBERTa.
    let added = tokens.iter().map(|token| AddedToken::from(token.clone(), true).lstrip(mask == Some(token.as_str())));
    tokenizer.add_special_tokens(added.collect::<Vec<_>>()).map(drop)
}

fn wordpiece(folder: &Path, config: &Value) -> Result<Tokenizer, CorpusError> {
    let path = folder.join("vocab.txt");
    check_size(&path)?;
    let wrong = |error: &dyn std::fmt::Display| {
        CorpusError::tokenizer(Some(&path), format!("not a WordPiece vocabulary: {error}"), "one token a line, UTF-8")
    };
    let roles = [("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]")];
    let specials: Vec<String> = roles.iter().map(|(role, usual)| special(config, role, usual)).collect();
    let bytes = std::fs::read(&path).map_err(CorpusError::io("read", &path))?;
    let vocabulary = WordPiece::read_bytes(&bytes).map_err(|error| wrong(&error))?;
    let id = |token: &str| {
        let found = vocabulary.get(token).copied();
        found.ok_or_else(|| wrong(&format!("the special token {token} is not in it")))
    };
    let (sep, cls) = ((specials[1].clone(), id(&specials[1])?), (specials[3].clone(), id(&specials[3])?));
    id(&specials[0])?;
    let model =
        WordPiece::builder().vocab(vocabulary).unk_token(specials[0].clone()).build().map_err(|error| wrong(&error))?;
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(
            true,
            flag("tokenize_chinese_chars").unwrap_or(true),
            flag("strip_accents"),
            flag("do_lower_case").unwrap_or(true),
        )))
        .map_err(|error| wrong(&error))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    let known: Vec<String> = specials.into_iter().filter(|token| tokenizer.token_to_id(token).is_some()).collect();
    add_special(&mut tokenizer, &known, None).map_err(|error| wrong(&error))?;
    Ok(tokenizer)
}

fn byte_pairs(folder: &Path, config: &Value) -> Result<Tokenizer, CorpusError> {
    let (vocabulary, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    check_size(&vocabulary)?;
    check_size(&merges)?;
    let wrong = |error: &dyn std::fmt::Display| {
        let message = format!("vocab.json and merges.txt are no byte-level BPE: {error}");
        CorpusError::tokenizer(Some(folder), message, "fetch both again")
    };
    let [names, pairs] = [&vocabulary, &merges].map(|path| path.to_str().map(str::to_owned));
    let (Some(names), Some(pairs)) = (names, pairs) else { return Err(wrong(&"their path is not UTF-8")) };
    let model = BPE::from_file(&names, &pairs).build().map_err(|error| wrong(&error))?;
    let mut tokenizer = Tokenizer::new(model);
    let space = config.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(space, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    // RoBERTa frames its sequences; GPT-2 does not.
    let frame = [special(config, "cls", "<s>"), special(config, "sep", "</s>")];
    let ids = frame.each_ref().map(|token| tokenizer.token_to_id(token));
    if let [Some(cls), Some(sep)] = ids {
        let [cls, sep] = [(frame[0].clone(), cls), (frame[1].clone(), sep)];
        let processing = RobertaProcessing::new(sep, cls).trim_offsets(true).add_prefix_space(space);
        tokenizer.with_post_processor(Some(processing));
        let mask = special(config, "mask", "<mask>");
        let usual =
            [("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>"), ("sep", "</s>"), ("pad", "<pad>"), ("cls", "<s>")];
        let mut specials: Vec<String> = usual.iter().map(|(role, usual)| special(config, role, usual)).collect();
        specials.push(mask.clone());
        specials.retain(|token| tokenizer.token_to_id(token).is_some());
        add_special(&mut tokenizer, &specials, Some(&mask)).map_err(|error| wrong(&error))?;
    } else {
        tokenizer.with_post_processor(Some(ByteLevel::new(true, false, true)));
        let end = special(config, "eos", super::END_OF_TEXT);
        if tokenizer.token_to_id(&end).is_some() {
            add_special(&mut tokenizer, &[end], None).map_err(|error| wrong(&error))?;
        }
    }
    Ok(tokenizer)
}
