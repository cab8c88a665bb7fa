//! Whether what was looked for is found near the top: for embeddings that search.
//!
//! A query's documents are ranked, the best first; `relevance` says how much each is worth to it, 0 or absent for
//! nothing. A document that is ranked twice counts where it comes first. Measures over queries are means of these values,
//! those of queries without anything to find left out.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

/// Of the relevant documents, the share among the first `k`. None where nothing is relevant.
pub fn recall_at<D: Eq + Hash, H: BuildHasher>(ranked: &[D], relevance: &HashMap<D, f64, H>, k: usize) -> Option<f64> {
    let relevant = relevance.values().filter(|gain| **gain > 0.0).count();
    let found = gains(ranked, relevance).take(k).filter(|gain| *gain > 0.0).count();
    (relevant > 0).then(|| found as f64 / relevant as f64)
}

/// One over the place of the first relevant document, 0 if none was ranked; its mean over queries is MRR. None where
/// nothing is relevant.
pub fn reciprocal_rank<D: Eq + Hash, H: BuildHasher>(ranked: &[D], relevance: &HashMap<D, f64, H>) -> Option<f64> {
    relevance.values().find(|gain| **gain > 0.0)?;
    Some(gains(ranked, relevance).position(|gain| gain > 0.0).map_or(0.0, |place| 1.0 / (place + 1) as f64))
}

/// The discounted cumulative gain among the first `k`, as a share of the best possible (Järvelin and Kekäläinen, 2002):
/// the gain at place i, from 1 up, is divided by log₂(i + 1). Gains are taken as they are, as scikit-learn and trec_eval
/// do, not as powers of two; those below 0 count as 0. None where nothing is relevant, or `k` is 0.
pub fn ndcg_at<D: Eq + Hash, H: BuildHasher>(ranked: &[D], relevance: &HashMap<D, f64, H>, k: usize) -> Option<f64> {
    let mut best: Vec<f64> = relevance.values().copied().filter(|gain| *gain > 0.0).collect();
    best.sort_unstable_by(|a, b| b.total_cmp(a));
    let ideal = discounted(best.into_iter().take(k));
    (ideal > 0.0).then(|| discounted(gains(ranked, relevance).take(k)) / ideal)
}

/// What each ranked document is worth, without those that came before.
fn gains<D: Eq + Hash, H: BuildHasher>(ranked: &[D], relevance: &HashMap<D, f64, H>) -> impl Iterator<Item = f64> {
    let mut seen = HashSet::new();
    ranked
        .iter()
        .filter(move |document| seen.insert(*document))
        .map(|document| relevance.get(document).copied().unwrap_or(0.0).max(0.0))
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.zip(2..).map(|(gain, place)| gain / f64::from(place).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_find_is_undefined() {
        for relevance in [HashMap::new(), HashMap::from([("a", 0.0)])] {
            assert_eq!(recall_at(&["a"], &relevance, 1), None);
            assert_eq!(reciprocal_rank(&["a"], &relevance), None);
            assert_eq!(ndcg_at(&["a"], &relevance, 1), None);
        }
        let relevance = HashMap::from([("a", 1.0), ("b", f64::NAN)]);
        assert_eq!(ndcg_at(&["a"], &relevance, 0), None);
        assert_eq!(ndcg_at(&["b", "a"], &relevance, 1), Some(0.0));
        assert_eq!(recall_at::<&str, _>(&[], &relevance, 9), Some(0.0));
        assert_eq!(reciprocal_rank(&[], &relevance), Some(0.0));
    }

    #[test]
    fn a_document_counts_once() {
        let relevance = HashMap::from([(1, 1.0), (2, 1.0)]);
        assert_eq!(recall_at(&[1, 1, 2], &relevance, 2), Some(1.0));
        assert_eq!(ndcg_at(&[1, 1, 2], &relevance, 3), Some(1.0));
        assert_eq!(reciprocal_rank(&[5, 5, 5, 2], &relevance), Some(0.5));
    }
}
