//! Labels of texts: one a text, or any number.
//!
//! Equal to scikit-learn with `zero_division=0`. Labels are ids; any number is one, also where no text has it by right.

use std::collections::{BTreeMap, BTreeSet};

use super::interval::Statistic;
use super::precision_recall::{Average, MatchCounts, PrecisionRecall, ratio};

/// One text's label and what was predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The label that it has.
    pub gold: u32,
    /// The label that it was given.
    pub predicted: u32,
}

/// What [`Prediction`]s add up to: of every label, how often it was right, predicted, and there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelCounts {
    labels: BTreeMap<u32, MatchCounts>,
    examples: u64,
    correct: u64,
}

impl Statistic for Prediction {
    type Sum = LabelCounts;

    fn add_to(&self, sum: &mut LabelCounts, times: u64) {
        let right = self.gold == self.predicted;
        sum.examples += times;
        let gold = sum.labels.entry(self.gold).or_default();
        gold.gold += times;
        if right {
            sum.correct += times;
            gold.correct += times;
            gold.predicted += times;
        } else {
            sum.labels.entry(self.predicted).or_default().predicted += times;
        }
    }
}

impl LabelCounts {
    /// The share of texts whose label is right; none without texts.
    pub fn accuracy(&self) -> Option<f64> {
        (self.examples > 0).then(|| ratio(self.correct, self.examples))
    }

    /// The scores of every label that a text has or was given.
    pub fn by_label(&self) -> impl Iterator<Item = (u32, PrecisionRecall)> {
        self.labels.iter().map(|(&label, counts)| (label, counts.scores()))
    }

    /// The scores of one label; all 0 for one that no text has or was given.
    pub fn of_label(&self, label: u32) -> PrecisionRecall {
        self.labels.get(&label).copied().unwrap_or_default().scores()
    }

    /// The scores of all labels as one, over the labels that a text has or was given. The micro average is the accuracy.
    pub fn scores(&self, average: Average) -> PrecisionRecall {
        average.of(self.labels.values().copied(), 0)
    }

    /// Matthews' correlation coefficient (1975) of any number of labels (Gorodkin, 2004, "Comparing two K-category
    /// assignments by a K-category correlation coefficient"), from −1 to 1. 0 where all texts have, or were given, one
    /// label.
    pub fn matthews(&self) -> f64 {
        let (all, correct) = (self.examples as f64, self.correct as f64);
        let sum = |of: fn(&MatchCounts) -> f64| self.labels.values().map(of).sum::<f64>();
        let both = sum(|counts| counts.gold as f64 * counts.predicted as f64);
        let gold = sum(|counts| (counts.gold as f64).powi(2));
        let predicted = sum(|counts| (counts.predicted as f64).powi(2));
        let scale = ((all * all - gold) * (all * all - predicted)).sqrt();
        if scale > 0.0 { (correct * all - both) / scale } else { 0.0 }
    }
}

/// How often texts of one label were given another: a row for each label that texts have, a column for each that they were
/// given, counts of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    cells: BTreeMap<(u32, u32), u64>,
}

impl Confusion {
    /// Counts predictions.
    pub fn of(predictions: &[Prediction]) -> Self {
        let mut cells = BTreeMap::new();
        for prediction in predictions {
            *cells.entry((prediction.gold, prediction.predicted)).or_default() += 1;
        }
        Self { cells }
    }

    /// How many texts of the label `gold` were given `predicted`.
    pub fn count(&self, gold: u32, predicted: u32) -> u64 {
        self.cells.get(&(gold, predicted)).copied().unwrap_or(0)
    }

    /// The pairs that occur, by gold label and then by predicted label, with their counts.
    pub fn cells(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        self.cells.iter().map(|(&(gold, predicted), &count)| (gold, predicted, count))
    }

    /// The matrix of these labels, `[gold, predicted]`; other labels are left out.
    pub fn matrix(&self, labels: &[u32]) -> Vec<Vec<u64>> {
        labels.iter().map(|&gold| labels.iter().map(|&predicted| self.count(gold, predicted)).collect()).collect()
    }
}

/// One text's labels and those that were predicted, none or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetPrediction {
    /// The labels that it has.
    pub gold: BTreeSet<u32>,
    /// The labels that it was given.
    pub predicted: BTreeSet<u32>,
}

/// What [`SetPrediction`]s add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSetCounts {
    labels: BTreeMap<u32, MatchCounts>,
    examples: u64,
    exact: u64,
    wrong: u64,
    /// Sums over texts of their own precision, recall and F1.
    of_texts: [f64; 3],
}

impl Statistic for SetPrediction {
    type Sum = LabelSetCounts;

