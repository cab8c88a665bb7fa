//! How fast a training step is: forward, backward and AdamW on random tokens, without data, ledger or records.
//!
//! The shapes and the count of operations are those of the PyTorch scripts in `benches/peers`, so that the figures can
//! stand beside theirs.

use crate::batch;
use crate::error::TrainError;
use crate::ledger;
use crate::optimizer::{Constants, Optimizer, StepGradients};
use burn::tensor::Device;
use loam_kernels::{allocator, peak};
use loam_models::LanguageModel;
use loam_models::gpt::{Gpt, GptConfig};
use loam_nn::initialize::mix;
use loam_nn::precision::{self, Precision};
use loam_nn::{parameters, profile};
use serde::Serialize;
use std::time::{Duration, Instant};

/// A model and the batch that it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the command calls it.
    pub name: &'static str,
    /// Width of the residual stream.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Tokens a sequence.
    pub context: usize,
    /// Token ids.
    pub vocabulary: usize,
    /// Sequences a step.
    pub batch: usize,
}

/// The shapes that can be asked for.
pub const SHAPES: &[Shape] = &[
    Shape { name: "gpt-3m", width: 192, layers: 5, heads: 6, context: 256, vocabulary: 4096, batch: 8 },
    Shape { name: "gpt-14m", width: 384, layers: 6, heads: 6, context: 256, vocabulary: 8192, batch: 8 },
    Shape { name: "gpt-124m", width: 768, layers: 12, heads: 12, context: 512, vocabulary: 50304, batch: 4 },
];

impl Shape {
    /// Tokens a step.
    pub fn tokens(&self) -> usize {
        self.batch * self.context
    }

    /// Floating-point operations of forward and backward, a token: six for every weight that a product reads, and the
    /// causal half of attention's two products.
    pub fn flops_per_token(&self) -> f64 {
        let products = 12 * self.layers * self.width * self.width + self.vocabulary * self.width;
        (6 * products + 6 * self.layers * self.context * self.width) as f64
    }
}

/// What one kind of operation took in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    /// Its name; `everything else` is what no fused operation accounts for.
    pub name: String,
    /// Milliseconds a step.
    pub ms: f64,
    /// Calls a step.
    pub calls: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepSpeed {
    /// The shape's name.
    pub shape: String,
    /// Tokens a sequence.
    pub context: usize,
    /// Sequences a step.
    pub batch: usize,
    /// Precision of the products.
    pub dtype: String,
    /// Threads.
    pub threads: usize,
    /// Parameters of the model.
    pub parameters: u64,
    /// Steps that were measured, after those that warmed up.
    pub steps: usize,
    /// At the median step.
    pub tokens_per_s: f64,
    /// Median.
    pub ms_per_step: f64,
    /// Fastest step.
    pub ms_fastest: f64,
    /// Slowest step.
    pub ms_slowest: f64,
    /// Rate of the operations that the model asks for, at the median step.
    pub gflops: f64,
    /// Rate of multiply-adds that never leave the registers, on the same threads.
    pub peak_gflops: f64,
    /// The first over the second.
    pub share_of_peak: f64,
    /// Most memory that was resident, in MB of 10⁶ bytes.
    pub peak_rss_mb: f64,
    /// Bytes that the allocator took from the system during the measured steps.
    pub warm_bytes_taken: u64,
    /// The most of it in one step: no block larger than this was taken from the system once warm.
    pub warm_bytes_taken_most: u64,
    /// Pages that the system had to provide during the measured steps; null where it does not tell.
    pub warm_page_faults: Option<u64>,
    /// Where the time went, largest first, from a step of its own.
    pub operations: Vec<Operation>,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The model and its batch.
    pub shape: Shape,
    /// Steps to measure.
    pub steps: usize,
    /// Steps before, to fill caches and the allocator.
    pub warmup: usize,
    /// Seed of weights and tokens.
    pub seed: u64,
    /// Of the products.
    pub precision: Precision,
    /// Threads that compute, to be told beside the figures.
    pub threads: usize,
}

/// Trains `plan.shape` on random tokens and measures it; `watch` hears of every step.
///
/// # Errors
/// When the shape is not one that a model can have.
pub fn measure(plan: &Plan, device: &Device, watch: impl FnMut(usize, Duration)) -> Result<StepSpeed, TrainError> {
    // What is told is what was used.
    let precision = precision::on(device, plan.precision);
    precision::with_precision(precision, || measure_in(precision, plan, device, watch))
}

