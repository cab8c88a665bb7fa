//! Laying operands out, rounded in bf16, as [`super::multiply_tile`] reads them.

use super::{LANES, PAIRED};
use crate::matrix::round;
#[allow(clippy::wildcard_imports, reason = "intrinsics, whose names say where they come from")]
use std::arch::x86_64::*;

/// The first `count` lanes.
pub(super) fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}

/// Rounds two rows of 16 elements to a register of 32 bf16, `low` first.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 512 bits of any value.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Rows of contiguous elements to words: `words[i * step + q]` holds element `q` of row `i`, or in pairs its elements
/// `2 q` and `2 q + 1`, an odd last one joined by zero.
///
/// # Safety
///
/// The instructions of [`super::is_available`]; the rows lie in the source, and words for whole registers in the target.
pub(super) unsafe fn pack_rows<const PAIR: usize>(
    source: *const f32,
    stride: usize,
    rows: usize,
    length: usize,
    words: *mut u32,
    step: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        if PAIR == PAIRED {
            round_rows(source, stride, rows, length, words, step);
        } else {
            for row in 0..rows {
                let (from, to) = (source.wrapping_add(row * stride), words.wrapping_add(row * step));
                std::ptr::copy_nonoverlapping(from.cast::<u32>(), to, length);
            }
        }
    }
}

/// A matrix `[length, columns]` with these strides (rows, columns) to words: `words[q * step + j]` holds element
/// `(q, j)`, or in pairs `(2 q, j)` and `(2 q + 1, j)`, zero beyond the matrix, for `j` below the next multiple of 16.
///
/// # Safety
///
/// The instructions of [`super::is_available`]; the matrix lies in the source, and so many words each `step` in the target.
pub(super) unsafe fn interleave<const PAIR: usize>(
    source: *const f32,
    strides: (usize, usize),
    length: usize,
    columns: usize,
    words: *mut u32,
    step: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        if PAIR == PAIRED {
            interleave_pairs(source, strides, length, columns, words, step);
        } else {
            lay_singles(source, strides, length, columns, words, step);
        }
    }
}

/// [`interleave`] of `f32`.
///
/// # Safety
///
/// As of [`interleave`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn lay_singles(
    source: *const f32,
    (row_stride, column_stride): (usize, usize),
    length: usize,
    columns: usize,
    words: *mut u32,
    step: usize,
) {
    let element = |row: usize, column: usize| source.wrapping_add(row * row_stride + column * column_stride);
    let used = columns.next_multiple_of(LANES);
    if column_stride == 1 {
        for row in 0..length {
            for column in (0..used).step_by(LANES) {
                // SAFETY: masks keep within the matrix, and stores within its words.
                unsafe {
                    let values = _mm512_maskz_loadu_ps(lanes(columns - column), element(row, column));
                    _mm512_storeu_ps(words.wrapping_add(row * step + column).cast(), values);
                }
            }
        }
        return;
    }
    if row_stride == 1 {
        for column in (0..used).step_by(LANES) {
            for done in (0..length).step_by(LANES) {
                let left = length - done;
                // SAFETY: masks keep within the matrix, and stores within its words.
                unsafe {
                    let mut square = [_mm512_setzero_si512(); LANES];
                    for (j, register) in square.iter_mut().enumerate().take(columns - column) {
                        *register = _mm512_maskz_loadu_epi32(lanes(left), element(done, column + j).cast());
                    }
                    for (row, register) in transposed(&square).iter().enumerate().take(left) {
                        _mm512_storeu_si512(words.wrapping_add((done + row) * step + column).cast(), *register);
                    }
                }
            }
        }
        return;
    }
    for row in 0..length {
        for column in 0..used {
            // SAFETY: within the matrix and its words.
            unsafe {
                let value = if column < columns { *element(row, column) } else { 0.0 };
                *words.wrapping_add(row * step + column) = value.to_bits();
            }
        }
    }
}

/// [`pack_rows`] of pairs.
///
/// # Safety
///
/// As of [`pack_rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_rows(source: *const f32, stride: usize, rows: usize, length: usize, words: *mut u32, step: usize) {
    for row in 0..rows {
        let (from, to) = (source.wrapping_add(row * stride), words.wrapping_add(row * step));
        let mut done = 0;
        while done < length {
            let left = length - done;
            // SAFETY: masks keep within the row.
            unsafe {
                let low = _mm512_maskz_loadu_ps(lanes(left), from.wrapping_add(done));
                let high = _mm512_maskz_loadu_ps(lanes(left.saturating_sub(LANES)), from.wrapping_add(done + LANES));
                _mm512_storeu_si512(to.wrapping_add(done / 2).cast(), rounded(low, high));
            }
            done += 2 * LANES;
        }
    }
}

