//! The model that a recipe asks for, with its tokenizer.

use super::recipe::{Family, FineTuneRecipe};
use crate::answer::{Question, WINDOW};
use crate::classify::LabeledText;
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use crate::tag::TaggedSentence;
use loam_corpus::{Framing, Tokenizer, TokenizerKind, train_tokenizer};
use loam_models::bert::{SequenceBert, SpanBert};
use loam_models::lstm::{Cell, RecurrentConfig, RecurrentEncoder};
use loam_models::recurrent_classifier::{Pooling, RecurrentClassifier};
use loam_models::{
    Bert, BertConfig, Classifier, Labels, ModelError, RecurrentTagger, SequenceClassifier, Tagger, TextCnn,
    TextCnnConfig,
};
use loam_train::Session;
use loam_train::finetune::Settings;
use std::path::Path;

/// A classifier whose parameters are differentiable, and its tokenizer.
pub(super) fn classifier(
    recipe: &FineTuneRecipe,
    train: &[LabeledText],
    labels: Labels,
    settings: &Settings,
    session: &Session,
) -> Result<(Classifier, Tokenizer), TaskError> {
    let device = &session.device.clone().autodiff();
    let shape = &recipe.model;
    let seed = settings.seed;
    let Some(from) = &shape.from else {
        let family = shape.family.ok_or_else(|| {
            TaskError::Request(
                "say what is trained: a model that there is with --model, or a new one with --family textcnn, lstm, gru, rnn \
                 or bert"
                    .to_owned(),
            )
        })?;
        let tokenizer = tokenizer(recipe, || {
            train.iter().flat_map(|one| std::iter::once(one.text.clone()).chain(one.pair.clone()))
        })?;
        let vocabulary = tokenizer.vocabulary();
        let padding = tokenizer.special_id("pad_token", &["[PAD]", "<pad>", "<PAD>"]).map(|id| id as usize);
        let recurrent = |cell: Cell| -> Result<Classifier, ModelError> {
            let (context, width) = (shape.context.unwrap_or(256), shape.width.unwrap_or(128));
            let (layers, dropout) = (shape.layers.unwrap_or(1), shape.dropout.unwrap_or(0.5));
            let config = RecurrentConfig {
                bidirectional: true,
                tie_word_embeddings: false,
                ..RecurrentConfig::new(cell, vocabulary, context, width, layers, dropout)
            };
            Ok(RecurrentClassifier::new(config, Pooling::Max, labels.clone(), seed, device)?.into())
        };
        let model = match family {
            Family::TextCnn => {
                let mut config =
                    TextCnnConfig::new(vocabulary, shape.context.unwrap_or(256), shape.width.unwrap_or(128));
                config.pad_token_id = padding;
                config.dropout = shape.dropout.unwrap_or(config.dropout);
                TextCnn::new(config, labels, seed, device)?.into()
            }
            Family::Rnn => recurrent(Cell::Rnn)?,
            Family::Lstm => recurrent(Cell::Lstm)?,
            Family::Gru => recurrent(Cell::Gru)?,
            Family::Bert => {
                let (context, width) = (shape.context.unwrap_or(256), shape.width.unwrap_or(128));
                let (layers, heads) = (shape.layers.unwrap_or(2), shape.heads.unwrap_or(4));
                let dropout = shape.dropout.unwrap_or(0.1);
                let mut config = BertConfig::new(vocabulary, context, width, layers, heads, dropout);
                config.pad_token_id = padding.or(config.pad_token_id);
                SequenceBert::new(Bert::new(config, seed, device)?, labels, seed, device).into()
            }
        };
        return Ok((model, tokenizer));
    };
    if let Some(family) = shape.family {
        return Err(TaskError::Request(format!(
            "model.from = \"{from}\" has its family already; leave model.family = {family:?} out, or train a new model without \
             model.from"
        )));
    }
    let folder = model_folder(Path::new(from))?;
    let tokenizer = Tokenizer::open(&folder)?;
    let model = headed(&folder, labels, seed, device)?;
    belongs_to(&tokenizer, &folder, model.vocabulary())?;
    Ok((model, tokenizer))
}

