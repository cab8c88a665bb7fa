//! How good predictions are: the measures by which each task is known, equal to their reference programs.
//!
//! Every measure is made in two steps, so that it can be told with an interval. An example's **statistics** are what the
//! measure adds up over examples (counts of n-grams, of entities, of right answers); the **value** follows from their
//! sum. What resamples examples ([`interval`]) adds the statistics of those it drew and asks for the value again: BLEU or
//! the F1 of entities of a thousand resamples costs additions, and no text is read twice.
//!
//! | subject | measures | equal to |
//! |-|-|-|
//! | [`classification`] | accuracy, precision, recall, F1, Matthews' correlation, confusion, several labels a text | scikit-learn |
//! | [`ranking`] | area under the curve, calibration | scikit-learn, torchmetrics |
//! | [`regression`] | Pearson's and Spearman's correlation, squared and absolute error | scipy |
//! | [`tags`] | precision, recall, F1 of entities | seqeval |
//! | [`answers`] | exact match and F1 of answers out of a text | the scripts of SQuAD 1.1 and 2.0, and of CMRC 2018 |
//! | [`translation`] | BLEU, chrF, chrF++ | sacreBLEU |
//! | [`summaries`] | ROUGE-1, -2, -L, -Lsum; the first sentences as a baseline | rouge-score |
//! | [`retrieval`] | recall and nDCG among the first k, mean reciprocal rank | scikit-learn |
//! | [`interval`] | bootstrap intervals; tests of two models on the same examples | sacreBLEU, scipy |
//!
//! A fraction is from 0 to 1, except that BLEU and chrF are from 0 to 100, as their papers print them. Where a measure is
//! undefined (nothing to measure, a correlation with a constant), it is `None`; where the reference program says 0, it is
//! 0, and the documentation says when.

pub mod answers;
pub mod classification;
pub mod interval;
pub mod precision_recall;
pub mod ranking;
pub mod regression;
pub mod retrieval;
mod spaces;
pub mod summaries;
pub mod tags;
pub mod translation;
mod treebank;

pub use interval::{Bootstrap, Comparison, Interval, Mean, Randomization, Statistic};
pub use precision_recall::{Average, MatchCounts, PrecisionRecall};
