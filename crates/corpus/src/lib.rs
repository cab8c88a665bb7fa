//! Documents on the road from file to tokens.
//!
//! Training data is text of any shape and size, and what it did to a model can only be told when every
//! token can be traced to its document. So this crate streams: files are read as documents with source,
//! path and offset ([`read_documents`]), brought to one spelling ([`normalize`]) and cleaned ([`mod@clean`]), judged by the
//! published filters ([`quality`]), freed of what tells who a person is ([`redact`]), counted for
//! copies ([`DuplicateCounter`]), tokenized ([`Tokenizer`]), laid down as flat files of token ids with a row per
//! document ([`prepare`]), and read back in an order that can be resumed from anywhere ([`Loader`]). What repeats across
//! documents, or stands in evaluation sets, is found by [`deduplicate`].
//! Memory has a bound that does not depend on the corpus, and the same input gives the same output, bit
//! for bit, whatever the thread count.

#![deny(unsafe_code)]

mod batches;
mod cargo_sources;
pub mod clean;
pub mod deduplicate;
mod documents;
mod duplicates;
mod error;
pub mod extract;
mod fasttext;
mod guard;
mod inspect;
mod language;
mod loader;
mod normalize;
mod permutation;
pub mod pipeline;
mod prepare;
pub mod quality;
mod read;
pub mod redact;
mod rust_source;
mod shard;
mod tokenizer;
mod training_documents;
mod words;
mod write;

pub use cargo_sources::{CargoCaps, CargoCorpus, CargoSources};
pub use documents::find_documents;
pub use duplicates::{ContentHash, DuplicateCounter, RepeatedDocument, SealedCounts, content_hash};
pub use error::CorpusError;
pub use fasttext::FastText;
pub use inspect::{
    Examples, InspectOptions, Inspection, LanguageShare, Lengths, Oddity, OddityKind, PreviewDocument, Scripts, inspect,
};
pub use language::{Identified, identify_language, language_codes};
pub use loader::{
    Fit, IGNORE, Loader, MicroBatch, PairBatch, PairLoader, Place, Position, Sequence, evaluation_sequences, fitting,
};
pub use normalize::normalize;
pub use prepare::{
    ConversationWriter, Derivation, DocumentOrder, Dropped, ExamplePlan, ExampleStream, HeldOutPlan, HeldOutSummary,
    Marked, PreparePlan, Prepared, Progress, SourcePlan, SourceSummary, TokenizerPlan, derive, learned_tokens, prepare,
};
pub use read::{
    Bytes, Compression, Damage, Document, Documents, FileFormat, FileKind, FileList, JsonFields, LARGEST_EXPANSION,
    LONGEST_DOCUMENT, LONGEST_RECORD, Note, Notes, ReadOptions, Records, Split, TextEncoding, Turn, find_files,
    glob_files, read_documents, read_lines,
};
pub use shard::{ShardIndex, StreamIndex, TokenStream, TokenWidth};
pub use tokenizer::{END_OF_TEXT, Framing, TextStream, TokenOffset, Tokenizer, TokenizerKind, Window, train_tokenizer};
pub use training_documents::{DocumentPlace, TrainingDocuments, locate_documents};
pub use words::{WordSplit, count_words};
