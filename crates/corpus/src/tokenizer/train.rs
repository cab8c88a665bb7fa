//! Training a tokenizer, the same from the same text every time.
//!
//! `tokenizers` trains from word counts; those are counted and ordered here (see `words`). Three of its
//! habits would make two runs differ, and each is met where it arises: `WordPiece` numbers its `##` letters in
//! the order of a hash table, unigram sums probabilities in the order in which threads finish, and unigram
//! hands out the scores of rare characters in the order of a hash table.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NFC};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::Split;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    ProgressFormat, SplitDelimiterBehavior,
};

use super::words::{Cutting, count_words};
use super::{END_OF_TEXT, Tokenizer, TokenizerKind, byte_level};
use crate::error::CorpusError;

const WORDPIECE_SPECIAL: [&str; 5] = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"];
const UNIGRAM_SPECIAL: [&str; 2] = [UNIGRAM_UNKNOWN, END_OF_TEXT];
const UNIGRAM_UNKNOWN: &str = "<unk>";
const WORD_SPECIAL: [&str; 3] = ["<PAD>", "<EOS>", "<UNK>"];
/// Words that unigram's suffix array is built over, the most frequent ones.
const MOST_UNIGRAM_WORDS: usize = 1 << 20;

/// Trains a tokenizer of `vocabulary` tokens (special tokens included) on texts.
///
/// `progress` sees the documents and bytes read so far. With too little text for the vocabulary asked for,
/// the tokenizer has fewer tokens: compare [`Tokenizer::vocabulary`]. The texts are streamed; what is held
/// are their distinct words, at most about a gigabyte.
pub fn train_tokenizer(
    kind: TokenizerKind,
    vocabulary: usize,
    framing: Framing,
    texts: impl Iterator<Item = Result<String, CorpusError>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Tokenizer, CorpusError> {
    let extra = framing.special_tokens(kind);
    let least = match kind {
        TokenizerKind::Bpe => 257,
        TokenizerKind::WordPiece | TokenizerKind::Unigram => 32,
        TokenizerKind::Word => WORD_SPECIAL.len() + 1,
    };
    let least = least + extra.len();
    if vocabulary < least || vocabulary > 1 << 24 {
        return Err(CorpusError::invalid(
            format!("a {kind} vocabulary of {vocabulary} tokens is not possible"),
            format!("use {least} to 16,777,216; 4,096 to 50,000 are usual"),
        ));
    }
    let cutting = cutting_of(kind)?;
    let words = count_words(&cutting, texts, progress)?;
    if words.is_empty() {
        return Err(CorpusError::tokenizer(None, "no text to train on", "check the files that it is trained on"));
    }
    let vocabulary = vocabulary - extra.len();
    let model = match kind {
        TokenizerKind::Bpe => train_bpe(vocabulary, words)?,
        TokenizerKind::WordPiece => train_wordpiece(vocabulary, words)?,
        TokenizerKind::Unigram => train_unigram(vocabulary, words)?,
        TokenizerKind::Word => train_word(vocabulary, words)?,
    };
    assemble(kind, model, cutting, framing, &extra)
}

fn wrong(error: impl std::fmt::Display) -> CorpusError {
    CorpusError::tokenizer(None, format!("training failed: {error}"), "try another vocabulary size or kind")
}

fn cutting_of(kind: TokenizerKind) -> Result<Cutting, CorpusError> {
    Ok(match kind {
        TokenizerKind::Bpe => Cutting::ByteLevel,
        TokenizerKind::WordPiece => {
            Cutting::General(Some(BertNormalizer::new(true, true, None, false).into()), BertPreTokenizer.into())
        }
        TokenizerKind::Unigram => {
            let lines = Split::new("\n", SplitDelimiterBehavior::Isolated, false).map_err(wrong)?;
            let spaces = Metaspace::new('\u{2581}', PrependScheme::Never, true);
            Cutting::General(Some(NFC.into()), Sequence::new(vec![lines.into(), spaces.into()]).into())
        }
        TokenizerKind::Word => Cutting::General(Some(NFC.into()), Whitespace {}.into()),
    })
}

fn specials(names: &[&str]) -> Vec<AddedToken> {
    names.iter().map(|&name| AddedToken::from(name, true)).collect()
}

/// Pair counts in `tokenizers` are `i32`: counts of a large corpus are scaled to fit.
fn scale(words: &mut [(String, u64)]) {
    let total: u64 = words.iter().map(|(word, count)| count.saturating_mul(word.len() as u64)).sum();
    let divisor = total.div_ceil(i32::MAX as u64).max(1);
    for (_, count) in words {
        *count = (*count / divisor).max(1);
    }
}

fn bpe_trainer(vocabulary: usize) -> tokenizers::models::bpe::BpeTrainerBuilder {
    BpeTrainer::builder()
        .vocab_size(vocabulary)
        .min_frequency(2)
        .show_progress(false)
        .progress_format(ProgressFormat::Silent)
}

fn train_bpe(vocabulary: usize, mut words: Vec<(String, u64)>) -> Result<ModelWrapper, CorpusError> {
    scale(&mut words);
    let trainer = bpe_trainer(vocabulary)
        .special_tokens(specials(&[END_OF_TEXT]))
        .initial_alphabet(byte_level::alphabet().collect::<HashSet<char>>())
        .build();
    let mut model = BPE::default();
    let counts = words.into_iter().map(|(word, count)| (word.into(), count)).collect();
    trainer.do_train(&counts, &mut model).map_err(wrong)?;
    Ok(model.into())
}

/// The most frequent characters whose tokens fit into `budget`, where a character costs `cost` tokens.
fn frequent_characters(words: &[(String, u64)], budget: usize, cost: impl Fn(char) -> usize) -> HashSet<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for (word, count) in words {
        for character in word.chars() {
            *counts.entry(character).or_default() += count;
        }
    }
    let mut ordered: Vec<(char, u64)> = counts.into_iter().collect();
    ordered.sort_unstable_by_key(|&(character, count)| (std::cmp::Reverse(count), character));
    let mut left = budget;
    ordered
        .into_iter()
        .map_while(|(character, _)| {
            left = left.checked_sub(cost(character))?;
            Some(character)
        })
        .collect()
}

