//! How fast a training step is: forward, backward and AdamW on random tokens, without data, ledger or records.
//!
//! The shapes and the count of operations are those of the PyTorch scripts in `benches/peers`, so that the figures can
//! stand beside theirs.

mod shapes;
mod subjects;

pub use shapes::{Model, SHAPES, Shape};

use crate::error::TrainError;
use crate::ledger;
use crate::optimizer::{Constants, Optimizer, StepGradients};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_kernels::{allocator, peak};
use loam_nn::{parameters, profile};
use serde::Serialize;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

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
    /// Threads that compute, to be told beside the figures.
    pub threads: usize,
}

/// Trains `plan.shape` on random tokens and measures it; `watch` hears of every step.
///
/// # Errors
/// When the shape is not one that a model can have.
pub fn measure(plan: &Plan, device: &Device, watch: impl FnMut(usize, Duration)) -> Result<StepSpeed, TrainError> {
    let (shape, seed) = (plan.shape, plan.seed);
    Ok(match shape.model {
        Model::Gpt => {
            let (model, loss) = subjects::gpt(shape, seed, device)?;
            time(plan, device, model, loss, watch)
        }
        Model::Bert => {
            let (model, loss) = subjects::bert(shape, seed, device)?;
            time(plan, device, model, loss, watch)
        }
        Model::Lstm => {
            let (model, loss) = subjects::lstm(shape, seed, device)?;
            time(plan, device, model, loss, watch)
        }
        Model::Seq2Seq => {
            let (model, loss) = subjects::seq2seq(shape, seed, device)?;
            time(plan, device, model, loss, watch)
        }
    })
}

/// Times training steps of a model on a batch, whose loss `loss` is.
fn time<M: Module>(
    plan: &Plan,
    device: &Device,
    model: M,
    loss: impl Fn(&M) -> Tensor<1>,
    mut watch: impl FnMut(usize, Duration),
) -> StepSpeed {
    let shape = plan.shape;
    let autodiff = device.clone().autodiff();
    let mut model = Some(model);
    let names = parameters::list(model.as_ref().expect("the model is here"));
    let count = names.iter().map(|name| name.count() as u64).sum();
    let constants = Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let mut optimizer = Optimizer::new(constants, &names, device);
    let mut number = 0;
    let mut step = || {
        let start = Instant::now();
        number += 1;
        let taken = model.take().expect("the optimizer gave the model back");
        let loss = loss(&taken);
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
    for index in 0..plan.steps.max(1) {
        let time = step();
        watch(index + 1, time);
        times.push(time);
    }
    let warm_bytes_taken = allocator::memory().taken.saturating_sub(taken);
    let warm_page_faults = page_faults().zip(faults).map(|(now, before)| now.saturating_sub(before));
    let (profiled, operations) = profile::record(&mut step);
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let median = times[times.len() / 2].as_secs_f64();
    let gflops = shape.flops() / median / 1e9;
    let peak_gflops = peak_gflops();
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
    StepSpeed {
        shape: shape.name.to_owned(),
        context: shape.context,
        batch: shape.batch,
        dtype: "f32".to_owned(),
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
        warm_page_faults,
        operations,
    }
}

/// What the registers of this machine can do, measured once a process.
fn peak_gflops() -> f64 {
    static PEAK: OnceLock<f64> = OnceLock::new();
    *PEAK.get_or_init(peak::multiply_adds)
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
    fn small_shapes_are_measured() {
        for (model, operation, calls) in [
            (Model::Gpt, "attention", 2.0),
            (Model::Bert, "attention", 2.0),
            (Model::Lstm, "lstm", 2.0),
            (Model::Seq2Seq, "attention", 6.0),
        ] {
            let (width, layers, heads, context, vocabulary, batch) = (32, 2, 2, 16, 64, 2);
            let shape = Shape { name: "tiny", model, width, layers, heads, context, vocabulary, batch };
            let plan = Plan { shape, steps: 3, warmup: 1, seed: 1, threads: 1 };
            let mut seen = 0;
            let speed = measure(&plan, &Device::flex(), |_, _| seen += 1).unwrap();
            assert_eq!((seen, speed.steps), (3, 3));
            assert!(speed.tokens_per_s > 0.0 && speed.ms_fastest <= speed.ms_per_step);
            let found = speed.operations.iter().find(|found| found.name == operation);
            assert!(found.is_some_and(|found| found.calls == calls), "{:?}", speed.operations);
        }
    }
}
