//! The model of every shape, and the loss of its batch of random tokens.

use super::shapes::Shape;
use crate::batch;
use crate::error::TrainError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_models::LanguageModel;
use loam_models::bert::{BertConfig, Inputs, MaskedBert};
use loam_models::gpt::{Gpt, GptConfig};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::seq2seq::{Seq2Seq, Seq2SeqConfig, Source};
use loam_nn::head;
use loam_nn::initialize::mix;

/// Label smoothing of translation, as in Vaswani et al. 2017.
const SMOOTHING: f32 = 0.1;

/// Random numbers of a batch, which follow from a seed.
struct Random(u64);

impl Random {
    /// `count` ids below `below`; each `salt` gives others.
    fn ids(&self, salt: u64, count: usize, below: usize) -> Vec<u32> {
        (0..count).map(|i| (mix(self.0 ^ mix((salt << 32) + i as u64)) % below as u64) as u32).collect()
    }
}

fn row(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}

/// A causal language model's loss on random tokens.
fn next_tokens<M: LanguageModel>(shape: Shape, seed: u64, device: &Device) -> impl Fn(&M) -> Tensor<1> {
    let random = Random(seed);
    let [inputs, targets] = [1, 2].map(|salt| random.ids(salt, shape.tokens(), shape.vocabulary));
    let device = device.clone();
    move |model| {
        let (inputs, targets) = batch::tensors(&inputs, &targets, shape.batch, &device);
        model.loss(inputs, targets, 1.0 / shape.tokens() as f32, None)
    }
}

/// GPT-2 and its loss.
pub(super) fn gpt(shape: Shape, seed: u64, device: &Device) -> Result<(Gpt, impl Fn(&Gpt) -> Tensor<1>), TrainError> {
    let config = GptConfig::new(shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads, 0.0);
    let model = Gpt::new(config, seed, &device.clone().autodiff())?;
    Ok((model, next_tokens(shape, seed, device)))
}

/// An LSTM and its loss.
pub(super) fn lstm(
    shape: Shape,
    seed: u64,
    device: &Device,
) -> Result<(Recurrent, impl Fn(&Recurrent) -> Tensor<1>), TrainError> {
    let config = RecurrentConfig::new(Cell::Lstm, shape.vocabulary, shape.context, shape.width, shape.layers, 0.0);
    let model = Recurrent::new(config, seed, &device.clone().autodiff())?;
    Ok((model, next_tokens(shape, seed, device)))
}

/// BERT and its loss on words at random places.
pub(super) fn bert(
    shape: Shape,
    seed: u64,
    device: &Device,
) -> Result<(MaskedBert, impl Fn(&MaskedBert) -> Tensor<1>), TrainError> {
    let config = BertConfig::new(shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads, 0.0);
    let model = MaskedBert::new(config, seed, &device.clone().autodiff())?;
    let random = Random(seed);
    let ids = random.ids(1, shape.tokens(), shape.vocabulary);
    let places = random.ids(2, shape.predicted(), shape.tokens());
    let targets = random.ids(3, shape.predicted(), shape.vocabulary);
    let device = device.clone();
    let loss = move |model: &MaskedBert| {
        let inputs = Inputs::new(row(&ids, &device).reshape([shape.batch, shape.context]));
        let scale = 1.0 / shape.predicted() as f32;
        model.loss(&inputs, row(&places, &device), row(&targets, &device), scale, None)
    };
    Ok((model, loss))
}

/// An encoder with a decoder, and their loss on translations of as many tokens as the source has.
pub(super) fn seq2seq(
    shape: Shape,
    seed: u64,
    device: &Device,
) -> Result<(Seq2Seq, impl Fn(&Seq2Seq) -> Tensor<1>), TrainError> {
    let config = Seq2SeqConfig::new(shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads, 0.0);
    let model = Seq2Seq::new(config, seed, &device.clone().autodiff())?;
    let random = Random(seed);
    let [source, inputs, targets] = [1, 2, 3].map(|salt| random.ids(salt, shape.predicted(), shape.vocabulary));
    let device = device.clone();
    let loss = move |model: &Seq2Seq| {
        let rows = |ids| row(ids, &device).reshape([shape.batch, shape.context]);
        let source = Source { ids: rows(&source), lengths: None };
        let kind = head::Loss { smoothing: SMOOTHING, ..head::Loss::scaled(1.0 / shape.predicted() as f32) };
        model.loss(&source, rows(&inputs), row(&targets, &device), kind, None)
    };
    Ok((model, loss))
}