fn train_wordpiece(vocabulary: usize, mut words: Vec<(String, u64)>) -> Result<ModelWrapper, CorpusError> {
    scale(&mut words);
    let inner: HashSet<char> = words.iter().flat_map(|(word, _)| word.chars().skip(1)).collect();
    let budget = (vocabulary - WORDPIECE_SPECIAL.len()) * 9 / 10;
    let kept = frequent_characters(&words, budget, |character| 1 + usize::from(inner.contains(&character)));
    words.retain(|(word, _)| word.chars().all(|character| kept.contains(&character)));
    let mut continued: Vec<char> = inner.intersection(&kept).copied().collect();
    continued.sort_unstable();
    // Given to the trainer as special tokens only to fix their order; the model knows no special tokens.
    let ordered = specials(&WORDPIECE_SPECIAL)
        .into_iter()
        .chain(continued.iter().map(|c| AddedToken::from(format!("##{c}"), true)));
    let trainer =
        bpe_trainer(vocabulary).special_tokens(ordered.collect()).continuing_subword_prefix("##".to_owned()).build();
    let mut model = BPE::default();
    let counts = words.into_iter().map(|(word, count)| (word.into(), count)).collect();
    trainer.do_train(&counts, &mut model).map_err(wrong)?;
    Ok(WordPiece::from_bpe(&model).into())
}

