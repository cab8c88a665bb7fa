//! Vectors of texts, out of an encoder: what sentences mean, so that near ones can be found; training such encoders, measuring them,
//! and searching with them.

mod bm25;
mod documents;
mod evaluation;
mod index;
mod layout;
mod loss;
mod nearest;
mod pairs;
mod pooling;
#[cfg(test)]
mod tests;
mod training;

pub use bm25::Bm25;
pub use documents::{Document, Retrieval, read_documents, read_retrieval};
pub use evaluation::{
    EmbedDetails, Judged, RankedQuery, compare, evaluate, judge_bm25, judge_retrieval, judge_similarity,
};
pub use index::{Index, IndexOrigin};
pub use loss::SimilarityLoss;
pub use nearest::{Hit, Passages};
pub use pairs::{EmbedExamples, PairFields, ScoredPair, TextPair, read_examples};
pub use training::{EmbedRecipe, EmbedTask};

use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, model_folder};
use burn::tensor::Device;
pub(crate) use layout::Modules;
use loam_corpus::Tokenizer;
use loam_models::bert::Bert;
use loam_train::export;
pub(crate) use pooling::Encoder;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How the hidden states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's, which is `[CLS]`.
    Cls,
    /// The last token's.
    Last,
}

/// How texts are embedded; what is left open is as the model's folder says.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbedOptions {
    /// How tokens are pooled; the mean where the model does not say.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
}

/// An encoder with its tokenizer.
pub struct Embedder {
    model: Bert,
    tokenizer: Tokenizer,
    encoder: Encoder,
    device: Device,
}

impl Embedder {
    /// Opens a BERT, RoBERTa, or DistilBERT: a folder, a run's folder, or `hf:org/name`. Where it is a model of
    /// sentence-transformers, `modules.json` and the files that it names say how it pools and whether it normalizes.
    ///
    /// # Errors
    /// When files are missing or broken, the family is another, or the model asks for what Loam does not do.
    pub fn open(path: &Path, options: EmbedOptions, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = Bert::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.config().vocab_size)?;
        let encoder = Encoder::of(&model, Modules::read(&folder, options)?, options);
        if encoder.longest == 0 {
            return Err(TaskError::Request(format!("{}: max_seq_length = 0 leaves no token", folder.display())));
        }
        Ok(Self { model, tokenizer, encoder, device: device.clone() })
    }

    /// Tokens that are read of a text at most; what is longer is cut by [`Embedder::embed`], and read in windows by
    /// [`Embedder::passages`].
    pub fn longest(&self) -> usize {
        self.encoder.longest
    }

    /// A vector for each text, in their order, and how many texts were longer than what is read of them. Texts of like length go
    /// through the model together.
    ///
    /// # Errors
    /// When a text has no tokens at all.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<(Vec<Vec<f32>>, usize), TaskError> {
        let mut cut = 0;
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts {
            let (first, whole) = pooling::beginning(&self.tokenizer, text.as_ref(), self.encoder.longest);
            cut += usize::from(!whole);
            ids.push(first);
        }
        if let Some(empty) = ids.iter().position(Vec::is_empty) {
            return Err(TaskError::Request(format!("text {} has no tokens, so it has no vector", empty + 1)));
        }
        let rows: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        Ok((self.encoder.vectors(&self.model, &rows, &self.device, &mut |_| {}), cut))
    }

    /// The vectors of documents, each of length 1 and of one window of its document: a document that is longer than the model sees has
    /// several, which overlap. `done` is told of windows as they are embedded, and how many there are.
    ///
    /// # Errors
    /// When a document has no tokens at all.
    pub fn passages<S: AsRef<str>>(
        &self,
        documents: &[S],
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Passages, TaskError> {
        Passages::of(&self.model, &self.encoder, &self.tokenizer, documents, &self.device, done)
    }

    /// The vectors of queries, each of length 1, and how many queries were cut.
    ///
    /// # Errors
    /// When a query has no tokens at all.
    pub fn queries<S: AsRef<str>>(&self, texts: &[S]) -> Result<(Vec<Vec<f32>>, usize), TaskError> {
        let (mut vectors, cut) = self.embed(texts)?;
        for vector in &mut vectors {
            pooling::scale(vector);
        }
        Ok((vectors, cut))
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.model.config().hidden_size
    }

    /// A hash of all that vectors follow from, but the text.
    pub fn hash(&self) -> String {
        let Encoder { pooling, longest, padding, .. } = self.encoder;
        let used = format!("{pooling:?} {longest} {padding}");
        let parts = [export::weights_hash(&self.model), self.tokenizer.hash().to_owned(), used];
        blake3::hash(parts.join(" ").as_bytes()).to_hex().to_string()
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
