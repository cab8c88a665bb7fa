//! `AdamW` (Kingma & Ba 2015; Loshchilov & Hutter 2019) in one pass over memory, alone and with the data ledger's
//! books.
//!
//! The step is limited by memory: each weight's value, gradient and two moments are read once and written once.

use crate::buffer::{CHUNK, SharedPointer};
use crate::simd::{Arithmetic, vectorized};
use crate::vector::add_multiple_chunk;
use rayon::prelude::*;

/// Elements whose step sizes stay in the nearest caches while the ledger's lines are booked, one after the other: long
/// enough runs of each line for the hardware's prefetching, which loses track of ten lines at once.
const BLOCK: usize = 4096;

/// One optimizer step, the same for every weight that it is applied to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay λ: the weight loses `learning_rate · λ · weight`.
    pub weight_decay: f32,
    /// The number of this step, from 1, for the bias corrections.
    pub step: u64,
    /// Multiplies every gradient: clipping by the global norm, or one over the number of micro-batches.
    pub gradient_scale: f32,
}

/// What one source of data contributed to a step, for one weight tensor.
#[derive(Debug)]
pub struct LedgerPart<'a> {
    /// The source's share of this step's gradient.
    pub gradient: &'a [f32],
    /// The source's share of the first moment, as [`Reach`] counts it, when momentum is credited to the sources that
    /// built it.
    pub momentum: Option<&'a mut [f32]>,
    /// Accumulates what the source moved the weight by.
    pub drift: &'a mut [f32],
}

/// How far a unit of momentum has moved each weight, R = Σ β₁ⁱ uᵢ over the steps i = 0, 1, … since the lines were
/// settled, with u = lr c₁ / (√(v c₂) + ε).
///
/// A source's momentum fades by β₁ a step and moves the weight by u at each, also while the source has no text in the
/// batch. Walking over every source's momentum at every step would cost more than the step. So momentum is kept in units
/// of the first step after settling, in which it does not fade: a gradient of step i adds x = (1 - β₁) s g / β₁ⁱ to it
/// and x R to the drift, with R before the step; what it moved the weight by since is x (Rₙ - R), whenever that is asked
/// for. [`Reach::settle`] turns these into the drift itself, so an absent source costs nothing and a present one five
/// passes over memory.
#[derive(Debug)]
pub struct Reach<'a> {
    /// R, of the weight's length.
    pub values: &'a mut [f32],
    /// Steps since the lines were settled.
    pub age: u32,
}

impl Reach<'_> {
    /// Steps after which the lines must be settled: while 1 / β₁ⁱ stays below 32, the difference of two reaches keeps
    /// all but a few of its bits.
    pub fn longest(beta1: f32) -> u32 {
        if beta1 <= 0.0 {
            return 1;
        }
        ((32_f64.ln() / -f64::from(beta1).ln()) as u32).clamp(1, 64)
    }

    /// Makes `drift` what the source has moved the weight by, and counts `momentum` from the next step on. After all
    /// sources of a weight the caller clears the reach.
    pub fn settle(&self, beta1: f32, momentum: &mut [f32], drift: &mut [f32]) {
        let len = self.values.len();
        assert_eq!([momentum.len(), drift.len()], [len; 2], "lengths of momentum and drift for a reach of {len}");
        let fade = f64::from(beta1).powi(self.age as i32) as f32;
        let chunks = drift.par_chunks_mut(CHUNK).zip(momentum.par_chunks_mut(CHUNK));
        chunks.zip(self.values.par_chunks(CHUNK)).for_each(|((drift, momentum), reach)| {
            settle_chunk(drift, momentum, reach, fade);
        });
    }
}

/// The ledger's lines for one weight tensor. Every slice has the weight's length.
#[derive(Debug)]
pub struct LedgerLines<'a> {
    /// One for each source that has a line and text in this step.
    pub parts: Vec<LedgerPart<'a>>,
    /// Where momentum is credited to the sources that built it.
    pub reach: Option<Reach<'a>>,
    /// Accumulates what weight decay moved the weight by.
    pub decay: &'a mut [f32],
}

/// The step's constants, computed once.
#[derive(Clone, Copy)]
struct Constants {
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    gradient_scale: f32,
    /// 1 / (1 - β₁ᵗ).
    correction1: f32,
    /// 1 / (1 - β₂ᵗ).
    correction2: f32,
}

