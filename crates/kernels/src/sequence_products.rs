//! Inner products of every sequence's own gradient with given directions, without forming the gradients.
//!
//! The ledger over documents asks, for each sequence i of a batch and each held-out domain, for ⟨dWᵢ, V⟩: how far the
//! sequence's gradient goes along the domain's direction. For a linear layer dWᵢ = xᵢᵀ dyᵢ, and
//! ⟨xᵢᵀ dyᵢ, V⟩ = Σ xᵣ V dyᵣᵀ over the sequence's rows r: one product for the whole batch and a dot product a row, instead
//! of a matrix as large as the weight a sequence (the "ghost" products of Wang et al. 2024, In-Run Data Shapley, here
//! with a direction in the place of a second example).
//!
//! [`crate::cross_entropy::with_sequence_products`] does the same for the output projection.
//!
//! Sequences are consecutive ranges of rows, given by their ends: sequence i holds the rows `ends[i - 1] .. ends[i]`,
//! the first from 0; the last end is the number of rows. Every function returns `[sequences, directions]` in `f64`, each
//! entry summed in the order of the rows.

use crate::buffer::Output;
use crate::matrix::{Beginning, MatrixRef, Precision, product_at};
use crate::simd::{LANES, sum_of_lanes, vectorized};
use crate::vector::dot_block;
use rayon::prelude::*;

/// Elements of a product that exist at once: 4 Mi, 16 MiB.
const ELEMENTS: usize = 4 << 20;
/// The fewest rows of a product, however wide.
const FEWEST_ROWS: usize = 256;
/// Rows that one task handles.
const ROWS: usize = 32;
/// Elements summed in `f32` before the sum moves to `f64`.
const BLOCK: usize = 4096;

/// ⟨dWᵢ, V⟩ of a linear layer's weight for every sequence and every V of `directions`.
///
/// `x` is `[rows, inputs]`, `dy` is `[rows, outputs]`, the directions are `[inputs, outputs]`; for a weight that is stored
/// as `[outputs, inputs]`, pass the directions transposed.
pub fn linear(x: &[f32], dy: &[f32], ends: &[usize], directions: &[MatrixRef]) -> Vec<f64> {
    let Some(first) = directions.first() else { return Vec::new() };
    let (inputs, outputs) = (first.rows, first.columns);
    let rows = row_count(ends);
    let mut row_products = vec![0.0; rows * directions.len()];
    assert!(
        directions.iter().all(|direction| (direction.rows, direction.columns) == (inputs, outputs)),
        "directions of several shapes"
    );
    assert_eq!(x.len(), rows * inputs, "x [{rows}, {inputs}]");
    assert_eq!(dy.len(), rows * outputs, "dy [{rows}, {outputs}]");
    // x V against dy, or dy Vᵀ against x: the same work, so the narrower result.
    let narrow = inputs < outputs;
    let (left, right, columns) = if narrow { (dy, x, inputs) } else { (x, dy, outputs) };
    let inner = inputs.max(outputs);
    let most_rows = ELEMENTS.checked_div(columns).unwrap_or(ELEMENTS).max(FEWEST_ROWS);
    // Equal chunks: a short last one would use the threads badly.
    let chunk_rows = rows.div_ceil(rows.div_ceil(most_rows).max(1)).max(1);
    let mut projected = Output::new(chunk_rows * columns);
    for (chunk, results) in row_products.chunks_mut(chunk_rows * directions.len()).enumerate() {
        let (start, rows) = (chunk * chunk_rows, results.len() / directions.len());
        let left = MatrixRef::new(&left[start * inner..][..rows * inner], rows, inner);
        let right = &right[start * columns..][..rows * columns];
        for (d, direction) in directions.iter().enumerate() {
            let direction = if narrow { direction.transposed() } else { *direction };
            let pointer = projected.pointer();
            // SAFETY: the product writes the first `rows * columns` elements, which the slice then covers.
            let projected = unsafe {
                product_at(left, direction, pointer.at(0), Beginning::Nothing, Precision::F32);
                pointer.slice(0, rows * columns)
            };
            let tasks = results.par_chunks_mut(ROWS * directions.len()).enumerate();
            tasks.for_each(|(task, results)| {
                for (i, results) in results.chunks_exact_mut(directions.len()).enumerate() {
                    let at = (task * ROWS + i) * columns;
                    results[d] = row_dot(&projected[at..][..columns], &right[at..][..columns]);
                }
            });
        }
    }
    sum_by_sequence(&row_products, ends, directions.len())
}

