//! How much of each source a model is shown.

use super::plan::MixPlan;

/// One source in the mixture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Portion {
    /// Its part of the training tokens.
    pub(super) share: f64,
    /// The part of its documents that stay.
    pub(super) keep: f64,
    /// How often those are shown, where all planned tokens are.
    pub(super) epochs: f64,
}

/// The mixture of sources of so many tokens and such weights, and the tokens that it is planned for.
pub(super) fn mix(tokens: &[u64], weights: &[f64], plan: &MixPlan) -> (Vec<Portion>, u64) {
    let size = |at: usize| tokens[at] as f64;
    let pull: Vec<f64> = (0..tokens.len()).map(|at| (weights[at] * size(at)).powf(1.0 / plan.temperature)).collect();
    let shown = |at: &usize| pull[*at] > 0.0;
    let (wanted, budget) = match plan.tokens {
        None => {
            let sum: f64 = pull.iter().sum();
            let all: f64 = (0..tokens.len()).filter(shown).map(size).sum();
            (pull.iter().map(|pull| if sum > 0.0 { all * pull / sum } else { 0.0 }).collect::<Vec<_>>(), all)
        }
        Some(budget) => (fill(budget as f64, &pull, |at| plan.most_epochs * size(at)), budget as f64),
    };
    let planned: f64 = wanted.iter().sum();
    let portions = (0..tokens.len()).map(|at| {
        let keep = if plan.tokens.is_some() && size(at) > 0.0 { (wanted[at] / size(at)).min(1.0) } else { 1.0 };
        let epochs = if size(at) > 0.0 { wanted[at] / (keep.max(f64::MIN_POSITIVE) * size(at)) } else { 0.0 };
        Portion { share: if planned > 0.0 { wanted[at] / planned } else { 0.0 }, keep, epochs }
    });
    (portions.collect(), planned.min(budget).round() as u64)
}

/// Divides a budget by pull; what is over one's limit goes to the others.
fn fill(budget: f64, pull: &[f64], limit: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut wanted = vec![0.0; pull.len()];
    let mut open: Vec<usize> = (0..pull.len()).filter(|at| pull[*at] > 0.0).collect();
    let mut left = budget;
    loop {
        let sum: f64 = open.iter().map(|at| pull[*at]).sum();
        let full: Vec<usize> = open.iter().copied().filter(|at| left * pull[*at] / sum > limit(*at)).collect();
        if full.is_empty() {
            for at in open {
                wanted[at] = left * pull[at] / sum;
            }
            return wanted;
        }
        for at in &full {
            wanted[*at] = limit(*at);
            left -= limit(*at);
        }
        open.retain(|at| !full.contains(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn without_a_plan_sources_are_as_large_as_they_are() {
        let (portions, planned) = mix(&[300, 100, 50], &[1.0, 1.0, 0.0], &MixPlan::default());
        assert_eq!(planned, 400);
        assert!(near(portions[0].share, 0.75) && near(portions[1].share, 0.25) && portions[2].share == 0.0);
        assert!(portions.iter().all(|portion| portion.keep == 1.0) && near(portions[0].epochs, 1.0));
    }

    #[test]
    fn weights_are_epochs_and_temperature_levels() {
        let (portions, _) = mix(&[300, 100], &[1.0, 2.0], &MixPlan::default());
        assert!(near(portions[1].share, 0.4) && near(portions[1].epochs / portions[0].epochs, 2.0));
        let warm = MixPlan { temperature: 2.0, ..MixPlan::default() };
        let (portions, _) = mix(&[900, 100], &[1.0, 1.0], &warm);
        assert!(near(portions[0].share, 0.75) && near(portions[1].share, 0.25));
    }

    #[test]
    fn a_budget_cuts_the_large_and_repeats_the_small() {
        let plan = MixPlan { tokens: Some(1000), temperature: 1e9, most_epochs: 3.0, ..MixPlan::default() };
        let (portions, planned) = mix(&[10_000, 400, 50], &[1.0; 3], &plan);
        // A third each would be 333; the smallest gives three epochs, the others share the rest.
        assert_eq!(planned, 1000);
        assert!(near(portions[2].share, 0.15) && near(portions[2].epochs, 3.0));
        assert!((portions[1].share - 0.425).abs() < 1e-6 && (portions[1].epochs - 425.0 / 400.0).abs() < 1e-6);
        assert!((portions[0].keep - 0.0425).abs() < 1e-6 && near(portions[0].epochs, 1.0));
        // More than there is.
        let (portions, planned) = mix(&[100, 0], &[1.0; 2], &plan);
        assert_eq!((planned, portions[0].share), (300, 1.0));
    }
}
