//! Linear chains of conditional random fields (Lafferty et al. 2001; Collobert et al. 2011, section 3.2.2): how probable a row of
//! tags is as a whole, given how well each tag suits each word (its emission) and each next one (its transition).
//!
//! The score of tags y over n words is s(y) = start(y₁) + Σ emission(t, y_t) + Σ transition(y_t, y_{t+1}) + end(y_n), and
//! ln p(y) = s(y) − ln Σ_y′ e^s(y′), by the forward algorithm. Its gradient is known in closed form: of an emission, what is
//! expected of the tag less what is told. So both are computed on the host, in f64, and the loss enters the graph as the product
//! of the scores with their gradient, which differentiates to that, plus a constant, which makes its value right.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use loam_nn::initialize::Initializer;
use rayon::prelude::*;

/// Spread of new transitions.
const DEVIATION: f64 = 0.05;

/// The transitions of a field. Names are those of the Python package pytorch-crf.
#[derive(Module, Debug)]
pub struct Crf {
    /// From the row's tag to the column's, `[tags, tags]`.
    transitions: Param<Tensor<2>>,
    /// Into the first tag, `[tags]`.
    start_transitions: Param<Tensor<1>>,
    /// Out of the last tag, `[tags]`.
    end_transitions: Param<Tensor<1>>,
}

/// Transitions on the host.
struct Weights {
    tags: usize,
    transitions: Vec<f64>,
    start: Vec<f64>,
    end: Vec<f64>,
}

/// ln Σ e^x without overflow.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + values.map(|x| (x - most).exp()).sum::<f64>().ln() }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
    values.into_iter().map(f64::from).collect()
}

/// What a sentence's loss asks of the scores: the loss and its gradient.
struct Slope {
    loss: f64,
    emissions: Vec<f64>,
    transitions: Vec<f64>,
    start: Vec<f64>,
    end: Vec<f64>,
}

impl Weights {
    /// ln of the summed e^score of all rows of tags that end in each tag at each word, `[words, tags]`.
    fn forward(&self, emissions: &[f64]) -> Vec<f64> {
        let (tags, words) = (self.tags, emissions.len() / self.tags);
        let mut alpha: Vec<f64> = (0..tags).map(|tag| self.start[tag] + emissions[tag]).collect();
        for word in 1..words {
            let before = (word - 1) * tags;
            for tag in 0..tags {
                let into = (0..tags).map(|from| alpha[before + from] + self.transitions[from * tags + tag]);
                let sum = log_sum(into);
                alpha.push(sum + emissions[word * tags + tag]);
            }
        }
        alpha
    }

    /// The same of all that goes on from each tag, without its own emission.
    fn backward(&self, emissions: &[f64]) -> Vec<f64> {
        let (tags, words) = (self.tags, emissions.len() / self.tags);
        let mut beta = vec![0.0; emissions.len()];
        beta[(words - 1) * tags..].copy_from_slice(&self.end);
        for word in (0..words - 1).rev() {
            let next = (word + 1) * tags;
            for tag in 0..tags {
                let onward =
                    (0..tags).map(|to| self.transitions[tag * tags + to] + emissions[next + to] + beta[next + to]);
                beta[word * tags + tag] = log_sum(onward);
            }
        }
        beta
    }

    /// ln Σ_y e^s(y).
    fn partition(&self, alpha: &[f64]) -> f64 {
        let last = alpha.len() - self.tags;
        log_sum((0..self.tags).map(|tag| alpha[last + tag] + self.end[tag]))
    }

    /// The probability of every tag at every word, `[words, tags]`.
    fn marginals(&self, emissions: &[f64]) -> Vec<f64> {
        let (alpha, beta) = (self.forward(emissions), self.backward(emissions));
        let partition = self.partition(&alpha);
        alpha.iter().zip(&beta).map(|(a, b)| (a + b - partition).exp()).collect()
    }

    fn slope(&self, emissions: &[f64], told: &[usize]) -> Slope {
        let (tags, words) = (self.tags, told.len());
        let (alpha, beta) = (self.forward(emissions), self.backward(emissions));
        let partition = self.partition(&alpha);
        let mut own = vec![0.0; emissions.len()];
        let mut between = vec![0.0; tags * tags];
        for (place, (a, b)) in own.iter_mut().zip(alpha.iter().zip(&beta)) {
            *place = (a + b - partition).exp();
        }
        for word in 1..words {
            let (before, here) = ((word - 1) * tags, word * tags);
            for from in 0..tags {
                for to in 0..tags {
                    let pair = from * tags + to;
                    let score = alpha[before + from] + self.transitions[pair] + emissions[here + to] + beta[here + to];
                    between[pair] += (score - partition).exp();
                }
            }
        }
        let (mut start, mut end) = (own[..tags].to_vec(), own[(words - 1) * tags..].to_vec());
        let mut score = self.start[told[0]] + self.end[told[words - 1]];
        start[told[0]] -= 1.0;
        end[told[words - 1]] -= 1.0;
        for (word, &tag) in told.iter().enumerate() {
            score += emissions[word * tags + tag];
            own[word * tags + tag] -= 1.0;
            if word > 0 {
                let pair = told[word - 1] * tags + tag;
                score += self.transitions[pair];
                between[pair] -= 1.0;
            }
        }
        Slope { loss: partition - score, emissions: own, transitions: between, start, end }
    }