fn train_unigram(vocabulary: usize, mut words: Vec<(String, u64)>) -> Result<ModelWrapper, CorpusError> {
    if words.len() > MOST_UNIGRAM_WORDS {
        words.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        words.truncate(MOST_UNIGRAM_WORDS);
        words.sort_unstable();
    }
    let total: u64 = words.iter().map(|&(_, count)| count).sum();
    let divisor = total.div_ceil(u32::MAX as u64 / 2).max(1);
    let kept = frequent_characters(&words, (vocabulary - UNIGRAM_SPECIAL.len()) * 9 / 10, |_| 1);
    // The trainer separates words by NUL.
    let known = |character: char| character != '\0' && kept.contains(&character);
    let sentences: Vec<(String, u32)> = words
        .iter()
        .filter(|(word, _)| word.chars().all(known))
        .map(|(word, count)| (word.clone(), (count / divisor).clamp(1, u32::MAX as u64 / 2) as u32))
        .collect();
    if sentences.is_empty() {
        return Err(CorpusError::tokenizer(None, "no words left to train on", "ask for a larger vocabulary"));
    }
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        // The end of text stays outside the model, which would find it in text as any other piece.
        .vocab_size(vocabulary as u32 - 1)
        .special_tokens(specials(&[UNIGRAM_UNKNOWN]))
        .unk_token(Some(UNIGRAM_UNKNOWN.to_owned()))
        .build()
        .map_err(wrong)?;
    // One thread: floating-point sums then always have the same order.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(wrong)?;
    let mut model = Unigram::default();
    pool.install(|| trainer.do_train(sentences, &mut model)).map_err(wrong)?;
    let mut pieces: Vec<(String, f64)> = model.iter().cloned().collect();
    order_pieces(&mut pieces[1..]);
    Ok(Unigram::from(pieces, Some(0), false).map_err(wrong)?.into())
}

/// Orders pieces by score and text, and gives the artificial scores of rare characters out anew.
///
/// The trainer gives characters that it dropped the lowest score plus 0, 0.0001, 0.0002, …, in the order of
/// a hash table.
fn order_pieces(pieces: &mut [(String, f64)]) {
    let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let mut rare: Vec<usize> = Vec::new();
    let mut penalty = 0.0;
    loop {
        let before = rare.len();
        let score = lowest + penalty;
        rare.extend((0..pieces.len()).filter(|&at| pieces[at].1 == score && pieces[at].0.chars().nth(1).is_none()));
        if rare.len() == before {
            break;
        }
        penalty += 0.0001;
    }
    let mut characters: Vec<String> = rare.iter().map(|&at| pieces[at].0.clone()).collect();
    let mut scores: Vec<f64> = rare.iter().map(|&at| pieces[at].1).collect();
    characters.sort_unstable();
    scores.sort_by(f64::total_cmp);
    for ((&at, character), score) in rare.iter().zip(characters).zip(scores) {
        pieces[at] = (character, score);
    }
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}

fn train_word(vocabulary: usize, mut words: Vec<(String, u64)>) -> Result<ModelWrapper, CorpusError> {
    words.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let words = words.into_iter().map(|(word, _)| word).filter(|word| !WORD_SPECIAL.contains(&word.as_str()));
    let vocab = WORD_SPECIAL.iter().map(|&name| name.to_owned()).chain(words).take(vocabulary).zip(0u32..).collect();
    let model = WordLevel::builder().vocab(vocab).unk_token(WORD_SPECIAL[2].to_owned()).build().map_err(wrong)?;
    Ok(model.into())
}

/// What a tokenizer has beside its kind's own special tokens. They count within the vocabulary that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Nothing.
    #[default]
    Plain,
    /// For encoders with decoders: a token that fills short sequences, and an end behind every text.
    Pairs,
    /// For conversations in the layout `chatml`: what begins and what ends a message, which also ends a text.
    Chat,
    /// As pairs, and T5's hundred sentinels `<extra_id_0>` to `<extra_id_99>`, which stand for spans that were cut out.
    Spans,
}

/// What begins and what ends a message in [`Framing::Chat`].
const MESSAGES: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
/// Sentinels of [`Framing::Spans`].
const SENTINELS: usize = 100;
/// The token that fills short sequences, where the kind has none of its own.
const PADDING: &str = "<pad>";

