//! Skip-gram and CBOW with negative sampling.

use crate::word2vec::{Batch, Kind, Window};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Rows of the words around, and of the center and the samples that are others.
fn rows(batch: &Batch, number: usize, window: &Window) -> (Vec<usize>, Vec<usize>) {
    let place = |place: u32| batch.words[place as usize] as usize;
    let around = (window.first..window.end).filter(|other| *other != window.center).map(place).collect();
    let each = batch.negatives.len() / batch.windows.len();
    let center = place(window.center);
    let samples = batch.negatives[number * each..][..each].iter().map(|row| *row as usize);
    (around, std::iter::once(center).chain(samples.filter(|row| *row != center)).collect())
}

/// What the words around predict the center from: each of them, or their mean.
fn sources(kind: Kind, input: &[f64], around: &[usize], width: usize) -> Vec<Vec<f64>> {
    let row = |row: &usize| input[row * width..][..width].to_vec();
    match kind {
        Kind::SkipGram => around.iter().map(row).collect(),
        Kind::Cbow => {
            let mean = |j: usize| around.iter().map(|row| input[row * width + j]).sum::<f64>() / around.len() as f64;
            vec![(0..width).map(mean).collect()]
        }
    }
}

/// The summed loss of a batch, in nats, with `input` and `output` `[vocabulary, width]`.
pub fn loss(kind: Kind, input: &[f64], output: &[f64], width: usize, batch: &Batch) -> f64 {
    let mut total = 0.0;
    for (number, window) in batch.windows.iter().enumerate() {
        let (around, targets) = rows(batch, number, window);
        for x in sources(kind, input, &around, width) {
            for (index, target) in targets.iter().enumerate() {
                let score = dot(&x, &output[target * width..][..width]);
                total -= sigmoid(if index == 0 { score } else { -score }).ln();
            }
        }
    }
    total
}

/// [`crate::word2vec::step`].
pub fn step(kind: Kind, input: &mut [f64], output: &mut [f64], width: usize, batch: &Batch, rate: f64) {
    let (old_input, old_output) = (input.to_vec(), output.to_vec());
    for (number, window) in batch.windows.iter().enumerate() {
        let (around, targets) = rows(batch, number, window);
        for (place, x) in sources(kind, &old_input, &around, width).iter().enumerate() {
            let mut change = vec![0.0; width];
            for (index, target) in targets.iter().enumerate() {
                let y = &old_output[target * width..][..width];
                let slope = rate * (f64::from(u8::from(index == 0)) - sigmoid(dot(x, y)));
                for j in 0..width {
                    change[j] += slope * y[j];
                    output[target * width + j] += slope * x[j];
                }
            }
            let changed = if kind == Kind::SkipGram { &around[place..=place] } else { &around[..] };
            for row in changed {
                for j in 0..width {
                    input[row * width + j] += change[j];
                }
            }
        }
    }
}
