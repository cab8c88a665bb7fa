//! Matrix products.
//!
//! With AVX-512 our own (`tiles`), which can begin with a bias and a residual and can be chained, and which in bf16
//! nobody else has. A few rows meet the
//! matrix where it lies (`few_rows`); all else goes through the `gemm` crate, which chooses its instructions at run time.

mod few_rows;
#[cfg(target_arch = "x86_64")]
mod tiles;

use crate::buffer::{Output, SharedPointer};
use crate::simd::vectorized;
#[cfg(target_arch = "x86_64")]
use crate::simd::{SimdLevel, current_level};
use gemm::Parallelism;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

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

/// In what precision a product multiplies. Operands, sums and results are `f32` in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Operands as they are.
    #[default]
    F32,
    /// Operands rounded to bf16, as in mixed-precision training (Kalamkar et al. 2019): twice as many multiply-adds an
    /// instruction. Where the machine lacks the instruction ([`Precision::is_native`]), as [`Precision::F32`].
    Bf16,
}

impl Precision {
    /// `"f32"` or `"bf16"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether products are made in this precision here: always in `f32`; in bf16 with AVX-512's instructions for it.
    pub fn is_native(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => current_level() == SimdLevel::Avx512 && tiles::is_available::<{ tiles::PAIRED }>(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }
}

/// Rounds to bf16 as the products do: to nearest, ties to even, and subnormal numbers to zero.
///
/// Returns the upper half of the `f32` that it becomes.
pub fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    if value.is_subnormal() {
        return (bits >> 16) as u16 & 0x8000;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Beginning<'a> {
    /// Zero: the target may be unwritten.
    Nothing,
    /// What the target holds.
    Itself,
    /// A row, to every row.
    Bias(&'a [f32]),
    /// A row to every row, and a matrix of as many columns.
    BiasAndResidual(&'a [f32], &'a [f32]),
}

#[cfg(target_arch = "x86_64")]
impl Beginning<'_> {
    /// From some row and column of the result on.
    fn at(self, row: usize, column: usize) -> Start {
        match self {
            Self::Nothing => Start::Zero,
            Self::Itself => Start::Itself,
            Self::Bias(bias) => Start::Bias(bias[column..].as_ptr()),
            Self::BiasAndResidual(bias, residual) => Start::BiasAndResidual(
                bias[column..].as_ptr(),
                residual[row * bias.len() + column..].as_ptr(),
                bias.len(),
            ),
        }
    }
}

/// [`Beginning`] at a tile of results.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
enum Start {
    Zero,
    Itself,
    /// A row for all of them.
    Bias(*const f32),
    /// A row for all of them, and rows so far apart.
    BiasAndResidual(*const f32, *const f32, usize),
}

/// `c = a b`, or `c += a b` when `accumulate`; `c` is `[a.rows, b.columns]`, row-major. On all of rayon's threads.
pub fn product(a: MatrixRef, b: MatrixRef, c: &mut [f32], accumulate: bool, precision: Precision) {
    assert_eq!(c.len(), a.rows * b.columns, "the result of [{}, _] by [_, {}]", a.rows, b.columns);
    let beginning = if accumulate { Beginning::Itself } else { Beginning::Nothing };
    // SAFETY: `c` has the length of the result and is initialized.
    unsafe { product_at(a, b, c.as_mut_ptr(), beginning, precision) }
}

/// `a b` in a new vector `[a.rows, b.columns]`.
pub(crate) fn product_of(a: MatrixRef, b: MatrixRef, precision: Precision) -> Vec<f32> {
    let mut c = Output::new(a.rows * b.columns);
    // SAFETY: the product writes every element and reads none.
    unsafe {
        product_at(a, b, c.pointer().at(0), Beginning::Nothing, precision);
        c.written()
    }
}

/// [`product`] into memory that may be unwritten unless the product begins with it.
///
/// # Safety
///
/// `c` points to `a.rows * b.columns` elements, initialized for [`Beginning::Itself`].
pub(crate) unsafe fn product_at(a: MatrixRef, b: MatrixRef, c: *mut f32, beginning: Beginning, precision: Precision) {
    assert_eq!(a.columns, b.rows, "[{}, {}] by [{}, {}]", a.rows, a.columns, b.rows, b.columns);
    a.assert_in_bounds();
    b.assert_in_bounds();
    if let Beginning::Bias(bias) | Beginning::BiasAndResidual(bias, _) = beginning {
        assert_eq!(bias.len(), b.columns, "a bias for [_, {}]", b.columns);
    }
    if let Beginning::BiasAndResidual(_, residual) = beginning {
        assert_eq!(residual.len(), a.rows * b.columns, "a residual for [{}, {}]", a.rows, b.columns);
    }
    let left = Operand { pointer: a.data.as_ptr(), row_stride: a.row_stride, column_stride: a.column_stride };
    let right = Operand { pointer: b.data.as_ptr(), row_stride: b.row_stride, column_stride: b.column_stride };
    let sizes = [a.rows, b.columns, a.columns];
    let target = Target { pointer: c, row_stride: b.columns, accumulate: matches!(beginning, Beginning::Itself) };
    #[cfg(target_arch = "x86_64")]
    if let Some(words) = words(sizes, precision) {
        // SAFETY: both operands were checked against their slices, the beginning against the result; the caller vouches
        // for `c`.
        unsafe {
            match words {
                Precision::F32 => tiles::product::<{ tiles::SINGLE }>(sizes, left, right, 1.0, target, beginning, true),
                Precision::Bf16 => {
                    tiles::product::<{ tiles::PAIRED }>(sizes, left, right, 1.0, target, beginning, true);
                }
            }
        }
        return;
    }
    let target = match beginning {
        Beginning::Nothing | Beginning::Itself => target,
        // The beginning is laid down first and the product accumulates on it: one pass fewer than adding it afterward.
        Beginning::Bias(bias) => {
            // SAFETY: all of `c`, to write.
            let c = unsafe { SharedPointer::from_raw(c).slots(0, a.rows * b.columns) };
            c.par_chunks_mut(ROWS * b.columns.max(1)).for_each(|c| fill_rows(bias, c));
            Target { accumulate: true, ..target }
        }
        Beginning::BiasAndResidual(bias, residual) => {
            // SAFETY: as above.
            let c = unsafe { SharedPointer::from_raw(c).slots(0, a.rows * b.columns) };
            let chunks = c.par_chunks_mut(ROWS * b.columns.max(1)).zip(residual.par_chunks(ROWS * b.columns.max(1)));
            chunks.for_each(|(c, residual)| add_to_rows(residual, bias, c));
            Target { accumulate: true, ..target }
        }
    };
    if few_rows::serves(a, b) {
        // SAFETY: as above; where the product accumulates, `c` has been written.
        unsafe { few_rows::product(a, b, c, target.accumulate) };
        return;
    }
    let threads = rayon::current_num_threads();
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    // SAFETY: as above; where the product accumulates, `c` has been written.
    unsafe { f32_product(sizes, left, right, 1.0, target, parallelism) }
}

/// `middle = a first + beginning`, then `between` some rows of it, and of what that made of them `c = … second +
/// beginning`: two products whose result between is still in a thread's cache where that is possible; returns whether it
/// was, and did nothing where not.
///
/// `between` gets rows of the middle and room for as many; it returns true where it wrote to the room what is to be
/// multiplied, false where it changed the middle in place.
///
/// # Safety
///
/// `middle` points to `a.rows * first.columns` elements, `c` to `a.rows * second.columns`; beginnings are not `Itself`.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "only x86-64 has the product"))]
pub(crate) unsafe fn chained_products(
    a: MatrixRef,
    (first, first_beginning, middle): (MatrixRef, Beginning, SharedPointer),
    between: &(dyn Fn(Range<usize>, &mut [f32], &mut [f32]) -> bool + Sync),
    (second, second_beginning, c): (MatrixRef, Beginning, SharedPointer),
    precision: Precision,
) -> bool {
    assert_eq!((a.columns, first.columns), (first.rows, second.rows), "products of a chain");
    a.assert_in_bounds();
    first.assert_in_bounds();
    second.assert_in_bounds();
    #[cfg(target_arch = "x86_64")]
    {
        let (width, columns) = (first.columns, second.columns);
        let sizes = [a.columns, width, columns];
        let words = words([a.rows, width, a.columns], precision).filter(|words| {
            columns > 0
                && match words {
                    Precision::F32 => tiles::links::<{ tiles::SINGLE }>(sizes),
                    Precision::Bf16 => tiles::links::<{ tiles::PAIRED }>(sizes),
                }
        });
        if let Some(words) = words {
            let operand = |matrix: MatrixRef| Operand {
                pointer: matrix.data.as_ptr(),
                row_stride: matrix.row_stride,
                column_stride: matrix.column_stride,
            };
            let link = |right: MatrixRef, beginning, target: SharedPointer| tiles::Link {
                right: operand(right),
                columns: right.columns,
                beginning,
                target: target.at(0),
            };
            let between = |rows: Range<usize>, room: &mut [f32]| {
                // SAFETY: the rows that this task has just written.
                let middle = unsafe { middle.slice(rows.start * width, rows.len() * width) };
                let in_room = between(rows, middle, room);
                Operand::rows(if in_room { room.as_ptr() } else { middle.as_ptr() }, width)
            };
            let (one, two) = (link(first, first_beginning, middle), link(second, second_beginning, c));
            // SAFETY: the operands were checked against their slices; the caller vouches for the results.
            unsafe {
                let (rows, left, inner) = (a.rows, operand(a), a.columns);
                match words {
                    Precision::F32 => tiles::chain::<{ tiles::SINGLE }>(rows, left, inner, &one, &between, &two),
                    Precision::Bf16 => tiles::chain::<{ tiles::PAIRED }>(rows, left, inner, &one, &between, &two),
                }
            }
            return true;
        }
    }
    false
}

/// Rows that one task fills.
const ROWS: usize = 64;

/// Every row of `y` becomes `bias`.
fn fill_rows(bias: &[f32], y: &mut [MaybeUninit<f32>]) {
    for row in y.chunks_exact_mut(bias.len().max(1)) {
        row.write_copy_of_slice(bias);
    }
}

vectorized! {
    fn add_to_rows<A>(residual: &[f32], bias: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, residual) in y.chunks_exact_mut(bias.len()).zip(residual.chunks_exact(bias.len())) {
            for ((y, residual), bias) in y.iter_mut().zip(residual).zip(bias) {
                y.write(residual + bias);
            }
        }
    }
}

