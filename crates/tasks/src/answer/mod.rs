//! Answers out of texts: the span that answers a question, or that there is none (Devlin et al. 2019, sections 4.2 and 4.3).
//!
//! A text that is longer than the model sees is read in windows that overlap, the question in each. Of every window the best spans
//! are taken; the answer is the best of all. A question that the text does not answer points at `[CLS]`.

mod evaluation;
mod questions;
mod training;

pub use evaluation::{AnswerDetails, AnswerMeasure, compare, evaluate};
pub use questions::{GoldAnswer, Question, flattened, read_questions};
pub use training::AnswerTask;

use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, json_beside, model_folder};
use burn::tensor::{Device, Tensor};
use loam_corpus::{Tokenizer, Window};
use loam_models::bert::SpanBert;
use serde::Serialize;
use std::path::Path;

/// Windows that are looked at side by side.
const BATCH: usize = 16;
/// Tokens of a window at most, and tokens that two of them share: those of BERT on SQuAD.
pub(crate) const WINDOW: usize = 384;
pub(crate) const OVERLAP: usize = 128;
/// Beginnings and ends that are looked at in each window.
const CANDIDATES: usize = 20;
/// Tokens of an answer at most.
pub const LONGEST_ANSWER: usize = 30;
/// The file beside a model that says whether it was taught that a text may not answer.
const NO_ANSWER_FILE: &str = "answerer.json";

/// What answers a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// The part of the text; empty where nothing in it answers.
    pub answer: String,
    /// Where it begins, in characters of the text.
    pub start: usize,
    /// Where it ends, behind its last character.
    pub end: usize,
    /// Its probability among the spans that were looked at.
    pub score: f32,
}

/// How spans are chosen.
#[derive(Clone, Copy, Debug)]
pub struct AnswerOptions {
    /// Tokens of an answer at most.
    pub longest: usize,
    /// Whether it may be that nothing answers.
    pub no_answer: bool,
    /// How much better than the best span nothing has to be, in logits.
    pub threshold: f32,
}

/// A model that finds answers, with its tokenizer.
pub struct Answerer {
    model: SpanBert,
    tokenizer: Tokenizer,
    no_answer: bool,
    device: Device,
}

/// Questions as windows.
pub(crate) struct QuestionWindows {
    pub windows: Vec<Window>,
    /// Of every window its question.
    pub questions: Vec<usize>,
}

impl QuestionWindows {
    pub fn of<'a>(questions: impl Iterator<Item = (&'a str, &'a str)>, tokenizer: &Tokenizer, longest: usize) -> Self {
        let mut all = Self { windows: Vec::new(), questions: Vec::new() };
        for (number, (question, context)) in questions.enumerate() {
            let (windows, _) = tokenizer.windows(question, Some(context), longest, OVERLAP.min(longest / 3));
            for window in windows.into_iter().filter(|window| !window.ids.is_empty()) {
                all.windows.push(window);
                all.questions.push(number);
            }
        }
        all
    }
}

/// A span of a window's text in bytes, with its score in logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    begin: usize,
    end: usize,
    score: f32,
}

/// The best spans of every question, the best first, and the score of there being none.
pub(crate) fn candidates(
    model: &SpanBert,
    windows: &QuestionWindows,
    questions: usize,
    longest: usize,
    device: &Device,
) -> Vec<(Vec<Candidate>, f32)> {
    let mut found: Vec<(Vec<Candidate>, f32)> = vec![(Vec::new(), f32::INFINITY); questions];
    let mut order: Vec<usize> = (0..windows.windows.len()).collect();
    order.sort_by_key(|&index| windows.windows[index].ids.len());
    let padding = model.config().pad_token_id.unwrap_or(0);
    for batch in order.chunks(BATCH) {
        let rows: Vec<&Window> = batch.iter().map(|&index| &windows.windows[index]).collect();
        let (start, end) = model.logits(&inputs(&rows, padding, device), None);
        let time = start.dims()[1];
        let host = |logits: Tensor<2>| {
            logits.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
        };
        let (start, end) = (host(start), host(end));
        for (row, &index) in batch.iter().enumerate() {
            let window = &windows.windows[index];
            let (start, end) = (&start[row * time..][..time], &end[row * time..][..time]);
            let (spans, none) = &mut found[windows.questions[index]];
            *none = none.min(start[0] + end[0]);
            spans.extend(spans_of(window, start, end, longest));
        }
    }
    for (spans, _) in &mut found {
        spans.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.begin.cmp(&b.begin)).then(a.end.cmp(&b.end)));
        // Windows overlap, and may have the same span.
        let mut seen = Vec::new();
        spans.retain(|span| {
            let new = !seen.contains(&(span.begin, span.end));
            seen.push((span.begin, span.end));
            new
        });
        spans.truncate(CANDIDATES);
    }
    found
}