/// ⟨dbᵢ, v⟩ of a bias, whose gradient is Σ dy over rows: `dy` is `[rows, width]`, the directions are `[width]`.
pub fn bias(dy: &[f32], ends: &[usize], directions: &[&[f32]]) -> Vec<f64> {
    let Some(width) = directions.first().map(|v| v.len()) else { return Vec::new() };
    check_rows("dy", dy, ends, width);
    assert!(directions.iter().all(|v| v.len() == width), "directions [{width}]");
    by_row(ends, directions.len(), &|row, d| row_dot(&dy[row * width..][..width], directions[d]))
}

/// ⟨dγᵢ, u⟩ + ⟨dβᵢ, v⟩ of the gain and the shift of a layer norm for every pair (u, v), `[width]` each.
///
/// `x` and `dy` are `[rows, width]`, `statistics` those of [`crate::norm::layer_norm`]; after
/// [`crate::norm::add_layer_norm`], `x` is the sum.
pub fn layer_norm(
    x: &[f32],
    statistics: &[f32],
    dy: &[f32],
    ends: &[usize],
    directions: &[(&[f32], &[f32])],
) -> Vec<f64> {
    let Some(width) = directions.first().map(|(u, _)| u.len()) else { return Vec::new() };
    check_rows("x", x, ends, width);
    check_rows("dy", dy, ends, width);
    check_rows("statistics", statistics, ends, 2);
    assert!(directions.iter().all(|(u, v)| u.len() == width && v.len() == width), "directions [{width}]");
    by_row(ends, directions.len(), &|row, d| {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let (mean, reciprocal) = (statistics[2 * row], statistics[2 * row + 1]);
        let blocks = x.chunks(BLOCK).zip(dy.chunks(BLOCK));
        let directions = directions[d].0.chunks(BLOCK).zip(directions[d].1.chunks(BLOCK));
        let products =
            blocks.zip(directions).map(|((x, dy), (u, v))| f64::from(norm_block(x, dy, u, v, mean, reciprocal)));
        products.sum()
    })
}

/// ⟨dγᵢ, u⟩ of the gain of an RMS norm for every u, `[width]`.
///
/// `x` and `dy` are `[rows, width]`, `statistics` those of [`crate::norm::rms_norm`]; after
/// [`crate::norm::add_rms_norm`], `x` is the sum.
pub fn rms_norm(x: &[f32], statistics: &[f32], dy: &[f32], ends: &[usize], directions: &[&[f32]]) -> Vec<f64> {
    let Some(width) = directions.first().map(|u| u.len()) else { return Vec::new() };
    check_rows("x", x, ends, width);
    check_rows("dy", dy, ends, width);
    check_rows("statistics", statistics, ends, 1);
    assert!(directions.iter().all(|u| u.len() == width), "directions [{width}]");
    by_row(ends, directions.len(), &|row, d| {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let blocks = x.chunks(BLOCK).zip(dy.chunks(BLOCK)).zip(directions[d].chunks(BLOCK));
        blocks.map(|((x, dy), u)| f64::from(gain_block(x, dy, u))).sum::<f64>() * f64::from(statistics[row])
    })
}

/// ⟨dEᵢ, V⟩ of an embedding table for every V, `[vocabulary, width]`: Σ scale · dyᵣ · V\[idᵣ\] over the sequence's rows.
///
/// `dy` is `[rows, width]`, `ids` is `[rows]`; `scale` and `padding` as in [`crate::embedding::scatter_tokens`]. Learned
/// positions are a table of their own, whose ids are the positions. Panics on an id outside the vocabulary.
pub fn embedding(
    dy: &[f32],
    ids: &[u32],
    width: usize,
    scale: f32,
    padding: Option<u32>,
    ends: &[usize],
    directions: &[&[f32]],
) -> Vec<f64> {
    let Some(first) = directions.first() else { return Vec::new() };
    check_rows("dy", dy, ends, width);
    check_rows("ids", ids, ends, 1);
    if width == 0 {
        return vec![0.0; ends.len() * directions.len()];
    }
    let vocabulary = first.len() / width;
    assert!(directions.iter().all(|v| v.len() == vocabulary * width), "directions [{vocabulary}, {width}]");
    for id in ids {
        assert!((*id as usize) < vocabulary, "token id {id} is outside a vocabulary of {vocabulary}");
    }
    by_row(ends, directions.len(), &|row, d| {
        if padding == Some(ids[row]) {
            return 0.0;
        }
        let direction = &directions[d][ids[row] as usize * width..][..width];
        row_dot(&dy[row * width..][..width], direction) * f64::from(scale)
    })
}

