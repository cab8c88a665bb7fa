//! Predict, retrain, grade: how well predicted differences agree with those of retraining.

use loam_tasks::metrics::regression::spearman_of_draws;
use loam_tasks::metrics::{Bootstrap, Interval};
use serde::Serialize;

use super::MEAN;
use super::effects::Effect;

/// How well one method predicted. Intervals are 95 % of a bootstrap over pairs of arm and domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grade {
    /// `ledger`, `ledger, later half`, `tokens`, and methods of attribution that were asked.
    pub method: &'static str,
    /// Pairs of arm and domain.
    pub pairs: usize,
    /// Nats of retraining to a predicted nat, by least squares; 1 is calibrated. None where predictions do not vary.
    pub slope: Option<Interval>,
    /// The share of the variance that a straight line explains (R²).
    pub explained: Option<Interval>,
    /// Spearman's rank correlation.
    pub spearman: Option<Interval>,
    /// The share of pairs whose sign was predicted.
    pub sign_accuracy: Option<Interval>,
    /// Pairs whose difference retraining told from chance (its 95 % interval is on one side of 0).
    pub clear_pairs: usize,
    /// The share of those whose sign was predicted.
    pub clear_sign_accuracy: Option<Interval>,
}

/// Grades the ledger's predictions, with those of the count of tokens beside them. Empty without predictions.
pub fn grades(effects: &[Effect], bootstrap: &Bootstrap) -> Vec<Grade> {
    type Predicted = Box<dyn Fn(&Effect) -> Option<f64>>;
    let mut methods: Vec<(&'static str, Predicted)> = vec![
        ("ledger", Box::new(|effect| effect.predicted)),
        ("ledger, later half", Box::new(|effect| effect.predicted_late)),
        ("tokens", Box::new(|effect| effect.predicted_by_tokens)),
    ];
    for &(name, _) in effects.iter().flat_map(|effect| &effect.predicted_by) {
        if methods.iter().all(|(known, _)| *known != name) {
            let of = move |effect: &Effect| {
                effect.predicted_by.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
            };
            methods.push((name, Box::new(of)));
        }
    }
    methods
        .into_iter()
        .filter_map(|(method, predicted)| {
            let pairs: Vec<(f64, f64, bool)> = effects
                .iter()
                .filter(|effect| effect.domain != MEAN)
                .filter_map(|effect| {
                    let clear = matches!(effect.verdict(), "better" | "worse");
                    Some((predicted(effect)?, effect.difference.mean, clear))
                })
                .collect();
            (!pairs.is_empty()).then(|| grade(method, &pairs, bootstrap))
        })
        .collect()
}

/// Grades predictions: pairs of (predicted, retrained, whether retraining told it from chance).
pub fn grade(method: &'static str, judged: &[(f64, f64, bool)], bootstrap: &Bootstrap) -> Grade {
    let pairs: Vec<(f64, f64)> = judged.iter().map(|(predicted, retrained, _)| (*predicted, *retrained)).collect();
    let clear: Vec<(f64, f64)> =
        judged.iter().filter(|pair| pair.2).map(|(predicted, retrained, _)| (*predicted, *retrained)).collect();
    let interval = |value: &dyn Fn(&[u32]) -> Option<f64>| bootstrap.interval_of_draws(pairs.len(), value);
    Grade {
        method,
        pairs: pairs.len(),
        slope: interval(&|draws| line(&pairs, draws).map(|line| line.0)),
        explained: interval(&|draws| line(&pairs, draws).map(|line| line.1)),
        spearman: interval(&|draws| spearman_of_draws(&pairs, draws)),
        sign_accuracy: interval(&|draws| signs(&pairs, draws)),
        clear_pairs: clear.len(),
        clear_sign_accuracy: bootstrap.interval_of_draws(clear.len(), |draws| signs(&clear, draws)),
    }
}

/// The share of drawn pairs with one sign.
fn signs(pairs: &[(f64, f64)], draws: &[u32]) -> Option<f64> {
    let agree = |(predicted, retrained): &(f64, f64)| predicted * retrained > 0.0;
    let right: u32 = pairs.iter().zip(draws).filter(|(pair, _)| agree(pair)).map(|(_, times)| times).sum();
    let all: u32 = draws.iter().sum();
    (all > 0).then(|| f64::from(right) / f64::from(all))
}

/// Slope and R² of the line of least squares through drawn pairs.
fn line(pairs: &[(f64, f64)], draws: &[u32]) -> Option<(f64, f64)> {
    let count: f64 = draws.iter().map(|times| f64::from(*times)).sum();
    let mean = |of: fn(&(f64, f64)) -> f64| {
        pairs.iter().zip(draws).map(|(pair, times)| f64::from(*times) * of(pair)).sum::<f64>() / count
    };
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (pair, times) in pairs.iter().zip(draws) {
        let times = f64::from(*times);
        xx += times * (pair.0 - x).powi(2);
        yy += times * (pair.1 - y).powi(2);
        xy += times * (pair.0 - x) * (pair.1 - y);
    }
    (xx > 1e-18 && yy > 1e-18).then(|| (xy / xx, xy * xy / (xx * yy)))
}

#[cfg(test)]
mod tests {
    use super::grade;
    use loam_tasks::metrics::Bootstrap;

    #[test]
    fn what_is_half_of_the_truth_has_a_slope_of_two() {
        let pairs: Vec<(f64, f64, bool)> =
            (-5..6).map(|at| (0.01 * f64::from(at), 0.02 * f64::from(at), at > 3)).collect();
        let graded = grade("ledger", &pairs, &Bootstrap::default());
        assert!(
            (graded.slope.unwrap().value - 2.0).abs() < 1e-9 && (graded.explained.unwrap().value - 1.0).abs() < 1e-9
        );
        assert!((graded.spearman.unwrap().value - 1.0).abs() < 1e-9);
        // Where nothing was predicted and nothing happened, the sign is not told.
        assert!((graded.sign_accuracy.unwrap().value - 10.0 / 11.0).abs() < 1e-9);
        let flat = grade("tokens", &[(0.0, 0.1, false), (0.0, 0.2, false)], &Bootstrap::default());
        assert_eq!((graded.clear_pairs, graded.clear_sign_accuracy.map(|sign| sign.value)), (2, Some(1.0)));
        assert_eq!((flat.clear_pairs, flat.clear_sign_accuracy), (0, None));
        assert_eq!((flat.slope, flat.sign_accuracy.map(|sign| sign.value)), (None, Some(0.0)));
    }
}
