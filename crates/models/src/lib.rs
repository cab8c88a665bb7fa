//! Language models: one file a family, each with its own configuration; parameter names equal the checkpoint's, so
//! loading needs no table of renames. Beside them the baselines that a neural model must beat ([`ngram`]), the
//! choosing of tokens ([`sampling`]) and the writing of text ([`generate`]).
#![deny(unsafe_code)]

pub mod error;
pub mod generate;
pub mod gpt;
pub mod language_model;
pub mod ngram;
pub mod sampling;
pub mod weights;

pub use error::ModelError;
pub use gpt::{Gpt, GptConfig};
pub use language_model::{Cache, LanguageModel};
