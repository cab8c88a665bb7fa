//! One optimizer step on one parameter, with or without the ledger's bookkeeping: the fused pass on CPUs, composed
//! elsewhere. All tensors are flat and carry no graph.

use crate::fused;
use crate::ops;
use crate::profile::timer;
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::{Device, Tensor};
use loam_kernels::adamw::{AdamW, LedgerLines, LedgerPart, Reach};

/// Adam's moments of one parameter.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Moving mean of gradients, *m*.
    pub first: Tensor<1>,
    /// Moving mean of squared gradients, *v*.
    pub second: Tensor<1>,
}

impl Moments {
    /// Zeros.
    pub fn zeros(count: usize, device: &Device) -> Self {
        Self { first: Tensor::zeros([count], device), second: Tensor::zeros([count], device) }
    }
}

/// Where one parameter's changes came from since the ledger was last booked. What these lines leave of the change
/// belongs to the one that is not kept.
#[derive(Clone, Debug)]
pub struct Lines {
    /// One a source that has a line.
    pub parts: Vec<Part>,
    /// How far a unit of momentum has moved the weights, where momentum is credited to the sources that built it: see
    /// [`loam_kernels::adamw::Reach`].
    pub reach: Option<Tensor<1>>,
    /// Change owed to weight decay.
    pub decay: Tensor<1>,
}

/// One source's line.
#[derive(Clone, Debug)]
pub struct Part {
    /// The source's own momentum, in units of the first step after settling, where there is a reach.
    pub momentum: Option<Tensor<1>>,
    /// What the source moved the weights by, once settled.
    pub drift: Tensor<1>,
}

impl Lines {
    /// Makes every drift what its source has done, `age` steps after the last time, and clears the reach.
    pub fn settle(&mut self, beta1: f32, age: u32) {
        let Some(reach) = &mut self.reach else { return };
        if age == 0 {
            return;
        }
        if !ops::fused(&*reach) {
            for part in &mut self.parts {
                let Some(momentum) = &mut part.momentum else { continue };
                part.drift = part.drift.clone() - momentum.clone() * reach.clone();
                *momentum = momentum.clone() * f64::from(beta1).powi(age as i32);
            }
            *reach = reach.zeros_like();
            return;
        }
        let mut values = Owned::take(reach);
        for part in &mut self.parts {
            let Some(momentum) = &mut part.momentum else { continue };
            let (mut m, mut drift) = (Owned::take(momentum), Owned::take(&mut part.drift));
            Reach { values: values.values(), age }.settle(beta1, m.values(), drift.values());
            (*momentum, part.drift) = (m.give(), drift.give());
        }
        values.values().fill(0.0);
        *reach = values.give();
    }
}

/// The in-place form of a CPU tensor.
struct Owned(FlexTensor);

impl Owned {
    fn take(slot: &mut Tensor<1>) -> Self {
        let tensor = std::mem::replace(slot, Tensor::empty([0], &Device::flex()));
        Self(tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU").to_contiguous())
    }

    fn values(&mut self) -> &mut [f32] {
        self.0.storage_mut::<f32>()
    }

    fn give(self) -> Tensor<1> {
        Tensor::from_primitive::<Flex>(self.0)
    }
}

/// One `AdamW` step: the new weights.
pub fn adamw(hyper: &AdamW, mut weight: Tensor<1>, gradient: Tensor<1>, moments: &mut Moments) -> Tensor<1> {
    if !ops::fused(&weight) {
        let (weight, _) = composed_step(hyper, weight, gradient, moments);
        return weight;
    }
    let _timer = timer("adamw");
    let gradient = fused::slice(gradient);
    let mut w = Owned::take(&mut weight);
    let (mut m, mut v) = (Owned::take(&mut moments.first), Owned::take(&mut moments.second));
    hyper.step(w.values(), gradient.values(), m.values(), v.values());
    (moments.first, moments.second) = (m.give(), v.give());
    w.give()
}

/// The same step, its change booked to `lines`, which were settled `age` steps ago. `parts` are the gradients of the
/// sources that have a line, none where a source had no sequence in this step.
pub fn adamw_with_ledger(
    hyper: &AdamW,
    mut weight: Tensor<1>,
    gradient: Tensor<1>,
    parts: Vec<Option<Tensor<1>>>,
    moments: &mut Moments,
    lines: &mut Lines,
    age: u32,
) -> Tensor<1> {
    if !ops::fused(&weight) {
        return composed_with_ledger(hyper, weight, gradient, parts, moments, lines, age);
    }
    let _timer = timer("adamw with ledger");
    let gradient = fused::slice(gradient);
    let mut w = Owned::take(&mut weight);
    let (mut m, mut v) = (Owned::take(&mut moments.first), Owned::take(&mut moments.second));
    let present = lines.parts.iter_mut().zip(parts).filter_map(|(part, gradient)| Some((part, gradient?)));
    let mut owned: Vec<_> = present
        .map(|(part, gradient)| {
            let (momentum, drift) = (part.momentum.as_mut().map(Owned::take), Owned::take(&mut part.drift));
            (part, fused::slice(gradient), momentum, drift)
        })
        .collect();
    let mut reach = lines.reach.as_mut().map(Owned::take);
    let mut decay = Owned::take(&mut lines.decay);
    let parts = owned.iter_mut().map(|(_, gradient, momentum, drift)| LedgerPart {
        gradient: gradient.values(),
        momentum: momentum.as_mut().map(Owned::values),
        drift: drift.values(),
    });
    let mut books = LedgerLines {
        parts: parts.collect(),
        reach: reach.as_mut().map(|reach| Reach { values: reach.values(), age }),
        decay: decay.values(),
    };
    hyper.step_with_ledger(w.values(), gradient.values(), m.values(), v.values(), &mut books);
    for (part, _, momentum, drift) in owned {
        (part.momentum, part.drift) = (momentum.map(Owned::give), drift.give());
    }
    lines.reach = reach.map(Owned::give);
    lines.decay = decay.give();
    (moments.first, moments.second) = (m.give(), v.give());
    w.give()
}

/// New weights, and the factor that turns first moments into weight changes.
fn composed_step(
    hyper: &AdamW,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut Moments,
) -> (Tensor<1>, Tensor<1>) {
    let gradient = gradient * hyper.gradient_scale;
    let first = moments.first.clone() * hyper.beta1 + gradient.clone() * (1.0 - hyper.beta1);
    let second = moments.second.clone() * hyper.beta2 + gradient.clone() * gradient * (1.0 - hyper.beta2);
    let correction = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(hyper.step as f64)) as f32;
    let denominator = (second.clone() * correction(hyper.beta2)).sqrt() + hyper.epsilon;
    let factor = denominator.recip() * (hyper.learning_rate * correction(hyper.beta1));
    let weight = weight * (1.0 - hyper.learning_rate * hyper.weight_decay) - factor.clone() * first.clone();
    *moments = Moments { first, second };
    (weight, factor)
}