    /// The most probable row of tags (Viterbi 1967).
    fn best(&self, emissions: &[f64]) -> Vec<usize> {
        let (tags, words) = (self.tags, emissions.len() / self.tags);
        let mut score: Vec<f64> = (0..tags).map(|tag| self.start[tag] + emissions[tag]).collect();
        let mut from = Vec::with_capacity(emissions.len());
        for word in 1..words {
            let mut next = Vec::with_capacity(tags);
            for tag in 0..tags {
                let into = |before: &usize| score[*before] + self.transitions[before * tags + tag];
                let best = (0..tags).max_by(|a, b| into(a).total_cmp(&into(b)).then(b.cmp(a))).unwrap_or(0);
                next.push(into(&best) + emissions[word * tags + tag]);
                from.push(best);
            }
            score = next;
        }
        let last = |tag: &usize| score[*tag] + self.end[*tag];
        let mut tag = (0..tags).max_by(|a, b| last(a).total_cmp(&last(b)).then(b.cmp(a))).unwrap_or(0);
        let mut row = vec![tag];
        for word in (1..words).rev() {
            tag = from[(word - 1) * tags + tag];
            row.push(tag);
        }
        row.reverse();
        row
    }
}

impl Crf {
    /// New transitions between so many tags.
    pub(crate) fn new(tags: usize, draw: &mut Initializer) -> Self {
        Self {
            transitions: draw.normal([tags, tags], DEVIATION),
            start_transitions: draw.normal([tags], DEVIATION),
            end_transitions: draw.normal([tags], DEVIATION),
        }
    }

    fn weights(&self) -> Weights {
        Weights {
            tags: self.start_transitions.lazy_shape()[0],
            transitions: host(self.transitions.val()),
            start: host(self.start_transitions.val()),
            end: host(self.end_transitions.val()),
        }
    }

