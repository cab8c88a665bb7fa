//! What learning rate to take: a short training whose rate rises from step to step (Smith, *Cyclical learning rates for
//! training neural networks*, 2017, section 3.3), of which nothing is kept.

use super::gradient::gradient;
use super::{Settings, Task, batches_of};
use crate::error::TrainError;
use crate::optimizer::{Constants, Optimizer, StepGradients};
use burn::tensor::Device;
use loam_nn::parameters;
use std::sync::atomic::{AtomicBool, Ordering};

/// What tells its dropout from that of training.
const KEY: u64 = 0x7261_7465;
/// How the smoothed loss forgets.
const SMOOTHING: f64 = 0.9;
/// A smoothed loss of so many times the least one ends the search.
const DIVERGED: f64 = 4.0;

/// A step of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePoint {
    /// Its learning rate.
    pub rate: f64,
    /// The smoothed loss, nats.
    pub loss: f64,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct RateSearch {
    /// The rate to take: where the smoothed loss falls most steeply over the logarithm of the rate, at most a third of the
    /// rate where it is least, because behind that it rises.
    pub rate: f64,
    /// Every step.
    pub points: Vec<RatePoint>,
}

/// Searches from `from` to `to` in so many steps at most.
///
/// # Errors
/// When the settings are impossible or not even the lowest rate gives a loss that is a number.
pub fn find_rate<T: Task>(
    task: &T,
    model: T::Model,
    settings: &Settings,
    (from, to): (f64, f64),
    steps: u64,
    device: &Device,
    stop: &AtomicBool,
) -> Result<RateSearch, TrainError> {
    settings.check()?;
    let names = parameters::list(&model);
    let mut optimizer = Optimizer::new(Constants::from(settings), &names, device);
    let differentiable = device.clone().autodiff();
    let mut model = Some(model);
    let batches = (0..).flat_map(|number| batches_of(task, settings, number));
    let (mut points, mut mean) = (Vec::new(), 0.0);
    for (step, batch) in (0..steps.max(2)).zip(batches) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let rate = from * (to / from).powf(step as f64 / (steps.max(2) - 1) as f64);
        let trained = model.as_ref().expect("the optimizer gave the model back");
        let Some((sum, total)) = gradient(task, trained, &batch, settings, (KEY, step), &differentiable) else { break };
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * sum;
        let loss = mean / (1.0 - SMOOTHING.powi(step as i32 + 1));
        points.push(RatePoint { rate, loss });
        let least = points.iter().map(|point| point.loss).fold(f64::INFINITY, f64::min);
        let norm = Optimizer::norm(&total);
        if loss > DIVERGED * least || !norm.is_finite() {
            break;
        }
        let clip = optimizer.clip_factor(norm);
        let gradients = StepGradients { total, by_source: Vec::new() };
        let trained = model.take().expect("the optimizer gave the model back");
        model = Some(optimizer.step(trained, gradients, clip, rate as f32, step + 1, None));
    }
    let rate = steepest(&points).ok_or_else(|| {
        TrainError::Request("no learning rate can be told: the loss did not fall at any; give one with --lr".to_owned())
    })?;
    Ok(RateSearch { rate, points })
}

/// See [`RateSearch::rate`].
fn steepest(points: &[RatePoint]) -> Option<f64> {
    let least = points.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    let slope = |pair: &[RatePoint]| (pair[1].loss - pair[0].loss) / (pair[1].rate / pair[0].rate).ln();
    let steepest = points.windows(2).min_by(|a, b| slope(a).total_cmp(&slope(b)))?;
    (slope(steepest) < 0.0).then(|| steepest[0].rate.min(least.rate / 3.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_lies_where_the_loss_falls_most() {
        let curve = |rate: f64| {
            let x = rate.log10();
            1.0 - 0.5 / (1.0 + (-4.0 * (x + 4.0)).exp()) + 2.0 / (1.0 + (-8.0 * (x + 1.5)).exp())
        };
        let rates = (0..=60).map(|step| 10_f64.powf(-6.0 + f64::from(step) / 10.0));
        let points: Vec<RatePoint> = rates.map(|rate| RatePoint { rate, loss: curve(rate) }).collect();
        let found = steepest(&points).unwrap();
        assert!((3e-5..3e-4).contains(&found), "{found}");
        assert_eq!(steepest(&points[..1]), None);
        let flat = [1e-5, 1e-4, 1e-3].map(|rate| RatePoint { rate, loss: 1.0 });
        assert_eq!(steepest(&flat), None);
    }
}
