//! Words for the masks of a text, out of a masked language model.

use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::Tokenizer;
use loam_models::MaskedBert;
use loam_models::bert::Inputs;
use serde::Serialize;
use std::path::Path;

/// How every model's mask may be written.
const MASK: &str = "[MASK]";

/// A text and what its masks may stand for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filled {
    /// The text as it was given.
    pub text: String,
    /// Its masks, from left to right.
    pub masks: Vec<Mask>,
}

/// What one mask may stand for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mask {
    /// Its place among the tokens that the model reads, those that begin and end a text among them.
    pub position: usize,
    /// The most probable tokens, best first.
    pub candidates: Vec<Candidate>,
}

/// A token in the place of a mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Its text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Its probability among all tokens.
    pub probability: f64,
    /// The text with it, as its tokens spell it. Where there are other masks, they stay, and so do the tokens that begin
    /// and end a text.
    pub text: String,
}

/// A masked language model with its tokenizer.
pub struct MaskFiller {
    model: MaskedBert,
    tokenizer: Tokenizer,
    mask: u32,
    /// The mask as the tokenizer spells it.
    spelled: String,
    padding: Option<u32>,
    device: Device,
}

impl MaskFiller {
    /// Opens a BERT, one of RoBERTa's kind, or a DistilBERT with its head over masked words: a folder, a run's folder, or
    /// `hf:org/name`.
    ///
    /// # Errors
    /// When files are missing or broken, the model is of another kind, or its tokenizer has no mask.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = MaskedBert::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        let mask = tokenizer.special_id("mask_token", &[MASK, "<mask>"]);
        let Some((mask, spelled)) = mask.and_then(|id| Some((id, tokenizer.token(id)?))) else {
            return Err(TaskError::Request(format!("{}: the tokenizer has no mask", folder.display())));
        };
        let padding = tokenizer.special_id("pad_token", &["[PAD]", "<pad>"]);
        Ok(Self { model, tokenizer, mask, spelled, padding, device: device.clone() })
    }

    /// The mask as the model's tokenizer spells it.
    pub fn mask(&self) -> &str {
        &self.spelled
    }

    /// The `most` most probable tokens for every mask of a text, which is written as the tokenizer spells it or as
    /// `[MASK]`. A text with several masks is read once: each is told with the others unknown.
    ///
    /// # Errors
    /// When the text has no mask, or more tokens than the model can see.
    pub fn fill(&self, text: &str, most: usize) -> Result<Filled, TaskError> {
        let own = if self.spelled == MASK { text.to_owned() } else { text.replace(MASK, &self.spelled) };
        let ids = self.tokenizer.encode_framed_with_special_tokens(&own);
        let positions: Vec<usize> = (0..ids.len()).filter(|&place| ids[place] == self.mask).collect();
        if positions.is_empty() {
            let or = if self.spelled == MASK { "" } else { " or [MASK]" };
            return Err(TaskError::Request(format!(
                "{:?} has no mask; write {}{or} where a word is to be told",
                shortened(text),
                self.spelled
            )));
        }
        let longest = self.model.config().context();
        if ids.len() > longest {
            return Err(TaskError::Request(format!(
                "{:?} has {} tokens, and the model sees {longest} at most; shorten it",
                shortened(text),
                ids.len()
            )));
        }
        let row: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let inputs = Inputs::new(Tensor::<2, Int>::from_data(TensorData::new(row, [1, ids.len()]), &self.device));
        let places: Vec<i64> = positions.iter().map(|&place| place as i64).collect();
        let places = Tensor::from_data(TensorData::new(places, [positions.len()]), &self.device);
        let logits = self.model.logits_at(&inputs, places);
        let vocabulary = logits.dims()[1];
        let logits = logits.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
        let masks = positions
            .iter()
            .zip(logits.chunks_exact(vocabulary))
            .map(|(&position, logits)| {
                let candidate = |(id, probability)| Candidate {
                    token: self.tokenizer.decode_with_special_tokens(&[id]),
                    id,
                    probability,
                    text: self.filled(&ids, position, id, positions.len() == 1),
                };
                Mask { position, candidates: likeliest(logits, most).into_iter().map(candidate).collect() }
            })
            .collect();
        Ok(Filled { text: text.to_owned(), masks })
    }

    /// The text of the tokens with `id` in the place of a mask.
    fn filled(&self, ids: &[u32], position: usize, id: u32, alone: bool) -> String {
        let mut ids = ids.to_vec();
        ids[position] = id;
        ids.retain(|id| Some(*id) != self.padding);
        if alone { self.tokenizer.decode(&ids) } else { self.tokenizer.decode_with_special_tokens(&ids) }
    }
}

/// The most probable ids with their probabilities, best first; of equals the lower id.
fn likeliest(logits: &[f32], most: usize) -> Vec<(u32, f64)> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let most = most.min(order.len());
    if most > 0 && most < order.len() {
        order.select_nth_unstable_by(most - 1, better);
    }
    order.truncate(most);
    order.sort_unstable_by(better);
    order.into_iter().map(|id| (id as u32, f64::from(logits[id] - largest).exp() / sum)).collect()
}

/// The beginning of a text, for messages.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::likeliest;

    #[test]
    fn the_likeliest_come_first_and_in_order() {
        let logits = [0.0, 2.0, 1.0, 2.0, -1.0];
        let ids = |most| likeliest(&logits, most).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(3), [1, 3, 2]);
        assert_eq!(ids(1), [1]);
        assert_eq!(ids(99), [1, 3, 2, 0, 4]);
        assert!(ids(0).is_empty());
        let sum: f64 = likeliest(&logits, 5).into_iter().map(|(_, probability)| probability).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