/// The model of a folder with its own head, where that has these labels, and with a new one otherwise.
fn headed(folder: &Path, labels: Labels, seed: u64, device: &burn::tensor::Device) -> Result<Classifier, TaskError> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| ModelError::format(&path, format!("is not JSON: {error}")))?;
    let classes = config["architectures"].as_array();
    let classifies = classes.is_some_and(|classes| {
        classes.iter().filter_map(|class| class.as_str()).any(|class| class.ends_with("ForSequenceClassification"))
    });
    if classifies {
        let model = Classifier::load(folder, device)?;
        if *model.labels() == labels {
            return Ok(model);
        }
        return match model {
            Classifier::Bert(model) => Ok(SequenceBert::new(model.encoder().clone(), labels, seed, device).into()),
            Classifier::Recurrent(model) => {
                let pooling = model.pooling();
                Ok(RecurrentClassifier::on(model.encoder().clone(), pooling, labels, seed, device).into())
            }
            Classifier::TextCnn(model) => Err(TaskError::Request(format!(
                "{} has the labels {}, and the examples have {}; train a new one with --family textcnn",
                folder.display(),
                model.labels().names().join(", "),
                labels.names().join(", ")
            ))),
        };
    }
    match config["model_type"].as_str() {
        Some("rnn" | "lstm" | "gru") => {
            let body = RecurrentEncoder::load(folder, device)?;
            Ok(RecurrentClassifier::on(body, Pooling::Max, labels, seed, device).into())
        }
        _ => Ok(SequenceBert::new(Bert::load(folder, device)?, labels, seed, device).into()),
    }
}

/// A tagger whose parameters are differentiable, and its tokenizer.
pub(super) fn tagger(
    recipe: &FineTuneRecipe,
    train: &[TaggedSentence],
    labels: Labels,
    settings: &Settings,
    session: &Session,
) -> Result<(Tagger, Tokenizer), TaskError> {
    let device = &session.device.clone().autodiff();
    let (shape, seed) = (&recipe.model, settings.seed);
    let Some(from) = &shape.from else {
        let tokenizer = tokenizer(recipe, || train.iter().map(|sentence| sentence.words.join(" ")))?;
        let vocabulary = tokenizer.vocabulary();
        let (context, width) = (shape.context.unwrap_or(256), shape.width.unwrap_or(128));
        let recurrent = |cell: Cell| -> Result<Tagger, TaskError> {
            let (layers, dropout) = (shape.layers.unwrap_or(1), shape.dropout.unwrap_or(0.5));
            let config = RecurrentConfig {
                bidirectional: true,
                tie_word_embeddings: false,
                ..RecurrentConfig::new(cell, vocabulary, context, width, layers, dropout)
            };
            let crf = shape.crf.unwrap_or(true);
            Ok(Tagger::Recurrent(RecurrentTagger::new(config, crf, labels.clone(), seed, device)?))
        };
        let model = match shape.family {
            Some(Family::Rnn) => recurrent(Cell::Rnn)?,
            Some(Family::Lstm) => recurrent(Cell::Lstm)?,
            Some(Family::Gru) => recurrent(Cell::Gru)?,
            Some(Family::Bert) => {
                let (layers, heads) = (shape.layers.unwrap_or(2), shape.heads.unwrap_or(4));
                let dropout = shape.dropout.unwrap_or(0.1);
                let mut config = BertConfig::new(vocabulary, context, width, layers, heads, dropout);
                let padding = tokenizer.special_id("pad_token", &["[PAD]", "<pad>", "<PAD>"]);
                config.pad_token_id = padding.map(|id| id as usize).or(config.pad_token_id);
                Tagger::on(Bert::new(config, seed, device)?, labels, seed, device)
            }
            Some(Family::TextCnn) => {
                let message = "textcnn labels whole texts; take lstm, gru, rnn or bert to tag words";
                return Err(TaskError::Request(message.to_owned()));
            }
            None => {
                let message = "say what is trained: a model that there is with --model, or a new one with --family lstm, gru, rnn or bert";
                return Err(TaskError::Request(message.to_owned()));
            }
        };
        return Ok((model, tokenizer));
    };
    let folder = model_folder(Path::new(from))?;
    let tokenizer = Tokenizer::open(&folder)?;
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| ModelError::format(&path, format!("is not JSON: {error}")))?;
    let tags = config["architectures"].as_array().is_some_and(|classes| {
        classes.iter().filter_map(|class| class.as_str()).any(|class| class.ends_with("ForTokenClassification"))
    });
    let same = if tags { Some(Tagger::load(&folder, device)?).filter(|model| *model.labels() == labels) } else { None };
    let model = match (same, config["model_type"].as_str()) {
        (Some(model), _) => model,
        (None, Some("rnn" | "lstm" | "gru")) => {
            let body = RecurrentEncoder::load(&folder, device)?;
            Tagger::Recurrent(RecurrentTagger::on(body, shape.crf.unwrap_or(true), labels, seed, device))
        }
        (None, _) => Tagger::on(Bert::load(&folder, device)?, labels, seed, device),
    };
    belongs_to(&tokenizer, &folder, model.vocabulary())?;
    Ok((model, tokenizer))
}

