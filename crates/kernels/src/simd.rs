//! Which vector instructions the machine has, and how one loop is compiled once for each of them.
//!
//! A kernel is written as a plain loop that the compiler vectorizes by itself. `vectorized!` compiles it for
//! AVX-512, for AVX2 with FMA and for the target's baseline, and calls the widest that this machine has, so one
//! binary serves any x86-64 and aarch64 and nothing asks for `target-cpu=native`.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// A set of vector instructions that the kernels are compiled for, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimdLevel {
    /// What the compilation target guarantees (SSE2 on x86-64), without fused multiply-add.
    Portable,
    /// The baseline of aarch64: 128 bits, fused multiply-add.
    Neon,
    /// 256 bits with fused multiply-add (x86-64-v3).
    Avx2,
    /// 512 bits: AVX-512 F, VL, BW and DQ (x86-64-v4).
    Avx512,
}

impl SimdLevel {
    const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// `"portable"`, `"neon"`, `"avx2"` or `"avx512"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine runs code compiled for the level.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Every level that this machine can run, from narrow to wide.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    fn widest() -> Self {
        Self::ALL.into_iter().rfind(|level| level.is_available()).unwrap_or(Self::Portable)
    }
}

/// Not yet decided; any other value is an index into [`SimdLevel::ALL`].
const UNDECIDED: u8 = u8::MAX;

/// The level in use. Only levels that `is_available` approved are ever stored: `vectorized!` relies on it.
static CURRENT: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Held while a level is forced.
static FORCING: Mutex<()> = Mutex::new(());

/// The level in use: the widest that the machine has, unless [`with_simd_level`] forces another.
pub fn current_level() -> SimdLevel {
    match CURRENT.load(Ordering::Relaxed) {
        UNDECIDED => {
            let level = SimdLevel::widest();
            CURRENT.store(level as u8, Ordering::Relaxed);
            level
        }
        index => SimdLevel::ALL[index as usize],
    }
}

/// The name of the level in use, for `loam doctor`: `"avx512"`, `"avx2"`, `"neon"` or `"portable"`.
///
/// Matrix products choose their instructions on their own, in the `gemm` crate.
pub fn simd_level() -> &'static str {
    current_level().name()
}

/// Runs `action` with every kernel of the process at `level`, for tests of the narrower levels.
///
/// Calls exclude each other, so that a test which compares bits can hold the level still; a call inside `action`
/// would wait for itself. Panics when the machine lacks the level.
pub fn with_simd_level<T>(level: SimdLevel, action: impl FnOnce() -> T) -> T {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.store(self.0, Ordering::Relaxed);
        }
    }
    assert!(level.is_available(), "this machine has no {}", level.name());
    let _exclusive = FORCING.lock().unwrap_or_else(PoisonError::into_inner);
    let _restore = Restore(CURRENT.swap(level as u8, Ordering::Relaxed));
    action()
}

/// How a level multiplies and adds.
///
/// `f32::mul_add` without the instruction is a call into the C library, a hundred times slower than what it replaces.
pub(crate) trait Arithmetic {
    /// `a · b + c`, rounded once where the machine can, else twice.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// Levels with a fused multiply-add instruction.
pub(crate) struct Fused;

/// Levels without.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) struct Separate;

#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[cfg(not(target_arch = "aarch64"))]
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
impl Arithmetic for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// The arithmetic of the compilation target's baseline.
#[cfg(target_arch = "aarch64")]
pub(crate) type Baseline = Fused;
/// The arithmetic of the compilation target's baseline.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) type Baseline = Separate;

/// Defines a function whose body is compiled for every level and dispatched on [`current_level`].
///
/// The body is generic over its [`Arithmetic`]; everything that it calls in a loop must be `#[inline(always)]`, or it
/// keeps the baseline's instructions. Dispatch costs about a nanosecond: call it on rows and chunks, not on elements.
/// A second parameter, as in `fn name<A, C: Curve>`, stays one of the dispatched function.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident<$arithmetic:ident $(, $parameter:ident: $bound:ident)?>(
            $($argument:ident: $kind:ty),* $(,)?
        ) $(-> $result:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        $visibility fn $name$(<$parameter: $bound>)?($($argument: $kind),*) $(-> $result)? {
            #[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
            #[inline(always)]
            fn body<$arithmetic: $crate::simd::Arithmetic $(, $parameter: $bound)?>(
                $($argument: $kind),*
            ) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma,avx2")]
            fn avx512$(<$parameter: $bound>)?($($argument: $kind),*) $(-> $result)? {
                body::<$crate::simd::Fused $(, $parameter)?>($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2$(<$parameter: $bound>)?($($argument: $kind),*) $(-> $result)? {
                body::<$crate::simd::Fused $(, $parameter)?>($($argument),*)
            }

            match $crate::simd::current_level() {
                // SAFETY: the current level is one that the machine was found to have.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::SimdLevel::Avx512 => unsafe { avx512$(::<$parameter>)?($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::SimdLevel::Avx2 => unsafe { avx2$(::<$parameter>)?($($argument),*) },
                _ => body::<$crate::simd::Baseline $(, $parameter)?>($($argument),*),
            }
        }
    };
}
pub(crate) use vectorized;

/// Independent partial results of a reduction: one AVX-512 register, and a fixed order of summation on every machine.
pub(crate) const LANES: usize = 16;

/// The sum of the lanes, as a balanced tree.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
pub(crate) fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            lanes[j] += lanes[j + half];
        }
        half /= 2;
    }
    lanes[0]
}
