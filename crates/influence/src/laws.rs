//! Laws that some runs suggest for runs that nobody has made: how the loss falls with size and tokens, what repeated tokens
//! are worth, and how the mixture of sources decides it.
//!
//! - [`scaling`]: `L(N, D) = E + A/N^α + B/D^β`, and [`frontier`]: how to spend compute by it.
//! - [`repetition`]: the same for tokens that are seen more than once.
//! - [`mixing`]: the loss on a domain as a function of the sources' shares.
//! - [`points`]: the runs, out of any table.
//!
//! A law is fitted to a few numbers that each cost hours, so each comes with an interval: runs are drawn anew with replacement
//! and the law is fitted again (the percentile bootstrap). That says how much a law hangs on which runs were made. It does
//! not say whether the form holds where no run was: a forecast is a forecast until it is trained.

use loam_tasks::metrics::Bootstrap;
use serde::Serialize;

mod dual;
pub mod frontier;
mod minimize;
pub mod mixing;
pub mod points;
pub mod repetition;
pub mod robust;
pub mod scaling;

pub use frontier::{FrontierPoint, Optimum};
pub use minimize::{Minimum, minimize};
pub use mixing::{MixtureForm, MixtureLaw, MixturePoint};
pub use points::{Point, Points};
pub use repetition::{RepetitionFit, RepetitionLaw};
pub use scaling::{Graded, ScalingFit, ScalingLaw};

#[cfg(test)]
mod tests;

/// A number that follows from a law, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// By all runs.
    pub value: f64,
    /// The lower end of its interval over resamples.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The standard deviation over resamples; not a number with fewer than two.
    pub standard_error: f64,
}

/// A value with its interval and standard error, from what resamples gave; those that gave no number are left out.
fn estimate(bootstrap: &Bootstrap, value: f64, resampled: impl Iterator<Item = f64>) -> Estimate {
    let mut values: Vec<f64> = resampled.filter(|value| value.is_finite()).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let interval = bootstrap.around(value, &mut values);
    Estimate { value, low: interval.low, high: interval.high, standard_error: (squares / (count - 1.0)).sqrt() }
}
