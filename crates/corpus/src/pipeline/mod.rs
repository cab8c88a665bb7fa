//! The pipeline: documents through steps in the order of a recipe, with a reason for every one that goes.
//!
//! Steps that look at one document at a time (clean, language, filter, redact, decontaminate) run together, in parallel,
//! while documents are read. Steps that compare documents (duplicates of any kind) need all of them, so that what comes
//! before is laid down, compared, and read again. Between the two, and at the end, everything is Parquet: a row for every
//! document, those that went included, with every value that was measured.
//!
//! ```text
//! DIR/text/SOURCE-00000.parquet      what is left, with where it came from
//! DIR/held_out/SOURCE-00000.parquet  the part of it that is held out, where one is
//! DIR/tokens/                        both as tokens, as a trainer reads them, where a tokenizer is asked for
//! DIR/documents.parquet              a row for every document: rule, values, cluster, split, place of its tokens
//! DIR/summary.json                   how many documents and bytes came and went, by source and rule
//! ```
//!
//! Memory is that of the batches under way and, for steps that compare, about 8 bytes a document and what
//! [`Scratch`](crate::deduplicate::Scratch) allows. More is taken by a similarity that is verified (a byte an order, 112 by default, for
//! each document), by a split (an entry for each cluster), and by tokens where no step removes copies (a hash for each
//! distinct document). A file's rows are laid down whole or not at all, so that a run that was killed goes on with
//! the first file that was not finished. The same plan over the same files gives the same bytes, on any number of threads.

mod compare;
mod finish;
mod label;
mod mix;
mod order;
mod parts;
mod plan;
mod readers;
mod row;
mod run;
mod score;
mod split;
mod step;
mod summary;
mod tokens;

pub use plan::{Duplicates, MixPlan, OutputPlan, PipelinePlan, PipelineSource, SplitPlan, StepPlan, TokensPlan};
pub use readers::{FileReader, FileReaders, FilesToRead};
pub use run::{PipelineProgress, run_pipeline, run_pipeline_by, run_pipeline_with};
pub use score::{OpenScorer, ScoreMeasure, ScorePlan, TextScorer, no_scorers};
pub use summary::{PipelineSummary, Reason, SourceCounts, TokenCounts};

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