impl AdamW {
    /// Updates `weight`, `first` (m) and `second` (v) from `gradient`, all of one length.
    ///
    /// With g = gradient · `gradient_scale`: m = β₁ m + (1 - β₁) g, v = β₂ v + (1 - β₂) g²,
    /// w = w - lr (m c₁ / (√(v c₂) + ε) + λ w), where cᵢ = 1 / (1 - βᵢᵗ).
    pub fn step(&self, weight: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let constants = self.constants();
        check_lengths(weight.len(), [gradient.len(), first.len(), second.len()]);
        let chunks = weight.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        let chunks = chunks.zip(first.par_chunks_mut(CHUNK)).zip(second.par_chunks_mut(CHUNK));
        chunks.for_each(|(((weight, gradient), first), second)| step_chunk(constants, weight, gradient, first, second));
    }

    /// The very same update as [`AdamW::step`], bit for bit, and the books of where it came from.
    ///
    /// With u = lr c₁ / (√(v c₂) + ε) after the update of v, and s = `gradient_scale`:
    ///
    /// - a part with `momentum` is credited with its own, as [`Reach`] says; then R += β₁ⁱ u;
    /// - a part without is credited with this step's gradient only: drift -= u (1 - β₁) s g;
    /// - decay -= lr λ w, with w before the step.
    ///
    /// The change of the weight is the sum of all sources' lines (those of sources without a part included, as their
    /// momentum goes on), of decay, and, where momentum is not credited, of what earlier steps' momentum did. So one
    /// line need not be kept: it is what the others leave of the change.
    ///
    /// Panics when parts have momentum and the lines no reach, or the reach no momentum.
    pub fn step_with_ledger(
        &self,
        weight: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        lines: &mut LedgerLines,
    ) {
        let constants = self.constants();
        let len = weight.len();
        check_lengths(len, [gradient.len(), first.len(), second.len()]);
        let books = Books::new(lines, len, self.beta1);
        let chunks = weight.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        let chunks = chunks.zip(first.par_chunks_mut(CHUNK)).zip(second.par_chunks_mut(CHUNK)).enumerate();
        chunks.for_each(|(chunk, (((weight, gradient), first), second))| {
            let blocks = weight.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK));
            let blocks = blocks.zip(first.chunks_mut(BLOCK)).zip(second.chunks_mut(BLOCK)).enumerate();
            for (block, (((weight, gradient), first), second)) in blocks {
                // SAFETY: blocks do not overlap, so each range of the lines is touched by one task.
                unsafe { books.step_block(constants, chunk * CHUNK + block * BLOCK, weight, gradient, first, second) };
            }
        });
    }

    fn constants(&self) -> Constants {
        assert!(self.step > 0, "optimizer steps are counted from 1");
        // In f64: 1 - βᵗ loses most of its digits in f32 while t is small and β near 1.
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(self.step as f64))) as f32;
        Constants {
            learning_rate: self.learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            gradient_scale: self.gradient_scale,
            correction1: correction(self.beta1),
            correction2: correction(self.beta2),
        }
    }
}

fn check_lengths(len: usize, others: [usize; 3]) {
    assert_eq!([len; 3], others, "lengths of gradient, first and second moment for {len} weights");
}

/// One weight's update; returns the denominator of its step, √(v c₂) + ε.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn update<A: Arithmetic>(c: &Constants, weight: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) -> f32 {
    let g = gradient * c.gradient_scale;
    let m = A::mul_add(c.beta1, *first, (1.0 - c.beta1) * g);
    let v = A::mul_add(c.beta2, *second, (1.0 - c.beta2) * g * g);
    let denominator = (v * c.correction2).sqrt() + c.epsilon;
    let direction = A::mul_add(c.weight_decay, *weight, m * c.correction1 / denominator);
    *first = m;
    *second = v;
    *weight = A::mul_add(-c.learning_rate, direction, *weight);
    denominator
}

vectorized! {
    fn step_chunk<A>(
        constants: Constants,
        weight: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        for (((w, g), m), v) in weight.iter_mut().zip(gradient).zip(first).zip(second) {
            update::<A>(&constants, w, *g, m, v);
        }
    }
}

/// [`LedgerPart`] as pointers that tasks may share.
struct SharedPart<'a> {
    gradient: &'a [f32],
    momentum: Option<SharedPointer>,
    drift: SharedPointer,
}

