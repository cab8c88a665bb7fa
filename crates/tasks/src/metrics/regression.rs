//! Numbers predicted: the similarity of two texts, a grade.
//!
//! Pairs are (gold, predicted); no measure but the errors minds their order.

/// The mean of the squared differences; none without pairs.
pub fn mean_squared_error(pairs: &[(f64, f64)]) -> Option<f64> {
    mean(pairs.iter().map(|(gold, predicted)| (gold - predicted).powi(2)))
}

/// The mean of the absolute differences; none without pairs.
pub fn mean_absolute_error(pairs: &[(f64, f64)]) -> Option<f64> {
    mean(pairs.iter().map(|(gold, predicted)| (gold - predicted).abs()))
}

/// Pearson's correlation, from −1 to 1. None of fewer than two pairs, where either side is constant, and where a number
/// is not finite.
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    pearson_of_draws(pairs, &vec![1; pairs.len()])
}

/// [`pearson`] of pairs each of which counts as often as it was drawn (for [`Bootstrap::interval_of_draws`]).
///
/// [`Bootstrap::interval_of_draws`]: super::interval::Bootstrap::interval_of_draws
pub fn pearson_of_draws(pairs: &[(f64, f64)], draws: &[u32]) -> Option<f64> {
    let drawn = || pairs.iter().zip(draws).map(|(pair, &times)| (pair, f64::from(times))).filter(|drawn| drawn.1 > 0.0);
    let (first, _) = drawn().next()?;
    // A constant is told before rounding makes a variance of it.
    if drawn().all(|(pair, _)| pair.0 == first.0) || drawn().all(|(pair, _)| pair.1 == first.1) {
        return None;
    }
    let count: f64 = drawn().map(|(_, times)| times).sum();
    let mean_of = |side: fn(&(f64, f64)) -> f64| drawn().map(|(pair, times)| side(pair) * times).sum::<f64>() / count;
    let (x, y) = (mean_of(|pair| pair.0), mean_of(|pair| pair.1));
    // Scaled by the largest deviation, so that no square overflows.
    let largest = |side: fn(&(f64, f64)) -> f64, mean: f64| {
        drawn().map(|(pair, _)| (side(pair) - mean).abs()).fold(0.0, f64::max)
    };
    let (x_scale, y_scale) = (largest(|pair| pair.0, x), largest(|pair| pair.1, y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (pair, times) in drawn() {
        let (dx, dy) = ((pair.0 - x) / x_scale, (pair.1 - y) / y_scale);
        xx += times * dx * dx;
        yy += times * dy * dy;
        xy += times * dx * dy;
    }
    let correlation = xy / (xx.sqrt() * yy.sqrt());
    correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the ranks, equal numbers sharing the mean of theirs. None where [`pearson`] is.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    spearman_of_draws(pairs, &vec![1; pairs.len()])
}

/// [`spearman`] of pairs each of which counts as often as it was drawn (for [`Bootstrap::interval_of_draws`]).
///
/// [`Bootstrap::interval_of_draws`]: super::interval::Bootstrap::interval_of_draws
pub fn spearman_of_draws(pairs: &[(f64, f64)], draws: &[u32]) -> Option<f64> {
    if pairs.iter().any(|(x, y)| x.is_nan() || y.is_nan()) {
        return None;
    }
    let x = ranks(pairs.iter().map(|pair| pair.0), draws);
    let y = ranks(pairs.iter().map(|pair| pair.1), draws);
    pearson_of_draws(&x.into_iter().zip(y).collect::<Vec<_>>(), draws)
}

/// The place of every number among all, from 1 up; equal ones have the mean of their places. No number is NaN.
fn ranks(numbers: impl Iterator<Item = f64>, draws: &[u32]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = numbers.zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.partial_cmp(&b.0).expect("numbers"));
    let mut ranks = vec![0.0; order.len()];
    let mut below = 0.0;
    for ties in order.chunk_by(|a, b| a.0 == b.0) {
        let times: f64 = ties.iter().map(|tie| f64::from(draws.get(tie.1).copied().unwrap_or(0))).sum();
        for tie in ties {
            ranks[tie.1] = below + 0.5 * (times + 1.0);
        }
        below += times;
    }
    ranks
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len() as f64;
    (count > 0.0).then(|| values.sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::super::interval::Bootstrap;
    use super::*;

    #[test]
    fn a_constant_has_no_correlation() {
        for pairs in [&[][..], &[(1.0, 2.0)], &[(0.1, 1.0), (0.1, 2.0), (0.1, 3.0)], &[(1.0, 0.3), (2.0, 0.3)]] {
            assert_eq!(pearson(pairs), None, "{pairs:?}");
            assert_eq!(spearman(pairs), None, "{pairs:?}");
        }
        assert_eq!(pearson(&[(f64::NAN, 1.0), (2.0, 2.0)]), None);
        assert_eq!(spearman(&[(f64::NAN, 1.0), (2.0, 2.0)]), None);
        assert_eq!(pearson(&[(f64::INFINITY, 1.0), (2.0, 2.0)]), None);
        assert!(spearman(&[(f64::INFINITY, 3.0), (2.0, 2.0)]).is_some_and(|correlation| correlation > 0.999_999));
        assert_eq!((mean_squared_error(&[]), mean_absolute_error(&[])), (None, None));
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        let correlation = pearson(&[(1e200, -1e-200), (3e200, -3e-200), (2e200, -2e-200)]).unwrap();
        assert!((correlation + 1.0).abs() < 1e-12, "{correlation}");
    }

    #[test]
    fn drawn_twice_is_there_twice() {
        let pairs = [(1.0, 2.0), (2.0, 1.5), (4.0, 7.0), (4.0, 3.0)];
        let twice = [pairs[0], pairs[0], pairs[2], pairs[3], pairs[3], pairs[3]];
        let draws = [2, 0, 1, 3];
        let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-12;
        assert!(near(pearson_of_draws(&pairs, &draws), pearson(&twice)));
        assert!(near(spearman_of_draws(&pairs, &draws), spearman(&twice)));
        let interval = Bootstrap::default().interval_of_draws(4, |draws| spearman_of_draws(&pairs, draws)).unwrap();
        assert!(interval.low <= interval.value && interval.value <= interval.high);
    }
}