impl Framing {
    fn special_tokens(self, kind: TokenizerKind) -> Vec<String> {
        let own = matches!(kind, TokenizerKind::WordPiece | TokenizerKind::Word);
        let padding = (matches!(self, Self::Pairs | Self::Spans) && !own).then(|| PADDING.to_owned());
        let messages = if self == Self::Chat { &MESSAGES[..] } else { &[] };
        let sentinels = if self == Self::Spans { SENTINELS } else { 0 };
        (0..sentinels)
            .map(|number| format!("<extra_id_{number}>"))
            .chain(padding)
            .chain(messages.iter().map(|&name| name.to_owned()))
            .collect()
    }
}

fn assemble(
    kind: TokenizerKind,
    model: ModelWrapper,
    cutting: Cutting,
    framing: Framing,
    extra: &[String],
) -> Result<Tokenizer, CorpusError> {
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let (normalizer, cutter): (Option<NormalizerWrapper>, PreTokenizerWrapper) = match cutting {
        Cutting::ByteLevel => (None, ByteLevel::new(false, true, true).into()),
        Cutting::General(normalizer, cutter) => (normalizer, cutter),
    };
    tokenizer.with_normalizer(normalizer).map_err(wrong)?;
    tokenizer.with_pre_tokenizer(Some(cutter));
    let (names, decoder): (&[&str], Option<DecoderWrapper>) = match kind {
        TokenizerKind::Bpe => (&[END_OF_TEXT], Some(ByteLevel::new(false, true, true).into())),
        TokenizerKind::WordPiece => (&WORDPIECE_SPECIAL, Some(WordPieceDecoder::new("##".to_owned(), true).into())),
        TokenizerKind::Unigram => {
            (&UNIGRAM_SPECIAL, Some(Metaspace::new('\u{2581}', PrependScheme::Never, true).into()))
        }
        TokenizerKind::Word => (&WORD_SPECIAL, None),
    };
    tokenizer.with_decoder(decoder);
    let names: Vec<&str> = names.iter().copied().chain(extra.iter().map(String::as_str)).collect();
    tokenizer.add_special_tokens(specials(&names)).map_err(wrong)?;
    let mut config = configuration(kind);
    if framing == Framing::Chat {
        config["eos_token"] = json!(MESSAGES[1]);
    }
    if let Some(padding) = extra.iter().find(|name| *name == PADDING) {
        config["pad_token"] = json!(padding);
    }
    let post: Option<PostProcessorWrapper> = match kind {
        TokenizerKind::Bpe => Some(ByteLevel::new(false, false, true).into()),
        TokenizerKind::WordPiece => {
            let pair = |name: &str| (name.to_owned(), tokenizer.token_to_id(name).unwrap_or_default());
            Some(BertProcessing::new(pair("[SEP]"), pair("[CLS]")).into())
        }
        _ => None,
    };
    let post = match (framing, config["eos_token"].as_str()) {
        (Framing::Pairs | Framing::Spans, Some(end)) => {
            let id = tokenizer.token_to_id(end).unwrap_or_default();
            let frame = TemplateProcessing::builder()
                .try_single(format!("$A {end}"))
                .map_err(wrong)?
                .special_tokens(vec![(end, id)])
                .build()
                .map_err(wrong)?;
            Some(frame.into())
        }
        _ => post,
    };
    tokenizer.with_post_processor(post);
    Tokenizer::new(tokenizer, config, None)
}

fn configuration(kind: TokenizerKind) -> Value {
    let class = "PreTrainedTokenizerFast";
    match kind {
        TokenizerKind::Bpe => json!({
            "tokenizer_class": class, "add_prefix_space": false, "clean_up_tokenization_spaces": false,
            "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT,
        }),
        TokenizerKind::WordPiece => json!({
            "tokenizer_class": class, "clean_up_tokenization_spaces": true,
            "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]",
            "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        }),
        TokenizerKind::Unigram => json!({
            "tokenizer_class": class, "clean_up_tokenization_spaces": false,
            "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": "<unk>",
        }),
        TokenizerKind::Word => json!({
            "tokenizer_class": class, "clean_up_tokenization_spaces": false,
            "bos_token": "<EOS>", "eos_token": "<EOS>", "unk_token": "<UNK>", "pad_token": "<PAD>",
        }),
    }
}
