//! Tags of words: named entities and the like. What a tagger makes of texts, how one is trained, and how well one does.
//!
//! A model labels the first token of every word. A sentence that is longer than the model sees is read in windows that overlap; each
//! word's label is that of the window in which it has the most company, in training as in use.

mod evaluation;
mod sentences;
mod training;

pub use evaluation::{TagDetails, TypeScores, compare, evaluate};
pub use sentences::{TaggedSentence, read_tagged, split_words};
pub use training::{TagTask, tag_labels};

use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::metrics::tags::TagReading;
use crate::model_folder::{belongs_to, json_beside, model_folder};
use burn::tensor::Device;
use loam_corpus::{Tokenizer, Window};
use loam_models::Tagger;
use serde::Serialize;
use std::path::Path;

/// Windows that are looked at side by side.
const BATCH: usize = 32;
/// The file beside a model that says what it takes for a word.
const WORDS_FILE: &str = "tagger.json";

/// A part of a text with a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Where it begins, in characters of the text.
    pub start: usize,
    /// Where it ends, behind its last character.
    pub end: usize,
    /// It.
    pub text: String,
    /// What it is.
    pub label: String,
    /// The mean probability of its words' tags.
    pub score: f32,
}

/// A tagger with its tokenizer.
pub struct TextTagger {
    model: Tagger,
    tokenizer: Tokenizer,
    words: WordTokens,
    characters: bool,
    device: Device,
}

/// Words of a window: their ids, and whose label it tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct WordWindow {
    pub window: Window,
    /// Sentence, word, and the place of the word's first token.
    pub words: Vec<(usize, usize, usize)>,
}

/// How words become tokens.
#[derive(Clone, Debug)]
pub(crate) struct WordTokens {
    before: Vec<u32>,
    behind: Vec<u32>,
    /// Whether a word behind another is another token than one that begins a text.
    spaced: bool,
    filler: u32,
}

impl WordTokens {
    pub fn new(tokenizer: &Tokenizer, padding: usize) -> Self {
        let (windows, _) = tokenizer.windows("a", None, 64, 0);
        let window = windows.into_iter().next().unwrap_or_default();
        let own = |place: &Option<(usize, usize, usize)>| place.is_some();
        let first = window.places.iter().position(own).unwrap_or(0);
        let last = window.places.iter().rposition(own).map_or(first, |last| last + 1);
        Self {
            before: window.ids[..first].to_vec(),
            behind: window.ids[last..].to_vec(),
            spaced: tokenizer.encode(" a") != tokenizer.encode("a"),
            filler: tokenizer.unknown().unwrap_or(padding as u32),
        }
    }

    /// Sentences in windows of at most `longest` tokens. Every word is told by one window.
    pub fn windows<S: AsRef<str>>(
        &self,
        sentences: &[Vec<S>],
        tokenizer: &Tokenizer,
        longest: usize,
    ) -> Vec<WordWindow> {
        let room = longest.saturating_sub(self.before.len() + self.behind.len()).max(1);
        let mut windows = Vec::new();
        for (number, sentence) in sentences.iter().enumerate() {
            let tokens: Vec<Vec<u32>> = sentence
                .iter()
                .enumerate()
                .map(|(place, word)| {
                    let word = word.as_ref();
                    let ids = if self.spaced && place > 0 {
                        tokenizer.encode(&format!(" {word}"))
                    } else {
                        tokenizer.encode(word)
                    };
                    let ids: Vec<u32> = ids.into_iter().take(room).collect();
                    if ids.is_empty() { vec![self.filler] } else { ids }
                })
                .collect();
            self.cut(number, &tokens, room, &mut windows);
        }
        windows
    }

