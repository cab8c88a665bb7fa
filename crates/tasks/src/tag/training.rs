//! Training a tagger.

use super::sentences::{TaggedSentence, are_characters};
use super::{WORDS_FILE, WordTokens, WordWindow, evaluation, tag_windows};
use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::metrics::Average;
use crate::metrics::interval::sum;
use burn::tensor::{Device, Tensor};
use loam_corpus::{Tokenizer, Window};
use loam_models::causal::Shape;
use loam_models::{Labels, Problem, Tagger, weights};
use loam_train::TrainError;
use loam_train::finetune::{Measured, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The tags of sentences as a model's labels: `O` first, the others by their type and then their letter.
///
/// # Errors
/// When there is one tag only.
pub fn tag_labels(sentences: &[TaggedSentence]) -> Result<Labels, TaskError> {
    let tags: BTreeSet<&String> = sentences.iter().flat_map(|sentence| &sentence.tags).collect();
    if tags.len() < 2 {
        let only = tags.first().map_or("none", |tag| tag.as_str());
        return Err(TaskError::Request(format!(
            "every word has the tag {only:?}: there is nothing to learn to tell apart"
        )));
    }
    let mut tags: Vec<&String> = tags.into_iter().collect();
    let key = |tag: &String| {
        let (letter, kind) = tag.split_once('-').unwrap_or(("", tag));
        (tag != "O", kind.to_owned(), letter.to_owned())
    };
    tags.sort_by_key(|tag| key(tag));
    Ok(Labels::new(tags.into_iter().cloned(), Problem::SingleLabel)?)
}

/// Sentences of one set, encoded.
struct Encoded {
    windows: Vec<WordWindow>,
    sentences: Vec<TaggedSentence>,
}

/// A tagger's training and validation sentences.
pub struct TagTask {
    labels: Labels,
    tokenizer: Tokenizer,
    train: Encoded,
    valid: Option<Encoded>,
    /// Of every training window the labels of the words that it tells.
    told: Vec<Vec<usize>>,
    lengths: Vec<usize>,
    padding: usize,
    characters: bool,
    hash: String,
}

impl TagTask {
    /// Sentences for a model that sees `longest` tokens.
    ///
    /// # Errors
    /// When a training tag is none of the model's.
    pub fn new(
        train: Vec<TaggedSentence>,
        valid: Vec<TaggedSentence>,
        labels: Labels,
        tokenizer: Tokenizer,
        longest: usize,
        padding: usize,
    ) -> Result<Self, TaskError> {
        let tokens = WordTokens::new(&tokenizer, padding);
        let characters = are_characters(&train);
        let encode = |sentences: Vec<TaggedSentence>| {
            let words: Vec<Vec<&str>> =
                sentences.iter().map(|sentence| sentence.words.iter().map(String::as_str).collect()).collect();
            let mut windows = tokens.windows(&words, &tokenizer, longest);
            windows.retain(|window| !window.words.is_empty());
            Encoded { windows, sentences }
        };
        let (train, valid) = (encode(train), (!valid.is_empty()).then(|| encode(valid)));
        let mut told = Vec::with_capacity(train.windows.len());
        for window in &train.windows {
            let label = |&(sentence, word, _): &(usize, usize, usize)| {
                let sentence = &train.sentences[sentence];
                let tag = &sentence.tags[word];
                labels.id(tag).ok_or_else(|| {
                    TaskError::Request(format!("{}: the tag {tag:?} is none of the model's", sentence.place))
                })
            };
            told.push(window.words.iter().map(label).collect::<Result<Vec<_>, _>>()?);
        }
        let mut hasher = blake3::Hasher::new();
        for sentence in train.sentences.iter().chain(valid.iter().flat_map(|valid| &valid.sentences)) {
            for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
                hasher.update(format!("{word}\t{tag}\n").as_bytes());
            }
            hasher.update(b"\n");
        }
        hasher.update(tokenizer.hash().as_bytes());
        Ok(Self {
            lengths: train.windows.iter().map(|window| window.window.ids.len()).collect(),
            hash: hasher.finalize().to_hex().to_string(),
            labels,
            tokenizer,
            train,
            valid,
            told,
            padding,
            characters,
        })
    }

    /// Training sentences that are read in several windows.
    pub fn long(&self) -> usize {
        self.train.windows.len().saturating_sub(self.train.sentences.len())
    }
}

impl Task for TagTask {
    type Model = Tagger;

    fn name(&self) -> &'static str {
        "tag"
    }

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn weight(&self, example: usize) -> f64 {
        self.told[example].len() as f64
    }

    fn loss(
        &self,
        model: &Tagger,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1> {
        let windows: Vec<&WordWindow> = examples.iter().map(|&example| &self.train.windows[example]).collect();
        let rows: Vec<&Window> = windows.iter().map(|window| &window.window).collect();
        let places = windows.iter().map(|window| window.words.iter().map(|word| word.2).collect()).collect();
        let told: Vec<Vec<usize>> = examples.iter().map(|&example| self.told[example].clone()).collect();
        model.loss(&inputs(&rows, self.padding, device), &places, &told, scale, dropout_seed)
    }

    fn measure(&self, model: &Tagger, device: &Device) -> Result<Option<Measured>, TrainError> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let lengths: Vec<usize> = valid.sentences.iter().map(|sentence| sentence.words.len()).collect();
        let tags = tag_windows(model, &valid.windows, &lengths, device);
        let names = self.labels.names();
        // The loss is that of the tags' probabilities where they are right, and of what is left for others where not.
        let (mut loss, mut words) = (0.0, 0_u64);
        let mut said = Vec::with_capacity(tags.len());
        for (sentence, row) in valid.sentences.iter().zip(&tags) {
            for (gold, (tag, score)) in sentence.tags.iter().zip(row) {
                let probability = if *gold == names[*tag] { f64::from(*score) } else { 1.0 - f64::from(*score) };
                loss -= probability.max(1e-12).ln();
                words += 1;
            }
            said.push(row.iter().map(|(tag, _)| names[*tag].as_str()).collect::<Vec<_>>());
        }
        let (_, counts) = evaluation::counts(&valid.sentences, &said);
        let sums = sum(&counts);
        let scores = sums.scores(Average::Micro);
        let metrics = BTreeMap::from([
            ("f1".to_owned(), scores.f1),
            ("precision".to_owned(), scores.precision),
            ("recall".to_owned(), scores.recall),
            ("accuracy".to_owned(), sums.accuracy().unwrap_or(0.0)),
        ]);
        let examples = valid.sentences.len() as u64;
        Ok(Some(Measured { loss: loss / words.max(1) as f64, metrics, deciding: "f1".to_owned(), examples }))
    }

    fn export(&self, model: &Tagger, folder: &Path) -> Result<(), TrainError> {
        model.save(folder)?;
        let words = if self.characters { "characters" } else { "words" };
        weights::write_synced(&folder.join(WORDS_FILE), format!("{{\"words\": \"{words}\"}}\n").as_bytes())?;
        Ok(self.tokenizer.save_with_length(folder, Some(model.context()))?)
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn describe(&self, model: &Tagger) -> Shape {
        model.shape()
    }
}