fn measure_in(
    precision: Precision,
    plan: &Plan,
    device: &Device,
    mut watch: impl FnMut(usize, Duration),
) -> Result<StepSpeed, TrainError> {
    let shape = plan.shape;
    let autodiff = device.clone().autodiff();
    let config = GptConfig::new(shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads, 0.0);
    let mut model = Some(Gpt::new(config, plan.seed, &autodiff)?);
    let names = parameters::list(model.as_ref().expect("the model is here"));
    let count = names.iter().map(|name| name.count() as u64).sum();
    let constants = Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let mut optimizer = Optimizer::new(constants, &names, device);
    let random = |salt: u64| -> Vec<u32> {
        let id = |i: usize| (mix(plan.seed ^ mix(salt + i as u64)) % shape.vocabulary as u64) as u32;
        (0..shape.tokens()).map(id).collect()
    };
    let (inputs, targets) = (random(1 << 32), random(2 << 32));
    let mut number = 0;
    let mut step = || {
        let start = Instant::now();
        number += 1;
        let taken = model.take().expect("the optimizer gave the model back");
        let (x, y) = batch::tensors(&inputs, &targets, shape.batch, device);
        let loss = taken.loss(x, y, 1.0 / shape.tokens() as f32, None);
        let total = ledger::present(&taken, parameters::gradients(&taken, loss.backward()), &autodiff);
        let clip = optimizer.clip_factor(Optimizer::norm(&total));
        let gradients = StepGradients { total, by_source: Vec::new() };
        model = Some(optimizer.step(taken, gradients, clip, 3e-4, number, None));
        start.elapsed()
    };
    for _ in 0..plan.warmup {
        step();
    }
    let (taken, faults) = (allocator::memory().taken, page_faults());
    let mut times: Vec<Duration> = Vec::with_capacity(plan.steps);
    let mut warm_bytes_taken_most = 0;
    for index in 0..plan.steps.max(1) {
        let before = allocator::memory().taken;
        let time = step();
        warm_bytes_taken_most = allocator::memory().taken.saturating_sub(before).max(warm_bytes_taken_most);
        watch(index + 1, time);
        times.push(time);
    }
    let warm_bytes_taken = allocator::memory().taken.saturating_sub(taken);
    let warm_page_faults = page_faults().zip(faults).map(|(now, before)| now.saturating_sub(before));
    let (profiled, operations) = profile::record(&mut step);
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let median = times[times.len() / 2].as_secs_f64();
    let gflops = shape.flops_per_token() * shape.tokens() as f64 / median / 1e9;
    let peak_gflops = peak::multiply_adds(precision);
    let mut operations: Vec<Operation> = operations
        .into_iter()
        .map(|(name, spent)| Operation {
            name: name.to_owned(),
            ms: milliseconds(spent.time),
            calls: spent.calls as f64,
        })
        .collect();
    let rest = milliseconds(profiled) - operations.iter().map(|operation| operation.ms).sum::<f64>();
    operations.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    operations.push(Operation { name: "everything else".to_owned(), ms: rest.max(0.0), calls: 1.0 });
    Ok(StepSpeed {
        shape: shape.name.to_owned(),
        context: shape.context,
        batch: shape.batch,
        dtype: precision.name().to_owned(),
        threads: plan.threads,
        parameters: count,
        steps: times.len(),
        tokens_per_s: shape.tokens() as f64 / median,
        ms_per_step: median * 1e3,
        ms_fastest: milliseconds(times[0]),
        ms_slowest: milliseconds(times[times.len() - 1]),
        gflops,
        peak_gflops,
        share_of_peak: gflops / peak_gflops,
        peak_rss_mb: allocator::memory().peak_resident as f64 / 1e6,
        warm_bytes_taken,
        warm_bytes_taken_most,
        warm_page_faults,
        operations,
    })
}

/// Pages that the system has provided to this process so far, where it tells (Linux).
fn page_faults() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything; minor faults are the tenth.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(7)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_shape_is_measured() {
        let shape = Shape { name: "tiny", width: 32, layers: 2, heads: 2, context: 16, vocabulary: 64, batch: 2 };
        let plan = Plan { shape, steps: 3, warmup: 1, seed: 1, threads: 1, precision: Precision::F32 };
        let mut seen = 0;
        let speed = measure(&plan, &Device::flex(), |_, _| seen += 1).unwrap();
        assert_eq!((seen, speed.steps), (3, 3));
        assert!(speed.tokens_per_s > 0.0 && speed.ms_fastest <= speed.ms_per_step);
        assert!(speed.operations.iter().any(|operation| operation.name == "attention" && operation.calls == 2.0));
        assert_eq!(shape.flops_per_token(), (6 * (12 * 2 * 32 * 32 + 64 * 32) + 6 * 2 * 16 * 32) as f64);
    }
}
