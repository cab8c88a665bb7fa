//! What a run left, for people: one self-contained page, a list of runs, and SQL over their records.
//!
//! A run's folder may be half written (the run is going on), half broken (it was killed, the disk was full) or from an
//! older Loam. Everything here therefore shows what can be read and names what cannot; only a folder with nothing of a
//! run in it is an error.
//!
//! - [`write()`] draws `report.html`: the answer in words first, then curves, the data ledger, data, samples, details.
//! - [`study`] draws the pages of studies: laws with their bands, the runs that they were fitted to, forecasts.
//! - [`runs::list`] lists the runs under a folder.
//! - [`query::query`] asks the Parquet tables and events of any number of runs in SQL.
//!
//! Numbers are computed by `loam-influence` and by training; this crate rounds, words and draws them.

#![forbid(unsafe_code)]

mod error;
mod facts;
mod folder;
mod numbers;
mod page;
pub mod query;
pub mod runs;
pub mod study;
mod svg;

pub use error::ReportError;
pub use page::write;
