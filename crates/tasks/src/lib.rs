//! The applications of language models, one file a task.
#![forbid(unsafe_code)]

pub mod answer;
pub mod chat;
pub mod classify;
mod collate;
pub mod embed;
pub mod evaluation;
pub mod fill_mask;
pub mod finetune;
pub mod from_source;
pub mod language_model;
pub mod metrics;
pub mod model_folder;
pub mod multiple_choice;
pub mod rows;
pub mod score_documents;
pub mod summarize;
pub mod tag;
pub mod translate;
pub mod writing;

pub use answer::Answerer;
pub use classify::TextClassifier;
pub use embed::{EmbedOptions, Embedder, Pooling};
pub use fill_mask::{Filled, MaskFiller};
pub use from_source::{Beams, SourceModel};
pub use language_model::{Generation, LoadedModel, Score, TaskError, TextOptions};
pub use model_folder::{model_folder, model_source};
pub use score_documents::open_scorer;
pub use tag::{Span, TextTagger};
pub use writing::{Writer, WritingTask};
