//! What probabilities are worth beyond the label that they lead to: whether they rank, and whether they are right.

use super::interval::Statistic;

/// The area under the ROC curve: how probable it is that a positive example's score is above a negative one's, ties
/// counting half (Hanley and McNeil, 1982). From 0 to 1; 0.5 is chance.
///
/// None where an example of either kind is missing, or a score is not a number. For its interval see
/// [`Bootstrap::interval_of_draws`] and [`auc_of_draws`].
///
/// [`Bootstrap::interval_of_draws`]: super::interval::Bootstrap::interval_of_draws
pub fn auc(examples: &[(f64, bool)]) -> Option<f64> {
    auc_of_draws(examples, &vec![1; examples.len()])
}

/// [`auc`] of examples each of which counts as often as it was drawn.
pub fn auc_of_draws(examples: &[(f64, bool)], draws: &[u32]) -> Option<f64> {
    if examples.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut order: Vec<(f64, bool, f64)> =
        examples.iter().zip(draws).map(|(&(score, positive), &times)| (score, positive, f64::from(times))).collect();
    order.sort_unstable_by(|a, b| a.0.partial_cmp(&b.0).expect("scores are numbers"));
    // From the lowest score up: negatives below, and pairs in the right order.
    let (mut below, mut positives, mut pairs) = (0.0, 0.0, 0.0);
    for ties in order.chunk_by(|a, b| a.0 == b.0) {
        let of = |kind| ties.iter().filter(|tie| tie.1 == kind).map(|tie| tie.2).sum::<f64>();
        let (up, down) = (of(true), of(false));
        pairs += up * (below + 0.5 * down);
        positives += up;
        below += down;
    }
    (positives > 0.0 && below > 0.0).then(|| pairs / (positives * below))
}

/// How many bins calibration is judged in.
pub const CALIBRATION_BINS: usize = 10;

/// How probable a prediction was said to be, and whether it was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// The probability of the predicted label, from 0 to 1.
    pub probability: f64,
    /// Whether the label is right.
    pub correct: bool,
}

/// What [`Confidence`]s add up to: for every bin, how many, how confident, how many right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    bins: [CalibrationBin; CALIBRATION_BINS],
}

/// The predictions of one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationBin {
    /// How many predictions.
    pub count: u64,
    /// The sum of their probabilities.
    pub probability: f64,
    /// How many of them are right.
    pub correct: u64,
}

impl Statistic for Confidence {
    type Sum = Calibration;

    fn add_to(&self, sum: &mut Calibration, times: u64) {
        // The bins are open below and closed above; 0 belongs to the first, what is no probability to the last.
        let bin = (1..CALIBRATION_BINS).find(|&bin| self.probability <= bin as f64 / CALIBRATION_BINS as f64);
        let bin = &mut sum.bins[bin.unwrap_or(CALIBRATION_BINS) - 1];
        bin.count += times;
        bin.probability += self.probability * times as f64;
        bin.correct += times * u64::from(self.correct);
    }
}

impl Calibration {
    /// The bins, ((m − 1)/10, m/10] for m from 1 to 10.
    pub fn bins(&self) -> &[CalibrationBin; CALIBRATION_BINS] {
        &self.bins
    }

    /// The expected calibration error (Guo et al., 2017, "On Calibration of Modern Neural Networks", equation 3): the
    /// mean over predictions of the distance between their bin's accuracy and its mean probability, ten bins of equal
    /// width. None without predictions.
    pub fn error(&self) -> Option<f64> {
        let count: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let distance: f64 = self.bins.iter().map(|bin| (bin.correct as f64 - bin.probability).abs()).sum();
        (count > 0).then(|| distance / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::interval::sum;
    use super::*;

    #[test]
    fn the_area_needs_both_kinds() {
        assert_eq!(auc(&[]), None);
        assert_eq!(auc(&[(0.5, true)]), None);
        assert_eq!(auc(&[(f64::NAN, true), (0.5, false)]), None);
        assert_eq!(auc(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(auc(&[(f64::INFINITY, true), (-0.0, false), (0.0, true)]), Some(0.75));
        assert_eq!(auc_of_draws(&[(0.9, true), (0.5, false), (0.1, true)], &[3, 1, 1]), Some(0.75));
    }

    #[test]
    fn bins_are_closed_above() {
        let at = |probability| {
            let calibration = sum(&[Confidence { probability, correct: true }]);
            calibration.bins().iter().position(|bin| bin.count > 0).unwrap()
        };
        assert_eq!([0.0, 0.1, 0.3, 0.300_001, 1.0].map(at), [0, 0, 2, 3, 9]);
        assert_eq!([-1.0, 7.0, f64::NAN].map(at), [0, 9, 9]);
        assert_eq!(sum::<Confidence>(&[]).error(), None);
    }
}
