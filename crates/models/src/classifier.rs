//! Classifiers of texts: what a task asks of one, whatever its family, and the one that a folder holds.

use crate::bert::{Family, Inputs, SequenceBert};
use crate::causal::Shape;
use crate::configuration::File;
use crate::error::ModelError;
use crate::labels::{Labels, Problem};
use crate::lstm::Cell;
use crate::one_of::{inside, one_of};
use crate::recurrent_classifier::RecurrentClassifier;
use crate::sequence_causal::SequenceCausal;
use crate::textcnn::TextCnn;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, activation};
use std::path::Path;

/// What texts are to be told as, one row a text.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Of a choice: the label's number, `[batch]`; −1 does not count.
    Labels(Tensor<1, Int>),
    /// Of several labels, 1 where one holds and 0 where it does not; of a regression, the numbers. `[batch, labels]`.
    Values(Tensor<2>),
}

/// A model that labels whole texts.
pub trait SequenceClassifier: Module {
    /// What its outputs are called, and what they answer.
    fn labels(&self) -> &Labels;

    /// Longest text that it can see, in tokens.
    fn context(&self) -> usize;

    /// Number of token ids.
    fn vocabulary(&self) -> usize;

    /// The id that fills short rows of a batch; any will do where none is named, since no model sees it.
    fn padding(&self) -> usize;

    /// The logits of every label, `[batch, labels]`; [`Labels::scores`] makes probabilities of them. With a seed, dropout
    /// is on and follows from it alone.
    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2>;

    /// `scale` times the summed loss of the texts, `[1]`, differentiable: of a choice the cross-entropy in nats (targets
    /// of −1 do not count), of several labels the mean of their binary cross-entropies, of a regression the mean of the
    /// squared errors. With one over the number of texts as the scale it is the loss of transformers.
    ///
    /// # Panics
    /// When the targets are not of the kind that the labels' problem has.
    fn loss(&self, inputs: &Inputs, targets: &Targets, scale: f32, dropout_seed: Option<u64>) -> Tensor<1> {
        loss(self.logits(inputs, dropout_seed), self.labels().problem(), targets, scale)
    }

    /// Writes `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save(&self, folder: &Path) -> Result<(), ModelError>;
}

/// See [`SequenceClassifier::loss`]; logits `[batch, labels]`.
pub fn loss(logits: Tensor<2>, problem: Problem, targets: &Targets, scale: f32) -> Tensor<1> {
    losses(logits, problem, targets).sum() * scale
}

/// The loss of every text, `[batch]`: what [`SequenceClassifier::loss`] sums.
///
/// # Panics
/// As there.
pub fn losses(logits: Tensor<2>, problem: Problem, targets: &Targets) -> Tensor<1> {
    let mean = |losses: Tensor<2>| {
        let [batch, _] = losses.dims();
        losses.mean_dim(1).reshape([batch])
    };
    match (problem, targets) {
        (Problem::SingleLabel, Targets::Labels(targets)) => cross_entropies(logits, targets.clone()),
        // −y ln σ(x) − (1 − y) ln (1 − σ(x)), and ln (1 − σ(x)) = ln σ(x) − x.
        (Problem::MultiLabel, Targets::Values(targets)) => {
            mean(logits.clone() * (targets.clone() * -1.0 + 1.0) - activation::log_sigmoid(logits))
        }
        (Problem::Regression, Targets::Values(targets)) => mean((logits - targets.clone()).powi_scalar(2)),
        (problem, _) => panic!("targets of another kind than problem_type = {:?} has", problem.name()),
    }
}

/// The cross-entropy of every row of logits `[rows, choices]` in nats, `[rows]`; 0 where the target is −1.
pub(crate) fn cross_entropies(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let rows = targets.dims()[0];
    let counted = targets.clone().greater_equal_elem(0).float();
    let picked = targets.clamp_min(0).reshape([rows, 1]);
    let told = activation::log_softmax(logits, 1).gather(1, picked).reshape([rows]);
    told * counted * -1.0
}

/// A classifier of one of the families.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process holds a few models")]
pub enum Classifier {
    /// BERT and its relations.
    Bert(SequenceBert),
    /// Convolutions over words.
    TextCnn(TextCnn),
    /// A plain recurrent network, an LSTM or a GRU.
    Recurrent(RecurrentClassifier),
    /// GPT-2, Llama and its relatives.
    Causal(SequenceCausal),
}

one_of!(Classifier { Bert(SequenceBert), TextCnn(TextCnn), Recurrent(RecurrentClassifier), Causal(SequenceCausal) });

impl Classifier {
    /// Every `model_type` that [`Classifier::load`] knows.
    pub fn model_types() -> Vec<&'static str> {
        let berts = Family::ALL.map(Family::name);
        let others = [crate::textcnn::MODEL_TYPE].into_iter().chain(Cell::ALL.map(Cell::name));
        berts.into_iter().chain(others).chain(SequenceCausal::model_types()).collect()
    }

    /// Reads the classifier of a folder, whose `config.json` names its family and, under `architectures`, its head.
    ///
    /// # Errors
    /// When a file is missing or broken, the family is none of [`Classifier::model_types`], or the model has another head
    /// or none.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Self::model_types())?;
        Ok(match file.family.as_str() {
            crate::textcnn::MODEL_TYPE => Self::TextCnn(TextCnn::load(folder, device)?),
            "rnn" | "lstm" | "gru" => Self::Recurrent(RecurrentClassifier::load(folder, device)?),
            family if SequenceCausal::model_types().contains(&family) => {
                Self::Causal(SequenceCausal::load(folder, device)?)
            }
            _ => Self::Bert(SequenceBert::load(folder, device)?),
        })
    }
}

impl Classifier {
    /// What it is, for records.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Bert(model) => model.config().shape(),
            Self::TextCnn(model) => {
                let config = model.config();
                let (width, context) = (config.embedding_size, config.context_length);
                Shape { family: crate::textcnn::MODEL_TYPE, width, layers: 1, heads: 0, context }
            }
            Self::Recurrent(model) => model.encoder().config().shape(),
            Self::Causal(model) => model.body().shape(),
        }
    }
}

impl SequenceClassifier for Classifier {
    fn labels(&self) -> &Labels {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.labels())
    }

    fn context(&self) -> usize {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.context())
    }

    fn vocabulary(&self) -> usize {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.vocabulary())
    }

    fn padding(&self) -> usize {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.padding())
    }

    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2> {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.logits(inputs, dropout_seed))
    }

    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        inside!(self, Bert | TextCnn | Recurrent | Causal, model => model.save(folder))
    }
}
