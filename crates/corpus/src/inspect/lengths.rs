//! Lengths of any number of documents in fixed memory.

use serde::{Deserialize, Serialize};

/// How lengths are distributed. Median and 95th percentile are exact below 128 and within 1 % above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// The shortest.
    pub min: u64,
    /// As many are shorter as are longer.
    pub median: u64,
    /// The mean.
    pub mean: f64,
    /// 95 of 100 are not longer.
    pub p95: u64,
    /// The longest.
    pub max: u64,
}

/// Linear below this, then this many buckets for each doubling, halved.
const FINE: u64 = 128;

/// Counts of values in buckets whose width grows with the value.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = value.ilog2() - (FINE.ilog2() - 1);
    // The top seven bits, of which the first is one.
    let top = value >> shift;
    (FINE + u64::from(shift - 1) * (FINE / 2) + (top - FINE / 2)) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let shift = (bucket - FINE) / (FINE / 2) + 1;
    let top = (bucket - FINE) % (FINE / 2) + FINE / 2;
    (top << shift) + (1 << shift) / 2
}

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += value;
    }

    fn quantile(&self, numerator: u64, denominator: u64) -> u64 {
        let rank = (self.count.saturating_sub(1)) * numerator / denominator;
        let mut before = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            before += count;
            if before > rank {
                return middle(bucket).clamp(self.min, self.max);
            }
        }
        self.max
    }

    pub(super) fn summary(&self) -> Lengths {
        Lengths {
            min: self.min,
            median: self.quantile(1, 2),
            mean: if self.count > 0 { self.sum as f64 / self.count as f64 } else { 0.0 },
            p95: self.quantile(95, 100),
            max: self.max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = 0;
        for value in (0..5000).chain([1 << 20, (1 << 20) + (1 << 14), u64::MAX / 4]) {
            let bucket = bucket(value);
            assert!(bucket == last || bucket == last + 1 || value > 5000, "{value}");
            last = bucket;
            let error = middle(bucket).abs_diff(value) as f64 / value.max(1) as f64;
            assert!(error < 0.01, "{value} in a bucket around {}", middle(bucket));
        }
    }

    #[test]
    fn quantiles_of_a_range() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.add(value));
        let lengths = histogram.summary();
        assert_eq!((lengths.min, lengths.max, lengths.mean), (1, 1000, 500.5));
        assert!(lengths.median.abs_diff(500) <= 5 && lengths.p95.abs_diff(950) <= 9, "{lengths:?}");
    }
}
