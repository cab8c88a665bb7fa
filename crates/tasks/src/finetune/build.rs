//! The model that a recipe asks for, with its tokenizer.

use super::recipe::{Family, FineTuneRecipe};
use crate::classify::LabeledText;
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use loam_corpus::{Framing, Tokenizer, TokenizerKind, train_tokenizer};
use loam_models::bert::SequenceBert;
use loam_models::lstm::{Cell, RecurrentConfig, RecurrentEncoder};
use loam_models::recurrent_classifier::{Pooling, RecurrentClassifier};
use loam_models::{Bert, BertConfig, Classifier, Labels, ModelError, SequenceClassifier, TextCnn, TextCnnConfig};
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
        let tokenizer = tokenizer(recipe, train)?;
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

/// The tokenizer of a new model.
fn tokenizer(recipe: &FineTuneRecipe, train: &[LabeledText]) -> Result<Tokenizer, TaskError> {
    if let Some(path) = &recipe.tokenizer.path {
        return Ok(Tokenizer::open(path)?);
    }
    let texts = || train.iter().flat_map(|example| std::iter::once(&example.text).chain(&example.pair));
    let kind = recipe.tokenizer.kind.unwrap_or_else(|| {
        // Words of Chinese and Japanese have no spaces between them; BERT's pieces take each of their characters alone.
        let (mut spaced, mut unspaced) = (0_u64, 0_u64);
        for character in texts().take(2000).flat_map(|text| text.chars()) {
            match character as u32 {
                0x3040..=0x30ff | 0x3400..=0x9fff | 0x2_0000..=0x3_ffff => unspaced += 1,
                _ if character.is_alphabetic() => spaced += 1,
                _ => {}
            }
        }
        if unspaced > spaced { TokenizerKind::WordPiece } else { TokenizerKind::Word }
    });
    let vocabulary = recipe.tokenizer.vocab.unwrap_or(10_000);
    let texts = texts().map(|text| Ok(text.clone()));
    Ok(train_tokenizer(kind, vocabulary, Framing::Plain, texts, &mut |_, _| {})?)
}
