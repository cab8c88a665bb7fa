//! What tokens are worth that a model has seen before: the data-constrained law of Muennighoff et al. (2023, "Scaling
//! Data-Constrained Language Models", equations 5 and 6).
//!
//! ```text
//! L = E + A/N'^α + B/D'^β
//! D' = U + U R_D* (1 − e^(−R_D/R_D*))      R_D = D/U − 1, the repetitions of U different tokens
//! N' = V + V R_N* (1 − e^(−R_N/R_N*))      R_N = N/V − 1, V the size that is best for U tokens, at most N
//! ```
//!
//! D' counts in new tokens: the first repetitions are worth nearly as much as new text, and all repetitions together never more
//! than R_D* times it. N' does the same to parameters beyond what the text can fill.
//!
//! The paper takes E, A, B, α and β from runs of one epoch and fits R_D* and R_N* to the others. Here all are fitted to
//! all runs at once, from starts of such two steps, so that the intervals hold what is unsure about either. Where all
//! runs are of one size, A/N^α is one number with E, and the law is one of the tokens alone. R_N* is left out (N' = N)
//! unless a few runs have more parameters than their text is best for.

use loam_tasks::metrics::Bootstrap;
use rayon::prelude::*;
use serde::Serialize;

use super::dual::Dual;
use super::minimize::{Minimum, minimize};
use super::points::{self, Point};
use super::robust::{DELTA, huber};
use super::scaling::{ITERATIONS, ScalingLaw, lowest};
use super::{Estimate, estimate};
use crate::InfluenceError;

/// ln B, ln E, β, ln R_D*, and then ln A, α, ln R_N*.
const MOST: usize = 7;
/// Runs with more parameters than their text is best for, by at least a tenth, that R_N* is fitted to.
const EXCESS_RUNS: usize = 4;
/// Repetitions beyond which a law says no more than that all are as good as new.
const MOST_DECAY: f64 = 1e4;

/// The law. Losses are nats a token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RepetitionLaw {
    /// E; where all runs were of one size, E + A/N^α of that size.
    pub floor: f64,
    /// A and α; none where all runs were of one size.
    pub size: Option<SizeTerm>,
    /// B.
    pub data_scale: f64,
    /// β.
    pub data_exponent: f64,
    /// R_D*: after so many repetitions a token is worth 1/e of a new one; all repetitions of a text together are worth at most
    /// so many times the text.
    pub data_decay: f64,
}

/// What size does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SizeTerm {
    /// A.
    pub scale: f64,
    /// α.
    pub exponent: f64,
    /// R_N*; none where parameters beyond what a text can fill are as good as others.
    pub decay: Option<f64>,
}

impl RepetitionLaw {
    /// D': so many new tokens would do what `tokens` do, `unique` of them different.
    pub fn worth(&self, tokens: f64, unique: f64) -> f64 {
        let repetitions = (tokens / unique - 1.0).max(0.0);
        unique + unique * self.data_decay * -(-repetitions / self.data_decay).exp_m1()
    }

    /// The loss of a model of so many parameters after `tokens`, `unique` of them different; nats a token.
    pub fn loss(&self, parameters: f64, tokens: f64, unique: f64) -> f64 {
        let data = self.data_scale * self.worth(tokens, unique).powf(-self.data_exponent);
        let Some(size) = self.size else { return self.floor + data };
        let mut worth = parameters;
        if let (Some(decay), Some(law)) = (size.decay, self.without_repetition()) {
            let best = law.best_size_for(unique).min(parameters);
            worth = best + best * decay * -(-(parameters / best - 1.0) / decay).exp_m1();
        }
        self.floor + size.scale * worth.powf(-size.exponent) + data
    }

    /// The law of text that is all new; none where all runs were of one size.
    pub fn without_repetition(&self) -> Option<ScalingLaw> {
        self.size.map(|size| ScalingLaw {
            floor: self.floor,
            size_scale: size.scale,
            size_exponent: size.exponent,
            data_scale: self.data_scale,
            data_exponent: self.data_exponent,
        })
    }

    /// Epochs after which one more token of the same text is worth only this share of a new one: 1 − R_D* ln share.
    pub fn epochs_until(&self, share: f64) -> f64 {
        1.0 - self.data_decay * share.ln()
    }

    /// From the search's numbers.
    fn of(at: &[f64], means: [f64; 2], form: Form) -> Self {
        let size = form.size.then(|| SizeTerm {
            scale: (at[4] + at[5] * means[0]).exp(),
            exponent: at[5],
            decay: form.excess.then(|| at[6].exp()),
        });
        Self {
            floor: at[1].exp(),
            size,
            data_scale: (at[0] + at[2] * means[1]).exp(),
            data_exponent: at[2],
            data_decay: at[3].exp(),
        }
    }
}

