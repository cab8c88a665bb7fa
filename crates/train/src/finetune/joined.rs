//! The gradient of a loss that joins the examples of a batch: where each is learned against the others, as in contrastive
//! training, a batch that is taken in parts must still be one softmax.
//!
//! A batch that fits is one graph. One that does not is taken as Gao et al. 2021 do ("Scaling Deep Contrastive Learning Batch Size
//! under Memory Limited Setup", section 3): the vectors of all texts without a graph; the loss of these vectors and its gradient in
//! each of them; then, part by part, the vectors once more with a graph, into which that gradient goes. The sum over parts is the
//! gradient of the whole batch, at the price of a second forward pass. Dropout follows from a seed, so both passes drop the same.

use super::gradient::{Gradient, seed_of_part};
use super::{Settings, batches};
use crate::ledger;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_nn::parameters;
use std::collections::BTreeSet;

/// Tokens of a part, with padding, from which on it ends where a text is twice as long as the part's shortest: below that, a pass of
/// its own costs more than the padding that it saves.
const LIKE_LENGTHS: usize = 512;

/// What a task has whose loss joins examples. Examples are made of texts, which may stand in several of them and are encoded once
/// a batch.
pub trait Joined<M> {
    /// Tokens of every text.
    fn text_lengths(&self) -> &[usize];

    /// The texts of an example.
    fn texts(&self, example: usize) -> Vec<usize>;

    /// The vectors of texts, `[texts, width]`, differentiable where the model is. With a seed, dropout is on and follows from it
    /// alone.
    fn encode(&self, model: &M, texts: &[usize], dropout_seed: Option<u64>, device: &Device) -> Tensor<2>;

    /// The loss of a batch, a mean over its examples, `[1]`, differentiable; `vectors` `[texts, width]` are those of `texts`, which
    /// has every text of the examples once.
    fn joined_loss(&self, examples: &[usize], texts: &[usize], vectors: Tensor<2>) -> Tensor<1>;
}

/// The batches of an epoch of a joined task: every example once, in an order that follows from the seed and the epoch's number, in
/// batches whose sizes differ by one at most. They are not sorted by length: examples are learned against those beside them, which
/// would then tell nothing of texts of other lengths; and padding is saved within the batch. Sizes are even because an example that is
/// left alone would have nothing to be learned against.
pub(super) fn epoch(examples: usize, settings: &Settings, number: u64) -> Vec<Vec<usize>> {
    let order: Vec<usize> = batches::epoch(&vec![0; examples], examples, settings.seed, number).concat();
    let steps = settings.steps_an_epoch(examples) as usize;
    (0..steps).map(|step| order[examples * step / steps..examples * (step + 1) / steps].to_vec()).collect()
}

/// The texts of a batch, from short to long, each once, in parts that have at most so many tokens with their padding, and at least one
/// text each.
fn parts(texts: &[usize], lengths: &[usize], tokens: usize) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for &text in texts {
        let length = lengths[text];
        let fits = parts.last().is_some_and(|part| {
            let with = (part.len() + 1) * length;
            with <= tokens && (with <= LIKE_LENGTHS || length < 2 * lengths[part[0]].max(1))
        });
        match parts.last_mut().filter(|_| fits) {
            Some(part) => part.push(text),
            None => parts.push(vec![text]),
        }
    }
    parts
}

/// See the head of this module; none where the loss is not a number.
pub(super) fn gradient<M: Module>(
    joined: &dyn Joined<M>,
    model: &M,
    batch: &[usize],
    settings: &Settings,
    place: (u64, u64),
    device: &Device,
) -> Option<Gradient> {
    let lengths = joined.text_lengths();
    let distinct: BTreeSet<(usize, usize)> =
        batch.iter().flat_map(|example| joined.texts(*example)).map(|text| (lengths[text], text)).collect();
    let texts: Vec<usize> = distinct.into_iter().map(|(_, text)| text).collect();
    let parts = parts(&texts, lengths, settings.micro_batch_tokens);
    let seeds: Vec<u64> = (0..parts.len()).map(|number| seed_of_part(settings.seed, place, number)).collect();
    let padded: usize = parts.iter().map(|part| part.len() * part.last().map_or(0, |text| lengths[*text])).sum();
    let value = |loss: &Tensor<1>| Some(f64::from(loss.clone().into_scalar::<f32>())).filter(|loss| loss.is_finite());

    if padded <= settings.micro_batch_tokens {
        let encode = |(part, seed): (&Vec<usize>, &u64)| joined.encode(model, part, Some(*seed), device);
        let loss = joined.joined_loss(batch, &texts, Tensor::cat(parts.iter().zip(&seeds).map(encode).collect(), 0));
        let value = value(&loss)?;
        let gradients = parameters::gradients(model, loss.backward());
        return Some((value, ledger::present(model, gradients, device)));
    }

    let vectors = {
        let (plain, device) = (model.valid(), device.clone().inner());
        let encode = |(part, seed): (&Vec<usize>, &u64)| joined.encode(&plain, part, Some(*seed), &device);
        Tensor::cat(parts.iter().zip(&seeds).map(encode).collect(), 0)
    };
    let leaf = vectors.autodiff().require_grad();
    let loss = joined.joined_loss(batch, &texts, leaf.clone());
    let value = value(&loss)?;
    let of_vectors = leaf.grad(&loss.backward())?;
    let (mut begin, mut total) = (0, None);
    for (part, seed) in parts.iter().zip(&seeds) {
        let of_part = of_vectors.clone().narrow(0, begin, part.len());
        begin += part.len();
        let through = (joined.encode(model, part, Some(*seed), device) * of_part.autodiff()).sum();
        let gradients = ledger::present(model, parameters::gradients(model, through.backward()), device);
        total = Some(match total {
            None => gradients,
            Some(total) => ledger::add(total, gradients),
        });
    }
    Some((value, total?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_everything_once_in_even_batches() {
        let settings = Settings { batch: 32, ..Settings::default() };
        for (examples, sizes) in [(33, [16, 17]), (64, [32, 32]), (40, [20, 20])] {
            let batches = epoch(examples, &settings, 0);
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
            let mut seen = batches.concat();
            assert_ne!(seen, epoch(examples, &settings, 1).concat());
            seen.sort_unstable();
            assert_eq!(seen, (0..examples).collect::<Vec<_>>());
        }
        assert!(epoch(0, &settings, 0).is_empty());
    }

    #[test]
    fn parts_fit_and_are_of_like_length() {
        let lengths: Vec<usize> = (0..60).map(|text| if text < 40 { 10 + text / 10 } else { 100 + text }).collect();
        let texts: Vec<usize> = (0..60).collect();
        let cut = parts(&texts, &lengths, 1000);
        assert_eq!(cut.concat(), texts);
        assert!(cut.iter().all(|part| part.len() * lengths[*part.last().unwrap()] <= 1000));
        assert_eq!(cut[0].len(), 40);
        assert_eq!(parts(&texts[50..52], &lengths, 1).len(), 2);
        assert!(parts(&[], &lengths, 1).is_empty());
    }
}
