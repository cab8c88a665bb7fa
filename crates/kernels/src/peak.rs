//! What the machine could do: the yardstick that rates are held against.

use crate::simd::{LANES, vectorized};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Rounds of multiply-adds between two looks at the clock: a few milliseconds.
const ROUNDS: usize = 200_000;

/// f32 multiply-adds a second on all of rayon's threads, in GFLOP/s (two operations each): the best of several tries
/// of independent chains that never leave the registers.
///
/// Near the theoretical peak where the compiler keeps the chains in registers; no product of matrices passes it.
pub fn multiply_adds() -> f64 {
    let threads = rayon::current_num_threads();
    // Eight registers of 512 bits or of 256: enough chains to hide the latency of four cycles on two units.
    let tries = [(chains::<8> as fn() -> f32, 8), (chains::<4>, 4)];
    let mut best = 0.0_f64;
    for (run, registers) in tries {
        for _ in 0..5 {
            let start = Instant::now();
            (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                black_box(run());
            });
            let operations = 2 * threads * ROUNDS * registers * LANES;
            best = best.max(operations as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
    }
    best
}

fn chains<const REGISTERS: usize>() -> f32 {
    let mut sums = [[0.0_f32; LANES]; 8];
    if REGISTERS == 8 {
        eight(&mut sums)
    } else {
        four(&mut sums)
    }
    sums.iter().flatten().sum()
}

vectorized! {
    fn eight<A>(sums: &mut [[f32; LANES]; 8]) {
        let (a, b) = (black_box(0.999_f32), black_box(1e-3_f32));
        let mut local = *sums;
        for _ in 0..ROUNDS {
            for register in &mut local {
                for lane in register {
                    *lane = A::mul_add(*lane, a, b);
                }
            }
        }
        *sums = local;
    }
}

vectorized! {
    fn four<A>(sums: &mut [[f32; LANES]; 8]) {
        let (a, b) = (black_box(0.999_f32), black_box(1e-3_f32));
        let mut local = [sums[0], sums[1], sums[2], sums[3]];
        for _ in 0..ROUNDS {
            for register in &mut local {
                for lane in register {
                    *lane = A::mul_add(*lane, a, b);
                }
            }
        }
        sums[..4].copy_from_slice(&local);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_peak_is_a_number_above_any_products() {
        assert!(super::multiply_adds() > 0.1);
    }
}
