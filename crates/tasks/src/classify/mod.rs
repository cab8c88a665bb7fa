//! Texts and their labels: what a classifier makes of them, how one is trained, and how well one does.
//!
//! A text that is longer than a model sees is read in windows: in training each is an example that counts its part of the
//! text, and what a model says of the text is the mean over its windows.

mod evaluation;
mod examples;
mod training;

pub use evaluation::{Answers, ClassifyDetails, LabelScores};
pub use examples::{FieldNames, LabeledText, Told, labels_of, read_labeled};
pub use training::{ClassWeights, ClassifyTask};

use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use burn::tensor::Device;
use loam_corpus::{Tokenizer, Window};
use loam_models::{Classifier, Labels, Problem, SequenceClassifier};
use std::path::Path;

/// Texts that are looked at side by side.
const BATCH: usize = 32;

/// A classifier with its tokenizer.
pub struct TextClassifier {
    model: Classifier,
    tokenizer: Tokenizer,
    device: Device,
}

/// Texts as windows of ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    /// Ids and segments of every window.
    pub read: Vec<Window>,
    /// Of every window the text that it is of.
    pub texts: Vec<usize>,
    /// Of every text how many windows it has.
    pub counts: Vec<usize>,
    /// Pairs whose first text was cut.
    pub cut: usize,
}

impl Windows {
    /// Texts, or pairs of them, in windows of at most `longest` tokens. A text without tokens is one of padding.
    pub fn of<'a>(
        texts: impl Iterator<Item = (&'a str, Option<&'a str>)>,
        tokenizer: &Tokenizer,
        longest: usize,
        padding: usize,
    ) -> Self {
        let mut all = Self::default();
        for (text, (first, second)) in texts.enumerate() {
            let (windows, cut) = tokenizer.windows(first, second, longest, longest / 4);
            all.cut += usize::from(cut > 0);
            all.counts.push(windows.len());
            for mut window in windows {
                if window.ids.is_empty() {
                    window = Window { ids: vec![padding as u32], types: vec![0], places: vec![None] };
                }
                all.read.push(window);
                all.texts.push(text);
            }
        }
        all
    }
}

impl TextClassifier {
    /// Opens a classifier of texts: a folder, a run's folder, or `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken, or the model has no head for whole texts.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = Classifier::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        Ok(Self { model, tokenizer, device: device.clone() })
    }

    /// What its outputs are called.
    pub fn labels(&self) -> &Labels {
        self.model.labels()
    }

    /// The scores of every label (probabilities, or the numbers of a regression) for each text, of which at most `longest`
    /// tokens are read, and never more than the model sees. Empty for a text without tokens.
    pub fn scores<S: AsRef<str>>(&self, texts: &[S], longest: usize) -> Vec<Vec<f32>> {
        let longest = longest.min(self.model.context());
        let windows: Vec<Window> = texts
            .iter()
            .map(|text| {
                let ids = self.tokenizer.encode_framed(text.as_ref(), longest);
                Window { types: vec![0; ids.len()], places: Vec::new(), ids }
            })
            .collect();
        let read: Vec<usize> = (0..windows.len()).filter(|&index| !windows[index].ids.is_empty()).collect();
        let mut scores = vec![Vec::new(); windows.len()];
        let all: Vec<&Window> = read.iter().map(|&index| &windows[index]).collect();
        for (index, row) in read.into_iter().zip(score_windows(&self.model, &all, &self.device)) {
            scores[index] = row;
        }
        scores
    }

    /// The scores of every label for each text or pair, whole: see the head of this module.
    pub fn classify<'a>(&self, texts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<Vec<f32>> {
        let padding = self.model.padding();
        let windows = Windows::of(texts, &self.tokenizer, self.model.context(), padding);
        score_texts(&self.model, &windows, &self.device)
    }
}

/// The scores of every label for each window. Windows of like length go through the model together.
fn score_windows(model: &Classifier, windows: &[&Window], device: &Device) -> Vec<Vec<f32>> {
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.sort_by_key(|&index| windows[index].ids.len());
    let mut scores = vec![Vec::new(); windows.len()];
    for batch in order.chunks(BATCH) {
        let rows: Vec<&Window> = batch.iter().map(|&index| windows[index]).collect();
        let logits = model.logits(&inputs(&rows, model.padding(), device), None);
        let found = model.labels().scores(logits);
        let labels = found.dims()[1];
        let found = found.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
        for (&index, row) in batch.iter().zip(found.chunks_exact(labels)) {
            scores[index] = row.to_vec();
        }
    }
    scores
}

/// The mean of the scores of each text's windows.
pub(crate) fn score_texts(model: &Classifier, windows: &Windows, device: &Device) -> Vec<Vec<f32>> {
    let all: Vec<&Window> = windows.read.iter().collect();
    let mut scores: Vec<Vec<f32>> = vec![vec![0.0; model.labels().len()]; windows.counts.len()];
    for (text, row) in windows.texts.iter().zip(score_windows(model, &all, device)) {
        let share = 1.0 / windows.counts[*text] as f32;
        scores[*text].iter_mut().zip(row).for_each(|(sum, score)| *sum += share * score);
    }
    scores
}

/// The labels that scores stand for: the most probable one, or all that are as probable as not.
pub fn chosen(scores: &[f32], problem: Problem) -> Vec<usize> {
    match problem {
        Problem::SingleLabel => {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            best.map(|(label, _)| label).into_iter().collect()
        }
        Problem::MultiLabel => (0..scores.len()).filter(|&label| scores[label] >= 0.5).collect(),
        Problem::Regression => Vec::new(),
    }
}
