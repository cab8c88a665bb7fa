//! `L(N, D) = E + A/N^α + B/D^β`: what a model of N parameters, trained on D tokens that are all new, comes to.
//!
//! The form and the way of fitting are those of Hoffmann et al. (2022, approach 3): in logarithms,
//!
//! ```text
//! ln L̂ = LSE(a − α ln N, b − β ln D, e)        A = exp a, B = exp b, E = exp e
//! ```
//!
//! and Huber's function of `ln L̂ − ln L` is summed over runs ([`super::robust`]), from every start of their grid, of which the
//! lowest minimum is kept. Intervals come of the bootstrap over runs, each resample fitted from the law of all of them, as
//! Besiroglu et al. (2024) do.
//!
//! a and α lie along a narrow valley, since few sizes were trained: the search measures ln N and ln D from their means, where
//! the valley is round, which changes no minimum.

use loam_tasks::metrics::Bootstrap;
use rayon::prelude::*;
use serde::Serialize;

use super::minimize::{Minimum, minimize};
use super::points::Point;
use super::robust::huber;
use super::{Estimate, estimate};
use crate::InfluenceError;

/// Directions that one search follows at most.
pub(super) const ITERATIONS: usize = 2000;
/// The law's parameters.
pub const PARAMETERS: usize = 5;

/// The law. Losses are nats a token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScalingLaw {
    /// E: what no size and no amount of data goes below, in nats.
    pub floor: f64,
    /// A: what a model of one parameter would lose, in nats.
    pub size_scale: f64,
    /// α: how fast the loss falls with size.
    pub size_exponent: f64,
    /// B: what one token would leave, in nats.
    pub data_scale: f64,
    /// β: how fast the loss falls with data.
    pub data_exponent: f64,
}

impl ScalingLaw {
    /// The loss of a model of so many parameters after so many new tokens, in nats a token.
    pub fn loss(&self, parameters: f64, tokens: f64) -> f64 {
        self.floor
            + self.size_scale * parameters.powf(-self.size_exponent)
            + self.data_scale * tokens.powf(-self.data_exponent)
    }

    /// Whether more parameters and more tokens both help, by it.
    pub fn is_usable(&self) -> bool {
        [self.floor, self.size_scale, self.data_scale, self.size_exponent, self.data_exponent]
            .iter()
            .all(|part| part.is_finite() && *part > 0.0)
    }

    /// From `[a, b, e, α, β]`.
    pub(super) fn of(at: &[f64]) -> Self {
        Self {
            floor: at[2].exp(),
            size_scale: at[0].exp(),
            size_exponent: at[3],
            data_scale: at[1].exp(),
            data_exponent: at[4],
        }
    }
}

/// Runs in logarithms, measured from their means.
#[derive(Clone, Debug)]
pub(super) struct Logarithms {
    /// ln N less its mean, ln D less its mean, ln L.
    rows: Vec<[f64; 3]>,
    /// The means of ln N and ln D.
    pub means: [f64; 2],
}

impl Logarithms {
    pub fn new(points: &[Point]) -> Self {
        let mean = |of: fn(&Point) -> f64| points.iter().map(|point| of(point).ln()).sum::<f64>() / points.len() as f64;
        let means = [mean(|point| point.parameters), mean(|point| point.tokens)];
        let row = |point: &Point| [point.parameters.ln() - means[0], point.tokens.ln() - means[1], point.loss.ln()];
        Self { rows: points.iter().map(row).collect(), means }
    }

    /// `[a, b, e, α, β]` as the search has it.
    pub fn centered(&self, at: &[f64]) -> Vec<f64> {
        vec![at[0] - at[3] * self.means[0], at[1] - at[4] * self.means[1], at[2], at[3], at[4]]
    }

    /// And back.
    pub fn plain(&self, at: &[f64]) -> Vec<f64> {
        vec![at[0] + at[3] * self.means[0], at[1] + at[4] * self.means[1], at[2], at[3], at[4]]
    }

