//! What the training data did to a model, read from the records that its run left.
//!
//! Training measures and writes; this crate adds up, compares and judges; `loam-report` draws. It holds no plots and no
//! words for readers, so that a page, a table on a terminal and a test all see the same numbers.
//!
//! - [`ledger`] reads `ledger.parquet` and turns it into values by source, held-out domain and time, and says whether
//!   the books close.
//! - [`documents`] reads `document_values.parquet`: the best and the worst documents, and whether they sum to their sources.
//! - [`laws`] fits laws of scale, repetition and mixture to runs, with intervals.
//! - [`studies`] plans, makes and compares runs that differ in one thing, and grades what the ledger predicted.
//! - [`attribution`] says which training documents made a model say something, after training.
//! - [`columns`] reads Parquet columns by name, forgiving about how a writer encoded integers and strings.

#![deny(unsafe_code)]

pub mod attribution;
pub mod columns;
pub mod documents;
mod error;
pub mod laws;
pub mod ledger;
pub mod studies;

pub use error::InfluenceError;
