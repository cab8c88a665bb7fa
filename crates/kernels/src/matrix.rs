//! Matrix products, through the `gemm` crate.
//!
//! `gemm` with its `x86-v4` feature reaches about nine tenths of the machine's peak in `f32` at the shapes of language
//! models and chooses its instructions at run time. It has no usable bf16 product: a product of bf16 operands with
//! `f32` accumulation belongs in a file of its own beside this one, behind the same [`MatrixRef`].

use crate::buffer::Output;
use gemm::Parallelism;

/// A matrix of `f32` in memory, `[rows, columns]`, with a stride (in elements) for each dimension.
#[derive(Clone, Copy, Debug)]
pub struct MatrixRef<'a> {
    /// The elements; element `(i, j)` is `data[i * row_stride + j * column_stride]`.
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Elements between a row and the next.
    pub row_stride: usize,
    /// Elements between a column and the next.
    pub column_stride: usize,
}

impl<'a> MatrixRef<'a> {
    /// `data` as a row-major matrix `[rows, columns]`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix [{rows}, {columns}] over {} elements", data.len());
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, `[columns, rows]`, over the same memory.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn assert_in_bounds(&self) {
        if self.rows > 0 && self.columns > 0 {
            let row = (self.rows - 1).checked_mul(self.row_stride);
            let column = (self.columns - 1).checked_mul(self.column_stride);
            let last = row.zip(column).and_then(|(row, column)| row.checked_add(column));
            assert!(
                last.is_some_and(|last| last < self.data.len()),
                "a matrix [{}, {}] with strides ({}, {}) reaches beyond its {} elements",
                self.rows,
                self.columns,
                self.row_stride,
                self.column_stride,
                self.data.len()
            );
        }
    }
}

/// `c = a b`, or `c += a b` when `accumulate`; `c` is `[a.rows, b.columns]`, row-major. On all of rayon's threads.
pub fn product(a: MatrixRef, b: MatrixRef, c: &mut [f32], accumulate: bool) {
    assert_eq!(c.len(), a.rows * b.columns, "the result of [{}, _] by [_, {}]", a.rows, b.columns);
    // SAFETY: `c` has the length of the result and is initialized.
    unsafe { product_at(a, b, c.as_mut_ptr(), accumulate) }
}

/// `a b` in a new vector `[a.rows, b.columns]`.
pub(crate) fn product_of(a: MatrixRef, b: MatrixRef) -> Vec<f32> {
    let mut c = Output::new(a.rows * b.columns);
    // SAFETY: without accumulation the product writes every element and reads none.
    unsafe {
        product_at(a, b, c.pointer().at(0), false);
        c.written()
    }
}

/// [`product`] into memory that may be unwritten when `accumulate` is false.
///
/// # Safety
///
/// `c` points to `a.rows * b.columns` elements, initialized when `accumulate`.
pub(crate) unsafe fn product_at(a: MatrixRef, b: MatrixRef, c: *mut f32, accumulate: bool) {
    assert_eq!(a.columns, b.rows, "[{}, {}] by [{}, {}]", a.rows, a.columns, b.rows, b.columns);
    a.assert_in_bounds();
    b.assert_in_bounds();
    let threads = rayon::current_num_threads();
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let left = Operand { pointer: a.data.as_ptr(), row_stride: a.row_stride, column_stride: a.column_stride };
    let right = Operand { pointer: b.data.as_ptr(), row_stride: b.row_stride, column_stride: b.column_stride };
    let result = Target { pointer: c, row_stride: b.columns, accumulate };
    // SAFETY: both operands were checked against their slices; the caller vouches for `c`.
    unsafe { strided_product([a.rows, b.columns, a.columns], left, right, 1.0, result, parallelism) }
}

/// One operand of [`strided_product`].
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) pointer: *const f32,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Operand {
    /// Rows of contiguous elements, `row_stride` apart.
    pub(crate) fn rows(pointer: *const f32, row_stride: usize) -> Self {
        Self { pointer, row_stride, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { pointer: self.pointer, row_stride: self.column_stride, column_stride: self.row_stride }
    }
}

/// Where [`strided_product`] leaves its result: rows of contiguous elements.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) pointer: *mut f32,
    pub(crate) row_stride: usize,
    pub(crate) accumulate: bool,
}

/// `target = factor · left right` (or `+=`), where `left` is `[rows, inner]` and `right` is `[inner, columns]`.
///
/// # Safety
///
/// The pointers cover the matrices that sizes and strides describe; the target overlaps nothing, and is initialized
/// when it accumulates.
pub(crate) unsafe fn strided_product(
    [rows, columns, inner]: [usize; 3],
    left: Operand,
    right: Operand,
    factor: f32,
    target: Target,
    parallelism: Parallelism,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    if inner == 0 {
        if !target.accumulate {
            for row in 0..rows {
                // SAFETY: the row lies in the target.
                unsafe { target.pointer.add(row * target.row_stride).write_bytes(0, columns) };
            }
        }
        return;
    }
    // SAFETY: promised by the caller; `gemm` reads the target only when told to.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            target.pointer,
            1,
            target.row_stride as isize,
            target.accumulate,
            left.pointer,
            left.column_stride as isize,
            left.row_stride as isize,
            right.pointer,
            right.column_stride as isize,
            right.row_stride as isize,
            if target.accumulate { 1.0 } else { 0.0 },
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}
