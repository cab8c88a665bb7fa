//! How sure a number is: bootstrap intervals over examples, and tests of two models on the same examples.
//!
//! The percentile bootstrap (Efron, 1979) draws as many examples as there are, with replacement, a thousand times, and
//! takes the middle 95 % of the values. It says how much a number would move with other examples of the same kind; it
//! knows nothing of other seeds of training. Of two models, the same examples are drawn for both, so that easy and hard
//! ones do not blur the difference (Koehn, 2004, "Statistical Significance Tests for Machine Translation Evaluation").
//!
//! Draws follow from the seed and their place alone (`SplitMix64`'s finalizer over a counter), so a result is the same on
//! every machine.

use serde::Serialize;

/// What one example contributes to a measure: something that adds up.
pub trait Statistic {
    /// The sum over examples. Its default is the sum over none.
    type Sum: Clone + Default;

    /// Adds this example to a sum, `times` times.
    fn add_to(&self, sum: &mut Self::Sum, times: u64);
}

/// The sum over all examples.
pub fn sum<S: Statistic>(examples: &[S]) -> S::Sum {
    let mut sum = S::Sum::default();
    for example in examples {
        example.add_to(&mut sum, 1);
    }
    sum
}

/// A sum of numbers and how many they are, for measures that are means over examples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// The sum.
    pub sum: f64,
    /// How many.
    pub count: u64,
}

impl Mean {
    /// The mean; none of no numbers.
    pub fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl Statistic for f64 {
    type Sum = Mean;

    fn add_to(&self, sum: &mut Mean, times: u64) {
        sum.sum += self * times as f64;
        sum.count += times;
    }
}

/// A value and the interval that it is thought to lie in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The value of the examples as they are.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Two models compared on the same examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The second model's value less the first's, with its interval.
    pub difference: Interval,
    /// The share of resamples in which the second model's value is higher (Koehn, 2004). Resamples in which both are
    /// equal count half.
    pub wins: f64,
    /// Two-sided: how probable so large a difference, or a larger one, is if the models are equally good.
    pub p_value: f64,
}

/// The percentile bootstrap over examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How often the examples are drawn anew.
    pub resamples: usize,
    /// The share of the values that the interval covers, from 0 to 1.
    pub confidence: f64,
    /// What the draws follow from.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, confidence: 0.95, seed: 1 }
    }
}

impl Bootstrap {
    /// The value of a measure with its interval, from the statistics of every example and what makes a value of their sum.
    ///
    /// None without examples, and where the value of all examples is undefined or not a number. Resamples without a value
    /// (a correlation needs two different numbers) are left out. Without resamples the interval is the value.
    pub fn interval<S: Statistic, V: Into<Option<f64>>>(
        &self,
        examples: &[S],
        value: impl Fn(&S::Sum) -> V,
    ) -> Option<Interval> {
        self.interval_of_draws(examples.len(), |draws| value(&drawn_sum(examples, draws)))
    }

    /// The same for a measure that is no function of a sum (a rank correlation, the area under a curve): `value` sees how
    /// often each of `count` examples was drawn; first, for the value itself, each once.
    pub fn interval_of_draws<V: Into<Option<f64>>>(
        &self,
        count: usize,
        value: impl Fn(&[u32]) -> V,
    ) -> Option<Interval> {
        let value = |draws: &[u32]| value(draws).into().filter(|value| !value.is_nan());
        if count == 0 {
            return None;
        }
        let of_all = value(&vec![1; count])?;
        let mut draws = vec![0; count];
        let mut values: Vec<f64> = (0..self.resamples)
            .filter_map(|resample| {
                self.draw(resample, &mut draws);
                value(&draws)
            })
            .collect();
        Some(self.around(of_all, &mut values))
    }

    /// Whether two models differ: the paired bootstrap of Koehn (2004), two-sided. `first` and `second` are the
    /// statistics of the same examples in the same order; what differs is what the models made of them.
    ///
    /// p is twice the smaller share of resamples in which the difference has the one or the other sign or is 0, with one
    /// resample added to each count, so that it is never 0.
    ///
    /// None without examples, where the numbers of examples differ, and where a value is undefined.
    pub fn compare<S: Statistic, V: Into<Option<f64>>>(
        &self,
        first: &[S],
        second: &[S],
        value: impl Fn(&S::Sum) -> V,
    ) -> Option<Comparison> {
        let value = |sum: &S::Sum| value(sum).into().filter(|value| !value.is_nan());
        if first.is_empty() || first.len() != second.len() {
            return None;
        }
        let of_all = value(&sum(second))? - value(&sum(first))?;
        let mut draws = vec![0; first.len()];
        let mut differences: Vec<f64> = (0..self.resamples)
            .filter_map(|resample| {
                self.draw(resample, &mut draws);
                Some(value(&drawn_sum(second, &draws))? - value(&drawn_sum(first, &draws))?)
            })
            .collect();
        let resamples = differences.len() as f64;
        let higher = differences.iter().filter(|difference| **difference > 0.0).count() as f64;
        let lower = differences.iter().filter(|difference| **difference < 0.0).count() as f64;
        let against = (resamples - higher).min(resamples - lower);
        Some(Comparison {
            difference: self.around(of_all, &mut differences),
            wins: if resamples == 0.0 { 0.5 } else { (higher + (resamples - lower)) / (2.0 * resamples) },
            p_value: (2.0 * (against + 1.0) / (resamples + 1.0)).min(1.0),
        })
    }

