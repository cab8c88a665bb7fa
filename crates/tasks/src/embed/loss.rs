//! What pairs of texts teach an encoder.

use burn::tensor::{Int, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

/// What keeps a document out of a softmax: no product comes near.
const NEVER: f32 = -1e9;

/// What pairs with scores teach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimilarityLoss {
    /// The order of scores: Su 2022, "CoSENT: a more efficient sentence vector scheme than Sentence-BERT".
    #[default]
    Cosent,
    /// The scores themselves: the squared difference of score and cosine (Reimers and Gurevych 2019, section 3).
    Cosine,
}

/// What each anchor of a batch is told of the batch's documents.
pub(super) struct Told {
    /// Of every anchor its document's column.
    pub targets: Vec<usize>,
    /// Anchors and columns that count as neither right nor wrong: other documents that belong to the anchor, and itself.
    pub left_out: Vec<(usize, usize)>,
}

/// Rows scaled to length 1.
pub(super) fn scaled(vectors: Tensor<2>) -> Tensor<2> {
    let norms = vectors.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(super::pooling::LEAST);
    vectors / norms
}

/// The mean over anchors `[anchors, width]` of −ln of the softmax that gives an anchor its document among all of the batch,
/// `[documents, width]`, by `scale` times their cosine: `InfoNCE` (van den Oord et al. 2018, equation 4) with the other examples'
/// documents as negatives (Henderson et al. 2017, section 4.4). `[1]`, in nats. Vectors have length 1.
pub(super) fn contrastive(anchors: Tensor<2>, documents: Tensor<2>, told: &Told, scale: f32) -> Tensor<1> {
    let ([rows, _], [columns, _], device) = (anchors.dims(), documents.dims(), anchors.device());
    let mut mask = vec![0.0; rows * columns];
    for &(row, column) in &told.left_out {
        mask[row * columns + column] = NEVER;
    }
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [rows, columns]), &device);
    let products = anchors.matmul(documents.transpose()) * scale + mask;
    let targets: Vec<i64> = told.targets.iter().map(|target| *target as i64).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &device);
    activation::log_softmax(products, 1).gather(1, targets).mean() * -1.0
}

