//! How well a model does a task: metrics with their intervals, and what else the task tells.

use crate::metrics::{Comparison, Interval};
use serde::Serialize;
use std::collections::BTreeMap;

/// How well a model does.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation<D> {
    /// Metrics by name, each with its interval: resamples draw examples.
    pub metrics: BTreeMap<String, Interval>,
    /// Examples.
    pub examples: u64,
    /// What else the task tells.
    #[serde(flatten)]
    pub details: D,
}

impl<D> Evaluation<D> {
    /// The metrics that are defined.
    pub(crate) fn new<'a>(
        metrics: impl IntoIterator<Item = (&'a str, Option<Interval>)>,
        examples: usize,
        details: D,
    ) -> Self {
        let defined = metrics.into_iter().filter_map(|(name, interval)| Some((name.to_owned(), interval?)));
        Self { metrics: defined.collect(), examples: examples as u64, details }
    }
}

/// Of two models on the same examples, the second's metrics less the first's.
pub type Compared = BTreeMap<String, Comparison>;

/// The comparisons that are defined.
pub(crate) fn compared<'a>(comparisons: impl IntoIterator<Item = (&'a str, Option<Comparison>)>) -> Compared {
    comparisons.into_iter().filter_map(|(name, comparison)| Some((name.to_owned(), comparison?))).collect()
}
