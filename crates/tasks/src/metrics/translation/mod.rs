//! Translations, as sacreBLEU 2.6 scores them: BLEU, chrF, chrF++.
//!
//! Scores are from 0 to 100. A translation may have any number of references, and not every one as many. A **signature**
//! says how a score was made, so that two papers' numbers can be compared (Post, 2018, "A Call for Clarity in Reporting
//! BLEU Scores"); it is sacreBLEU's, letter for letter. Its `version:` names the sacreBLEU whose scores these equal,
//! since that is what a reader can compare with.

mod bleu;
mod chrf;
mod tokenize;

pub use bleu::{Bleu, BleuCounts, BleuScore, MAX_ORDER, Smoothing};
pub use chrf::{Chrf, ChrfCounts};
pub use tokenize::BleuTokenizer;

/// The version of sacreBLEU that scores and signatures are equal to.
pub const SACREBLEU_VERSION: &str = "2.6.0";

/// How many references the translations have, as signatures tell it: a number, or `var` if they differ.
fn reference_count(counts: impl IntoIterator<Item = usize>) -> String {
    let mut counts = counts.into_iter();
    let first = counts.next();
    match first {
        Some(first) if counts.all(|count| count == first) => first.to_string(),
        Some(_) => "var".to_owned(),
        None => "0".to_owned(),
    }
}
