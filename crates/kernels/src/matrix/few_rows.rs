//! The product of a few rows with a large matrix: a step of decoding. It is bound by reading the matrix, so every element
//! is read once, for all rows, by all threads, and nothing is packed. The `gemm` crate takes one thread for it.

use super::MatrixRef;
use crate::buffer::SharedPointer;
use crate::simd::vectorized;
use crate::vector::dot_block;
use rayon::prelude::*;

/// Products of more rows go to `gemm`, which packs the matrix once for all of them.
const MOST_ROWS: usize = 8;

/// Elements of the matrix that one task reads.
const TASK: usize = 1 << 15;

/// Columns that one task sums where rows of the matrix lie in order: their sums stay in the nearest cache.
const COLUMNS: usize = 512;

/// Whether [`product`] serves these operands.
pub(super) fn serves(a: MatrixRef, b: MatrixRef) -> bool {
    (1..=MOST_ROWS).contains(&a.rows)
        && a.columns > 0
        && b.columns > 0
        && a.column_stride == 1
        && (b.column_stride == 1 || b.row_stride == 1)
}

/// `c += a b`, or `c = a b` unless `accumulate`. Sums are cut by sizes, not by threads.
///
/// # Safety
///
/// Operands were checked against their slices; `c` points to `a.rows * b.columns` elements, initialized where the product
/// accumulates.
pub(super) unsafe fn product(a: MatrixRef, b: MatrixRef, c: *mut f32, accumulate: bool) {
    let (rows, inner, columns) = (a.rows, a.columns, b.columns);
    let target = SharedPointer::from_raw(c);
    let row = |i: usize| &a.data[i * a.row_stride..][..inner];
    let by_columns = b.row_stride == 1 && inner > 1;
    let step = if by_columns { (TASK / inner).max(1) } else { COLUMNS };
    let task = |number: usize| {
        let (first, last) = (number * step, ((number + 1) * step).min(columns));
        if by_columns {
            for j in first..last {
                let column = &b.data[j * b.column_stride..][..inner];
                for i in 0..rows {
                    let sum = dot_block(row(i), column);
                    // SAFETY: this task's own columns.
                    unsafe {
                        let element = target.at(i * columns + j);
                        *element = if accumulate { *element + sum } else { sum };
                    }
                }
            }
            return;
        }
        let mut sums = vec![0.0_f32; rows * (last - first)];
        // Rows of `b` in groups, so that all rows of `a` meet them in the cache.
        for group in (0..inner).step_by(GROUP) {
            let group = group..(group + GROUP).min(inner);
            for (i, sums) in sums.chunks_exact_mut(last - first).enumerate() {
                let factors = &row(i)[group.clone()];
                add_multiples(&b.data[group.start * b.row_stride + first..], b.row_stride, factors, sums);
            }
        }
        for (i, sums) in sums.chunks_exact(last - first).enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                // SAFETY: this task's own columns.
                unsafe {
                    let element = target.at(i * columns + first + j);
                    *element = if accumulate { *element + sum } else { *sum };
                }
            }
        }
    };
    let tasks = columns.div_ceil(step);
    if inner * columns <= TASK || tasks == 1 {
        (0..tasks).for_each(task);
    } else {
        (0..tasks).into_par_iter().for_each(task);
    }
}

/// Rows of the matrix that are added up at a time.
const GROUP: usize = 8;

vectorized! {
    /// `sums += Σ factorₖ · rowₖ`, rows `stride` apart.
    fn add_multiples<A>(rows: &[f32], stride: usize, factors: &[f32], sums: &mut [f32]) {
        let columns = sums.len();
        let row = |k: usize| &rows[k * stride..][..columns];
        if let Ok(f) = <&[f32; GROUP]>::try_from(factors) {
            let r: [&[f32]; GROUP] = std::array::from_fn(row);
            for j in 0..columns {
                let mut even = A::mul_add(f[0], r[0][j], sums[j]);
                let mut odd = f[1] * r[1][j];
                for k in (2..GROUP).step_by(2) {
                    even = A::mul_add(f[k], r[k][j], even);
                    odd = A::mul_add(f[k + 1], r[k + 1][j], odd);
                }
                sums[j] = even + odd;
            }
            return;
        }
        for (k, factor) in factors.iter().enumerate() {
            for (sum, value) in sums.iter_mut().zip(row(k)) {
                *sum = A::mul_add(*factor, *value, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Precision, product as any_product};
    use super::*;

    #[test]
    fn a_few_rows_equal_plain_sums_either_way_around() {
        for (rows, inner, columns) in [(1, 1, 1), (1, 3, 700), (3, 70, 5), (8, 65, 1100), (2, 600, 257), (1, 1030, 513)]
        {
            let number = |i: usize| ((i * 2_654_435_761 % 1013) as f32 / 1013.0) - 0.5;
            let a: Vec<f32> = (0..rows * inner).map(number).collect();
            let b: Vec<f32> = (0..inner * columns).map(|i| number(i + 7)).collect();
            let turned: Vec<f32> = (0..inner * columns).map(|i| b[i % inner * columns + i / inner]).collect();
            let a_matrix = MatrixRef::new(&a, rows, inner);
            for b_matrix in [MatrixRef::new(&b, inner, columns), MatrixRef::new(&turned, columns, inner).transposed()] {
                assert!(serves(a_matrix, b_matrix));
                for accumulate in [false, true] {
                    let mut c = vec![1.0; rows * columns];
                    any_product(a_matrix, b_matrix, &mut c, accumulate, Precision::F32);
                    for (index, found) in c.iter().enumerate() {
                        let (i, j) = (index / columns, index % columns);
                        let sum: f64 =
                            (0..inner).map(|k| f64::from(a[i * inner + k]) * f64::from(b[k * columns + j])).sum();
                        let expected = sum + f64::from(u8::from(accumulate));
                        assert!(
                            (f64::from(*found) - expected).abs() < 1e-4,
                            "{rows} {inner} {columns}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