/// What pairs with these scores are told by the cosines `[pairs]` of their vectors; `[1]`.
///
/// `CoSENT`: ln (1 + Σ exp (scale · (cosⱼ − cosᵢ))) over all i, j of the batch with scoreᵢ > scoreⱼ. Else the mean of (cos − score)².
pub(super) fn similarity(cosines: Tensor<1>, scores: &[f32], loss: SimilarityLoss, scale: f32) -> Tensor<1> {
    let (count, device) = (scores.len(), cosines.device());
    if loss == SimilarityLoss::Cosine {
        let scores = Tensor::<1>::from_data(TensorData::new(scores.to_vec(), [count]), &device);
        return (cosines - scores).powi_scalar(2).mean();
    }
    let mask: Vec<f32> =
        scores.iter().flat_map(|one| scores.iter().map(move |other| if one > other { 0.0 } else { NEVER })).collect();
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [count, count]), &device);
    let scaled = cosines * scale;
    let differences = scaled.clone().reshape([1, count]) - scaled.reshape([count, 1]) + mask;
    // With the 0 that stands for the 1 before the sum.
    let all = Tensor::cat(vec![Tensor::zeros([1], &device), differences.reshape([count * count])], 0);
    let largest = all.clone().detach().max();
    (all - largest.clone()).exp().sum().log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let number =
            |place: u64| loam_nn::initialize::mix(seed ^ loam_nn::initialize::mix(place)) as f64 / 2_f64.powi(63);
        (0..count as u64).map(|place| (number(place) - 1.0) as f32).collect()
    }

    fn rows(values: &[f32], width: usize) -> Vec<Vec<f64>> {
        let unit = |row: &[f32]| {
            let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|x| f64::from(*x) / norm).collect()
        };
        values.chunks(width).map(unit).collect()
    }

    fn dot(one: &[f64], other: &[f64]) -> f64 {
        one.iter().zip(other).map(|(a, b)| a * b).sum()
    }

    fn plain_contrastive(anchors: &[Vec<f64>], documents: &[Vec<f64>], told: &Told, scale: f64) -> f64 {
        let of = |(row, anchor): (usize, &Vec<f64>)| {
            let score = |column: usize| scale * dot(anchor, &documents[column]);
            let kept = (0..documents.len()).filter(|column| !told.left_out.contains(&(row, *column)));
            kept.map(|column| score(column).exp()).sum::<f64>().ln() - score(told.targets[row])
        };
        anchors.iter().enumerate().map(of).sum::<f64>() / anchors.len() as f64
    }

    fn plain_cosent(cosines: &[f64], scores: &[f32], scale: f64) -> f64 {
        let mut sum = 1.0;
        for (one, first) in scores.iter().enumerate() {
            for (other, second) in scores.iter().enumerate() {
                if first > second {
                    sum += (scale * (cosines[other] - cosines[one])).exp();
                }
            }
        }
        sum.ln()
    }

    /// The loss of both tables `[rows, width]`, and its gradient in each number of the first.
    fn differentiated(
        first: &[f32],
        second: &[f32],
        width: usize,
        loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> (f64, Vec<f32>) {
        let device = Device::default().autodiff();
        let table = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), &device)
        };
        let (first, second) = (table(first).require_grad(), table(second));
        let loss = loss(scaled(first.clone()), scaled(second));
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradient = first.grad(&loss.backward()).unwrap().into_data().try_into_vec::<f32>().unwrap();
        (value, gradient)
    }

    /// The gradient against differences of what a plain loop in f64 says.
    fn agrees(values: &[f32], told: (f64, Vec<f32>), plain: impl Fn(&[f32]) -> f64) {
        assert!((told.0 - plain(values)).abs() < 1e-5, "{} and {}", told.0, plain(values));
        for place in 0..values.len() {
            let at = |step: f32| {
                let mut moved = values.to_vec();
                moved[place] += step;
                (f64::from(moved[place]), plain(&moved))
            };
            let (high, low) = (at(1e-3), at(-1e-3));
            let slope = (high.1 - low.1) / (high.0 - low.0);
            let error = (slope - f64::from(told.1[place])).abs();
            assert!(error < 2e-3 * slope.abs().max(0.5), "{place}: {slope} and {}", told.1[place]);
        }
    }

    #[test]
    fn contrastive_loss_and_gradient_are_those_of_plain_loops() {
        let (anchors, documents) = (numbers(12, 1), numbers(15, 2));
        for left_out in [vec![], vec![(0, 3), (2, 0)]] {
            let told = Told { targets: vec![0, 1, 1, 4], left_out };
            let found = differentiated(&anchors, &documents, 3, |a, d| contrastive(a, d, &told, 20.0));
            agrees(&anchors, found, |anchors| plain_contrastive(&rows(anchors, 3), &rows(&documents, 3), &told, 20.0));
            let found = differentiated(&documents, &anchors, 3, |d, a| contrastive(a, d, &told, 20.0));
            agrees(&documents, found, |moved| plain_contrastive(&rows(&anchors, 3), &rows(moved, 3), &told, 20.0));
        }
        // Of one document nothing is learned.
        let told = Told { targets: vec![0], left_out: vec![] };
        let (value, gradient) =
            differentiated(&anchors[..3], &documents[..3], 3, |a, d| contrastive(a, d, &told, 20.0));
        assert!(value.abs() < 1e-6 && gradient.iter().all(|x| x.abs() < 1e-6));
    }

    #[test]
    fn similarity_losses_and_gradients_are_those_of_plain_loops() {
        let (one, other) = (numbers(15, 3), numbers(15, 4));
        let scores = [0.1, 0.9, 0.5, 0.5, -1.0];
        let cosines = |one: &[f32], other: &[f32]| -> Vec<f64> {
            rows(one, 3).iter().zip(&rows(other, 3)).map(|(a, b)| dot(a, b)).collect()
        };
        let of =
            |loss| move |a: Tensor<2>, b: Tensor<2>| similarity((a * b).sum_dim(1).reshape([5]), &scores, loss, 20.0);
        let found = differentiated(&one, &other, 3, of(SimilarityLoss::Cosent));
        agrees(&one, found, |one| plain_cosent(&cosines(one, &other), &scores, 20.0));
        let found = differentiated(&one, &other, 3, of(SimilarityLoss::Cosine));
        agrees(&one, found, |one| {
            let told = cosines(one, &other);
            told.iter().zip(&scores).map(|(said, score)| (said - f64::from(*score)).powi(2)).sum::<f64>() / 5.0
        });
        // Where scores are equal, order teaches nothing.
        let device = Device::default();
        let equal = similarity(
            Tensor::from_data(TensorData::new(vec![0.3, 0.7], [2]), &device),
            &[1.0, 1.0],
            SimilarityLoss::Cosent,
            20.0,
        );
        assert!(equal.into_scalar::<f32>().abs() < 1e-6);
    }
}