    /// The weighted sum of Huber's function over the runs, with its gradient, at a centered point.
    pub fn objective(&self, weights: &[f64], at: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut sum = 0.0;
        for (row, &weight) in self.rows.iter().zip(weights) {
            if weight == 0.0 {
                continue;
            }
            let terms = [at[0] - at[3] * row[0], at[1] - at[4] * row[1], at[2]];
            let largest = terms[0].max(terms[1]).max(terms[2]);
            let parts = terms.map(|term| (term - largest).exp());
            let whole: f64 = parts.iter().sum();
            let (value, slope) = huber(largest + whole.ln() - row[2]);
            sum += weight * value;
            let slope = weight * slope / whole;
            gradient[0] += slope * parts[0];
            gradient[1] += slope * parts[1];
            gradient[2] += slope * parts[2];
            gradient[3] -= slope * parts[0] * row[0];
            gradient[4] -= slope * parts[1] * row[1];
        }
        sum
    }
}

/// A law with what is known of how sure it is.
#[derive(Clone, Debug)]
pub struct ScalingFit {
    /// The law of all runs.
    pub law: ScalingLaw,
    /// Runs that it was fitted to.
    pub points: usize,
    /// Σ Huber_δ(ln L̂ − ln L), as Hoffmann et al. write it.
    pub objective: f64,
    /// The middle of |ln L̂ − ln L|: half the runs are missed by less than this share of their loss.
    pub median_miss: f64,
    /// Places that the search began at.
    pub starts: usize,
    /// Of them, those that ended within 10⁻⁶ of the lowest minimum.
    pub agreeing_starts: usize,
    /// How runs were drawn anew.
    pub bootstrap: Bootstrap,
    /// The law of every resample; those that ended nowhere are left out.
    pub resampled: Vec<ScalingLaw>,
}

impl ScalingFit {
    /// Fits the law.
    ///
    /// # Errors
    /// [`InfluenceError::Law`] for runs that cannot tell the parameters: see [`check`].
    pub fn new(points: &[Point], bootstrap: Bootstrap) -> Result<Self, InfluenceError> {
        check(points)?;
        let logarithms = Logarithms::new(points);
        let once = vec![1.0; points.len()];
        let fit = |start: &[f64], weights: &[f64]| {
            minimize(start, ITERATIONS, |at, gradient| logarithms.objective(weights, at, gradient))
        };
        let starts = starts();
        let minima: Vec<Minimum> = starts.par_iter().map(|start| fit(&logarithms.centered(start), &once)).collect();
        let best = lowest(&minima).ok_or_else(|| InfluenceError::Law {
            what: "no start of the search led to a law".into(),
            hint: "are the losses those of runs that learned something?".into(),
        })?;
        let agreeing_starts = minima.iter().filter(|minimum| minimum.value - best.value <= 1e-6).count();
        let resampled = (0..bootstrap.resamples)
            .into_par_iter()
            .map(|resample| {
                let mut draws = vec![0; points.len()];
                bootstrap.draw(resample, &mut draws);
                let weights: Vec<f64> = draws.into_iter().map(f64::from).collect();
                ScalingLaw::of(&logarithms.plain(&fit(&best.at, &weights).at))
            })
            .filter(|law| law.loss(1e6, 1e6).is_finite())
            .collect();
        let law = ScalingLaw::of(&logarithms.plain(&best.at));
        let mut misses: Vec<f64> =
            points.iter().map(|point| (law.loss(point.parameters, point.tokens) / point.loss).ln().abs()).collect();
        misses.sort_by(f64::total_cmp);
        Ok(Self {
            law,
            points: points.len(),
            objective: best.value * super::robust::DELTA,
            median_miss: misses[misses.len() / 2],
            starts: starts.len(),
            agreeing_starts,
            bootstrap,
            resampled,
        })
    }

    /// Something that follows from the law, with its interval and standard error over resamples.
    pub fn estimate(&self, value: impl Fn(&ScalingLaw) -> f64) -> Estimate {
        estimate(&self.bootstrap, value(&self.law), self.resampled.iter().map(value))
    }

    /// The loss that a model of so many parameters comes to after so many new tokens: the law's, not that of one run, whose
    /// seed adds its own share.
    pub fn forecast(&self, parameters: f64, tokens: f64) -> Estimate {
        self.estimate(|law| law.loss(parameters, tokens))
    }
}