/// The number of rows, which is the last end.
pub(crate) fn row_count(ends: &[usize]) -> usize {
    assert!(ends.is_sorted(), "the ends of the sequences fall");
    ends.last().copied().unwrap_or(0)
}

fn check_rows<T>(what: &str, values: &[T], ends: &[usize], width: usize) {
    let rows = row_count(ends);
    assert_eq!(values.len(), rows * width, "{what} [{rows}, {width}]");
}

/// `product(row, direction)` of every row, summed by sequence.
fn by_row(ends: &[usize], directions: usize, product: &(dyn Fn(usize, usize) -> f64 + Sync)) -> Vec<f64> {
    let mut products = vec![0.0; row_count(ends) * directions];
    products.par_chunks_mut(ROWS * directions).enumerate().for_each(|(task, products)| {
        for (i, products) in products.chunks_exact_mut(directions).enumerate() {
            for (d, result) in products.iter_mut().enumerate() {
                *result = product(task * ROWS + i, d);
            }
        }
    });
    sum_by_sequence(&products, ends, directions)
}

/// `[sequences, directions]` from `[rows, directions]`.
pub(crate) fn sum_by_sequence(row_products: &[f64], ends: &[usize], directions: usize) -> Vec<f64> {
    let mut sums = vec![0.0; ends.len() * directions];
    let mut start = 0;
    for (i, end) in ends.iter().enumerate() {
        for row in start..*end {
            for d in 0..directions {
                sums[i * directions + d] += row_products[row * directions + d];
            }
        }
        start = *end;
    }
    sums
}

/// Σ aᵢ bᵢ on one thread.
pub(crate) fn row_dot(a: &[f32], b: &[f32]) -> f64 {
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|(a, b)| f64::from(dot_block(a, b))).sum()
}

vectorized! {
    /// Σ dy ((x - mean) r u + v).
    fn norm_block<A>(x: &[f32], dy: &[f32], u: &[f32], v: &[f32], mean: f32, reciprocal: f32) -> f32 {
        let ((x_chunks, x_rest), (dy_chunks, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
        let ((u_chunks, u_rest), (v_chunks, v_rest)) = (u.as_chunks::<LANES>(), v.as_chunks::<LANES>());
        let mut lanes = [0.0; LANES];
        for (((x, dy), u), v) in x_chunks.iter().zip(dy_chunks).zip(u_chunks).zip(v_chunks) {
            for j in 0..LANES {
                let along = A::mul_add((x[j] - mean) * reciprocal, u[j], v[j]);
                lanes[j] = A::mul_add(dy[j], along, lanes[j]);
            }
        }
        for j in 0..x_rest.len() {
            let along = A::mul_add((x_rest[j] - mean) * reciprocal, u_rest[j], v_rest[j]);
            lanes[j] = A::mul_add(dy_rest[j], along, lanes[j]);
        }
        sum_of_lanes(lanes)
    }
}

vectorized! {
    /// Σ dy x u.
    fn gain_block<A>(x: &[f32], dy: &[f32], u: &[f32]) -> f32 {
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let ((dy_chunks, dy_rest), (u_chunks, u_rest)) = (dy.as_chunks::<LANES>(), u.as_chunks::<LANES>());
        let mut lanes = [0.0; LANES];
        for ((x, dy), u) in x_chunks.iter().zip(dy_chunks).zip(u_chunks) {
            for j in 0..LANES {
                lanes[j] = A::mul_add(dy[j] * x[j], u[j], lanes[j]);
            }
        }
        for j in 0..x_rest.len() {
            lanes[j] = A::mul_add(dy_rest[j] * x_rest[j], u_rest[j], lanes[j]);
        }
        sum_of_lanes(lanes)
    }
}
