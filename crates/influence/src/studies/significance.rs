//! Whether a difference is more than chance: Student's t over pairs, the test that flips their signs, and power.
//!
//! Two runs with the same seed begin with the same weights and see the same order where their data is the same, so they are
//! compared by pairs: what a seed does to both does not blur the difference (Gosset, 1908). With two to five seeds, as trainings
//! allow, the t interval is wide where it must be; the test of signs (Fisher, 1935) assumes no normal distribution, and with n
//! pairs can say no less than 2/2ⁿ.

use serde::Serialize;

/// The share of intervals that hold the truth.
pub const CONFIDENCE: f64 = 0.95;
/// How often an effect of the smallest size that counts as visible is found.
pub const POWER: f64 = 0.8;

/// The mean of some paired differences, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedDifference {
    /// Pairs.
    pub pairs: usize,
    /// The mean difference.
    pub mean: f64,
    /// The standard deviation of differences; none with fewer than two pairs.
    pub spread: Option<f64>,
    /// The lower end of the 95 % interval of Student's t; none with fewer than two pairs.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// The two-sided p-value of the paired t-test; none with fewer than two pairs.
    pub p_value: Option<f64>,
    /// The two-sided p-value of the test that flips the signs of differences; none without pairs.
    pub p_value_of_signs: Option<f64>,
}

impl PairedDifference {
    /// Of differences; none without any.
    pub fn of(differences: &[f64]) -> Option<Self> {
        let pairs = differences.len();
        if pairs == 0 || differences.iter().any(|difference| !difference.is_finite()) {
            return None;
        }
        let mean = differences.iter().sum::<f64>() / pairs as f64;
        let spread = spread(differences);
        let freedom = pairs as f64 - 1.0;
        let error = spread.map(|spread| spread / (pairs as f64).sqrt());
        let half = error.map(|error| error * t_quantile(0.5 + CONFIDENCE / 2.0, freedom));
        Some(Self {
            pairs,
            mean,
            spread,
            low: half.map(|half| mean - half),
            high: half.map(|half| mean + half),
            // Differences without any spread are those of runs that do not depend on the seed.
            p_value: error.map(|error| {
                if error == 0.0 { f64::from(u8::from(mean == 0.0)) } else { t_two_sided(mean / error, freedom) }
            }),
            p_value_of_signs: Some(flips(differences)),
        })
    }
}

/// The standard deviation of some numbers; none of fewer than two.
pub fn spread(numbers: &[f64]) -> Option<f64> {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (numbers.len() > 1).then(|| (squares / (count - 1.0)).sqrt())
}

/// The smallest mean difference that so many pairs of this spread show to be none of chance (two-sided, 5 %) in four of five
/// studies: (t₀.₉₇₅ + t₀.₈) s / √n. None with fewer than two pairs, which show nothing.
pub fn smallest_visible(spread: f64, pairs: usize) -> Option<f64> {
    let freedom = pairs.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    let factor = t_quantile(0.5 + CONFIDENCE / 2.0, freedom) + t_quantile(POWER, freedom);
    Some(factor * spread / (pairs as f64).sqrt())
}

/// The share of sign patterns that make a mean at least as far from 0: all of them up to 2¹⁶, else as many draws.
fn flips(differences: &[f64]) -> f64 {
    const MOST: usize = 16;
    let mean = |signs: &dyn Fn(usize) -> bool| -> f64 {
        differences.iter().enumerate().map(|(place, own)| if signs(place) { -own } else { *own }).sum()
    };
    let own = mean(&|_| false).abs() * (1.0 - 1e-12);
    let patterns = 1_u64 << differences.len().min(MOST);
    let as_far = (0..patterns)
        .filter(|pattern| {
            let sum = if differences.len() <= MOST {
                mean(&|place| pattern >> place & 1 == 1)
            } else {
                // A counter's hash stands for coins; the first pattern is the one that was seen.
                mean(&|place| *pattern > 0 && coin(*pattern, place))
            };
            sum.abs() >= own
        })
        .count();
    as_far as f64 / patterns as f64
}

