//! What a study will cost, before it is begun.

use loam_train::session::parameters;
use serde::Serialize;

use super::conduct::{BaseData, Study};
use super::folder::RunResult;

/// Floating-point operations that training takes a parameter and token.
const OPERATIONS: f64 = 6.0;
/// The part of a machine's rate of matrix products that training small models reaches.
const EFFICIENCY: f64 = 0.3;

/// What a study costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Runs in all.
    pub runs: usize,
    /// Of them, those that are finished or have failed already.
    pub finished: usize,
    /// Training tokens of all runs.
    pub tokens: u64,
    /// Hours that are left; none for models that are gone on with before a run of them is finished.
    pub hours: Option<f64>,
    /// `measured` on finished runs of this study, or `estimated` from the machine's rate of matrix products.
    pub speed: &'static str,
}

impl Cost {
    /// Of a study of which `known` runs are finished, on a machine that makes so many floating-point operations a second in
    /// matrix products.
    pub fn of(study: &Study, base: &BaseData, known: &[RunResult], operations_per_second: f64) -> Self {
        let vocabulary = base.prepared.tokenizer().vocabulary();
        let done: Vec<&RunResult> =
            known.iter().filter(|run| run.failed.is_none() && run.tokens_per_second > 0.0).collect();
        // The time of a run goes with its parameters and tokens; of finished runs both are known.
        let work = |parameters: u64, tokens: u64| OPERATIONS * parameters as f64 * tokens as f64;
        let measured: f64 = done.iter().map(|run| work(run.parameters, run.tokens)).sum();
        let seconds: f64 = done.iter().map(|run| run.tokens as f64 / run.tokens_per_second).sum();
        let (rate, speed) = if seconds > 0.0 {
            (measured / seconds, "measured")
        } else {
            (operations_per_second * EFFICIENCY, "estimated")
        };
        let (mut tokens, mut left) = (0, Some(0.0));
        for arm in &study.arms {
            let own = study.tokens(arm, base);
            let recipe = arm.recipe(&study.recipe, &base.folder, 0);
            let size = parameters(&recipe, vocabulary).or_else(|| done.first().map(|run| run.parameters));
            for seed in &study.seeds {
                tokens += own;
                if !known.iter().any(|run| run.arm == arm.name && run.seed == *seed) {
                    left = left.zip(size).map(|(left, size)| left + work(size, own) / rate / 3600.0);
                }
            }
        }
        Self { runs: study.runs(), finished: known.len(), tokens, hours: left, speed }
    }
}