/// Which of the law's parts are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    size: bool,
    excess: bool,
}

impl Form {
    fn parameters(self) -> usize {
        4 + 2 * usize::from(self.size) + usize::from(self.excess)
    }
}

/// Runs with the means of ln N and ln D, from which the search measures.
struct Runs<'a> {
    points: &'a [Point],
    means: [f64; 2],
}

impl Runs<'_> {
    /// Σ Huber(ln L̂ − ln L) over the runs with its gradient. Where α or β is not above 0 it is infinite.
    fn objective(&self, form: Form, weights: &[f64], at: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let bad = at[2] <= 0.0 || (form.size && at[5] <= 0.0) || at[3] > MOST_DECAY.ln();
        if bad {
            return f64::INFINITY;
        }
        let mut parts = [Dual::<MOST>::constant(0.0); MOST];
        for (place, (part, value)) in parts.iter_mut().zip(at).enumerate() {
            *part = Dual::parameter(*value, place);
        }
        let mut sum = 0.0;
        for (point, &weight) in self.points.iter().zip(weights) {
            if weight == 0.0 {
                continue;
            }
            let difference = self.log_loss(form, point, &parts) - Dual::constant(point.loss.ln());
            let (value, slope) = huber(difference.value);
            sum += weight * value;
            gradient.iter_mut().zip(difference.slope).for_each(|(own, part)| *own += weight * slope * part);
        }
        sum
    }

    fn log_loss(&self, form: Form, point: &Point, parts: &[Dual<MOST>; MOST]) -> Dual<MOST> {
        let [b, e, beta, data_decay, a, alpha, size_decay] = *parts;
        let constant = Dual::constant;
        let log_worth = |own: Dual<MOST>, log_unique: Dual<MOST>, repetitions: Dual<MOST>| {
            let decay = own.exp();
            log_unique + (constant(1.0) + decay * (repetitions / decay).saturation()).ln()
        };
        let unique = constant(point.unique_tokens.ln());
        let repetitions = constant((point.epochs() - 1.0).max(0.0));
        let data = b - beta * (log_worth(data_decay, unique, repetitions) - constant(self.means[1]));
        if !form.size {
            return Dual::log_sum_exp([data, e]);
        }
        let mut size = constant(point.parameters.ln());
        if form.excess {
            let plain_a = a + alpha * constant(self.means[0]);
            let plain_b = b + beta * constant(self.means[1]);
            let ratio = (alpha.ln() + plain_a - beta.ln() - plain_b) / (alpha + beta);
            let best = ratio + beta / alpha * (unique + ratio);
            if best.value < size.value {
                size = log_worth(size_decay, best, (size - best).exp() - constant(1.0));
            }
        }
        Dual::log_sum_exp([a - alpha * (size - constant(self.means[0])), data, e])
    }

    fn fit(&self, form: Form, weights: &[f64], start: &[f64]) -> Minimum {
        minimize(start, ITERATIONS, |at, gradient| self.objective(form, weights, at, gradient))
    }

    fn best(&self, form: Form, weights: &[f64], starts: &[Vec<f64>]) -> Option<Minimum> {
        let minima: Vec<Minimum> = starts.par_iter().map(|start| self.fit(form, weights, start)).collect();
        lowest(&minima).cloned()
    }
}

/// A law of repetition with what is known of how sure it is.
#[derive(Clone, Debug)]
pub struct RepetitionFit {
    /// The law of all runs.
    pub law: RepetitionLaw,
    /// Runs that it was fitted to.
    pub points: usize,
    /// Of them, those that saw a token more than once.
    pub repeated: usize,
    /// Σ Huber_δ(ln L̂ − ln L).
    pub objective: f64,
    /// How runs were drawn anew.
    pub bootstrap: Bootstrap,
    /// The law of every resample.
    pub resampled: Vec<RepetitionLaw>,
}

