//! From the mean of a text's rows to the probabilities of labels.

use super::matrix::Matrix;
use super::settings::Loss;
use super::tree::Tree;

/// The table by which each label's own probability is read off, as in the original: from -8 to 8 in so many steps.
const STEPS: usize = 512;
const MOST: f32 = 8.0;

/// How the labels are told.
pub(super) struct Output {
    matrix: Matrix,
    /// Of a dense matrix whose rows are all looked at: column after column, so that many labels are summed up at once, each
    /// in its order.
    columns: Option<Vec<f32>>,
    labels: usize,
    method: Method,
}

enum Method {
    Together,
    Alone(Vec<f32>),
    Tree(Tree),
}

/// The original's logarithm, which keeps away from 0.
pub(super) fn logarithm(probability: f32) -> f32 {
    (f64::from(probability) + 1e-5).ln() as f32
}

/// The original's probability of a logarithm, where it is a number; at most 1.
fn probability(logarithm: f32) -> Option<f32> {
    (!logarithm.is_nan()).then(|| logarithm.exp().min(1.0))
}

impl Output {
    pub(super) fn new(matrix: Matrix, content: &[u8], loss: Loss, counts: &[i64]) -> Result<Self, String> {
        let labels = matrix.rows();
        let method = match loss {
            Loss::Softmax => Method::Together,
            Loss::NegativeSampling | Loss::OneVersusAll => Method::Alone(
                (0..=STEPS)
                    .map(|step| {
                        let x = (step as f32 * 2.0 * MOST) / STEPS as f32 - MOST;
                        (1.0 / f64::from(1.0 + (-x).exp())) as f32
                    })
                    .collect(),
            ),
            Loss::HierarchicalSoftmax => Method::Tree(Tree::new(counts)?),
        };
        let columns = (matches!(matrix, Matrix::Dense { .. }) && !matches!(method, Method::Tree(_))).then(|| {
            let mut columns = vec![0.0; labels * matrix.columns()];
            for row in 0..labels {
                for (column, value) in matrix.dense_row(content, row).enumerate() {
                    columns[column * labels + row] = value;
                }
            }
            columns
        });
        Ok(Self { matrix, columns, labels, method })
    }

    /// The most probable label.
    pub(super) fn best(&self, content: &[u8], hidden: &[f32]) -> Option<(usize, f32)> {
        if let Method::Tree(tree) = &self.method {
            let (label, logarithm) = tree.best(|row| self.second(content, hidden, row))?;
            return Some((label, probability(logarithm)?));
        }
        let mut best: Option<(usize, f32)> = None;
        let mut least = f32::NEG_INFINITY;
        for (label, number) in self.all(content, hidden).into_iter().enumerate() {
            // The original compares logarithms, and of equals takes the last. None is equal from farther away than this.
            if number < least || number.is_nan() {
                continue;
            }
            let logarithm = logarithm(number);
            if best.is_none_or(|(_, highest)| logarithm >= highest) {
                best = Some((label, logarithm));
                least = number - 1e-6;
            }
        }
        best.and_then(|(label, logarithm)| Some((label, probability(logarithm)?)))
    }

    /// The probability of a label.
    pub(super) fn probability(&self, content: &[u8], hidden: &[f32], label: usize) -> Option<f32> {
        match &self.method {
            Method::Tree(tree) => probability(tree.logarithm(label, |row| self.second(content, hidden, row))),
            _ => probability(logarithm(self.all(content, hidden)[label])),
        }
    }

    /// Of a row of a tree: how probable its second side is.
    fn second(&self, content: &[u8], hidden: &[f32], row: usize) -> f32 {
        let sum = self.matrix.dot_row(content, row, hidden);
        (1.0 / f64::from(1.0 + (-sum).exp())) as f32
    }

    /// The probabilities of all labels, where no tree says them.
    fn all(&self, content: &[u8], hidden: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0; self.labels];
        match &self.columns {
            Some(columns) => {
                for (number, column) in hidden.iter().zip(columns.chunks_exact(self.labels)) {
                    for (sum, value) in all.iter_mut().zip(column) {
                        *sum += number * value;
                    }
                }
            }
            None => {
                for (row, sum) in all.iter_mut().enumerate() {
                    *sum = self.matrix.dot_row(content, row, hidden);
                }
            }
        }
        match &self.method {
            Method::Alone(table) => {
                for number in &mut all {
                    *number = if *number < -MOST {
                        0.0
                    } else if *number > MOST {
                        1.0
                    } else if number.is_nan() {
                        f32::NAN
                    } else {
                        table[((*number + MOST) * STEPS as f32 / MOST / 2.0) as usize]
                    };
                }
            }
            Method::Together | Method::Tree(_) => {
                let highest = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for number in &mut all {
                    *number = (*number - highest).exp();
                    sum += *number;
                }
                for number in &mut all {
                    *number /= sum;
                }
            }
        }
        all
    }
}
