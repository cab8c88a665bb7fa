//! Training a model to find answers.

use super::evaluation::{AnswerMeasure, scores};
use super::{AnswerOptions, LONGEST_ANSWER, NO_ANSWER_FILE, Question, QuestionWindows, WINDOW, answers, candidates};
use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::metrics::interval::sum;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::{Tokenizer, Window};
use loam_models::bert::SpanBert;
use loam_models::causal::Shape;
use loam_models::weights;
use loam_train::TrainError;
use loam_train::finetune::{Measured, Task};
use std::collections::BTreeMap;
use std::path::Path;

/// A model's training and validation questions.
pub struct AnswerTask {
    tokenizer: Tokenizer,
    train: QuestionWindows,
    /// Of every training window the tokens that the answer begins and ends at; the first token where it has none.
    told: Vec<(i64, i64)>,
    lengths: Vec<usize>,
    valid: Option<(QuestionWindows, Vec<Question>)>,
    measure: AnswerMeasure,
    no_answer: bool,
    left_out: Vec<String>,
    hash: String,
}

impl AnswerTask {
    /// Questions for a model that sees `longest` tokens. Those whose answer is not in their text are left out.
    ///
    /// # Errors
    /// When none is left.
    pub fn new(
        train: &[Question],
        valid: Vec<Question>,
        tokenizer: Tokenizer,
        longest: usize,
    ) -> Result<Self, TaskError> {
        let longest = longest.min(WINDOW);
        let (usable, left_out): (Vec<&Question>, Vec<&Question>) = train.iter().partition(|question| {
            question.answers.is_empty() || question.answers.iter().any(|answer| answer.begin.is_some())
        });
        if usable.is_empty() {
            return Err(TaskError::Request("no training question has an answer that is in its text".to_owned()));
        }
        let encode = |questions: &[&Question]| {
            let pairs = questions.iter().map(|question| (question.question.as_str(), &*question.context));
            QuestionWindows::of(pairs, &tokenizer, longest)
        };
        let windows = encode(&usable);
        let mut told = Vec::with_capacity(windows.windows.len());
        for (window, number) in windows.windows.iter().zip(&windows.questions) {
            let answer = usable[*number].answers.iter().find_map(|answer| Some((answer.begin?, answer.text.len())));
            told.push(answer.and_then(|(begin, bytes)| tokens_of(window, begin, begin + bytes)).unwrap_or((0, 0)));
        }
        let no_answer = usable.iter().any(|question| question.answers.is_empty());
        let measure = AnswerMeasure::of(if valid.is_empty() { train } else { &valid });
        let mut hasher = blake3::Hasher::new();
        for question in train.iter().chain(&valid) {
            hasher.update(format!("{:?}", (&question.question, &question.context, &question.answers)).as_bytes());
        }
        hasher.update(tokenizer.hash().as_bytes());
        let valid = (!valid.is_empty()).then(|| (encode(&valid.iter().collect::<Vec<_>>()), valid));
        Ok(Self {
            lengths: windows.windows.iter().map(|window| window.ids.len()).collect(),
            left_out: left_out.into_iter().map(|question| format!("{} ({})", question.place, question.id)).collect(),
            hash: hasher.finalize().to_hex().to_string(),
            train: windows,
            told,
            valid,
            measure,
            no_answer,
            tokenizer,
        })
    }

    /// The places of training questions whose answer is not in their text.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// The tokens of a window at which a span of its text begins and ends, where all of it is in the window.
fn tokens_of(window: &Window, begin: usize, end: usize) -> Option<(i64, i64)> {
    let own =
        window.places.iter().enumerate().filter_map(|(token, place)| Some((token, place.filter(|it| it.0 == 1)?)));
    let (first, start) = own.clone().find(|(_, place)| place.2 > begin)?;
    let (last, stop) = own.rev().find(|(_, place)| place.1 < end)?;
    let whole = start.1 <= begin && stop.2 >= end && first <= last;
    whole.then_some((first as i64, last as i64))
}

impl Task for AnswerTask {
    type Model = SpanBert;

    fn name(&self) -> &'static str {
        "answer"
    }

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn weight(&self, _example: usize) -> f64 {
        1.0
    }

    fn loss(
        &self,
        model: &SpanBert,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1> {
        let windows: Vec<&Window> = examples.iter().map(|&example| &self.train.windows[example]).collect();
        let row = |of: fn(&(i64, i64)) -> i64| {
            let ids: Vec<i64> = examples.iter().map(|&example| of(&self.told[example])).collect();
            Tensor::<1, Int>::from_data(TensorData::new(ids, [examples.len()]), device)
        };
        let inputs = inputs(&windows, model.config().pad_token_id.unwrap_or(0), device);
        model.loss(&inputs, row(|told| told.0), row(|told| told.1), scale, dropout_seed)
    }

    fn measure(&self, model: &SpanBert, device: &Device) -> Result<Option<Measured>, TrainError> {
        let Some((windows, questions)) = &self.valid else { return Ok(None) };
        let options = AnswerOptions { longest: LONGEST_ANSWER, no_answer: self.no_answer, threshold: 0.0 };
        let found = candidates(model, windows, questions.len(), options.longest, device);
        let (mut said, mut loss) = (Vec::with_capacity(questions.len()), 0.0);
        for (question, (spans, none)) in questions.iter().zip(&found) {
            let answers = answers(&question.context, spans, *none, &options);
            let right = |answer: &str| {
                if question.answers.is_empty() {
                    answer.is_empty()
                } else {
                    question.answers.iter().any(|gold| gold.text == answer)
                }
            };
            // What is not among the spans looked at counts as one in a thousand.
            let probability: f32 = answers.iter().filter(|one| right(&one.answer)).map(|one| one.score).sum();
            loss -= f64::from(probability.max(1e-3)).ln();
            said.push(answers.into_iter().next().unwrap_or_default().answer);
        }
        let counts = sum(&scores(questions, &said, self.measure));
        let metrics = BTreeMap::from([
            ("f1".to_owned(), counts.f1().unwrap_or(0.0)),
            ("exact".to_owned(), counts.exact().unwrap_or(0.0)),
        ]);
        let examples = questions.len() as u64;
        Ok(Some(Measured { loss: loss / examples.max(1) as f64, metrics, deciding: "f1".to_owned(), examples }))
    }

    fn export(&self, model: &SpanBert, folder: &Path) -> Result<(), TrainError> {
        model.save(folder)?;
        let said = format!("{{\"no_answer\": {}}}\n", self.no_answer);
        weights::write_synced(&folder.join(NO_ANSWER_FILE), said.as_bytes())?;
        Ok(self.tokenizer.save_with_length(folder, Some(model.config().context()))?)
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn describe(&self, model: &SpanBert) -> Shape {
        model.config().shape()
    }
}
