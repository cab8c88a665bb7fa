//! What a classifier makes of texts.

use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::Tokenizer;
use loam_models::bert::Inputs;
use loam_models::{Classifier, SequenceClassifier};
use std::path::Path;

/// Texts that are looked at side by side.
const BATCH: usize = 32;

/// A classifier with its tokenizer.
pub struct TextClassifier {
    model: Classifier,
    tokenizer: Tokenizer,
    device: Device,
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
    pub fn labels(&self) -> &[String] {
        self.model.labels().names()
    }

    /// The scores of every label (probabilities, or the numbers of a regression) for each text, of which at most `longest`
    /// tokens are read, and never more than the model sees. Empty for a text without tokens.
    pub fn scores<S: AsRef<str>>(&self, texts: &[S], longest: usize) -> Vec<Vec<f32>> {
        let longest = longest.min(self.model.context());
        let ids: Vec<Vec<u32>> =
            texts.iter().map(|text| self.tokenizer.encode_framed(text.as_ref(), longest)).collect();
        let mut order: Vec<usize> = (0..ids.len()).filter(|index| !ids[*index].is_empty()).collect();
        order.sort_by_key(|&index| ids[index].len());
        let mut scores = vec![Vec::new(); ids.len()];
        for batch in order.chunks(BATCH) {
            let time = batch.iter().map(|&index| ids[index].len()).max().unwrap_or(0);
            let padding = self.model.padding() as i64;
            let padded: Vec<i64> = batch
                .iter()
                .flat_map(|&index| {
                    ids[index].iter().map(|&id| i64::from(id)).chain(std::iter::repeat(padding)).take(time)
                })
                .collect();
            let tensor = Tensor::<2, Int>::from_data(TensorData::new(padded, [batch.len(), time]), &self.device);
            let lengths = Some(batch.iter().map(|&index| ids[index].len()).collect());
            let logits = self.model.logits(&Inputs { ids: tensor, token_types: None, lengths }, None);
            let found = self.model.labels().scores(logits);
            let labels = found.dims()[1];
            let found = found.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
            for (&index, row) in batch.iter().zip(found.chunks_exact(labels)) {
                scores[index] = row.to_vec();
            }
        }
        scores
    }
}
