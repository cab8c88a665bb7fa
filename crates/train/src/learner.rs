//! What the training loop asks of a model, whatever it learns.

use crate::batch::NextSentences;
use crate::objective::Example;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::IGNORE;
use loam_models::bert::{BertConfig, Inputs, MaskedBert, PretrainingBert};
use loam_models::causal::Shape;
use loam_models::source_to_target::{Source, SourceToTarget};
use loam_models::{Adaptable, Adapted, CausalModel, Gpt, LanguageModel, ModelError};
use loam_nn::head::{self, Grades};
use std::path::Path;

/// What makes training differ from measuring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularization {
    /// From which dropout follows.
    pub dropout_seed: u64,
    /// Label smoothing ε (Szegedy et al. 2016); of encoders with decoders only.
    pub smoothing: f32,
}

/// How a model does on a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grade {
    /// Cross-entropy in nats.
    pub loss: f32,
    /// Whether the target is the model's most probable token.
    pub hit: bool,
}

/// A model that a run can train.
pub trait Learner: Module {
    /// `scale` times the summed cross-entropy of every target that counts, in nats, and of every next sentence as often as
    /// it weighs, `[1]`, differentiable; with regularization, as training has it. `device` holds the batch.
    fn loss(
        &self,
        examples: &[Example],
        scale: f32,
        regularization: Option<Regularization>,
        device: &Device,
    ) -> Tensor<1>;

    /// How the model does on every target that counts, in the order of the examples, without regularization.
    fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade>;

    /// The losses of [`Learner::token_grades`].
    fn token_losses(&self, examples: &[Example], device: &Device) -> Vec<f32> {
        self.token_grades(examples, device).into_iter().map(|grade| grade.loss).collect()
    }

    /// The same, and how well next sentences are told where the model does that, of one pass.
    fn measure(&self, examples: &[Example], device: &Device) -> (Vec<Grade>, Option<NextSentences>) {
        (self.token_grades(examples, device), None)
    }

    /// The mean over places of the last hidden states for an example, without regularization; none of a model that has no one
    /// state of a text.
    fn state(&self, _example: &Example, _device: &Device) -> Option<Vec<f32>> {
        None
    }

    /// What it is, for records.
    fn describe(&self) -> Shape;

    /// The longest text that it can read, in tokens; none where its context is only what it was trained on.
    fn limit(&self) -> Option<usize> {
        Some(self.describe().context)
    }

    /// Number of token ids.
    fn ids(&self) -> usize;

    /// Parameters outside the embeddings.
    fn inner_parameters(&self) -> u64;

    /// Parameters that are not trained.
    fn frozen_parameters(&self) -> u64 {
        0
    }

    /// A hash of what is not trained and stands in no checkpoint, where there is something.
    fn frozen_hash(&self) -> Option<String> {
        None
    }

    /// Writes the model in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn export(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError>;
}

/// Rows of ids side by side, `[rows, longest]`, short ones filled up behind.
fn rows<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, filler: u32, device: &Device) -> Tensor<2, Int> {
    let (count, time) = rows.clone().fold((0, 0), |(count, time), row| (count + 1, time.max(row.len())));
    let mut ids = Vec::with_capacity(count * time);
    for row in rows {
        ids.extend(row.iter().map(|id| i64::from(*id)));
        ids.resize(ids.len() + time - row.len(), i64::from(filler));
    }
    Tensor::from_data(TensorData::new(ids, [count, time]), device)
}

/// Targets side by side, each row as long as the longest, −1 where nothing is told.
fn targets(examples: &[Example]) -> (Vec<i64>, usize) {
    let time = examples.iter().map(|example| example.targets.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(examples.len() * time);
    for example in examples {
        ids.extend(example.targets.iter().map(|&id| if id == IGNORE { -1 } else { i64::from(id) }));
        ids.resize(ids.len() + time - example.targets.len(), -1);
    }
    (ids, time)
}

fn row(ids: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}

fn lengths<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone) -> Option<Vec<usize>> {
    let lengths: Vec<usize> = rows.map(<[u32]>::len).collect();
    let all_equal = lengths.windows(2).all(|pair| pair[0] == pair[1]);
    (!all_equal).then_some(lengths)
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}

/// The grades of the targets, each −1 or more, that count.
fn counted(grades: Grades, targets: &[i64]) -> Vec<Grade> {
    let rows = host(grades.losses).into_iter().zip(host(grades.hits)).zip(targets);
    rows.filter(|(_, id)| **id >= 0).map(|((loss, hit), _)| Grade { loss, hit: hit > 0.5 }).collect()
}

/// Padding stands behind, where causal models do not look, and is never told.
fn causal_operands(examples: &[Example], device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let inputs = rows(examples.iter().map(|example| &*example.inputs), 0, device);
    (inputs, row(targets(examples).0, device))
}

