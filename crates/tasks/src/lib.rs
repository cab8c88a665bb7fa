//! The applications of language models, one file a task.
#![forbid(unsafe_code)]

pub mod chat;
pub mod language_model;

pub use language_model::{Generation, LoadedModel, Score, TaskError, TextOptions};
