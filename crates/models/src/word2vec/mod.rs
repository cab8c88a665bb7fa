//! Word vectors (Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space" and "Distributed
//! Representations of Words and Phrases and their Compositionality"): skip-gram and CBOW with negative sampling, the file
//! formats of word2vec.c and gensim, and what vectors are asked: neighbors and analogies.
//!
//! The road: words with their counts make a [`Vocabulary`]; text is laid down as its rows in an [`EncodedText`];
//! [`train`] reads that once an epoch and gives [`WordVectors`]. The arithmetic is [`loam_kernels::word2vec`], where
//! stands how threads share it.

mod analogies;
mod format;
mod sample;
mod text;
mod training;
mod vectors;
mod vocabulary;

pub use analogies::{Evaluation, Questions, Section};
pub use format::{Format, Remarks};
pub use loam_kernels::word2vec::Kind;
pub use text::EncodedText;
pub use training::{Progress, Trained, train};
pub use vectors::{Neighbor, WordVectors};
pub use vocabulary::Vocabulary;

use crate::error::ModelError;

/// How vectors are trained. [`Word2VecConfig::default`] has word2vec.c's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Word2VecConfig {
    /// What is predicted from what.
    pub kind: Kind,
    /// Numbers in a vector.
    pub size: usize,
    /// Words at most on each side of the center; how many it is is drawn anew for every center.
    pub window: usize,
    /// Negative samples a center, drawn by counts to the power 0.75.
    pub negative: usize,
    /// Words with a larger share of the text than this are left out at random; 0 leaves none out.
    pub sample: f64,
    /// Learning rate at the beginning; it falls evenly to a ten-thousandth of that.
    pub rate: f64,
    /// Passes over the text.
    pub epochs: usize,
    /// Seed of first vectors, windows, and samples.
    pub seed: u64,
}

impl Default for Word2VecConfig {
    fn default() -> Self {
        Self {
            kind: Kind::SkipGram,
            size: 100,
            window: 5,
            negative: 5,
            sample: 1e-3,
            rate: Self::default_rate(Kind::SkipGram),
            epochs: 5,
            seed: 1,
        }
    }
}

impl Word2VecConfig {
    /// The learning rate that word2vec.c begins with.
    pub fn default_rate(kind: Kind) -> f64 {
        match kind {
            Kind::SkipGram => 0.025,
            Kind::Cbow => 0.05,
        }
    }

    /// Refuses what nobody can mean.
    pub fn check(&self) -> Result<(), ModelError> {
        let within = |what: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(ModelError::Configuration(format!("{what} is {value}; give a number from 1 to {most}")))
        };
        within("size", self.size, 1 << 16)?;
        within("window", self.window, 1000)?;
        within("negative", self.negative, 1000)?;
        within("epochs", self.epochs, 1_000_000)?;
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return Err(ModelError::Configuration(format!(
                "the learning rate is {}; give one above 0 and up to 1, as 0.025",
                self.rate
            )));
        }
        if !(self.sample >= 0.0 && self.sample <= 1.0) {
            return Err(ModelError::Configuration(format!(
                "sample is {}; give a share of the text, as 1e-3, or 0 to leave no word out",
                self.sample
            )));
        }
        Ok(())
    }

    /// Bytes of the matrices for so many words.
    pub fn bytes(&self, words: usize) -> u64 {
        2 * words as u64 * self.size.div_ceil(16) as u64 * 64
    }
}
