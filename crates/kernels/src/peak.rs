//! What the machine could do: the yardstick that rates are held against.

use crate::simd::{LANES, vectorized};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Rounds of multiply-adds between two looks at the clock: several milliseconds.
const ROUNDS: usize = 1_000_000;
/// Tries of each kind of chains, over some tenths of a second: a processor that idled takes a while to its full clock.
const TRIES: usize = 12;

/// f32 multiply-adds a second on all of rayon's threads, in GFLOP/s (two operations each): the best of several tries
/// of independent chains that never leave the registers.
///
/// Near the theoretical peak where the compiler keeps the chains in registers. On a machine that is shared with others a
/// product of matrices may pass it, when its moment was the better one.
pub fn multiply_adds() -> f64 {
    let threads = rayon::current_num_threads();
    // Sixteen registers of 512 bits, eight of them or of 256 twice over: enough chains to hide the latency of four
    // cycles on two units.
    let kinds = [(chains::<16> as fn() -> f32, 16), (chains::<8>, 8), (chains::<4>, 4)];
    let mut best = 0.0_f64;
    for _ in 0..TRIES {
        for (run, registers) in kinds {
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
    let mut sums = [[0.0_f32; LANES]; 16];
    match REGISTERS {
        16 => sixteen(&mut sums),
        8 => eight(&mut sums),
        _ => four(&mut sums),
    }
    sums.iter().flatten().sum()
}

macro_rules! chained {
    ($name:ident, $registers:literal) => {
        vectorized! {
            fn $name<A>(sums: &mut [[f32; LANES]; 16]) {
                let (a, b) = (black_box(0.999_f32), black_box(1e-3_f32));
                let mut local = [[0.0_f32; LANES]; $registers];
                for _ in 0..ROUNDS {
                    for register in &mut local {
                        for lane in register {
                            *lane = A::mul_add(*lane, a, b);
                        }
                    }
                }
                sums[..$registers].copy_from_slice(&local);
            }
        }
    };
}
chained!(sixteen, 16);
chained!(eight, 8);
chained!(four, 4);

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_a_finite_rate() {
        let peak = super::multiply_adds();
        assert!(peak.is_finite() && peak > 0.0);
    }
}