fn coin(pattern: u64, place: usize) -> bool {
    let mut z = pattern.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (place as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 1 == 1
}

/// How probable it is that Student's t of so many degrees of freedom is as far from 0.
pub fn t_two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The value that Student's t stays below with this probability, by halving.
pub fn t_quantile(probability: f64, freedom: f64) -> f64 {
    if probability < 0.5 {
        return -t_quantile(1.0 - probability, freedom);
    }
    let below = |t: f64| 1.0 - 0.5 * t_two_sided(t, freedom);
    let (mut low, mut high) = (0.0, 1.0);
    while below(high) < probability && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if below(middle) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The regularized incomplete beta function Iₓ(a, b), by its continued fraction (Lentz; Press et al., "Numerical Recipes", 6.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return f64::from(u8::from(x >= 1.0));
    }
    // The fraction converges fast on one side of the mean; the other side is the rest to 1.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let tiny = 1e-300;
    let away = |number: f64| if number.abs() < tiny { tiny } else { number };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away(1.0 + numerator * d);
            c = away(1.0 + numerator / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

/// ln Γ(x) for x above 0: Stirling's series where it is exact to the last digits, reached by Γ(x + 1) = x Γ(x).
fn log_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5)) - 1.0 / (1680.0 * x.powi(7));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_is_that_of_tables() {
        for (probability, freedom, value) in [
            (0.975, 1.0, 12.706_204_736),
            (0.975, 2.0, 4.302_652_73),
            (0.975, 4.0, 2.776_445_105),
            (0.8, 4.0, 0.940_964_577),
            (0.975, 30.0, 2.042_272_456),
            (0.025, 4.0, -2.776_445_105),
        ] {
            assert!((t_quantile(probability, freedom) - value).abs() < 1e-7, "{probability} {freedom}");
        }
        assert!((t_two_sided(2.0, 5.0) - 0.101_939_48).abs() < 1e-8);
        assert!((t_two_sided(0.0, 5.0) - 1.0).abs() < 1e-12);
        assert!((log_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
        assert!((log_gamma(5.0) - 24_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn pairs_are_tested_as_scipy_does() {
        // scipy.stats.ttest_1samp([0.03, 0.05, 0.02, 0.04, 0.06], 0): t = 5.656854, p = 0.004813.
        let tested = PairedDifference::of(&[0.03, 0.05, 0.02, 0.04, 0.06]).unwrap();
        assert!(
            (tested.mean - 0.04).abs() < 1e-12 && (tested.p_value.unwrap() - 0.004_812_8).abs() < 1e-6,
            "{tested:?}"
        );
        assert!(
            (tested.low.unwrap() - 0.020_368).abs() < 1e-5 && tested.p_value_of_signs == Some(2.0 / 32.0),
            "{tested:?}"
        );
        let one = PairedDifference::of(&[0.5]).unwrap();
        assert_eq!((one.low, one.p_value, one.p_value_of_signs), (None, None, Some(1.0)));
        assert_eq!(PairedDifference::of(&[]), None);
        assert_eq!(PairedDifference::of(&[f64::NAN, 1.0]), None);
        assert_eq!(PairedDifference::of(&[0.1, 0.1]).unwrap().p_value, Some(0.0));
        let many: Vec<f64> = (0..40).map(|place| 0.01 * f64::from(place % 7) - 0.028).collect();
        let p = PairedDifference::of(&many).unwrap();
        assert!((p.p_value.unwrap() - p.p_value_of_signs.unwrap()).abs() < 0.03, "{p:?}");
    }

    #[test]
    fn more_seeds_see_smaller_effects() {
        assert_eq!(smallest_visible(0.01, 1), None);
        let visible: Vec<f64> = [2, 3, 5, 10].iter().map(|pairs| smallest_visible(0.01, *pairs).unwrap()).collect();
        assert!(visible.is_sorted_by(|one, next| one > next), "{visible:?}");
        assert!((visible[2] - (2.776_445 + 0.940_965) * 0.01 / 5_f64.sqrt()).abs() < 1e-7);
    }
}