macro_rules! learns_causally {
    ($($model:ty),+) => {
        $(impl Learner for $model {
            fn loss(
                &self,
                examples: &[Example],
                scale: f32,
                regularization: Option<Regularization>,
                device: &Device,
            ) -> Tensor<1> {
                let (inputs, targets) = causal_operands(examples, device);
                LanguageModel::loss(self, inputs, targets, scale, regularization.map(|with| with.dropout_seed))
            }

            fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade> {
                let (inputs, ids) = causal_operands(examples, device);
                counted(LanguageModel::token_grades(self, inputs, ids), &targets(examples).0)
            }

            fn state(&self, example: &Example, device: &Device) -> Option<Vec<f32>> {
                let (inputs, _) = causal_operands(std::slice::from_ref(example), device);
                Some(mean_of_places(self.hidden(inputs, None)))
            }

            fn describe(&self) -> Shape {
                CausalModel::from(self.clone()).shape()
            }

            fn ids(&self) -> usize {
                self.vocabulary()
            }

            fn inner_parameters(&self) -> u64 {
                self.non_embedding_parameters()
            }

            fn export(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
                self.save(folder, end_of_text)
            }
        })+
    };
}

learns_causally!(CausalModel, Gpt);

/// What a masked model reads, the places that are asked about and what stood there.
fn masked_operands(examples: &[Example], device: &Device) -> (Inputs, Tensor<1, Int>, Tensor<1, Int>) {
    let texts = examples.iter().map(|example| &*example.inputs);
    let (ids, time) = targets(examples);
    let (places, told): (Vec<i64>, Vec<i64>) =
        ids.into_iter().enumerate().filter(|(_, id)| *id >= 0).map(|(place, id)| (place as i64, id)).unzip();
    let inputs = Inputs { ids: rows(texts.clone(), 0, device), token_types: None, lengths: lengths(texts) };
    debug_assert_eq!(inputs.ids.dims()[1], time);
    (inputs, row(places, device), row(told, device))
}

/// `[1, time, width]` to the mean over time.
fn mean_of_places(states: Tensor<3>) -> Vec<f32> {
    let width = states.dims()[2];
    host(states.mean_dim(1).reshape([width]))
}

impl Learner for MaskedBert {
    fn loss(
        &self,
        examples: &[Example],
        scale: f32,
        regularization: Option<Regularization>,
        device: &Device,
    ) -> Tensor<1> {
        let (inputs, places, told) = masked_operands(examples, device);
        MaskedBert::loss(self, &inputs, places, told, scale, regularization.map(|with| with.dropout_seed))
    }

    fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade> {
        let (inputs, places, told) = masked_operands(examples, device);
        let told_ids = vec![0; told.dims()[0]];
        counted(MaskedBert::token_grades(self, &inputs, places, told), &told_ids)
    }

    fn state(&self, example: &Example, device: &Device) -> Option<Vec<f32>> {
        let (inputs, ..) = masked_operands(std::slice::from_ref(example), device);
        Some(mean_of_places(self.encoder().encode(&inputs, None)))
    }

    fn describe(&self) -> Shape {
        self.config().shape()
    }

    fn ids(&self) -> usize {
        self.config().vocab_size
    }

    fn inner_parameters(&self) -> u64 {
        self.num_params() as u64 - tables(self.config())
    }

    fn export(&self, folder: &Path, _end_of_text: Option<u32>) -> Result<(), ModelError> {
        self.save(folder)
    }
}

/// Parameters of the embeddings.
fn tables(config: &BertConfig) -> u64 {
    let rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
    (rows * config.hidden_size) as u64
}

/// What a masked model reads with two sentences a row, the words that are told, and what becomes of the second
/// sentences: 0 where they follow, 1 where they do not, −1 where nothing is asked.
fn sentence_operands(examples: &[Example], device: &Device) -> (Inputs, (Tensor<1, Int>, Tensor<1, Int>), Vec<i64>) {
    let (inputs, places, told) = masked_operands(examples, device);
    let [batch, time] = inputs.ids.dims();
    let types = examples.iter().flat_map(|example| {
        let second = example.next_sentence.map_or(time, |next| next.second);
        (0..time).map(move |step| i64::from(step >= second && step < example.inputs.len()))
    });
    let types = Tensor::from_data(TensorData::new(types.collect::<Vec<i64>>(), [batch, time]), device);
    let outcome = |example: &Example| example.next_sentence.map_or(-1, |next| i64::from(!next.follows));
    let follows = examples.iter().map(outcome).collect();
    (Inputs { token_types: Some(types), ..inputs }, (places, told), follows)
}

impl Learner for PretrainingBert {
    fn loss(
        &self,
        examples: &[Example],
        scale: f32,
        regularization: Option<Regularization>,
        device: &Device,
    ) -> Tensor<1> {
        let (inputs, words, follows) = sentence_operands(examples, device);
        // All examples that are summed weigh the same.
        let weight = examples.iter().find_map(|example| example.next_sentence).map_or(0.0, |next| next.weight);
        let (scales, seed) = ((scale, scale * weight), regularization.map(|with| with.dropout_seed));
        PretrainingBert::loss(self, &inputs, words, row(follows, device), scales, seed)
    }

    fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade> {
        self.measure(examples, device).0
    }

    fn measure(&self, examples: &[Example], device: &Device) -> (Vec<Grade>, Option<NextSentences>) {
        let (inputs, words, follows) = sentence_operands(examples, device);
        let told = vec![0; words.1.dims()[0]];
        let (grades, logits) = PretrainingBert::token_grades(self, &inputs, words);
        let count = 2 * follows.len();
        let logits = host(logits.reshape([count]));
        let of = |(logits, outcome): (&[f32], &i64)| {
            let told = f64::from(logits[usize::from(*outcome == 1)]);
            let other = f64::from(logits[usize::from(*outcome == 0)]);
            // ln (1 + e^(other − told)), in the form that does not overflow.
            let nats = (other - told).max(0.0) + (-(other - told).abs()).exp().ln_1p();
            NextSentences { nats, right: u64::from(told > other), pairs: 1 }
        };
        let asked = logits.chunks_exact(2).zip(&follows).filter(|(_, outcome)| **outcome >= 0);
        (counted(grades, &told), Some(asked.map(of).fold(NextSentences::default(), |sum, one| sum + one)))
    }

    fn describe(&self) -> Shape {
        self.config().shape()
    }

    fn ids(&self) -> usize {
        self.config().vocab_size
    }

    fn inner_parameters(&self) -> u64 {
        self.num_params() as u64 - tables(self.config())
    }

    fn export(&self, folder: &Path, _end_of_text: Option<u32>) -> Result<(), ModelError> {
        self.save(folder)
    }
}

/// The source, what the decoder reads, and what it is to write.
fn pair_operands(
    model: &SourceToTarget,
    examples: &[Example],
    device: &Device,
) -> (Source, Tensor<2, Int>, Tensor<1, Int>) {
    let sources = examples.iter().map(|example| &*example.source);
    let source = Source { ids: rows(sources.clone(), model.padding() as u32, device), lengths: lengths(sources) };
    let (ids, time) = targets(examples);
    let inputs = model.decoder_inputs(&ids, time);
    let inputs = Tensor::from_data(TensorData::new(inputs, [examples.len(), time]), device);
    (source, inputs, row(ids, device))
}

impl Learner for SourceToTarget {
    fn loss(
        &self,
        examples: &[Example],
        scale: f32,
        regularization: Option<Regularization>,
        device: &Device,
    ) -> Tensor<1> {
        let (source, inputs, targets) = pair_operands(self, examples, device);
        let smoothing = regularization.map_or(0.0, |with| with.smoothing);
        let loss = head::Loss { smoothing, ..head::Loss::scaled(scale) };
        SourceToTarget::loss(self, &source, inputs, targets, loss, regularization.map(|with| with.dropout_seed))
    }

    fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade> {
        let (source, inputs, ids) = pair_operands(self, examples, device);
        counted(SourceToTarget::token_grades(self, &source, inputs, ids), &targets(examples).0)
    }

    fn describe(&self) -> Shape {
        self.shape()
    }

    fn limit(&self) -> Option<usize> {
        SourceToTarget::limit(self)
    }

    fn ids(&self) -> usize {
        self.vocabulary()
    }

    fn inner_parameters(&self) -> u64 {
        SourceToTarget::inner_parameters(self)
    }

    fn export(&self, folder: &Path, _end_of_text: Option<u32>) -> Result<(), ModelError> {
        self.save(folder)
    }
}

impl<M: Adaptable + Learner> Learner for Adapted<M> {
    fn loss(
        &self,
        examples: &[Example],
        scale: f32,
        regularization: Option<Regularization>,
        device: &Device,
    ) -> Tensor<1> {
        self.effective().loss(examples, scale, regularization, device)
    }

    fn token_grades(&self, examples: &[Example], device: &Device) -> Vec<Grade> {
        self.merge().token_grades(examples, device)
    }

    fn measure(&self, examples: &[Example], device: &Device) -> (Vec<Grade>, Option<NextSentences>) {
        self.merge().measure(examples, device)
    }

    fn state(&self, example: &Example, device: &Device) -> Option<Vec<f32>> {
        self.merge().state(example, device)
    }

    fn describe(&self) -> Shape {
        self.base().describe()
    }

    fn limit(&self) -> Option<usize> {
        self.base().limit()
    }

    fn ids(&self) -> usize {
        self.base().ids()
    }

    fn inner_parameters(&self) -> u64 {
        self.num_params() as u64
    }

    fn frozen_parameters(&self) -> u64 {
        self.base().num_params() as u64
    }

    fn frozen_hash(&self) -> Option<String> {
        Some(crate::export::weights_hash(self.base()))
    }

    fn export(&self, folder: &Path, _end_of_text: Option<u32>) -> Result<(), ModelError> {
        self.save(folder)
    }
}