    fn add_to(&self, sum: &mut LabelSetCounts, times: u64) {
        let mut own = MatchCounts { correct: 0, predicted: self.predicted.len() as u64, gold: self.gold.len() as u64 };
        for &label in &self.gold {
            let found = u64::from(self.predicted.contains(&label));
            own.correct += found;
            let counts = MatchCounts { correct: found, predicted: found, gold: 1 };
            sum.labels.entry(label).or_default().add(counts, times);
        }
        for &label in self.predicted.difference(&self.gold) {
            sum.labels.entry(label).or_default().predicted += times;
        }
        sum.examples += times;
        sum.exact += times * u64::from(self.gold == self.predicted);
        sum.wrong += times * (own.predicted + own.gold - 2 * own.correct);
        let scores = own.scores();
        for (sum, value) in sum.of_texts.iter_mut().zip([scores.precision, scores.recall, scores.f1]) {
            *sum += value * times as f64;
        }
    }
}

impl LabelSetCounts {
    /// The share of texts all of whose labels are right, and no others given; none without texts.
    pub fn subset_accuracy(&self) -> Option<f64> {
        (self.examples > 0).then(|| ratio(self.exact, self.examples))
    }

    /// The share of wrong decisions among all, with `labels` decisions a text; none without texts or labels.
    pub fn hamming_loss(&self, labels: usize) -> Option<f64> {
        let decisions = self.examples * labels.max(self.labels.len()) as u64;
        (decisions > 0).then(|| ratio(self.wrong, decisions))
    }

    /// The scores of every label that a text has or was given.
    pub fn by_label(&self) -> impl Iterator<Item = (u32, PrecisionRecall)> {
        self.labels.iter().map(|(&label, counts)| (label, counts.scores()))
    }

    /// The scores of all labels as one. `labels` is how many there are: one that no text has or was given counts 0 in the
    /// macro average, as a column of zeros does in scikit-learn.
    pub fn scores(&self, average: Average, labels: usize) -> PrecisionRecall {
        average.of(self.labels.values().copied(), labels)
    }

    /// The mean over texts of each one's own precision, recall and F1 (scikit-learn's `samples`). A text without labels
    /// has a recall of 0, one that was given none a precision of 0, and both an F1 of 0, also where nothing was right to
    /// say. All 0 without texts.
    pub fn scores_of_texts(&self) -> PrecisionRecall {
        let [precision, recall, f1] =
            self.of_texts.map(|sum| if self.examples == 0 { 0.0 } else { sum / self.examples as f64 });
        let support = self.labels.values().map(|counts| counts.gold).sum();
        PrecisionRecall { precision, recall, f1, support }
    }
}

#[cfg(test)]
mod tests {
    use super::super::interval::{Bootstrap, sum};
    use super::*;

    #[test]
    fn nothing_is_undefined_or_zero() {
        let counts = sum::<Prediction>(&[]);
        assert_eq!(counts.accuracy(), None);
        assert_eq!(counts.matthews(), 0.0);
        assert_eq!(counts.scores(Average::Macro), PrecisionRecall::default());
        assert_eq!(counts.of_label(7), PrecisionRecall::default());
        let counts = sum::<SetPrediction>(&[]);
        assert_eq!((counts.subset_accuracy(), counts.hamming_loss(3)), (None, None));
        assert_eq!(counts.scores_of_texts(), PrecisionRecall::default());
        assert_eq!(Confusion::of(&[]).matrix(&[0, 1]), [[0, 0], [0, 0]]);
    }

    #[test]
    fn any_number_is_a_label() {
        let predictions = [Prediction { gold: 0, predicted: u32::MAX }, Prediction { gold: 0, predicted: 0 }];
        let counts = sum(&predictions);
        assert_eq!(counts.accuracy(), Some(0.5));
        assert_eq!(counts.scores(Average::Macro).recall, 0.25);
        assert_eq!(Confusion::of(&predictions).cells().collect::<Vec<_>>(), [(0, 0, 1), (0, u32::MAX, 1)]);
    }

    #[test]
    fn an_example_counts_as_often_as_it_is_drawn() {
        let predictions: Vec<Prediction> =
            (0..30).map(|place| Prediction { gold: place % 3, predicted: (place * 7 / 4) % 3 }).collect();
        let (mut times, mut again) = (LabelCounts::default(), Vec::new());
        for (place, prediction) in predictions.iter().enumerate() {
            prediction.add_to(&mut times, place as u64 % 4);
            again.extend(std::iter::repeat_n(*prediction, place % 4));
        }
        assert_eq!(times.matthews(), sum(&again).matthews());
        assert_eq!(times.scores(Average::Macro), sum(&again).scores(Average::Macro));
        let interval = Bootstrap::default().interval(&predictions, LabelCounts::matthews).unwrap();
        assert!(interval.low < interval.value && interval.value < interval.high, "{interval:?}");
    }
}
