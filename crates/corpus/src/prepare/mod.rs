//! From a plan (sources, held-out domains, a tokenizer) to a folder that a trainer reads.
//!
//! The corpus is read as a stream, once to count copies and decide what is held out, once to train the
//! tokenizer (when one is trained), and once to tokenize, and is never held in memory. The folder appears
//! whole or not at all:
//!
//! ```text
//! DIR/index.json                       what is here, with hashes
//! DIR/train/NAME-00000.tokens          tokens of a source
//! DIR/held_out/NAME-00000.tokens       tokens of a domain
//! DIR/documents.parquet                a row for every document
//! DIR/tokenizer/                       in Hugging Face's layout
//! ```

mod derive;
pub(crate) mod examples;
mod plan;
mod prepared;
mod run;
mod scan;
mod summary;

pub use derive::{Derivation, DocumentOrder, derive};
pub use examples::learned_tokens;
pub(crate) use plan::read_options;
pub use plan::{
    ConversationWriter, ExamplePlan, HeldOutPlan, Marked, PreparePlan, Progress, SourcePlan, TokenizerPlan,
};
pub use prepared::{ExampleStream, Prepared};
pub(crate) use prepared::{INDEX, Index};
pub use run::prepare;
pub(crate) use scan::find_sources;
pub use summary::{Dropped, HeldOutSummary, SourceSummary};

#[cfg(test)]
mod tests;
