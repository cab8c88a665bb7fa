//! What the machine could do: the yardstick that rates are held against.

use crate::matrix::Precision;
use crate::simd::{LANES, SimdLevel, current_level, vectorized};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Independent chains of multiply-adds, which hide the instruction's latency and fit the registers.
const CHAINS: usize = 12;
/// Rounds of all chains between two looks at the clock: some milliseconds.
const ROUNDS: usize = 1_000_000;
/// Tries, over some tenths of a second: a processor that idled takes a while to its full clock.
const TRIES: usize = 24;

/// Multiply-adds a second on all of rayon's threads, in GFLOP/s (two operations each): the best of several tries of
/// independent chains that never leave the registers.
///
/// On a machine that is shared with others a product of matrices may pass it, when its moment was the better one.
pub fn multiply_adds(precision: Precision) -> f64 {
    let threads = rayon::current_num_threads();
    let (run, operations_a_chain) = chains(precision);
    let operations = threads * ROUNDS * CHAINS * operations_a_chain;
    let rate = |()| {
        let start = Instant::now();
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            black_box(run());
        });
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    std::iter::repeat_n((), TRIES).map(rate).fold(0.0, f64::max)
}

/// [`ROUNDS`] of [`CHAINS`] with this machine's instructions, and the operations of a link of a chain.
fn chains(precision: Precision) -> (fn() -> f32, usize) {
    #[cfg(target_arch = "x86_64")]
    {
        if precision == Precision::Bf16 && precision.is_native() {
            // SAFETY: the instructions were found to be there.
            return (|| unsafe { x86::bf16() }, 4 * LANES);
        }
        match current_level() {
            // SAFETY: the level is one that the machine was found to have.
            SimdLevel::Avx512 => return (|| unsafe { x86::avx512() }, 2 * LANES),
            // SAFETY: as above.
            SimdLevel::Avx2 => return (|| unsafe { x86::avx2() }, LANES),
            _ => {}
        }
    }
    let _ = (precision, current_level() == SimdLevel::Portable);
    (portable, 2 * LANES)
}

/// Spelled out, since the compiler does not keep loops over arrays of chains in registers reliably.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, ROUNDS};
    #[allow(clippy::wildcard_imports, reason = "intrinsics, whose names say where they come from")]
    use std::arch::x86_64::*;
    use std::hint::black_box;

    macro_rules! chained {
        ($name:ident, $features:literal, $start:expr, $link:expr, $sum:expr) => {
            /// # Safety
            ///
            /// The machine has the instructions.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name() -> f32 {
                let (link, sum) = ($link, $sum);
                let mut chains = [$start; CHAINS];
                for _ in 0..ROUNDS {
                    for chain in &mut chains {
                        *chain = link(*chain);
                    }
                }
                chains.into_iter().map(sum).sum()
            }
        };
    }

    chained!(
        avx512,
        "avx512f",
        _mm512_setzero_ps(),
        {
            let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
            move |chain| _mm512_fmadd_ps(chain, a, b)
        },
        |chain| _mm512_reduce_add_ps(chain)
    );
    chained!(
        avx2,
        "avx2,fma",
        _mm256_setzero_ps(),
        {
            let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
            move |chain| _mm256_fmadd_ps(chain, a, b)
        },
        |chain| _mm256_cvtss_f32(chain)
    );
    chained!(
        bf16,
        "avx512f,avx512bf16",
        _mm512_setzero_ps(),
        {
            // Pairs of 1 and -1: the sums stay at zero, an ordinary number.
            // SAFETY: 512 bits of any value.
            let (a, b) = unsafe {
                (
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(black_box(0x3f80_3f80))),
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(black_box(0x3f80_bf80_u32 as i32))),
                )
            };
            move |chain| _mm512_dpbf16_ps(chain, a, b)
        },
        |chain| _mm512_reduce_add_ps(chain)
    );
}

fn portable() -> f32 {
    let mut sums = [[0.0_f32; LANES]; CHAINS];
    chained(&mut sums);
    sums.iter().flatten().sum()
}

vectorized! {
    fn chained<A>(sums: &mut [[f32; LANES]; CHAINS]) {
        let (a, b) = (black_box(0.999_f32), black_box(1e-3_f32));
        for _ in 0..ROUNDS {
            for register in sums.iter_mut() {
                for lane in register {
                    *lane = A::mul_add(*lane, a, b);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_does_not_pass_the_peak_by_far() {
        let (a, b, mut c) = (vec![1.0; 1 << 18], vec![1.0; 1 << 18], vec![0.0; 1 << 18]);
        for precision in [Precision::F32, Precision::Bf16] {
            let matrix = |data| crate::matrix::MatrixRef::new(data, 512, 512);
            let mut fastest = f64::INFINITY;
            for _ in 0..8 {
                let start = Instant::now();
                crate::matrix::product(matrix(&a), matrix(&b), &mut c, false, precision);
                fastest = fastest.min(start.elapsed().as_secs_f64());
            }
            let (rate, peak) = (2.0 * 512_f64.powi(3) / fastest / 1e9, multiply_adds(precision));
            // A ratio of what one machine did at one time; a yardstick half as long as it should be fails.
            assert!(peak > 0.6 * rate, "{}: {rate:.0} of a peak of {peak:.0} GFLOP/s", precision.name());
        }
    }
}