    /// The summed negative logarithm of the probability of what is told, in nats, `[1]`, differentiable. Emissions are those of
    /// the sentences' words one after the other, `[words of all, tags]`; `told` has the tags of every sentence, none of them
    /// empty.
    pub fn loss(&self, emissions: Tensor<2>, told: &[Vec<usize>]) -> Tensor<1> {
        let [_, tags] = emissions.dims();
        let device = emissions.device();
        let weights = self.weights();
        let values = host(emissions.clone());
        let mut begins = Vec::with_capacity(told.len());
        let mut at = 0;
        for row in told {
            begins.push(at);
            at += row.len() * tags;
        }
        let slopes: Vec<Slope> = told
            .par_iter()
            .zip(&begins)
            .map(|(row, &begin)| weights.slope(&values[begin..begin + row.len() * tags], row))
            .collect();
        let sum = |of: fn(&Slope) -> &Vec<f64>, count: usize| -> Vec<f64> {
            let mut sum = vec![0.0; count];
            for slope in &slopes {
                sum.iter_mut().zip(of(slope)).for_each(|(sum, value)| *sum += value);
            }
            sum
        };
        let (between, start, end) = (
            sum(|slope| &slope.transitions, tags * tags),
            sum(|slope| &slope.start, tags),
            sum(|slope| &slope.end, tags),
        );
        let own: Vec<f64> = slopes.iter().flat_map(|slope| slope.emissions.iter().copied()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let product = dot(&own, &values)
            + dot(&between, &weights.transitions)
            + dot(&start, &weights.start)
            + dot(&end, &weights.end);
        let loss: f64 = slopes.iter().map(|slope| slope.loss).sum();
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let row = |values: Vec<f64>| Tensor::<1>::from_data(TensorData::new(narrow(values), [tags]), &device);
        let rows = own.len() / tags;
        let own = Tensor::<2>::from_data(TensorData::new(narrow(own), [rows, tags]), &device);
        let between = Tensor::<2>::from_data(TensorData::new(narrow(between), [tags, tags]), &device);
        (emissions * own).sum()
            + (self.transitions.val() * between).sum()
            + (self.start_transitions.val() * row(start)).sum()
            + (self.end_transitions.val() * row(end)).sum()
            + (loss - product) as f32
    }

    /// The most probable tags of every sentence, whose words' emissions stand one after the other, with each tag's probability
    /// among all rows of tags.
    pub fn best(&self, emissions: Tensor<2>, lengths: &[usize]) -> Vec<Vec<(usize, f32)>> {
        let [_, tags] = emissions.dims();
        let (weights, values) = (self.weights(), host(emissions));
        let mut at = 0;
        let mut sentences = Vec::with_capacity(lengths.len());
        for length in lengths {
            let own = &values[at * tags..(at + length) * tags];
            at += length;
            if own.is_empty() {
                sentences.push(Vec::new());
                continue;
            }
            let marginals = weights.marginals(own);
            let best = weights.best(own).into_iter().enumerate();
            sentences.push(best.map(|(word, tag)| (tag, marginals[word * tags + tag] as f32)).collect());
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use loam_nn::parameters;

    fn weights(tags: usize) -> Weights {
        let value = |place: usize| ((place * 37 % 19) as f64 - 9.0) / 7.0;
        Weights {
            tags,
            transitions: (0..tags * tags).map(value).collect(),
            start: (0..tags).map(|tag| value(tag + 5)).collect(),
            end: (0..tags).map(|tag| value(tag + 11)).collect(),
        }
    }

    fn rows(tags: usize, words: usize) -> Vec<Vec<usize>> {
        (0..tags.pow(words as u32))
            .map(|number| (0..words).map(|word| number / tags.pow(word as u32) % tags).collect())
            .collect()
    }

    fn score(weights: &Weights, emissions: &[f64], row: &[usize]) -> f64 {
        let tags = weights.tags;
        let own: f64 = row.iter().enumerate().map(|(word, tag)| emissions[word * tags + tag]).sum();
        let between: f64 = row.windows(2).map(|pair| weights.transitions[pair[0] * tags + pair[1]]).sum();
        own + between + weights.start[row[0]] + weights.end[row[row.len() - 1]]
    }

    #[test]
    fn sums_over_all_rows_are_as_when_written_out() {
        for (tags, words) in [(2, 1), (3, 4), (4, 3), (1, 5)] {
            let weights = weights(tags);
            let emissions: Vec<f64> = (0..tags * words).map(|place| ((place * 13 % 11) as f64 - 5.0) / 3.0).collect();
            let all = rows(tags, words);
            let partition: f64 = all.iter().map(|row| score(&weights, &emissions, row).exp()).sum::<f64>().ln();
            let told = &all[all.len() / 3];
            let slope = weights.slope(&emissions, told);
            assert!((slope.loss - (partition - score(&weights, &emissions, told))).abs() < 1e-9);
            // Several rows may score the most.
            let most = all.iter().map(|row| score(&weights, &emissions, row)).fold(f64::NEG_INFINITY, f64::max);
            assert!((score(&weights, &emissions, &weights.best(&emissions)) - most).abs() < 1e-9);
            let marginals = weights.marginals(&emissions);
            for word in 0..words {
                for tag in 0..tags {
                    let with = all.iter().filter(|row| row[word] == tag);
                    let expected: f64 = with.map(|row| (score(&weights, &emissions, row) - partition).exp()).sum();
                    assert!((marginals[word * tags + tag] - expected).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let device = Device::flex().autodiff();
        let tags = 3;
        let crf = Crf::new(tags, &mut Initializer::new(5, &device));
        let told = vec![vec![0, 2, 1, 1], vec![2], vec![1, 0]];
        let values: Vec<f32> = (0..7 * tags).map(|place| ((place * 29 % 17) as f32 - 8.0) / 5.0).collect();
        let emissions = |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [7, tags]), &device);
        let own = emissions(&values).require_grad();
        let loss = crf.loss(own.clone(), &told);
        let gradients = loss.backward();
        let by_emission = own.grad(&gradients).unwrap();
        let by_emission = by_emission.into_data().try_into_vec::<f32>().unwrap();
        let of = |crf: &Crf, values: &[f32]| f64::from(crf.loss(emissions(values), &told).into_scalar::<f32>());
        let step = 1e-2_f32;
        for place in [0, 4, 11, 13, 20] {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[place] += by;
                of(&crf, &values)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!((slope - f64::from(by_emission[place])).abs() < 2e-3, "{place}: {slope} {}", by_emission[place]);
        }
        let by_weight = parameters::gradients(&crf, gradients);
        for (parameter, gradient) in by_weight.into_iter().enumerate() {
            let gradient = parameters::to_host(gradient.expect("every parameter has a gradient"));
            for place in [0, gradient.len() - 1] {
                let moved = |by: f32| {
                    let crf = parameters::update(crf.clone(), |index, weight| {
                        let mut values = parameters::to_host(weight);
                        if index == parameter {
                            values[place] += by;
                        }
                        parameters::from_host(values, &Device::flex())
                    });
                    of(&crf, &values)
                };
                let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                assert!(
                    (slope - f64::from(gradient[place])).abs() < 2e-3,
                    "{parameter} {place}: {slope} {}",
                    gradient[place]
                );
            }
        }
    }
}
