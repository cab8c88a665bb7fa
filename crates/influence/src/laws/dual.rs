//! Numbers with their slopes: forward differentiation of laws whose gradient nobody should write down by hand.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number, and how it changes with each of N parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dual<const N: usize> {
    pub value: f64,
    pub slope: [f64; N],
}

impl<const N: usize> Dual<N> {
    /// A number that no parameter changes.
    pub fn constant(value: f64) -> Self {
        Self { value, slope: [0.0; N] }
    }

    /// The parameter of this place.
    pub fn parameter(value: f64, place: usize) -> Self {
        let mut slope = [0.0; N];
        slope[place] = 1.0;
        Self { value, slope }
    }

    /// A function of this number, by its value and its derivative there.
    fn map(self, value: f64, derivative: f64) -> Self {
        Self { value, slope: self.slope.map(|slope| slope * derivative) }
    }

    pub fn exp(self) -> Self {
        let value = self.value.exp();
        self.map(value, value)
    }

    pub fn ln(self) -> Self {
        self.map(self.value.ln(), 1.0 / self.value)
    }

    /// 1 − e^(−x), precise for small x.
    pub fn saturation(self) -> Self {
        self.map(-(-self.value).exp_m1(), (-self.value).exp())
    }

    /// ln Σ exp of some numbers, without overflow.
    pub fn log_sum_exp<const M: usize>(terms: [Self; M]) -> Self {
        let largest = terms.iter().fold(f64::NEG_INFINITY, |largest, term| largest.max(term.value));
        let sum = terms
            .into_iter()
            .map(|term| (term - Self::constant(largest)).exp())
            .fold(Self::constant(0.0), |sum, term| sum + term);
        sum.ln() + Self::constant(largest)
    }
}

impl<const N: usize> Add for Dual<N> {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.value += other.value;
        self.slope.iter_mut().zip(other.slope).for_each(|(own, other)| *own += other);
        self
    }
}

impl<const N: usize> Neg for Dual<N> {
    type Output = Self;

    fn neg(self) -> Self {
        self.map(-self.value, -1.0)
    }
}

impl<const N: usize> Sub for Dual<N> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl<const N: usize> Mul for Dual<N> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        self.map(self.value * other.value, other.value) + other.map(0.0, self.value)
    }
}

impl<const N: usize> Div for Dual<N> {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        self * other.map(1.0 / other.value, -1.0 / (other.value * other.value))
    }
}

#[cfg(test)]
mod tests {
    use super::Dual;

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let function = |x: Dual<2>, y: Dual<2>| {
            let both = x * y / (x + y.exp()) - y;
            Dual::log_sum_exp([both, x.ln(), y.saturation()])
        };
        let at = [1.3, 0.7];
        let dual = |at: [f64; 2]| function(Dual::parameter(at[0], 0), Dual::parameter(at[1], 1));
        for part in 0..2 {
            let mut ends = [at; 2];
            ends[0][part] -= 1e-6;
            ends[1][part] += 1e-6;
            let slope = (dual(ends[1]).value - dual(ends[0]).value) / 2e-6;
            assert!((slope - dual(at).slope[part]).abs() < 1e-8);
        }
    }
}
