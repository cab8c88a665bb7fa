//! How to spend compute by a law: the size and the tokens that bring the loss lowest for C floating-point operations.
//!
//! Training costs about six operations a parameter and token, C = 6 N D (Kaplan et al., 2020). Under it the law of
//! [`ScalingLaw`] has its lowest loss at (Hoffmann et al., 2022, equation 4)
//!
//! ```text
//! N* = G (C/6)^a      D* = G⁻¹ (C/6)^b      G = (αA / βB)^(1/(α+β))      a = β/(α+β)      b = α/(α+β)
//! ```

use serde::Serialize;

use super::scaling::{ScalingFit, ScalingLaw};
use super::{Estimate, estimate};

/// Floating-point operations that training takes a parameter and token.
pub const OPERATIONS: f64 = 6.0;

/// The best use of some compute. Losses are nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimum {
    /// N*.
    pub parameters: f64,
    /// D*.
    pub tokens: f64,
    /// What such a model comes to.
    pub loss: f64,
}

impl ScalingLaw {
    /// The power of compute that the best size grows with; the best number of tokens grows with the rest to 1.
    pub fn size_power(&self) -> f64 {
        self.data_exponent / (self.size_exponent + self.data_exponent)
    }

    /// The logarithm of G.
    fn log_ratio(&self) -> f64 {
        ((self.size_exponent * self.size_scale).ln() - (self.data_exponent * self.data_scale).ln())
            / (self.size_exponent + self.data_exponent)
    }

    /// The best use of `compute` floating-point operations; not a number where the law [is not usable](Self::is_usable).
    pub fn optimum(&self, compute: f64) -> Optimum {
        let log_compute = (compute / OPERATIONS).ln();
        let parameters = (self.log_ratio() + self.size_power() * log_compute).exp();
        let tokens = (compute / OPERATIONS) / parameters;
        Optimum { parameters, tokens, loss: self.loss(parameters, tokens) }
    }

    /// The size that is best for so many tokens: more parameters would rather have had more tokens.
    pub fn best_size_for(&self, tokens: f64) -> f64 {
        let log_ratio = self.log_ratio();
        (log_ratio + self.data_exponent / self.size_exponent * (tokens.ln() + log_ratio)).exp()
    }
}

/// The best use of some compute, with intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FrontierPoint {
    /// C, in floating-point operations.
    pub compute: f64,
    /// N*.
    pub parameters: Estimate,
    /// D*.
    pub tokens: Estimate,
    /// D* over N*.
    pub tokens_per_parameter: Estimate,
    /// Nats a token.
    pub loss: Estimate,
}

impl ScalingFit {
    /// The best use of `compute` floating-point operations, with intervals over the resamples in which there is one.
    pub fn frontier(&self, compute: f64) -> FrontierPoint {
        let of = |value: fn(Optimum) -> f64| {
            let resampled = self.resampled.iter().filter(|law| law.is_usable());
            estimate(
                &self.bootstrap,
                value(self.law.optimum(compute)),
                resampled.map(|law| value(law.optimum(compute))),
            )
        };
        FrontierPoint {
            compute,
            parameters: of(|optimum| optimum.parameters),
            tokens: of(|optimum| optimum.tokens),
            tokens_per_parameter: of(|optimum| optimum.tokens / optimum.parameters),
            loss: of(|optimum| optimum.loss),
        }
    }
}
