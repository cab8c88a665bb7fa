//! How the mixture of sources decides the loss on a held-out domain.
//!
//! Ye et al. (2024, "Data Mixing Laws", equation 6) write the loss on a domain as an exponential function of the sources' shares
//! r, which sum to 1:
//!
//! ```text
//! L(r) = c + k exp(Σ t_j r_j) = c + exp(Σ s_j r_j)        s_j = t_j + ln k, since the shares sum to 1
//! ```
//!
//! so that it has a parameter a source and one more. The linear law `L(r) = Σ w_j r_j` has a parameter a source: what a mixture
//! of that source alone would come to. Both are fitted by the summed Huber function of `ln L̂ − ln L` ([`super::robust`]), and
//! judged on mixtures that they have not seen, beside the plain mean of the others.

use serde::Serialize;

use super::minimize::{Minimum, minimize};
use super::points;
use super::robust::huber;
use super::scaling::{ITERATIONS, lowest};
use crate::InfluenceError;

/// A run of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixturePoint {
    /// Shares of the training tokens by source; they sum to 1.
    pub shares: Vec<f64>,
    /// The loss that it came to on the domain, in nats a token.
    pub loss: f64,
}

/// The form of a law of mixtures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MixtureForm {
    /// The mean of all mixtures, whatever the shares: what a law has to do better than.
    Mean,
    /// `Σ w_j r_j`.
    Linear,
    /// `c + exp(Σ s_j r_j)`.
    Exponential,
}

impl MixtureForm {
    /// Every form, the plainest first.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Linear, Self::Exponential];

    fn parameters(self, sources: usize) -> usize {
        match self {
            Self::Mean => 1,
            Self::Linear => sources,
            Self::Exponential => sources + 1,
        }
    }
}

/// A law of mixtures. Losses are nats a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixtureLaw {
    /// Its form.
    pub form: MixtureForm,
    /// c of the exponential form; 0 of the others.
    pub floor: f64,
    /// A number a source: s_j, or w_j.
    pub by_source: Vec<f64>,
}

impl MixtureLaw {
    /// Fits a law to at least one run more than it has parameters.
    ///
    /// # Errors
    /// [`InfluenceError::Law`] for fewer runs, shares that do not sum to 1, and losses that are not above 0.
    pub fn fit(form: MixtureForm, runs: &[MixturePoint]) -> Result<Self, InfluenceError> {
        let sources = check(runs)?;
        points::check_count(runs.len(), form.parameters(sources))?;
        Self::fit_checked(form, runs, sources)
    }

    fn fit_checked(form: MixtureForm, runs: &[MixturePoint], sources: usize) -> Result<Self, InfluenceError> {
        let mean = runs.iter().map(|run| run.loss).sum::<f64>() / runs.len() as f64;
        if form == MixtureForm::Mean {
            return Ok(Self { form, floor: 0.0, by_source: vec![mean; sources] });
        }
        let least = runs.iter().map(|run| run.loss).fold(f64::INFINITY, f64::min);
        let starts: Vec<Vec<f64>> = match form {
            MixtureForm::Exponential => [0.3, 0.6, 0.9, 0.99]
                .iter()
                .map(|share| {
                    let floor = least * share;
                    let mut start = vec![(mean - floor).ln(); sources + 1];
                    start[0] = floor.ln();
                    start
                })
                .collect(),
            _ => vec![vec![mean; sources]],
        };
        let minima: Vec<Minimum> = starts
            .iter()
            .map(|start| minimize(start, ITERATIONS, |at, gradient| objective(form, runs, at, gradient)))
            .collect();
        let best = lowest(&minima).ok_or_else(|| InfluenceError::Law {
            what: "no start of the search led to a law of mixtures".into(),
            hint: "are the losses those of runs that learned something?".into(),
        })?;
        Ok(match form {
            MixtureForm::Exponential => Self { form, floor: best.at[0].exp(), by_source: best.at[1..].to_vec() },
            _ => Self { form, floor: 0.0, by_source: best.at.clone() },
        })
    }

    /// The loss of a mixture, in nats a token.
    pub fn loss(&self, shares: &[f64]) -> f64 {
        let sum: f64 = self.by_source.iter().zip(shares).map(|(own, share)| own * share).sum();
        if self.form == MixtureForm::Exponential { self.floor + sum.exp() } else { sum }
    }
}

/// How far a form misses mixtures that it was not fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The form.
    pub form: MixtureForm,
    /// The mean of |L̂ − L| over mixtures, each predicted from all others, in nats; none with too few runs for the form.
    pub mean_absolute_error: Option<f64>,
}

/// Every form, judged by leaving one mixture out at a time.
///
/// # Errors
/// [`InfluenceError::Law`] as in [`MixtureLaw::fit`], but for the number of runs.
pub fn leave_one_out(runs: &[MixturePoint]) -> Result<Vec<LeftOut>, InfluenceError> {
    let sources = check(runs)?;
    MixtureForm::ALL
        .into_iter()
        .map(|form| {
            if runs.len() < form.parameters(sources) + 1 {
                return Ok(LeftOut { form, mean_absolute_error: None });
            }
            let mut sum = 0.0;
            for (index, run) in runs.iter().enumerate() {
                let others: Vec<MixturePoint> =
                    runs.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, run)| run.clone()).collect();
                sum += (MixtureLaw::fit_checked(form, &others, sources)?.loss(&run.shares) - run.loss).abs();
            }
            Ok(LeftOut { form, mean_absolute_error: Some(sum / runs.len() as f64) })
        })
        .collect()
}