impl RepetitionFit {
    /// Fits the law.
    ///
    /// # Errors
    /// [`InfluenceError::Law`] for runs that cannot tell the parameters: numbers that are not above 0, too few runs, fewer than
    /// two numbers of different tokens or three of tokens, no run that repeats any, two sizes alone.
    pub fn new(points: &[Point], bootstrap: Bootstrap) -> Result<Self, InfluenceError> {
        let form = check(points)?;
        let mean = |of: fn(&Point) -> f64| points.iter().map(|point| of(point).ln()).sum::<f64>() / points.len() as f64;
        let runs = Runs { points, means: [mean(|point| point.parameters), mean(|point| point.tokens)] };
        let once = vec![1.0; points.len()];
        let nowhere = || InfluenceError::Law {
            what: "no start of the search led to a law".into(),
            hint: "are the losses those of runs that learned something?".into(),
        };
        let mut form = form;
        let mut best = runs.best(form, &once, &starts(form, points)).ok_or_else(nowhere)?;
        if form.size {
            let wider = Form { excess: true, ..form };
            let law = RepetitionLaw::of(&best.at, runs.means, form).without_repetition();
            let beyond = points
                .iter()
                .filter(|point| law.is_some_and(|law| point.parameters > 1.1 * law.best_size_for(point.unique_tokens)));
            if beyond.count() >= EXCESS_RUNS && points.len() > wider.parameters() {
                let from: Vec<Vec<f64>> = [0.3_f64, 1.0, 5.0, 20.0]
                    .iter()
                    .map(|decay| {
                        let mut start = best.at.clone();
                        start[6] = decay.ln();
                        start
                    })
                    .collect();
                if let Some(found) = runs.best(wider, &once, &from).filter(|found| found.at[6] < MOST_DECAY.ln()) {
                    (form, best) = (wider, found);
                }
            }
        }
        let resampled = (0..bootstrap.resamples)
            .into_par_iter()
            .map(|resample| {
                let mut draws = vec![0; points.len()];
                bootstrap.draw(resample, &mut draws);
                let weights: Vec<f64> = draws.into_iter().map(f64::from).collect();
                RepetitionLaw::of(&runs.fit(form, &weights, &best.at).at, runs.means, form)
            })
            .filter(|law| law.loss(1e6, 1e6, 1e5).is_finite())
            .collect();
        Ok(Self {
            law: RepetitionLaw::of(&best.at, runs.means, form),
            points: points.len(),
            repeated: points.iter().filter(|point| point.epochs() > REPEATED).count(),
            objective: best.value * DELTA,
            bootstrap,
            resampled,
        })
    }

    /// Something that follows from the law, with its interval and standard error over resamples.
    pub fn estimate(&self, value: impl Fn(&RepetitionLaw) -> f64) -> Estimate {
        estimate(&self.bootstrap, value(&self.law), self.resampled.iter().map(value))
    }

    /// The loss that a model of so many parameters comes to after `tokens`, `unique` of them different; nats a token.
    pub fn forecast(&self, parameters: f64, tokens: f64, unique: f64) -> Estimate {
        self.estimate(|law| law.loss(parameters, tokens, unique))
    }
}

/// Epochs beyond which a run repeats its text.
const REPEATED: f64 = 1.01;

/// Which law the runs can tell.
fn check(runs: &[Point]) -> Result<Form, InfluenceError> {
    points::check_numbers(runs)?;
    let refuse = |what: String, hint: &str| Err(InfluenceError::Law { what, hint: hint.into() });
    let sizes = points::distinct(runs.iter().map(|point| point.parameters));
    let form = Form { size: sizes > 1, excess: false };
    points::check_count(runs.len(), form.parameters())?;
    if sizes == 2 {
        let hint = "give the runs of one size, or of at least three";
        return refuse("the runs have two sizes, which do not tell how the loss falls with size".into(), hint);
    }
    if !runs.iter().any(|point| point.epochs() > REPEATED) {
        let hint =
            "give runs of several epochs with their unique tokens; `loam study scale` fits runs without repetition";
        return refuse("no run saw a token twice, so nothing tells what repetition does".into(), hint);
    }
    if points::distinct(runs.iter().map(|point| point.unique_tokens)) < 2 {
        let hint = "train on parts of the text too, such as a half and a quarter";
        return refuse(
            "all runs have as many different tokens, so nothing tells repeated ones from new ones".into(),
            hint,
        );
    }
    if points::distinct(runs.iter().map(|point| point.tokens)) < 3 {
        let hint = "train for at least three lengths";
        return refuse("the runs have fewer than three numbers of tokens".into(), hint);
    }
    Ok(form)
}

