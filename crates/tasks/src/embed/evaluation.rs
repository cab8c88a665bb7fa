//! How good vectors are: whether cosines of pairs go with their scores, and whether what belongs to a query is found.

use super::{Bm25, Embedder, Retrieval, ScoredPair};
use crate::evaluation::{Compared, Evaluation, compared};
use crate::language_model::TaskError;
use crate::metrics::regression::{pearson, pearson_of_draws, spearman, spearman_of_draws};
use crate::metrics::retrieval::{ndcg_at, recall_at, reciprocal_rank};
use crate::metrics::{Bootstrap, Mean, Statistic};
use serde::Serialize;
use std::collections::HashMap;

/// Documents that are ranked for a query.
pub(super) const RANKED: usize = 10;

/// What is measured of retrieval, each a mean over queries.
pub(super) const RETRIEVAL: [&str; 5] = ["recall_at_1", "recall_at_5", "recall_at_10", "mrr_at_10", "ndcg_at_10"];

/// What is told beside the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EmbedDetails {
    /// `similarity` or `retrieval`.
    pub kind: &'static str,
    /// Of retrieval, how many documents were searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<usize>,
}

/// What a model made of every example.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// Of every pair its score and the cosine of its vectors.
    Similarity(Vec<(f64, f64)>),
    /// Of every query what was found.
    Retrieval {
        /// They, in their order.
        queries: Vec<RankedQuery>,
        /// How many documents were searched.
        documents: usize,
    },
}

/// A query with what was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankedQuery {
    /// Documents and their scores, the best first.
    pub found: Vec<(usize, f64)>,
    /// The values of recall at 1, 5 and 10, of the reciprocal rank, and of nDCG; none where nothing belongs to the query.
    pub measures: Option<[f64; 5]>,
}

/// Ranks judged by what documents are worth.
pub(super) fn ranked(found: Vec<(usize, f64)>, relevance: &HashMap<usize, f64>) -> RankedQuery {
    let order: Vec<usize> = found.iter().map(|(document, _)| *document).collect();
    let measures = || {
        Some([
            recall_at(&order, relevance, 1)?,
            recall_at(&order, relevance, 5)?,
            recall_at(&order, relevance, 10)?,
            reciprocal_rank(&order, relevance)?,
            ndcg_at(&order, relevance, 10)?,
        ])
    };
    RankedQuery { measures: measures(), found }
}

/// The best documents without the query itself, which would be found first and tells nothing, unless it is worth something.
fn without_itself(retrieval: &Retrieval, query: usize, mut found: Vec<(usize, f64)>) -> RankedQuery {
    let relevance = &retrieval.relevance[query];
    found.retain(|(document, _)| {
        relevance.get(document).is_some_and(|worth| *worth > 0.0)
            || retrieval.documents[*document] != retrieval.queries[query]
    });
    found.truncate(RANKED);
    ranked(found, relevance)
}

/// The cosines of pairs, and how many texts were cut.
///
/// # Errors
/// When a text has no tokens at all.
pub fn judge_similarity(embedder: &Embedder, pairs: &[ScoredPair]) -> Result<(Judged, usize), TaskError> {
    let (first, one) = embedder.queries(&pairs.iter().map(|pair| &*pair.first).collect::<Vec<_>>())?;
    let (second, other) = embedder.queries(&pairs.iter().map(|pair| &*pair.second).collect::<Vec<_>>())?;
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let judged = pairs.iter().zip(first.iter().zip(&second)).map(|(pair, (a, b))| (pair.score, cosine(a, b)));
    Ok((Judged::Similarity(judged.collect()), one + other))
}

