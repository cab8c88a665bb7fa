//! What the tests share: seeded values and a comparison that says where it fails.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod calculus;

use loam_kernels::simd::{SimdLevel, with_simd_level};

/// A small generator (`SplitMix64`), so that the tests need no dependency and never change.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is positive.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Roughly normal: the sum of four uniform values, of variance 1.
    pub fn value(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        (0..4).map(|_| uniform(self.bits())).sum::<f32>() * 3.0_f32.sqrt()
    }

    pub fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.value()).collect()
    }

    pub fn ids(&mut self, count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(bound) as u32).collect()
    }
}

/// Runs `check` at every SIMD level of this machine.
pub fn at_every_level(check: impl Fn()) {
    for level in SimdLevel::available() {
        with_simd_level(level, || {
            println!("level {}", level.name());
            check();
        });
    }
}

/// Runs `check` at the widest SIMD level and holds it: for comparing bits, while other tests force other levels.
pub fn at_the_widest_level(check: impl FnOnce()) {
    let widest = *SimdLevel::available().last().expect("portable is always available");
    with_simd_level(widest, check);
}

/// Asserts that `fast` is within `tolerance` of `plain`, relative to the largest element of `plain` or 0.1.
#[track_caller]
pub fn assert_close(what: &str, fast: &[f32], plain: &[f64], tolerance: f64) {
    assert_eq!(fast.len(), plain.len(), "{what}: lengths");
    let scale = plain.iter().fold(0.1_f64, |most, value| most.max(value.abs()));
    for (i, (fast, plain)) in fast.iter().zip(plain).enumerate() {
        let error = (f64::from(*fast) - plain).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}] is {fast}, the reference says {plain}: {error:e} of {scale}");
    }
}

/// The bits of the values: what "the same" means.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Asserts that `results` gives the same bits twice and on any number of threads.
pub fn assert_deterministic(results: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let all = || results().iter().map(|values| bits(values)).collect::<Vec<_>>();
    // The level is held, since a test that forces another may run at the same time.
    let widest = *SimdLevel::available().last().expect("portable is always available");
    with_simd_level(widest, || {
        let first = all();
        assert_eq!(first, all(), "twice");
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            assert_eq!(first, pool.install(all), "{threads} threads");
        }
    });
}