/// [`LedgerLines`] as pointers that tasks may share.
struct Books<'a> {
    parts: Vec<SharedPart<'a>>,
    reach: Option<SharedPointer>,
    decay: SharedPointer,
    /// β₁ⁱ, with i the age of the reach.
    fade: f32,
}

impl<'a> Books<'a> {
    fn new(lines: &'a mut LedgerLines, len: usize, beta1: f32) -> Self {
        let shared = |line: &mut [f32]| {
            assert_eq!(line.len(), len, "a ledger line of {} elements for {len} weights", line.len());
            SharedPointer::new(line)
        };
        let credited = lines.reach.is_some();
        let parts = lines.parts.iter_mut().map(|part| {
            assert_eq!(part.gradient.len(), len, "a part's gradient of {} elements", part.gradient.len());
            assert_eq!(part.momentum.is_some(), credited, "momentum and reach go together");
            SharedPart {
                gradient: part.gradient,
                momentum: part.momentum.as_deref_mut().map(shared),
                drift: shared(part.drift),
            }
        });
        let parts = parts.collect();
        let age = lines.reach.as_ref().map_or(0, |reach| reach.age);
        Self {
            parts,
            reach: lines.reach.as_mut().map(|reach| shared(reach.values)),
            decay: shared(lines.decay),
            fade: f64::from(beta1).powi(age as i32) as f32,
        }
    }

    /// Updates one block, which starts at element `start`, and books it.
    ///
    /// # Safety
    ///
    /// Nobody else touches this range of the lines.
    unsafe fn step_block(
        &self,
        constants: Constants,
        start: usize,
        weight: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let len = weight.len();
        let mut rates = [0.0; BLOCK];
        let rates = &mut rates[..len];
        // SAFETY: `new` checked the lines' lengths against the weight's, and the range is this block's own.
        let line = |pointer: SharedPointer| unsafe { pointer.slice(start, len) };
        step_block(constants, weight, gradient, first, second, line(self.decay), rates);
        let share = (1.0 - constants.beta1) * constants.gradient_scale;
        let reach = self.reach.map(line);
        for SharedPart { gradient, momentum, drift } in &self.parts {
            let gradient = &gradient[start..][..len];
            match (*momentum, reach.as_deref()) {
                (Some(momentum), Some(reach)) => {
                    credit(line(*drift), line(momentum), gradient, reach, share / self.fade);
                }
                _ => subtract_product(line(*drift), rates, gradient, share),
            }
        }
        if let Some(reach) = reach {
            add_multiple_chunk(reach, rates, self.fade);
        }
    }
}

vectorized! {
    /// The update, the line of weight decay, and each weight's rate u.
    fn step_block<A>(
        constants: Constants,
        weight: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        decay: &mut [f32],
        rates: &mut [f32],
    ) {
        let rate = constants.learning_rate * constants.correction1;
        let decay_rate = constants.learning_rate * constants.weight_decay;
        let lines = decay.iter_mut().zip(rates);
        for ((((w, g), m), v), (decay, u)) in weight.iter_mut().zip(gradient).zip(first).zip(second).zip(lines) {
            *decay = A::mul_add(-decay_rate, *w, *decay);
            *u = rate / update::<A>(&constants, w, *g, m, v);
        }
    }
}

vectorized! {
    /// `line -= rates · factor · values`.
    fn subtract_product<A>(line: &mut [f32], rates: &[f32], values: &[f32], factor: f32) {
        for ((line, rate), value) in line.iter_mut().zip(rates).zip(values) {
            *line = A::mul_add(-rate, factor * value, *line);
        }
    }
}

vectorized! {
    /// `momentum += share · gradient; drift += share · gradient · reach`.
    fn credit<A>(drift: &mut [f32], momentum: &mut [f32], gradient: &[f32], reach: &[f32], share: f32) {
        for (((drift, momentum), gradient), reach) in drift.iter_mut().zip(momentum).zip(gradient).zip(reach) {
            let fresh = share * gradient;
            *momentum += fresh;
            *drift = A::mul_add(fresh, *reach, *drift);
        }
    }
}

vectorized! {
    /// `drift -= momentum · reach; momentum *= fade`.
    fn settle_chunk<A>(drift: &mut [f32], momentum: &mut [f32], reach: &[f32], fade: f32) {
        for ((drift, momentum), reach) in drift.iter_mut().zip(momentum).zip(reach) {
            *drift = A::mul_add(-*momentum, *reach, *drift);
            *momentum *= fade;
        }
    }
}