/// What is nearest to every query, documents read in windows; and how many queries were cut. `done` as in [`Embedder::passages`].
///
/// # Errors
/// When a text has no tokens at all.
pub fn judge_retrieval(
    embedder: &Embedder,
    retrieval: &Retrieval,
    done: &mut dyn FnMut(usize, usize),
) -> Result<(Judged, usize), TaskError> {
    let passages = embedder.passages(&retrieval.documents, done)?;
    let (vectors, cut) = embedder.queries(&retrieval.queries)?;
    let found = passages.nearest(&vectors, RANKED + 1, embedder.device());
    let queries = found.into_iter().enumerate().map(|(query, hits)| {
        let found = hits.iter().map(|hit| (hit.document, f64::from(hit.score))).collect();
        without_itself(retrieval, query, found)
    });
    Ok((Judged::Retrieval { queries: queries.collect(), documents: retrieval.documents.len() }, cut))
}

/// The same by BM25.
pub fn judge_bm25(retrieval: &Retrieval) -> Judged {
    let index = Bm25::new(&retrieval.documents);
    let queries = retrieval.queries.iter().enumerate();
    let queries = queries.map(|(query, text)| without_itself(retrieval, query, index.nearest(text, RANKED + 1)));
    Judged::Retrieval { queries: queries.collect(), documents: retrieval.documents.len() }
}

/// Metrics with their intervals; resamples draw pairs, or queries to which something belongs.
pub fn evaluate(judged: &Judged, bootstrap: &Bootstrap) -> Evaluation<EmbedDetails> {
    match judged {
        Judged::Similarity(pairs) => {
            let of = |value: fn(&[(f64, f64)], &[u32]) -> Option<f64>| {
                bootstrap.interval_of_draws(pairs.len(), |draws| value(pairs, draws))
            };
            let metrics = [("spearman", of(spearman_of_draws)), ("pearson", of(pearson_of_draws))];
            Evaluation::new(metrics, pairs.len(), EmbedDetails { kind: "similarity", documents: None })
        }
        Judged::Retrieval { queries, documents } => {
            let measures: Vec<[f64; 5]> = queries.iter().filter_map(|query| query.measures).collect();
            let metric = |(place, name): (usize, &&'static str)| {
                let values: Vec<f64> = measures.iter().map(|values| values[place]).collect();
                (*name, bootstrap.interval(&values, Mean::value))
            };
            let details = EmbedDetails { kind: "retrieval", documents: Some(*documents) };
            Evaluation::new(RETRIEVAL.iter().enumerate().map(metric), measures.len(), details)
        }
    }
}

/// A pair's score and cosine, for measures that are no function of a sum over pairs.
struct Drawn(f64, f64);

impl Statistic for Drawn {
    type Sum = (Vec<(f64, f64)>, Vec<u32>);

    fn add_to(&self, sum: &mut Self::Sum, times: u64) {
        sum.0.push((self.0, self.1));
        sum.1.push(u32::try_from(times).unwrap_or(u32::MAX));
    }
}

/// The second model's metrics less the first's, on the same examples. Nothing where these are not the same kind.
pub fn compare(first: &Judged, second: &Judged, bootstrap: &Bootstrap) -> Compared {
    match (first, second) {
        (Judged::Similarity(first), Judged::Similarity(second)) => {
            let of =
                |pairs: &[(f64, f64)]| pairs.iter().map(|(score, cosine)| Drawn(*score, *cosine)).collect::<Vec<_>>();
            let (first, second) = (of(first), of(second));
            let by = |value: fn(&[(f64, f64)], &[u32]) -> Option<f64>| {
                bootstrap.compare(&first, &second, |sum: &<Drawn as Statistic>::Sum| value(&sum.0, &sum.1))
            };
            compared([("spearman", by(spearman_of_draws)), ("pearson", by(pearson_of_draws))])
        }
        (Judged::Retrieval { queries: first, .. }, Judged::Retrieval { queries: second, .. }) => {
            let of = |queries: &[RankedQuery], place: usize| -> Vec<f64> {
                queries.iter().filter_map(|query| Some(query.measures?[place])).collect()
            };
            let by = |place| bootstrap.compare(&of(first, place), &of(second, place), Mean::value);
            compared(RETRIEVAL.iter().enumerate().map(|(place, name)| (*name, by(place))))
        }
        _ => Compared::new(),
    }
}