    /// The windows of a sentence.
    fn cut(&self, number: usize, tokens: &[Vec<u32>], room: usize, windows: &mut Vec<WordWindow>) {
        let mut spans = Vec::new();
        let mut begin = 0;
        while begin < tokens.len() {
            let (mut end, mut used) = (begin, 0);
            while end < tokens.len() && used + tokens[end].len() <= room {
                used += tokens[end].len();
                end += 1;
            }
            spans.push((begin, end));
            if end == tokens.len() {
                break;
            }
            // A quarter of a window is read again.
            begin = (end - (end - begin) / 4).max(begin + 1);
        }
        let company = |word: usize, (begin, end): (usize, usize)| (word - begin).min(end - 1 - word);
        for (index, &span) in spans.iter().enumerate() {
            let mut window = WordWindow::default();
            window.window.ids.extend(&self.before);
            for (word, ids) in tokens.iter().enumerate().take(span.1).skip(span.0) {
                let best = spans.iter().enumerate().filter(|(_, other)| (other.0..other.1).contains(&word));
                let best = best.max_by_key(|(index, other)| (company(word, **other), std::cmp::Reverse(*index)));
                if best.is_some_and(|(best, _)| best == index) {
                    window.words.push((number, word, window.window.ids.len()));
                }
                window.window.ids.extend(ids);
            }
            window.window.ids.extend(&self.behind);
            window.window.types = vec![0; window.window.ids.len()];
            windows.push(window);
        }
    }
}

/// The tag of every word of every sentence, with its probability. Windows of like length go through the model together.
pub(crate) fn tag_windows(
    model: &Tagger,
    windows: &[WordWindow],
    lengths: &[usize],
    device: &Device,
) -> Vec<Vec<(usize, f32)>> {
    let mut tags: Vec<Vec<(usize, f32)>> = lengths.iter().map(|length| vec![(0, 0.0); *length]).collect();
    let mut order: Vec<&WordWindow> = windows.iter().filter(|window| !window.words.is_empty()).collect();
    order.sort_by_key(|window| window.window.ids.len());
    for batch in order.chunks(BATCH) {
        let rows: Vec<&Window> = batch.iter().map(|window| &window.window).collect();
        let places = batch.iter().map(|window| window.words.iter().map(|word| word.2).collect()).collect();
        let found = model.tags(&inputs(&rows, model.padding(), device), &places);
        for (window, found) in batch.iter().zip(found) {
            for (&(sentence, word, _), tag) in window.words.iter().zip(found) {
                tags[sentence][word] = tag;
            }
        }
    }
    tags
}

impl TextTagger {
    /// Opens a tagger: a folder, a run's folder, or `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken, or the model has no head for tokens.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = Tagger::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        let characters = json_beside(&folder.join(WORDS_FILE))?.is_some_and(|said| said["words"] == "characters");
        let words = WordTokens::new(&tokenizer, model.padding());
        Ok(Self { model, tokenizer, words, characters, device: device.clone() })
    }

    /// What its outputs are called.
    pub fn labels(&self) -> &[String] {
        self.model.labels().names()
    }

    /// The tag of every word of every sentence, with its probability.
    pub fn tags<S: AsRef<str>>(&self, sentences: &[Vec<S>]) -> Vec<Vec<(&str, f32)>> {
        let windows = self.words.windows(sentences, &self.tokenizer, self.model.context());
        let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
        let names = self.model.labels().names();
        let tags = tag_windows(&self.model, &windows, &lengths, &self.device);
        tags.into_iter().map(|row| row.into_iter().map(|(tag, score)| (names[tag].as_str(), score)).collect()).collect()
    }

    /// The spans of every text, in their order.
    pub fn spans<S: AsRef<str>>(&self, texts: &[S]) -> Vec<Vec<Span>> {
        let places: Vec<Vec<(usize, usize)>> =
            texts.iter().map(|text| split_words(text.as_ref(), self.characters)).collect();
        let sentences: Vec<Vec<&str>> = texts
            .iter()
            .zip(&places)
            .map(|(text, places)| places.iter().map(|&(begin, end)| &text.as_ref()[begin..end]).collect())
            .collect();
        let tags = self.tags(&sentences);
        texts
            .iter()
            .zip(&places)
            .zip(tags)
            .map(|((text, places), tags)| {
                let names: Vec<&str> = tags.iter().map(|(tag, _)| *tag).collect();
                let entities = TagReading::Lenient.entities(&names).into_iter();
                entities
                    .map(|entity| {
                        let (begin, end) = (places[entity.start].0, places[entity.end - 1].1);
                        let text = text.as_ref();
                        let start = text[..begin].chars().count();
                        let own = &tags[entity.start..entity.end];
                        Span {
                            start,
                            end: start + text[begin..end].chars().count(),
                            text: text[begin..end].to_owned(),
                            label: entity.kind,
                            score: own.iter().map(|(_, score)| score).sum::<f32>() / own.len() as f32,
                        }
                    })
                    .collect()
            })
            .collect()
    }
}
