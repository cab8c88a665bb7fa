//! Summaries: ROUGE, and the first sentences of a text as the summary to beat.

mod lead;
mod porter;
mod rouge;

pub use lead::{lead, sentences};
pub use rouge::{Rouge, RougeScores, RougeSum, RougeTokens};
