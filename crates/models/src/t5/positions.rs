//! Relative positions: what is added to a score follows from how far the key stands from the query (Raffel et al. 2020,
//! section 2.1).

use super::config::T5Config;
use burn::tensor::{Int, Tensor, TensorData};
use loam_nn::layers::Embedding;
use loam_nn::ops;

/// Sorts distances into buckets: one each for the near ones, and beyond them ranges that grow with the logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets {
    count: usize,
    farthest: usize,
    /// Whether keys after the query have buckets of their own, half of all; else they share that of distance 0.
    both_ways: bool,
}

impl Buckets {
    /// Those of the encoder, which sees both ways, or of the decoder.
    pub(super) fn new(config: &T5Config, both_ways: bool) -> Self {
        Self {
            count: config.relative_attention_num_buckets,
            farthest: config.relative_attention_max_distance,
            both_ways,
        }
    }

    /// The bucket of a key so many places after its query. Computed in `f32`, as transformers does: at the edge of a bucket
    /// the rounding decides.
    fn of(self, relative: i64) -> i64 {
        let count = if self.both_ways { self.count / 2 } else { self.count };
        let (first, distance) = match relative {
            after if after > 0 && self.both_ways => (count, after.unsigned_abs()),
            after if after > 0 => (0, 0),
            before => (0, before.unsigned_abs()),
        };
        let exact = count / 2;
        let bucket = if distance < exact as u64 {
            distance as usize
        } else {
            let ratio = (distance as f32 / exact as f32).ln();
            let whole = (self.farthest as f64 / exact as f64).ln() as f32;
            let further = (ratio / whole * (count - exact) as f32) as usize;
            (exact + further).min(count - 1)
        };
        (first + bucket) as i64
    }

    /// What `table` `[buckets, heads]` adds to the scores of `queries` that stand at the end of `keys`:
    /// `[heads, queries + keys - 1]`, as [`loam_nn::attention::attend_biased`] takes it.
    pub(super) fn bias(self, table: &Embedding, queries: usize, keys: usize) -> Tensor<2> {
        let count = queries + keys - 1;
        let numbers: Vec<i64> = (0..count).map(|at| self.of(at as i64 + 1 - keys as i64)).collect();
        let weight = table.weight.val();
        let heads = weight.dims()[1];
        let numbers = Tensor::<2, Int>::from_data(TensorData::new(numbers, [1, count]), &weight.device().inner());
        ops::embed_tokens(weight, numbers, 1.0).reshape([count, heads]).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_paper() {
        let one = Buckets { count: 32, farthest: 128, both_ways: false };
        let both = Buckets { both_ways: true, ..one };
        assert_eq!([0, -1, -15, -16, -127, -128, -9999, 1, 99].map(|at| one.of(at)), [0, 1, 15, 16, 31, 31, 31, 0, 0]);
        assert_eq!([0, -7, -8, -200, 1, 7, 8, 200].map(|at| both.of(at)), [0, 7, 8, 15, 17, 23, 24, 31]);
        for buckets in [one, both] {
            let all: Vec<i64> = (-300..=0).rev().map(|at| buckets.of(at)).collect();
            assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{all:?}");
        }
    }

    #[test]
    fn buckets_are_those_of_transformers() {
        let all: serde_json::Value = serde_json::from_str(include_str!("../../tests/fixtures/t5.json")).unwrap();
        for case in all["buckets"].as_array().unwrap() {
            let size = |key: &str| case[key].as_u64().unwrap() as usize;
            let both_ways = case["both_ways"].as_bool().unwrap();
            let buckets = Buckets { count: size("count"), farthest: size("farthest"), both_ways };
            for (relative, expected) in (-300..).zip(case["buckets"].as_array().unwrap()) {
                assert_eq!(buckets.of(relative), expected.as_i64().unwrap(), "{buckets:?}, {relative}");
            }
        }
    }
}