    /// A value with the interval that its values over resamples give it, for measures that were made elsewhere from the draws
    /// of [`Self::draw`].
    pub fn around(&self, value: f64, values: &mut [f64]) -> Interval {
        values.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - self.confidence.clamp(0.0, 1.0)) / 2.0;
        let end = |share| quantile(values, share).unwrap_or(value);
        Interval { value, low: end(outside), high: end(1.0 - outside) }
    }

    /// How often each example is drawn in one resample.
    pub fn draw(&self, resample: usize, draws: &mut [u32]) {
        let stream = stream(self.seed, resample);
        draws.fill(0);
        let count = draws.len() as u64;
        for place in 0..count {
            // The high half of the product is below the count; for fewer than 2³² examples no index is preferred by more
            // than one part in 2³² (Lemire, 2019).
            let index = (u128::from(mix(stream ^ place)) * u128::from(count)) >> 64;
            draws[index as usize] += 1;
        }
    }
}

/// The approximate randomization test (Noreen, 1989; Riezler and Maxwell, 2005).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Randomization {
    /// How often outputs are exchanged at random.
    pub trials: usize,
    /// What the exchanges follow from.
    pub seed: u64,
}

impl Default for Randomization {
    fn default() -> Self {
        Self { trials: 10_000, seed: 1 }
    }
}

impl Randomization {
    /// The two-sided p-value of the difference of two models on the same examples, in the same order: if they are equally
    /// good, it does not matter whose output is whose, so each example's two outputs are exchanged or not by a coin.
    ///
    /// p = (c + 1) / (trials + 1), with c the trials whose difference is at least as large as the real one. sacreBLEU's
    /// `--paired-ar` counts larger ones alone, by which a model would differ from itself; where no trial ties with the real
    /// difference, both say the same.
    ///
    /// None without examples, where the numbers of examples differ, and where a value is undefined.
    pub fn p_value<S: Statistic, V: Into<Option<f64>>>(
        &self,
        first: &[S],
        second: &[S],
        value: impl Fn(&S::Sum) -> V,
    ) -> Option<f64> {
        let value = |sum: &S::Sum| value(sum).into().filter(|value| !value.is_nan());
        if first.is_empty() || first.len() != second.len() {
            return None;
        }
        let real = (value(&sum(first))? - value(&sum(second))?).abs();
        // Sums of fractions differ in their last bits when they are added in another order.
        let real = real - 1e-12 * real.max(1.0);
        let (mut trials, mut as_large) = (0_u64, 0_u64);
        for trial in 0..self.trials {
            let stream = stream(self.seed, trial);
            let (mut one, mut other) = (S::Sum::default(), S::Sum::default());
            let mut coins = 0;
            for (place, (first, second)) in first.iter().zip(second).enumerate() {
                if place % 64 == 0 {
                    coins = mix(stream ^ (place / 64) as u64);
                }
                let exchanged = coins & 1 == 1;
                coins >>= 1;
                first.add_to(if exchanged { &mut other } else { &mut one }, 1);
                second.add_to(if exchanged { &mut one } else { &mut other }, 1);
            }
            if let (Some(one), Some(other)) = (value(&one), value(&other)) {
                trials += 1;
                as_large += u64::from((one - other).abs() >= real);
            }
        }
        Some((as_large + 1) as f64 / (trials + 1) as f64)
    }
}

/// McNemar's exact test (1947) of two classifiers on the same examples: the two-sided p-value from how many examples only
/// the first got right and how many only the second. It is the binomial test of one half; 1 where they never differ.
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let (few, count) = (only_first.min(only_second), only_first + only_second);
    if only_first == only_second {
        return 1.0;
    }
    // Terms C(n, k) / 2ⁿ from the largest down, each from the one before, until they no longer count.
    let mut term = log_central(count, few).exp();
    let mut tail = 0.0;
    for k in (0..=few).rev() {
        tail += term;
        if term < tail * f64::EPSILON / 4.0 {
            break;
        }
        term *= k as f64 / (count - k + 1) as f64;
    }
    (2.0 * tail).min(1.0)
}

/// The logarithm of C(n, k) / 2ⁿ.
fn log_central(n: u64, k: u64) -> f64 {
    log_factorial(n) - log_factorial(k) - log_factorial(n - k) - n as f64 * std::f64::consts::LN_2
}

