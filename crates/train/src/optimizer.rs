//! `AdamW` (Loshchilov & Hutter 2019) over a whole model, with clipping by the global norm and, where the ledger runs,
//! its bookkeeping in the same pass.

use crate::ledger::Ledger;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_kernels::adamw::AdamW;
use loam_nn::parameters::{self, Parameter};
use loam_nn::update::{self, Moments};

/// Constants of the optimizer.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// Decoupled weight decay; none on vectors (norms and biases).
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0 for no clipping.
    pub clip: f32,
}

/// The optimizer's state.
pub struct Optimizer {
    constants: Constants,
    decays: Vec<bool>,
    /// Moments of every parameter.
    pub moments: Vec<Moments>,
}

/// Gradients of one step.
pub struct StepGradients {
    /// Sum over the step.
    pub total: Vec<Tensor<1>>,
    /// The same by source, where the ledger runs; none for a source without a sequence in this step. Of a source that
    /// has no line of its own it is not read.
    pub by_source: Vec<Option<Vec<Tensor<1>>>>,
}

impl Optimizer {
    /// Zero moments for `parameters`.
    pub fn new(constants: Constants, parameters: &[Parameter], device: &Device) -> Self {
        Self {
            constants,
            decays: parameters.iter().map(|parameter| parameter.shape.len() > 1).collect(),
            moments: parameters.iter().map(|parameter| Moments::zeros(parameter.count(), device)).collect(),
        }
    }

    /// The global norm of a gradient.
    pub fn norm(gradient: &[Tensor<1>]) -> f64 {
        gradient.iter().map(|tensor| update::sum_of_squares(tensor.clone())).sum::<f64>().sqrt()
    }

    /// The factor that clipping puts on a gradient of this norm.
    pub fn clip_factor(&self, norm: f64) -> f32 {
        let clip = f64::from(self.constants.clip);
        if clip > 0.0 && norm > clip { (clip / norm) as f32 } else { 1.0 }
    }

    /// P ⊙ gradient: each parameter's gradient over the denominators √v̂ + ε that the `step`-th step used; 0 where no gradient
    /// has come yet, for nothing that is trained on reaches there.
    pub fn precondition(&self, gradient: &[Tensor<1>], step: u64) -> Vec<Tensor<1>> {
        let correction = 1.0 / (1.0 - f64::from(self.constants.beta2).powf(step.max(1) as f64));
        let one = |(gradient, moments): (&Tensor<1>, &Moments)| {
            let second = moments.second.clone();
            let denominator = (second.clone() * correction).sqrt() + self.constants.epsilon;
            (gradient.clone() / denominator).mask_fill(second.equal_elem(0.0), 0.0)
        };
        gradient.iter().zip(&self.moments).map(one).collect()
    }

    /// One step, the `step`-th from 1, at this learning rate.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: StepGradients,
        gradient_scale: f32,
        learning_rate: f32,
        step: u64,
        mut ledger: Option<&mut Ledger>,
    ) -> M {
        let age = ledger.as_deref().map_or(0, Ledger::age);
        // Only of the sources that have a line of their own.
        let mut by_line = ledger.as_deref().map(|ledger| ledger.by_line(gradients.by_source)).unwrap_or_default();
        let mut totals = gradients.total.into_iter();
        let model = parameters::update(model, |index, weight| {
            let hyper = AdamW {
                learning_rate,
                beta1: self.constants.beta1,
                beta2: self.constants.beta2,
                epsilon: self.constants.epsilon,
                weight_decay: if self.decays[index] { self.constants.weight_decay } else { 0.0 },
                step,
                gradient_scale,
            };
            let total = totals.next().expect("a gradient for every parameter");
            let moments = &mut self.moments[index];
            match ledger.as_deref_mut() {
                None => update::adamw(&hyper, weight, total, moments),
                Some(ledger) => {
                    // Taken out rather than cloned, so that each part's memory is free as soon as it is booked.
                    let taken = |part: &mut Option<Vec<Tensor<1>>>| {
                        part.as_mut()
                            .map(|part| std::mem::replace(&mut part[index], Tensor::empty([0], &weight.device())))
                    };
                    let parts = by_line.iter_mut().map(taken).collect();
                    update::adamw_with_ledger(&hyper, weight, total, parts, moments, ledger.lines(index), age)
                }
            }
        });
        if let Some(ledger) = ledger {
            ledger.end_step();
        }
        model
    }
}
