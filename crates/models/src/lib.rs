//! Language models: one file a family, each with its own configuration. Parameter names equal the checkpoint's, so that
//! loading needs no table of renames; where a family has several layouts, its table stands beside it. Beside the
//! families stand the baselines that a neural model must beat ([`ngram`]), the choosing of tokens ([`sampling`]) and the
//! writing of text ([`decode`], and [`generate`] for a single prompt).
#![deny(unsafe_code)]

pub mod bert;
mod cache;
pub mod causal;
pub mod classifier;
mod configuration;
pub mod crf;
pub mod decode;
mod dropouts;
pub mod error;
pub mod exchange;
pub mod generate;
pub mod gguf;
pub mod gpt;
pub mod labels;
pub mod language_model;
pub mod llama;
pub mod lora;
pub mod lstm;
pub mod ngram;
mod one_of;
pub mod recurrent_classifier;
pub mod recurrent_tagger;
pub mod sampling;
pub mod seq2seq;
pub mod sequence_causal;
mod sinusoids;
pub mod source_to_target;
pub mod t5;
pub mod tagger;
pub mod textcnn;
pub mod weights;
pub mod word2vec;

pub use bert::{Bert, BertConfig, MaskedBert};
pub use causal::CausalModel;
pub use classifier::{Classifier, SequenceClassifier};
pub use error::ModelError;
pub use gpt::{Gpt, GptConfig};
pub use labels::{Labels, Problem};
pub use language_model::{Cache, LanguageModel};
pub use llama::{Llama, LlamaConfig};
pub use lora::{Adaptable, Adapted, LoraConfig};
pub use lstm::{Recurrent, RecurrentConfig};
pub use recurrent_classifier::RecurrentClassifier;
pub use recurrent_tagger::RecurrentTagger;
pub use seq2seq::{Seq2Seq, Seq2SeqConfig};
pub use sequence_causal::SequenceCausal;
pub use source_to_target::SourceToTarget;
pub use t5::{T5, T5Config};
pub use tagger::Tagger;
pub use textcnn::{TextCnn, TextCnnConfig};