/// ln n!: added up while that is short, else Stirling's series, whose error is below 10⁻¹⁷ there.
fn log_factorial(n: u64) -> f64 {
    if n < 256 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

fn drawn_sum<S: Statistic>(examples: &[S], draws: &[u32]) -> S::Sum {
    let mut sum = S::Sum::default();
    for (example, &times) in examples.iter().zip(draws) {
        if times > 0 {
            example.add_to(&mut sum, u64::from(times));
        }
    }
    sum
}

/// The value below which a share of sorted values lies, between neighbors by a straight line (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

fn stream(seed: u64, index: usize) -> u64 {
    mix(mix(seed) ^ index as u64)
}

/// The finalizer of `SplitMix64` (Steele et al., 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        (0..count as u64).map(|place| mix(seed ^ mix(place)) as f64 / 2_f64.powi(64)).collect()
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_distribution() {
        let examples = numbers(2000, 3);
        let interval = Bootstrap::default().interval(&examples, Mean::value).unwrap();
        // The standard deviation of a uniform number is √(1/12).
        let half = 1.96 * (1.0 / 12.0_f64).sqrt() / 2000_f64.sqrt();
        assert!((interval.value - interval.low - half).abs() < 0.15 * half, "{interval:?}, {half}");
        assert!((interval.high - interval.value - half).abs() < 0.15 * half, "{interval:?}, {half}");
        assert_eq!(Bootstrap::default().interval(&examples, Mean::value), Some(interval));
        let other = Bootstrap { seed: 2, ..Bootstrap::default() };
        assert_ne!(other.interval(&examples, Mean::value), Some(interval));
    }

    #[test]
    fn nineteen_of_twenty_intervals_hold_the_truth() {
        let bootstrap = Bootstrap { resamples: 400, ..Bootstrap::default() };
        let holds = (0..400)
            .filter(|&seed| {
                let interval = bootstrap.interval(&numbers(80, 1000 + seed), Mean::value).unwrap();
                interval.low <= 0.5 && 0.5 <= interval.high
            })
            .count();
        assert!((365..=392).contains(&holds), "{holds} of 400");
    }

    #[test]
    fn what_is_undefined_has_no_interval() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.interval::<f64, _>(&[], Mean::value), None);
        assert_eq!(bootstrap.interval(&[1.0], |_| None), None);
        assert_eq!(bootstrap.interval(&[1.0], |_| f64::NAN), None);
        let one = Interval { value: 1.0, low: 1.0, high: 1.0 };
        assert_eq!(bootstrap.interval(&[1.0], Mean::value), Some(one));
        let none = Bootstrap { resamples: 0, ..bootstrap };
        assert_eq!(none.interval(&[0.0, 2.0], Mean::value), Some(one));
        assert_eq!(bootstrap.compare(&[1.0], &[1.0, 2.0], Mean::value), None);
        assert_eq!(Randomization::default().p_value(&[1.0], &[1.0, 2.0], Mean::value), None);
        assert_eq!(Randomization::default().p_value::<f64, _>(&[], &[], Mean::value), None);
    }

    #[test]
    fn resamples_without_a_value_are_left_out() {
        let value = |draws: &[u32]| (draws[0] > 0).then_some(1.0);
        let interval = Bootstrap::default().interval_of_draws(2, value).unwrap();
        assert_eq!(interval, Interval { value: 1.0, low: 1.0, high: 1.0 });
    }

    #[test]
    fn a_model_does_not_differ_from_itself() {
        let same = numbers(50, 1);
        let comparison = Bootstrap::default().compare(&same, &same, Mean::value).unwrap();
        assert_eq!((comparison.p_value, comparison.wins, comparison.difference.value), (1.0, 0.5, 0.0));
        assert_eq!(Randomization::default().p_value(&same, &same, Mean::value), Some(1.0));
        assert_eq!(mcnemar_exact(0, 0), 1.0);
    }

    #[test]
    fn a_better_model_is_told_from_a_worse_one() {
        let first = numbers(300, 1);
        let noise = numbers(300, 2);
        let better: Vec<f64> = first.iter().zip(&noise).map(|(value, noise)| value + 0.05 * noise).collect();
        let comparison = Bootstrap::default().compare(&first, &better, Mean::value).unwrap();
        assert!(comparison.difference.low > 0.0 && comparison.p_value < 0.01 && comparison.wins == 1.0);
        let randomization = Randomization { trials: 2000, seed: 1 };
        assert!(randomization.p_value(&first, &better, Mean::value).unwrap() < 0.01);
        assert!(randomization.p_value(&first, &noise, Mean::value).unwrap() > 0.05);
    }

    #[test]
    fn equal_models_differ_as_often_as_the_level_says() {
        let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
        let randomization = Randomization { trials: 200, seed: 1 };
        let (mut by_bootstrap, mut by_randomization) = (0, 0);
        for seed in 0..300 {
            let (first, second) = (numbers(60, 5000 + seed), numbers(60, 9000 + seed));
            by_bootstrap += usize::from(bootstrap.compare(&first, &second, Mean::value).unwrap().p_value < 0.05);
            by_randomization += usize::from(randomization.p_value(&first, &second, Mean::value).unwrap() < 0.05);
        }
        assert!((5..=27).contains(&by_bootstrap), "{by_bootstrap} of 300");
        assert!((5..=27).contains(&by_randomization), "{by_randomization} of 300");
    }

    #[test]
    fn quantiles_lie_between_neighbors() {
        let values = [1.0, 2.0, 4.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.75), Some(3.0));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
