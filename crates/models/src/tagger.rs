//! Models that label words, whatever their family.

use crate::bert::{Family, Inputs, TokenBert};
use crate::causal::Shape;
use crate::classifier::cross_entropies;
use crate::configuration::File;
use crate::error::ModelError;
use crate::labels::Labels;
use crate::lstm::Cell;
use crate::one_of::{inside, one_of};
use crate::recurrent_tagger::RecurrentTagger;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use std::path::Path;

/// Words of a batch that have labels: of every row, the places of their first tokens, in order.
pub type Places = Vec<Vec<usize>>;

/// A labeler of words of one of the families.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process holds a few models")]
pub enum Tagger {
    /// BERT and its relations.
    Bert(TokenBert),
    /// A plain recurrent network, an LSTM or a GRU.
    Recurrent(RecurrentTagger),
}

one_of!(Tagger { Bert(TokenBert), Recurrent(RecurrentTagger) });

impl Tagger {
    /// Every `model_type` that [`Tagger::load`] knows.
    pub fn model_types() -> Vec<&'static str> {
        Family::ALL.map(Family::name).into_iter().chain(Cell::ALL.map(Cell::name)).collect()
    }

    /// Reads the model of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, the family is none of [`Tagger::model_types`], or the model has another head or none.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Self::model_types())?;
        Ok(match file.family.as_str() {
            "rnn" | "lstm" | "gru" => Self::Recurrent(RecurrentTagger::load(folder, device)?),
            _ => Self::Bert(TokenBert::load(folder, device)?),
        })
    }

    /// What its outputs are called.
    pub fn labels(&self) -> &Labels {
        inside!(self, Bert | Recurrent, model => model.labels())
    }

    /// Longest text that it can see, in tokens.
    pub fn context(&self) -> usize {
        match self {
            Self::Bert(model) => model.config().context(),
            Self::Recurrent(model) => model.encoder().config().context_length,
        }
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(model) => model.config().vocab_size,
            Self::Recurrent(model) => model.encoder().config().vocab_size,
        }
    }

    /// The id that fills short rows of a batch.
    pub fn padding(&self) -> usize {
        match self {
            Self::Bert(model) => model.config().pad_token_id.unwrap_or(0),
            Self::Recurrent(_) => 0,
        }
    }

    /// What it is, for records.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Bert(model) => model.config().shape(),
            Self::Recurrent(model) => model.encoder().config().shape(),
        }
    }

    /// `scale` times the summed loss of the labels that are told, in nats, `[1]`, differentiable: the cross-entropies of labels, or,
    /// under a field, the negative logarithm of the probability of each row as a whole. `told` names the labels at `places`, in
    /// the same order. With a seed, dropout is on and follows from it alone.
    pub fn loss(
        &self,
        inputs: &Inputs,
        places: &Places,
        told: &[Vec<usize>],
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        match self {
            Self::Bert(model) => {
                let [batch, time] = inputs.ids.dims();
                let mut targets = vec![-1_i64; batch * time];
                for (row, (places, told)) in places.iter().zip(told).enumerate() {
                    for (place, label) in places.iter().zip(told) {
                        targets[row * time + place] = *label as i64;
                    }
                }
                let targets =
                    Tensor::<1, Int>::from_data(TensorData::new(targets, [batch * time]), &inputs.ids.device());
                model.loss(inputs, targets, scale, dropout_seed)
            }
            Self::Recurrent(model) => {
                let emissions = at(model.logits(inputs, dropout_seed), places);
                let told: Vec<Vec<usize>> = told.iter().filter(|row| !row.is_empty()).cloned().collect();
                if let Some(crf) = model.crf() {
                    return crf.loss(emissions, &told) * scale;
                }
                let ids: Vec<i64> = told.iter().flatten().map(|label| *label as i64).collect();
                let count = ids.len();
                let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &inputs.ids.device());
                cross_entropies(emissions, ids).sum() * scale
            }
        }
    }

    /// The most probable label at every place with its probability; under a field, the most probable row of them.
    pub fn tags(&self, inputs: &Inputs, places: &Places) -> Vec<Vec<(usize, f32)>> {
        let lengths: Vec<usize> = places.iter().map(Vec::len).collect();
        if lengths.iter().all(|length| *length == 0) {
            return vec![Vec::new(); places.len()];
        }
        let logits = match self {
            Self::Bert(model) => at(model.logits(inputs), places),
            Self::Recurrent(model) => {
                let logits = at(model.logits(inputs, None), places);
                if let Some(crf) = model.crf() {
                    return crf.best(logits, &lengths);
                }
                logits
            }
        };
        let [_, labels] = logits.dims();
        let scores = activation::softmax(logits, 1);
        let scores = scores.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
        let mut rows = scores.chunks_exact(labels).map(|row| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            best.map_or((0, 0.0), |(label, score)| (label, *score))
        });
        lengths.iter().map(|length| rows.by_ref().take(*length).collect()).collect()
    }

    /// Writes `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        inside!(self, Bert | Recurrent, model => model.save(folder))
    }
}

/// The rows of `[batch, time, width]` at places, one after the other, `[places, width]`.
fn at(states: Tensor<3>, places: &Places) -> Tensor<2> {
    let [batch, time, width] = states.dims();
    let rows = places.iter().enumerate();
    let rows: Vec<i64> =
        rows.flat_map(|(row, places)| places.iter().map(move |place| (row * time + place) as i64)).collect();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &states.device());
    states.reshape([batch * time, width]).select(0, rows)
}