fn objective(form: MixtureForm, runs: &[MixturePoint], at: &[f64], gradient: &mut [f64]) -> f64 {
    gradient.fill(0.0);
    let mut sum = 0.0;
    for run in runs {
        let (floor, by_source, offset) = match form {
            MixtureForm::Exponential => (at[0].exp(), &at[1..], 1),
            _ => (0.0, at, 0),
        };
        let inner: f64 = by_source.iter().zip(&run.shares).map(|(own, share)| own * share).sum();
        let part = if form == MixtureForm::Exponential { inner.exp() } else { inner };
        let loss = floor + part;
        if loss.is_nan() || loss <= 0.0 {
            return f64::INFINITY;
        }
        let (value, slope) = huber((loss / run.loss).ln());
        sum += value;
        let slope = slope / loss;
        let inner_slope = if form == MixtureForm::Exponential { slope * part } else { slope };
        for (own, share) in gradient[offset..].iter_mut().zip(&run.shares) {
            *own += inner_slope * share;
        }
        if offset == 1 {
            gradient[0] += slope * floor;
        }
    }
    sum
}

/// The number of sources.
fn check(runs: &[MixturePoint]) -> Result<usize, InfluenceError> {
    let sources = runs.first().map_or(0, |run| run.shares.len());
    let refuse = |what: String| {
        Err(InfluenceError::Law { what, hint: "give each run's share of every source, and its loss in nats".into() })
    };
    if sources == 0 {
        return refuse("there is no mixture to fit a law to".into());
    }
    for (number, run) in (1..).zip(runs) {
        let sum: f64 = run.shares.iter().sum();
        if run.shares.len() != sources || (sum - 1.0).abs() > 1e-3 || run.shares.iter().any(|share| *share < 0.0) {
            return refuse(format!("the shares of run {number} do not sum to 1 over the {sources} sources"));
        }
        if !(run.loss.is_finite() && run.loss > 0.0) {
            return refuse(format!("the loss of run {number} is {}", run.loss));
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::tests::normal;

    fn runs(noise: f64) -> Vec<MixturePoint> {
        let mut runs = Vec::new();
        for first in 0..5 {
            for second in 0..5 - first {
                let (first, second) = (f64::from(first) / 4.0, f64::from(second) / 4.0);
                let shares = vec![first, second, 1.0 - first - second];
                let loss = 2.0
                    + (1.2 * shares[0] - 0.8 * shares[1] + 0.3 * shares[2]).exp()
                    + noise * normal(runs.len() as u64);
                runs.push(MixturePoint { shares, loss });
            }
        }
        runs
    }

    #[test]
    fn a_planted_law_is_found_again() {
        let law = MixtureLaw::fit(MixtureForm::Exponential, &runs(0.0)).unwrap();
        assert!((law.floor - 2.0).abs() < 0.01, "{law:?}");
        let planted = [1.2, -0.8, 0.3];
        assert!(law.by_source.iter().zip(planted).all(|(found, planted)| (found - planted).abs() < 0.01), "{law:?}");
        let judged = leave_one_out(&runs(0.01)).unwrap();
        let error = |form| judged.iter().find(|judged| judged.form == form).unwrap().mean_absolute_error.unwrap();
        assert!(error(MixtureForm::Exponential) < error(MixtureForm::Linear));
        assert!(error(MixtureForm::Linear) < error(MixtureForm::Mean));
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let runs = runs(0.05);
        for (form, at) in
            [(MixtureForm::Exponential, vec![0.4, 0.3, 0.1, -0.2]), (MixtureForm::Linear, vec![4.0, 3.0, 2.5])]
        {
            let mut gradient = vec![0.0; at.len()];
            objective(form, &runs, &at, &mut gradient);
            for part in 0..at.len() {
                let value = |by: f64| {
                    let mut at = at.clone();
                    at[part] += by;
                    objective(form, &runs, &at, &mut vec![0.0; at.len()])
                };
                assert!(((value(1e-6) - value(-1e-6)) / 2e-6 - gradient[part]).abs() < 1e-4, "{form:?} {part}");
            }
        }
    }

    #[test]
    fn mixtures_that_are_none_are_refused() {
        let bad = |shares: &[f64], loss: f64| MixturePoint { shares: shares.to_vec(), loss };
        let said = |runs: &[MixturePoint]| MixtureLaw::fit(MixtureForm::Linear, runs).unwrap_err().to_string();
        assert!(said(&[]).contains("no mixture"));
        assert!(said(&[bad(&[0.5, 0.4], 1.0)]).contains("do not sum to 1"));
        assert!(said(&[bad(&[0.5, 0.5], f64::NAN)]).contains("NaN"));
        assert!(said(&[bad(&[0.5, 0.5], 1.0)]).contains("1 runs cannot tell"));
        let judged = leave_one_out(&[bad(&[0.5, 0.5], 1.0), bad(&[0.2, 0.8], 1.2)]).unwrap();
        assert_eq!(judged[2].mean_absolute_error, None);
    }
}