/// The means of what is measured of retrieval, by name; none without a query to which something belongs.
pub(super) fn means(queries: &[RankedQuery]) -> impl Iterator<Item = (String, f64)> {
    let measures: Vec<[f64; 5]> = queries.iter().filter_map(|query| query.measures).collect();
    let count = measures.len() as f64;
    let mean = move |place: usize| measures.iter().map(|values| values[place]).sum::<f64>() / count;
    RETRIEVAL
        .iter()
        .enumerate()
        .map(move |(place, name)| ((*name).to_owned(), mean(place)))
        .filter(|(_, mean)| mean.is_finite())
}

/// The correlations of scores and cosines that are defined, by name.
pub(super) fn correlations(pairs: &[(f64, f64)]) -> impl Iterator<Item = (String, f64)> {
    [("spearman", spearman(pairs)), ("pearson", pearson(pairs))]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_measured_and_compared() {
        let relevance = HashMap::from([(3, 1.0)]);
        let at = |place: usize| {
            let others = (10..20).filter(|other| *other != 3).take(9);
            let mut found: Vec<(usize, f64)> = others.map(|document| (document, 0.0)).collect();
            found.insert(place, (3, 1.0));
            ranked(found, &relevance)
        };
        assert_eq!(at(0).measures, Some([1.0; 5]));
        let second = at(1).measures.unwrap();
        assert_eq!(second[..4], [0.0, 1.0, 1.0, 0.5]);
        assert!((second[4] - 1.0 / 3_f64.log2()).abs() < 1e-12);
        assert_eq!(ranked(vec![(1, 1.0)], &HashMap::new()).measures, None);
        let bootstrap = Bootstrap::default();
        let worse = Judged::Retrieval { queries: (0..40).map(|query| at(query % 3)).collect(), documents: 20 };
        let better = Judged::Retrieval { queries: (0..40).map(|query| at(query % 2)).collect(), documents: 20 };
        let told = evaluate(&worse, &bootstrap);
        assert_eq!((told.examples, told.details.documents, told.metrics.len()), (40, Some(20), 5));
        let difference = &compare(&worse, &better, &bootstrap)["recall_at_1"];
        assert!(difference.difference.value > 0.1 && difference.wins > 0.5, "{difference:?}");
        assert!(compare(&worse, &Judged::Similarity(vec![]), &bootstrap).is_empty());
    }

    #[test]
    fn correlations_are_compared_on_the_same_pairs() {
        let noise = |pair: usize| ((pair * 7919 % 101) as f64 / 101.0 - 0.5) * 20.0;
        let of = |much: f64| {
            Judged::Similarity((0..60).map(|pair| (pair as f64, pair as f64 + much * noise(pair))).collect())
        };
        let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
        let (noisy, clean) = (of(4.0), of(0.1));
        let value = |judged: &Judged| evaluate(judged, &bootstrap).metrics["spearman"].value;
        let compared = &compare(&noisy, &clean, &bootstrap)["spearman"];
        assert!((compared.difference.value - (value(&clean) - value(&noisy))).abs() < 1e-12);
        assert!(compared.p_value < 0.05, "{compared:?}");
    }

    #[test]
    fn a_query_does_not_find_itself() {
        let texts = |texts: &[&str]| texts.iter().map(|text| std::sync::Arc::from(*text)).collect::<Vec<_>>();
        let retrieval = Retrieval {
            queries: texts(&["good film", "fine"]),
            documents: texts(&["good film", "film that is good", "fine"]),
            relevance: vec![HashMap::from([(1, 1.0)]), HashMap::from([(2, 1.0)])],
        };
        let Judged::Retrieval { queries, .. } = judge_bm25(&retrieval) else { panic!("no retrieval") };
        assert_eq!((queries[0].measures.unwrap()[0], queries[1].measures.unwrap()[0]), (1.0, 1.0));
    }
}
