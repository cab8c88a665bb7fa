//! How the loss of every target changes along a direction of the weights: ⟨∂ℓ, V⟩ by a central difference of two forward
//! passes,
//!
//! ```text
//! ⟨∂ℓ, V⟩ = (ℓ(w + εV) − ℓ(w − εV)) / 2ε + O(ε²)
//! ```
//!
//! without a backward pass, so that it is there for every family, for adapters, and for each token by itself. What is
//! differenced is the loss without dropout and label smoothing.
//!
//! Losses are `f32`: a difference of two is known to some 10⁻⁶ nats. Too short an ε drowns in that, too long a one in the
//! third derivative, early: V is longest where few gradients come, not where losses are steep. Both are small where targets change by
//! a thousandth of a nat ([`RESPONSE`]; measured in `ARCHITECTURE.md`). A first ε follows
//! from the held-out loss, whose slope along V is known; where the targets then change by far less or far more, ε is
//! corrected in proportion, and the next one begins there. Products are made in `f32` whatever the run's precision: bf16 would round the step away.

use crate::learner::Learner;
use crate::objective::Example;
use burn::tensor::{Device, Tensor};
use loam_nn::precision::{self, Precision};
use loam_nn::{parameters, update};

/// Root mean square of the difference of two losses of a target that is aimed at, in nats.
pub const RESPONSE: f64 = 0.001;
/// Within which bounds it is taken as it is.
const ACCEPTED: (f64, f64) = (0.0002, 0.005);
/// Corrections of ε at most.
const CORRECTIONS: usize = 3;

/// A direction in the space of weights, and points to leave from.
pub struct Direction<'a> {
    /// Weights, one vector a parameter.
    pub from: &'a [Tensor<1>],
    /// What leads to other weights, where points between are asked for.
    pub change: &'a [Tensor<1>],
    /// V.
    pub along: &'a [Tensor<1>],
}

impl Direction<'_> {
    /// A first ε: the step at which a loss of slope `slope` along V changes by [`RESPONSE`] from one side to the other; none
    /// where there is no slope.
    pub fn first_step(slope: f64) -> Option<f64> {
        let step = RESPONSE / (2.0 * slope.abs());
        (step.is_finite() && step > 0.0).then_some(step)
    }

    /// The losses of every target that counts at `from + place · change + step · V`, in nats.
    fn losses<M: Learner>(&self, model: &M, examples: &[Example], place: f64, step: f64, device: &Device) -> Vec<f32> {
        let moved = parameters::update(model.clone(), |index, _| {
            let (from, along) = (&self.from[index], &self.along[index]);
            match self.change.get(index).filter(|_| place != 0.0) {
                Some(change) => update::combination(&[(from, 1.0), (change, place), (along, step)]),
                None => update::combination(&[(from, 1.0), (along, step)]),
            }
        });
        precision::with_precision(Precision::F32, || moved.token_losses(examples, device))
    }

    /// The slope of the loss of every target that counts along V, at the place on the way, in the order of the groups and
    /// their examples. `model` carries no graph; `step` is where ε begins, and afterwards where the next one best does: at what
    /// would have made the first group's targets answer as is aimed at.
    pub fn slopes<M: Learner>(
        &self,
        model: &M,
        groups: &[&[Example]],
        place: f64,
        next: &mut f64,
        device: &Device,
    ) -> Vec<Vec<f64>> {
        let mut found = Vec::with_capacity(groups.len());
        let mut step = *next;
        for group in groups {
            let mut corrections = if found.is_empty() { CORRECTIONS } else { 0 };
            loop {
                let (ahead, behind) =
                    (self.losses(model, group, place, step, device), self.losses(model, group, place, -step, device));
                let differences: Vec<f64> =
                    ahead.iter().zip(&behind).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
                let squares: f64 = differences.iter().map(|difference| difference * difference).sum();
                let response = (squares / differences.len().max(1) as f64).sqrt();
                let accepted = (ACCEPTED.0..=ACCEPTED.1).contains(&response);
                // A response that is no number comes of far too long a step.
                let factor = if response.is_finite() { (RESPONSE / response).clamp(1e-3, 1e3) } else { 1e-3 };
                if found.is_empty() && response != 0.0 {
                    *next = step * factor;
                }
                if corrections == 0 || accepted || response == 0.0 {
                    found.push(differences.into_iter().map(|difference| difference / (2.0 * step)).collect());
                    break;
                }
                corrections -= 1;
                step *= factor;
            }
        }
        found
    }
}
