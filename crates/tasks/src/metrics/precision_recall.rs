//! Precision, recall and F1 of whatever is found or not: labels, entities.

use serde::Serialize;

/// What was found of one kind of thing: the sums behind its precision and recall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MatchCounts {
    /// Found, and there.
    pub correct: u64,
    /// Found.
    pub predicted: u64,
    /// There.
    pub gold: u64,
}

impl MatchCounts {
    /// Adds another count, `times` times.
    pub fn add(&mut self, other: Self, times: u64) {
        self.correct += other.correct * times;
        self.predicted += other.predicted * times;
        self.gold += other.gold * times;
    }

    /// Precision, recall and F1. Each is 0 where it divides by 0: precision where nothing was found, recall where there was
    /// nothing to find (`zero_division=0` of scikit-learn and seqeval).
    pub fn scores(self) -> PrecisionRecall {
        PrecisionRecall {
            precision: ratio(self.correct, self.predicted),
            recall: ratio(self.correct, self.gold),
            f1: ratio(2 * self.correct, self.predicted + self.gold),
            support: self.gold,
        }
    }
}

/// Precision, recall and their harmonic mean, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PrecisionRecall {
    /// Of what was found, the share that is there.
    pub precision: f64,
    /// Of what is there, the share that was found.
    pub recall: f64,
    /// 2·precision·recall / (precision + recall) of one kind; of several, the average of theirs.
    pub f1: f64,
    /// How many were there to find.
    pub support: u64,
}

/// How the scores of several kinds become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Counts are added before dividing: every thing weighs the same.
    Micro,
    /// The mean over kinds: every kind weighs the same.
    Macro,
    /// The mean over kinds, each weighted by how many of it there are.
    Weighted,
}

impl Average {
    /// The scores of all kinds as one. Without kinds, or weighted without anything to find, they are 0. For [`Macro`],
    /// kinds may be counted that `counts` leaves out because nothing is known of them: `kinds` is how many there are, if
    /// more.
    ///
    /// [`Macro`]: Average::Macro
    pub fn of(self, counts: impl IntoIterator<Item = MatchCounts>, kinds: usize) -> PrecisionRecall {
        let mut all = MatchCounts::default();
        let mut sum = PrecisionRecall::default();
        let (mut seen, mut weight) = (0, 0.0);
        for count in counts {
            let scores = count.scores();
            let own = if self == Self::Weighted { count.gold as f64 } else { 1.0 };
            sum.precision += own * scores.precision;
            sum.recall += own * scores.recall;
            sum.f1 += own * scores.f1;
            weight += own;
            seen += 1;
            all.add(count, 1);
        }
        if self == Self::Micro {
            return all.scores();
        }
        if self == Self::Macro {
            weight = seen.max(kinds) as f64;
        }
        let share = |value: f64| if weight == 0.0 { 0.0 } else { value / weight };
        PrecisionRecall {
            precision: share(sum.precision),
            recall: share(sum.recall),
            f1: share(sum.f1),
            support: all.gold,
        }
    }
}

/// A share of counts, 0 where there is nothing to share.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_divide_by_is_zero() {
        assert_eq!(MatchCounts::default().scores(), PrecisionRecall::default());
        for average in [Average::Micro, Average::Macro, Average::Weighted] {
            assert_eq!(average.of([], 0), PrecisionRecall::default());
            let only_predicted = MatchCounts { correct: 0, predicted: 3, gold: 0 };
            assert_eq!(average.of([only_predicted], 0), PrecisionRecall::default());
        }
    }

    #[test]
    fn averages_weigh_things_or_kinds() {
        let counts =
            [MatchCounts { correct: 8, predicted: 10, gold: 8 }, MatchCounts { correct: 0, predicted: 0, gold: 2 }];
        assert_eq!(Average::Micro.of(counts, 0).recall, 0.8);
        assert_eq!(Average::Macro.of(counts, 0).recall, 0.5);
        assert_eq!(Average::Macro.of(counts, 4).recall, 0.25);
        assert_eq!(Average::Weighted.of(counts, 4).recall, 0.8);
        assert_eq!(Average::Weighted.of(counts, 0).support, 10);
    }
}
