//! Numbers to blocks, as llama.cpp's reference does it.

use crate::tensor::TensorKind;
use half::{bf16, f16};

/// The bytes of whole blocks; none for kinds that are only read.
pub fn quantize(kind: TensorKind, x: &[f32]) -> Option<Vec<u8>> {
    assert!(x.len().is_multiple_of(kind.block()), "{} elements are not whole blocks of {}", x.len(), kind.name());
    Some(match kind {
        TensorKind::F32 => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorKind::F16 => x.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        TensorKind::BF16 => x.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        TensorKind::Q8_0 => x.chunks_exact(32).flat_map(q8_0).collect(),
        TensorKind::Q4_0 => x.chunks_exact(32).flat_map(q4_0).collect(),
        _ => return None,
    })
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn q8_0(x: &[f32]) -> [u8; 34] {
    let d = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())) / 127.0;
    let factor = inverse(d);
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    block[2..].iter_mut().zip(x).for_each(|(q, x)| *q = (x * factor).round() as i8 as u8);
    block
}

fn q4_0(x: &[f32]) -> [u8; 18] {
    let mut extreme = 0.0_f32;
    for x in x {
        if x.abs() > extreme.abs() {
            extreme = *x;
        }
    }
    let d = extreme / -8.0;
    let factor = inverse(d);
    let level = |x: f32| ((x * factor + 8.5) as i32).clamp(0, 15) as u8;
    let mut block = [0; 18];
    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for j in 0..16 {
        block[2 + j] = level(x[j]) | level(x[j + 16]) << 4;
    }
    block
}
