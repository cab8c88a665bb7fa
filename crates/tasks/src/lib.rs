//! The applications of language models, one file a task.
#![forbid(unsafe_code)]

pub mod language_model;

pub use language_model::{LoadedModel, Score, TaskError};
