//! The model that a recipe asks for, with its tokenizer. Parameters are differentiable.

use super::recipe::{Family, FineTuneRecipe};
use crate::answer::{Question, WINDOW};
use crate::classify::LabeledText;
use crate::embed::{EmbedOptions, Encoder, Modules};
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use crate::tag::TaggedSentence;
use burn::tensor::Device;
use loam_corpus::{Framing, Tokenizer, TokenizerKind, train_tokenizer};
use loam_models::bert::{SequenceBert, SpanBert, TokenBert};
use loam_models::lstm::{Cell, RecurrentConfig, RecurrentEncoder};
use loam_models::recurrent_classifier::{Pooling, RecurrentClassifier};
use loam_models::{
    Bert, BertConfig, CausalModel, Classifier, Labels, ModelError, RecurrentTagger, SequenceCausal, SequenceClassifier,
    Tagger, TextCnn, TextCnnConfig,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tokens of a window of a new model.
const CONTEXT: usize = 256;
/// Width of a new model.
const WIDTH: usize = 128;

/// A classifier and its tokenizer.
pub(super) fn classifier(
    recipe: &FineTuneRecipe,
    train: &[LabeledText],
    labels: Labels,
    seed: u64,
    device: &Device,
) -> Result<(Classifier, Tokenizer), TaskError> {
    if let Some((folder, tokenizer)) = given(recipe)? {
        let model = classifier_of(&folder, labels, &tokenizer, seed, device)?;
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        return Ok((model, tokenizer));
    }
    let texts = || train.iter().flat_map(|one| std::iter::once(one.text.clone()).chain(one.pair.clone()));
    let family = family(recipe, "textcnn, lstm, gru, rnn or bert")?;
    let tokenizer = tokenizer(recipe, texts)?;
    let model = match (family, cell(family)) {
        (_, Some(cell)) => {
            let config = recurrent(recipe, cell, &tokenizer);
            RecurrentClassifier::new(config, Pooling::Max, labels, seed, device)?.into()
        }
        (Family::Bert, None) => {
            let bert = Bert::new(bert(recipe, &tokenizer, CONTEXT), seed, device)?;
            SequenceBert::new(bert, labels, seed, device).into()
        }
        _ => {
            let shape = &recipe.model;
            let (context, width) = (shape.context.unwrap_or(CONTEXT), shape.width.unwrap_or(WIDTH));
            let mut config = TextCnnConfig::new(tokenizer.vocabulary(), context, width);
            config.pad_token_id = padding(&tokenizer);
            config.dropout = shape.dropout.unwrap_or(config.dropout);
            TextCnn::new(config, labels, seed, device)?.into()
        }
    };
    Ok((model, tokenizer))
}

/// A tagger and its tokenizer.
pub(super) fn tagger(
    recipe: &FineTuneRecipe,
    train: &[TaggedSentence],
    labels: Labels,
    seed: u64,
    device: &Device,
) -> Result<(Tagger, Tokenizer), TaskError> {
    let crf = recipe.model.crf.unwrap_or(true);
    if let Some((folder, tokenizer)) = given(recipe)? {
        let declared = Declared::read(&folder)?;
        let own = if declared.has_head("ForTokenClassification") {
            Some(Tagger::load(&folder, device)?).filter(|model| *model.labels() == labels)
        } else {
            None
        };
        let model = match own {
            Some(model) => model,
            None if declared.is_recurrent() => {
                let body = RecurrentEncoder::load(&folder, device)?;
                RecurrentTagger::on(body, crf, labels, seed, device).into()
            }
            None => TokenBert::new(Bert::load(&folder, device)?, labels, seed, device).into(),
        };
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        return Ok((model, tokenizer));
    }
    let family = family(recipe, "lstm, gru, rnn or bert")?;
    if family == Family::TextCnn {
        let message = "textcnn labels whole texts; take lstm, gru, rnn or bert to tag words";
        return Err(TaskError::Request(message.to_owned()));
    }
    let tokenizer = tokenizer(recipe, || train.iter().map(|sentence| sentence.words.join(" ")))?;
    let model = if let Some(cell) = cell(family) {
        RecurrentTagger::new(recurrent(recipe, cell, &tokenizer), crf, labels, seed, device)?.into()
    } else {
        let bert = Bert::new(bert(recipe, &tokenizer, CONTEXT), seed, device)?;
        TokenBert::new(bert, labels, seed, device).into()
    };
    Ok((model, tokenizer))
}

/// A model that finds answers, and its tokenizer.
pub(super) fn answerer(
    recipe: &FineTuneRecipe,
    train: &[Question],
    seed: u64,
    device: &Device,
) -> Result<(SpanBert, Tokenizer), TaskError> {
    if let Some((folder, tokenizer)) = given(recipe)? {
        let model = if Declared::read(&folder)?.has_head("ForQuestionAnswering") {
            SpanBert::load(&folder, device)?
        } else {
            SpanBert::new(Bert::load(&folder, device)?, seed, device)
        };
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        return Ok((model, tokenizer));
    }
    if family(recipe, "bert")? != Family::Bert {
        let message = "answers are found by an encoder: name one with --model, or train a new one with --family bert";
        return Err(TaskError::Request(message.to_owned()));
    }
    let mut seen = BTreeSet::new();
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
    let bert = Bert::new(bert(&recipe, &tokenizer, WINDOW), seed, device)?;
    Ok((SpanBert::new(bert, seed, device), tokenizer))
}

/// An encoder whose vectors are used, its tokenizer, and how it is used. A pooler, which no vector goes through, is left behind.
pub(super) fn embedder(
    recipe: &FineTuneRecipe,
    texts: &[Arc<str>],
    seed: u64,
    device: &Device,
) -> Result<(Bert, Tokenizer, Encoder), TaskError> {
    let options = EmbedOptions { pooling: recipe.embed.pooling, normalize: None };
    let (model, tokenizer, modules) = if let Some((folder, tokenizer)) = given(recipe)? {
        let model = Bert::load(&folder, device)?.without_pooler();
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        (model, tokenizer, Modules::read(&folder, options)?)
    } else {
        if family(recipe, "bert")? != Family::Bert {
            let message =
                "texts become vectors by an encoder: name one with --model, or train a new one with --family bert";
            return Err(TaskError::Request(message.to_owned()));
        }
        let mut recipe = recipe.clone();
        // Its pieces tell unknown words, and frame texts.
        recipe.tokenizer.kind.get_or_insert(TokenizerKind::WordPiece);
        let tokenizer = tokenizer(&recipe, || texts.iter().map(ToString::to_string))?;
        (Bert::new(bert(&recipe, &tokenizer, CONTEXT), seed, device)?, tokenizer, Modules::default())
    };
    // Cosines are learned, so vectors have length 1 where no folder says otherwise.
    let normalize = Some(modules.normalize.unwrap_or(true));
    let mut encoder = Encoder::of(&model, modules, EmbedOptions { normalize, ..options });
    encoder.longest = recipe.model.context.map_or(encoder.longest, |most| most.min(encoder.longest));
    if encoder.longest == 0 {
        return Err(TaskError::Request(
            "a window of 0 tokens leaves nothing of a text; give --context 1 or more".to_owned(),
        ));
    }
    Ok((model, tokenizer, encoder))
}

/// The folder of the model that is gone on with, if there is one, and its tokenizer.
fn given(recipe: &FineTuneRecipe) -> Result<Option<(PathBuf, Tokenizer)>, TaskError> {
    let Some(from) = &recipe.model.from else { return Ok(None) };
    if let Some(family) = recipe.model.family {
        return Err(TaskError::Request(format!(
            "model.from = \"{from}\" has its family already; leave model.family = {family:?} out, or train a new model \
             without model.from"
        )));
    }
    let folder = model_folder(Path::new(from))?;
    let tokenizer = Tokenizer::open(&folder)?;
    Ok(Some((folder, tokenizer)))
}

/// What a `config.json` says of its model.
struct Declared {
    classes: Vec<String>,
    family: String,
}

impl Declared {
    fn read(folder: &Path) -> Result<Self, TaskError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
        let config: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| ModelError::format(&path, format!("is not JSON: {error}")))?;
        let classes = config["architectures"].as_array().into_iter().flatten();
        Ok(Self {
            classes: classes.filter_map(|class| class.as_str()).map(str::to_owned).collect(),
            family: config["model_type"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Whether its class in transformers ends so.
    fn has_head(&self, class: &str) -> bool {
        self.classes.iter().any(|own| own.ends_with(class))
    }

    fn is_recurrent(&self) -> bool {
        Cell::ALL.map(Cell::name).contains(&self.family.as_str())
    }
}

/// The model of a folder with its own head, where that has these labels, and with a new one otherwise.
fn classifier_of(
    folder: &Path,
    labels: Labels,
    tokenizer: &Tokenizer,
    seed: u64,
    device: &Device,
) -> Result<Classifier, TaskError> {
    // A GGUF file holds a decoder.
    if folder.is_file() {
        let body = CausalModel::load(folder, device)?;
        return Ok(SequenceCausal::new(body, labels, filling(tokenizer), seed, device)?.into());
    }
    let declared = Declared::read(folder)?;
    if declared.has_head("ForSequenceClassification") {
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
            Classifier::Causal(model) => {
                let padding = model.padding();
                Ok(SequenceCausal::new(model.body().clone(), labels, padding, seed, device)?.into())
            }
            Classifier::TextCnn(model) => Err(TaskError::Request(format!(
                "{} has the labels {}, and the examples have {}; train a new one with --family textcnn",
                folder.display(),
                model.labels().names().join(", "),
                labels.names().join(", ")
            ))),
        };
    }
    if SequenceCausal::model_types().contains(&declared.family.as_str()) {
        let body = CausalModel::load(folder, device)?;
        return Ok(SequenceCausal::new(body, labels, filling(tokenizer), seed, device)?.into());
    }
    if declared.is_recurrent() {
        let body = RecurrentEncoder::load(folder, device)?;
        return Ok(RecurrentClassifier::on(body, Pooling::Max, labels, seed, device).into());
    }
    Ok(SequenceBert::new(Bert::load(folder, device)?, labels, seed, device).into())
}

/// The family of a new model, of those that there are for a task.
fn family(recipe: &FineTuneRecipe, families: &str) -> Result<Family, TaskError> {
    recipe.model.family.ok_or_else(|| {
        TaskError::Request(format!(
            "say what is trained: a model that there is with --model, or a new one with --family {families}"
        ))
    })
}

/// The cell of a recurrent family.
fn cell(family: Family) -> Option<Cell> {
    match family {
        Family::Rnn => Some(Cell::Rnn),
        Family::Lstm => Some(Cell::Lstm),
        Family::Gru => Some(Cell::Gru),
        Family::Bert | Family::TextCnn => None,
    }
}

/// A new recurrent network that reads from both ends.
fn recurrent(recipe: &FineTuneRecipe, cell: Cell, tokenizer: &Tokenizer) -> RecurrentConfig {
    let shape = &recipe.model;
    let (context, width) = (shape.context.unwrap_or(CONTEXT), shape.width.unwrap_or(WIDTH));
    let (layers, dropout) = (shape.layers.unwrap_or(1), shape.dropout.unwrap_or(0.5));
    RecurrentConfig {
        bidirectional: true,
        tie_word_embeddings: false,
        ..RecurrentConfig::new(cell, tokenizer.vocabulary(), context, width, layers, dropout)
    }
}

/// A new encoder.
fn bert(recipe: &FineTuneRecipe, tokenizer: &Tokenizer, context: usize) -> BertConfig {
    let shape = &recipe.model;
    let (context, width) = (shape.context.unwrap_or(context), shape.width.unwrap_or(WIDTH));
    let (layers, heads) = (shape.layers.unwrap_or(2), shape.heads.unwrap_or(4));
    let dropout = shape.dropout.unwrap_or(0.1);
    let mut config = BertConfig::new(tokenizer.vocabulary(), context, width, layers, heads, dropout);
    config.pad_token_id = padding(tokenizer).or(config.pad_token_id);
    config
}

fn padding(tokenizer: &Tokenizer) -> Option<usize> {
    tokenizer.special_id("pad_token", &["[PAD]", "<pad>", "<PAD>"]).map(|id| id as usize)
}

/// What fills short rows of a decoder, which seldom has a token for it.
fn filling(tokenizer: &Tokenizer) -> usize {
    padding(tokenizer).or(tokenizer.end_of_text().map(|id| id as usize)).unwrap_or(0)
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