/// [`interleave`] of pairs.
///
/// # Safety
///
/// As of [`interleave`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn interleave_pairs(
    source: *const f32,
    (row_stride, column_stride): (usize, usize),
    length: usize,
    columns: usize,
    words: *mut u32,
    step: usize,
) {
    let row = |row: usize, column: usize| source.wrapping_add(row * row_stride + column * column_stride);
    let used = columns.next_multiple_of(LANES);
    if column_stride == 1 {
        // 0, 16, 1, 17, …: an element of the one row, then the element below it.
        let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
        // SAFETY: masks keep within the matrix.
        unsafe {
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            for pair in 0..length.div_ceil(2) {
                for column in (0..used).step_by(LANES) {
                    let mask = lanes(columns - column);
                    let low = _mm512_maskz_loadu_ps(mask, row(2 * pair, column));
                    let below = if 2 * pair + 1 < length { mask } else { 0 };
                    let high = _mm512_maskz_loadu_ps(below, row(2 * pair + 1, column));
                    let pairs = _mm512_permutexvar_epi16(order, rounded(low, high));
                    _mm512_storeu_si512(words.wrapping_add(pair * step + column).cast(), pairs);
                }
            }
        }
        return;
    }
    if row_stride == 1 {
        for column in (0..used).step_by(LANES) {
            let mut done = 0;
            while done < length {
                let left = length - done;
                let (low, high) = (lanes(left), lanes(left.saturating_sub(LANES)));
                // SAFETY: masks keep within the matrix, and stores within its words.
                unsafe {
                    let mut square = [_mm512_setzero_si512(); LANES];
                    for (j, register) in square.iter_mut().enumerate().take(columns - column) {
                        let from = row(done, column + j);
                        let low = _mm512_maskz_loadu_ps(low, from);
                        let high = _mm512_maskz_loadu_ps(high, from.wrapping_add(LANES));
                        *register = rounded(low, high);
                    }
                    let square = transposed(&square);
                    for (pair, register) in square.iter().enumerate().take(left.div_ceil(2)) {
                        let to = words.wrapping_add((done / 2 + pair) * step + column);
                        _mm512_storeu_si512(to.cast(), *register);
                    }
                }
                done += 2 * LANES;
            }
        }
        return;
    }
    for pair in 0..length.div_ceil(2) {
        for column in 0..used {
            let element = |i: usize| {
                // SAFETY: within the matrix.
                if i < length && column < columns { unsafe { *row(i, column) } } else { 0.0 }
            };
            let word = u32::from(round(element(2 * pair))) | u32::from(round(element(2 * pair + 1))) << 16;
            // SAFETY: within the words.
            unsafe { *words.wrapping_add(pair * step + column) = word };
        }
    }
}

/// Sixteen registers of sixteen words, transposed.
#[target_feature(enable = "avx512f")]
fn transposed(rows: &[__m512i; LANES]) -> [__m512i; LANES] {
    let mut a = [_mm512_setzero_si512(); LANES];
    for i in 0..LANES / 2 {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // In every 128-bit lane l: word 4 l + c of four rows.
    let mut b = [_mm512_setzero_si512(); LANES];
    for i in 0..LANES / 4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    let mut result = [_mm512_setzero_si512(); LANES];
    for c in 0..4 {
        // Lanes 0 and 2 of the one, lanes 0 and 2 of the other; then lanes 1 and 3.
        let low_even = _mm512_shuffle_i32x4::<0x88>(b[c], b[4 + c]);
        let low_odd = _mm512_shuffle_i32x4::<0xdd>(b[c], b[4 + c]);
        let high_even = _mm512_shuffle_i32x4::<0x88>(b[8 + c], b[12 + c]);
        let high_odd = _mm512_shuffle_i32x4::<0xdd>(b[8 + c], b[12 + c]);
        result[c] = _mm512_shuffle_i32x4::<0x88>(low_even, high_even);
        result[8 + c] = _mm512_shuffle_i32x4::<0xdd>(low_even, high_even);
        result[4 + c] = _mm512_shuffle_i32x4::<0x88>(low_odd, high_odd);
        result[12 + c] = _mm512_shuffle_i32x4::<0xdd>(low_odd, high_odd);
    }
    result
}
