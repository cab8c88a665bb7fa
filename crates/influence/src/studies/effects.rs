//! What each arm did to the held-out losses, by pairs of runs with the same seed.

use serde::Serialize;

use super::MEAN;
use super::conduct::Study;
use super::folder::RunResult;
use super::significance::{PairedDifference, smallest_visible};

/// What an arm did to the loss on a domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The arm.
    pub arm: String,
    /// The held-out domain; [`MEAN`] is the mean of all.
    pub domain: String,
    /// The arm's loss less the base's, in nats a token: below 0 the arm is better.
    #[serde(flatten)]
    pub difference: PairedDifference,
    /// The smallest effect that these pairs can see, in nats; none with fewer than two.
    pub smallest_visible: Option<f64>,
    /// The mean loss of the base over these pairs.
    pub base_loss: f64,
    /// Seeds whose run, or whose base's run, failed.
    pub failed: usize,
    /// What the ledger predicted; none where it was not asked.
    pub predicted: Option<f64>,
    /// What the ledger's later half predicted.
    pub predicted_late: Option<f64>,
    /// What the count of tokens alone would predict.
    pub predicted_by_tokens: Option<f64>,
    /// What methods of attribution predicted, where they were asked: names and numbers, which have no unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predicted_by: Vec<(&'static str, f64)>,
}

impl Effect {
    /// What to think of it, in words.
    pub fn verdict(&self) -> &'static str {
        match (self.difference.low, self.difference.high) {
            (Some(_), Some(high)) if high < 0.0 => "better",
            (Some(low), Some(_)) if low > 0.0 => "worse",
            (Some(_), Some(_)) => "not told from chance",
            _ => "one seed: not told from chance",
        }
    }
}

/// The held-out domains of some runs, in their order.
pub fn domains(results: &[RunResult]) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for loss in results.iter().flat_map(|result| &result.losses) {
        if !domains.contains(&loss.domain) {
            domains.push(loss.domain.clone());
        }
    }
    domains
}

/// The effects of every arm but the first on every domain and on their mean, in the order of the arms. An arm without a pair has
/// none.
pub fn effects(study: &Study, results: &[RunResult]) -> Vec<Effect> {
    let Some(base) = study.base() else { return Vec::new() };
    let find = |arm: &str, seed: u64| results.iter().find(|result| result.arm == arm && result.seed == seed);
    let mut domains = domains(results);
    domains.push(MEAN.to_owned());
    let mut effects = Vec::new();
    for arm in study.arms.iter().skip(1) {
        for domain in &domains {
            let pairs: Vec<(f64, f64)> = study
                .seeds
                .iter()
                .filter_map(|seed| {
                    Some((find(&base.name, *seed)?.loss(domain)?, find(&arm.name, *seed)?.loss(domain)?))
                })
                .collect();
            let failed = study
                .seeds
                .iter()
                .filter(|seed| {
                    [&base.name, &arm.name].iter().any(|arm| find(arm, **seed).is_some_and(|run| run.failed.is_some()))
                })
                .count();
            let differences: Vec<f64> = pairs.iter().map(|(base, own)| own - base).collect();
            let Some(difference) = PairedDifference::of(&differences) else { continue };
            effects.push(Effect {
                arm: arm.name.clone(),
                domain: domain.clone(),
                smallest_visible: difference.spread.and_then(|spread| smallest_visible(spread, difference.pairs)),
                difference,
                base_loss: pairs.iter().map(|pair| pair.0).sum::<f64>() / pairs.len() as f64,
                failed,
                predicted: None,
                predicted_late: None,
                predicted_by_tokens: None,
                predicted_by: Vec::new(),
            });
        }
    }
    effects
}

/// The usual spread of paired differences of the mean loss: the root of the mean of the arms' variances. None where no arm has two
/// pairs.
pub fn usual_spread(effects: &[Effect]) -> Option<f64> {
    let spreads: Vec<f64> =
        effects.iter().filter(|effect| effect.domain == MEAN).filter_map(|effect| effect.difference.spread).collect();
    (!spreads.is_empty())
        .then(|| (spreads.iter().map(|spread| spread * spread).sum::<f64>() / spreads.len() as f64).sqrt())
}

/// What so many seeds can see, in words.
pub fn power_in_words(spread: f64, seeds: usize) -> String {
    match smallest_visible(spread, seeds) {
        None => "one seed tells no effect from chance, however large; give --seeds 3 or more".to_owned(),
        Some(visible) => format!(
            "{seeds} seeds cannot see effects below {visible:.4} nats (paired differences spread by {spread:.4} nats; 5 %, found in \
             four of five studies)"
        ),
    }
}
