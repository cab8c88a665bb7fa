//! A cache line of numbers in registers, in the instructions of each SIMD level.
//!
//! Written with intrinsics, unlike other kernels: rows are a few lines long, and what the compiler makes of plain loops over
//! several rows at once (`reference` has the plain loops) was three times as slow.

use super::rows::Line;
use crate::simd::{Arithmetic, Baseline, LANES, sum_of_lanes};

/// [`LANES`] numbers.
///
/// Values are made and used only inside functions that [`dispatched!`] compiles for their instructions, and calls only after
/// the machine was found to have them.
pub(super) trait Lanes: Copy {
    type Arithmetic: Arithmetic;
    fn load(line: &Line) -> Self;
    fn store(self, line: &mut Line);
    fn splat(value: f32) -> Self;
    /// `self + a · b`.
    fn add_product(self, a: Self, b: Self) -> Self;
    fn sum(self) -> f32;
}

/// What the compilation target guarantees.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
impl Lanes for Portable {
    type Arithmetic = Baseline;

    #[inline(always)]
    fn load(line: &Line) -> Self {
        Self(line.0)
    }

    #[inline(always)]
    fn store(self, line: &mut Line) {
        line.0 = self.0;
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for j in 0..LANES {
            self.0[j] = Baseline::mul_add(a.0[j], b.0[j], self.0[j]);
        }
        self
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        sum_of_lanes(self.0)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
mod x86 {
    use super::{Lanes, Line};
    use crate::simd::Fused;
    #[allow(clippy::wildcard_imports, reason = "intrinsics, whose names say where they come from")]
    use std::arch::x86_64::*;

    /// One register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        type Arithmetic = Fused;

        #[inline(always)]
        fn load(line: &Line) -> Self {
            // SAFETY: the machine has the instructions (see `Lanes`), and a line is 64 bytes at a multiple of 64.
            Self(unsafe { _mm512_load_ps(line.0.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, line: &mut Line) {
            // SAFETY: as above.
            unsafe { _mm512_store_ps(line.0.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the machine has the instructions.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the machine has the instructions.
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            // SAFETY: the machine has the instructions.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }

    /// Two registers.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256, __m256);

    impl Lanes for Avx2 {
        type Arithmetic = Fused;

        #[inline(always)]
        fn load(line: &Line) -> Self {
            // SAFETY: the machine has the instructions (see `Lanes`), and a line is 16 numbers at a multiple of 64 bytes.
            unsafe { Self(_mm256_load_ps(line.0.as_ptr()), _mm256_load_ps(line.0.as_ptr().add(8))) }
        }

        #[inline(always)]
        fn store(self, line: &mut Line) {
            // SAFETY: as above.
            unsafe {
                _mm256_store_ps(line.0.as_mut_ptr(), self.0);
                _mm256_store_ps(line.0.as_mut_ptr().add(8), self.1);
            }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the machine has the instructions.
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the machine has the instructions.
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            // SAFETY: the machine has the instructions.
            unsafe {
                let eight = _mm256_add_ps(self.0, self.1);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
    }
}

/// Defines a function whose body is compiled for every kind of [`Lanes`] and dispatched on the SIMD level in use, as
/// `vectorized!` does.
macro_rules! dispatched {
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident<$lanes:ident>($($argument:ident: $kind:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $kind),*) {
            #[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
            #[inline(always)]
            fn body<$lanes: $crate::word2vec::lanes::Lanes>($($argument: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma,avx2")]
            fn avx512($($argument: $kind),*) {
                body::<$crate::word2vec::lanes::Avx512>($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) {
                body::<$crate::word2vec::lanes::Avx2>($($argument),*)
            }

            match $crate::simd::current_level() {
                // SAFETY: the current level is one that the machine was found to have.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::SimdLevel::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::SimdLevel::Avx2 => unsafe { avx2($($argument),*) },
                _ => body::<$crate::word2vec::lanes::Portable>($($argument),*),
            }
        }
    };
}
pub(super) use dispatched;