/// Products with fewer rows go through `gemm`: packing the right operand would take longer than the product saves.
#[cfg(target_arch = "x86_64")]
const FEWEST_ROWS: usize = 16;

/// In what words a product is made by our own tiles; none where it is not.
#[cfg(target_arch = "x86_64")]
fn words([rows, columns, inner]: [usize; 3], precision: Precision) -> Option<Precision> {
    if rows < FEWEST_ROWS || columns == 0 || inner == 0 || current_level() != SimdLevel::Avx512 {
        return None;
    }
    let precision = if precision.is_native() { precision } else { Precision::F32 };
    (precision == Precision::Bf16 || tiles::is_available::<{ tiles::SINGLE }>()).then_some(precision)
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

/// `target = factor · left right` (or `+=`), where `left` is `[rows, inner]` and `right` is `[inner, columns]`. On the
/// thread that calls it.
///
/// # Safety
///
/// The pointers cover the matrices that sizes and strides describe; the target overlaps nothing, and is initialized
/// when it accumulates.
pub(crate) unsafe fn strided_product(
    sizes: [usize; 3],
    left: Operand,
    right: Operand,
    factor: f32,
    target: Target,
    precision: Precision,
) {
    #[cfg(target_arch = "x86_64")]
    if words(sizes, precision) == Some(Precision::Bf16) {
        let beginning = if target.accumulate { Beginning::Itself } else { Beginning::Nothing };
        // SAFETY: promised by the caller.
        unsafe { tiles::product::<{ tiles::PAIRED }>(sizes, left, right, factor, target, beginning, false) };
        return;
    }
    // SAFETY: promised by the caller.
    unsafe { f32_product(sizes, left, right, factor, target, Parallelism::None) }
}

/// # Safety
///
/// As of [`strided_product`].
unsafe fn f32_product(
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
