//! The affine layer `y = x w + b`, optionally added to a residual stream.

use crate::buffer::{Output, sum_in_order};
use crate::matrix::{Beginning, MatrixRef, Precision, product_at, product_of};
use crate::simd::vectorized;
use rayon::prelude::*;

/// Rows that one task sums. Fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

/// What [`backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradients {
    /// Gradient of the input, `[rows, inputs]`.
    pub dx: Vec<f32>,
    /// Gradient of the weight, `[inputs, outputs]`.
    pub dweight: Vec<f32>,
    /// Gradient of the bias, `[outputs]`.
    pub dbias: Vec<f32>,
}

/// `x w + bias (+ residual)`: `x` is `[rows, inputs]`, `weight` is `[inputs, outputs]`, `bias` is `[outputs]`, the
/// residual and the result are `[rows, outputs]`.
///
/// The weight may lie in memory either way around ([`MatrixRef::transposed`]). The residual's gradient is the output's
/// own.
pub fn forward(x: &[f32], weight: MatrixRef, bias: &[f32], residual: Option<&[f32]>, precision: Precision) -> Vec<f32> {
    let MatrixRef { rows: inputs, columns: outputs, .. } = weight;
    assert_eq!(bias.len(), outputs, "bias [{outputs}]");
    let rows = row_count(x, weight, residual.map_or(0, <[f32]>::len));
    if rows == 0 || outputs == 0 {
        return Vec::new();
    }
    let beginning = beginning(bias, residual);
    let mut y = Output::new(rows * outputs);
    // SAFETY: the product writes every element and reads none.
    unsafe {
        product_at(MatrixRef::new(x, rows, inputs), weight, y.pointer().at(0), beginning, precision);
        y.written()
    }
}

/// What a layer's product is added to.
pub(crate) fn beginning<'a>(bias: &'a [f32], residual: Option<&'a [f32]>) -> Beginning<'a> {
    residual.map_or(Beginning::Bias(bias), |residual| Beginning::BiasAndResidual(bias, residual))
}

/// The gradients of [`forward`] given `dy`, `[rows, outputs]`: `dx = dy wᵀ`, `dw = xᵀ dy`, `db = Σ dy` over rows. `dw`
/// lies in memory as the weight does.
pub fn backward(x: &[f32], weight: MatrixRef, dy: &[f32], precision: Precision) -> LinearGradients {
    let (rows, outputs) = (row_count(x, weight, dy.len()), weight.columns);
    assert_eq!(dy.len(), rows * outputs, "dy [{rows}, {outputs}]");
    LinearGradients {
        dx: product_of(MatrixRef::new(dy, rows, outputs), weight.transposed(), precision),
        dweight: backward_weight(x, weight, dy, rows, precision),
        dbias: column_sums(dy, outputs),
    }
}

/// `dx` of [`backward`] alone, of `rows` rows of `dy`: where the weight is not trained.
pub fn backward_input(weight: MatrixRef, dy: &[f32], rows: usize, precision: Precision) -> Vec<f32> {
    product_of(MatrixRef::new(dy, rows, weight.columns), weight.transposed(), precision)
}

/// `dweight` of [`backward`] alone.
pub(crate) fn backward_weight(x: &[f32], weight: MatrixRef, dy: &[f32], rows: usize, precision: Precision) -> Vec<f32> {
    let (x, dy) = (MatrixRef::new(x, rows, weight.rows), MatrixRef::new(dy, rows, weight.columns));
    // Of a weight that lies transposed, the transpose of the gradient.
    if weight.column_stride == 1 {
        product_of(x.transposed(), dy, precision)
    } else {
        product_of(dy.transposed(), x, precision)
    }
}

/// The sum of the rows of `[rows, columns]`.
pub fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    if columns == 0 {
        return Vec::new();
    }
    let partial = |rows: &[f32]| {
        let mut sums = vec![0.0; columns];
        add_rows(rows, &mut sums);
        sums
    };
    sum_in_order(matrix.par_chunks(ROWS * columns).map(partial).collect(), columns)
}

/// The number of rows, from whichever operand shows it.
fn row_count(x: &[f32], weight: MatrixRef, result_len: usize) -> usize {
    let MatrixRef { rows: inputs, columns: outputs, .. } = weight;
    // A layer without inputs still has as many rows as its residual or its output gradient.
    let rows = x.len().checked_div(inputs).or_else(|| result_len.checked_div(outputs)).unwrap_or(0);
    assert_eq!(x.len(), rows * inputs, "x [{rows}, {inputs}]");
    rows
}

vectorized! {
    fn add_rows<A>(rows: &[f32], sums: &mut [f32]) {
        let columns = sums.len();
        // Four rows at a time: the sums are loaded and stored a quarter as often.
        let mut groups = rows.chunks_exact(4 * columns);
        for group in &mut groups {
            let (first, second) = group.split_at(2 * columns);
            let ((a, b), (c, d)) = (first.split_at(columns), second.split_at(columns));
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += (a + b) + (c + d);
            }
        }
        for row in groups.remainder().chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