/// A model that finds answers, whose parameters are differentiable, and its tokenizer.
pub(super) fn answerer(
    recipe: &FineTuneRecipe,
    train: &[Question],
    settings: &Settings,
    session: &Session,
) -> Result<(SpanBert, Tokenizer), TaskError> {
    let device = &session.device.clone().autodiff();
    let (shape, seed) = (&recipe.model, settings.seed);
    if let Some(from) = &shape.from {
        let folder = model_folder(Path::new(from))?;
        let tokenizer = Tokenizer::open(&folder)?;
        // A head that is there is gone on with.
        let model = match SpanBert::load(&folder, device) {
            Ok(model) => model,
            Err(_) => SpanBert::new(Bert::load(&folder, device)?, seed, device),
        };
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        return Ok((model, tokenizer));
    }
    if shape.family != Some(Family::Bert) {
        let message = "answers are found by an encoder: name one with --model, or train a new one with --family bert";
        return Err(TaskError::Request(message.to_owned()));
    }
    let mut seen = std::collections::BTreeSet::new();
    let texts: Vec<String> = train
        .iter()
        .flat_map(|question| {
            let context = seen.insert(question.context.clone()).then(|| question.context.to_string());
            context.into_iter().chain([question.question.clone()])
        })
        .collect();
    let mut recipe = recipe.clone();
    // Its pieces frame pairs.
    recipe.tokenizer.kind.get_or_insert(TokenizerKind::WordPiece);
    let tokenizer = tokenizer(&recipe, || texts.iter().cloned())?;
    let (context, width) = (shape.context.unwrap_or(WINDOW), shape.width.unwrap_or(128));
    let (layers, heads) = (shape.layers.unwrap_or(2), shape.heads.unwrap_or(4));
    let mut config =
        BertConfig::new(tokenizer.vocabulary(), context, width, layers, heads, shape.dropout.unwrap_or(0.1));
    let padding = tokenizer.special_id("pad_token", &["[PAD]", "<pad>", "<PAD>"]);
    config.pad_token_id = padding.map(|id| id as usize).or(config.pad_token_id);
    Ok((SpanBert::new(Bert::new(config, seed, device)?, seed, device), tokenizer))
}

/// The tokenizer of a new model.
fn tokenizer<I: Iterator<Item = String>>(
    recipe: &FineTuneRecipe,
    texts: impl Fn() -> I,
) -> Result<Tokenizer, TaskError> {
    if let Some(path) = &recipe.tokenizer.path {
        return Ok(Tokenizer::open(path)?);
    }
    let kind = recipe.tokenizer.kind.unwrap_or_else(|| {
        // Words of Chinese and Japanese have no spaces between them; BERT's pieces take each of their characters alone.
        let (mut spaced, mut unspaced) = (0_u64, 0_u64);
        for text in texts().take(2000) {
            for character in text.chars() {
                match character as u32 {
                    0x3040..=0x30ff | 0x3400..=0x9fff | 0x2_0000..=0x3_ffff => unspaced += 1,
                    _ if character.is_alphabetic() => spaced += 1,
                    _ => {}
                }
            }
        }
        if unspaced > spaced { TokenizerKind::WordPiece } else { TokenizerKind::Word }
    });
    let vocabulary = recipe.tokenizer.vocab.unwrap_or(10_000);
    Ok(train_tokenizer(kind, vocabulary, Framing::Plain, texts().map(Ok), &mut |_, _| {})?)
}
