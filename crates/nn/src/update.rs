//! One optimizer step on one parameter, with or without the ledger's bookkeeping: the fused pass on CPUs, composed
//! elsewhere. All tensors are flat and carry no graph.

use crate::device;
use crate::fused;
use crate::profile::timer;
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::{Device, Tensor};
use loam_kernels::adamw::{AdamW, LedgerLines, LedgerPart};

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

/// Where one parameter's changes came from since the ledger was last booked.
#[derive(Clone, Debug)]
pub struct Lines {
    /// One a source.
    pub parts: Vec<Part>,
    /// Change owed to momentum from earlier steps, where it is a line of its own.
    pub history: Option<Tensor<1>>,
    /// Change owed to weight decay.
    pub decay: Tensor<1>,
}

/// One source's line.
#[derive(Clone, Debug)]
pub struct Part {
    /// The source's own momentum, where momentum is credited to the sources that built it.
    pub momentum: Option<Tensor<1>>,
    /// Sum of the source's shares of the weight changes.
    pub drift: Tensor<1>,
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
    if !device::has_kernels(&weight.device()) {
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

/// The same step, its change booked to `lines`. `parts` are the gradients by source, none where a source had no
/// sequence in this step; they sum to `gradient`.
pub fn adamw_with_ledger(
    hyper: &AdamW,
    mut weight: Tensor<1>,
    gradient: Tensor<1>,
    parts: Vec<Option<Tensor<1>>>,
    moments: &mut Moments,
    lines: &mut Lines,
) -> Tensor<1> {
    if !device::has_kernels(&weight.device()) {
        return composed_with_ledger(hyper, weight, gradient, parts, moments, lines);
    }
    let _timer = timer("adamw with ledger");
    let gradient = fused::slice(gradient);
    let gradients: Vec<_> = parts.into_iter().map(|part| part.map(fused::slice)).collect();
    let mut w = Owned::take(&mut weight);
    let (mut m, mut v) = (Owned::take(&mut moments.first), Owned::take(&mut moments.second));
    let mut owned: Vec<_> = lines
        .parts
        .iter_mut()
        .map(|part| (part.momentum.as_mut().map(Owned::take), Owned::take(&mut part.drift)))
        .collect();
    let mut history = lines.history.as_mut().map(Owned::take);
    let mut decay = Owned::take(&mut lines.decay);
    let mut books = LedgerLines {
        parts: owned
            .iter_mut()
            .zip(&gradients)
            .map(|((momentum, drift), gradient)| LedgerPart {
                gradient: gradient.as_ref().map(fused::Dense::values),
                momentum: momentum.as_mut().map(Owned::values),
                drift: drift.values(),
            })
            .collect(),
        history: history.as_mut().map(Owned::values),
        decay: decay.values(),
    };
    hyper.step_with_ledger(w.values(), gradient.values(), m.values(), v.values(), &mut books);
    for (part, (momentum, drift)) in lines.parts.iter_mut().zip(owned) {
        (part.momentum, part.drift) = (momentum.map(Owned::give), drift.give());
    }
    lines.history = history.map(Owned::give);
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
) -> Tensor<1> {
    let (old_weight, old_first) = (weight.clone(), moments.first.clone());
    let (weight, factor) = composed_step(hyper, weight, gradient, moments);
    let share = (1.0 - hyper.beta1) * hyper.gradient_scale;
    for (line, gradient) in lines.parts.iter_mut().zip(parts) {
        let fresh = gradient.map(|gradient| gradient * share);
        let change = match (line.momentum.take(), fresh) {
            (Some(momentum), fresh) => {
                let momentum = momentum * hyper.beta1;
                let momentum = fresh.map_or(momentum.clone(), |fresh| momentum + fresh);
                line.momentum = Some(momentum.clone());
                momentum
            }
            (None, Some(fresh)) => fresh,
            (None, None) => continue,
        };
        line.drift = line.drift.clone() - factor.clone() * change;
    }
    if let Some(history) = &mut lines.history {
        *history = history.clone() - factor * old_first * hyper.beta1;
    }
    lines.decay = lines.decay.clone() - old_weight * (hyper.learning_rate * hyper.weight_decay);
    weight
}

/// ⟨a, b⟩, summed in f64 on CPUs.
pub fn dot(a: Tensor<1>, b: Tensor<1>) -> f64 {
    if device::has_kernels(&a.device()) {
        return loam_kernels::vector::dot(fused::slice(a).values(), fused::slice(b).values());
    }
    f64::from((a * b).sum().into_scalar::<f32>())
}

/// The sum of squares, in f64 on CPUs.
pub fn sum_of_squares(a: Tensor<1>) -> f64 {
    dot(a.clone(), a)
}
