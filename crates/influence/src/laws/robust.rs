//! How wrong a law is about a loss: Huber's function of the difference of logarithms, summed.
//!
//! Hoffmann et al. (2022, "Training Compute-Optimal Large Language Models", equation 3) fit
//! `min Σ Huber_δ(ln L̂ − ln L)` with δ = 10⁻³. Besiroglu et al. (2024, "Chinchilla Scaling: A replication attempt") found that the
//! published parameters came of a mean in the place of the sum: the optimizer's tolerance then ended it early. Here the
//! sum is taken over δ besides, which moves no minimum and keeps its size near that of Σ |ln L̂ − ln L|.

/// δ of Hoffmann et al.: differences of logarithms beyond it count by their size, not by its square.
pub const DELTA: f64 = 1e-3;

/// Huber's function of `difference` over δ, and its derivative.
pub fn huber(difference: f64) -> (f64, f64) {
    if difference.abs() <= DELTA {
        (difference * difference / (2.0 * DELTA), difference / DELTA)
    } else {
        (difference.abs() - DELTA / 2.0, difference.signum())
    }
}

#[cfg(test)]
mod tests {
    use super::{DELTA, huber};

    #[test]
    fn the_two_parts_meet() {
        for at in [0.3 * DELTA, -0.9 * DELTA, 4.0 * DELTA, -7.0 * DELTA] {
            let step = 1e-9;
            let slope = (huber(at + step).0 - huber(at - step).0) / (2.0 * step);
            assert!((slope - huber(at).1).abs() < 1e-5, "{at}");
        }
        assert!((huber(DELTA).0 - huber(DELTA * (1.0 + 1e-12)).0).abs() < 1e-12);
    }
}