/// How well a law of the smaller sizes foretells the largest one.
#[derive(Clone, Debug, Serialize)]
pub struct Graded {
    /// The largest size, in parameters: its runs were left out of the law.
    pub parameters: f64,
    /// The runs of it: tokens, what the law of the others forecasts, and what they came to, in nats a token.
    pub runs: Vec<GradedRun>,
    /// The mean of |forecast − loss|, in nats.
    pub mean_absolute_error: f64,
}

/// A forecast beside what a run came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GradedRun {
    /// Tokens.
    pub tokens: f64,
    /// By the law of the smaller sizes.
    pub forecast: Estimate,
    /// What the run came to.
    pub loss: f64,
}

impl Graded {
    /// Leaves the runs of the largest size out, fits the others, and forecasts what was left out. None where the others do not tell
    /// a law.
    pub fn of(points: &[Point], bootstrap: Bootstrap) -> Option<Self> {
        let parameters = points.iter().map(|point| point.parameters).fold(0.0, f64::max);
        let (largest, others): (Vec<Point>, Vec<Point>) =
            points.iter().partition(|point| point.parameters >= parameters * (1.0 - 1e-6));
        let fit = ScalingFit::new(&others, bootstrap).ok()?;
        let runs: Vec<GradedRun> = largest
            .iter()
            .map(|point| GradedRun {
                tokens: point.tokens,
                forecast: fit.forecast(point.parameters, point.tokens),
                loss: point.loss,
            })
            .collect();
        let sum: f64 = runs.iter().map(|run| (run.forecast.value - run.loss).abs()).sum();
        Some(Self { parameters, mean_absolute_error: sum / runs.len() as f64, runs })
    }
}

/// The lowest of some minima.
pub(super) fn lowest(minima: &[Minimum]) -> Option<&Minimum> {
    minima.iter().filter(|minimum| minimum.value.is_finite()).min_by(|one, other| one.value.total_cmp(&other.value))
}

/// The grid of Hoffmann et al. and Besiroglu et al.: `[a, b, e, α, β]`, 4,500 of them.
pub(super) fn starts() -> Vec<[f64; PARAMETERS]> {
    let scales: Vec<f64> = (0..6).map(|step| 5.0 * f64::from(step)).collect();
    let exponents: Vec<f64> = (0..5).map(|step| 0.5 * f64::from(step)).collect();
    let floors: Vec<f64> = (-2..3).map(|step| 0.5 * f64::from(step)).collect();
    let mut starts = Vec::with_capacity(4500);
    for &a in &scales {
        for &b in &scales {
            for &e in &floors {
                for &alpha in &exponents {
                    for &beta in &exponents {
                        starts.push([a, b, e, alpha, beta]);
                    }
                }
            }
        }
    }
    starts
}

/// Whether runs can tell the law's parameters.
///
/// # Errors
/// [`InfluenceError::Law`] where a number is not above 0, for fewer runs than parameters and one, for fewer than three sizes or
/// three numbers of tokens, and where tokens follow from size, so that nothing tells which of both the loss fell with.
pub fn check(points: &[Point]) -> Result<(), InfluenceError> {
    super::points::check_numbers(points)?;
    super::points::check_count(points.len(), PARAMETERS)?;
    for (name, hint, of) in [
        (
            "sizes",
            "train models of at least three sizes; of runs of one size, `loam study repeat` fits a law of the tokens alone",
            (|point: &Point| point.parameters) as fn(&Point) -> f64,
        ),
        ("numbers of tokens", "train for at least three lengths", |point: &Point| point.tokens),
    ] {
        let distinct = super::points::distinct(points.iter().map(of));
        if distinct < 3 {
            let what = format!(
                "the runs have {distinct} different {name}, and a power law with a floor needs at least three of them"
            );
            return Err(InfluenceError::Law { what, hint: hint.into() });
        }
    }
    let pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.parameters.ln(), point.tokens.ln())).collect();
    let correlation = loam_tasks::metrics::regression::pearson(&pairs);
    if correlation.is_some_and(|correlation| correlation.abs() > 1.0 - 1e-9) {
        return Err(InfluenceError::Law {
            what: "the tokens of every run follow from its size, so nothing tells which of both the loss fell with"
                .into(),
            hint: "train some sizes for more than one number of tokens".into(),
        });
    }
    Ok(())
}
