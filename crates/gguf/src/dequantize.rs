//! Blocks to numbers, as llama.cpp's reference does it.

use crate::tensor::TensorKind;
use half::{bf16, f16};
use rayon::prelude::*;

/// Elements that one task handles.
const TASK: usize = 1 << 14;

/// The elements of whole blocks.
pub fn dequantize(kind: TensorKind, bytes: &[u8]) -> Vec<f32> {
    let (block, size) = (kind.block(), kind.block_bytes());
    assert!(bytes.len().is_multiple_of(size), "{} bytes are not whole blocks of {}", bytes.len(), kind.name());
    let mut y = vec![0.0; bytes.len() / size * block];
    let one: fn(&[u8], &mut [f32]) = match kind {
        TensorKind::F32 => |x, y| y[0] = f32::from_le_bytes([x[0], x[1], x[2], x[3]]),
        TensorKind::F16 => |x, y| y[0] = half_at(x, 0),
        TensorKind::BF16 => |x, y| y[0] = bf16::from_le_bytes([x[0], x[1]]).to_f32(),
        TensorKind::F64 => |x, y| y[0] = f64::from_le_bytes(x.try_into().expect("8 bytes")) as f32,
        TensorKind::Q4_0 => |x, y| nibbles(&x[2..], y, half_at(x, 0), -8, 0.0),
        TensorKind::Q4_1 => |x, y| nibbles(&x[4..], y, half_at(x, 0), 0, half_at(x, 2)),
        TensorKind::Q5_0 => |x, y| five_bits(&x[2..], y, half_at(x, 0), -16, 0.0),
        TensorKind::Q5_1 => |x, y| five_bits(&x[4..], y, half_at(x, 0), 0, half_at(x, 2)),
        TensorKind::Q8_0 => |x, y| {
            let d = half_at(x, 0);
            y.iter_mut().zip(&x[2..]).for_each(|(y, q)| *y = f32::from(*q as i8) * d);
        },
        TensorKind::Q2_K => q2_k,
        TensorKind::Q3_K => q3_k,
        TensorKind::Q4_K => q4_k,
        TensorKind::Q5_K => q5_k,
        TensorKind::Q6_K => q6_k,
    };
    let task = TASK / block;
    y.par_chunks_mut(task * block).zip(bytes.par_chunks(task * size)).for_each(|(y, x)| {
        y.chunks_exact_mut(block).zip(x.chunks_exact(size)).for_each(|(y, x)| one(x, y));
    });
    y
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// 16 bytes: the low halves are the first 16 elements, the high halves the last.
fn nibbles(qs: &[u8], y: &mut [f32], d: f32, offset: i32, minimum: f32) {
    for (j, q) in qs[..16].iter().enumerate() {
        y[j] = (i32::from(q & 15) + offset) as f32 * d + minimum;
        y[j + 16] = (i32::from(q >> 4) + offset) as f32 * d + minimum;
    }
}

/// As [`nibbles`], with the fifth bits before them.
fn five_bits(x: &[u8], y: &mut [f32], d: f32, offset: i32, minimum: f32) {
    let high = u32::from_le_bytes([x[0], x[1], x[2], x[3]]);
    for (j, q) in x[4..20].iter().enumerate() {
        let bit = |at: usize| ((high >> at & 1) << 4) as i32;
        y[j] = (i32::from(q & 15) + bit(j) + offset) as f32 * d + minimum;
        y[j + 16] = (i32::from(q >> 4) + bit(j + 16) + offset) as f32 * d + minimum;
    }
}

fn q2_k(x: &[u8], y: &mut [f32]) {
    let (scales, qs) = (&x[..16], &x[16..80]);
    let (d, minimum) = (half_at(x, 80), half_at(x, 82));
    for (part, y) in y.chunks_exact_mut(16).enumerate() {
        // Two runs of 32 bytes; each holds four pairs of parts in its pairs of bits.
        let (run, shift, side) = (part / 8, 2 * (part % 8 / 2), part % 2);
        let (d, m) = (d * f32::from(scales[part] & 15), minimum * f32::from(scales[part] >> 4));
        for (y, q) in y.iter_mut().zip(&qs[32 * run + 16 * side..]) {
            *y = d * f32::from(q >> shift & 3) - m;
        }
    }
}

fn q3_k(x: &[u8], y: &mut [f32]) {
    let (high, qs, packed) = (&x[..32], &x[32..96], &x[96..108]);
    let d = half_at(x, 108);
    for (part, y) in y.chunks_exact_mut(16).enumerate() {
        let (run, pair, side) = (part / 8, part % 8 / 2, part % 2);
        let low = if part < 8 { packed[part] & 15 } else { packed[part - 8] >> 4 };
        let scale = low | (packed[8 + part % 4] >> (2 * (part / 4)) & 3) << 4;
        let d = d * f32::from(scale as i8 - 32);
        let bit = 1 << (4 * run + pair);
        for (l, y) in y.iter_mut().enumerate() {
            let q = qs[32 * run + 16 * side + l] >> (2 * pair) & 3;
            let less = if high[16 * side + l] & bit == 0 { 4 } else { 0 };
            *y = d * f32::from(q as i8 - less);
        }
    }
}

/// Scale and minimum, 6 bits each, of the `j`-th of 8 parts.
fn scale_and_minimum(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(x: &[u8], y: &mut [f32]) {
    let (d, minimum, packed, qs) = (half_at(x, 0), half_at(x, 2), &x[4..16], &x[16..144]);
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, m) = scale_and_minimum(packed, part);
        let (d, m) = (d * scale, minimum * m);
        for (y, q) in y.iter_mut().zip(&qs[32 * (part / 2)..]) {
            *y = d * f32::from(q >> (4 * (part % 2)) & 15) - m;
        }
    }
}

fn q5_k(x: &[u8], y: &mut [f32]) {
    let (d, minimum, packed, high, qs) = (half_at(x, 0), half_at(x, 2), &x[4..16], &x[16..48], &x[48..176]);
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, m) = scale_and_minimum(packed, part);
        let (d, m) = (d * scale, minimum * m);
        for ((y, q), high) in y.iter_mut().zip(&qs[32 * (part / 2)..]).zip(high) {
            *y = d * f32::from((q >> (4 * (part % 2)) & 15) + ((high >> part & 1) << 4)) - m;
        }
    }
}

fn q6_k(x: &[u8], y: &mut [f32]) {
    let (low, high, scales) = (&x[..128], &x[128..192], &x[192..208]);
    let d = half_at(x, 208);
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let (run, quarter) = (part / 4, part % 4);
        for (l, y) in y.iter_mut().enumerate() {
            let q = low[64 * run + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15;
            let q = q | (high[32 * run + l] >> (2 * quarter) & 3) << 4;
            let scale = scales[8 * run + 2 * quarter + l / 16] as i8;
            *y = d * f32::from(scale) * f32::from(q as i8 - 32);
        }
    }
}
