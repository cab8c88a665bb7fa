//! Training: from a recipe to an exported model, with the data ledger measured on the way.
//!
//! The loop is our own because it must weigh accumulated micro-batches by their tokens, resume to the bit after a kill,
//! and book every weight change to the source that caused it ([`ledger`]). A run leaves a folder ([`run`]) of a recipe,
//! a log of events and tables ([`record`]).
#![forbid(unsafe_code)]

mod baseline;
pub mod batch;
pub mod bench;
pub mod checkpoint;
mod configuration;
mod document_records;
pub mod error;
pub mod export;
pub mod feed;
pub mod finetune;
pub mod learner;
pub mod ledger;
mod measurements;
pub mod objective;
pub mod optimizer;
pub mod plan;
pub mod recipe;
pub mod record;
pub mod reopen;
mod rotation;
pub mod run;
pub mod schedule;
pub mod session;
pub mod table;
pub mod tensorboard;
mod trainer;
pub mod word_vectors;

pub use error::TrainError;
pub use recipe::Recipe;
pub use run::Run;
pub use session::{Observer, Session, StepProgress, resume, start};
pub use trainer::Outcome;
