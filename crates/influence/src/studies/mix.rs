//! `study mix`: what each source does, by leaving it out, doubling it, and other mixtures, and what the ledger of the base runs had
//! predicted.
//!
//! **Prediction.** The ledger says how many nats v_j a source brought down on a domain with the t_j tokens of it that the run
//! saw. An arm shows t'_j of each source. If every token of a source were worth the same,
//!
//! ```text
//! predicted difference of loss = − Σ_j v_j (t'_j / t_j − 1)
//! ```
//!
//! over all sources: arms are as long as the base, so what is left out is replaced by the others.
//!
//! What the first tokens bring, any source would have brought: so the same is asked of the later half of the ledger alone, whose
//! nats a token stand for all tokens.
//!
//! **The count of tokens** stands beside it: as if the source that an arm changes were worth its share of all tokens, and what
//! takes its place nothing.

use loam_train::recipe::Recipe;

use super::MEAN;
use super::arm::{Arm, Change, folder_name};
use super::conduct::{BaseData, Study, check};
use super::effects::Effect;
use super::folder::{RunResult, StudyFolder};
use crate::InfluenceError;
use crate::attribution::{Answers, Method, Question};
use crate::laws::MixturePoint;
use crate::ledger::Ledger;

/// Which mixtures to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct MixSettings {
    /// Leave each source out.
    pub drop: bool,
    /// Show each source twice as often.
    pub double: bool,
    /// Other mixtures: a factor for some sources' weights each.
    pub designs: Vec<Vec<(String, f64)>>,
    /// So many mixtures drawn around the base's shares (Dirichlet with five times the shares).
    pub drawn: usize,
    /// What they are drawn from.
    pub seed: u64,
}

impl Default for MixSettings {
    fn default() -> Self {
        Self { drop: true, double: true, designs: Vec::new(), drawn: 0, seed: 1 }
    }
}