/// Starts of the search: floors between a third of the lowest loss and just below it, steep and flat powers, slow and fast decay.
fn starts(form: Form, runs: &[Point]) -> Vec<Vec<f64>> {
    let lowest = runs.iter().map(|point| point.loss).fold(f64::INFINITY, f64::min);
    let highest = runs.iter().map(|point| point.loss).fold(0.0, f64::max);
    // What lies above the floor in the middle of the runs, from which powers are measured.
    let mut starts = Vec::new();
    for share in [0.3, 0.6, 0.85, 0.97] {
        let floor = lowest * share;
        let above = (0.5 * (lowest + highest) - floor).max(1e-3 * lowest);
        for beta in [0.15, 0.4, 0.8] {
            for decay in [1.0_f64, 5.0, 15.0, 50.0] {
                let exponents: &[f64] = if form.size { &[0.15, 0.4, 0.8] } else { &[0.5] };
                for &alpha in exponents {
                    let half = if form.size { 0.5 * above } else { above };
                    starts.push(vec![half.ln(), floor.ln(), beta, decay.ln(), half.ln(), alpha, 5.0_f64.ln()]);
                }
            }
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::tests::normal;

    const PLANTED: RepetitionLaw = RepetitionLaw {
        floor: 1.87,
        size: Some(SizeTerm { scale: 521.0, exponent: 0.353, decay: Some(5.31) }),
        data_scale: 1488.0,
        data_exponent: 0.353,
        data_decay: 15.39,
    };

    fn grid(law: &RepetitionLaw, noise: f64) -> Vec<Point> {
        let sizes: &[f64] = if law.size.is_some() { &[1e8, 3e8, 1e9, 3e9] } else { &[1e8] };
        let mut points = Vec::new();
        for &parameters in sizes {
            for unique_tokens in [2e8, 1e9, 5e9, 2e10] {
                for epochs in [1.0, 3.0, 8.0, 20.0, 60.0] {
                    let tokens = unique_tokens * epochs;
                    let loss =
                        law.loss(parameters, tokens, unique_tokens) * (noise * normal(points.len() as u64)).exp();
                    points.push(Point { parameters, tokens, unique_tokens, loss });
                }
            }
        }
        points
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let points = grid(&PLANTED, 0.02);
        let runs = Runs { points: &points, means: [19.0, 22.0] };
        let weights: Vec<f64> = (0..points.len()).map(|index| f64::from(index as u32 % 3)).collect();
        for form in
            [Form { size: false, excess: false }, Form { size: true, excess: false }, Form { size: true, excess: true }]
        {
            for start in starts(form, &points).iter().step_by(7) {
                let mut gradient = vec![0.0; MOST];
                runs.objective(form, &weights, start, &mut gradient);
                for part in 0..MOST {
                    let value = |by: f64| {
                        let mut at = start.clone();
                        at[part] += by;
                        runs.objective(form, &weights, &at, &mut [0.0; MOST])
                    };
                    let slope = (value(1e-6) - value(-1e-6)) / 2e-6;
                    let own = gradient[part];
                    assert!(
                        (slope - own).abs() < 1e-4 * slope.abs().max(1.0),
                        "{form:?} {start:?} {part}: {slope} {own}"
                    );
                }
            }
        }
    }

    #[test]
    fn planted_decay_is_found_again() {
        let none = Bootstrap { resamples: 0, ..Bootstrap::default() };
        let found = RepetitionFit::new(&grid(&PLANTED, 0.0), none).unwrap().law;
        assert!((found.data_decay / 15.39 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.size.unwrap().decay.unwrap() / 5.31 - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.floor - 1.87).abs() < 0.01, "{found:?}");

        let one_size = RepetitionLaw { floor: 2.3, size: None, ..PLANTED };
        let points = grid(&one_size, 0.002);
        let fit = RepetitionFit::new(&points, Bootstrap { resamples: 100, ..Bootstrap::default() }).unwrap();
        let decay = fit.estimate(|law| law.data_decay);
        assert!(decay.low < 15.39 && 15.39 < decay.high, "{decay:?}");
        assert!((decay.value / 15.39 - 1.0).abs() < 0.15, "{decay:?}");
        assert_eq!((fit.points, fit.repeated, fit.law.size), (20, 16, None));
    }

    #[test]
    fn repetitions_are_worth_less_and_less() {
        assert!((PLANTED.worth(100.0, 100.0) - 100.0).abs() < 1e-9);
        assert!(PLANTED.worth(400.0, 100.0) > 360.0, "four epochs are nearly as good as new text");
        assert!(PLANTED.worth(1e9, 100.0) <= 100.0 * 16.39 + 1e-6);
        let half = PLANTED.epochs_until(0.5);
        let marginal = PLANTED.worth(100.0 * half + 0.01, 100.0) - PLANTED.worth(100.0 * half, 100.0);
        assert!((marginal / 0.01 - 0.5).abs() < 1e-3, "{marginal}");
        let all_new = PLANTED.without_repetition().unwrap();
        assert!((all_new.loss(1e8, 1e10) - PLANTED.loss(1e8, 1e10, 1e10)).abs() < 1e-9);
    }

    #[test]
    fn runs_that_tell_nothing_are_refused_in_words() {
        let said = |points: &[Point]| check(points).unwrap_err().to_string();
        let points = grid(&PLANTED, 0.0);
        let once: Vec<Point> = points.iter().copied().filter(|point| point.epochs() < 1.5).collect();
        assert!(said(&once).contains("no run saw a token twice"));
        let one_text: Vec<Point> = points.iter().copied().filter(|point| point.unique_tokens == 1e9).collect();
        assert!(said(&one_text).contains("as many different tokens"));
        let two: Vec<Point> = points.iter().copied().filter(|point| point.parameters > 5e8).collect();
        assert!(said(&two).contains("two sizes"));
        assert!(said(&points[..4]).contains("4 runs cannot tell"));
    }
}
