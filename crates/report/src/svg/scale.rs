//! Scales from data to drawing, and the round numbers that an axis shows.

/// A linear scale from a range of data to a range of the drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// From `low..=high` to `from..=to`; a range without width is widened so that it can be drawn.
    pub fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low.min(high), low.max(high)) } else { (0.0, 1.0) };
        let widening = if high > low { 0.0 } else { high.abs().max(1e-9) * 0.5 };
        Self { low: low - widening, high: high + widening, from, to }
    }

    /// Where `value` stands in the drawing.
    pub fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The same scale with a little room at both ends; an end at 0 stays there.
    pub fn padded(self) -> Self {
        let room = (self.high - self.low) * 0.05;
        let low = if self.low == 0.0 { 0.0 } else { self.low - room };
        Self { low, high: if self.high == 0.0 { 0.0 } else { self.high + room }, ..self }
    }

    /// Round numbers within the range, about `count` of them.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        let step = self.step(count);
        let first = (self.low / step - 1e-9).ceil();
        let last = (self.high / step + 1e-9).floor();
        (0..=(last - first).clamp(0.0, 50.0) as usize).map(|index| (first + index as f64) * step).collect()
    }

    /// Decimals that tell neighboring ticks apart.
    pub fn tick_decimals(&self, count: usize) -> usize {
        let step = self.step(count);
        (0..9)
            .find(|decimals| {
                let shifted = step * 10_f64.powi(*decimals);
                (shifted - shifted.round()).abs() < 1e-6
            })
            .unwrap_or(9) as usize
    }

    /// The step of 1, 2, 2.5 or 5 times a power of ten that gives about `count` ticks.
    fn step(&self, count: usize) -> f64 {
        let raw = (self.high - self.low) / count.max(1) as f64;
        let power = 10_f64.powf(raw.log10().floor());
        let factor = raw / power;
        let round = [1.0, 2.0, 2.5, 5.0].into_iter().find(|round| factor <= round * 1.0001).unwrap_or(10.0);
        round * power
    }
}

/// The smallest and largest finite number; none where there is none.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::{Scale, extent};

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::new(3.4, 8.4, 0.0, 100.0);
        assert_eq!((scale.at(3.4), scale.at(8.4)), (0.0, 100.0));
        assert_eq!(scale.ticks(5), [4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(scale.padded().ticks(5), [4.0, 6.0, 8.0]);
        assert_eq!(Scale::new(0.0, 1.0, 0.0, 1.0).padded().low, 0.0);
        let fine = Scale::new(-0.004, 0.011, 0.0, 1.0);
        assert_eq!(fine.ticks(4).len(), 3);
        assert_eq!(fine.tick_decimals(4), 3);
    }

    #[test]
    fn degenerate_ranges_still_draw() {
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (f64::NAN, 1.0), (f64::NEG_INFINITY, f64::INFINITY), (2.0, 1.0)] {
            let scale = Scale::new(low, high, 0.0, 100.0).padded();
            assert!(scale.at(scale.low).is_finite() && scale.high > scale.low, "{low} {high}");
            assert!(scale.ticks(5).len() < 60);
        }
        assert_eq!(extent([f64::NAN, 2.0, -1.0]), Some((-1.0, 2.0)));
        assert_eq!(extent([]), None);
    }
}