/// Plans the study.
///
/// # Errors
/// [`InfluenceError::Study`] for a recipe with one source, a source that it does not have, and no arm at all.
pub fn plan(recipe: &Recipe, base: &BaseData, seeds: &[u64], settings: &MixSettings) -> Result<Study, InfluenceError> {
    let refuse = |what: String, hint: String| Err(InfluenceError::Study { what, hint });
    let sources: Vec<&str> =
        base.prepared.sources().iter().filter(|source| source.share > 0.0).map(|source| source.name.as_str()).collect();
    if sources.len() < 2 {
        return refuse(
            format!("a mixture needs at least two sources, and the recipe has {}", sources.len()),
            "give each kind of text a [[data.source]] of its own".into(),
        );
    }
    let arm = |name: String, words: String, weights: Vec<(String, f64)>| Arm {
        name,
        words,
        change: Change { weights, ..Change::default() },
    };
    let mut arms = vec![Arm::base(true)];
    for source in &sources {
        if settings.drop {
            arms.push(arm(
                format!("drop-{}", folder_name(source)),
                format!("without {source}"),
                vec![((*source).to_owned(), 0.0)],
            ));
        }
    }
    for source in &sources {
        if settings.double {
            arms.push(arm(
                format!("double-{}", folder_name(source)),
                format!("{source} shown twice as often"),
                vec![((*source).to_owned(), 2.0)],
            ));
        }
    }
    for design in &settings.designs {
        if let Some((unknown, _)) = design.iter().find(|(name, _)| !sources.contains(&name.as_str())) {
            return refuse(
                format!("there is no source {unknown:?}"),
                format!("the sources are {}", sources.join(", ")),
            );
        }
        let words: Vec<String> = design.iter().map(|(name, factor)| format!("{name} x {factor}")).collect();
        let name = design.iter().map(|(name, factor)| format!("{}-{factor}", folder_name(name))).collect::<Vec<_>>();
        arms.push(arm(format!("mix-{}", name.join("-")), words.join(", "), design.clone()));
    }
    for number in 0..settings.drawn {
        let shares =
            draw(&base.prepared.sources().iter().map(|source| source.share).collect::<Vec<_>>(), settings.seed, number);
        let weights: Vec<(String, f64)> = base
            .prepared
            .sources()
            .iter()
            .zip(&shares)
            .filter(|(source, _)| source.share > 0.0)
            .map(|(source, share)| (source.name.clone(), share / source.share))
            .collect();
        let words: Vec<String> = weights.iter().map(|(name, factor)| format!("{name} x {factor:.2}")).collect();
        arms.push(arm(format!("drawn-{}", number + 1), words.join(", "), weights));
    }
    if arms.len() < 2 {
        return refuse(
            "no mixture but the recipe's own was asked for".into(),
            "leave --only away, or add --weights".into(),
        );
    }
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Shares around others: a draw of the Dirichlet distribution with five times these shares, by Gamma draws (Marsaglia and Tsang,
/// 2000).
fn draw(shares: &[f64], seed: u64, number: usize) -> Vec<f64> {
    let mut place = 0_u64;
    let mut uniform = || {
        place += 1;
        let mut z = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add((number as u64) << 32)
            .wrapping_add(place)
            .wrapping_mul(0xD1B5_4A32_D192_ED03);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let mut gamma = |shape: f64| {
        // Below 1, a draw of shape + 1 times a power of a uniform one.
        let (boost, shape) = if shape < 1.0 { (uniform().powf(1.0 / shape), shape + 1.0) } else { (1.0, shape) };
        let d = shape - 1.0 / 3.0;
        loop {
            let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            let v = (1.0 + normal / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && uniform().ln() < 0.5 * normal * normal + d * (1.0 - v + v.ln()) {
                return boost * d * v;
            }
        }
    };
    let draws: Vec<f64> = shares.iter().map(|share| if *share > 0.0 { gamma(5.0 * share) } else { 0.0 }).collect();
    let sum: f64 = draws.iter().sum();
    draws.iter().map(|draw| draw / sum).collect()
}

/// The planned shares of the sources in an arm.
pub fn shares(arm: &Arm, base: &BaseData) -> Vec<f64> {
    let sources = base.prepared.sources();
    let factor = |name: &str| arm.change.weights.iter().find(|(own, _)| own == name).map_or(1.0, |(_, factor)| *factor);
    let amounts: Vec<f64> = sources.iter().map(|source| source.share * factor(&source.name)).collect();
    let sum: f64 = amounts.iter().sum();
    amounts.iter().map(|amount| amount / sum).collect()
}

/// What the base runs' ledgers say: the mean over seeds of each source's value for each domain, in nats.
struct Values {
    domains: Vec<String>,
    /// `[domain][source]`.
    whole: Vec<Vec<f64>>,
    /// What the whole run would have brought at the rate of its later half, `[domain][source]`.
    late: Vec<Vec<f64>>,
}

impl Values {
    fn read(
        study: &Study,
        base: &BaseData,
        folder: &StudyFolder,
        results: &[RunResult],
    ) -> Result<Option<Self>, InfluenceError> {
        let Some(arm) = study.base() else { return Ok(None) };
        let mut mean: Option<Self> = None;
        let done: Vec<u64> =
            results.iter().filter(|run| run.arm == arm.name && run.failed.is_none()).map(|run| run.seed).collect();
        for seed in &done {
            let path = folder.run(&arm.name, *seed).join("ledger.parquet");
            let summary = Ledger::read(&path)?.summary();
            let into = mean.get_or_insert_with(|| Self {
                domains: summary.domains.iter().map(|domain| domain.domain.clone()).collect(),
                whole: vec![vec![0.0; base.prepared.sources().len()]; summary.domains.len()],
                late: vec![vec![0.0; base.prepared.sources().len()]; summary.domains.len()],
            });
            for ((domain, values), late) in into.domains.iter().zip(&mut into.whole).zip(&mut into.late) {
                let Some(book) = summary.domain(domain) else { continue };
                for ((source, value), late) in base.prepared.sources().iter().zip(values).zip(late) {
                    let Some(own) = book.sources().find(|line| line.line.name() == source.name) else { continue };
                    *value += own.value / done.len() as f64;
                    if own.late_tokens > 0 {
                        let all = own.tokens as f64 / own.late_tokens as f64;
                        *late += own.late_value * all / done.len() as f64;
                    }
                }
            }
        }
        Ok(mean)
    }
}

/// Writes what the ledger and the count of tokens predict beside every effect.
///
/// # Errors
/// Where a ledger of the base runs cannot be read.
pub fn predict(
    study: &Study,
    base: &BaseData,
    folder: &StudyFolder,
    results: &[RunResult],
    effects: &mut [Effect],
) -> Result<(), InfluenceError> {
    let Some(ledger) = Values::read(study, base, folder, results)? else { return Ok(()) };
    let before: Vec<f64> = base.prepared.sources().iter().map(|source| source.share).collect();
    for effect in effects {
        let Some(arm) = study.arms.iter().find(|arm| arm.name == effect.arm) else { continue };
        let after = shares(arm, base);
        let changed: Vec<bool> = base
            .prepared
            .sources()
            .iter()
            .map(|source| arm.change.weights.iter().any(|(name, factor)| *name == source.name && *factor != 1.0))
            .collect();
        let of = |values: &[f64]| -> (f64, f64) {
            let mut by_ledger = 0.0;
            let total: f64 = values.iter().sum();
            let mut by_tokens = 0.0;
            for place in 0..before.len() {
                if before[place] > 0.0 {
                    by_ledger -= values[place] * (after[place] / before[place] - 1.0);
                }
                if changed[place] {
                    by_tokens -= total * (after[place] - before[place]);
                }
            }
            (by_ledger, by_tokens)
        };
        let mean = |values: &[Vec<f64>]| -> Option<(f64, f64)> {
            let predictions: Vec<(f64, f64)> = values
                .iter()
                .zip(&ledger.domains)
                .filter(|(_, domain)| effect.domain == MEAN || **domain == effect.domain)
                .map(|(values, _)| of(values))
                .collect();
            let count = predictions.len() as f64;
            let sum = predictions.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
            (!predictions.is_empty()).then(|| (sum.0 / count, sum.1 / count))
        };
        effect.predicted = mean(&ledger.whole).map(|pair| pair.0);
        effect.predicted_by_tokens = mean(&ledger.whole).map(|pair| pair.1);
        effect.predicted_late = mean(&ledger.late).map(|pair| pair.0);
    }
    Ok(())
}

/// Writes what methods of attribution predict beside every effect: what a method says of a source's documents, added up, stands in the
/// place of the ledger's value. The mean over the base's runs.
///
/// # Errors
/// Where a run cannot be opened, or somebody stops.
pub fn predict_by(
    study: &Study,
    base: &BaseData,
    folder: &StudyFolder,
    results: &[RunResult],
    effects: &mut [Effect],
    mut ask: impl FnMut(&std::path::Path, &[Question]) -> Result<Answers, InfluenceError>,
) -> Result<Vec<String>, InfluenceError> {
    let Some(first) = study.base() else { return Ok(Vec::new()) };
    let domains: Vec<String> = base.prepared.held_out().iter().map(|domain| domain.name.clone()).collect();
    let questions: Vec<Question> = domains.iter().cloned().map(Question::Domain).collect();
    let sources = base.prepared.sources().len();
    let mut values: Vec<(Method, Vec<Vec<f64>>)> = Vec::new();
    let mut notes = Vec::new();
    for run in results.iter().filter(|run| run.arm == first.name && run.failed.is_none()) {
        let answers = ask(&folder.run(&first.name, run.seed), &questions)?;
        for &(method, _) in &answers.scores {
            let place = values.iter().position(|(own, _)| *own == method).unwrap_or_else(|| {
                values.push((method, vec![vec![0.0; sources]; domains.len()]));
                values.len() - 1
            });
            for (domain, sums) in values[place].1.iter_mut().enumerate() {
                for hit in answers.by_document(method, domain) {
                    sums[answers.passages.documents[hit.document].source] += hit.score;
                }
            }
        }
        notes.extend(answers.notes);
    }
    let before: Vec<f64> = base.prepared.sources().iter().map(|source| source.share).collect();
    for effect in effects {
        let Some(arm) = study.arms.iter().find(|arm| arm.name == effect.arm) else { continue };
        let after = shares(arm, base);
        for (method, values) in &values {
            let of = |values: &Vec<f64>| -> f64 {
                let places = (0..sources).filter(|place| before[*place] > 0.0);
                -places.map(|place| values[place] * (after[place] / before[place] - 1.0)).sum::<f64>()
            };
            let own: Vec<f64> = values
                .iter()
                .zip(&domains)
                .filter(|(_, domain)| effect.domain == MEAN || **domain == effect.domain)
                .map(|(values, _)| of(values))
                .collect();
            if !own.is_empty() {
                effect.predicted_by.push((method.name(), own.iter().sum::<f64>() / own.len() as f64));
            }
        }
    }
    notes.sort();
    notes.dedup();
    Ok(notes)
}

/// Mixtures with what they came to on a domain, the mean over seeds.
pub fn mixtures(study: &Study, base: &BaseData, results: &[RunResult], domain: &str) -> Vec<MixturePoint> {
    study
        .arms
        .iter()
        .filter_map(|arm| {
            let losses: Vec<f64> =
                results.iter().filter(|run| run.arm == arm.name).filter_map(|run| run.loss(domain)).collect();
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            (!losses.is_empty()).then(|| MixturePoint { shares: shares(arm, base), loss })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn drawn_shares_lie_around_the_base_s() {
        let shares = [0.5, 0.3, 0.2, 0.0];
        let draws: Vec<Vec<f64>> = (0..2000).map(|number| draw(&shares, 1, number)).collect();
        assert!(draws.iter().all(|draw| (draw.iter().sum::<f64>() - 1.0).abs() < 1e-9 && draw[3] == 0.0));
        for (place, share) in shares.iter().enumerate() {
            let mean = draws.iter().map(|draw| draw[place]).sum::<f64>() / 2000.0;
            assert!((mean - share).abs() < 0.02, "{place}: {mean}");
            // The variance of a share p under concentration 5 is p (1 − p) / 6.
            let variance = draws.iter().map(|draw| (draw[place] - mean).powi(2)).sum::<f64>() / 2000.0;
            assert!((variance - share * (1.0 - share) / 6.0).abs() < 0.006, "{place}: {variance}");
        }
        assert_eq!(draw(&shares, 1, 7), draws[7]);
        assert_ne!(draw(&shares, 2, 7), draws[7]);
    }
}