fn composed_with_ledger(
    hyper: &AdamW,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    parts: Vec<Option<Tensor<1>>>,
    moments: &mut Moments,
    lines: &mut Lines,
    age: u32,
) -> Tensor<1> {
    let old_weight = weight.clone();
    let (weight, factor) = composed_step(hyper, weight, gradient, moments);
    let share = f64::from((1.0 - hyper.beta1) * hyper.gradient_scale);
    let fade = f64::from(hyper.beta1).powi(age as i32);
    for (line, gradient) in lines.parts.iter_mut().zip(parts) {
        let Some(gradient) = gradient else { continue };
        line.drift = match (&mut line.momentum, &lines.reach) {
            (Some(momentum), Some(reach)) => {
                let fresh = gradient * (share / fade);
                *momentum = momentum.clone() + fresh.clone();
                line.drift.clone() + fresh * reach.clone()
            }
            _ => line.drift.clone() - factor.clone() * gradient * share,
        };
    }
    if let Some(reach) = &mut lines.reach {
        *reach = reach.clone() + factor * fade;
    }
    lines.decay = lines.decay.clone() - old_weight * (hyper.learning_rate * hyper.weight_decay);
    weight
}

/// a + b; in the memory of `a` where nobody else holds it.
pub fn add(mut a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    if !ops::fused(&a) {
        return a + b;
    }
    let mut sum = Owned::take(&mut a);
    loam_kernels::vector::add_assign(sum.values(), fused::slice(b).values());
    sum.give()
}

/// Σ factor · tensor over several tensors of one length.
pub fn combination(terms: &[(&Tensor<1>, f64)]) -> Tensor<1> {
    if terms.first().is_some_and(|(tensor, _)| ops::fused(*tensor)) {
        let terms: Vec<_> = terms.iter().map(|(tensor, factor)| (fused::slice((*tensor).clone()), *factor)).collect();
        let terms: Vec<_> = terms.iter().map(|(tensor, factor)| (tensor.values(), *factor as f32)).collect();
        return fused::flat(loam_kernels::vector::combination(&terms));
    }
    let terms = terms.iter().map(|(tensor, factor)| (*tensor).clone() * *factor);
    terms.reduce(|a, b| a + b).expect("at least one tensor")
}

/// ⟨a, b⟩, summed in f64 on CPUs.
pub fn dot(a: Tensor<1>, b: Tensor<1>) -> f64 {
    if ops::fused(&a) {
        return loam_kernels::vector::dot(fused::slice(a).values(), fused::slice(b).values());
    }
    f64::from((a * b).sum().into_scalar::<f32>())
}

/// ⟨a, b⟩ for every b, in one pass over a.
pub fn dots(a: &Tensor<1>, vectors: &[&Tensor<1>]) -> Vec<f64> {
    if !ops::fused(a) {
        return vectors.iter().map(|b| dot(a.clone(), (*b).clone())).collect();
    }
    let vectors: Vec<_> = vectors.iter().map(|b| fused::slice((*b).clone())).collect();
    let vectors: Vec<_> = vectors.iter().map(fused::Dense::values).collect();
    loam_kernels::vector::dots(fused::slice(a.clone()).values(), &vectors)
}

/// The sum of squares, in f64 on CPUs.
pub fn sum_of_squares(a: Tensor<1>) -> f64 {
    dot(a.clone(), a)
}