/// The best spans of a window's text.
fn spans_of(window: &Window, start: &[f32], end: &[f32], longest: usize) -> Vec<Candidate> {
    let place = |token: usize| window.places[token].filter(|place| place.0 == 1);
    let best = |logits: &[f32]| -> Vec<usize> {
        let mut own: Vec<usize> = (0..window.ids.len()).filter(|&token| place(token).is_some()).collect();
        own.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        own.truncate(CANDIDATES);
        own
    };
    let ends = best(end);
    let mut spans = Vec::new();
    for first in best(start) {
        for &last in ends.iter().filter(|&&last| last >= first && last - first < longest) {
            if let (Some((_, begin, _)), Some((_, _, end_of))) = (place(first), place(last))
                && begin < end_of
            {
                spans.push(Candidate { begin, end: end_of, score: start[first] + end[last] });
            }
        }
    }
    spans.sort_by(|a, b| b.score.total_cmp(&a.score));
    spans.truncate(CANDIDATES);
    spans
}

/// The answers that candidates stand for, the best first.
pub(crate) fn answers(context: &str, spans: &[Candidate], none: f32, options: &AnswerOptions) -> Vec<Answer> {
    let best = spans.first().map_or(f32::NEG_INFINITY, |span| span.score);
    let nothing = options.no_answer || spans.is_empty();
    let most = if nothing { best.max(none) } else { best };
    let weight = |score: f32| (score - most).exp();
    let sum: f32 = spans.iter().map(|span| weight(span.score)).sum::<f32>() + if nothing { weight(none) } else { 0.0 };
    let mut answers: Vec<Answer> = spans
        .iter()
        .map(|span| {
            let start = context[..span.begin].chars().count();
            let answer = context[span.begin..span.end].to_owned();
            let end = start + answer.chars().count();
            Answer { answer, start, end, score: weight(span.score) / sum }
        })
        .collect();
    if nothing {
        let none_answer = Answer { score: weight(none) / sum, ..Answer::default() };
        let place = if spans.is_empty() || none - best > options.threshold { 0 } else { answers.len() };
        answers.insert(place, none_answer);
    }
    answers
}

impl Answerer {
    /// Opens a model that finds answers: a folder, a run's folder, or `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken, or the model has no head for spans.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = SpanBert::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        let no_answer = json_beside(&folder.join(NO_ANSWER_FILE))?.is_some_and(|said| said["no_answer"] == true);
        Ok(Self { model, tokenizer, no_answer, device: device.clone() })
    }

    /// Whether it was taught that a text may not answer.
    pub fn knows_no_answer(&self) -> bool {
        self.no_answer
    }

    /// The best answers of every question about its context, the best first; there is always one.
    pub fn answers<'a>(
        &self,
        questions: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        options: &AnswerOptions,
    ) -> Vec<Vec<Answer>> {
        let longest = WINDOW.min(self.model.config().context());
        let windows = QuestionWindows::of(questions.clone(), &self.tokenizer, longest);
        let count = questions.clone().count();
        let found = candidates(&self.model, &windows, count, options.longest, &self.device);
        questions.zip(found).map(|((_, context), (spans, none))| answers(context, &spans, none, options)).collect()
    }
}
