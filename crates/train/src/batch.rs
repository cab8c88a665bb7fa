//! Token ids as tensors, and held-out losses.

use crate::learner::Learner;
use crate::objective::{self, Example};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::{IGNORE, Tokenizer};

/// Inputs `[sequences, time]` and targets `[sequences * time]`, −1 where nothing is to be predicted.
pub fn tensors(inputs: &[u32], targets: &[u32], sequences: usize, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let time = inputs.len() / sequences.max(1);
    let inputs: Vec<i64> = inputs.iter().map(|&id| i64::from(id)).collect();
    let targets: Vec<i64> = targets.iter().map(|&id| if id == IGNORE { -1 } else { i64::from(id) }).collect();
    let count = targets.len();
    (
        Tensor::from_data(TensorData::new(inputs, [sequences, time]), device),
        Tensor::from_data(TensorData::new(targets, [count]), device),
    )
}

/// A summed held-out loss with what it was measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldOutLoss {
    /// Summed cross-entropy, in nats.
    pub nats: f64,
    /// Tokens that were scored.
    pub tokens: u64,
    /// Bytes of text that those tokens stand for.
    pub bytes: u64,
    /// Tokens that were the model's most probable ones.
    pub hits: u64,
    /// How well next sentences were told, where that is learned.
    pub next_sentences: Option<NextSentences>,
}

/// How well a model tells whether sentences follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NextSentences {
    /// Summed cross-entropy, in nats.
    pub nats: f64,
    /// Pairs of which the likelier answer was the right one.
    pub right: u64,
    /// Pairs.
    pub pairs: u64,
}

impl NextSentences {
    /// Nats a pair; NaN without pairs.
    pub fn loss(&self) -> f64 {
        self.nats / self.pairs as f64
    }

    /// The share of pairs that were told rightly; NaN without pairs.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.pairs as f64
    }
}

impl std::ops::Add for NextSentences {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nats: self.nats + other.nats, right: self.right + other.right, pairs: self.pairs + other.pairs }
    }
}

impl HeldOutLoss {
    /// Nats a token; NaN without tokens.
    pub fn per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Share of the tokens that were the model's most probable ones; none without tokens.
    pub fn accuracy(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.hits as f64 / self.tokens as f64)
    }

    /// Bits a byte of text: independent of the tokenizer. NaN without bytes.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes as f64
    }
}

/// For every token id, the bytes of text that it stands for.
pub fn token_bytes(tokenizer: &Tokenizer) -> Vec<u32> {
    (0..tokenizer.vocabulary() as u32).map(|id| tokenizer.token_bytes(id) as u32).collect()
}

/// The model's loss on examples, at most `tokens` at a time. Sums are taken in f64 in a fixed order.
pub fn evaluate<M: Learner>(
    model: &M,
    examples: &[Example],
    tokens: usize,
    token_bytes: &[u32],
    device: &Device,
) -> HeldOutLoss {
    let mut total = HeldOutLoss::default();
    for group in objective::groups(examples, tokens) {
        let (grades, next) = model.measure(group, device);
        total.nats += grades.iter().map(|grade| f64::from(grade.loss)).sum::<f64>();
        total.hits += grades.iter().filter(|grade| grade.hit).count() as u64;
        total.tokens += grades.len() as u64;
        total.next_sentences = total.next_sentences.zip(next).map(|(one, other)| one + other).or(next);
        let targets = group.iter().flat_map(|example| &example.targets);
        total.bytes += targets.filter_map(|&id| token_bytes.get(id as usize)).map(|&b| u64::from(b)).sum::<u64>();
    }
    total
}
