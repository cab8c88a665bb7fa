//! Removing what repeats, within a corpus and between a corpus and what a model will be measured with.
//!
//! Five ways, each for another kind of repeat, and none of them knows of files: they are given document numbers and texts, and
//! give verdicts.
//!
//! - [`ExactDuplicates`]: documents of one content or one address;
//! - [`NearDuplicates`]: documents that share most of their shingles ([`MinHasher`]);
//! - [`RepeatedParts`]: lines and paragraphs that stood in an earlier document;
//! - [`RepeatedPassages`]: runs of 50 tokens and more, wherever they stand;
//! - [`ContaminationIndex`]: runs of 13 words that stand in evaluation sets.
//!
//! What must be compared across a corpus is brought side by side by sorting ([`ExternalSorter`]), which goes to disk where
//! memory ends ([`Scratch`]). So memory is bounded but for four to eight bytes a document where clusters are made, no group of
//! equals is too large, and the outcome is the same whatever the memory, the order of adding and the number of threads.

mod arithmetic;
mod cluster;
mod decontaminate;
mod exact;
mod external_sort;
mod in_order;
mod minhash;
mod near;
mod parts;
mod substring;
mod url;
mod words;

pub use cluster::{Cluster, Clusters, Keep, Verdict};
pub use decontaminate::{
    Contamination, ContaminationCounts, ContaminationIndex, ContaminationOptions, MOST_SETS, Match, SetCounts,
};
pub use exact::ExactDuplicates;
pub use external_sort::{ExternalSorter, Scratch, Sorted};
pub use minhash::{MinHashOptions, MinHashWorker, MinHasher, Signature, Unit, jaccard};
pub use near::{NearDuplicates, NearHasher, NearOptions};
pub use parts::{Least, Part, PartRemover, RepeatedParts, Trimmed};
pub use substring::{PASSAGE, Passages, RepeatedPassages, without_words, words_as_tokens};
pub use url::normalize_url;
